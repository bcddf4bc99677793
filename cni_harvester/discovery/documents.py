"""What the JSON documents of discovery and survey have in common."""

from typing import Any

from cni_harvester.dhcp.offer import Offer
from cni_harvester.wire.dhcp_options import INFINITE_S, StaticRoute


def drop_empty(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing; 0 and false say something."""
    return {key: value for key, value in document.items() if value not in (None, "", [])}


def offer_to_json(offer: Offer, *, taken: bool = False) -> dict[str, Any]:
    """An offer, with all that the server said, and what is to be said of it; `taken` marks the chosen one."""
    return drop_empty(
        {
            "taken": taken or None,
            "server": str(offer.server or ""),
            "serverMAC": offer.server_mac,
            "relay": str(offer.relay or ""),
            "address": str(offer.address),
            "cidr": str(offer.network or ""),
            "gateway": str(offer.gateway or ""),
            "routers": [str(router) for router in offer.routers],
            "routes": [_route_to_json(route) for route in offer.routes],
            "leaseSeconds": None if offer.lease_s is None else offer.lease_s,
            "leaseInfinite": offer.lease_s == INFINITE_S or None,
            "renewalSeconds": offer.t1_s,
            "rebindingSeconds": offer.t2_s,
            "mtu": offer.mtu,
            "broadcast": str(offer.broadcast or ""),
            "dns": [str(server) for server in offer.dns],
            "domain": offer.domain,
            "search": list(offer.search),
            "ntp": [str(server) for server in offer.ntp],
            "serverMessage": offer.message,
            "faults": list(offer.faults),
            "remarks": list(offer.remarks),
            "answeredSeconds": round(offer.answered_s, 3),
        }
    )


def _route_to_json(route: StaticRoute) -> dict[str, str]:
    return {"destination": str(route.destination), "gateway": str(route.gateway)}
