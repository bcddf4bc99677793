"""What can be reached of a network's gateway from this node: ARP, ICMP, duplicates, and the path's MTU.

Layer 2 comes first and needs no address. A gateway that answers ARP is reachable, be it that it drops ICMP. Frames
larger than the path carries vanish without a word, so the largest that is answered is searched for.
"""

import itertools
import random
import time
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface

from cni_harvester.dhcp.exchange import converse
from cni_harvester.dhcp.holder import ASK_TIMEOUT_S, Holder, find_holder
from cni_harvester.discovery.claim import claim_address
from cni_harvester.discovery.facts import GATEWAY_ARP, GATEWAY_ICMP, ONE_GATEWAY_MAC, PATH_MTU, Answer, Fact
from cni_harvester.discovery.machine import Machine
from cni_harvester.kernel.frames import Frame, FrameSocket
from cni_harvester.wire import icmp
from cni_harvester.wire.icmp import EchoAnswer

_ECHO_TIMEOUT_S = 2.0
_BURST_TIMEOUT_S = 0.5
"""How long to wait for a burst of sizes, from a gateway that has answered before."""
_FAN = 16
"""Sizes tried at the same time while searching for the path's MTU."""
_SMALL_BYTES = 84


def check_gateway(machine: Machine, gateway: IPv4Address, own: IPv4Interface | None) -> list[Fact]:
    """Find out what of the gateway can be reached.

    Args:
        machine: the machine to try it from.
        gateway: the address to reach.
        own: an address of that subnet that the machine may take for the time of the check; it is looked for on the
            network first, and not taken if somebody has it. Without one only layer 2 is checked.
    """
    with FrameSocket(machine.interface, machine.namespace) as port:
        found = find_holder(port, gateway)
        facts = [_judge_arp(found), _judge_duplicates(found)]
        if not found.macs:
            hint = "it does not answer ARP"
            return [*facts, Fact(GATEWAY_ICMP, Answer.UNKNOWN, hint), Fact(PATH_MTU, Answer.UNKNOWN, hint)]
        return [*facts, *_check_with_address(machine, port, found, own)]


def _judge_arp(found: Holder) -> Fact:
    if found.macs:
        return Fact(GATEWAY_ARP, Answer.YES, f"{found.address} is at {found.macs[0]}", found.answered_ms)
    reason = f"no answer to ARP for {found.address} within {ASK_TIMEOUT_S:g} s: nobody in this VLAN has it"
    return Fact(GATEWAY_ARP, Answer.NO, reason, found.answered_ms)


def _judge_duplicates(found: Holder) -> Fact:
    if not found.macs:
        return Fact(ONE_GATEWAY_MAC, Answer.UNKNOWN, "it does not answer ARP")
    if len(found.macs) == 1:
        return Fact(ONE_GATEWAY_MAC, Answer.YES, f"only {found.macs[0]} answers")
    reason = f"{len(found.macs)} stations answer for {found.address}: {', '.join(found.macs)}; one of them is wrong"
    return Fact(ONE_GATEWAY_MAC, Answer.NO, reason)


def _check_with_address(machine: Machine, port: FrameSocket, found: Holder, own: IPv4Interface | None) -> list[Fact]:
    """Check what needs an address of our own."""
    refusal = _find_refusal(machine, port, found.address, own)
    if own is None or refusal:
        return [Fact(GATEWAY_ICMP, Answer.UNKNOWN, refusal), Fact(PATH_MTU, Answer.UNKNOWN, refusal)]
    echo = _Echo(port, own.ip, found)
    began_s = time.monotonic()
    if not echo.list_answered([_SMALL_BYTES], tries=2):
        reason = "it drops ICMP echo requests; it answers ARP, so it is reachable"
        return [
            Fact(GATEWAY_ICMP, Answer.NO, reason, (time.monotonic() - began_s) * 1000),
            Fact(PATH_MTU, Answer.UNKNOWN, "it drops ICMP echo requests"),
        ]
    answered = Fact(GATEWAY_ICMP, Answer.YES, f"{found.address} answers", (time.monotonic() - began_s) * 1000)
    return [answered, _check_path_mtu(echo, machine.mtu)]


def _find_refusal(machine: Machine, port: FrameSocket, gateway: IPv4Address, own: IPv4Interface | None) -> str:
    """Say why the machine has no address to ask with; empty when it has taken one."""
    if own is None:
        return "no address to ask with: none was offered, and none was given"
    if gateway not in own.network:
        return f"{gateway} is outside of {own.network}, so it takes a router to reach it"
    if holder := claim_address(machine, port, own):
        return f"no address to ask with: {own.ip} is in use by {holder}"
    return ""


def _check_path_mtu(echo: "_Echo", mtu: int) -> Fact:
    began_s = time.monotonic()
    largest = echo.find_largest(mtu)
    took_ms = (time.monotonic() - began_s) * 1000
    if largest == mtu:
        return Fact(PATH_MTU, Answer.YES, f"packets of {mtu} bytes are answered", took_ms)
    reason = f"packets above {largest} bytes get lost; the network's MTU is {mtu}"
    if echo.narrow_mtu:
        reason += f" (a router says {echo.narrow_mtu})"
    return Fact(PATH_MTU, Answer.NO, reason, took_ms)


class _Echo:
    """Echo requests to one gateway; the sequence number tells which size was answered."""

    def __init__(self, port: FrameSocket, own: IPv4Address, gateway: Holder) -> None:
        self.narrow_mtu: int | None = None
        self._port, self._own, self._gateway = port, own, gateway
        self._identifier = random.getrandbits(16)

    def list_answered(self, sizes: Sequence[int], *, tries: int = 1, timeout_s: float = _ECHO_TIMEOUT_S) -> set[int]:
        """Send a packet of each size; return the sizes that were answered, once all are or the time is over."""
        answered: set[int] = set()

        def ask(_: float) -> None:
            for size in sizes:
                self._send(size)

        def heard(_: FrameSocket, frame: Frame) -> bool:
            answer = icmp.decode_echo(frame.data) if frame.vlan is None else None
            if answer and self._is_ours(answer):
                if answer.narrow_mtu is None:
                    answered.add(answer.sequence)
                else:
                    self.narrow_mtu = answer.narrow_mtu
            return len(answered) == len(sizes)

        until_s = time.monotonic() + timeout_s
        converse([self._port], ask, heard, until_s=until_s, waits=itertools.repeat(timeout_s / tries))
        return answered

    def find_largest(self, mtu: int) -> int:
        """Return the largest packet that is answered, in bytes, up to the MTU."""
        if self.list_answered([mtu], tries=2):
            return mtu
        low, high = _SMALL_BYTES, mtu  # answered, and not
        while high - low > 1:
            sizes = plan_sizes(low, high)
            low = max({low} | self.list_answered(sizes, timeout_s=_BURST_TIMEOUT_S))
            high = min({high} | {size for size in sizes if size > low})
        return low

    def _send(self, size: int) -> None:
        frame = icmp.encode_echo(
            mac=self._port.mac,
            source=self._own,
            to_mac=self._gateway.macs[0],
            to=self._gateway.address,
            identifier=self._identifier,
            sequence=size,
            size=size,
        )
        self._port.send(frame)

    def _is_ours(self, answer: EchoAnswer) -> bool:
        """Whether it answers us, whole: of an answer that was cut the size proves nothing."""
        if answer.identifier != self._identifier:
            return False
        whole = answer.source == self._gateway.address and answer.size == answer.sequence
        return whole or answer.narrow_mtu is not None


def plan_sizes(low: int, high: int) -> list[int]:
    """Return sizes between two (exclusive) to try at once, evenly spread; all of them when they are few.

    1500 is among them where it can be: it is what most narrow paths carry, and then the search ends a round earlier.
    """
    count = high - low - 1
    if count <= _FAN:
        return list(range(low + 1, high))
    spread = {low + count * i // _FAN for i in range(1, _FAN + 1)}
    usual: Iterable[int] = (size for size in (1500, 1501) if low < size < high)
    return sorted(spread.union(usual))
