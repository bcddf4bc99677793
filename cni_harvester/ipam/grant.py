"""A server's grant made into a lease."""

import time
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from cni_harvester.dhcp.identity import Client
from cni_harvester.dhcp.offer import Offer
from cni_harvester.ipam.lease import Lease, now_s
from cni_harvester.model.attachment import Attachment

_ON_LINK = IPv4Address(0)  # RFC 3442
_ANYWHERE = IPv4Network("0.0.0.0/0")


def make_lease(attachment: Attachment, netns: str, client: Client, granted: Offer) -> Lease:
    """Make the record of a grant; what the server does not say of renewal, or not well, is RFC 2131's (section 4.4.5).

    Args:
        attachment: whose lease it is.
        netns: path of its namespace.
        client: who asked.
        granted: the server's ACK, found usable; the lease runs from when it was asked for.
    """
    if granted.network is None or granted.server is None or granted.lease_s is None:
        raise ValueError("a usable grant has a mask, a server and a lease time")  # a bug, not an input
    usual = granted.lease_s // 2, granted.lease_s * 7 // 8
    t1_s, t2_s = granted.t1_s or usual[0], granted.t2_s or usual[1]
    if not t1_s <= t2_s < granted.lease_s:  # nonsense, by which it would never be renewed
        t1_s, t2_s = usual
    default = [(_ANYWHERE, granted.gateway)] if granted.gateway else []
    others = [(r.destination, None if r.gateway == _ON_LINK else r.gateway) for r in granted.routes]
    return Lease(
        attachment=attachment,
        netns=netns,
        mac=client.mac,
        client_id=client.identifier,
        address=IPv4Interface((granted.address, granted.network.prefixlen)),
        routes=(*default, *others),
        server=granted.server,
        server_mac=granted.server_mac,
        obtained_s=now_s() - (time.monotonic() - granted.asked_at_s),
        lease_s=granted.lease_s,
        t1_s=t1_s,
        t2_s=t2_s,
        only_server=client.only_server,
    )
