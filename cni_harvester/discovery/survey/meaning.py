"""What a survey's findings mean: what a person should be warned of, and what to do next."""

from collections.abc import Collection, Iterator, Mapping

from cni_harvester.dhcp.offer import Offer
from cni_harvester.dhcp.verdict import name_server
from cni_harvester.discovery.survey.evidence import VlanNotes
from cni_harvester.discovery.survey.findings import Status, SurveyReport, VlanFinding, name_vlan
from cni_harvester.discovery.survey.questions import UNTAGGED
from cni_harvester.model.vlan import format_vids

_LLDP_INTERVAL_S, _CDP_INTERVAL_S = 30, 60
"""How often switches announce themselves: 802.1AB-2016, 9.2.5.7 (msgTxInterval); CDP's default."""


def list_warnings(report: SurveyReport, notes: Mapping[int, VlanNotes], reflected: Mapping[int, int]) -> Iterator[str]:
    """Yield what is wrong, or may be, the gravest first.

    Args:
        report: the findings, without warnings.
        notes: what was heard in each VLAN.
        reflected: how many of our own frames came back to us, by VLAN.
    """
    yield from _explain_strays(report)
    for vlan, note in sorted(notes.items()):
        for other in sorted(note.mistagged):
            yield (
                f"a PVST+ BPDU for VLAN {other} came in tagged {vlan}: the two VLANs are joined somewhere, by a trunk "
                "whose ends differ in the native VLAN, or by VLAN translation"
            )
    if reflected:
        yield (
            f"our own frames came back to us in {_name_all(reflected)}: there is a loop, or a bond's links are not "
            "one channel for the switch"
        )
    for finding in report.vlans:
        yield from _list_dhcp_warnings(finding)
    for vlan, address in report.silent_gateways:
        yield f"gateway {address} does not answer ARP in {name_vlan(vlan)}"
    for switch in report.neighbours:
        yield from (f"{switch}: {fault}" for fault in switch.faults)
    if report.lost:
        yield f"{report.lost} frames were lost because they came too fast to be read: a VLAN may be missing"
    if report.is_sampled:
        yield "the uplink is busy: of VLANs that were heard once only a part of the frames was read, so counts are low"


def _explain_strays(report: SurveyReport) -> Iterator[str]:
    """Tell of answers in another VLAN, those of one server that came back in the same one together."""
    asked: dict[tuple[int, str], list[int]] = {}
    for stray in report.strays:
        server = f"(DHCP server {stray.server or 'without identifier'}, {stray.server_mac})"
        asked.setdefault((stray.heard, server), []).append(stray.asked)
    for (heard, server), vlans in sorted(asked.items(), key=lambda item: min(item[1])):
        whose = _name_answers(vlans)
        if heard == UNTAGGED:
            yield (
                f"{whose} came back untagged {server}: that is what a native or access VLAN of the switch port does, "
                "and a machine in it would get no answers"
            )
        else:
            yield f"{whose} came back in VLAN {heard} {server}: the switch moves frames between VLANs"


def _name_answers(vlans: Collection[int]) -> str:
    if len(vlans) > 1:
        return f"the answers for {_name_all(vlans)}"
    (vlan,) = vlans
    return f"VLAN {vlan}'s answer" if vlan else "the answer to the untagged question"


def _list_dhcp_warnings(finding: VlanFinding) -> Iterator[str]:
    where = name_vlan(finding.vlan)
    usable = [offer for offer in finding.offers if offer.is_usable]
    by_server = {(offer.server, offer.server_mac): offer for offer in reversed(usable)}
    if len({offer.route for offer in by_server.values()}) > 1:
        said = "; ".join(f"{_name(o)} says {o.network} via {o.gateway}" for o in reversed(by_server.values()))
        yield f"{len(by_server)} DHCP servers in {where} disagree: {said}"
    for offer in finding.offers:
        yield from (f"{name_server(offer)} in {where}: {fault}" for fault in offer.faults)
    for gateway in finding.gateways:
        if len(gateway.macs) > 1:
            macs = ", ".join(gateway.macs)
            yield f"{len(gateway.macs)} stations answer for gateway {gateway.address} in {where}: {macs}"
    if finding.vlan == UNTAGGED and usable:
        networks = ", ".join(sorted({str(offer.network) for offer in usable}))
        yield (
            f"DHCP answers untagged frames, too ({networks}): a machine without a VLAN on this uplink would be in that "
            "network, which is often the nodes' own"
        )


def _name(offer: Offer) -> str:
    return f"{offer.server} ({offer.server_mac})"


def list_advice(report: SurveyReport) -> Iterator[str]:
    """Yield what the result means, and what to do next."""
    live = {finding.vlan: finding for finding in report.vlans if finding.status is Status.LIVE and finding.vlan}
    with_dhcp = [vlan for vlan, finding in live.items() if any(offer.is_usable for offer in finding.offers)]
    rest = live.keys() - set(with_dhcp)
    if with_dhcp:
        yield (
            f"{_name_all(with_dhcp)}: carried by the switch port, with DHCP: networks with an automatic route will do; "
            "`cni-harvester discover` checks one more closely"
        )
    if rest:
        yield (
            f"{_name_all(rest)}: carried by the switch port, without a DHCP server that answers usably: networks need "
            "a manual route"
        )
    advertised = [finding.vlan for finding in report.vlans if finding.status is Status.ADVERTISED]
    if advertised:
        yield (
            f"{_name_all(advertised)}: named by a switch, and nothing of it was heard: nobody has spoken there, or it "
            "is the native VLAN, which comes untagged"
        )
    missing = report.asked - live.keys() - {UNTAGGED}
    if missing and not live:
        yield (
            "no VLAN was heard. Is this the right interface, and is its switch port a trunk (tagged)? A VLAN without "
            "DHCP in which nobody speaks stays unseen: name its gateway with --gateway"
        )
    elif missing:
        yield (
            f"the other {len(missing)} VLANs that were asked may be carried all the same, if they have no DHCP and "
            "nobody spoke: --gateway VID=IP asks for a known gateway, a longer --timeout listens longer"
        )
    if not report.neighbours:
        yield from _advise_on_neighbours(report)


def _advise_on_neighbours(report: SurveyReport) -> Iterator[str]:
    if report.duration_s < _LLDP_INTERVAL_S:
        yield (
            f"no switch has announced itself in {report.duration_s:.0f} s; with LLDP they do every "
            f"{_LLDP_INTERVAL_S} s, with CDP every {_CDP_INTERVAL_S} s: --timeout {_CDP_INTERVAL_S + 5} hears them"
        )
    else:
        yield (
            "no switch has announced itself: LLDP and CDP may be off on its port, or the NIC's firmware may take "
            "LLDP for itself (ethtool --show-priv-flags)"
        )


def _name_all(vlans: Collection[int]) -> str:
    """Name VLANs: `VLANs 100-110 and untagged`."""
    tagged = [vlan for vlan in vlans if vlan != UNTAGGED]
    words = [f"VLAN{'s' if len(tagged) > 1 else ''} {format_vids(tagged)}"] if tagged else []
    return " and ".join(words + (["untagged"] if UNTAGGED in vlans else []))
