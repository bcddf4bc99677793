"""Asking and listening on a packet socket: questions are repeated as RFC 2131, section 4.1, has it."""

import random
import time
from collections.abc import Callable, Iterable, Iterator

from cni_harvester.kernel.frames import Frame, FrameSocket, wait_for_frames
from cni_harvester.wire import dhcp
from cni_harvester.wire.dhcp import Question, Reply

_FIRST_WAIT_S, _LONGEST_WAIT_S, _JITTER_S = 4.0, 64.0, 1.0

Heard = Callable[[FrameSocket, Frame], bool]
"""Told of each frame; returns whether to stop listening."""


def plan_waits(jitter: Callable[[float, float], float] = random.uniform) -> Iterator[float]:
    """Yield the seconds to wait after each question: 4, 8, 16, 32, 64, 64 ..., each give or take one at random."""
    wait_s = _FIRST_WAIT_S
    while True:
        yield wait_s + jitter(-_JITTER_S, _JITTER_S)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def converse(
    sockets: Iterable[FrameSocket],
    ask: Callable[[float], None],
    heard: Heard,
    *,
    until_s: float,
    waits: Iterator[float] | None = None,
) -> bool:
    """Ask, listen, ask again, until `heard` says stop or the time is over.

    Args:
        sockets: where to listen.
        ask: sends the question; gets the seconds since the first time.
        heard: told of each frame.
        until_s: monotonic time at which to give up.
        waits: seconds between questions; RFC 2131's when None.

    Returns:
        Whether `heard` said stop.
    """
    sockets = list(sockets)
    waits = waits or plan_waits()
    began_s = next_s = time.monotonic()
    while (now_s := time.monotonic()) < until_s:
        if now_s >= next_s:
            ask(now_s - began_s)
            next_s = now_s + next(waits, until_s)
        for sock in wait_for_frames(sockets, min(next_s, until_s)):
            while (frame := sock.read()) is not None:
                if heard(sock, frame):
                    return True
                if frame.at_s > min(next_s, until_s):  # in a flood too, the question is repeated
                    break
    return False


def read_reply(frame: Frame) -> Reply | None:
    """Read a frame as a DHCP server's message; None when it is something else."""
    return dhcp.decode_reply(frame.data, vlan=frame.vlan, checksummed=frame.checksummed, at_s=frame.at_s)


def is_answer(reply: Reply, question: Question) -> bool:
    """Whether a reply belongs to a question: same transaction, same client, and no tag, which no machine hears."""
    return (reply.xid, reply.client_mac, reply.vlan) == (question.xid, question.mac, None)
