"""The survey on a real kernel: a switch port of the lab that carries some VLANs, found from the other end of its cable.

Packet sockets see tags whether the kernel knows VLANs or not, so most of this runs everywhere.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from cni_harvester.discovery.survey.findings import Status, SurveyReport
from cni_harvester.discovery.survey.run import Progress, SurveyWishes, survey
from cni_harvester.discovery.survey.sieve import NOTHING, Sieve, make_program
from cni_harvester.errors import FeatureMissing, HarvesterError, KernelRefused, NotReady
from cni_harvester.kernel.frames import Frame, FrameSocket
from cni_harvester.wire.layers import ARP, IP, UDP, Dot1Q, Ether, Packet
from lab import node
from lab.dhcp import serve_dhcp
from lab.namespaces import Container
from lab.shell import run_ip
from lab.switch_frames import make_cdp, make_lldp, make_pvst, make_rstp
from lab.switch_port import Port, PortVlan, serve_port
from lab.topology import ClusterNetwork, add_bridge

UPLINK, FAR = "eth1", "far"
ORPHAN_TIMEOUT_S = 10

any_kernel = pytest.mark.any_kernel


@pytest.fixture
def uplink(container: Container) -> Iterator[str]:
    """A cable from the node to a switch; its end here must be left as it was found."""
    run_ip(f"link add {UPLINK} type veth peer name {FAR} netns {container.name}", f"link set {UPLINK} up")
    run_ip(f"link set {FAR} up", namespace=container.name)
    _wait_until(lambda: _find(UPLINK)["operstate"] == "UP")
    yield UPLINK
    assert _find(UPLINK)["promiscuity"] == 0
    assert _find(UPLINK).get("allmulti", 0) == 0
    run_ip(f"link del {UPLINK}")


def _find(name: str) -> dict[str, Any]:
    link = node.find_link(name)
    assert link is not None
    return link


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ORPHAN_TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _serve(vid: int, **more: Any) -> PortVlan:
    """A VLAN with a DHCP server, in a subnet of its own."""
    return PortVlan(vid, f"10.{vid >> 8}.{vid & 0xFF}.1/24", **more)


@any_kernel
def test_survey_finds_the_live_vlans_and_no_other(uplink: str, container: Container) -> None:
    """All 4094 are asked; 20 are live, by DHCP, by traffic alone, or by a spanning tree alone; in time."""
    vlans = [_serve(vid) for vid in (1, 2, 99, 100, 101, 1000, 2047, 2048, 4093, 4094)]
    vlans += [PortVlan(vid, frames_a_second=2, talkers=2) for vid in (50, 60, 3000, 3001, 3002, 3003)]
    vlans += [PortVlan(vid, has_tree=True) for vid in (80, 90, 3500, 3600)]
    told: list[Progress] = []
    with serve_port(container, FAR, Port(tuple(vlans))) as port:
        found = survey(uplink, SurveyWishes(), "node-1", told.append)
        questions = port.list_questions()
    assert found.live == {vlan.vid for vlan in vlans}
    assert {f.vlan for f in found.vlans} - {0} == found.live
    assert found.duration_s < 5 + 6  # tests/bench/survey.py has what is promised
    assert not (found.lost or found.strays or found.is_sampled)
    assert {name for name, _ in questions} == {"DISCOVER"}
    assert sorted(vid for _, vid in questions) == sorted(vlan.vid for vlan in vlans if vlan.server)
    by_vid = {f.vlan: f for f in found.vlans}
    for vlan in vlans:
        finding = by_vid[vlan.vid]
        if vlan.server:
            (offer,) = finding.offers
            assert (f"{offer.server}/24", offer.gateway, offer.faults) == (vlan.server, offer.server, ())
            assert [g.address for g in finding.gateways] == [offer.gateway]
        elif vlan.has_tree:
            assert (finding.frames, [b.vlan for b in finding.bpdus]) == (0, [vlan.vid])
        else:
            assert (finding.frames >= 10, finding.senders) == (True, 2)
    assert (told[-1].sent, told[-1].total, told[-1].found) == (found.sent, found.sent, 20)
    assert [now.sent for now in told] == sorted(now.sent for now in told)


def _survey(uplink: str, container: Container, port: Port, wishes: SurveyWishes) -> SurveyReport:
    with serve_port(container, FAR, port):
        return survey(uplink, wishes, "node-1")


@any_kernel
def test_switch_is_named_and_what_it_advertises_is_not_live(uplink: str, container: Container) -> None:
    """LLDP and CDP name switch and port; VLANs that only they name are advertised; one with traffic is live."""
    port = Port((PortVlan(50, frames_a_second=5),), announces=True, native=7, names={50: "prod", 60: "test"})
    found = _survey(uplink, container, port, SurveyWishes(frozenset(), timeout_s=3))
    lldp, cdp = sorted(found.neighbours, key=lambda n: n.protocol, reverse=True)
    assert (lldp.protocol, lldp.system, lldp.port) == ("LLDP", "lab-switch", "Gi1/0/1")
    assert (cdp.protocol, cdp.system, cdp.native_vlan) == ("CDP", "lab-switch.example", 7)
    assert [bpdu.kind for bpdu in found.trees] == ["RSTP"]
    assert {f.vlan: f.status for f in found.vlans if f.vlan} == {
        7: Status.ADVERTISED,
        50: Status.LIVE,
        60: Status.ADVERTISED,
    }


@any_kernel
def test_answer_in_another_vlan_is_told(uplink: str, container: Container) -> None:
    """A switch that moves frames, and a native VLAN, whose answers come untagged."""
    port = Port((_serve(100, answers_in=200), _serve(300, answers_in=0)))
    found = _survey(uplink, container, port, SurveyWishes(frozenset({100, 200, 300}), timeout_s=2))
    assert sorted((stray.asked, stray.heard) for stray in found.strays) == [(100, 200), (300, 0)]
    assert found.live == {200}
    assert any("VLAN 100's answer came back in VLAN 200" in warning for warning in found.warnings)
    assert any("VLAN 300's answer came back untagged" in warning for warning in found.warnings)


@any_kernel
def test_servers_that_disagree_and_untagged_dhcp_are_told(uplink: str, container: Container) -> None:
    """Both are found, and the untagged network is in the result by its own name."""
    port = Port((PortVlan(100, "192.0.2.1/24", rivals=("198.51.100.1/24",)), PortVlan(0, "203.0.113.1/24")))
    found = _survey(uplink, container, port, SurveyWishes(frozenset({100}), timeout_s=2))
    untagged, vlan = found.vlans
    assert (untagged.label, str(untagged.offers[0].network)) == ("untagged", "203.0.113.0/24")
    assert len(vlan.offers) == 2
    assert any("2 DHCP servers in VLAN 100 disagree" in warning for warning in found.warnings)
    assert any("DHCP answers untagged frames, too (203.0.113.0/24)" in warning for warning in found.warnings)


@any_kernel
def test_known_gateway_shows_a_vlan_without_dhcp(uplink: str, container: Container) -> None:
    """It answers ARP; one that does not is told, and makes no VLAN."""
    wishes = SurveyWishes(
        frozenset(), timeout_s=2, gateways=((100, IPv4Address("192.0.2.1")), (101, IPv4Address("192.0.2.1")))
    )
    found = _survey(uplink, container, Port((PortVlan(100, gateway="192.0.2.1/24"),)), wishes)
    assert found.live == {100}
    assert found.silent_gateways == ((101, IPv4Address("192.0.2.1")),)


@any_kernel
def test_slow_server_is_heard(uplink: str, container: Container) -> None:
    """One that pings an address for three seconds before it offers it."""
    found = _survey(uplink, container, Port((_serve(100, delay_s=3),)), SurveyWishes(frozenset({100})))
    assert found.live == {100}
    assert found.vlans[-1].offers[0].answered_s >= 3


@any_kernel
def test_busy_uplink_hides_no_vlan(uplink: str, container: Container) -> None:
    """A VLAN with tens of thousands of frames a second: the quiet ones beside it are found all the same."""
    busy = PortVlan(10, frames_a_second=30_000, talkers=20)
    port = Port((busy, _serve(100), PortVlan(50, frames_a_second=1), PortVlan(80, has_tree=True)), announces=True)
    found = _survey(uplink, container, port, SurveyWishes())
    assert found.live == {10, 50, 80, 100}
    assert found.is_sampled
    assert any("counts are low" in warning for warning in found.warnings)
    assert {n.protocol for n in found.neighbours} == {"LLDP", "CDP"}


@any_kernel
def test_sieve_passes_what_it_says(uplink: str, container: Container) -> None:
    """Real frames through the kernel's program: what tells something passes whole, of others what is due."""
    telling = [make_lldp("sw1", "Gi1"), make_cdp("sw1", "Gi1"), make_rstp(), make_pvst(10), make_pvst(10, tag=0)]
    telling += [_make_dhcp_reply(10), _make_dhcp_reply(0), bytes(_tag(10) / ARP())]
    ordinary = [bytes(_tag(10) / IP() / UDP(dport=69) / bytes(400)), bytes(_tag(0) / IP(frag=5) / UDP(dport=68))]
    with FrameSocket(uplink, accept=make_program(Sieve(frozenset({0, 10}), 2**31)), promiscuous=True) as port:
        heard = _send(container, port, telling + ordinary)
        assert len(heard) == len(telling)
        assert [len(f.data) + (4 if f.vlan else 0) for f in heard] == [len(frame) for frame in telling]
        port.accept(make_program(Sieve(frozenset({0}), 2**31)))
        (tagged,) = _send(container, port, ordinary)
        assert (tagged.vlan, len(tagged.data)) == (10, 64)
        port.accept(NOTHING)
        assert _send(container, port, telling + ordinary) == []


@any_kernel
def test_sieve_knows_each_vlan(uplink: str, container: Container) -> None:
    """Of all VIDs exactly those pass that were not heard yet; of known ones one of so many, at random."""
    known = frozenset(vid for vid in range(4095) if vid % 3 == 0 or vid in range(1000, 2000))
    frames = [bytes(_tag(vid) / IP() / UDP()) for vid in range(4095)]
    with FrameSocket(uplink, accept=make_program(Sieve(known, 2**31)), promiscuous=True) as port:
        assert [frame.vlan for frame in _send(container, port, frames)] == sorted(set(range(4095)) - known)
        port.accept(make_program(Sieve(frozenset({7}), 10)))
        passed = len(_send(container, port, frames[7:8] * 4000))
        assert 250 < passed < 600


def _tag(vid: int) -> Packet:
    head = Ether(src="02:00:00:00:00:09", dst="02:00:00:00:00:0a")
    return head / Dot1Q(vlan=vid) if vid else head


def _make_dhcp_reply(vid: int) -> bytes:
    return bytes(_tag(vid) / IP(dst="255.255.255.255") / UDP(sport=67, dport=68) / bytes(300))


def _send(container: Container, port: FrameSocket, frames: list[bytes]) -> list[Frame]:
    """Send frames from the far end; return what comes in here of them."""
    from cni_harvester.kernel.namespaces import open_namespace

    heard = []
    with open_namespace(container.path) as far, FrameSocket(FAR, far) as sender:
        for frame in frames:
            sender.send(frame)
            while (read := port.read()) is not None:
                heard.append(read)
    return heard


def _make_absent() -> str:
    return "nowhere"


def _make_down() -> str:
    run_ip("link add down0 type veth peer name down1")
    return "down0"


def _make_unplugged() -> str:
    run_ip("link add down0 type veth peer name down1", "link set down0 up")
    _wait_until(lambda: _find("down0")["operstate"] == "LOWERLAYERDOWN")
    return "down0"


def _make_bridge() -> str:
    add_bridge("cn9-br", filtering=False)
    return "cn9-br"


@any_kernel
@pytest.mark.parametrize(
    ("make", "error", "hint"),
    [
        (_make_absent, KernelRefused, "the uplink of cluster network <cn> is <cn>-bo"),
        (_make_down, NotReady, "ip link set down0 up"),
        (_make_unplugged, NotReady, "is its cable plugged in at both ends?"),
        (_make_bridge, FeatureMissing, "survey its uplink"),
        (lambda: "lo", FeatureMissing, "name a NIC or a bond"),
    ],
)
@pytest.mark.usefixtures("empty_node")
def test_interface_that_will_not_do_is_refused(make: Callable[[], str], error: type[HarvesterError], hint: str) -> None:
    """With what is wrong, and what to do."""
    name = make()
    with pytest.raises(error, match=f'cannot survey "{name}"') as refusal:
        survey(name, SurveyWishes(), "node-1")
    assert hint in refusal.value.details
    run_ip(*(f"link del {link['ifname']}" for link in node.list_links() if link["ifname"] in {"down0", "cn9-br"}))


@any_kernel
def test_interface_that_goes_down_ends_the_survey(uplink: str) -> None:
    """With the reason, at once."""

    def pull(now: Progress) -> None:
        if now.sent > 100:
            run_ip(f"link set {uplink} down")

    with pytest.raises(KernelRefused, match=f'"{uplink}"'):
        survey(uplink, SurveyWishes(), "node-1", pull)


def _start(*words: str) -> subprocess.Popen[str]:
    """Start the program as a person does."""
    command = [sys.executable, "-m", "cni_harvester", "survey", *words]
    environment = {key: value for key, value in os.environ.items() if key != "CNI_COMMAND"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@any_kernel
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_killed_survey_leaves_nothing(uplink: str, number: signal.Signals, status: int) -> None:
    """Promiscuous mode ends with the socket; the fixtures compare all the rest."""
    process = _start("--interface", uplink)
    _wait_until(lambda: bool(_find(uplink)["promiscuity"]))
    process.send_signal(number)
    process.communicate()
    assert process.returncode in {-number, 128 + number}
    _wait_until(lambda: _find(uplink)["promiscuity"] == 0)


@any_kernel
def test_command_prints_the_document_alone(uplink: str, container: Container) -> None:
    """`-o json`, as a program calls it; exit status 0, for the survey was carried out."""
    with serve_port(container, FAR, Port((_serve(100),))):
        process = _start("--interface", uplink, "--vlans", "90-110", "--timeout", "1", "-o", "json")
        stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    document = json.loads(stdout)
    assert (document["live"], document["asked"]) == ("100", "90-110")


@any_kernel
@pytest.mark.parametrize(
    "words",
    [[], ["--interface", "eth1", "--vlans", "0"], ["--interface", "eth1", "--gateway", "4095=192.0.2.1"]],
)
@pytest.mark.usefixtures("empty_node")
def test_wrong_words_are_refused(words: list[str]) -> None:
    """Exit status 2, and what the words should be."""
    process = _start(*words)
    _, stderr = process.communicate()
    assert process.returncode == 2
    assert "Usage: cni-harvester survey" in stderr


def test_survey_on_the_bond_of_a_cluster_network(cluster: ClusterNetwork) -> None:
    """Real servers in VLANs of the switch, seen from the uplink of a bridge in use; the untagged network is silent."""
    switch, trunk = cluster.switch, cluster.trunk
    for vid, address in ((100, "192.0.2.1/24"), (200, "198.51.100.1/24")):
        run_ip(
            f"link add link {trunk} name {trunk}.{vid} type vlan id {vid}",
            f"address add {address} dev {trunk}.{vid}",
            f"link set {trunk}.{vid} up",
            namespace=switch.name,
        )
    with (
        serve_dhcp(switch, f"{trunk}.100", "192.0.2.1/24") as first,
        serve_dhcp(switch, f"{trunk}.200", "198.51.100.1/24", router="198.51.100.254") as second,
    ):
        found = survey(cluster.uplink, SurveyWishes(), "node-1")
        assert first.list_leases() == second.list_leases() == {}
    by_vid = {f.vlan: f for f in found.vlans if f.vlan}
    assert by_vid.keys() == {100, 200}
    assert {str(offer.network) for offer in by_vid[100].offers} == {"192.0.2.0/24"}
    assert [str(g.address) for g in by_vid[100].gateways] == ["192.0.2.1"]
    assert [str(offer.gateway) for offer in by_vid[200].offers] == ["198.51.100.254"]
    assert found.silent_gateways == ((200, IPv4Address("198.51.100.254")),)
    assert not any(finding.offers for finding in found.vlans if not finding.vlan)
