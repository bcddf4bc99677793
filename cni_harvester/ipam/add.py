"""ADD: lease an address for an interface that is there already, and keep the lease."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from cni_harvester.cni.netconf import Dns
from cni_harvester.cni.request import Call
from cni_harvester.cni.result import Ip, Result, Route, format_result
from cni_harvester.dhcp.client import release, take_lease
from cni_harvester.dhcp.identity import Client
from cni_harvester.dhcp.offer import Offer
from cni_harvester.errors import TryAgainLater
from cni_harvester.ipam.config import load_dhcp_config
from cni_harvester.ipam.lease import Lease, now_s, write_lease
from cni_harvester.kernel import links, namespaces
from cni_harvester.kernel.frames import FrameSocket
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.model.attachment import Attachment

_UP_TIMEOUT_S = 10.0
_SCOPE_LINK = 253  # RT_SCOPE_LINK, linux/rtnetlink.h
_ON_LINK = IPv4Address(0)
_ANYWHERE = IPv4Network("0.0.0.0/0")


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
            asked_s = now_s()
            offer = take_lease(port, client, timeout_s=config.timeout_s, where=f'"{name}"')
            lease = make_lease(call.attachment, call.netns, client, offer, asked_s)
            try:
                write_lease(lease)
            except BaseException:
                release(port, client, lease.grant)
                raise
    return format_result(_make_result(offer), call.cni_version)


def _wait_for_carrier(guest: Handle, link: links.Link, namespace: namespaces.Namespace) -> None:
    ready = {"UP", "UNKNOWN"}  # a dummy never says UP
    state = links.wait_until_up(guest, link, _UP_TIMEOUT_S, namespace=namespace, ready=ready)
    if state not in ready:
        hint = "its other end, or what it is stacked on, must be up"
        raise TryAgainLater(f'cannot lease an address for "{link.name}": it is {state} after {_UP_TIMEOUT_S:g} s', hint)


def make_lease(attachment: Attachment, netns: str, client: Client, granted: Offer, asked_s: float) -> Lease:
    """Make the record of a grant; what the server does not say of renewal is RFC 2131's (section 4.4.5).

    Args:
        attachment: whose lease it is.
        netns: path of its namespace.
        client: who asked.
        granted: the server's ACK, found usable.
        asked_s: when it was asked for, on the clock of `now_s`; the lease runs from then.
    """
    if granted.network is None or granted.server is None or granted.lease_s is None:
        raise ValueError("a usable grant has a mask, a server and a lease time")  # a bug, not an input
    t1_s = granted.t1_s or granted.lease_s // 2
    t2_s = granted.t2_s or granted.lease_s * 7 // 8
    return Lease(
        attachment=attachment,
        netns=netns,
        mac=client.mac,
        client_id=client.identifier,
        address=IPv4Interface((granted.address, granted.network.prefixlen)),
        gateway=granted.gateway,
        server=granted.server,
        server_mac=granted.server_mac,
        obtained_s=asked_s,
        lease_s=granted.lease_s,
        t1_s=min(t1_s, granted.lease_s),
        t2_s=min(max(t1_s, t2_s), granted.lease_s),
        only_server=client.only_server,
    )


def _make_result(granted: Offer) -> Result:
    """Make the result: the address, the routes that the server wants, its name service."""
    if granted.network is None:
        raise ValueError("a usable grant has a mask")  # a bug, not an input
    address = IPv4Interface((granted.address, granted.network.prefixlen))
    routes = [Route(dst=_ANYWHERE, gw=granted.gateway)] if granted.gateway else []
    for route in granted.routes:
        on_link = route.gateway == _ON_LINK  # RFC 3442
        gateway, scope = (None, _SCOPE_LINK) if on_link else (route.gateway, None)
        routes.append(Route(dst=route.destination, gw=gateway, scope=scope))
    dns = Dns(nameservers=[str(server) for server in granted.dns], domain=granted.domain, search=list(granted.search))
    return Result(ips=[Ip(address=address, gateway=granted.gateway)], routes=routes, dns=dns)
