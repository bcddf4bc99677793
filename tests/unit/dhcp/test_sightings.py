"""What a probe keeps of what it hears: whose answers are whose, each once, and not more than it can hold."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from cni_harvester.dhcp.sightings import Elsewhere, Sightings
from cni_harvester.kernel.frames import Frame
from cni_harvester.wire.dhcp import Reply, decode_reply
from cni_harvester.wire.ndp import Advertisement
from tests.unit.wire.packets import (
    CLIENT_MAC,
    OFFER,
    SERVER,
    SERVER_MAC,
    XID,
    encode_options,
    make_message,
    make_offer,
    make_reply,
)

OTHER_MAC, OTHER_XID = "02:00:00:00:00:99", 0x99999999
KEPT, KEPT_OF_ONE = 256, 16


def hear(frame: bytes, *, vlan: int | None = None, at_s: float = 0.0) -> Reply:
    """Read a frame that is a server's message."""
    reply = decode_reply(frame, vlan=vlan, at_s=at_s)
    assert reply is not None
    return reply


def begin(*frames: bytes, xids: frozenset[int] = frozenset({XID})) -> Sightings:
    """Make the sightings of a probe that has asked once, and heard these frames."""
    seen = Sightings(CLIENT_MAC, xids=set(xids), questions=len(xids), asked_at_s=100.0)
    for frame in frames:
        seen.note_reply(hear(frame, at_s=100.5))
    return seen


def number_mac(number: int) -> str:
    """Make a MAC of a number."""
    return (0x020000000000 + number).to_bytes(6, "big").hex(":")


# --- whose answer it is --------------------------------------------------------------------------------------------


def test_answer_to_us_is_judged_and_timed() -> None:
    """Our transaction and our MAC: an offer, with the time since we asked."""
    seen = begin(make_offer())
    (offer,) = seen.offers
    assert (offer.server, offer.is_usable, offer.asked_at_s, offer.answered_s) == (SERVER, True, 100.0, 0.5)
    assert seen.answers == {(SERVER, SERVER_MAC): 1}
    assert (seen.strangers, seen.unreadable) == (set(), {})


def test_answer_to_any_of_our_questions_is_ours() -> None:
    """Each question has a transaction of its own; a late answer to the first one counts."""
    seen = begin(make_offer(xid=1), xids=frozenset({1, 2}))
    assert [offer.server for offer in seen.offers] == [SERVER]


def test_answer_to_us_that_is_faulty_is_kept_with_its_faults() -> None:
    """It is an offer that cannot be used, not a message for nobody."""
    seen = begin(make_offer({1: None}), make_offer(op=1))
    assert [offer.faults for offer in seen.offers] == [
        ("there is no subnet mask (option 1)",),
        ("it is no reply: op is 1",),
    ]
    assert seen.unreadable == {}


def test_answer_to_another_client_is_a_strangers() -> None:
    """That a server answers others is worth knowing when it does not answer us."""
    seen = begin(*[make_offer(chaddr=mac, xid=OTHER_XID) for mac in (OTHER_MAC, OTHER_MAC, number_mac(7))])
    assert seen.strangers == {OTHER_MAC, number_mac(7)}
    assert (seen.offers, seen.answers, seen.unreadable) == ([], {}, {})


def test_answer_to_our_mac_of_another_transaction_is_malformed() -> None:
    """A server that does not give back the transaction as it was cannot be believed."""
    assert begin(make_offer(xid=OTHER_XID)).unreadable == {SERVER_MAC: ("its transaction 0x99999999 is none of ours",)}


def test_answer_to_our_transaction_for_another_client_is_malformed() -> None:
    """The client's MAC was mangled, or somebody else has our transaction; either way it is not for us."""
    assert begin(make_offer(chaddr=OTHER_MAC)).unreadable == {
        SERVER_MAC: ("it answers our transaction for another client, 02:00:00:00:00:99",)
    }


def test_message_that_cannot_be_read_is_kept_by_its_sender() -> None:
    """A message without transaction and MAC is for nobody; its sender's MAC leads to the switch port."""
    seen = begin(make_reply(b""), make_reply(b"", mac=OTHER_MAC))
    fault = "the message is too short: 0 bytes, a DHCP message has 240 or more"
    assert seen.unreadable == {SERVER_MAC: (fault,), OTHER_MAC: (fault,)}
    assert (seen.offers, seen.strangers) == ([], set())


def test_message_to_another_client_that_is_broken_is_malformed() -> None:
    """It is no evidence of a server that serves others."""
    seen = begin(make_offer(op=1, chaddr=OTHER_MAC, xid=OTHER_XID))
    assert (seen.unreadable, seen.strangers) == ({SERVER_MAC: ("it is no reply: op is 1",)}, set())


def test_message_that_ends_with_the_cookie_is_an_answer_without_options() -> None:
    """The least message that says whom it is for is an answer to us, with everything missing named."""
    (offer,) = begin(make_reply(make_message(encode_options(OFFER.items()))[:240])).offers
    assert offer.faults[0] == "the options have no end (255)"
    assert not offer.is_usable


# --- each once -----------------------------------------------------------------------------------------------------


def test_answer_that_comes_again_is_counted_and_kept_once() -> None:
    """Duplicates are of use as a number only."""
    seen = begin(*[make_offer()] * 5)
    assert len(seen.offers) == 1
    assert seen.answers == {(SERVER, SERVER_MAC): 5}


def test_answer_that_comes_again_keeps_the_time_of_the_first() -> None:
    """A repeated question does not make a server slow."""
    seen = begin()
    seen.note_reply(hear(make_offer(), at_s=100.1))
    seen.note_reply(hear(make_offer(), at_s=104.0))
    assert [round(offer.answered_s, 3) for offer in seen.offers] == [0.1]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(make_offer(yiaddr="192.0.2.6"), id="another address"),
        pytest.param(make_offer({3: IPv4Address("192.0.2.9").packed}), id="another gateway"),
        pytest.param(make_offer({1: b"\xff\xff\xff\x80"}), id="another mask"),
        pytest.param(make_offer({54: IPv4Address("192.0.2.2").packed}), id="another server"),
        pytest.param(make_offer(mac=OTHER_MAC), id="another MAC"),
        pytest.param(make_offer({51: None}), id="another fault"),
        pytest.param(make_offer({53: b"\6"}), id="a refusal"),
    ],
)
def test_answer_that_differs_is_kept_as_well(other: bytes) -> None:
    """Whatever a person or the verdict would tell apart, in the order of arrival."""
    seen = begin(make_offer(), other, make_offer(), other)
    assert seen.offers == [*begin(make_offer()).offers, *begin(other).offers]
    assert sum(seen.answers.values()) == 4


def test_answers_are_counted_by_server_and_mac() -> None:
    """Two stations that say they are the same server are two."""
    seen = begin(make_offer(), make_offer(mac=OTHER_MAC), make_offer({54: None}), make_offer())
    assert seen.answers == {(SERVER, SERVER_MAC): 2, (SERVER, OTHER_MAC): 1, (None, SERVER_MAC): 1}


def test_senders_are_kept_once_each() -> None:
    """Everyone who is heard, whatever was sent, by the frame's source."""
    seen = begin()
    for frame in (make_offer(), make_offer(), make_offer(mac=OTHER_MAC), bytes(6) + b"\2\0\0\0\0\7"):
        seen.note_sender(Frame(frame, None, checksummed=True, at_s=0.0))
    assert seen.senders == {SERVER_MAC, OTHER_MAC, number_mac(7)}


def test_sender_of_a_tagged_frame_is_on_another_network() -> None:
    """What has a tag on our port is no station of ours."""
    seen = begin()
    seen.note_sender(Frame(make_offer(), 200, checksummed=True, at_s=0.0))
    assert seen.senders == set()


def test_senders_at_the_uplink_are_none_where_nobody_listens_there() -> None:
    """A bridge without an uplink has no beyond; an uplink where nothing came in has nobody."""
    assert begin().beyond is None


def test_senders_at_the_uplink_are_kept_once_each() -> None:
    """They are not on this node, so the VLAN reaches the switch."""
    seen = begin()
    seen.beyond = set()
    for frame in (make_offer(), make_offer(), make_offer(mac=OTHER_MAC)):
        seen.note_beyond(Frame(frame, 100, checksummed=True, at_s=0.0))
    assert seen.beyond == {SERVER_MAC, OTHER_MAC}
    assert seen.senders == set()


# --- at the uplink -------------------------------------------------------------------------------------------------


def test_answer_to_us_at_the_uplink_is_kept_with_its_vlan() -> None:
    """Once for each VLAN, server and MAC; untagged is none."""
    seen = begin()
    for vlan in (200, None, 200):
        seen.note_at_uplink(hear(make_offer(), vlan=vlan))
    assert seen.elsewhere == {Elsewhere(200, SERVER, SERVER_MAC), Elsewhere(None, SERVER, SERVER_MAC)}
    assert (seen.offers, seen.answers) == ([], {})


def test_answer_to_us_with_a_tag_on_our_port_is_elsewhere() -> None:
    """No machine hears a tagged frame, so it is no offer; where it came from is evidence."""
    seen = begin()
    seen.note_reply(hear(make_offer(), vlan=200))
    assert seen.elsewhere == {Elsewhere(200, SERVER, SERVER_MAC)}
    assert (seen.offers, seen.answers) == ([], {})


@pytest.mark.parametrize("header", [{"xid": OTHER_XID}, {"chaddr": OTHER_MAC}, {"xid": OTHER_XID, "chaddr": OTHER_MAC}])
def test_answer_to_others_with_a_tag_on_our_port_is_nothing(header: dict[str, int | str]) -> None:
    """It is neither malformed nor for a client of our network."""
    seen = begin()
    seen.note_reply(hear(make_offer(**header), vlan=200))
    assert (seen.elsewhere, seen.unreadable, seen.strangers) == (set(), {}, set())


def test_answer_at_the_uplink_without_a_server_has_its_mac() -> None:
    """A broken answer that came back is evidence all the same."""
    seen = begin()
    seen.note_at_uplink(hear(make_offer({54: None}), vlan=7))
    assert seen.elsewhere == {Elsewhere(7, None, SERVER_MAC)}


@pytest.mark.parametrize("header", [{"xid": OTHER_XID}, {"chaddr": OTHER_MAC}, {"xid": OTHER_XID, "chaddr": OTHER_MAC}])
def test_answer_to_others_at_the_uplink_is_nothing(header: dict[str, int | str]) -> None:
    """The uplink carries all VLANs, and everybody's answers."""
    seen = begin()
    seen.note_at_uplink(hear(make_offer(**header), vlan=200))
    assert seen.elsewhere == set()


# --- floods --------------------------------------------------------------------------------------------------------


def test_flood_of_different_answers_of_one_server_hides_no_other() -> None:
    """The first 16 of one server are kept, and all are counted; there is room for the next server."""
    seen = begin()
    for number in range(100):
        seen.note_reply(hear(make_offer(yiaddr=f"192.0.2.{5 + number}")))
    assert [str(offer.address) for offer in seen.offers] == [f"192.0.2.{5 + number}" for number in range(KEPT_OF_ONE)]
    assert seen.answers == {(SERVER, SERVER_MAC): 100}
    seen.note_reply(hear(make_offer(mac=OTHER_MAC)))
    assert seen.offers[KEPT_OF_ONE].server_mac == OTHER_MAC


def test_flood_of_servers_is_counted_and_its_beginning_kept() -> None:
    """A station that makes up servers fills no memory: 256 answers are kept."""
    seen = begin()
    for number in range(KEPT + 50):
        seen.note_reply(hear(make_offer(mac=number_mac(number))))
    assert [offer.server_mac for offer in seen.offers] == [number_mac(number) for number in range(KEPT)]
    assert sum(seen.answers.values()) == KEPT + 50


def test_flood_of_the_same_answer_leaves_room_for_others() -> None:
    """What is known already takes no place."""
    seen = begin(*[make_offer()] * 200, make_offer(mac=OTHER_MAC))
    assert [offer.server_mac for offer in seen.offers] == [SERVER_MAC, OTHER_MAC]


def test_flood_of_unreadable_messages_names_a_few_senders() -> None:
    """A station that makes up MACs fills neither memory nor the message that a person reads."""
    seen = begin(*[make_reply(b"", mac=number_mac(number)) for number in range(500)])
    assert len(seen.unreadable) == 16


def test_message_that_ends_within_its_header_is_called_too_short() -> None:
    """Not an answer for another client, whose MAC would be made of what is there."""
    fault = "the message is too short: 30 bytes, a DHCP message has 240 or more"
    assert begin(make_reply(make_message(b"")[:30])).unreadable == {SERVER_MAC: (fault,)}


def advertise(number: int, lifetime_s: int = 1800) -> Advertisement:
    """Make a router's advertisement."""
    router = IPv6Address(f"fe80::{number:x}")
    return Advertisement(router, number_mac(number), lifetime_s, False, False, None, (), (), ())


def test_latest_word_of_a_router_counts() -> None:
    """A router that says something else has changed its mind; it moves behind the others."""
    seen = begin()
    for advertisement in (advertise(1), advertise(2), advertise(1, 0)):
        seen.note_advertisement(advertisement)
    assert seen.advertisements == [advertise(2), advertise(1, 0)]


def test_flood_of_routers_leaves_the_latest() -> None:
    """256 routers are kept."""
    seen = begin()
    for number in range(1, 500):
        seen.note_advertisement(advertise(number))
    assert seen.advertisements == [advertise(number) for number in range(500 - KEPT, 500)]
