"""What a survey's findings mean, in words, as a document, and as a table."""

import io
import json
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network

import pytest
import yaml
from rich.console import Console

from cni_harvester.cli.survey import show
from cni_harvester.dhcp.offer import Offer
from cni_harvester.discovery.survey.evidence import Stray, VlanNotes
from cni_harvester.discovery.survey.findings import Gateway, SurveyReport, VlanFinding
from cni_harvester.discovery.survey.meaning import list_advice, list_warnings
from cni_harvester.wire import dhcp
from cni_harvester.wire.spanning_tree import Bpdu
from cni_harvester.wire.switches import Neighbour

MAC, SERVER_MAC, OTHER_MAC = "02:00:00:00:00:05", "02:00:00:00:00:01", "02:00:00:00:00:02"
SERVER = IPv4Address("192.0.2.1")


def make_offer(network: str = "192.0.2.0/24", *, mac: str = SERVER_MAC, faults: tuple[str, ...] = ()) -> Offer:
    """An offer of a server that is the gateway, too."""
    subnet = IPv4Network(network)
    return Offer(dhcp.OFFER, subnet[1], mac, None, subnet[77], subnet, subnet[1], faults=faults, answered_s=0.25)


def make_report(
    *vlans: VlanFinding,
    neighbours: tuple[Neighbour, ...] = (),
    strays: tuple[Stray, ...] = (),
    silent: tuple[tuple[int, IPv4Address], ...] = (),
    is_sampled: bool = False,
    lost: int = 0,
    duration_s: float = 7.1,
) -> SurveyReport:
    """A survey of all VLANs on eth1."""
    return SurveyReport(
        "eth1",
        MAC,
        "node-1",
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        duration_s,
        5.0,
        frozenset(range(1, 4095)),
        8190,
        vlans,
        neighbours,
        strays=strays,
        silent_gateways=silent,
        is_sampled=is_sampled,
        lost=lost,
    )


def list_words(report: SurveyReport) -> str:
    """All warnings, a line each."""
    return "\n".join(list_warnings(report, {}, {}))


def test_good_network_has_no_warnings() -> None:
    """DHCP that can be used, a gateway that answers."""
    gateway = Gateway(SERVER, (SERVER_MAC,))
    assert list_words(make_report(VlanFinding(100, (make_offer(),), (gateway,)))) == ""


def test_answer_in_another_vlan_is_a_finding() -> None:
    """Both VLANs are named, and the server."""
    words = list_words(make_report(strays=(Stray(100, 200, SERVER, SERVER_MAC),)))
    assert "VLAN 100's answer came back in VLAN 200 (DHCP server 192.0.2.1, 02:00:00:00:00:01)" in words


def test_answer_without_a_tag_tells_of_the_native_vlan() -> None:
    """And many that came back together are told together."""
    words = list_words(make_report(strays=tuple(Stray(v, 0, SERVER, SERVER_MAC) for v in (7, 8, 9))))
    assert words.startswith("the answers for VLANs 7-9 came back untagged")
    assert words.count("\n") == 0
    assert "native or access VLAN" in words


def test_untagged_answer_in_a_vlan_is_a_finding() -> None:
    """The question without a tag is named as such."""
    words = list_words(make_report(strays=(Stray(0, 200, None, SERVER_MAC),)))
    assert words.startswith("the answer to the untagged question came back in VLAN 200 (DHCP server without identifier")


def test_disagreeing_servers_are_named() -> None:
    """Both, with what they say; two that agree are none of our business."""
    one, other = make_offer(), make_offer("198.51.100.0/24", mac=OTHER_MAC)
    words = list_words(make_report(VlanFinding(100, (one, other))))
    assert "2 DHCP servers in VLAN 100 disagree: 192.0.2.1 (02:00:00:00:00:01) says 192.0.2.0/24 via 192.0.2.1" in words
    assert list_words(make_report(VlanFinding(100, (one, make_offer(mac=OTHER_MAC))))) == ""


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (make_report(VlanFinding(0, (make_offer(),))), "DHCP answers untagged frames, too (192.0.2.0/24)"),
        (make_report(VlanFinding(5, (make_offer(faults=("no mask",)),))), "in VLAN 5: no mask"),
        (make_report(VlanFinding(5, (), (Gateway(SERVER, (SERVER_MAC, OTHER_MAC)),))), "2 stations answer for gateway"),
        (make_report(silent=((5, SERVER),)), "gateway 192.0.2.1 does not answer ARP in VLAN 5"),
        (make_report(neighbours=(Neighbour("LLDP", MAC, system="sw1", faults=("x",)),)), "sw1 (LLDP): x"),
        (make_report(lost=3), "3 frames were lost"),
        (make_report(is_sampled=True), "counts are low"),
    ],
)
def test_what_may_be_wrong_is_said(report: SurveyReport, expected: str) -> None:
    """One warning for each."""
    words = list_words(report)
    assert expected in words
    assert words.count("\n") == 0


def test_joined_vlans_and_loops_are_said() -> None:
    """What the notes have beside the findings."""
    words = "\n".join(list_warnings(make_report(), {200: VlanNotes(mistagged={100})}, {0: 1, 300: 2}))
    assert "a PVST+ BPDU for VLAN 100 came in tagged 200" in words
    assert "our own frames came back to us in VLAN 300 and untagged" in words


def test_advice_tells_what_each_kind_of_vlan_needs() -> None:
    """Automatic route, manual route, and what is only advertised."""
    report = make_report(
        VlanFinding(100, (make_offer(),)),
        VlanFinding(101, frames=5, senders=2),
        VlanFinding(102, (make_offer(faults=("no mask",)),)),
        VlanFinding(7, advertised=("native VLAN of sw1 (LLDP)",)),
        neighbours=(Neighbour("LLDP", MAC),),
    )
    automatic, manual, advertised, rest = list_advice(report)
    assert automatic.startswith("VLAN 100: carried by the switch port, with DHCP")
    assert manual.startswith("VLANs 101-102: carried by the switch port, without a DHCP server")
    assert advertised.startswith("VLAN 7: named by a switch")
    assert rest.startswith("the other 4091 VLANs that were asked may be carried all the same")


def test_advice_after_silence() -> None:
    """Nothing found, and no switch heard: what to look at, and how long a switch may be silent."""
    nothing, neighbours = list_advice(make_report())
    assert "no VLAN was heard" in nothing
    assert "--timeout 65" in neighbours
    assert "may be off" in list(list_advice(make_report(duration_s=70)))[-1]


def make_full_report() -> SurveyReport:
    """One of everything."""
    bpdu = Bpdu("Rapid PVST+", MAC, "4196.x", "4196.x", 1, 100)
    switch = Neighbour("LLDP", MAC, "sw1", "aa", "Gi1", "to [node]", "os\nx", (SERVER,), 7, (), ((100, "prod"),), 120)
    return make_report(
        VlanFinding(0, frames=1, senders=1),
        VlanFinding(7, advertised=("native VLAN of sw1, port Gi1 (LLDP)",)),
        VlanFinding(100, (make_offer(),), (), 12, 3, (bpdu,), ('"prod" of sw1',), ("prod",)),
        neighbours=(switch,),
        strays=(Stray(5, 6, SERVER, SERVER_MAC),),
        silent=((100, SERVER),),
    )


def test_document_is_json_and_yaml() -> None:
    """The same for both; what is unknown is left out."""
    document = make_full_report().to_json()
    assert yaml.safe_load(yaml.safe_dump(document)) == json.loads(json.dumps(document)) == document
    assert (document["live"], document["asked"], document["framesSent"]) == ("100", "1-4094", 8190)
    untagged, native, live = document["vlans"]
    assert untagged == {"vlan": 0, "status": "live", "framesHeard": 1, "senders": 1}
    assert native["status"] == "advertised"
    assert live["offers"][0]["cidr"] == "192.0.2.0/24"
    assert live["names"] == ["prod"]
    assert document["switches"][0]["vlanNames"] == [{"vlan": 100, "name": "prod"}]
    assert document["strayAnswers"] == [{"asked": 5, "heard": 6, "server": "192.0.2.1", "serverMAC": SERVER_MAC}]


def test_table_has_a_line_for_each_vlan() -> None:
    """The switch above it, what was done below it; brackets of a switch's words are no markup."""
    stream = io.StringIO()
    show(Console(file=stream, width=300), make_full_report())
    lines = stream.getvalue().splitlines()
    assert lines[0] == "eth1 (02:00:00:00:00:05) on node node-1"
    assert lines[1] == "switch sw1, port Gi1 (to [node]), chassis aa, managed at 192.0.2.1, os, native VLAN 7 [LLDP]"
    rows = [line.split() for line in lines[3:7]]
    assert rows[0] == ["VLAN", "STATUS", "NAME", "EVIDENCE", "SERVERS", "CIDR", "GATEWAY"]
    assert rows[1][:2] == ["untagged", "live"]
    assert rows[2][:3] == ["7", "advertised", "only"]
    assert rows[3][:3] == ["100", "live", "prod"]
    assert "DHCP; 12 frames from 3 MACs; Rapid PVST+ BPDU of 4196.x" in lines[6]
    assert lines[6].rstrip().endswith("192.0.2.0/24  192.0.2.1 (no ARP)")
    assert "8190 frames sent in 7.1 s, VLANs 1-4094 asked; live: 100" in lines
