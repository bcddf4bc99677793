"""The survey itself: everything through one packet socket on the uplink, which leaves nothing behind when it closes."""

import errno as errnos
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address

from cni_harvester.discovery.survey.evidence import Evidence, Heard
from cni_harvester.discovery.survey.findings import SurveyReport, list_findings
from cni_harvester.discovery.survey.meaning import list_advice, list_warnings
from cni_harvester.discovery.survey.questions import UNTAGGED, Questions
from cni_harvester.discovery.survey.schedule import Errand, Schedule
from cni_harvester.discovery.survey.sieve import NOTHING, WINDOW_S, Sieve, make_program, tighten
from cni_harvester.errors import FeatureMissing, KernelRefused, NotReady
from cni_harvester.kernel import links
from cni_harvester.kernel.frames import FrameSocket, wait_for_frames
from cni_harvester.kernel.handle import Handle
from cni_harvester.model.vlan import VID_MAX, VID_MIN

DEFAULT_RATE, DEFAULT_TIMEOUT_S = 2000, 5.0
ALL_VLANS = frozenset(range(VID_MIN, VID_MAX + 1))

_READ_AT_ONCE = 256
"""Frames read before it is looked whether there is something to send."""
_PROGRESS_EVERY_S = 0.1
_NO_CARRIER = {"DOWN", "LOWERLAYERDOWN", "NOTPRESENT"}


@dataclass(frozen=True)
class SurveyWishes:
    """What a survey is to do.

    Attributes:
        vlans: to ask for DHCP servers; the untagged network is always asked. All VLANs are listened to.
        rate: frames a second, at most.
        timeout_s: how long to listen for the answer to each question.
        gateways: known ones, to be asked for by ARP: (VLAN, address), VLAN 0 for untagged.
    """

    vlans: frozenset[int] = ALL_VLANS
    rate: int = DEFAULT_RATE
    timeout_s: float = DEFAULT_TIMEOUT_S
    gateways: tuple[tuple[int, IPv4Address], ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a survey is: frames sent, of how many as things stand, and how many VLANs are live so far."""

    sent: int
    total: int
    found: int


def survey(
    interface: str, wishes: SurveyWishes, node: str, tell: Callable[[Progress], None] = lambda _: None
) -> SurveyReport:
    """Find out which VLANs the switch port behind an interface carries; neither node nor network are changed.

    Args:
        interface: the uplink: a NIC or a bond, up. It may be the port of a bridge, and in use.
        wishes: what to ask, and how fast.
        node: the node's name, for the report.
        tell: called now and then with the progress.

    Raises:
        KernelRefused: there is no such interface, or it went down meanwhile, or there is no right to listen.
        NotReady: the interface is down or has no carrier.
        FeatureMissing: it is none that has a switch port behind it.
    """
    _require_usable(interface)
    at, began_s = datetime.now(UTC), time.monotonic()
    with FrameSocket(interface, accept=make_program(Sieve()), promiscuous=True) as port:
        under_way = _Survey(port, wishes, began_s, tell)
        under_way.run()
        lost = port.count_lost()
    heard = under_way.make_report(node, at, lost)
    return replace(heard, advice=tuple(list_advice(heard)))


def _require_usable(interface: str) -> None:
    """Say what is wrong with an interface before anything is sent on it."""
    with Handle() as host:
        link = links.find_link(host, interface)
    if link is None:
        hint = "`ip link` shows which there are; the uplink of cluster network <cn> is <cn>-bo"
        raise KernelRefused(f'cannot survey "{interface}": there is no such interface', hint, errno=errnos.ENODEV)
    if link.kind == "bridge":
        hint = "survey its uplink: that of <cn>-br is <cn>-bo"
        raise FeatureMissing(f'cannot survey "{interface}": it is a bridge, which has no switch port', hint)
    if not link.up:
        raise NotReady(f'cannot survey "{interface}": it is down', f"ip link set {interface} up")
    if link.operstate in _NO_CARRIER:
        raise NotReady(f'cannot survey "{interface}": it has no carrier', "is its cable plugged in at both ends?")
    if len(link.mac) != len("00:00:00:00:00:00") or not int(link.mac.replace(":", ""), 16):
        raise FeatureMissing(f'cannot survey "{interface}": it has no MAC', "name a NIC or a bond")


@dataclass
class _Survey:
    """A survey under way on an open socket."""

    port: FrameSocket
    wishes: SurveyWishes
    began_s: float
    tell: Callable[[Progress], None]
    sieve: Sieve = field(default_factory=Sieve)

    def __post_init__(self) -> None:
        wishes = self.wishes
        self.evidence = Evidence(Questions(self.port.mac, random.getrandbits(32)))
        self.schedule = Schedule(
            [UNTAGGED, *sorted(wishes.vlans)],
            wishes.gateways,
            rate=wishes.rate,
            timeout_s=wishes.timeout_s,
            began_s=self.began_s,
        )
        self._window = Window()
        self._told_s = 0.0

    def run(self) -> None:
        """Send and listen until the time is over; then read what has come in by then."""
        while (now_s := time.monotonic()) < self.schedule.ends_at_s:
            self._send_due(now_s)
            self._tell(now_s)
            until_s = min(self.schedule.find_next_s(), self.schedule.ends_at_s, now_s + _PROGRESS_EVERY_S)
            if wait_for_frames([self.port], until_s):
                self._hear(_READ_AT_ONCE)
        self.port.accept(NOTHING)
        self._hear()
        self._tell(float("inf"))

    def make_report(self, node: str, at: datetime, lost: int) -> SurveyReport:
        """Put together what was found, with its warnings."""
        evidence = self.evidence
        report = SurveyReport(
            interface=self.port.interface,
            mac=self.port.mac,
            node=node,
            at=at,
            duration_s=time.monotonic() - self.began_s,
            timeout_s=self.wishes.timeout_s,
            asked=self.wishes.vlans,
            sent=self.schedule.sent,
            vlans=list_findings(evidence),
            neighbours=tuple(evidence.neighbours.values()),
            trees=tuple(evidence.trees.values()),
            strays=tuple(evidence.strays),
            silent_gateways=tuple(evidence.list_unanswered()),
            is_sampled=self.sieve.one_in > 1,
            lost=lost,
        )
        return replace(report, warnings=tuple(list_warnings(report, evidence.vlans, evidence.reflected)))

    def _send_due(self, now_s: float) -> None:
        while errand := self.schedule.take(now_s, self.evidence.is_answered):
            self.evidence.note_sent(errand, now_s)
            self.port.send(self._encode(errand, now_s))

    def _encode(self, errand: Errand, now_s: float) -> bytes:
        questions = self.evidence.questions
        if errand.gateway is not None:
            return questions.make_arp(errand.vlan, errand.gateway)
        elapsed_s = self.wishes.timeout_s / 2 if errand.attempt > 1 else 0
        return questions.make_discover(errand.vlan, elapsed_s=int(elapsed_s))

    def _hear(self, at_most: int | None = None) -> None:
        """Read frames, so many or all there are; ask for the gateways that offers name; keep up with what comes in."""
        count = 0
        while (at_most is None or count < at_most) and (frame := self.port.read()) is not None:
            count += 1
            heard = self.evidence.note(frame)
            if heard is Heard.ORDINARY:
                self._window.note(frame.vlan or UNTAGGED, frame.at_s)
            elif heard is Heard.OFFER:
                self._ask_for_gateways(frame.vlan or UNTAGGED)
        if at_most is None or count < at_most:
            self._window.is_open = True
        if self._window.is_full and at_most is not None:
            self._tighten()

    def _ask_for_gateways(self, vlan: int) -> None:
        notes = self.evidence.vlans.get(vlan)
        for offer in notes.offers if notes else ():
            if offer.is_usable and offer.gateway:
                self.schedule.add_gateway(vlan, offer.gateway)

    def _tighten(self) -> None:
        sieve = tighten(self.sieve, self._window.heard, self._window.seconds)
        if sieve != self.sieve:
            self.port.accept(make_program(sieve))
        self._window = Window(is_open=sieve == self.sieve)
        self.sieve = sieve

    def _tell(self, now_s: float) -> None:
        if now_s < self._told_s:
            return
        self._told_s = now_s + _PROGRESS_EVERY_S
        found = sum(notes.is_live for vlan, notes in self.evidence.vlans.items() if vlan)
        self.tell(Progress(self.schedule.sent, self.schedule.total, found))


@dataclass
class Window:
    """Ordinary frames that are counted, to know their rate.

    After the sieve has changed it stays closed until all that has passed the old one is read.
    """

    heard: Counter[int] = field(default_factory=Counter)
    is_open: bool = True
    began_s: float = 0.0
    seconds: float = 0.0

    def note(self, vlan: int, at_s: float) -> None:
        """Count a frame."""
        if self.is_open:
            self.began_s = self.began_s or at_s
            self.seconds = at_s - self.began_s
            self.heard[vlan] += 1

    @property
    def is_full(self) -> bool:
        """Whether it is time to judge the rate."""
        return self.seconds >= WINDOW_S
