"""Addresses for the container end: asked of an IPAM plugin, configured in the container's namespace."""

import contextlib
from functools import partial

from cni_harvester.attach.undo import UndoStack
from cni_harvester.cni.netconf import NetworkConfig
from cni_harvester.cni.request import Call
from cni_harvester.cni.result import Result, parse_result
from cni_harvester.errors import DelegateFailed, HarvesterError, TryAgainLater, VerificationFailed
from cni_harvester.ipam import run_plugin
from cni_harvester.kernel import addresses, links, namespaces, routes, sysctl
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.kernel.links import Link
from cni_harvester.kernel.namespaces import Namespace
from cni_harvester.kernel.routes import KernelRoute

_SETTLE_TIMEOUT_S = 5.0
_NO_ADDRESS = 114


def request_addresses(call: Call, config: NetworkConfig, undo: UndoStack, *, trace: Trace) -> Result:
    """Run the IPAM plugin's ADD; return its answer.

    Its DEL is run when a later step fails, and when the ADD itself does, for it may have reserved something by then
    (CNI specification, section 4, "Plugin Delegation"). In the latter case only the ADD's error is reported: a DEL that
    fails then has the same cause as a rule, and the runtime's own DEL comes next.

    Raises:
        DelegateFailed: the plugin failed, or gave no address.
    """
    plugin = config.ipam.type
    try:
        document = run_plugin(call, plugin, "ADD", trace=trace)
    except BaseException:  # a termination signal too
        with contextlib.suppress(HarvesterError):
            run_plugin(call, plugin, "DEL", trace=trace)
        raise
    undo.push(f'run IPAM plugin "{plugin}" DEL', partial(run_plugin, call, plugin, "DEL", trace=trace))
    answer = parse_result(
        document or {},
        config_version=call.cni_version,
        what=f'result of IPAM plugin "{plugin}"',
    )
    if not answer.ips:
        hint = 'correct its configuration, or use "ipam": {} for a machine that gets its address from the network'
        raise DelegateFailed(f'IPAM plugin "{plugin}" returned no IP address', hint, code=_NO_ADDRESS)
    return answer


def configure(guest: Handle, namespace: Namespace, link: Link, answer: Result, *, detect_duplicates: bool) -> None:
    """Give the container end its addresses and routes, and set it up.

    Raises:
        VerificationFailed: another machine has one of the IPv6 addresses.
        TryAgainLater: duplicate address detection did not end in time.
    """
    has_ipv6 = any(ip.address.version == 6 for ip in answer.ips)
    namespaces.run_in(
        namespace,
        partial(_set_sysctls, guest, link.name, has_ipv6=has_ipv6, detect_duplicates=detect_duplicates),
    )
    for ip in answer.ips:
        addresses.add_address(guest, link, ip.address, detect_duplicates=detect_duplicates)
    links.set_admin_state(guest, link, up=True)
    if has_ipv6 and detect_duplicates:
        _settle(guest, link, namespace)
    for route in dict.fromkeys(plan_routes(answer)):
        routes.add_route(guest, link, route)


def plan_routes(answer: Result) -> list[KernelRoute]:
    """Turn an answer's routes into the kernel's; one without a gateway goes through the first one of its family."""
    gateways = {ip.address.version: ip.gateway for ip in reversed(answer.ips) if ip.gateway}
    return [
        KernelRoute(
            destination=route.dst,
            gateway=route.gw or (None if route.scope == routes.SCOPE_LINK else gateways.get(route.dst.version)),
            mtu=route.mtu,
            advmss=route.advmss,
            priority=route.priority,
            table=route.table or 0,
            scope=route.scope,
        )
        for route in answer.routes
    ]


def _set_sysctls(guest: Handle, name: str, *, has_ipv6: bool, detect_duplicates: bool) -> None:
    """Prepare the namespace's settings, as the reference plugin does: ARP announces, duplicate detection as asked."""
    sysctl.set_interface("ipv4", name, "arp_notify", 1, trace=guest.trace)
    if not has_ipv6:
        return
    for interface in ("lo", name):
        if sysctl.find_interface("ipv6", interface, "disable_ipv6"):
            sysctl.set_interface("ipv6", interface, "disable_ipv6", 0, trace=guest.trace)
    sysctl.set_interface("ipv6", name, "keep_addr_on_down", 1, trace=guest.trace)
    sysctl.set_interface("ipv6", name, "enhanced_dad", 1, trace=guest.trace)
    sysctl.set_interface("ipv6", name, "accept_dad", int(detect_duplicates), trace=guest.trace)


def _settle(guest: Handle, link: Link, namespace: Namespace) -> None:
    found = addresses.wait_until_settled(guest, link, namespace, _SETTLE_TIMEOUT_S)
    if duplicates := [str(a.interface) for a in found if a.duplicate]:
        message = f'cannot add address to "{link.name}": {", ".join(duplicates)} is in use by another machine'
        raise VerificationFailed(message, "duplicate address detection (RFC 4862) found it; correct the IPAM range")
    if waiting := [str(a.interface) for a in found if a.tentative]:
        message = (
            f'cannot add address to "{link.name}": {", ".join(waiting)} is tentative after {_SETTLE_TIMEOUT_S:g} s'
        )
        raise TryAgainLater(message, "duplicate address detection needs the interface up; the node may be overloaded")
