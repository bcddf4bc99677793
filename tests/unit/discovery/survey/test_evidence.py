"""What is made of what is heard: frames in, findings out."""

from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.discovery.survey.evidence import Evidence, Heard, Stray
from cni_harvester.discovery.survey.findings import Status, list_findings
from cni_harvester.discovery.survey.questions import Questions
from cni_harvester.discovery.survey.schedule import Errand
from cni_harvester.kernel.frames import Frame
from cni_harvester.wire.layers import ARP, IP, UDP, Ether
from lab.faulty_dhcp.answer import Answer, Question, Setting
from lab.switch_frames import make_cdp, make_lldp, make_pvst, make_rstp

MAC, SERVER_MAC, OTHER_MAC = "02:00:00:00:00:05", "02:00:00:00:00:01", "02:00:00:00:00:09"
XID = 1000
GATEWAY = IPv4Address("192.0.2.1")


def make_evidence(*asked: int) -> Evidence:
    """Evidence of a survey that has asked some VLANs, at second 10."""
    evidence = Evidence(Questions(MAC, XID))
    for vlan in asked:
        evidence.note_sent(Errand(vlan), 10)
    return evidence


def make_frame(data: bytes, vlan: int = 0, at_s: float = 10.5) -> Frame:
    """A frame as the socket gives it."""
    return Frame(data, vlan or None, checksummed=True, at_s=at_s)


def make_offer(asked: int, *, server: str = "192.0.2.1/24", mac: str = SERVER_MAC, client: str = MAC) -> bytes:
    """The offer of a server to the question in a VLAN, without a tag."""
    own = IPv4Interface(server)
    setting = Setting(mac, own, str(own.network[77]), str(own.ip), 600, 0, 1500)
    return Answer.plan(setting, Question("DISCOVER", client, XID + asked, True, "0.0.0.0", None, None)).build()


def make_traffic(source: str = OTHER_MAC) -> bytes:
    """A frame between two others."""
    return bytes(Ether(src=source, dst=SERVER_MAC) / IP(src="192.0.2.5", dst="192.0.2.6") / UDP() / bytes(100))


def make_arp_reply(address: IPv4Address = GATEWAY, mac: str = SERVER_MAC) -> bytes:
    """The answer of somebody who has an address."""
    return bytes(Ether(src=mac, dst=MAC) / ARP(op=2, hwsrc=mac, psrc=str(address), hwdst=MAC, pdst="0.0.0.0"))


def test_silence_is_no_evidence() -> None:
    """Questions alone put no VLAN into the result."""
    evidence = make_evidence(*range(4095))
    evidence.note_sent(Errand(100, GATEWAY), 10)
    assert list_findings(evidence) == ()
    assert evidence.list_unanswered() == [(100, GATEWAY)]


def test_offer_makes_its_vlan_live() -> None:
    """Judged, once, with the time since the question; the VLAN is answered, and the frame not counted as traffic."""
    evidence = make_evidence(100, 200)
    assert evidence.note(make_frame(make_offer(100), 100)) is Heard.OFFER
    assert evidence.note(make_frame(make_offer(100), 100, at_s=12)) is Heard.OFFER
    (finding,) = list_findings(evidence)
    assert (finding.vlan, finding.status, finding.frames) == (100, Status.LIVE, 0)
    (offer,) = finding.offers
    assert (str(offer.network), offer.gateway, offer.server_mac) == ("192.0.2.0/24", GATEWAY, SERVER_MAC)
    assert (offer.faults, offer.answered_s) == ((), 0.5)
    assert evidence.is_answered(Errand(100))
    assert not evidence.is_answered(Errand(200))


@pytest.mark.parametrize("heard", [200, 0])
def test_answer_in_another_vlan_is_a_stray(heard: int) -> None:
    """It proves the VLAN that it came in, and not the one that was asked."""
    evidence = make_evidence(100, 200, 0)
    evidence.note(make_frame(make_offer(100), heard))
    assert list(evidence.strays) == [Stray(100, heard, GATEWAY, SERVER_MAC)]
    (finding,) = list_findings(evidence)
    assert (finding.vlan, finding.offers, finding.frames) == (heard, (), 1)
    assert not evidence.is_answered(Errand(100))


def test_answers_to_others_are_traffic() -> None:
    """Another client's, another transaction's, and one to a VLAN that was not asked."""
    evidence = make_evidence(100)
    evidence.note(make_frame(make_offer(100, client=OTHER_MAC), 100))
    evidence.note(make_frame(make_offer(5000), 100))
    evidence.note(make_frame(make_offer(200), 100))
    (finding,) = list_findings(evidence)
    assert (finding.offers, finding.frames, evidence.strays) == ((), 3, {})


def test_gateway_counts_where_it_was_asked_for() -> None:
    """The same answer in another VLAN is traffic there; two MACs are both kept."""
    evidence = make_evidence()
    evidence.note_sent(Errand(100, GATEWAY), 10)
    for vlan, mac in ((100, SERVER_MAC), (100, SERVER_MAC), (100, OTHER_MAC), (200, SERVER_MAC)):
        evidence.note(make_frame(make_arp_reply(mac=mac), vlan))
    first, second = list_findings(evidence)
    assert [(g.address, g.macs) for g in first.gateways] == [(GATEWAY, (SERVER_MAC, OTHER_MAC))]
    assert (first.vlan, first.frames) == (100, 0)
    assert (second.vlan, second.gateways, second.frames) == (200, (), 1)
    assert evidence.list_unanswered() == []


def test_traffic_is_counted_with_its_senders() -> None:
    """Tagged and untagged; our own frames that come back are no evidence."""
    evidence = make_evidence()
    for vlan in (0, 100, 100, 100):
        assert evidence.note(make_frame(make_traffic(), vlan)) is Heard.ORDINARY
    evidence.note(make_frame(make_traffic(SERVER_MAC), 100))
    evidence.note(make_frame(make_traffic(MAC), 300))
    found = [(f.vlan, f.frames, f.senders) for f in list_findings(evidence)]
    assert found == [(0, 1, 1), (100, 4, 2)]
    assert evidence.reflected == {300: 1}


def test_bpdu_with_a_tag_makes_its_vlan_live() -> None:
    """One that comes untagged names the native VLAN, which is advertised by that."""
    evidence = make_evidence()
    for data, vlan in ((make_pvst(100, tag=0), 100), (make_pvst(7, tag=0), 0), (make_rstp(), 0)):
        assert evidence.note(make_frame(data, vlan)) is Heard.OTHER
    native, tagged = list_findings(evidence)
    assert (native.vlan, native.status) == (7, Status.ADVERTISED)
    assert "native VLAN of bridge 32775.02:5e:00:00:00:01 (Rapid PVST+)" in native.advertised
    assert (tagged.vlan, tagged.status, tagged.bpdus[0].kind) == (100, Status.LIVE, "Rapid PVST+")
    assert {bpdu.kind for bpdu in evidence.trees.values()} == {"RSTP", "Rapid PVST+"}


def test_bpdu_for_another_vlan_than_its_tag_is_noted() -> None:
    """Two VLANs are joined somewhere."""
    evidence = make_evidence()
    evidence.note(make_frame(make_pvst(100, tag=0), 200))
    assert evidence.vlans[200].mistagged == {100}


def test_what_a_switch_says_is_advertised_and_not_live() -> None:
    """LLDP names VLANs, CDP the native one; with traffic in it a VLAN is live, and keeps its name."""
    evidence = make_evidence()
    evidence.note(make_frame(make_lldp("sw1", "Gi1", pvid=7, names={50: "prod", 60: "test"}, protocol_vlans=[70])))
    evidence.note(make_frame(make_cdp("sw1.example", "Gi1", native_vlan=7)))
    evidence.note(make_frame(make_traffic(), 50))
    found = {f.vlan: f for f in list_findings(evidence)}
    assert {vlan: f.status for vlan, f in found.items()} == {
        7: Status.ADVERTISED,
        50: Status.LIVE,
        60: Status.ADVERTISED,
        70: Status.ADVERTISED,
    }
    assert found[7].advertised == ("native VLAN of sw1, port Gi1 (LLDP)", "native VLAN of sw1.example, port Gi1 (CDP)")
    assert (found[50].names, found[50].frames) == (("prod",), 1)
    assert found[70].advertised == ("protocol VLAN of sw1, port Gi1 (LLDP)",)


def test_latest_word_of_a_switch_counts() -> None:
    """The same port that announces itself anew."""
    evidence = make_evidence()
    for pvid in (7, 8):
        evidence.note(make_frame(make_lldp("sw1", "Gi1", pvid=pvid)))
    assert [f.vlan for f in list_findings(evidence)] == [8]


_FRAMES = [make_offer(100), make_arp_reply(), make_traffic(), make_lldp("a", "b", pvid=7), make_cdp("a", "b")]
_FRAMES += [make_pvst(100, tag=0), make_rstp()]


@given(
    st.sampled_from(_FRAMES),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 400),
    st.integers(0, 4094),
)
def test_mutated_frames_never_raise(frame: bytes, changes: list[tuple[int, int]], cut: int, vlan: int) -> None:
    """Whatever comes in is noted; and no VLAN but that of the tag, and those that a switch names, is found by it."""
    evidence = make_evidence(100, 0)
    evidence.note_sent(Errand(100, GATEWAY), 10)
    mutated = bytearray(frame[: len(frame) - cut] if cut < len(frame) else frame)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    evidence.note(make_frame(bytes(mutated), vlan))
    for finding in list_findings(evidence):
        assert finding.vlan == vlan or finding.status is Status.ADVERTISED


def test_flood_of_offers_is_bounded() -> None:
    """A VLAN with ever new servers fills no memory."""
    evidence = make_evidence(100)
    for number in range(1, 101):
        evidence.note(make_frame(make_offer(100, server=f"192.0.2.{number}/24"), 100))
    assert len(evidence.vlans[100].offers) == 64
