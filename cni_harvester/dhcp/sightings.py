"""What a probe sees and hears, kept as it comes; `verdict` says what it means."""

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from cni_harvester.dhcp.offer import Offer, judge
from cni_harvester.kernel.frames import Frame
from cni_harvester.wire.dhcp import Reply
from cni_harvester.wire.ndp import Advertisement

_KEPT, _KEPT_OF_ONE = 256, 16
"""How many different offers are kept, and how many of one server: one that floods hides no other. The rest is only
counted."""

_KEPT_UNREADABLE = 16
"""Of how many senders, which are named in messages."""


@dataclass(frozen=True)
class Elsewhere:
    """An answer to us that was seen on the uplink, or tagged on our port; in which VLAN there, None is untagged."""

    vlan: int | None
    server: IPv4Address | None
    server_mac: str


@dataclass
class Sightings:
    """All that one probe came across.

    Attributes:
        mac: the probe's own; answers to it are ours.
        xids: the transactions that were asked with.
        questions: how many questions were sent.
        asked_at_s: monotonic time of the first.
        offers: answers to us, judged, the different ones once each, in the order of their arrival.
        answers: how many messages each server sent to us, by (server identifier, MAC).
        strangers: MACs of the other clients that servers answered.
        unreadable: faults of messages that do not even say whom they are for, by sender.
        senders: MACs of everyone who was heard on the network.
        beyond: MACs of those that were heard coming in at the uplink; None where there is no uplink to listen on.
        elsewhere: answers to us that the uplink saw, and those that came to us with a tag, which no machine hears.
        advertisements: what IPv6 routers advertise.
    """

    mac: str
    xids: set[int] = field(default_factory=set)
    questions: int = 0
    asked_at_s: float = 0.0
    offers: list[Offer] = field(default_factory=list)
    answers: Counter[tuple[IPv4Address | None, str]] = field(default_factory=Counter)
    strangers: set[str] = field(default_factory=set)
    unreadable: dict[str, tuple[str, ...]] = field(default_factory=dict)
    senders: set[str] = field(default_factory=set)
    beyond: set[str] | None = None
    elsewhere: set[Elsewhere] = field(default_factory=set)
    advertisements: list[Advertisement] = field(default_factory=list)

    def note_sender(self, frame: Frame) -> None:
        """Keep who sent a frame, whatever it is; one with a tag is another network's."""
        if frame.vlan is None:
            self.senders.add(frame.data[6:12].hex(":"))

    def note_beyond(self, frame: Frame) -> None:
        """Keep who sent a frame of this network that came in at the uplink: not from this node."""
        if self.beyond is None:
            self.beyond = set()
        self.beyond.add(frame.data[6:12].hex(":"))

    def note_reply(self, reply: Reply) -> None:
        """Keep a DHCP message that the machine heard."""
        if reply.vlan is not None:
            self.note_at_uplink(reply)
        elif reply.xid in self.xids and reply.client_mac == self.mac:
            self._note_answer(judge(reply, asked_at_s=self.asked_at_s))
        elif reply.client_mac == self.mac:
            self._note_unreadable(reply, f"its transaction {reply.xid:#010x} is none of ours")
        elif reply.xid in self.xids and reply.client_mac:
            self._note_unreadable(reply, f"it answers our transaction for another client, {reply.client_mac}")
        elif reply.faults:
            self._note_unreadable(reply)
        else:
            self.strangers.add(reply.client_mac)

    def _note_unreadable(self, reply: Reply, *more: str) -> None:
        if reply.source_mac in self.unreadable or len(self.unreadable) < _KEPT_UNREADABLE:
            self.unreadable[reply.source_mac] = (*reply.faults, *more)

    def _note_answer(self, offer: Offer) -> None:
        self.answers[offer.server, offer.server_mac] += 1
        same = [o for o in self.offers if (o.server, o.server_mac) == (offer.server, offer.server_mac)]
        if (offer.address, offer.route, offer.faults) in ((o.address, o.route, o.faults) for o in same):
            return
        if len(same) < _KEPT_OF_ONE and len(self.offers) < _KEPT:
            self.offers.append(offer)

    def note_at_uplink(self, reply: Reply) -> None:
        """Keep a DHCP message that came in at the uplink, or with a tag, whatever its VLAN."""
        if reply.xid in self.xids and reply.client_mac == self.mac:
            server = judge(reply).server
            self.elsewhere.add(Elsewhere(reply.vlan, server, reply.source_mac))

    def note_advertisement(self, advertisement: Advertisement) -> None:
        """Keep what a router advertises; its latest word counts."""
        others = [a for a in self.advertisements if a.router_mac != advertisement.router_mac]
        self.advertisements = [*others, advertisement][-_KEPT:]
