"""What discovery makes of DHCP servers that answer wrongly, oddly, or not at all: never a wrong route, always a reason.

Each fault of `lab.faulty_dhcp` comes alone, together with a sound answer, and all of them at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from cni_harvester.dhcp.verdict import Reason
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.discover import discover
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.report import Discovery
from lab import namespaces, node
from lab.faulty_dhcp import FaultyServer, serve_faults
from lab.faulty_dhcp.faults import CONFLICTING_MAC, FAULTS, FLOOD, ROGUE_MAC, SLOW_S
from lab.namespaces import make_container
from lab.vm_network import make_plain_network, plug_in, repeat_frame

pytestmark = pytest.mark.any_kernel

SERVER, SECOND = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
CIDR, GATEWAY, SECOND_GATEWAY = "192.0.2.0/24", "192.0.2.1", "192.0.2.254"
MAC = "02:00:00:00:00:01"
NO_ROUTE = ("None", "None")
_LISTEN_S = 0.5
"""How long to listen where no answer ends the probe; the server takes some milliseconds."""
_PATIENCE_S = 10.0
"""How long an answer that ends the probe may take; as long as a busy machine needs."""


@dataclass(frozen=True)
class Outcome:
    """What is to come of a fault: the reason, and words of its explanation."""

    reason: Reason
    words: tuple[str, ...]
    cidr: str = "None"
    gateway: str = "None"


def _faulty(*words: str) -> Outcome:
    return Outcome(Reason.FAULTY_OFFER, words)


def _sound(*words: str, cidr: str = CIDR, gateway: str = GATEWAY) -> Outcome:
    return Outcome(Reason.FOUND, words, cidr, gateway)


OUTCOMES = {
    "none": _sound(),
    "silent": Outcome(Reason.SILENCE, ("nothing at all was heard",)),
    "slow": _sound(f"took {SLOW_S}.", "s to answer"),
    "duplicate": _sound("answered 3 times to 1"),
    "flood": _sound(),
    "huge": _sound(),
    "infinite-lease": _sound("the lease never ends"),
    "two-routers": _sound("2 routers", GATEWAY, SECOND_GATEWAY, "the first one counts"),
    "overload": _sound(),
    "long-options": _sound("option 121 has gateway 192.0.2.254", gateway=SECOND_GATEWAY),
    "routes-121": _sound("option 121 has gateway 192.0.2.254", "121 counts", gateway=SECOND_GATEWAY),
    "arp-conflict": _sound(),  # what the checks make of it is in test_discover_reachability.py
    "rogue": _sound("198.51.100.1", ROGUE_MAC, cidr="198.51.100.0/24", gateway="198.51.100.1"),
    "conflicting": _sound("192.0.2.2", CONFLICTING_MAC, gateway=SECOND_GATEWAY),
    "short": _faulty("too short: 200 bytes"),
    "no-options": _faulty("too short: 236 bytes"),
    "bad-cookie": _faulty("magic cookie"),
    "option-past-end": _faulty("option 224 runs past the end: 200 bytes announced, 2 there"),
    "no-end": _faulty("no end (255)"),
    "bad-xid": Outcome(Reason.MALFORMED, (MAC, "none of ours")),
    "bad-chaddr": Outcome(Reason.MALFORMED, (MAC, "for another client, 00:00:5e:00:53:99")),
    "wrong-op": _faulty("op is 1"),
    "wrong-htype": _faulty("hardware type 6"),
    "wrong-message-type": _faulty("the message type is ACK instead of OFFER"),
    "no-message-type": _faulty("no message type (option 53)", "BOOTP"),
    "nak": Outcome(Reason.REFUSED, ("refuses (NAK)",)),
    "bad-udp-checksum": _faulty("the UDP checksum is wrong"),
    "bad-ip-checksum": _faulty("the IP header's checksum is wrong"),
    "other-vlan": Outcome(Reason.WRONG_VLAN, ("VLAN 999", "192.0.2.1")),
    "no-server-id": _faulty("no server identifier (option 54)", "without identifier"),
    "no-lease-time": _faulty("no lease time (option 51)"),
    "zero-lease": _faulty("the lease time is 0 seconds"),
    "no-mask": _faulty("no subnet mask (option 1)"),
    "non-contiguous-mask": _faulty("option 1 (subnet mask) is 255.0.255.0", "not contiguous"),
    "zero-mask": _faulty("the subnet mask is 0.0.0.0"),
    "full-mask": _faulty("192.0.2.1 is outside of the subnet 192.0.2.77/32"),
    "no-router": Outcome(Reason.NO_GATEWAY, ("no gateway",), CIDR),
    "router-outside": _faulty("203.0.113.1 is outside of the subnet 192.0.2.0/24"),
    "router-is-network": _faulty("192.0.2.0 is the network address of 192.0.2.0/24"),
    "router-is-broadcast": _faulty("192.0.2.255 is the broadcast address of 192.0.2.0/24"),
    "router-is-offer": _faulty("192.0.2.77 is the very address that is offered"),
    "router-3-bytes": _faulty("option 3 (router) has 3 bytes"),
    "router-5-bytes": _faulty("option 3 (router) has 5 bytes"),
    "zero-yiaddr": _faulty("it offers no address (0.0.0.0)"),
    "yiaddr-is-network": _faulty("the address 192.0.2.0 is the network address"),
    "yiaddr-is-broadcast": _faulty("the address 192.0.2.255 is the broadcast address"),
    "yiaddr-is-multicast": _faulty("224.0.0.77 is none for a machine"),
    "yiaddr-is-loopback": _faulty("127.0.0.77 is none for a machine"),
    "yiaddr-is-server": _faulty("the server's own address 192.0.2.1"),
    "bad-121-prefix": _faulty("option 121 (classless static routes) has a prefix of 33 bits"),
    "bad-121-truncated": _faulty("option 121 (classless static routes) ends within a route"),
}
"""What each fault gives when it comes alone."""

USABLE = sorted(name for name, outcome in OUTCOMES.items() if outcome.reason is Reason.FOUND)
UNUSABLE = sorted(OUTCOMES.keys() - set(USABLE) - {"silent"})


@dataclass(frozen=True)
class Bench:
    """A plain network with the faulty server on it, which says nothing of itself, and what the node looks like."""

    place: Place
    server: FaultyServer
    before: dict[str, Any]

    def probe(self, *faults: str, **wishes: Any) -> Discovery:
        """Probe while the server answers with these faults; nothing may be left of it on the node."""
        self.server.use(*faults)
        found = discover(self.place, Wishes(**{"timeout_s": _LISTEN_S, "check": False} | wishes))
        assert node.list_differences(self.before, node.take_snapshot()) == []
        return found


@pytest.fixture(scope="module")
def bench(own_machine: None) -> Iterator[Bench]:
    """One server for all tests of this file: it takes up new faults faster than it starts."""
    namespaces.enter_fresh_node()
    with (
        make_plain_network(mtu=9000) as bridge,
        make_container("faulty") as container,
        plug_in(bridge, container, mac=MAC, mtu=9000),
        serve_faults(container, "eth0", "none") as server,
    ):
        yield Bench(Place(bridge, 0), server, node.take_snapshot())


def _read_route(found: Discovery) -> tuple[str, str]:
    return str(found.cidr), str(found.gateway)


def _explain(found: Discovery) -> str:
    """Return all that is said to a person about why."""
    assert found.verdict is not None
    offers = [word for offer in found.offers for word in (*offer.faults, *offer.remarks)]
    return " | ".join([found.verdict.text, *found.verdict.warnings, *offers])


def _assert_outcome(found: Discovery, outcome: Outcome) -> None:
    assert found.verdict is not None
    explained = _explain(found)
    assert (found.verdict.reason, *_read_route(found)) == (outcome.reason, outcome.cidr, outcome.gateway), explained
    assert [word for word in outcome.words if word not in explained] == [], explained
    assert found.is_valid == (outcome.reason is Reason.FOUND)
    assert bool(found.verdict.advice) == (not found.is_valid)
    found.to_json()


def test_every_fault_has_an_outcome() -> None:
    """No fault of the lab goes without a promise."""
    assert FAULTS.keys() == OUTCOMES.keys()


@pytest.mark.parametrize("fault", [*UNUSABLE, "silent"])
def test_unusable_answer_gives_no_route_and_its_fault_is_named(bench: Bench, fault: str) -> None:
    """The reason is the right one, the explanation has what is wrong, and there is something to do next."""
    _assert_outcome(bench.probe(fault), OUTCOMES[fault])


@pytest.mark.parametrize("fault", USABLE)
def test_odd_answer_that_is_right_is_understood(bench: Bench, fault: str) -> None:
    """CIDR and gateway are what the answer says, and what is remarkable about it is told."""
    whole = fault == "duplicate"  # the first answer is like any other
    found = bench.probe(fault, first=not whole, timeout_s=_LISTEN_S if whole else _PATIENCE_S)
    _assert_outcome(found, OUTCOMES[fault])


@pytest.mark.parametrize("fault", UNUSABLE)
@pytest.mark.parametrize(("sound", "gateway"), [("none", GATEWAY), ("conflicting", SECOND_GATEWAY)])
def test_sound_answer_after_a_faulty_one_is_taken_with_a_warning(
    bench: Bench, fault: str, sound: str, gateway: str
) -> None:
    """Be it the same server's or another's: its route is found, and the fault is told all the same."""
    found = bench.probe(fault, sound, first=True, timeout_s=_PATIENCE_S)
    assert found.verdict is not None
    assert (found.verdict.reason, *_read_route(found)) == (Reason.FOUND, CIDR, gateway)
    if fault == "no-router":  # nothing is wrong with that offer; it is only worth less
        assert [offer.gateway is None for offer in found.offers] == [True, False]
        return
    explained = " | ".join(found.verdict.warnings)
    assert [word for word in OUTCOMES[fault].words if word not in explained] == [], explained


@pytest.mark.parametrize("fault", ["infinite-lease", "two-routers", "long-options", "routes-121"])
def test_plain_answer_is_taken_before_an_odd_one(bench: Bench, fault: str) -> None:
    """Of two offers the one with fewer remarks is taken, though it came later; another route gives a warning."""
    found = bench.probe(fault, "none")
    assert _read_route(found) == (CIDR, GATEWAY)
    assert found.verdict is not None
    odd = OUTCOMES[fault].gateway
    told = [warning for warning in found.verdict.warnings if "contradicts itself: " in warning]
    assert len(told) == (odd != GATEWAY)
    assert all(f"via {gateway}" in warning for warning in told for gateway in (GATEWAY, odd))


def test_sound_answer_among_all_faulty_ones_at_once_is_taken(bench: Bench) -> None:
    """A sound server's route is found among every unusable answer there is; of those many are told, if not all."""
    found = bench.probe(*UNUSABLE, "conflicting", first=True, timeout_s=_PATIENCE_S)
    assert found.verdict is not None
    assert (found.verdict.reason, *_read_route(found)) == (Reason.FOUND, CIDR, SECOND_GATEWAY)
    explained = " | ".join(found.verdict.warnings)
    kept = [fault for fault in UNUSABLE if all(word in explained for word in OUTCOMES[fault].words)]
    assert len(kept) >= 10, explained


def test_sound_answer_before_all_faulty_ones_is_taken(bench: Bench) -> None:
    """What comes after it changes nothing but the warnings."""
    found = bench.probe("none", *UNUSABLE)
    assert _read_route(found) == (CIDR, GATEWAY)
    assert found.verdict is not None
    assert len(found.verdict.warnings) >= 10


def test_flood_hides_no_other_server(bench: Bench) -> None:
    """A thousand offers are counted, a few are kept, and the one of another server behind them is seen and used."""
    found = bench.probe("flood", "conflicting", timeout_s=_PATIENCE_S, first=True, server=SECOND)
    assert _read_route(found) == (CIDR, SECOND_GATEWAY)
    assert len(found.offers) < 50
    assert f"answered {FLOOD} times to 1" in _explain(found)
    assert "two DHCP servers" in _explain(found)


def test_two_servers_that_disagree_are_both_named(bench: Bench) -> None:
    """The warning has the MAC and the server identifier of each, and what it says."""
    found = bench.probe("none", "conflicting")
    assert found.verdict is not None
    (warning,) = found.verdict.warnings
    assert "two DHCP servers" in warning
    said = (
        f"{SERVER} ({MAC}) says {CIDR} via {GATEWAY}",
        f"{SECOND} ({CONFLICTING_MAC}) says {CIDR} via {SECOND_GATEWAY}",
    )
    assert [words in warning for words in said] == [True, True]


def test_sound_server_gives_no_warning(bench: Bench) -> None:
    """Where all is well nobody is worried."""
    found = bench.probe("none")
    assert found.verdict is not None
    assert found.verdict.warnings == ()


@pytest.mark.parametrize("order", [("none", "rogue"), ("rogue", "none")])
def test_rogue_server_is_named_and_never_chosen(bench: Bench, order: tuple[str, str]) -> None:
    """With a list of trusted servers the one outside of it is told by MAC and identifier, however early it answers."""
    found = bench.probe(*order, trusted=frozenset({SERVER}))
    assert _read_route(found) == (CIDR, GATEWAY)
    assert found.verdict is not None
    rogue = [warning for warning in found.verdict.warnings if warning.startswith("rogue")]
    assert len(rogue) == 1
    assert ROGUE_MAC in rogue[0]
    assert "198.51.100.1" in rogue[0]


def test_rogue_server_alone_gives_no_route(bench: Bench) -> None:
    """Better none than a stranger's."""
    found = bench.probe("rogue", trusted=frozenset({SERVER}))
    outcome = Outcome(Reason.UNTRUSTED_ONLY, ("198.51.100.1", ROGUE_MAC))
    _assert_outcome(found, outcome)


def test_named_server_alone_counts(bench: Bench) -> None:
    """With `server` the others' answers are heard, listed, and never used."""
    found = bench.probe("rogue", "none", "conflicting", server=SERVER)
    assert _read_route(found) == (CIDR, GATEWAY)
    assert {offer.server for offer in found.offers} == {SERVER, SECOND, IPv4Address("198.51.100.1")}


def test_named_server_that_is_silent_gives_no_route(bench: Bench) -> None:
    """It is named, and so is the one that answers instead."""
    found = bench.probe("none", server=SECOND)
    _assert_outcome(found, Outcome(Reason.SERVER_SILENT, (str(SECOND), f"{SERVER} ({MAC})")))


def test_other_stations_are_told_from_silence(bench: Bench) -> None:
    """A network where somebody speaks has no DHCP server; one where nobody does may not be connected at all."""
    bench.server.use("silent")
    gratuitous = Ether(src="02:00:00:00:00:09", dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="192.0.2.9", pdst="192.0.2.9")
    with repeat_frame(bench.place.bridge, bytes(gratuitous)):
        found = discover(bench.place, Wishes(timeout_s=_LISTEN_S, check=False))
    _assert_outcome(found, Outcome(Reason.NO_SERVER, ("1 other station",)))


def test_answers_to_others_are_told_from_silence(bench: Bench) -> None:
    """A server that answers another client, and not us, is there all the same."""
    bench.server.use("silent")
    offer = (
        Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff")
        / IP(src=str(SERVER), dst="255.255.255.255")
        / UDP(sport=67, dport=68)
        / BOOTP(op=2, xid=1, yiaddr="192.0.2.66", chaddr=bytes.fromhex("020000000009"))
        / DHCP(options=[("message-type", "offer"), ("server_id", str(SERVER)), "end"])
    )
    with repeat_frame(bench.place.bridge, bytes(offer)):
        found = discover(bench.place, Wishes(timeout_s=_LISTEN_S, check=False))
    _assert_outcome(found, Outcome(Reason.OTHERS_ONLY, ("1 other client",)))
