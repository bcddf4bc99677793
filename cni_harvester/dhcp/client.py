"""Taking a lease, keeping it, giving it back: the states of RFC 2131, section 4.4, on a packet socket.

A packet socket because an interface without an address can neither send nor receive otherwise. Errors say what was
heard instead, in the words of `verdict`.
"""

import contextlib
import itertools
import random
import time
from collections.abc import Iterator

from cni_harvester.dhcp.exchange import converse, is_answer, plan_waits, read_reply
from cni_harvester.dhcp.holder import find_holder
from cni_harvester.dhcp.identity import Client, Grant
from cni_harvester.dhcp.offer import Offer, judge
from cni_harvester.dhcp.sightings import Sightings
from cni_harvester.dhcp.verdict import choose_offer, judge_sightings
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.errors import HarvesterError, TryAgainLater
from cni_harvester.kernel.frames import Frame, FrameSocket
from cni_harvester.wire import dhcp
from cni_harvester.wire.dhcp import BROADCAST_MAC, EVERYWHERE, NOWHERE, Question

_FIRST_WAIT_S = 1.0
"""A machine waits for its address, and a bridge port that has just come up may swallow the first question: sooner
than RFC 2131's 4 s."""
_REQUEST_TRIES_S = 8.0
_PROBE_S = 0.2
"""How long to listen for somebody who has the address; answers on the same link take milliseconds."""
_PAUSE_S, _PAUSE_AFTER_DECLINE_S = 1.0, 10.0
"""Before all begins anew after a refusal, and after a DECLINE, of which each makes a real server put an address aside:
RFC 2131, section 3.1, point 5, asks for ten seconds."""


def take_lease(port: FrameSocket, client: Client, *, timeout_s: float, where: str) -> Offer:
    """Run DISCOVER, OFFER, REQUEST, ACK; return what was granted. Its address was free: nobody answered ARP for it.

    Args:
        port: a socket on the client's interface, which is up.
        client: who asks.
        timeout_s: for all of it together.
        where: the network or interface, for messages.

    Raises:
        TryAgainLater: no lease within the time; says what was heard.
    """
    until_s = time.monotonic() + timeout_s
    wishes = Wishes(timeout_s, first=True, server=client.only_server)
    last = ""
    while time.monotonic() < until_s:
        seen = _discover(port, client, wishes, until_s)
        offer = choose_offer(seen.offers, wishes)
        if offer is None:
            verdict = judge_sightings(seen, wishes, where, None)
            raise _give_up(where, timeout_s, last or verdict.text, verdict.advice)
        with _released_on_failure(port, client, offer):
            granted, last = _request(port, client, offer, until_s)
            holders = find_holder(port, granted.address, timeout_s=_PROBE_S).macs if granted else ()
        if granted and not holders:
            return granted
        pause_s = _PAUSE_S
        if granted:
            last = f"{granted.address}, which was granted, is in use by {holders[0]}"
            port.send(dhcp.encode_question(_make_question(dhcp.DECLINE, client, make_grant(granted))))
            pause_s = _PAUSE_AFTER_DECLINE_S
        if time.monotonic() + pause_s >= until_s:
            break
        time.sleep(pause_s)
    raise _give_up(where, timeout_s, last)


@contextlib.contextmanager
def _released_on_failure(port: FrameSocket, client: Client, offer: Offer) -> Iterator[None]:
    """Give back what is asked for in a `with` block that an exception ends, a termination signal too.

    The server may have granted it by then, even if its answer did not come yet; if not, it ignores that.
    """
    try:
        yield
    except BaseException:
        with contextlib.suppress(HarvesterError):
            release(port, client, make_grant(offer))
        raise


def make_grant(granted: Offer) -> Grant:
    """Return what a client must know of an ACK to renew or release its address."""
    if granted.server is None:
        raise ValueError("a usable grant names its server")  # a bug, not an input
    return Grant(granted.address, granted.server, granted.server_mac)


def renew(port: FrameSocket, client: Client, held: Grant, *, rebind: bool, timeout_s: float) -> Offer | None:
    """Ask for more time: the server itself (RENEWING), or whoever listens (REBINDING).

    Returns:
        The answer: an ACK, or a NAK, after which the address is no longer ours; None when nothing came.
    """
    question = Question(
        dhcp.REQUEST,
        client.mac,
        _new_xid(),
        client_address=held.address,
        client_id=client.identifier,
        destination_mac=BROADCAST_MAC if rebind else held.server_mac,
        destination=EVERYWHERE if rebind else held.server,
    )
    waits = itertools.repeat(timeout_s / 2)
    return _ask(port, client, question, until_s=time.monotonic() + timeout_s, waits=waits)


def release(port: FrameSocket, client: Client, held: Grant) -> None:
    """Give an address back. There is no answer to that (RFC 2131, section 4.4.6)."""
    port.send(dhcp.encode_question(_make_question(dhcp.RELEASE, client, held)))


def _make_question(kind: int, client: Client, held: Grant) -> Question:
    """Make a RELEASE, which goes to the server, or a DECLINE, which goes to all."""
    releasing = kind == dhcp.RELEASE
    return Question(
        kind,
        client.mac,
        _new_xid(),
        client_address=held.address if releasing else NOWHERE,
        requested=None if releasing else held.address,
        server=held.server,
        client_id=client.identifier,
        destination_mac=held.server_mac if releasing else BROADCAST_MAC,
        destination=held.server if releasing else EVERYWHERE,
    )


def _discover(port: FrameSocket, client: Client, wishes: Wishes, until_s: float) -> Sightings:
    """Ask until a usable offer comes or the time is over; return all that was heard."""
    seen = Sightings(client.mac)

    def ask(elapsed_s: float) -> None:
        xid = _new_xid()
        seen.xids.add(xid)
        seen.questions += 1
        seen.asked_at_s = seen.asked_at_s or time.monotonic()
        question = Question(dhcp.DISCOVER, client.mac, xid, elapsed_s=int(elapsed_s), client_id=client.identifier)
        port.send(dhcp.encode_question(question))

    def heard(_: FrameSocket, frame: Frame) -> bool:
        seen.note_sender(frame)
        if reply := read_reply(frame):
            seen.note_reply(reply)
        return choose_offer(seen.offers, wishes) is not None

    converse([port], ask, heard, until_s=until_s, waits=_plan_quick_waits())
    return seen


def _request(port: FrameSocket, client: Client, offer: Offer, until_s: float) -> tuple[Offer | None, str]:
    """Ask for what was offered; return the grant, or why there is none."""
    question = Question(
        dhcp.REQUEST,
        client.mac,
        _new_xid(),
        requested=offer.address,
        server=offer.server,
        client_id=client.identifier,
    )
    until_s = min(until_s, time.monotonic() + _REQUEST_TRIES_S)
    answer = _ask(port, client, question, until_s=until_s, waits=_plan_quick_waits())
    if answer is None:
        return None, f"DHCP server {offer.server} offered {offer.address}, and does not answer the request for it"
    if answer.kind == dhcp.NAK:
        said = f": {answer.message}" if answer.message else ""
        return None, f"DHCP server {answer.server or offer.server} refuses {offer.address} (NAK){said}"
    if not answer.is_usable:
        return None, f"DHCP server {answer.server or offer.server} granted nonsense: {'; '.join(answer.faults)}"
    return answer, ""


def _ask(
    port: FrameSocket, client: Client, question: Question, *, until_s: float, waits: Iterator[float]
) -> Offer | None:
    """Send a REQUEST until it is answered by a server that the client believes; return the ACK or NAK."""
    answers: list[Offer] = []
    asked_at_s = time.monotonic()

    def ask(_: float) -> None:
        port.send(dhcp.encode_question(question))

    def heard(_: FrameSocket, frame: Frame) -> bool:
        reply = read_reply(frame)
        if reply and is_answer(reply, question) and reply.kind in {dhcp.ACK, dhcp.NAK} and not reply.faults:
            answer = judge(reply, expected=dhcp.ACK, asked_at_s=asked_at_s)
            if client.only_server in {None, answer.server}:
                answers.append(answer)
        return bool(answers)

    converse([port], ask, heard, until_s=until_s, waits=waits)
    return answers[0] if answers else None


def _plan_quick_waits() -> Iterator[float]:
    return itertools.chain([_FIRST_WAIT_S], plan_waits())


def _new_xid() -> int:
    return random.getrandbits(32)


def _give_up(where: str, timeout_s: float, cause: str, advice: str = "") -> TryAgainLater:
    message = f"cannot get an address by DHCP on {where} within {timeout_s:g} s: {cause}"
    return TryAgainLater(message, advice or "the runtime may retry")
