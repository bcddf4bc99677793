"""What the sightings of a probe mean: which offer is taken, why none is, and what a person should be warned of.

The best offer is, of those that are usable and from a server that counts: one with a gateway before one without, then
the one with the fewest remarks, then the earliest, then the one with the lowest server identifier.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from cni_harvester.dhcp.offer import Offer
from cni_harvester.dhcp.sightings import Elsewhere, Sightings
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.wire import dhcp

_SLOW_S = 2.0


class Reason(Enum):
    """How a discovery ended; docs/dhcp-failed.md has a section for each."""

    FOUND = "found"
    SILENCE = "silence"
    NO_SERVER = "no-server"
    OTHERS_ONLY = "others-only"
    WRONG_VLAN = "wrong-vlan"
    DROPPED_ON_NODE = "dropped-on-node"
    REFUSED = "refused"
    MALFORMED = "malformed"
    FAULTY_OFFER = "faulty-offer"
    NO_GATEWAY = "no-gateway"
    SERVER_SILENT = "server-silent"
    UNTRUSTED_ONLY = "untrusted-only"


ADVICE = {
    Reason.FOUND: "",
    Reason.SILENCE: "is the VLAN allowed on the switch port of this node? `cni-harvester survey` shows which ones are",
    Reason.NO_SERVER: "is there a DHCP server or relay in this VLAN, with a free address? Otherwise set the route to "
    "manual, with its CIDR and gateway",
    Reason.OTHERS_ONLY: "a server is there and answers others: does it know our MAC as one to ignore, or has it no "
    "free address?",
    Reason.WRONG_VLAN: "the switch moves frames between VLANs: compare the native VLAN of its port with that of the "
    "uplink, and look for VLAN translation",
    Reason.DROPPED_ON_NODE: "the node itself drops the answer: look at `bridge vlan show`, at ebtables and nftables "
    "rules, and at net.bridge.bridge-nf-call-iptables",
    Reason.REFUSED: "the server's log says why",
    Reason.MALFORMED: "something answers that is no proper DHCP server: find the port of its MAC on the switch",
    Reason.FAULTY_OFFER: "correct the server's configuration",
    Reason.NO_GATEWAY: "add the router (option 3) to the server's configuration, or set the route to manual",
    Reason.SERVER_SILENT: "is the server's address right (its server identifier, option 54, counts), and does a relay "
    "forward to it?",
    Reason.UNTRUSTED_ONLY: "add the server to the trusted ones if it is right, or find the port of its MAC on the "
    "switch, and enable DHCP snooping there",
}


@dataclass(frozen=True)
class Verdict:
    """What came out: the offer that is taken, if any, why, and what else is worth knowing."""

    reason: Reason
    text: str
    offer: Offer | None = None
    warnings: tuple[str, ...] = ()

    @property
    def advice(self) -> str:
        """What to do next."""
        return ADVICE[self.reason]


def judge_sightings(seen: Sightings, wishes: Wishes, where: str, vlan_at_uplink: int | None) -> Verdict:
    """Say what a probe has found.

    Args:
        seen: what it came across.
        wishes: what was asked for.
        where: the network, for messages: `VLAN 100 of cn1-br`.
        vlan_at_uplink: the tag that the network's frames have on the uplink; None when they have none.
    """
    best = choose_offer(seen.offers, wishes)
    warnings = tuple(_find_warnings(seen, wishes, where, best, vlan_at_uplink))
    if best and best.gateway:
        return Verdict(Reason.FOUND, f"{name_server(best)} offers {best.network} via {best.gateway}", best, warnings)
    if best:
        text = f"{name_server(best)} offers {best.network} and no gateway"
        return Verdict(Reason.NO_GATEWAY, text, best, warnings)
    reason, text = _explain_failure(seen, wishes, where, vlan_at_uplink)
    return Verdict(reason, text, None, warnings)


def choose_offer(offers: Iterable[Offer], wishes: Wishes) -> Offer | None:
    """Return the best offer by the rule above; None when there is none that is usable."""
    usable = [offer for offer in offers if offer.is_usable and wishes.believes(offer)]
    return min(usable, key=_rank, default=None)


def _rank(offer: Offer) -> tuple[bool, int, float, int]:
    return offer.gateway is None, len(offer.remarks), offer.answered_s, int(offer.server or 0)


def name_server(offer: Offer) -> str:
    """Name an offer's server: `DHCP server 192.0.2.1 (02:00:00:00:00:01)`, and its relay."""
    relay = f" through relay {offer.relay}" if offer.relay else ""
    identifier = offer.server or "without identifier"
    return f"DHCP server {identifier} ({offer.server_mac}){relay}"


def _explain_failure(seen: Sightings, wishes: Wishes, where: str, vlan_at_uplink: int | None) -> tuple[Reason, str]:
    """Say why there is no offer to use; the strongest evidence counts."""
    if seen.offers:
        return _explain_offers(seen.offers, wishes, where)
    if stray := [e for e in seen.elsewhere if e.vlan != vlan_at_uplink]:
        found = _join(sorted(map(_name_stray, stray)))
        return Reason.WRONG_VLAN, f"the answer for {where} came back in another VLAN: {found}"
    if seen.elsewhere:
        return Reason.DROPPED_ON_NODE, f"an answer for {where} came in at the uplink, and did not reach the machine"
    if seen.unreadable:
        found = _join(f"{mac}: {_join(faults)}" for mac, faults in sorted(seen.unreadable.items()))
        return Reason.MALFORMED, f"nothing but malformed answers on {where}: {found}"
    return _explain_silence(seen, wishes, where)


def _explain_offers(offers: list[Offer], wishes: Wishes, where: str) -> tuple[Reason, str]:
    """Say why none of the answers to us can be used."""
    if not any(wishes.believes(offer) for offer in offers):
        names = _join(dict.fromkeys(map(_name_with_faults, offers)))
        if wishes.server is not None:
            return Reason.SERVER_SILENT, f"DHCP server {wishes.server} does not answer on {where}; what does: {names}"
        return Reason.UNTRUSTED_ONLY, f"only servers that are not trusted answer on {where}: {names}"
    faulty = [offer for offer in offers if not offer.is_usable]
    text = _join(map(_name_with_faults, faulty))
    refused = all(offer.kind == dhcp.NAK for offer in faulty)
    return Reason.REFUSED if refused else Reason.FAULTY_OFFER, text


def _name_with_faults(offer: Offer) -> str:
    return f"{name_server(offer)}: {_join(offer.faults)}" if offer.faults else name_server(offer)


def _explain_silence(seen: Sightings, wishes: Wishes, where: str) -> tuple[Reason, str]:
    """Say what can be heard where nothing answers us."""
    if seen.strangers:
        return Reason.OTHERS_ONLY, f"DHCP answers on {where} were for {_count(seen.strangers, 'other client')} only"
    asked = f"{seen.questions} question{'s' if seen.questions > 1 else ''} in {wishes.timeout_s:g} s"
    if seen.beyond == set() and seen.senders:  # those do not tell that the VLAN reaches the switch
        heard = _count(seen.senders, "station")
        text = f"nothing at all was heard on {where} from beyond its uplink ({asked}), only {heard} of this node"
        return Reason.SILENCE, text
    if seen.beyond and not seen.senders:
        heard = _count(seen.beyond, "station")
        return Reason.DROPPED_ON_NODE, f"{heard} of {where} can be heard at the uplink, and nothing reached the machine"
    if seen.senders:
        heard = _count(seen.beyond or seen.senders, "other station")
        return Reason.NO_SERVER, f"no DHCP server answers on {where} ({asked}); {heard} can be heard there"
    return Reason.SILENCE, f"nothing at all was heard on {where}, not even broadcasts ({asked})"


def _count(things: Collection[object], what: str) -> str:
    return f"{len(things)} {what}{'s' if len(things) > 1 else ''}"


def _name_stray(answer: Elsewhere) -> str:
    where = f"VLAN {answer.vlan}" if answer.vlan else "untagged"
    return f"{where} (server {answer.server or answer.server_mac})"


def _find_warnings(
    seen: Sightings, wishes: Wishes, where: str, best: Offer | None, vlan_at_uplink: int | None
) -> Iterable[str]:
    usable = [offer for offer in seen.offers if offer.is_usable]
    yield from _find_disagreement(usable, where)
    rogues = [offer for offer in usable if wishes.trusted and offer.server not in wishes.trusted]
    for name in dict.fromkeys(map(name_server, rogues)):
        yield f"rogue {name} on {where}: it is not in the list of trusted servers"
    if best:
        yield from (f"{name_server(best)}: {remark}" for remark in best.remarks)
        if best.answered_s > _SLOW_S:
            yield f"{name_server(best)} took {best.answered_s:.1f} s to answer"
        yield from (f"{name_server(o)}: {_join(o.faults)}" for o in seen.offers if not o.is_usable)
        yield from (f"{mac}: {_join(faults)}" for mac, faults in sorted(seen.unreadable.items()))
        for stray in sorted(seen.elsewhere, key=lambda e: e.vlan or 0):
            if stray.vlan != vlan_at_uplink:
                yield f"an answer for {where} came back in another VLAN: {_name_stray(stray)}"
    for (server, mac), count in seen.answers.items():
        if count > seen.questions:
            yield f"DHCP server {server or 'without identifier'} ({mac}) answered {count} times to {seen.questions}"


def _find_disagreement(usable: list[Offer], where: str) -> Iterable[str]:
    """Warn of offers whose networks or gateways differ: several servers', or one's that contradicts itself."""
    different = list({(offer.server, offer.server_mac, offer.route): offer for offer in usable}.values())
    if len({offer.route for offer in different}) < 2:
        return
    servers = len({(offer.server, offer.server_mac) for offer in different})
    count = {2: "two", 3: "three", 4: "four"}.get(servers, str(servers))
    said = _join(f"{o.server} ({o.server_mac}) says {o.network} via {o.gateway}" for o in different)
    if servers == 1:
        yield f"{name_server(different[0])} on {where} contradicts itself: {said}"
    else:
        yield f"{count} DHCP servers on {where} disagree: {said}"


def _join(parts: Iterable[str]) -> str:
    return "; ".join(parts)
