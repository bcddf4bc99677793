"""The outcome of a discovery as a document, and the word of Harvester's annotation for it."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.dhcp.offer import Offer, judge
from cni_harvester.dhcp.verdict import ADVICE, Reason, Verdict
from cni_harvester.discovery import facts
from cni_harvester.discovery.facts import Answer, Fact
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.report import Discovery
from cni_harvester.wire.dhcp import decode_reply
from cni_harvester.wire.dhcp_options import INFINITE_S, StaticRoute
from cni_harvester.wire.ndp import Advertisement, Prefix
from tests.unit.wire.packets import make_offer

CIDR, GATEWAY = IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.1")
BEGAN = datetime(2026, 7, 30, 12, 34, 56, 789000, tzinfo=UTC)
OFFER = Offer(
    kind=2,
    server=GATEWAY,
    server_mac="02:00:00:00:00:01",
    relay=None,
    address=IPv4Address("192.0.2.5"),
    network=CIDR,
    gateway=GATEWAY,
    lease_s=3600,
)
FOUND = Discovery(
    place=Place("cn1-br", 100),
    node="node-1",
    at=BEGAN,
    duration_s=5.123456,
    verdict=Verdict(Reason.FOUND, "DHCP server 192.0.2.1 offers it", OFFER, ("a warning",)),
    cidr=CIDR,
    gateway=GATEWAY,
    facts=(Fact(facts.GATEWAY_ARP, Answer.YES, "192.0.2.1 is at 02:00:00:00:00:01", 1.26),),
    offers=(OFFER,),
)
NOTHING = dataclasses.replace(
    FOUND, verdict=Verdict(Reason.SILENCE, "nothing was heard"), cidr=None, gateway=None, facts=(), offers=()
)


def write(discovery: Discovery) -> dict[str, Any]:
    """Write a discovery as JSON, and read it back; what JSON has no word for is refused."""
    read: dict[str, Any] = json.loads(json.dumps(discovery.to_json(), allow_nan=False))
    assert read == discovery.to_json()
    return read


# --- the document --------------------------------------------------------------------------------------------------


def test_document_of_a_network_that_was_found_has_route_and_evidence() -> None:
    """All that a person, or our annotation, needs of a success."""
    assert write(FOUND) == {
        "bridge": "cn1-br",
        "vlan": 100,
        "node": "node-1",
        "time": "2026-07-30T12:34:56Z",
        "durationSeconds": 5.123,
        "cidr": "192.0.2.0/24",
        "gateway": "192.0.2.1",
        "connectivity": "true",
        "reason": "found",
        "message": "DHCP server 192.0.2.1 offers it",
        "warnings": ["a warning"],
        "offers": [
            {
                "taken": True,
                "server": "192.0.2.1",
                "serverMAC": "02:00:00:00:00:01",
                "address": "192.0.2.5",
                "cidr": "192.0.2.0/24",
                "gateway": "192.0.2.1",
                "leaseSeconds": 3600,
                "answeredSeconds": 0.0,
            }
        ],
        "reachability": [
            {
                "check": "gateway answers ARP",
                "result": "yes",
                "reason": "192.0.2.1 is at 02:00:00:00:00:01",
                "durationMilliseconds": 1.3,
            }
        ],
    }


def test_document_of_a_network_where_nothing_was_found_says_why() -> None:
    """Keys without a value are left out; what to do is there."""
    assert write(NOTHING) == {
        "bridge": "cn1-br",
        "vlan": 100,
        "node": "node-1",
        "time": "2026-07-30T12:34:56Z",
        "durationSeconds": 5.123,
        "connectivity": "DHCP failed",
        "reason": "silence",
        "message": "nothing was heard",
        "advice": ADVICE[Reason.SILENCE],
    }


def test_document_of_a_checked_route_has_no_word_of_dhcp() -> None:
    """DHCP was not asked where a person has set the route."""
    document = write(dataclasses.replace(FOUND, verdict=None, offers=()))
    assert document["connectivity"] == "true"
    assert not {"reason", "message", "advice", "warnings", "offers"} & set(document)


def test_document_keeps_zeros() -> None:
    """The untagged network is VLAN 0, and a time of 0 is a time."""
    idle = dataclasses.replace(OFFER, lease_s=0, t1_s=0, t2_s=0, mtu=0)
    document = write(dataclasses.replace(FOUND, place=Place("cn1-br", 0), duration_s=0.0, offers=(idle,)))
    assert (document["vlan"], document["durationSeconds"]) == (0, 0)
    (offer,) = document["offers"]
    assert [offer[key] for key in ("leaseSeconds", "renewalSeconds", "rebindingSeconds", "mtu")] == [0, 0, 0, 0]


def test_document_has_everything_of_an_offer() -> None:
    """What a server says is shown, faults and remarks included; only the offer that is taken is marked."""
    other = Offer(
        kind=2,
        server=IPv4Address("192.0.2.2"),
        server_mac="02:00:00:00:00:02",
        relay=IPv4Address("192.0.2.9"),
        address=IPv4Address("192.0.2.6"),
        network=CIDR,
        gateway=GATEWAY,
        routers=(GATEWAY, IPv4Address("192.0.2.3")),
        routes=(StaticRoute(IPv4Network("198.51.100.0/24"), IPv4Address("0.0.0.0")),),
        lease_s=INFINITE_S,
        t1_s=1800,
        t2_s=3150,
        mtu=1400,
        broadcast=IPv4Address("192.0.2.255"),
        dns=(IPv4Address("198.51.100.1"),),
        domain="example.org",
        search=("lab.example.org",),
        ntp=(IPv4Address("198.51.100.2"),),
        message="hello",
        faults=("a fault",),
        remarks=("a remark",),
        answered_s=0.12345,
    )
    document = write(dataclasses.replace(FOUND, offers=(other, OFFER)))
    assert [offer.get("taken") for offer in document["offers"]] == [None, True]
    assert document["offers"][0] == {
        "server": "192.0.2.2",
        "serverMAC": "02:00:00:00:00:02",
        "relay": "192.0.2.9",
        "address": "192.0.2.6",
        "cidr": "192.0.2.0/24",
        "gateway": "192.0.2.1",
        "routers": ["192.0.2.1", "192.0.2.3"],
        "routes": [{"destination": "198.51.100.0/24", "gateway": "0.0.0.0"}],
        "leaseSeconds": INFINITE_S,
        "leaseInfinite": True,
        "renewalSeconds": 1800,
        "rebindingSeconds": 3150,
        "mtu": 1400,
        "broadcast": "192.0.2.255",
        "dns": ["198.51.100.1"],
        "domain": "example.org",
        "search": ["lab.example.org"],
        "ntp": ["198.51.100.2"],
        "serverMessage": "hello",
        "faults": ["a fault"],
        "remarks": ["a remark"],
        "answeredSeconds": 0.123,
    }


def test_document_of_an_offer_without_anything_has_what_is_known() -> None:
    """A NAK gives nothing but its sender."""
    refusal = Offer(6, None, "02:00:00:00:00:01", None, IPv4Address("0.0.0.0"))
    assert write(dataclasses.replace(NOTHING, offers=(refusal,)))["offers"] == [
        {"serverMAC": "02:00:00:00:00:01", "address": "0.0.0.0", "answeredSeconds": 0.0}
    ]


def test_document_has_the_routers_of_ipv6() -> None:
    """What they say of DHCPv6 is there whether it is yes or no, and why one must be ignored."""
    sound = Advertisement(
        router=IPv6Address("fe80::1"),
        router_mac="02:00:00:00:00:01",
        lifetime_s=0,
        managed=True,
        other=False,
        mtu=1400,
        prefixes=(Prefix(IPv6Network("2001:db8::/64"), True, True, 1, 1),),
        dns=(IPv6Address("2001:db8::53"),),
        faults=(),
    )
    faulty = dataclasses.replace(sound, mtu=None, prefixes=(), dns=(), managed=False, other=True, faults=("a fault",))
    assert write(dataclasses.replace(FOUND, advertisements=(sound, faulty)))["ipv6Routers"] == [
        {
            "router": "fe80::1",
            "routerMAC": "02:00:00:00:00:01",
            "lifetimeSeconds": 0,
            "mtu": 1400,
            "prefixes": ["2001:db8::/64"],
            "dns": ["2001:db8::53"],
            "dhcpv6Addresses": True,
            "dhcpv6Settings": False,
        },
        {
            "router": "fe80::1",
            "routerMAC": "02:00:00:00:00:01",
            "lifetimeSeconds": 0,
            "faults": ["a fault"],
            "dhcpv6Addresses": False,
            "dhcpv6Settings": True,
        },
    ]


def test_document_of_an_ipv6_route_is_written() -> None:
    """A person may set a route of either kind."""
    network, gateway = IPv6Network("2001:db8::/64"), IPv6Address("2001:db8::1")
    document = write(dataclasses.replace(FOUND, verdict=None, cidr=network, gateway=gateway, offers=()))
    assert (document["cidr"], document["gateway"]) == ("2001:db8::/64", "2001:db8::1")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (BEGAN, "2026-07-30T12:34:56Z"),
        (BEGAN.replace(microsecond=0), "2026-07-30T12:34:56Z"),
        (BEGAN.replace(tzinfo=timezone(timedelta(hours=2))), "2026-07-30T12:34:56+02:00"),
    ],
)
def test_time_is_that_of_rfc_3339(at: datetime, text: str) -> None:
    """Whole seconds; UTC is Z."""
    assert write(dataclasses.replace(FOUND, at=at))["time"] == text


def list_texts(value: Any) -> list[str]:
    """Return every text within a document."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in list_texts(each)]


option_values = st.none() | st.binary(max_size=20) | st.text(max_size=20).map(lambda text: text.encode())


@given(
    st.dictionaries(st.sampled_from([1, 3, 6, 15, 26, 33, 51, 54, 56, 58, 119, 121, 249]), option_values),
    st.floats(0, 1e6),
    st.sampled_from(list(Answer)),
)
def test_document_of_whatever_a_server_sends_is_json(
    changes: dict[int, bytes | None], duration_s: float, answer: Answer
) -> None:
    """What a stranger wrote into an offer does not break the document, or get control characters into it."""
    reply = decode_reply(make_offer(changes))
    assert reply is not None
    offer = judge(reply)
    document = write(
        dataclasses.replace(
            FOUND,
            duration_s=duration_s,
            verdict=Verdict(Reason.FAULTY_OFFER, "; ".join(offer.faults), None, offer.remarks),
            offers=(offer,),
            facts=(Fact(facts.PATH_MTU, answer, "; ".join(offer.faults), duration_s),),
        )
    )
    assert [text for text in list_texts(document) if not text.isprintable()] == []


# --- the annotation's word -----------------------------------------------------------------------------------------


def with_facts(*answers: tuple[str, Answer]) -> Discovery:
    """Make a discovery that has found a route, and these facts."""
    return dataclasses.replace(FOUND, facts=tuple(Fact(name, answer, "") for name, answer in answers))


ARP_YES, ARP_NO, ARP_UNKNOWN = ((facts.GATEWAY_ARP, answer) for answer in (Answer.YES, Answer.NO, Answer.UNKNOWN))


@pytest.mark.parametrize(
    ("discovery", "word"),
    [
        (with_facts(ARP_YES), "true"),
        (with_facts(ARP_YES, (facts.GATEWAY_ICMP, Answer.YES)), "true"),
        (with_facts(ARP_YES, (facts.GATEWAY_ICMP, Answer.NO)), "true"),
        (with_facts(ARP_YES, (facts.GATEWAY_ICMP, Answer.UNKNOWN)), "true"),
        (with_facts(ARP_YES, (facts.PATH_MTU, Answer.NO), (facts.ONE_GATEWAY_MAC, Answer.NO)), "true"),
        (with_facts(ARP_NO), "false"),
        (with_facts(ARP_NO, (facts.GATEWAY_ICMP, Answer.YES)), "false"),
        (with_facts((facts.DHCP_PRESENT, Answer.YES), ARP_NO), "false"),
        (with_facts(ARP_UNKNOWN), "ping failed"),
        (with_facts(ARP_UNKNOWN, (facts.GATEWAY_ICMP, Answer.YES)), "ping failed"),
        (with_facts(), ""),
        (with_facts((facts.DHCP_PRESENT, Answer.YES)), ""),
        (NOTHING, "DHCP failed"),
        (dataclasses.replace(with_facts(ARP_YES), gateway=None), "DHCP failed"),
        (dataclasses.replace(with_facts(ARP_YES), cidr=None), "DHCP failed"),
    ],
)
def test_connectivity_is_what_arp_says_of_a_route(discovery: Discovery, word: str) -> None:
    """A gateway that answers ARP is reachable, be it that it drops ICMP; without a route there is nothing to reach."""
    assert discovery.connectivity == word
    assert write(discovery).get("connectivity", "") == word


@pytest.mark.parametrize(
    ("cidr", "gateway", "valid"),
    [(CIDR, GATEWAY, True), (CIDR, None, False), (None, GATEWAY, False), (None, None, False)],
)
def test_route_is_cidr_and_gateway(cidr: IPv4Network | None, gateway: IPv4Address | None, valid: bool) -> None:
    """One of them alone is of no use to a machine."""
    assert dataclasses.replace(FOUND, cidr=cidr, gateway=gateway).is_valid is valid


@pytest.mark.parametrize(
    ("discovery", "good"),
    [
        (with_facts(ARP_YES), True),
        (with_facts(ARP_NO), True),
        (with_facts(), True),
        (NOTHING, False),
        (dataclasses.replace(FOUND, gateway=None), False),
        (dataclasses.replace(with_facts(ARP_YES), verdict=None), True),
        (dataclasses.replace(with_facts(ARP_NO), verdict=None), False),
        (dataclasses.replace(with_facts(ARP_UNKNOWN), verdict=None), False),
    ],
)
def test_outcome_is_good_when_what_was_asked_for_was_found(discovery: Discovery, good: bool) -> None:
    """A discovery is to find a route; a check is to find that a person's route works."""
    assert discovery.is_good is good
