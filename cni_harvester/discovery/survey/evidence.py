"""What a survey hears, kept as it comes. Pure; made for many frames, most of which say no more than "somebody is here".

A VLAN is in here only when something of it was heard, or a switch has named it.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address

from cni_harvester.dhcp.exchange import read_reply
from cni_harvester.dhcp.offer import Offer, judge
from cni_harvester.discovery.survey.questions import UNTAGGED, Questions
from cni_harvester.discovery.survey.schedule import Errand
from cni_harvester.kernel.frames import Frame
from cni_harvester.wire import arp, spanning_tree, switches
from cni_harvester.wire.dhcp import Reply
from cni_harvester.wire.spanning_tree import Bpdu
from cni_harvester.wire.switches import Neighbour

_KEPT = 64
"""How many different offers, neighbours and the like are kept of each; the rest, of somebody who floods, is not."""
SENDERS_KEPT, _STRAYS_KEPT = 256, 8192

_IPV4, _ARP, _IS_REPLY = b"\x08\x00", b"\x08\x06", b"\0\2"
_LLDP = switches.LLDP_ETHERTYPE.to_bytes(2, "big")
_GROUPS = frozenset({bytes.fromhex("0180c20000"), bytes.fromhex("01000ccccc")})
"""Beginnings of group addresses that are for the port's neighbour (802.1Q-2018, table 8-1; Cisco's)."""


class Heard(Enum):
    """What a frame was to us."""

    OFFER = "a DHCP server's answer to us"
    TRAFFIC = "a frame of a VLAN, which the sieve lets pass"
    ORDINARY = "a frame of a VLAN, of which there may be too many"
    OTHER = "something else"


@dataclass(frozen=True)
class Stray:
    """An answer that came back in another VLAN than its question was sent in; 0 is untagged."""

    asked: int
    heard: int
    server: IPv4Address | None
    server_mac: str


@dataclass
class VlanNotes:
    """What was heard in one VLAN.

    Attributes:
        offers: answers to the question that was sent in it, judged, the different ones once each.
        gateways: MACs that answered ARP, by the address that was asked for.
        frames: how many frames came in, answers to us and BPDUs left out.
        senders: the MACs they came from.
        bpdus: the different ones, by their bridge and kind.
        mistagged: VLANs that BPDUs in this one say they are for.
    """

    offers: list[Offer] = field(default_factory=list)
    gateways: dict[IPv4Address, list[str]] = field(default_factory=dict)
    frames: int = 0
    senders: set[bytes] = field(default_factory=set)
    bpdus: dict[tuple[str, str], Bpdu] = field(default_factory=dict)
    mistagged: set[int] = field(default_factory=set)

    @property
    def is_live(self) -> bool:
        """Whether frames of it come in at this port."""
        return bool(self.offers or self.gateways or self.frames or self.bpdus)


@dataclass
class Evidence:
    """All that one survey came across.

    Attributes:
        questions: what is asked; tells which answers are ours.
        vlans: what was heard, by VLAN; 0 for untagged frames.
        neighbours: switches that announced themselves; their latest word counts.
        trees: BPDUs without a VLAN, by their bridge and kind.
        strays: answers that came back in another VLAN.
        reflected: how many of our own frames came back to us, by VLAN.
    """

    questions: Questions
    vlans: dict[int, VlanNotes] = field(default_factory=dict)
    neighbours: dict[tuple[str, str, str], Neighbour] = field(default_factory=dict)
    trees: dict[tuple[str, str], Bpdu] = field(default_factory=dict)
    strays: dict[Stray, None] = field(default_factory=dict)
    reflected: Counter[int] = field(default_factory=Counter)
    _asked_at_s: dict[int, float] = field(default_factory=dict, init=False)
    _asked_for: set[tuple[int, IPv4Address]] = field(default_factory=set, init=False)
    _mac: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self._mac = bytes.fromhex(self.questions.mac.replace(":", ""))

    def note_sent(self, errand: Errand, at_s: float) -> None:
        """Keep what was asked, so that the answer is known for one."""
        if errand.gateway is None:
            self._asked_at_s.setdefault(errand.vlan, at_s)
        else:
            self._asked_for.add((errand.vlan, errand.gateway))

    def is_answered(self, errand: Errand) -> bool:
        """Whether what an errand asks is known already."""
        notes = self.vlans.get(errand.vlan)
        if notes is None:
            return False
        return bool(notes.offers) if errand.gateway is None else errand.gateway in notes.gateways

    def list_unanswered(self) -> list[tuple[int, IPv4Address]]:
        """Return the gateways that were asked for and did not answer, as (VLAN, address)."""
        return sorted((v, a) for v, a in self._asked_for if not self.is_answered(Errand(v, a)))

    def note(self, frame: Frame) -> Heard:
        """Keep what a frame says; return what it was."""
        data, vlan = frame.data, frame.vlan or UNTAGGED
        if len(data) < 14:
            return Heard.OTHER
        if data[6:12] == self._mac:
            self.reflected[vlan] += 1
            return Heard.OTHER
        heard = self._read(frame, vlan)
        if heard in {Heard.ORDINARY, Heard.TRAFFIC}:
            notes = self._open(vlan)
            notes.frames += 1
            if len(notes.senders) < SENDERS_KEPT:
                notes.senders.add(data[6:12])
        return heard

    def _read(self, frame: Frame, vlan: int) -> Heard:
        data = frame.data
        kind = data[12:14]
        if kind == _IPV4:
            reply = read_reply(frame)
            if reply is None:
                return Heard.ORDINARY
            return Heard.OFFER if self._note_reply(reply, vlan) else Heard.TRAFFIC
        if kind == _ARP:
            return Heard.OTHER if data[20:22] == _IS_REPLY and self._note_arp(data, vlan) else Heard.TRAFFIC
        if kind == _LLDP or data[:5] in _GROUPS:
            return Heard.OTHER if self._note_switch(data, vlan) else Heard.TRAFFIC
        return Heard.ORDINARY

    def _open(self, vlan: int) -> VlanNotes:
        return self.vlans.setdefault(vlan, VlanNotes())

    def _note_reply(self, reply: Reply, vlan: int) -> bool:
        """Keep an answer to one of our questions; return whether it is one."""
        asked = self.questions.find_vlan(reply)
        if asked is None or asked not in self._asked_at_s:
            return False
        offer = judge(reply, asked_at_s=self._asked_at_s[asked])
        if asked != vlan:
            if len(self.strays) < _STRAYS_KEPT:
                self.strays[Stray(asked, vlan, offer.server, offer.server_mac)] = None
            return False  # it tells that its VLAN is there, as any other frame does
        offers = self._open(vlan).offers
        known = {(o.server, o.server_mac, o.address, o.route, o.faults) for o in offers}
        seen = (offer.server, offer.server_mac, offer.address, offer.route, offer.faults) in known
        if not seen and len(offers) < _KEPT:
            offers.append(offer)
        return True

    def _note_arp(self, data: bytes, vlan: int) -> bool:
        """Keep the answer of a gateway that we asked for; return whether it is one."""
        answer = arp.decode_arp(data)
        if answer is None or (vlan, answer.address) not in self._asked_for:
            return False
        macs = self._open(vlan).gateways.setdefault(answer.address, [])
        if answer.mac not in macs and len(macs) < _KEPT:
            macs.append(answer.mac)
        return True

    def _note_switch(self, data: bytes, vlan: int) -> bool:
        """Keep what a switch says; return whether the frame tells no more of its VLAN.

        A switch announces itself to the port, as a rule untagged; if not, the tag tells a VLAN.
        """
        if neighbour := switches.decode_neighbour(data):
            key = (neighbour.protocol, neighbour.chassis or neighbour.system or neighbour.mac, neighbour.port)
            if key in self.neighbours or len(self.neighbours) < _KEPT:
                self.neighbours[key] = neighbour
            return vlan == UNTAGGED
        if bpdu := spanning_tree.decode_bpdu(data):
            self._note_bpdu(bpdu, vlan)
            return True
        return vlan == UNTAGGED

    def _note_bpdu(self, bpdu: Bpdu, vlan: int) -> None:
        """Keep a BPDU: of the VLAN that its tag says; an untagged one tells of the port, and of no VLAN."""
        kept = self.trees if vlan == UNTAGGED else self._open(vlan).bpdus
        key = (bpdu.bridge or bpdu.mac, bpdu.kind)
        if key in kept or len(kept) < _KEPT:
            kept[key] = bpdu
        if vlan != UNTAGGED and bpdu.vlan not in {None, vlan}:
            self._open(vlan).mistagged.add(bpdu.vlan or UNTAGGED)
