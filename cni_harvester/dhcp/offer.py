"""A server's answer made into an offer, and judged: what it gives, what is wrong with it, what is only remarkable.

A fault makes an offer unusable: no address or route is ever taken from it. A remark does not.
"""

import dataclasses
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from cni_harvester.wire import dhcp, dhcp_options
from cni_harvester.wire.dhcp import Reply
from cni_harvester.wire.dhcp_options import INFINITE_S, StaticRoute

_ANYWHERE = IPv4Network("0.0.0.0/0")
_ON_LINK = IPv4Address(0)
_SHORT_LEASE_S = 60
NO_GATEWAY = "there is no gateway (option 3 or 121)"
_ESSENTIAL = frozenset(
    {dhcp_options.MASK, dhcp_options.ROUTER, dhcp_options.SERVER_ID, dhcp_options.LEASE_TIME, dhcp_options.MESSAGE_TYPE}
    | {dhcp_options.CLASSLESS_ROUTES, dhcp_options.OVERLOAD}
)
"""Options whose faults make an offer unusable; a fault in another one is a remark."""


@dataclass(frozen=True)
class Offer:
    """What one server offers, or grants.

    Attributes:
        kind: `dhcp.OFFER`, `dhcp.ACK` or `dhcp.NAK`; None when the message does not say.
        server: its server identifier (option 54); None when missing.
        server_mac: MAC that the message came from: the server's, or the relay's.
        relay: the relay that it came through.
        address: the address for the client.
        network: the subnet of that address, by option 1; None when missing.
        gateway: the default router, None when there is none: of option 121 if that is there, of option 3 otherwise
            (RFC 3442).
        lease_s, t1_s, t2_s: seconds; `lease_s` None when missing, INFINITE_S for ever.
        routes: further routes, as the same rule has it, the default one left out.
        faults: why it cannot be used.
        remarks: what a person should know.
        asked_at_s: monotonic time of the first question.
        answered_s: seconds from then to this answer.
    """

    kind: int | None
    server: IPv4Address | None
    server_mac: str
    relay: IPv4Address | None
    address: IPv4Address
    network: IPv4Network | None = None
    gateway: IPv4Address | None = None
    routers: tuple[IPv4Address, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    lease_s: int | None = None
    t1_s: int | None = None
    t2_s: int | None = None
    mtu: int | None = None
    broadcast: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    ntp: tuple[IPv4Address, ...] = ()
    message: str = ""
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    asked_at_s: float = 0.0
    answered_s: float = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.faults

    @property
    def route(self) -> tuple[IPv4Network | None, IPv4Address | None]:
        """What a route document keeps of it."""
        return self.network, self.gateway


def judge(
    reply: Reply, *, expected: int = dhcp.OFFER, asked_at_s: float = 0.0, informed: IPv4Interface | None = None
) -> Offer:
    """Make an offer of a reply that answers us, and find its faults.

    Args:
        reply: an answer with our transaction and our MAC.
        expected: the kind of message that is right here: OFFER, or ACK.
        asked_at_s: monotonic time of the first question.
        informed: the address that we had when we sent an INFORM, whose ACK has neither address nor lease, and not
            always a mask (RFC 2131, section 4.3.5).
    """
    offer = _read(reply, asked_at_s)
    if informed:
        length = reply.options.find(dhcp_options.MASK) or informed.network.prefixlen
        network = IPv4Network((informed.ip, length), strict=False)
        offer = dataclasses.replace(offer, address=informed.ip, network=network)
    faults = [*reply.faults, *reply.options.structure, *_find_kind_faults(reply, expected)]
    faults += [fault for code, fault in reply.options.faults.items() if code in _ESSENTIAL]
    remarks = [fault for code, fault in reply.options.faults.items() if code not in _ESSENTIAL]
    if offer.kind != dhcp.NAK and not reply.faults:
        faults += _find_address_faults(offer)
        faults += _find_gateway_faults(offer)
        faults += _find_server_faults(offer, reply)
        if not informed:
            faults += _find_lease_faults(offer, reply)
        remarks += _find_remarks(offer, reply)
    route_faults = {route: fault for route in offer.routes if (fault := _find_route_fault(offer, route))}
    remarks += [f"the route to {r.destination} is left out: {fault}" for r, fault in route_faults.items()]
    routes = tuple(route for route in offer.routes if route not in route_faults)
    return dataclasses.replace(offer, routes=routes, faults=tuple(dict.fromkeys(faults)), remarks=tuple(remarks))


def _read(reply: Reply, asked_at_s: float) -> Offer:
    find = reply.options.find
    length = find(dhcp_options.MASK)
    gateway, routes = _choose_routes(reply)
    return Offer(
        kind=reply.kind,
        server=find(dhcp_options.SERVER_ID),
        server_mac=reply.source_mac,
        relay=reply.relay,
        address=reply.address,
        network=IPv4Network((reply.address, length), strict=False) if length else None,
        gateway=gateway,
        routers=find(dhcp_options.ROUTER) or (),
        routes=routes,
        lease_s=find(dhcp_options.LEASE_TIME),
        t1_s=find(dhcp_options.T1),
        t2_s=find(dhcp_options.T2),
        mtu=find(dhcp_options.MTU),
        broadcast=find(dhcp_options.BROADCAST),
        dns=find(dhcp_options.DNS) or (),
        domain=find(dhcp_options.DOMAIN) or "",
        search=find(dhcp_options.SEARCH) or (),
        ntp=find(dhcp_options.NTP) or (),
        message=find(dhcp_options.MESSAGE) or "",
        asked_at_s=asked_at_s,
        answered_s=max(0.0, reply.at_s - asked_at_s),
    )


def _choose_routes(reply: Reply) -> tuple[IPv4Address | None, tuple[StaticRoute, ...]]:
    """Return the gateway and the other routes: option 121 (else 249) alone if there, else 3 and 33 (RFC 3442)."""
    find = reply.options.find
    classless = find(dhcp_options.CLASSLESS_ROUTES) or find(dhcp_options.MS_CLASSLESS_ROUTES)
    if classless:
        defaults = [r.gateway for r in classless if r.destination == _ANYWHERE and r.gateway != _ON_LINK]
        others = tuple(r for r in classless if r.destination != _ANYWHERE)
        return (defaults[0] if defaults else None), others
    routers = find(dhcp_options.ROUTER)
    return (routers[0] if routers else None), find(dhcp_options.STATIC_ROUTES) or ()


def _find_kind_faults(reply: Reply, expected: int) -> list[str]:
    if reply.faults or reply.options.structure or dhcp_options.MESSAGE_TYPE in reply.options.faults:
        return []  # that says enough
    if reply.kind == dhcp.NAK:
        text = reply.options.find(dhcp_options.MESSAGE)
        return ["the server refuses (NAK)" + (f": {text}" if text else "")]
    if reply.kind is None:
        return ["there is no message type (option 53): a BOOTP answer, not a DHCP one"]
    if reply.kind != expected:
        kind = dhcp.TYPE_NAMES.get(reply.kind, str(reply.kind))
        return [f"the message type is {kind} instead of {dhcp.TYPE_NAMES[expected]}"]
    return []


def _find_address_faults(offer: Offer) -> list[str]:
    """Say why the address or its subnet cannot be a machine's."""
    faults = []
    address, network = offer.address, offer.network
    if not int(address):
        faults.append("it offers no address (0.0.0.0)")
    elif _is_for_no_machine(address):
        faults.append(f"the address {address} is none for a machine")
    if offer.server is not None and address == offer.server and int(address):
        faults.append(f"it offers the server's own address {address}")
    if network and network.prefixlen < 31 and address in {network.network_address, network.broadcast_address}:
        which = "network" if address == network.network_address else "broadcast"
        faults.append(f"the address {address} is the {which} address of {network}")
    return faults


def _is_for_no_machine(address: IPv4Address) -> bool:
    kinds = (address.is_multicast, address.is_loopback, address.is_reserved, address.is_link_local)
    return int(address) >> 24 == 0 or any(kinds)


def _find_gateway_faults(offer: Offer) -> list[str]:
    """Say why the gateway cannot be one; without a subnet there is nothing to hold it against."""
    network, gateway = offer.network, offer.gateway
    if network is None or gateway is None:
        return []
    if gateway not in network:
        return [f"the gateway {gateway} is outside of the subnet {network}"]
    if _is_for_no_machine(gateway):
        return [f"the gateway {gateway} is none for a machine"]
    if gateway == offer.address:
        return [f"the gateway {gateway} is the very address that is offered"]
    if network.prefixlen < 31 and gateway in {network.network_address, network.broadcast_address}:
        which = "network" if gateway == network.network_address else "broadcast"
        return [f"the gateway {gateway} is the {which} address of {network}"]
    return []


def _find_route_fault(offer: Offer, route: StaticRoute) -> str:
    """Say why no machine can have a route; empty when it can. Without a subnet the offer is unusable anyway."""
    if route.destination.is_multicast or route.destination.is_loopback:
        return "no machine has a route to there"
    if route.gateway == _ON_LINK or offer.network is None:
        return ""
    if route.gateway not in offer.network or _is_for_no_machine(route.gateway):
        return f"its gateway {route.gateway} is outside of the subnet {offer.network}"
    return "its gateway is the very address that is offered" if route.gateway == offer.address else ""


def _find_server_faults(offer: Offer, reply: Reply) -> list[str]:
    if offer.server is None:
        known = dhcp_options.SERVER_ID in reply.options.faults
        return [] if known else ["there is no server identifier (option 54)"]
    if not int(offer.server) or offer.server.is_multicast or offer.server.is_reserved:
        return [f"the server identifier {offer.server} is no address of a server"]
    return []


def _find_lease_faults(offer: Offer, reply: Reply) -> list[str]:
    faults = []
    read = reply.options.faults
    if offer.network is None and dhcp_options.MASK not in read:
        zero = reply.options.find(dhcp_options.MASK) == 0
        faults.append("the subnet mask is 0.0.0.0" if zero else "there is no subnet mask (option 1)")
    if offer.lease_s is None and dhcp_options.LEASE_TIME not in read:
        faults.append("there is no lease time (option 51)")
    elif offer.lease_s == 0:
        faults.append("the lease time is 0 seconds")
    return faults


def _find_remarks(offer: Offer, reply: Reply) -> list[str]:
    remarks = []
    if offer.lease_s == INFINITE_S:
        remarks.append("the lease never ends")
    elif offer.lease_s and offer.lease_s < _SHORT_LEASE_S:
        remarks.append(f"the lease is short: {offer.lease_s} s")
    times = [t for t in (offer.t1_s, offer.t2_s, offer.lease_s) if t is not None]
    if times != sorted(times):
        remarks.append(f"renewal, rebinding and lease time are out of order: {', '.join(f'{t} s' for t in times)}")
    if offer.gateway is None:
        remarks.append(NO_GATEWAY)
    elif len(offer.routers) > 1:
        remarks.append(f"{len(offer.routers)} routers: {', '.join(map(str, offer.routers))}; the first one counts")
    if offer.gateway and offer.routers and offer.gateway not in offer.routers:
        code = next(
            c for c in (dhcp_options.CLASSLESS_ROUTES, dhcp_options.MS_CLASSLESS_ROUTES) if reply.options.find(c)
        )
        other = f"option {code} has gateway {offer.gateway}, option 3 {offer.routers[0]}"
        remarks.append(f"{other}; {code} counts (RFC 3442)")
    return remarks
