"""VLANs on the uplink of a cluster network: put there for an attachment, taken away with the last one that used them.

Which VIDs are ours is written in the uplink's ifalias, so those that a person or the node's own configuration put
there are never taken away. All of it happens under the bridge's lock.
"""

import logging
from typing import TYPE_CHECKING

from cni_harvester.errors import KernelRefused, UplinkRefused
from cni_harvester.kernel import bridge_vlans, links
from cni_harvester.kernel.handle import Handle
from cni_harvester.kernel.links import Link
from cni_harvester.model.attachment import format_uplink_alias, parse_uplink_alias
from cni_harvester.model.names import find_uplink_name
from cni_harvester.model.vlan import PortVlans, VlanChange, format_vids

if TYPE_CHECKING:  # a DEL does not load pydantic
    from cni_harvester.cni.netconf import NetworkConfig

log = logging.getLogger(__name__)


def find_uplink(host: Handle, bridge: Link) -> Link | None:
    """Return the uplink of a cluster network's bridge: its port `<cn>-bo`. None for any other bridge."""
    name = find_uplink_name(bridge.name)
    link = links.find_link(host, name) if name else None
    return link if link and link.controller == bridge.index else None


def list_uplink_vids(config: "NetworkConfig") -> frozenset[int]:
    """Return the VIDs that the uplink must carry tagged; the bridge's default VLAN is untagged on the wire."""
    return config.trunk | ({config.vlan} if config.vlan else frozenset())


def add_uplink_vlans(host: Handle, uplink: Link, vids: frozenset[int]) -> None:
    """See to it that the uplink carries the VIDs, tagged; those that it has in whatever form are left alone.

    The record comes first: if we are killed before the change, DEL removes VIDs that are not there, which is quiet.

    Raises:
        UplinkRefused: the kernel, or a NIC's VLAN filter, did not take them all; what it took is removed again.
    """
    before = bridge_vlans.get_port_vlans(host, uplink)
    missing = vids - before.vids
    if not missing:
        return
    ours = parse_uplink_alias(uplink.alias)
    if ours is None:
        log.warning("%s has an ifalias that is not ours: VLANs %s stay on it", uplink.name, format_vids(missing))
    elif alias := format_uplink_alias(ours | missing):
        links.set_alias(host, uplink, alias)
    try:
        bridge_vlans.change_port_vlans(host, uplink, VlanChange(frozenset(), PortVlans(tagged=missing)))
    except KernelRefused as e:
        refused = missing - bridge_vlans.get_port_vlans(host, uplink).vids
        hint = f'{e.msg}. A NIC may hold fewer VLANs than asked for; "uplinkVlans": "manual" leaves the uplink alone'
        raise UplinkRefused(f'cannot put VLAN {format_vids(refused)} on uplink "{uplink.name}"', hint) from e


def release_uplink_vlans(host: Handle, bridge: Link) -> None:
    """Take those VIDs off the uplink that we put there and that nothing on the bridge uses any more.

    All of ours are looked at, not those of one machine alone: what a crash left behind goes with the next DEL.

    Args:
        host: the node's namespace.
        bridge: the cluster network's bridge, its lock held.
    """
    uplink = find_uplink(host, bridge)
    ours = parse_uplink_alias(uplink.alias) if uplink else None
    if not uplink or not ours:
        return
    unused = ours - _list_used_vids(host, bridge, uplink)
    if not unused:
        return
    present = bridge_vlans.get_port_vlans(host, uplink).tagged & unused
    bridge_vlans.change_port_vlans(host, uplink, VlanChange(present, PortVlans()))
    links.set_alias(host, uplink, format_uplink_alias(ours - unused))


def _list_used_vids(host: Handle, bridge: Link, uplink: Link) -> frozenset[int]:
    """Return the VIDs of the bridge itself and of all its ports but the uplink."""
    users = {bridge.index} | links.list_port_indexes(host, bridge)
    tables = bridge_vlans.list_port_vlans(host)
    return frozenset().union(*(tables[i].vids for i in users - {uplink.index} if i in tables))
