"""ADD: lease an address for an interface that is there already, and keep the lease."""

from ipaddress import IPv4Address
from typing import Any

from cni_harvester.cni.netconf import Dns
from cni_harvester.cni.request import Call
from cni_harvester.cni.result import Ip, Result, Route, format_result
from cni_harvester.dhcp.client import release, take_lease
from cni_harvester.dhcp.identity import Client
from cni_harvester.dhcp.offer import Offer
from cni_harvester.errors import TryAgainLater
from cni_harvester.ipam.config import load_dhcp_config
from cni_harvester.ipam.grant import make_lease
from cni_harvester.ipam.lease import Lease, write_lease
from cni_harvester.kernel import links, namespaces
from cni_harvester.kernel.frames import FrameSocket
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.kernel.routes import SCOPE_LINK

_UP_TIMEOUT_S = 10.0


def add(call: Call, *, trace: Trace) -> dict[str, Any]:
    """Lease an address; return the result document in the configuration's version.

    Raises:
        TryAgainLater: no lease within the time that the configuration allows; says what was heard (code 11).
        InvalidNetworkConfig, UnsupportedField: the `ipam` object is wrong.
    """
    config = load_dhcp_config(call)
    name = call.attachment.ifname
    with namespaces.open_namespace(call.netns) as namespace:
        with Handle(namespace, trace=trace) as guest:
            link = links.find_link(guest, name)
            if link is None:
                message = f'cannot lease an address for "{name}": it is not in the container'
                raise TryAgainLater(message, f"the main plugin makes it before it asks for an address; {call.netns}")
            if not link.up:
                links.set_admin_state(guest, link, up=True)
            _wait_for_carrier(guest, link, namespace)
        with FrameSocket(name, namespace) as port:
            server = IPv4Address(config.server) if config.server else None
            client = Client(port.mac, config.identifier, server)
            offer = take_lease(port, client, timeout_s=config.timeout_s, where=f'"{name}"')
            lease = make_lease(call.attachment, call.netns, client, offer)
            try:
                write_lease(lease)
            except BaseException:
                release(port, client, lease.grant)
                raise
    return format_result(_make_result(lease, offer), call.cni_version)


def _wait_for_carrier(guest: Handle, link: links.Link, namespace: namespaces.Namespace) -> None:
    ready = {"UP", "UNKNOWN"}  # a dummy never says UP
    state = links.wait_until_up(guest, link, _UP_TIMEOUT_S, namespace=namespace, ready=ready)
    if state not in ready:
        hint = "its other end, or what it is stacked on, must be up"
        raise TryAgainLater(f'cannot lease an address for "{link.name}": it is {state} after {_UP_TIMEOUT_S:g} s', hint)


def _make_result(lease: Lease, granted: Offer) -> Result:
    """Make the result: the address, the routes that the server wants, its name service."""
    routes = [
        Route(dst=destination, gw=gateway, scope=None if gateway else SCOPE_LINK)
        for destination, gateway in lease.routes
    ]
    dns = Dns(nameservers=[str(server) for server in granted.dns], domain=granted.domain, search=list(granted.search))
    return Result(ips=[Ip(address=lease.address, gateway=lease.gateway)], routes=routes, dns=dns)
