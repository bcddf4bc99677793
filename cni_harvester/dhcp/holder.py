"""Who has an address on a link, by ARP probes, which change nobody's ARP cache. RFC 5227."""

import itertools
import time
from dataclasses import dataclass
from ipaddress import IPv4Address

from cni_harvester.dhcp.exchange import converse
from cni_harvester.kernel.frames import Frame, FrameSocket
from cni_harvester.wire import arp

ASK_TIMEOUT_S, _REPEAT_S, _LINGER_S = 3.0, 1.0, 0.3
"""How long to ask, how often, and how long to listen for a second holder after the first answer."""


@dataclass(frozen=True)
class Holder:
    """Who answers ARP for an address: all MACs, in the order of their answers, and how long the first one took."""

    address: IPv4Address
    macs: tuple[str, ...]
    answered_ms: float


def find_holder(port: FrameSocket, target: IPv4Address, *, timeout_s: float = ASK_TIMEOUT_S) -> Holder:
    """Ask by ARP probes who has an address; go on listening for a while after the first answer, for a second one."""
    macs: dict[str, None] = {}
    began_s = time.monotonic()

    def heard(_: FrameSocket, frame: Frame) -> bool:
        answer = arp.decode_arp(frame.data) if frame.vlan is None else None
        if answer and answer.address == target and answer.mac != port.mac:
            macs[answer.mac] = None
        return bool(macs)

    def ask(_: float) -> None:
        port.send(arp.encode_request(port.mac, target))

    converse([port], ask, heard, until_s=began_s + timeout_s, waits=itertools.repeat(_REPEAT_S))
    answered_ms = (time.monotonic() - began_s) * 1000
    if macs:
        rest_s = time.monotonic() + _LINGER_S
        converse([port], ask, lambda *a: heard(*a) and False, until_s=rest_s, waits=itertools.repeat(_LINGER_S))
    return Holder(target, tuple(macs), answered_ms)
