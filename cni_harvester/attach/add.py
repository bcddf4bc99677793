"""ADD: join a container to a network, all or nothing.

Host side first, under the bridge's lock: the pair, its identity, its VLANs, the uplink. Then the spoof guard, then
the container's side. The container end is down until the VLAN table was read back, so no frame passes before it is
isolated.
"""

import errno as errnos
from dataclasses import dataclass
from functools import partial
from typing import Any

from cni_harvester.attach import bridge as bridges
from cni_harvester.attach import ipam, uplink
from cni_harvester.attach.undo import UndoStack
from cni_harvester.cni import netconf
from cni_harvester.cni.netconf import NetworkConfig
from cni_harvester.cni.request import Call
from cni_harvester.cni.result import Interface, Ip, Result, format_result, parse_result, require_expressible
from cni_harvester.errors import KernelRefused, NameTaken, TryAgainLater, VerificationFailed
from cni_harvester.ipam import IPAM_TYPE, require_plugin
from cni_harvester.kernel import bridge_vlans, links, lock, namespaces, nftables
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.kernel.links import Link, PortOptions, VethEnd
from cni_harvester.kernel.namespaces import Namespace
from cni_harvester.model import vlan
from cni_harvester.model.attachment import Attachment
from cni_harvester.model.mtu import inherit_mtu

_UP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Addition:
    """One ADD under way: what is asked, where, and how to take it back."""

    call: Call
    config: NetworkConfig
    attachment: Attachment
    mac: str
    namespace: Namespace
    host: Handle
    guest: Handle
    undo: UndoStack


def add(call: Call, *, trace: Trace) -> dict[str, Any]:
    """Attach a container; return the result document in the configuration's version.

    Raises:
        HarvesterError: see `errors`; the node is as it was then, unless it is a RollbackFailed.
    """
    config = netconf.load_network_config(call)
    mac = netconf.choose_mac(config, call) or call.attachment.container_mac
    require_expressible(call.cni_version, has_ipam=bool(config.ipam.type))
    if config.ipam.type:
        require_plugin(call, config.ipam.type)
    previous = _read_previous(call)
    with (
        namespaces.open_namespace(call.netns) as namespace,
        Handle(trace=trace) as host,
        Handle(namespace, trace=trace) as guest,
        UndoStack() as undo,
    ):
        work = Addition(call, config, call.attachment, mac, namespace, host, guest, undo)
        bridge, host_end = _join_bridge(work)
        if config.macspoofchk:
            _guard(work, host_end)
        container_end = _get_container_end(work)
        answer = _request_addresses(work, host_end, container_end)
        _bring_up(work, host_end, container_end, answer)
        own = _describe(work, bridge, host_end, container_end, answer)
        return format_result(_merge(previous, own), call.cni_version)


def _read_previous(call: Call) -> Result | None:
    """Return the result of the plugins before us in a chain."""
    document = call.find("prevResult")
    if document is None:
        return None
    return parse_result(document, config_version=call.cni_version, what="prevResult")


def _join_bridge(work: Addition) -> tuple[Link, Link]:
    """Make the pair and everything on the bridge that belongs to it; return the bridge and the host end."""
    with bridges.hold_bridge(work.host, work.config, work.undo) as bridge:
        bridges.require_vlans(bridge, work.config)
        mtu = inherit_mtu(work.config.mtu, bridge.name, bridge.mtu)
        bridges.prepare_bridge(work.host, bridge, work.config, work.undo)
        if mtu < bridge.mtu:
            links.pin_mtu(work.host, bridge)
        # Undone last, when the host end is gone and no longer counts as a user of its VLANs.
        work.undo.push(f'take VLANs off the uplink of "{bridge.name}"', partial(_release_uplink, work.host, bridge))
        host_end = _create_pair(work, bridge, mtu)
        _set_port_vlans(work, bridge, host_end)
        _add_uplink_vlans(work, bridge)
        return bridge, host_end


def _create_pair(work: Addition, bridge: Link, mtu: int) -> Link:
    """Make the veth pair with its identity; return the host end."""
    attachment = work.attachment
    host_end = VethEnd(attachment.host_end, attachment.host_mac, mtu)
    container_end = VethEnd(attachment.ifname, work.mac, mtu)
    try:
        links.create_veth(work.host, host_end, container_end, work.namespace, bridge=bridge, group=attachment.group)
    except KernelRefused as e:
        if e.errno == errnos.EEXIST:
            raise _explain_taken_name(work) from e
        raise
    work.undo.push(f'delete "{host_end.name}"', partial(_delete_by_name, work.host, host_end.name))
    link = links.find_link(work.host, host_end.name)
    if link is None:
        raise TryAgainLater(
            f'cannot attach "{attachment.ifname}": "{host_end.name}" vanished', "the container may be gone"
        )
    links.name_host_end(work.host, link, attachment.alias)
    if work.config.hairpin_mode or work.config.port_isolation:
        links.set_port_options(work.host, link, PortOptions(work.config.hairpin_mode, work.config.port_isolation))
    return link


def _explain_taken_name(work: Addition) -> NameTaken:
    attachment = work.attachment
    if links.find_link(work.host, attachment.host_end):
        message = (
            f'cannot attach "{attachment.ifname}" of container "{attachment.container_id}": it is attached already'
        )
        hint = f'its host end is "{attachment.host_end}", left as it is; DEL comes before another ADD'
    else:
        message = f'cannot create "{attachment.ifname}" in the container: an interface of that name exists already'
        hint = f"choose another CNI_IFNAME; or: nsenter --net={work.call.netns} ip link del {attachment.ifname}"
    return NameTaken(message, hint)


def _delete_by_name(host: Handle, name: str) -> None:
    if link := links.find_link(host, name):
        links.delete_link(host, link)


def _set_port_vlans(work: Addition, bridge: Link, host_end: Link) -> None:
    """Give the host end its VLAN table, and read it back."""
    wanted = bridges.find_wanted_vlans(bridge, work.config)
    if wanted is None:
        return  # a kernel without VLAN filtering; require_vlans let only an untagged attachment come here
    change = vlan.diff(bridge_vlans.get_port_vlans(work.host, host_end), wanted)
    bridge_vlans.change_port_vlans(work.host, host_end, change)
    found = bridge_vlans.get_port_vlans(work.host, host_end)
    if found != wanted:
        raise VerificationFailed(
            f'cannot set the VLANs of "{host_end.name}": wanted {wanted}, the kernel shows {found}',
            "another program may be changing this bridge's VLANs",
        )


def _add_uplink_vlans(work: Addition, bridge: Link) -> None:
    """Put the attachment's VIDs on the uplink of a cluster network; of an untagged one it is the bridge's own."""
    link = uplink.find_uplink(work.host, bridge)
    vids = uplink.list_uplink_vids(work.config)
    if link is not None and vids and work.config.uplink_vlans == "auto":
        uplink.add_uplink_vlans(work.host, link, vids)


def _release_uplink(host: Handle, bridge: Link) -> None:
    with lock.lock_bridge(bridge.name) as exists:
        if exists:
            uplink.release_uplink_vlans(host, bridge)


def _guard(work: Addition, host_end: Link) -> None:
    guard = nftables.SpoofGuard(work.attachment)
    trace = work.host.trace
    work.undo.push(f'remove rules "{guard.comment}"', partial(nftables.remove_guard, guard, trace=trace))
    nftables.add_guard(guard, host_end.name, work.mac, trace=trace)


def _get_container_end(work: Addition) -> Link:
    link = links.find_link(work.guest, work.attachment.ifname)
    if link is None:
        name = work.attachment.ifname
        raise TryAgainLater(f'cannot attach "{name}": it vanished from the container', "the container may be gone")
    return link


def _request_addresses(work: Addition, host_end: Link, container_end: Link) -> Result:
    """Run the IPAM plugin; our own one leases over the port, which must forward by then."""
    if not work.config.ipam.type:
        return Result()
    if work.config.ipam.type == IPAM_TYPE:
        links.set_admin_state(work.guest, container_end, up=True)
        _wait_until_up(work, host_end)
    return ipam.request_addresses(work.call, work.config, work.undo, trace=work.host.trace)


def _bring_up(work: Addition, host_end: Link, container_end: Link, answer: Result) -> None:
    """Set the container end up, give it its addresses and routes, and wait until the port forwards."""
    if work.config.disable_container_interface:
        return
    if answer.ips:
        ipam.configure(work.guest, work.namespace, container_end, answer, detect_duplicates=work.config.enabledad)
    else:
        links.set_admin_state(work.guest, container_end, up=True)
    _wait_until_up(work, host_end)


def _wait_until_up(work: Addition, host_end: Link) -> None:
    state = links.wait_until_up(work.host, host_end, _UP_TIMEOUT_S)
    if state != "UP":
        hint = "both ends of the pair must be up; the container may be gone, or the node overloaded"
        raise TryAgainLater(f'cannot bring up "{host_end.name}": it is {state} after {_UP_TIMEOUT_S:g} s', hint)


def _describe(work: Addition, bridge: Link, host_end: Link, container_end: Link, answer: Result) -> Result:
    """Make the result of this attachment alone: bridge, host end, container end, in the reference's order."""
    now = links.find_link(work.host, bridge.name) or bridge  # an unpinned bridge takes the lowest MAC of its ports
    return Result(
        interfaces=[
            Interface(name=now.name, mac=now.mac, mtu=now.mtu),
            Interface(name=host_end.name, mac=host_end.mac, mtu=host_end.mtu),
            Interface(name=container_end.name, mac=container_end.mac, mtu=container_end.mtu, sandbox=work.call.netns),
        ],
        ips=[Ip(address=ip.address, gateway=ip.gateway, interface=2) for ip in answer.ips],
        routes=answer.routes,
        dns=work.config.dns if work.config.dns.to_json() else answer.dns,
    )


def _merge(previous: Result | None, own: Result) -> Result:
    """Append our result to that of the plugins before us in a chain."""
    if previous is None:
        return own
    offset = len(previous.interfaces)
    moved = [
        Ip(
            address=ip.address,
            gateway=ip.gateway,
            interface=None if ip.interface is None else ip.interface + offset,
        )
        for ip in own.ips
    ]
    return Result(
        interfaces=[*previous.interfaces, *own.interfaces],
        ips=[*previous.ips, *moved],
        routes=[*previous.routes, *own.routes],
        dns=own.dns if own.dns.to_json() else previous.dns,
    )
