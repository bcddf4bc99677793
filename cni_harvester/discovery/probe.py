"""One probe of a network: ask for DHCP servers and IPv6 routers, and keep all that is heard. Takes no lease."""

import contextlib
import random
import time
from dataclasses import dataclass

from cni_harvester.dhcp.exchange import converse, read_reply
from cni_harvester.dhcp.sightings import Sightings
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.machine import Machine
from cni_harvester.kernel.frames import DHCP_AND_GROUPS, Frame, FrameSocket
from cni_harvester.wire import dhcp, ndp
from cni_harvester.wire.dhcp import Question


@dataclass(frozen=True)
class Uplink:
    """The uplink of a network: its name, and the tag that the network's frames have on it; None is untagged."""

    name: str
    tag: int | None


@dataclass
class Probe:
    """A probe under way.

    Args:
        machine: the machine that asks.
        uplink: the node's uplink of that network, on which stray answers may be seen; None when there is none.
        wishes: what is to be found out.
    """

    machine: Machine
    uplink: Uplink | None
    wishes: Wishes

    def run(self) -> Sightings:
        """Ask and listen until the time is over, or until the first usable answer if that is enough."""
        seen = Sightings(self.machine.mac)
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(FrameSocket(self.machine.interface, self.machine.namespace))
            sockets = [port]
            if self.uplink:
                sockets.append(stack.enter_context(FrameSocket(self.uplink.name, accept=DHCP_AND_GROUPS)))
                seen.beyond = set()

            def ask(elapsed_s: float) -> None:
                _send_questions(port, seen, elapsed_s)

            def heard(sock: FrameSocket, frame: Frame) -> bool:
                if sock is port:
                    return self._hear(seen, frame)
                self._hear_at_uplink(seen, frame)
                return False

            converse(sockets, ask, heard, until_s=time.monotonic() + self.wishes.timeout_s)
        return seen

    def _hear(self, seen: Sightings, frame: Frame) -> bool:
        """Keep a frame that the machine heard; return whether it was all that we wait for."""
        seen.note_sender(frame)
        if reply := read_reply(frame):
            seen.note_reply(reply)
            return self.wishes.first and any(self.wishes.accepts(offer) for offer in seen.offers)
        advertisement = ndp.decode_advertisement(frame.data, checksummed=frame.checksummed)
        if advertisement and frame.vlan is None:
            seen.note_advertisement(advertisement)
        return False

    def _hear_at_uplink(self, seen: Sightings, frame: Frame) -> None:
        """Keep what comes in at the uplink: answers to us in whatever VLAN, and who speaks in ours."""
        if reply := read_reply(frame):
            seen.note_at_uplink(reply)
        if self.uplink and frame.vlan == self.uplink.tag:
            seen.note_beyond(frame)


def _send_questions(port: FrameSocket, seen: Sightings, elapsed_s: float) -> None:
    """Send a DISCOVER, each with a transaction of its own, and a router solicitation."""
    xid = random.getrandbits(32)
    seen.xids.add(xid)
    seen.questions += 1
    # By broadcast, for some relays and switches lose answers to an address that nobody has yet.
    question = Question(dhcp.DISCOVER, seen.mac, xid, elapsed_s=int(elapsed_s), broadcast=True)
    port.send(dhcp.encode_question(question))
    if seen.questions == 1:
        seen.asked_at_s = time.monotonic()
    port.send(ndp.encode_solicitation(seen.mac))
