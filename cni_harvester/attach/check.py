"""CHECK: is an attachment still what its ADD made of it? Names every mismatch, with both values; changes nothing.

It forgives what does not harm: a bridge's MAC, which follows its ports, KubeVirt's renaming of the container end, and
what plugins later in a chain did. A runtime may give a machine up whose CHECK fails, so a false alarm is costly.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cni_harvester.attach import bridge as bridges
from cni_harvester.attach import ipam, uplink
from cni_harvester.cni import netconf
from cni_harvester.cni.netconf import NetworkConfig
from cni_harvester.cni.request import Call
from cni_harvester.cni.result import Interface, Result, parse_result
from cni_harvester.errors import InvalidNetworkConfig, VerificationFailed
from cni_harvester.ipam import run_plugin
from cni_harvester.kernel import addresses, bridge_vlans, links, namespaces, nftables, routes
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.kernel.links import Link
from cni_harvester.model import vlan
from cni_harvester.model.attachment import Attachment

_CARRIER_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Inspection:
    """One CHECK under way, and the mismatches that it found so far."""

    config: NetworkConfig
    attachment: Attachment
    previous: Result
    host: Handle
    mismatches: list[str]

    def expect(self, what: str, wanted: object, found: object) -> None:
        """Note a mismatch unless both are equal."""
        if wanted != found:
            self.mismatches.append(f"{what}: expected {wanted}, found {found}")


def check(call: Call, *, trace: Trace) -> None:
    """Compare an attachment with its configuration and with the result of its ADD.

    Raises:
        VerificationFailed: with every mismatch.
    """
    config = netconf.load_network_config(call)
    document = call.find("prevResult")
    if document is None:
        hint = "the runtime passes the result of the ADD"
        raise InvalidNetworkConfig("invalid network configuration: prevResult: missing", hint)
    previous = parse_result(document, config_version=call.cni_version, what="prevResult")
    with namespaces.open_namespace(call.netns) as namespace, Handle(trace=trace) as host:
        seen = Inspection(config, call.attachment, previous, host, [])
        host_end = _check_host_end(seen)
        if host_end is not None:
            with Handle(namespace, trace=trace) as guest:
                _check_container_end(seen, guest, host_end, call.netns)
    if seen.mismatches:
        hint = "delete the machine's pod and start it again, or repair what the message names"
        raise VerificationFailed(
            f'attachment "{call.attachment.ifname}" is damaged: {"; ".join(seen.mismatches)}', hint
        )
    if config.ipam.type:
        run_plugin(call, config.ipam.type, "CHECK", trace=trace)


def _check_host_end(seen: Inspection) -> Link | None:
    """Check the host end and what is around it; return it, or None when there is none to go on with."""
    bridge = links.find_link(seen.host, seen.config.bridge)
    if bridge is None:
        seen.mismatches.append(f'bridge "{seen.config.bridge}": expected to exist, found none')
        return None
    bridges.require_bridge(bridge)
    seen.expect(f'bridge "{bridge.name}" state', "up", "up" if bridge.up else "down")
    name = seen.attachment.host_end
    link = links.find_link(seen.host, name)
    if link is None:
        seen.mismatches.append(f'host end "{name}": expected to exist, found none')
        return None
    seen.expect(f'kind of "{name}"', "veth", link.kind)
    seen.expect(f'ifalias of "{name}"', seen.attachment.alias, link.alias)
    seen.expect(f'controller of "{name}"', bridge.name, _name_of(seen.host, link.controller))
    _check_mtu(seen, bridge, link)
    seen.expect(f'state of "{name}"', "up", "up" if link.up else "down")
    if link.up and not seen.config.disable_container_interface:
        # KubeVirt takes the container end down to rename it; the kernel tells of the carrier up to a second later.
        state = links.wait_until_up(seen.host, link, _CARRIER_TIMEOUT_S)
        seen.expect(f'operstate of "{name}"', "UP", state)
    if link.controller == bridge.index:
        _check_port(seen, bridge, link)
    return link


def _check_mtu(seen: Inspection, bridge: Link, link: Link) -> None:
    """Check the host end's MTU; what its ADD recorded is right as well, while the bridge's is not below it.

    A machine keeps its MTU when the cluster network's is raised, and is not damaged by that.
    """
    recorded = _find_recorded(seen.previous, link.name, "")
    wanted = seen.config.mtu or bridge.mtu
    if not (recorded and link.mtu == recorded.mtu <= bridge.mtu):
        seen.expect(f'MTU of "{link.name}"', wanted, link.mtu)


def _name_of(host: Handle, index: int | None) -> str:
    link = links.find_link_by_index(host, index) if index else None
    return link.name if link else "none"


def _check_port(seen: Inspection, bridge: Link, link: Link) -> None:
    """Check what the bridge knows of the host end: flags, VLANs, the uplink's VLANs, spoof protection."""
    config = seen.config
    if link.port:
        seen.expect(f'hairpin of "{link.name}"', config.hairpin_mode, link.port.hairpin)
        seen.expect(f'isolation of "{link.name}"', config.port_isolation, link.port.isolated)
    if config.promisc_mode:
        seen.expect(f'promiscuous mode of "{bridge.name}"', True, bridge.promiscuous)
    if bridge.bridge and config.needs_filtering:
        seen.expect(f'VLAN filtering of "{bridge.name}"', "on", "on" if bridge.bridge.vlan_filtering else "off")
    if wanted := bridges.find_wanted_vlans(bridge, config):
        seen.expect(f'VLANs of "{link.name}"', str(wanted), str(bridge_vlans.get_port_vlans(seen.host, link)))
        _check_uplink(seen, bridge)
    if config.macspoofchk:
        guard = nftables.SpoofGuard(seen.attachment)
        present = nftables.has_chain(guard.chain) and nftables.has_chain(f"{guard.chain}-mac")
        seen.expect(f'rules "{guard.comment}"', "present", "present" if present else "missing")


def _check_uplink(seen: Inspection, bridge: Link) -> None:
    vids = uplink.list_uplink_vids(seen.config)
    link = uplink.find_uplink(seen.host, bridge)
    if link and vids and seen.config.uplink_vlans == "auto":
        missing = vids - bridge_vlans.get_port_vlans(seen.host, link).vids
        seen.expect(f'VLANs missing on uplink "{link.name}"', "none", vlan.format_vids(missing))


def _check_container_end(seen: Inspection, guest: Handle, host_end: Link, netns: str) -> None:
    """Check the container end, found as the host end's peer, whatever its name is by now."""
    link = links.find_link_by_index(guest, host_end.peer[0]) if host_end.peer else None
    name = seen.attachment.ifname
    if link is None or link.kind != "veth" or not link.peer or link.peer[0] != host_end.index:
        seen.mismatches.append(f'peer of "{host_end.name}" in {netns}: expected "{name}", found none')
        return
    recorded = _find_recorded(seen.previous, name, netns)
    if not (recorded and link.mtu == recorded.mtu != _recorded_host_mtu(seen)):  # a later plugin of a chain gave it
        seen.expect(f'MTU of "{link.name}" in the container', host_end.mtu, link.mtu)
    if not seen.config.disable_container_interface:
        seen.expect(f'state of "{link.name}" in the container', "up", "up" if link.up else "down")
    if link.name != name:
        return  # KubeVirt's bridge binding: its name, MAC and addresses have moved into the guest
    if recorded and recorded.mac:
        seen.expect(f'MAC of "{name}" in the container', recorded.mac.lower(), link.mac)
    _check_addresses(seen, guest, link, netns)


def _recorded_host_mtu(seen: Inspection) -> int:
    recorded = _find_recorded(seen.previous, seen.attachment.host_end, "")
    return recorded.mtu if recorded else 0


def _find_recorded(previous: Result, name: str, netns: str) -> Interface | None:
    return next((i for i in previous.interfaces if i.name == name and i.sandbox == netns), None)


def _check_addresses(seen: Inspection, guest: Handle, link: Link, netns: str) -> None:
    """Check the addresses of this interface, and the routes through it, that the result names."""
    ours = {i for i, one in enumerate(seen.previous.interfaces) if one.name == link.name and one.sandbox == netns}
    wanted = [ip.address for ip in seen.previous.ips if ip.interface in ours]
    if not wanted:
        return
    present = {a.interface for a in addresses.list_addresses(guest, link)}
    for address in wanted:
        if address not in present:
            seen.mismatches.append(f'address of "{link.name}": expected {address}, found {_join(present)}')
    if not seen.config.ipam.type:
        return
    found = routes.list_routes(guest, link)
    for route in ipam.plan_routes(seen.previous):
        if not any(_is_same_route(route, other) for other in found):
            near = _join(other for other in found if other.destination == route.destination)
            seen.mismatches.append(f'route through "{link.name}": expected {route}, found {near}')


def _is_same_route(wanted: routes.KernelRoute, found: routes.KernelRoute) -> bool:
    """Whether a route is there; what the result does not say may be anything."""
    return (
        wanted.destination == found.destination
        and wanted.gateway == found.gateway
        and wanted.priority in {0, found.priority}
        and wanted.table in {0, found.table}
        and wanted.mtu in {0, found.mtu}
        and wanted.advmss in {0, found.advmss}
    )


def _join(values: Iterable[object]) -> str:
    return ", ".join(sorted(str(value) for value in values)) or "none"
