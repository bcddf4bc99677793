"""The bridge of a network: find it, make it where that is allowed, and hold its lock while a port joins or leaves."""

import contextlib
import errno as errnos
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from cni_harvester.attach.undo import UndoStack
from cni_harvester.errors import (
    BridgeMissing,
    FeatureMissing,
    KernelRefused,
    NotOurs,
    TryAgainLater,
    VlanNotIsolated,
)
from cni_harvester.kernel import addresses, links, lock, sysctl
from cni_harvester.kernel.handle import Handle
from cni_harvester.kernel.links import Link
from cni_harvester.model import attachment, mac, vlan
from cni_harvester.model.vlan import PortVlans

if TYPE_CHECKING:  # a DEL does not load pydantic
    from cni_harvester.cni.netconf import NetworkConfig

_RETURN_TIMEOUT_S, _RETURN_POLL_S = 10.0, 0.005
"""How long to wait for a bridge of `createBridge` that is on its way out: its removal takes the kernel about 20 ms."""


@contextlib.contextmanager
def hold_bridge(host: Handle, config: "NetworkConfig", undo: UndoStack) -> Iterator[Link]:
    """Yield the bridge of an attachment, up, with its lock held; make it first where `createBridge` allows that.

    Raises:
        BridgeMissing: there is none.
        NotOurs: the interface of that name is no bridge.
    """
    deadline = time.monotonic() + _RETURN_TIMEOUT_S
    while time.monotonic() < deadline:
        _ensure_exists(host, config, undo)
        with lock.lock_bridge(config.bridge) as held:
            bridge = links.find_link(host, config.bridge) if held else None
            if bridge is not None:
                _set_up(host, bridge, undo)
                yield bridge
                return
        time.sleep(_RETURN_POLL_S)  # its last machine left just now, and took the bridge along
    raise TryAgainLater(f'cannot attach to "{config.bridge}": the bridge comes and goes', "the runtime may retry")


def _set_up(host: Handle, bridge: Link, undo: UndoStack) -> None:
    require_bridge(bridge)
    if bridge.up:
        return
    if not _is_created(bridge):  # one that we made goes away as a whole
        down = partial(links.set_admin_state, host, bridge, up=False)
        undo.push(f'set "{bridge.name}" down', partial(_switch_back, host, bridge, down))
    links.set_admin_state(host, bridge, up=True)


def require_bridge(link: Link) -> None:
    """Raise NotOurs unless the interface is a bridge."""
    if link.kind != "bridge":
        hint = f"its kind is {link.kind or 'a physical device'}; name a bridge, as a rule <cluster network>-br"
        raise NotOurs(f'cannot attach to "{link.name}": it is not a bridge', hint)


def require_vlans(bridge: Link, config: "NetworkConfig") -> None:
    """Check that the bridge can isolate, and connect, what the configuration asks for.

    Raises:
        FeatureMissing: the kernel is built without VLAN filtering.
        VlanNotIsolated: the bridge does not filter, or has no VLAN for untagged frames.
    """
    filtering = bridge.bridge.vlan_filtering if bridge.bridge else None
    default_pvid = bridge.bridge.default_pvid if bridge.bridge else None
    if config.needs_filtering and filtering is None:
        hint = "CONFIG_BRIDGE_VLAN_FILTERING is needed for vlan and vlanTrunk"
        raise FeatureMissing(f'cannot attach to "{bridge.name}": this kernel has no VLAN filtering in bridges', hint)
    if config.needs_filtering and not filtering and not config.enable_vlan_filtering:
        raise VlanNotIsolated(
            f'cannot attach to "{bridge.name}": it does not filter VLANs, so vlan and vlanTrunk would not isolate',
            f'ip link set {bridge.name} type bridge vlan_filtering 1, or "enableVlanFiltering": true',
        )
    if not config.needs_filtering and filtering and default_pvid == 0:
        raise VlanNotIsolated(
            f'cannot attach to "{bridge.name}": vlan_default_pvid is 0: an untagged machine would have no connectivity',
            f"set vlan, or ip link set {bridge.name} type bridge vlan_default_pvid 1",
        )


def find_wanted_vlans(bridge: Link, config: "NetworkConfig") -> PortVlans | None:
    """Return the VLAN table that an attachment's port must have; None on a kernel that has no such tables."""
    if bridge.bridge is None or bridge.bridge.vlan_filtering is None:
        return None
    return vlan.plan_port_vlans(
        vlan=config.vlan,
        trunk=config.trunk,
        default_pvid=bridge.bridge.default_pvid or 0,
        preserve_default=config.preserve_default_vlan,
    )


def prepare_bridge(host: Handle, bridge: Link, config: "NetworkConfig", undo: UndoStack) -> None:
    """Switch on what the configuration asks of the bridge as a whole: VLAN filtering, promiscuous mode.

    Both stay on after a DEL, for other machines may have come to rely on them; a failed ADD takes back what it
    switched unless another machine has joined meanwhile.
    """
    switch_filtering_back = partial(
        _switch_back, host, bridge, partial(links.set_vlan_filtering, host, bridge, on=False)
    )
    switch_promiscuous_back = partial(
        _switch_back, host, bridge, partial(links.set_promiscuous, host, bridge, on=False)
    )
    if config.needs_filtering and bridge.bridge and not bridge.bridge.vlan_filtering:
        undo.push(f'switch VLAN filtering of "{bridge.name}" off', switch_filtering_back)
        links.set_vlan_filtering(host, bridge, on=True)
    if config.promisc_mode and not bridge.promiscuous:
        undo.push(f'switch promiscuous mode of "{bridge.name}" off', switch_promiscuous_back)
        links.set_promiscuous(host, bridge, on=True)


def remove_created_bridge(host: Handle, name: str) -> None:
    """Remove a bridge that `createBridge` made once nothing uses it: no port, no address of somebody's."""
    link = links.find_link(host, name)
    if link is None or not _is_created(link):
        return
    with lock.lock_bridge(name) as held:
        bridge = links.find_link(host, name) if held else None
        if bridge and _is_created(bridge) and not _is_used(host, bridge):
            links.delete_link(host, bridge)


def _is_created(link: Link) -> bool:
    return link.kind == "bridge" and link.group == attachment.BRIDGE_GROUP


def _is_used(host: Handle, bridge: Link) -> bool:
    if links.list_port_indexes(host, bridge):
        return True
    return any(not a.interface.is_link_local for a in addresses.list_addresses(host, bridge))


def _ensure_exists(host: Handle, config: "NetworkConfig", undo: UndoStack) -> None:
    if links.find_link(host, config.bridge) is not None:
        return
    if not config.create_bridge:
        raise BridgeMissing(
            f'cannot attach to "{config.bridge}": the bridge does not exist on this node',
            "build the cluster network first; a bridge made here would be an island without an uplink. "
            '"createBridge": true makes one all the same',
        )
    undo.push(f'remove bridge "{config.bridge}"', lambda: remove_created_bridge(host, config.bridge))
    try:
        links.create_bridge(
            host,
            config.bridge,
            mac=mac.derive_mac(os.urandom(6)),
            vlan_filtering=config.needs_filtering,
            group=attachment.BRIDGE_GROUP,
            mtu=config.mtu,
        )
    except KernelRefused as e:
        if e.errno != errnos.EEXIST:  # another ADD was quicker
            raise
        return
    # A machine on the bridge must not be able to configure the node by router advertisements.
    sysctl.set_interface("ipv6", config.bridge, "accept_ra", 0, trace=host.trace)


def _switch_back(host: Handle, bridge: Link, switch: Callable[[], None]) -> None:
    """Take a switch of the bridge back, unless another machine has joined it meanwhile."""
    with lock.lock_bridge(bridge.name) as exists:
        if exists and not any(_is_attachment_on(bridge, link) for link in links.list_links(host)):
            switch()


def _is_attachment_on(bridge: Link, link: Link) -> bool:
    return link.controller == bridge.index and attachment.parse_alias(link.alias) is not None
