"""Asking a named server for what its offer lacks: DHCPINFORM from an address that is configured for the question.

RFC 2131, section 4.4.3. The answer comes to that address, through a relay or a router if need be, so the machine's
kernel holds it meanwhile and answers ARP for it.
"""

import dataclasses
import itertools
import random
import time
from ipaddress import IPv4Address, IPv4Interface

from cni_harvester.dhcp.exchange import converse, is_answer, read_reply
from cni_harvester.dhcp.offer import Offer, judge
from cni_harvester.discovery.claim import claim_address
from cni_harvester.discovery.machine import Machine
from cni_harvester.kernel.frames import Frame, FrameSocket
from cni_harvester.wire import dhcp
from cni_harvester.wire.dhcp import BROADCAST_MAC, EVERYWHERE, Question

_TIMEOUT_S, _REPEAT_S = 3.0, 1.0


def complete(machine: Machine, server: IPv4Address, own: IPv4Interface, offer: Offer | None) -> Offer | None:
    """Ask a server for the network's options; return the offer with what it lacked.

    None when nothing came, or when somebody has the address that would be asked from.

    Args:
        machine: who asks.
        server: whose answer counts.
        own: the address to ask from, of the offered subnet.
        offer: what the server offered; None when it did not, then the question is broadcast.
    """
    question = Question(
        dhcp.INFORM,
        machine.mac,
        random.getrandbits(32),
        client_address=own.ip,
        destination_mac=offer.server_mac if offer else BROADCAST_MAC,
        destination=server if offer else EVERYWHERE,
    )
    asked_at_s = time.monotonic()
    found: list[Offer] = []
    with FrameSocket(machine.interface, machine.namespace) as port:
        if claim_address(machine, port, own):
            return None

        def heard(_: FrameSocket, frame: Frame) -> bool:
            reply = read_reply(frame)
            if reply and is_answer(reply, question):
                answer = judge(reply, expected=dhcp.ACK, asked_at_s=asked_at_s, informed=own)
                if answer.is_usable and answer.server == server:
                    found.append(answer)
            return bool(found)

        def ask(_: float) -> None:
            port.send(dhcp.encode_question(question))

        converse([port], ask, heard, until_s=asked_at_s + _TIMEOUT_S, waits=itertools.repeat(_REPEAT_S))
    return _merge(offer, found[0]) if found else None


def _merge(offer: Offer | None, answer: Offer) -> Offer | None:
    """Fill what an offer lacks from the answer to an INFORM; what it had stays. None when the two contradict."""
    if offer is None:
        return answer
    if offer.network and answer.gateway and answer.gateway not in offer.network:
        return None
    lacking = {f.name: getattr(answer, f.name) for f in dataclasses.fields(offer) if not getattr(offer, f.name)}
    lacking["remarks"] = answer.remarks
    return dataclasses.replace(offer, **lacking)
