"""VLAN tables of bridge ports: read one port's, change it in at most two messages. bridge(8), linux/if_bridge.h."""

import struct
from collections.abc import Iterator
from typing import Any

from cni_harvester.kernel.attributes import iter_attributes
from cni_harvester.kernel.handle import Handle, refused
from cni_harvester.kernel.links import Link
from cni_harvester.kernel.messages import br_vlan_msg, ifinfmsg
from cni_harvester.model.vlan import PortVlans, VlanChange, format_vids, iter_ranges

_AF_BRIDGE = 7
_RTM_DELLINK, _RTM_SETLINK, _RTM_GETVLAN = 17, 19, 114
_BRIDGE_VLANDB_ENTRY, _ENTRY_INFO, _ENTRY_RANGE = 1, 1, 2
_PORT_INDEX_OFFSET, _ENTRIES_OFFSET = 20, 24  # struct br_vlan_msg, after the header's 16 octets
_PVID, _UNTAGGED, _RANGE_BEGIN, _RANGE_END = 0x2, 0x4, 0x8, 0x10  # BRIDGE_VLAN_INFO_*


def get_port_vlans(handle: Handle, port: Link) -> PortVlans:
    """Read the table of one port (or of a bridge itself), whatever the number of other ports.

    Raises:
        KernelRefused: the kernel is older than 5.6 or built without VLAN filtering, or the port is gone.
    """
    return list_port_vlans(handle, port).get(port.index, PortVlans())


def list_port_vlans(handle: Handle, port: Link | None = None) -> dict[int, PortVlans]:
    """Read the tables of all bridges and ports of the namespace by their index, or of one."""
    message = br_vlan_msg()
    message["family"], message["ifindex"], message["attrs"] = _AF_BRIDGE, port.index if port else 0, []
    try:
        answers = handle.dump_raw(message, _RTM_GETVLAN)
    except OSError as e:
        raise refused("read the VLANs of", port.name if port else "all ports", e) from e
    tables: dict[int, tuple[set[int], set[int], list[int]]] = {}
    for answer in answers:
        (index,) = struct.unpack_from("=i", answer, _PORT_INDEX_OFFSET)
        tagged, untagged, pvid = tables.setdefault(index, (set(), set(), []))
        for first, last, flags in _parse_entries(answer):
            (untagged if flags & _UNTAGGED else tagged).update(range(first, last + 1))
            if flags & _PVID:
                pvid.append(first)
    return {i: PortVlans(frozenset(t), frozenset(u), p[0] if p else None) for i, (t, u, p) in tables.items()}


def _parse_entries(answer: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (first VID, last VID, flags) of one RTM_NEWVLAN message.

    Read by hand, for a trunk that is not made of ranges has thousands of entries, and a node hundreds of ports.
    """
    for kind, entry_start, entry_end in iter_attributes(answer, _ENTRIES_OFFSET, len(answer)):
        if kind != _BRIDGE_VLANDB_ENTRY:
            continue
        flags = first = last = 0
        for field, start, _ in iter_attributes(answer, entry_start, entry_end):
            if field == _ENTRY_INFO:
                flags, first = struct.unpack_from("=HH", answer, start)
            elif field == _ENTRY_RANGE:
                (last,) = struct.unpack_from("=H", answer, start)
        yield first, last or first, flags


def change_port_vlans(handle: Handle, port: Link, change: VlanChange) -> None:
    """Apply a change to a port's table: one message for what goes, one for what comes, however many VIDs.

    Raises:
        KernelRefused: a VID was refused, for instance by the VLAN filter of a NIC below an uplink.
    """
    try:
        if change.remove:
            attributes = list(_range_attributes(change.remove, 0))
            handle.change(_message(port, attributes), _RTM_DELLINK, command=_command("del", port, change.remove))
        if change.add.vids:
            attributes = [
                *_range_attributes(change.add.tagged - {change.add.pvid}, 0),
                *_range_attributes(change.add.untagged - {change.add.pvid}, _UNTAGGED),
            ]
            if change.add.pvid is not None:
                untagged = _UNTAGGED if change.add.pvid in change.add.untagged else 0
                attributes.append(_entry(change.add.pvid, _PVID | untagged))
            command = _command("add", port, change.add.vids) + f"  # {change.add}"
            handle.change(_message(port, attributes), _RTM_SETLINK, command=command)
    except OSError as e:
        raise refused("set the VLANs of", port.name, e, f"wanted: {change.add}") from e


def _command(verb: str, port: Link, vids: frozenset[int]) -> str:
    return f"bridge vlan {verb} dev {port.name} vid {format_vids(vids)}"


def _range_attributes(vids: frozenset[int] | set[int], flags: int) -> Iterator[tuple[str, Any]]:
    for first, last in iter_ranges(vids):
        if first == last:
            yield _entry(first, flags)
        else:
            yield _entry(first, flags | _RANGE_BEGIN)
            yield _entry(last, flags | _RANGE_END)


def _entry(vid: int, flags: int) -> tuple[str, Any]:
    return "IFLA_BRIDGE_VLAN_INFO", {"vid": vid, "flags": flags}


def _message(port: Link, attributes: list[tuple[str, Any]]) -> Any:  # noqa: ANN401 - pyroute2 has no types
    message = ifinfmsg()
    message["family"], message["index"] = _AF_BRIDGE, port.index
    message["attrs"] = [("IFLA_AF_SPEC", {"attrs": attributes})]
    return message
