"""Network interfaces: look them up, make a veth pair in one message, change and delete them. rtnetlink(7)."""

import errno as errnos
import logging
import struct
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cni_harvester.errors import KernelRefused
from cni_harvester.kernel.attributes import (
    pack_attribute,
    read_s32,
    read_text,
    read_u8,
    read_u16,
    read_u32,
    split_attributes,
)
from cni_harvester.kernel.handle import NLM_F_CREATE, NLM_F_EXCL, Events, Handle, refused
from cni_harvester.kernel.messages import ifinfmsg
from cni_harvester.kernel.namespaces import Namespace

log = logging.getLogger(__name__)

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_IFF_UP, _IFF_PROMISC = 0x1, 0x100
RTNLGRP_LINK = 1
_ADDR_GEN_MODE_NONE = 1  # IN6_ADDR_GEN_MODE_NONE, linux/if_link.h
_RTEXT_FILTER_SKIP_STATS = 8
_IPV6_MIN_MTU = 1280  # RFC 8200, section 5
_INDEX, _INDEX_OFFSET = struct.Struct("=i"), 20  # struct ifinfomsg, after the header's 16 octets
_IFINFO, _IFINFO_OFFSET = struct.Struct("=BxHiII"), 16
_LINK_ATTRIBUTES_OFFSET = _IFINFO_OFFSET + _IFINFO.size

# Numbers of attributes, linux/if_link.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_OPERSTATE = 1, 3, 4, 5, 10, 16
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_GROUP, _IFLA_EXT_MASK, _IFLA_LINK_NETNSID = 18, 20, 27, 29, 37
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_BR_VLAN_FILTERING, _BR_VLAN_DEFAULT_PVID = 7, 39
_BRPORT_MODE, _BRPORT_ISOLATED = 4, 33

_SKIP_STATISTICS = pack_attribute(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS.to_bytes(4, sys.byteorder))
_OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")  # RFC 2863, linux/if.h

Attributes = list[tuple[str, Any]]


@dataclass(frozen=True)
class BridgeOptions:
    """What a bridge says of its VLANs; None where the kernel is built without VLAN filtering."""

    vlan_filtering: bool | None
    default_pvid: int | None


@dataclass(frozen=True)
class PortOptions:
    """Flags of a bridge port (bridge(8), "bridge link")."""

    hairpin: bool
    isolated: bool


@dataclass(frozen=True)
class Link:
    """An interface as the kernel shows it: MTU in bytes, MAC in lower case, indexes within its namespace.

    `controller` is the index of its bridge or bond; `peer` a veth's (peer index, peer namespace id), with no id when
    the peer is in the same namespace.
    """

    index: int
    name: str
    kind: str
    mtu: int
    mac: str
    up: bool
    promiscuous: bool
    operstate: str
    alias: str
    group: int
    controller: int | None
    peer: tuple[int, int | None] | None
    bridge: BridgeOptions | None
    port: PortOptions | None


def find_link(handle: Handle, name: str) -> Link | None:
    """Return the interface of that name, or None."""
    return _find(handle, name, pack_attribute(_IFLA_IFNAME, name.encode() + b"\0"), 0)


def find_link_by_index(handle: Handle, index: int) -> Link | None:
    """Return the interface of that index, or None."""
    return _find(handle, f"index {index}", b"", index)


def _find(handle: Handle, label: str, attributes: bytes, index: int) -> Link | None:
    try:
        return _read(handle.get_raw(_IFINFO.pack(0, 0, index, 0, 0) + attributes + _SKIP_STATISTICS, _RTM_GETLINK))
    except OSError as e:
        if e.errno == errnos.ENODEV:
            return None
        raise refused("look up", label, e) from e


def list_links(handle: Handle) -> list[Link]:
    """Return all interfaces of the namespace."""
    message = _message(0, [("IFLA_EXT_MASK", _RTEXT_FILTER_SKIP_STATS)])
    try:
        return [_read(answer) for answer in handle.dump_raw(message, _RTM_GETLINK)]
    except OSError as e:
        raise refused("list", "interfaces", e) from e


def list_port_indexes(handle: Handle, bridge: Link) -> set[int]:
    """Return the indexes of a bridge's ports; the kernel selects them, and nothing else of them is read."""
    message = _message(0, [("IFLA_EXT_MASK", _RTEXT_FILTER_SKIP_STATS), ("IFLA_MASTER", bridge.index)])
    try:
        return {_INDEX.unpack_from(body, _INDEX_OFFSET)[0] for body in handle.dump_raw(message, _RTM_GETLINK)}
    except OSError as e:
        raise refused("list the ports of", bridge.name, e) from e


@dataclass(frozen=True)
class VethEnd:
    """One end of a veth pair to make."""

    name: str
    mac: str
    mtu: int


def create_veth(
    handle: Handle, host: VethEnd, container: VethEnd, namespace: Namespace, *, bridge: Link, group: int
) -> None:
    """Make a veth pair in one message: the host end down and in the bridge, the other in the container's namespace.

    The guest's end is down too, so the port has no carrier, and no frame passes before its VLANs are set.

    Raises:
        KernelRefused: with EEXIST when either name is taken.
    """
    peer: Attributes = [
        ("IFLA_IFNAME", container.name),
        ("IFLA_ADDRESS", container.mac),
        ("IFLA_MTU", container.mtu),
        ("IFLA_NET_NS_FD", namespace.fd),
    ]
    info: Attributes = [
        ("IFLA_INFO_KIND", "veth"),
        ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", {"attrs": peer})]}),
    ]
    attributes: Attributes = [
        ("IFLA_IFNAME", host.name),
        ("IFLA_ADDRESS", host.mac),
        ("IFLA_MTU", host.mtu),
        ("IFLA_GROUP", group),
        ("IFLA_MASTER", bridge.index),
        ("IFLA_LINKINFO", {"attrs": info}),
    ]
    command = (
        f"ip link add {host.name} mtu {host.mtu} address {host.mac} group {group} master {bridge.name} type veth"
        f" peer name {container.name} netns {namespace.path} mtu {container.mtu} address {container.mac}"
    )
    _create(handle, host.name, attributes, command)


def create_bridge(handle: Handle, name: str, *, mac: str, vlan_filtering: bool, group: int, mtu: int = 0) -> None:
    """Make a bridge, down; its MAC is pinned by being given. KernelRefused with EEXIST when the name is taken."""
    data: Attributes = [("IFLA_BR_VLAN_FILTERING", 1)] if vlan_filtering else []
    attributes: Attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_GROUP", group),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]}),
    ]
    if mtu:
        attributes.append(("IFLA_MTU", mtu))
    options = " vlan_filtering 1" if vlan_filtering else ""
    size = f" mtu {mtu}" if mtu else ""
    _create(handle, name, attributes, f"ip link add {name} address {mac} group {group}{size} type bridge{options}")


def _create(handle: Handle, name: str, attributes: Attributes, command: str) -> None:
    flags = NLM_F_CREATE | NLM_F_EXCL
    try:
        handle.change(_message(0, attributes), _RTM_NEWLINK, flags=flags, command=command)
    except OSError as e:
        raise refused("create", name, e) from e


def name_host_end(handle: Handle, link: Link, alias: str) -> None:
    """Give a host end its alias, keep IPv6 from talking on it, and set it up, in one message.

    A bridge port that made itself a link-local address would send MLD and router solicitations to the guest.
    """
    attributes: Attributes = [("IFLA_IFALIAS", alias)]
    words = f'alias "{alias}" up'
    if _has_ipv6(link):
        inet6 = ("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]})
        attributes.append(("IFLA_AF_SPEC", {"attrs": [inet6]}))
        words += " addrgenmode none"
    _set(handle, link, attributes, words, up=True)


def _has_ipv6(link: Link) -> bool:
    """Whether a link takes attributes of IPv6; a kernel without it, or a link below its MTU, says EAFNOSUPPORT."""
    return link.mtu >= _IPV6_MIN_MTU and Path("/proc/net/if_inet6").exists()


def set_admin_state(handle: Handle, link: Link, *, up: bool) -> None:
    """Set an interface administratively up or down."""
    _set(handle, link, [], "up" if up else "down", up=up)


def set_alias(handle: Handle, link: Link, alias: str) -> None:
    """Set an interface's ifalias; empty removes it."""
    _set(handle, link, [("IFLA_IFALIAS", alias)], f'alias "{alias}"')


def set_promiscuous(handle: Handle, link: Link, *, on: bool) -> None:
    """Switch an interface's promiscuous flag."""
    _set(handle, link, [], f"promisc {'on' if on else 'off'}", promiscuous=on)


def set_vlan_filtering(handle: Handle, bridge: Link, *, on: bool) -> None:
    """Switch VLAN filtering of a bridge."""
    data: Attributes = [("IFLA_BR_VLAN_FILTERING", int(on))]
    info: Attributes = [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]
    _set_options(handle, bridge, info, "VLAN filtering", f"type bridge vlan_filtering {int(on)}")


def set_port_options(handle: Handle, port: Link, options: PortOptions) -> None:
    """Set the flags of a bridge port."""
    data: Attributes = [("IFLA_BRPORT_MODE", int(options.hairpin)), ("IFLA_BRPORT_ISOLATED", int(options.isolated))]
    info: Attributes = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]
    words = f"hairpin {'on' if options.hairpin else 'off'} isolated {'on' if options.isolated else 'off'}"
    _set_options(handle, port, info, "bridge port flags", f"type bridge_slave {words}")


def _set_options(handle: Handle, link: Link, info: Attributes, what: str, words: str) -> None:
    """Change what a kind of link, or of controller, has of its own; RTM_NEWLINK without NLM_F_CREATE does that."""
    message = _message(link.index, [("IFLA_LINKINFO", {"attrs": info})])
    try:
        handle.change(message, _RTM_NEWLINK, command=f"ip link set {link.name} {words}")
    except OSError as e:
        raise refused(f"set {what} of", link.name, e) from e


def pin_mtu(handle: Handle, bridge: Link) -> None:
    """Keep a bridge at its MTU when a port with a smaller one joins.

    Until its MTU was *changed* by hand, a bridge takes the smallest of its ports' (br_mtu_auto_adjust in
    net/bridge/br_if.c). Setting the value that it has is no change, so it goes one below and back; both in one
    system call, for a process killed in between would leave the bridge one byte short. The caller holds the bridge's
    lock, so that no other attachment inherits the value in between.
    """
    values = (bridge.mtu - 1, bridge.mtu)
    messages = [_message(bridge.index, [("IFLA_MTU", mtu)]) for mtu in values]
    command = "; ".join(f"ip link set {bridge.name} mtu {mtu}" for mtu in values)
    try:
        handle.change_in_one_go(messages, _RTM_SETLINK, command=command)
    except OSError as e:
        raise refused("pin the MTU of", bridge.name, e) from e


def delete_link(handle: Handle, link: Link) -> None:
    """Delete an interface; a veth takes its peer along. Quiet when it is gone already."""
    try:
        handle.change(_message(link.index, []), _RTM_DELLINK, command=f"ip link del {link.name}")
    except OSError as e:
        if e.errno != errnos.ENODEV:
            raise refused("delete", link.name, e) from e
        log.debug("%s was gone already", link.name)


def wait_until_up(
    handle: Handle,
    link: Link,
    timeout_s: float,
    *,
    namespace: Namespace | None = None,
    ready: Collection[str] = ("UP",),
) -> str:
    """Wait for an interface's operstate UP; return the state it has then, or at the end of the time.

    Args:
        handle: a handle in the interface's namespace.
        link: the interface.
        timeout_s: how long to wait.
        namespace: the interface's namespace, where it is not our own.
        ready: the states to wait for.
    """
    state = link.operstate

    def is_settled() -> bool:
        nonlocal state
        now = find_link_by_index(handle, link.index)
        state = now.operstate if now else "GONE"
        return state in ready or state == "GONE"

    with Events(RTNLGRP_LINK, namespace) as events:
        events.wait_until(is_settled, timeout_s)
    return state


def _set(
    handle: Handle,
    link: Link,
    attributes: Attributes,
    words: str,
    *,
    up: bool | None = None,
    promiscuous: bool | None = None,
) -> None:
    message = _message(link.index, attributes)
    for flag, wanted in ((_IFF_UP, up), (_IFF_PROMISC, promiscuous)):
        if wanted is not None:
            message["change"] |= flag
            message["flags"] |= flag if wanted else 0
    try:
        handle.change(message, _RTM_SETLINK, command=f"ip link set {link.name} {words}")
    except OSError as e:
        raise _explain(link, words, e) from e


def _explain(link: Link, words: str, error: OSError) -> KernelRefused:
    return refused(
        f"set {words.split(maxsplit=1)[0]} of", link.name, error, f"the command was: ip link set {link.name} {words}"
    )


def _message(index: int, attributes: Attributes) -> Any:  # noqa: ANN401 - pyroute2 has no types
    message = ifinfmsg()
    message["index"] = index
    message["flags"] = message["change"] = 0
    message["attrs"] = attributes
    return message


def _read(answer: bytes) -> Link:
    """Read one RTM_NEWLINK message: only the attributes that we have a use for are looked at."""
    index, flags = _IFINFO.unpack_from(answer, _IFINFO_OFFSET)[2:4]
    found = split_attributes(answer, _LINK_ATTRIBUTES_OFFSET)
    info = split_attributes(found.get(_IFLA_LINKINFO, b""))
    kind = read_text(info.get(_INFO_KIND))
    peer_index = read_u32(found.get(_IFLA_LINK)) if kind == "veth" else None
    is_port = read_text(info.get(_INFO_SLAVE_KIND)) == "bridge"
    return Link(
        index=index,
        name=read_text(found.get(_IFLA_IFNAME)),
        kind=kind,
        mtu=read_u32(found.get(_IFLA_MTU)) or 0,
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        up=bool(flags & _IFF_UP),
        promiscuous=bool(flags & _IFF_PROMISC),
        operstate=_OPERSTATES[read_u8(found.get(_IFLA_OPERSTATE)) or 0],
        alias=read_text(found.get(_IFLA_IFALIAS)),
        group=read_u32(found.get(_IFLA_GROUP)) or 0,
        controller=read_u32(found.get(_IFLA_MASTER)),
        peer=(peer_index, read_s32(found.get(_IFLA_LINK_NETNSID))) if peer_index else None,
        bridge=_read_bridge(info[_INFO_DATA]) if kind == "bridge" and _INFO_DATA in info else None,
        port=_read_port(info[_INFO_SLAVE_DATA]) if is_port and _INFO_SLAVE_DATA in info else None,
    )


def _read_bridge(data: bytes) -> BridgeOptions:
    options = split_attributes(data)
    default_pvid = read_u16(options.get(_BR_VLAN_DEFAULT_PVID))
    if default_pvid is None:  # the kernel shows IFLA_BR_VLAN_FILTERING, as 0, even where it cannot filter
        return BridgeOptions(None, None)
    return BridgeOptions(bool(read_u8(options.get(_BR_VLAN_FILTERING))), default_pvid)


def _read_port(data: bytes) -> PortOptions:
    options = split_attributes(data)
    return PortOptions(bool(read_u8(options.get(_BRPORT_MODE))), bool(read_u8(options.get(_BRPORT_ISOLATED))))
