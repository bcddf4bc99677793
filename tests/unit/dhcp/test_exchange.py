"""When questions are repeated, and which answers belong to them; the conversation itself is shown in tests/kernel."""

import itertools
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.dhcp.exchange import is_answer, plan_waits, read_reply
from cni_harvester.kernel.frames import Frame
from cni_harvester.wire.dhcp import DISCOVER, Question, Reply
from tests.unit.wire.packets import CLIENT_MAC, SERVER, SERVER_MAC, XID, make_ethernet, make_offer

DOUBLING = [4.0, 8.0, 16.0, 32.0, 64.0, 64.0, 64.0, 64.0]


def take(count: int, waits: Iterator[float]) -> list[float]:
    """Return the first waits."""
    return list(itertools.islice(waits, count))


@pytest.mark.parametrize(
    ("jitter", "shift_s"),
    [(lambda _low, _high: 0.0, 0.0), (lambda low, _high: low, -1.0), (lambda _low, high: high, 1.0)],
)
def test_waits_double_up_to_64_seconds(jitter: Callable[[float, float], float], shift_s: float) -> None:
    """RFC 2131, section 4.1: 4, 8, 16, 32 and 64 seconds, then 64 for ever, give or take one second each."""
    assert take(8, plan_waits(jitter)) == [wait_s + shift_s for wait_s in DOUBLING]


def test_jitter_does_not_add_up() -> None:
    """Each wait has a jitter of its own, about the same doubling."""
    jitters = itertools.cycle([1.0, -1.0, 0.5])
    waits = take(6, plan_waits(lambda _low, _high: next(jitters)))
    assert waits == [5.0, 7.0, 16.5, 33.0, 63.0, 64.5]


def test_waits_are_random_within_a_second() -> None:
    """So that clients that were started together do not ask together."""
    plans = [take(8, plan_waits()) for _ in range(50)]
    for plan in plans:
        assert all(abs(wait_s - mean_s) <= 1 for wait_s, mean_s in zip(plan, DOUBLING, strict=True))
    assert all(len(set(column)) > 40 for column in zip(*plans, strict=True))
    assert any(plan[0] < 4 for plan in plans)
    assert any(plan[0] > 4 for plan in plans)


QUESTION = Question(DISCOVER, CLIENT_MAC, XID)


@pytest.mark.parametrize(
    ("xid", "mac", "ours"),
    [
        (XID, CLIENT_MAC, True),
        (XID + 1, CLIENT_MAC, False),
        (0, CLIENT_MAC, False),
        (XID, "02:00:00:00:00:99", False),
        (XID, "00:00:00:00:00:00", False),
        (XID, "", False),
        (0, "", False),
    ],
)
def test_answer_has_our_transaction_and_our_mac(xid: int, mac: str, ours: bool) -> None:
    """Both must be ours: a transaction is chosen by chance, and a MAC asks more than once."""
    assert is_answer(Reply(SERVER_MAC, SERVER, xid=xid, client_mac=mac), QUESTION) is ours


@pytest.mark.parametrize("vlan", [1, 100])
def test_answer_with_a_tag_is_not_ours(vlan: int) -> None:
    """No machine hears a tagged frame, so nothing that came with a tag may be taken."""
    assert is_answer(Reply(SERVER_MAC, SERVER, xid=XID, client_mac=CLIENT_MAC, vlan=vlan), QUESTION) is False


def test_answer_to_a_question_is_recognised_on_the_wire() -> None:
    """A server gives back transaction and MAC as they were sent."""
    reply = read_reply(Frame(make_offer(), None, checksummed=True, at_s=0.0))
    assert reply is not None
    assert is_answer(reply, QUESTION)


def test_frame_that_is_an_answer_is_read_with_what_the_kernel_told() -> None:
    """The VLAN, the time, and whether there is a checksum to be verified come from beside the frame."""
    unfinished = make_offer()[:40] + b"\x12\x34" + make_offer()[42:]
    reply = read_reply(Frame(unfinished, 100, checksummed=False, at_s=12.5))
    assert reply is not None
    assert (reply.vlan, reply.at_s, reply.faults) == (100, 12.5, ())
    reply = read_reply(Frame(unfinished, None, checksummed=True, at_s=13.0))
    assert reply is not None
    assert (reply.vlan, reply.at_s, reply.faults) == (None, 13.0, ("the UDP checksum is wrong",))


def test_frame_that_is_no_answer_is_nothing() -> None:
    """Other frames come in on the same socket."""
    assert read_reply(Frame(make_ethernet(bytes(46), ethertype=0x0806), None, checksummed=True, at_s=0.0)) is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.ip_addresses(v=4))
def test_answer_to_another_transaction_is_never_ours(xid: int, other: int, address: IPv4Address) -> None:
    """Whatever is in it."""
    reply = read_reply(Frame(make_offer(xid=other, yiaddr=str(address)), None, checksummed=True, at_s=0.0))
    assert reply is not None
    assert is_answer(reply, Question(DISCOVER, CLIENT_MAC, xid)) is (xid == other)
