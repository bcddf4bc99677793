"""What is made of a server's answer: what it gives, and every fault and remark in its words.

All answers go the whole way, as frames.
"""

import random
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.dhcp.offer import Offer, judge
from cni_harvester.wire import dhcp
from cni_harvester.wire.dhcp import decode_reply
from cni_harvester.wire.dhcp_options import INFINITE_S, StaticRoute
from tests.unit.wire.packets import (
    CLIENT,
    COOKIE,
    END,
    OFFER,
    SERVER,
    SERVER_MAC,
    encode_options,
    encode_routes,
    join_options,
    list_options,
    make_message,
    make_offer,
    make_reply,
)

NETWORK = IPv4Network("192.0.2.0/24")
MASK, ROUTER, STATIC_ROUTES, LEASE_TIME, MESSAGE_TYPE, SERVER_ID, T1, T2 = 1, 3, 33, 51, 53, 54, 58, 59
ROUTES, MS_ROUTES = 121, 249


def pack(*texts: str) -> bytes:
    """Write addresses one after the other."""
    return b"".join(IPv4Address(text).packed for text in texts)


def seconds(number: int) -> bytes:
    """Write a time."""
    return number.to_bytes(4, "big")


def judge_frame(frame: bytes, *, expected: int = dhcp.OFFER, informed: IPv4Interface | None = None) -> Offer:
    """Judge a frame that is a server's answer."""
    reply = decode_reply(frame)
    assert reply is not None
    return judge(reply, expected=expected, informed=informed)


def offer(changes: dict[int, bytes | None] | None = None, *, end: bytes = END, **header: str | int) -> Offer:
    """Judge a sound offer of 192.0.2.5 by 192.0.2.1, with changes."""
    return judge_frame(make_offer(changes, end=end, **header))


def route(network: str, gateway: str) -> StaticRoute:
    """Return a route as a reader does."""
    return StaticRoute(IPv4Network(network), IPv4Address(gateway))


# --- what it gives -------------------------------------------------------------------------------------------------


def test_sound_offer_is_read_without_a_fault_or_remark() -> None:
    """Everything that a server says has its place, and nothing is wrong."""
    frame = make_offer(
        {
            T1: seconds(1800),
            T2: seconds(3150),
            6: pack("198.51.100.1", "198.51.100.2"),
            15: b"example.org",
            26: (9000).to_bytes(2, "big"),
            28: pack("192.0.2.255"),
            33: pack("203.0.113.7", "192.0.2.9"),
            42: pack("198.51.100.3"),
            56: b"hello",
            119: b"\3lab\7example\3org\0",
        },
        giaddr="192.0.2.2",
    )
    reply = decode_reply(frame, at_s=12.5)
    assert reply is not None
    assert judge(reply, asked_at_s=10.0) == Offer(
        kind=dhcp.OFFER,
        server=SERVER,
        server_mac=SERVER_MAC,
        relay=IPv4Address("192.0.2.2"),
        address=CLIENT,
        network=NETWORK,
        gateway=SERVER,
        routers=(SERVER,),
        routes=(route("203.0.113.7/32", "192.0.2.9"),),
        lease_s=3600,
        t1_s=1800,
        t2_s=3150,
        mtu=9000,
        broadcast=IPv4Address("192.0.2.255"),
        dns=(IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")),
        domain="example.org",
        search=("lab.example.org",),
        ntp=(IPv4Address("198.51.100.3"),),
        message="hello",
        asked_at_s=10.0,
        answered_s=2.5,
    )


def test_offer_that_is_sound_is_usable_and_gives_a_route() -> None:
    """CIDR and gateway are what a network is discovered for."""
    found = offer()
    assert found.is_usable
    assert found.route == (NETWORK, SERVER)


def test_offer_that_came_before_the_question_took_no_time() -> None:
    """An answer to nobody's clock is not a negative time."""
    reply = decode_reply(make_offer(), at_s=1.0)
    assert reply is not None
    assert judge(reply, asked_at_s=3.0).answered_s == 0


# --- gateway: 121, else 249, else 3 and 33 -------------------------------------------------------------------------

DEFAULT_9 = encode_routes(("0.0.0.0/0", "192.0.2.9"))
DEFAULT_8 = encode_routes(("0.0.0.0/0", "192.0.2.8"))


@pytest.mark.parametrize(
    ("changes", "gateway", "routes"),
    [
        pytest.param({}, "192.0.2.1", (), id="3"),
        pytest.param({ROUTER: pack("192.0.2.7", "192.0.2.1")}, "192.0.2.7", (), id="the first of 3"),
        pytest.param({ROUTER: None}, None, (), id="none"),
        pytest.param({ROUTES: DEFAULT_9}, "192.0.2.9", (), id="121 before 3"),
        pytest.param({ROUTES: DEFAULT_9, ROUTER: None}, "192.0.2.9", (), id="121 alone"),
        pytest.param({MS_ROUTES: DEFAULT_8}, "192.0.2.8", (), id="249 before 3"),
        pytest.param({MS_ROUTES: DEFAULT_8, ROUTES: DEFAULT_9}, "192.0.2.9", (), id="121 before 249"),
        pytest.param(
            {ROUTES: encode_routes(("198.51.100.0/24", "192.0.2.9"))},
            None,
            (route("198.51.100.0/24", "192.0.2.9"),),
            id="121 without a default route, which 3 does not give then",
        ),
        pytest.param(
            {MS_ROUTES: encode_routes(("198.51.100.0/24", "192.0.2.9"))},
            None,
            (route("198.51.100.0/24", "192.0.2.9"),),
            id="249 without a default route",
        ),
        pytest.param(
            {ROUTES: encode_routes(("198.51.100.0/24", "192.0.2.9"), ("0.0.0.0/0", "192.0.2.8"))},
            "192.0.2.8",
            (route("198.51.100.0/24", "192.0.2.9"),),
            id="121 with a default route behind another one",
        ),
        pytest.param({ROUTES: DEFAULT_9 + DEFAULT_8}, "192.0.2.9", (), id="the first default route of 121"),
        pytest.param({ROUTES: encode_routes(("0.0.0.0/0", "0.0.0.0"))}, None, (), id="121 with everything on the link"),
        pytest.param(
            {ROUTES: encode_routes(("0.0.0.0/0", "0.0.0.0")) + DEFAULT_9},
            "192.0.2.9",
            (),
            id="on the link, then routed",
        ),
        pytest.param(
            {ROUTES: encode_routes(("198.51.100.0/24", "0.0.0.0")) + DEFAULT_9},
            "192.0.2.9",
            (route("198.51.100.0/24", "0.0.0.0"),),
            id="121 with a network on the link",
        ),
        pytest.param(
            {STATIC_ROUTES: pack("203.0.113.7", "192.0.2.9")},
            "192.0.2.1",
            (route("203.0.113.7/32", "192.0.2.9"),),
            id="33 beside 3",
        ),
        pytest.param(
            {STATIC_ROUTES: pack("203.0.113.7", "192.0.2.9"), ROUTES: DEFAULT_9},
            "192.0.2.9",
            (),
            id="33 not beside 121",
        ),
    ],
)
def test_gateway_is_that_of_the_classless_routes_if_they_are_there(
    changes: dict[int, bytes | None], gateway: str | None, routes: tuple[StaticRoute, ...]
) -> None:
    """RFC 3442: a client that knows option 121 ignores 3 and 33 beside it; 249 is Microsoft's number for the same."""
    found = offer(changes)
    assert (found.gateway, found.routes) == (IPv4Address(gateway) if gateway else None, routes)
    assert found.faults == ()


@pytest.mark.parametrize(
    ("destination", "gateway", "why"),
    [
        ("203.0.113.0/24", "198.51.100.1", "its gateway 198.51.100.1 is outside of the subnet 192.0.2.0/24"),
        ("203.0.113.0/24", "192.0.2.100", "its gateway is the very address that is offered"),
        ("127.0.0.0/8", "192.0.2.9", "no machine has a route to there"),
        ("224.0.0.0/4", "0.0.0.0", "no machine has a route to there"),
    ],
)
def test_route_that_no_machine_can_have_is_left_out(destination: str, gateway: str, why: str) -> None:
    """The offer stays usable, its other routes too, and the remark says which one is missing and why."""
    sound = ("198.51.100.0/24", "192.0.2.9")
    found = offer({ROUTES: encode_routes((destination, gateway), sound) + DEFAULT_9}, yiaddr="192.0.2.100")
    assert found.is_usable
    assert found.routes == (route(*sound),)
    assert f"the route to {destination} is left out: {why}" in found.remarks


def test_gateway_of_microsofts_routes_is_remarked_on_by_their_number() -> None:
    """Option 249 is not called 121."""
    assert offer({MS_ROUTES: DEFAULT_8}).remarks == (
        "option 249 has gateway 192.0.2.8, option 3 192.0.2.1; 249 counts (RFC 3442)",
    )


@pytest.mark.parametrize(
    ("address", "gateway"),
    [("192.0.2.5", "224.0.0.1"), ("10.0.0.5", "127.0.0.1"), ("192.0.2.5", "240.0.0.1"), ("10.0.0.5", "0.0.0.1")],
)
def test_gateway_that_no_machine_can_be_is_named(address: str, gateway: str) -> None:
    """A mask as wide as half of the internet has such addresses in it."""
    found = offer({MASK: pack("128.0.0.0"), ROUTER: pack(gateway)}, yiaddr=address)
    assert found.faults == (f"the gateway {gateway} is none for a machine",)


def test_classless_routes_of_microsoft_that_are_faulty_are_not_used() -> None:
    """Option 249 is nobody's standard: what is wrong with it is a remark, and option 3 counts."""
    found = offer({MS_ROUTES: b"\x21"})
    assert (found.gateway, found.faults) == (SERVER, ())
    assert found.remarks == ("option 249 (classless static routes of Microsoft) has a prefix of 33 bits",)


# --- faults --------------------------------------------------------------------------------------------------------

NO_GATEWAY: dict[int, bytes | None] = {ROUTER: None}


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        # the kind of message
        ({MESSAGE_TYPE: None}, ["there is no message type (option 53): a BOOTP answer, not a DHCP one"]),
        ({MESSAGE_TYPE: b"\5"}, ["the message type is ACK instead of OFFER"]),
        ({MESSAGE_TYPE: b"\1"}, ["the message type is DISCOVER instead of OFFER"]),
        ({MESSAGE_TYPE: b"\x08"}, ["the message type is INFORM instead of OFFER"]),
        ({MESSAGE_TYPE: b"\x63"}, ["the message type is 99 instead of OFFER"]),
        ({MESSAGE_TYPE: b"\0"}, ["the message type is 0 instead of OFFER"]),
        ({MESSAGE_TYPE: b"\2\2"}, ["option 53 (message type) has 2 bytes instead of 1"]),
        # the subnet mask
        ({MASK: None}, ["there is no subnet mask (option 1)"]),
        ({MASK: bytes(4)}, ["the subnet mask is 0.0.0.0"]),
        (
            {MASK: pack("255.0.255.0")},
            ["option 1 (subnet mask) is 255.0.255.0, whose ones are not contiguous"],
        ),
        ({MASK: b"\xff\xff\xff"}, ["option 1 (subnet mask) has 3 bytes instead of 4"]),
        ({MASK: b""}, ["option 1 (subnet mask) has 0 bytes instead of 4"]),
        # the gateway
        ({ROUTER: pack("192.0.3.1")}, ["the gateway 192.0.3.1 is outside of the subnet 192.0.2.0/24"]),
        ({ROUTER: pack("0.0.0.0")}, ["the gateway 0.0.0.0 is outside of the subnet 192.0.2.0/24"]),
        ({ROUTER: pack("192.0.2.5")}, ["the gateway 192.0.2.5 is the very address that is offered"]),
        ({ROUTER: pack("192.0.2.0")}, ["the gateway 192.0.2.0 is the network address of 192.0.2.0/24"]),
        ({ROUTER: pack("192.0.2.255")}, ["the gateway 192.0.2.255 is the broadcast address of 192.0.2.0/24"]),
        (
            {ROUTER: pack("192.0.2.1")[:3]},
            ["option 3 (router) has 3 bytes, which is no list of addresses of 4 bytes each"],
        ),
        (
            {MASK: pack("255.255.255.255")},
            ["the gateway 192.0.2.1 is outside of the subnet 192.0.2.5/32"],
        ),
        (
            {ROUTES: encode_routes(("0.0.0.0/0", "198.51.100.1"))},
            ["the gateway 198.51.100.1 is outside of the subnet 192.0.2.0/24"],
        ),
        (
            {MS_ROUTES: encode_routes(("0.0.0.0/0", "198.51.100.1"))},
            ["the gateway 198.51.100.1 is outside of the subnet 192.0.2.0/24"],
        ),
        ({ROUTES: b""}, ["option 121 (classless static routes) is empty"]),
        ({ROUTES: b"\x21"}, ["option 121 (classless static routes) has a prefix of 33 bits"]),
        ({ROUTES: b"\x18\xc6\x33"}, ["option 121 (classless static routes) ends within a route"]),
        # the server
        ({SERVER_ID: None}, ["there is no server identifier (option 54)"]),
        ({SERVER_ID: b"\xc0\0\2"}, ["option 54 (server identifier) has 3 bytes instead of 4"]),
        ({SERVER_ID: pack("0.0.0.0")}, ["the server identifier 0.0.0.0 is no address of a server"]),
        ({SERVER_ID: pack("224.0.0.1")}, ["the server identifier 224.0.0.1 is no address of a server"]),
        ({SERVER_ID: pack("240.0.0.1")}, ["the server identifier 240.0.0.1 is no address of a server"]),
        ({SERVER_ID: pack("255.255.255.255")}, ["the server identifier 255.255.255.255 is no address of a server"]),
        ({SERVER_ID: pack("192.0.2.5")}, ["it offers the server's own address 192.0.2.5"]),
        # the lease
        ({LEASE_TIME: None}, ["there is no lease time (option 51)"]),
        ({LEASE_TIME: bytes(4)}, ["the lease time is 0 seconds"]),
        ({LEASE_TIME: b"\x0e\x10"}, ["option 51 (lease time) has 2 bytes instead of 4"]),
        # more than one
        (
            {MASK: None, SERVER_ID: None, LEASE_TIME: None, MESSAGE_TYPE: None},
            [
                "there is no message type (option 53): a BOOTP answer, not a DHCP one",
                "there is no server identifier (option 54)",
                "there is no subnet mask (option 1)",
                "there is no lease time (option 51)",
            ],
        ),
    ],
)
def test_fault_of_an_option_is_named(changes: dict[int, bytes | None], faults: list[str]) -> None:
    """Each fault that makes an offer unusable has its words, which show what was found."""
    found = offer(changes)
    assert list(found.faults) == faults
    assert not found.is_usable


@pytest.mark.parametrize(
    ("address", "faults"),
    [
        ("0.0.0.0", ["it offers no address (0.0.0.0)", "the address 0.0.0.0 is the network address of 0.0.0.0/24"]),
        ("0.1.2.3", ["the address 0.1.2.3 is none for a machine"]),
        ("127.0.0.1", ["the address 127.0.0.1 is none for a machine"]),
        ("169.254.7.8", ["the address 169.254.7.8 is none for a machine"]),
        ("224.0.0.251", ["the address 224.0.0.251 is none for a machine"]),
        ("240.0.0.1", ["the address 240.0.0.1 is none for a machine"]),
        (
            "255.255.255.255",
            [
                "the address 255.255.255.255 is none for a machine",
                "the address 255.255.255.255 is the broadcast address of 255.255.255.0/24",
            ],
        ),
        ("192.0.2.1", ["it offers the server's own address 192.0.2.1"]),
        ("192.0.2.0", ["the address 192.0.2.0 is the network address of 192.0.2.0/24"]),
        ("192.0.2.255", ["the address 192.0.2.255 is the broadcast address of 192.0.2.0/24"]),
    ],
)
def test_fault_of_the_address_is_named(address: str, faults: list[str]) -> None:
    """An address that no machine can have is refused, whatever else is sound."""
    assert list(offer(NO_GATEWAY, yiaddr=address).faults) == faults


@pytest.mark.parametrize(
    "address", ["1.0.0.1", "10.255.255.254", "100.64.0.1", "172.16.0.1", "198.18.0.1", "223.255.255.254"]
)
def test_address_of_any_range_for_machines_is_accepted(address: str) -> None:
    """Private, shared and public ones; what a network uses is its owner's business."""
    assert offer(NO_GATEWAY, yiaddr=address).faults == ()


@pytest.mark.parametrize(
    ("mask", "address", "gateway"),
    [
        ("255.255.255.254", "192.0.2.4", "192.0.2.5"),
        ("255.255.255.254", "192.0.2.5", "192.0.2.4"),
        ("255.255.255.252", "192.0.2.5", "192.0.2.6"),
        ("255.255.255.255", "192.0.2.5", None),
        ("128.0.0.0", "192.0.2.5", "192.0.2.1"),
    ],
)
def test_address_of_a_subnet_of_any_size_is_accepted(mask: str, address: str, gateway: str | None) -> None:
    """A /31 or /32 has neither a network nor a broadcast address (RFC 3021)."""
    found = offer({MASK: pack(mask), ROUTER: pack(gateway) if gateway else None}, yiaddr=address)
    assert found.faults == ()
    assert found.network == IPv4Network(f"{address}/{mask}", strict=False)


@pytest.mark.parametrize(
    ("end", "fault"),
    [
        (b"", "the options have no end (255)"),
        (b"\x0c\x20abc", "option 12 runs past the end: 32 bytes announced, 3 there"),
        (b"\x0c", "option 12 has no length"),
    ],
)
def test_fault_of_the_options_as_a_whole_makes_an_offer_unusable(end: bytes, fault: str) -> None:
    """Something was lost, and nobody knows what: nothing of it is used."""
    assert offer(end=end).faults == (fault,)


def test_fault_of_the_options_as_a_whole_hides_that_the_type_is_missing() -> None:
    """An offer that was cut off before its type is not called BOOTP."""
    message = make_message(encode_options([(SERVER_ID, SERVER.packed)], b""))
    assert judge_frame(make_reply(message)).faults == (
        "the options have no end (255)",
        "there is no subnet mask (option 1)",
        "there is no lease time (option 51)",
    )


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ({"op": 1}, "it is no reply: op is 1"),
        ({"cookie": bytes(4)}, "the magic cookie before the options is wrong"),
        ({"hardware": (6, 6)}, "it is not for Ethernet: hardware type 6, address length 6"),
    ],
)
def test_fault_of_the_message_is_all_that_is_said(header: dict[str, int], fault: str) -> None:
    """Options of a message that is none are not judged: what is missing in them is only a consequence."""
    assert offer({MASK: None}, **header).faults == (fault,)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, "the server refuses (NAK)"),
        ({56: b"wrong network"}, "the server refuses (NAK): wrong network"),
        ({56: b"two\nlines"}, "the server refuses (NAK): two\ufffdlines"),
    ],
)
@pytest.mark.parametrize("expected", [dhcp.OFFER, dhcp.ACK])
def test_refusal_is_shown_with_the_servers_words(changes: dict[int, bytes | None], fault: str, expected: int) -> None:
    """A NAK has no address, no mask and no lease, which is not held against it."""
    nothing: dict[int, bytes | None] = {MASK: None, ROUTER: None, LEASE_TIME: None, MESSAGE_TYPE: b"\6"}
    found = judge_frame(make_offer(nothing | changes, yiaddr="0.0.0.0"), expected=expected)
    assert (found.kind, found.faults, found.remarks) == (dhcp.NAK, (fault,), ())


def test_grant_is_an_ack() -> None:
    """Where a REQUEST was sent an ACK is right, and an OFFER wrong."""
    granted = judge_frame(make_offer({MESSAGE_TYPE: b"\5"}), expected=dhcp.ACK)
    assert (granted.kind, granted.faults) == (dhcp.ACK, ())
    assert judge_frame(make_offer(), expected=dhcp.ACK).faults == ("the message type is OFFER instead of ACK",)


# --- remarks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "remarks"),
    [
        ({LEASE_TIME: seconds(INFINITE_S)}, ["the lease never ends"]),
        ({LEASE_TIME: seconds(INFINITE_S - 1)}, []),
        ({LEASE_TIME: seconds(59)}, ["the lease is short: 59 s"]),
        ({LEASE_TIME: seconds(1)}, ["the lease is short: 1 s"]),
        ({LEASE_TIME: seconds(60)}, []),
        ({T1: seconds(1800), T2: seconds(3150)}, []),
        ({T1: seconds(3600), T2: seconds(3600)}, []),
        (
            {T1: seconds(3150), T2: seconds(1800)},
            ["renewal, rebinding and lease time are out of order: 3150 s, 1800 s, 3600 s"],
        ),
        ({T2: seconds(7200)}, ["renewal, rebinding and lease time are out of order: 7200 s, 3600 s"]),
        ({T1: seconds(3601)}, ["renewal, rebinding and lease time are out of order: 3601 s, 3600 s"]),
        ({ROUTER: None}, ["there is no gateway (option 3 or 121)"]),
        (
            {ROUTER: pack("192.0.2.1", "192.0.2.2")},
            ["2 routers: 192.0.2.1, 192.0.2.2; the first one counts"],
        ),
        (
            {ROUTES: DEFAULT_9},
            ["option 121 has gateway 192.0.2.9, option 3 192.0.2.1; 121 counts (RFC 3442)"],
        ),
        ({ROUTES: encode_routes(("0.0.0.0/0", "192.0.2.1"))}, []),
        ({26: b"\0\x43"}, ["option 26 (interface MTU) is 67, below the smallest MTU of IPv4, 68"]),
        ({26: b"\1"}, ["option 26 (interface MTU) has 1 bytes instead of 2"]),
        ({28: b"\1"}, ["option 28 (broadcast address) has 1 bytes instead of 4"]),
        ({6: b"\1"}, ["option 6 (DNS servers) has 1 bytes, which is no list of addresses of 4 bytes each"]),
        ({42: b""}, ["option 42 (NTP servers) has 0 bytes, which is no list of addresses of 4 bytes each"]),
        ({33: b"\1"}, ["option 33 (static routes) has 1 bytes, which is no list of address pairs of 8 bytes each"]),
        ({58: b"\1"}, ["option 58 (renewal time) has 1 bytes instead of 4"]),
        ({59: b"\1"}, ["option 59 (rebinding time) has 1 bytes instead of 4"]),
        ({119: b"\1"}, ["option 119 (domain search) ends within a name"]),
        (
            {26: b"", ROUTER: None, LEASE_TIME: seconds(7)},
            [
                "option 26 (interface MTU) has 0 bytes instead of 2",
                "the lease is short: 7 s",
                "there is no gateway (option 3 or 121)",
            ],
        ),
    ],
)
def test_remark_is_named_and_does_not_make_an_offer_unusable(
    changes: dict[int, bytes | None], remarks: list[str]
) -> None:
    """What a person should know of an offer that can be used all the same."""
    found = offer(changes)
    assert list(found.remarks) == remarks
    assert (found.faults, found.is_usable) == ((), True)


# --- answers to an INFORM ------------------------------------------------------------------------------------------

OWN = IPv4Interface("192.0.2.77/25")


def judge_inform(changes: dict[int, bytes | None]) -> Offer:
    """Judge what a server answers to the INFORM of 192.0.2.77/25: an ACK without address and lease."""
    ack: dict[int, bytes | None] = {MESSAGE_TYPE: b"\5", LEASE_TIME: None, MASK: None}
    return judge_frame(make_offer(ack | changes, yiaddr="0.0.0.0"), expected=dhcp.ACK, informed=OWN)


def test_answer_to_an_inform_is_about_the_address_that_we_have() -> None:
    """RFC 2131, section 4.3.5: it has no address, no lease time, and need not have a mask; ours count."""
    found = judge_inform({})
    assert (found.address, found.network, found.gateway) == (OWN.ip, OWN.network, SERVER)
    assert (found.faults, found.lease_s) == ((), None)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({ROUTER: pack("192.0.2.129")}, ["the gateway 192.0.2.129 is outside of the subnet 192.0.2.0/25"]),
        ({ROUTER: pack("192.0.2.77")}, ["the gateway 192.0.2.77 is the very address that is offered"]),
        ({SERVER_ID: None}, ["there is no server identifier (option 54)"]),
        ({SERVER_ID: pack("192.0.2.77")}, ["it offers the server's own address 192.0.2.77"]),
        ({MESSAGE_TYPE: b"\2"}, ["the message type is OFFER instead of ACK"]),
        ({MESSAGE_TYPE: b"\6"}, ["the server refuses (NAK)"]),
        ({MASK: b"\xff"}, ["option 1 (subnet mask) has 1 bytes instead of 4"]),
    ],
)
def test_answer_to_an_inform_is_judged_like_an_offer(changes: dict[int, bytes | None], faults: list[str]) -> None:
    """Only what it cannot have is not asked of it."""
    assert list(judge_inform(changes).faults) == faults


def test_answer_to_an_inform_with_a_mask_is_about_the_subnet_of_our_address() -> None:
    """The server's mask counts, with the address that we have, for the message has none."""
    found = judge_inform({MASK: pack("255.255.255.0"), ROUTER: pack("192.0.2.129")})
    assert (found.address, found.route, found.faults) == (OWN.ip, (NETWORK, IPv4Address("192.0.2.129")), ())


def test_answer_to_an_inform_without_a_gateway_is_remarked_on() -> None:
    """It was asked for what the offer lacked."""
    assert judge_inform({ROUTER: None}).remarks == ("there is no gateway (option 3 or 121)",)


# --- anything ------------------------------------------------------------------------------------------------------

option_values = st.one_of(
    st.none(),
    st.binary(max_size=9),
    st.sampled_from([bytes(4), b"\xff" * 4, pack("192.0.2.1"), pack("192.0.2.5"), DEFAULT_9, b"\2", b"\5", b"\6"]),
)


@given(
    st.dictionaries(st.sampled_from([1, 3, 6, 26, 33, 51, 52, 53, 54, 56, 58, 59, 119, 121, 249]), option_values),
    st.ip_addresses(v=4),
    st.sampled_from([dhcp.OFFER, dhcp.ACK]),
    st.none() | st.builds(lambda ip, length: IPv4Interface((ip, length)), st.ip_addresses(v=4), st.integers(0, 32)),
)
def test_offer_of_any_values_is_judged(
    changes: dict[int, bytes | None], address: IPv4Address, expected: int, informed: IPv4Interface | None
) -> None:
    """Whatever a server sends, it has faults, or everything that a machine needs; a fault is not said twice."""
    found = judge_frame(make_offer(changes, yiaddr=str(address)), expected=expected, informed=informed)
    assert len(set(found.faults)) == len(found.faults)
    if found.is_usable:
        assert (found.kind, found.server is not None) == (expected, True)
        assert found.network is not None
        assert informed or found.lease_s


@dataclass(frozen=True)
class Valid:
    """A sound offer, to be damaged: its options, and the header's values."""

    options: tuple[tuple[int, bytes], ...]
    header: dict[str, bytes]


def make_valid() -> list[Valid]:
    """Make sound offers of several kinds."""
    more = {6: pack("198.51.100.1"), 15: b"example.org", 58: seconds(1800), 59: seconds(3150), 28: pack("192.0.2.255")}
    classless = encode_routes(("198.51.100.0/24", "192.0.2.9"), ("0.0.0.0/0", "192.0.2.1"))
    overloaded = encode_options([(ROUTER, SERVER.packed), (MASK, pack("255.255.255.0"))])
    kept = {code: value for code, value in OFFER.items() if code not in {ROUTER, MASK}}
    return [
        Valid(tuple(OFFER.items()), {}),
        Valid(tuple((OFFER | more).items()), {}),
        Valid(tuple((OFFER | {ROUTES: classless}).items()), {}),
        Valid(tuple((OFFER | more | {MS_ROUTES: classless}).items()), {}),
        Valid(tuple((OFFER | {STATIC_ROUTES: pack("203.0.113.7", "192.0.2.9")}).items()), {}),
        Valid((*kept.items(), (52, b"\1")), {"file": overloaded}),
        Valid((*kept.items(), (52, b"\2")), {"sname": overloaded}),
    ]


ADDRESSES = [
    "192.0.2.1",
    "192.0.2.5",
    "192.0.2.0",
    "192.0.2.255",
    "192.0.3.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
]
MASKS = [
    "255.255.255.0",
    "255.255.255.128",
    "255.255.255.254",
    "255.255.255.255",
    "0.0.0.0",
    "255.0.255.0",
    "128.0.0.0",
]
CODES = (1, 3, 33, 51, 52, 53, 54, 58, 121, 249)


class Mutator:
    """Damages sound offers, the same way in every run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.valid = make_valid()

    def make_frame(self) -> bytes:
        """Make the frame of a damaged offer; its checksums are right in most cases, so that it is judged."""
        base = self.random.choice(self.valid)
        options = list(base.options)
        for _ in range(self.random.choice([0, 1, 1, 2, 3])):
            self.random.choice([self.rewrite, self.add, self.drop, self.rewrite])(options)
        header = {"yiaddr": self.random.choice(ADDRESSES)} if self.random.random() < 0.15 else {}
        message = make_message(encode_options(options), **header, **base.header)
        for _ in range(self.random.choice([0, 0, 1, 1, 2])):
            message = self.random.choice([self.flip, self.flip, self.cut, self.insert])(message)
        frame = make_reply(message)
        return self.flip(frame) if self.random.random() < 0.1 else frame

    def rewrite(self, options: list[tuple[int, bytes]]) -> None:
        """Give an option another value."""
        if options:
            at = self.random.randrange(len(options))
            options[at] = (options[at][0], self.make_value(options[at][0]))

    def add(self, options: list[tuple[int, bytes]]) -> None:
        """Put an option in, which may be there already."""
        code = self.random.choice(CODES)
        options.insert(self.random.randrange(len(options) + 1), (code, self.make_value(code)))

    def drop(self, options: list[tuple[int, bytes]]) -> None:
        """Take an option away."""
        if options:
            options.pop(self.random.randrange(len(options)))

    def make_value(self, code: int) -> bytes:
        """Make a value: one that looks right, or junk of any length."""
        choose = self.random.choice
        if self.random.random() < 0.2:
            return self.random.randbytes(choose([0, 1, 2, 3, 4, 5, 8, 12]))
        if code in {ROUTES, MS_ROUTES}:
            networks = ["0.0.0.0/0", "198.51.100.0/24", "192.0.2.0/25"]
            return encode_routes(*((choose(networks), choose(ADDRESSES)) for _ in range(choose([1, 1, 2]))))
        plausible = {
            MASK: lambda: pack(choose(MASKS)) if self.random.random() < 0.7 else self.random.randbytes(4),
            MESSAGE_TYPE: lambda: choose([b"\2", b"\5", b"\6", b"\0"]),
            LEASE_TIME: lambda: choose([bytes(4), seconds(1), b"\xff" * 4]),
            52: lambda: choose([b"\0", b"\1", b"\2", b"\3", b"\4"]),
        }
        return plausible.get(code, lambda: pack(choose(ADDRESSES)))()

    def flip(self, data: bytes) -> bytes:
        """Flip a bit."""
        at = self.random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self.random.randrange(8)]) + data[at + 1 :]

    def cut(self, data: bytes) -> bytes:
        """Take away the end, or some octets within the options."""
        at = self.random.randrange(1, len(data)) if self.random.random() < 0.3 else self.random.randrange(230, 250)
        return data[:at] + data[at + self.random.choice([1, 2, 4, 1000]) :] or b"\0"

    def insert(self, data: bytes) -> bytes:
        """Put junk in, within the options in most cases."""
        at = self.random.randrange(len(data)) if self.random.random() < 0.3 else self.random.randrange(240, 260)
        return data[:at] + self.random.randbytes(self.random.choice([1, 2, 4, 16])) + data[at:]


def find_lie(frame: bytes, found: Offer) -> str:
    """Say what of a usable offer is not what the frame says, or is no route that a machine can have; empty if nothing.

    It reads the frame by itself.
    """
    message = frame[42:]
    options = join_options(message)
    mask, server, lease = (options.get(code, b"") for code in (MASK, SERVER_ID, LEASE_TIME))
    bits = f"{int.from_bytes(mask, 'big'):032b}"
    network, address, gateway = found.network, found.address, found.gateway
    assert network is not None, frame.hex()
    rules = {
        "a mask of four octets": len(mask) == 4,
        "a mask without a gap": "01" not in bits,
        "a mask that is not zero": "1" in bits,
        "a subnet of that mask": network.netmask.packed == mask,
        "the address of the message": address.packed == message[16:20],
        "an address": int(address) != 0 and not address.is_multicast and not address.is_reserved,
        "an address within the subnet": address in network,
        "the server": found.server is not None and found.server.packed == server,
        "a lease": len(lease) == 4 and found.lease_s == int.from_bytes(lease, "big") > 0,
        "an offer": (options.get(MESSAGE_TYPE), message[0], message[236:240]) == (b"\2", 2, COOKIE),
        "a gateway within the subnet": gateway is None or gateway in network,
        "another gateway than the address": gateway != address,
        "a gateway of the message": gateway is None or gateway.packed in b"".join(options.values()),
    }
    if network.prefixlen < 31:
        ends = {network.network_address, network.broadcast_address}
        rules |= {"a machine's address": address not in ends, "a machine's gateway": gateway not in ends}
    return "; ".join(rule for rule, holds in rules.items() if not holds)


def test_offers_that_are_damaged_in_10000_ways_never_give_an_invalid_route() -> None:
    """Bits flipped, octets cut and put in, options rewritten: no crash, and what is usable is sound."""
    mutator = Mutator(seed=2131)
    seen: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for _ in range(10_000):
        frame = mutator.make_frame()
        reply = decode_reply(frame)
        if reply is None:
            seen["nothing"] += 1
            continue
        found = judge(reply)
        seen["usable" if found.is_usable else "refused"] += 1
        seen["with a gateway"] += found.is_usable and found.gateway is not None
        faults.update(fault.split(" ")[0:6][-1] for fault in found.faults)
        if found.is_usable:
            assert find_lie(frame, found) == "", frame.hex()
    # The damage is neither so small nor so great that nothing is tried.
    assert min(seen["usable"], seen["refused"], seen["with a gateway"]) > 1500, seen
    assert seen["nothing"] < 500, seen
    assert len(faults) > 25, faults


def test_offers_that_are_to_be_damaged_are_sound() -> None:
    """What the damage is done to has no fault, and the gateway that is meant."""
    for valid in make_valid():
        frame = make_reply(make_message(encode_options(valid.options), **valid.header))
        found = judge_frame(frame)
        assert (found.faults, found.route, find_lie(frame, found)) == ((), (NETWORK, SERVER), "")


def test_options_of_damaged_offers_are_found_without_the_product() -> None:
    """The reader that the product is held against agrees with what was written."""
    message = make_message(encode_options([*OFFER.items(), (MASK, b"\xff")]))
    assert join_options(message) == OFFER | {MASK: OFFER[MASK] + b"\xff"}
    assert list(list_options(b"\0\x35\1\2\0\xff\1\1\1")) == [(53, b"\2")]
