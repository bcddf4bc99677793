"""The outcome of a discovery, as a value and as the JSON document that people, and our annotation, get."""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from cni_harvester.dhcp.offer import Offer
from cni_harvester.dhcp.verdict import Verdict
from cni_harvester.discovery.documents import drop_empty, offer_to_json
from cni_harvester.discovery.facts import GATEWAY_ARP, Answer, Fact
from cni_harvester.discovery.machine import Place
from cni_harvester.model.route import DHCP_FAILED, PING_FAILED, REACHABLE, UNREACHABLE
from cni_harvester.wire.ndp import Advertisement


@dataclass(frozen=True)
class Discovery:
    """What one discovery, or one check of a route that a person set, has found.

    Attributes:
        place: which network.
        node: name of the node it was tried on.
        at: when it began, in UTC.
        duration_s: how long it took.
        verdict: what came of DHCP; None when DHCP was not asked for (mode manual).
        cidr, gateway: the route; None when none was found.
        facts: what can be reached.
        offers: all answers to us, the taken one among them.
        advertisements: what IPv6 routers advertise.
    """

    place: Place
    node: str
    at: datetime
    duration_s: float
    verdict: Verdict | None
    cidr: IPv4Network | IPv6Network | None
    gateway: IPv4Address | IPv6Address | None
    facts: tuple[Fact, ...] = ()
    offers: tuple[Offer, ...] = ()
    advertisements: tuple[Advertisement, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether there is a route: a CIDR and a gateway."""
        return self.cidr is not None and self.gateway is not None

    @property
    def is_good(self) -> bool:
        """Whether it came out well: a route was found; or one that a person set can be reached."""
        return self.is_valid if self.verdict else self.connectivity == REACHABLE

    @property
    def connectivity(self) -> str:
        """The word of Harvester's annotation for it.

        `true` when the gateway answers ARP on this node, whatever it does with ICMP; `ping failed` when that could not
        be tried, which says nothing of the network; empty when it was not asked for.
        """
        if not self.is_valid:
            return DHCP_FAILED
        answers = {fact.name: fact.answer for fact in self.facts}
        if GATEWAY_ARP not in answers:
            return ""
        return {Answer.YES: REACHABLE, Answer.NO: UNREACHABLE}.get(answers[GATEWAY_ARP], PING_FAILED)

    def to_json(self) -> dict[str, Any]:
        """The whole of it; keys without a value are left out."""
        verdict = self.verdict
        document: dict[str, Any] = {
            "bridge": self.place.bridge,
            "vlan": self.place.vlan,
            "node": self.node,
            "time": self.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "durationSeconds": round(self.duration_s, 3),
            "cidr": str(self.cidr or ""),
            "gateway": str(self.gateway or ""),
            "connectivity": self.connectivity,
            "reason": verdict.reason.value if verdict else "",
            "message": verdict.text if verdict else "",
            "advice": verdict.advice if verdict else "",
            "warnings": list(verdict.warnings) if verdict else [],
            "offers": [offer_to_json(offer, taken=bool(verdict and offer == verdict.offer)) for offer in self.offers],
            "reachability": [_fact_to_json(fact) for fact in self.facts],
            "ipv6Routers": [_advertisement_to_json(a) for a in self.advertisements],
        }
        return drop_empty(document)


def _fact_to_json(fact: Fact) -> dict[str, Any]:
    return {
        "check": fact.name,
        "result": fact.answer.value,
        "reason": fact.reason,
        "durationMilliseconds": round(fact.duration_ms, 1),
    }


def _advertisement_to_json(advertisement: Advertisement) -> dict[str, Any]:
    document = drop_empty(
        {
            "router": str(advertisement.router),
            "routerMAC": advertisement.router_mac,
            "lifetimeSeconds": advertisement.lifetime_s,
            "mtu": advertisement.mtu,
            "prefixes": [str(prefix.network) for prefix in advertisement.prefixes],
            "dns": [str(server) for server in advertisement.dns],
            "faults": list(advertisement.faults),
        }
    )
    return document | {"dhcpv6Addresses": advertisement.managed, "dhcpv6Settings": advertisement.other}
