"""The watch over networks: when it looks, what it remembers, what it tells."""

import dataclasses
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.cli.main import run
from cni_harvester.cli.watch import parse_network
from cni_harvester.dhcp.offer import Offer
from cni_harvester.dhcp.verdict import Reason, Verdict
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.facts import GATEWAY_ARP, GATEWAY_ICMP, Answer, Fact
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.report import Discovery
from cni_harvester.discovery.watch import Change, Target, Watch
from cni_harvester.errors import NotReady
from cni_harvester.model.route import AUTO, MANUAL, Route
from cni_harvester.wire import dhcp

PLACE = Place("cn1-br", 100)
TARGET, SECOND = Target("one", PLACE), Target("two", Place("cn2-br", 0))
NETWORK, GATEWAY = IPv4Network("192.0.2.0/24"), IPv4Address("192.0.2.1")
START = datetime(2026, 1, 1, tzinfo=UTC)
OFFER = Offer(dhcp.OFFER, GATEWAY, "02:00:00:00:00:01", None, NETWORK[77], network=NETWORK, gateway=GATEWAY)


def find(reason: Reason, answer: Answer | None = None, *, gateway: IPv4Address | None = GATEWAY) -> Discovery:
    """Make a discovery that ended so; with an answer, the gateway was checked."""
    found = reason is Reason.FOUND
    facts = (Fact(GATEWAY_ARP, answer, "as told"),) if answer else ()
    offer = OFFER if found else None
    route = (NETWORK, gateway) if found else (None, None)
    return Discovery(PLACE, "node-1", START, 1.0, Verdict(reason, "text", offer), *route, facts)


FOUND, SILENCE, REFUSED = find(Reason.FOUND, Answer.YES), find(Reason.SILENCE), find(Reason.REFUSED)
UNREACHABLE = find(Reason.FOUND, Answer.NO)
CHECKED = dataclasses.replace(FOUND, verdict=None)
LOST = dataclasses.replace(UNREACHABLE, verdict=None)
NOT_READY = NotReady("cannot probe VLAN 100 of cn1-br: the bridge is down", "ip link set cn1-br up")

Outcome = Discovery | Exception


@dataclass
class World:
    """A clock, and networks that answer as the test says.

    Attributes:
        outcomes: what each look gives, one after the other; the last one stays.
        looks: what was looked at, and whether for a route that is known.
        jitter: what every pause is multiplied with.
    """

    outcomes: list[Outcome]
    now_s: float = 1000.0
    jitter: float = 1.0
    looks: list[tuple[str, Route | None]] = field(default_factory=list)
    told: list[Change] = field(default_factory=list)

    def make_watch(self, *targets: Target) -> Watch:
        """Make a watch in this world; of one network unless told otherwise."""
        return Watch(
            targets or (TARGET,),
            self.told.append,
            wishes=Wishes(),
            now_s=lambda: self.now_s,
            jitter=lambda low, high: min(max(self.jitter, low), high),
            run=self._look,
        )

    def _look(self, target: Target, route: Route | None, _: Wishes) -> Discovery:
        self.looks.append((target.name, route))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def sleep(self, watch: Watch, times: int) -> list[float]:
        """Look and sleep, so many times; return the pauses."""
        waits = []
        for _ in range(times):
            waits.append(watch.run_due())
            self.now_s += waits[-1]
        return waits

    def read_news(self) -> list[str]:
        """Return what was told since the last time: connectivity, or the error."""
        news = [change.found.connectivity if change.found else change.error for change in self.told]
        self.told.clear()
        return news


# --- pauses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [SILENCE, REFUSED, NOT_READY, UNREACHABLE, find(Reason.FOUND)])
def test_failed_discovery_is_tried_again_after_growing_pauses(outcome: Outcome) -> None:
    """Five seconds, twice that each time, fifteen minutes at most; each time a discovery."""
    world = World([outcome])
    assert world.sleep(world.make_watch(), 10) == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert world.looks == [("one", None)] * 10


@pytest.mark.parametrize(("jitter", "pauses"), [(0.5, [4, 8, 16, 32]), (0.8, [4, 8, 16, 32]), (2, [6, 12, 24, 48])])
def test_pauses_differ_by_a_fifth_at_most(jitter: float, pauses: list[float]) -> None:
    """Nodes that began at the same moment do not ask at the same moment: 0.8 to 1.2 times the pause."""
    world = World([SILENCE], jitter=jitter)
    assert world.sleep(world.make_watch(), 4) == pytest.approx(pauses)


@given(jitters=st.lists(st.floats(0, 2), min_size=20, max_size=20))
def test_pauses_stay_between_4_seconds_and_18_minutes(jitters: list[float]) -> None:
    """Whatever chance has it, and however often it failed."""
    world = World([SILENCE])
    watch = world.make_watch()
    for number, world.jitter in enumerate(jitters):
        wait_s = watch.run_due()
        pause_s = min(5 * 2**number, 900)
        assert 0.8 * pause_s - 1e-6 <= wait_s <= 1.2 * pause_s + 1e-6
        world.now_s += wait_s


def test_nothing_is_looked_at_before_it_is_due() -> None:
    """Who calls too early only learns how long to wait."""
    world = World([SILENCE])
    watch = world.make_watch()
    watch.run_due()
    world.now_s += 4.9
    assert watch.run_due() == pytest.approx(0.1)
    assert len(world.looks) == 1
    world.now_s += 0.1
    assert watch.run_due() == 10
    assert len(world.looks) == 2


def test_each_network_has_its_own_pauses() -> None:
    """One that was found is checked every minute while the other one is looked for."""
    world = World([SILENCE])

    def look(target: Target, route: Route | None, _: Wishes) -> Discovery:
        world.looks.append((target.name, route))
        return FOUND if target is TARGET else SILENCE

    watch = Watch(
        [TARGET, SECOND], world.told.append, wishes=Wishes(), now_s=lambda: world.now_s, jitter=lambda *_: 1.0, run=look
    )
    times: dict[str, list[float]] = {"one": [], "two": []}
    while world.now_s < 1150:
        world.looks.clear()
        wait_s = watch.run_due()
        for name, _ in world.looks:
            times[name].append(world.now_s - 1000)
        world.now_s += wait_s
    assert times == {"one": [0, 60, 120], "two": [0, 5, 15, 35, 75]}


# --- what was found ------------------------------------------------------------------------------------------------


def test_route_that_was_found_is_checked_every_minute() -> None:
    """DHCP is not asked again: the route that it gave is what the checks are about."""
    world = World([FOUND, CHECKED])
    assert world.sleep(world.make_watch(), 4) == [60, 60, 60, 60]
    known = Route(mode=AUTO, cidr=NETWORK, gateway=GATEWAY)
    assert world.looks == [("one", None), ("one", known), ("one", known), ("one", known)]


def test_failing_check_is_told_and_the_network_discovered_again() -> None:
    """The gateway may have moved: DHCP says so, the old route does not."""
    moved = find(Reason.FOUND, Answer.YES, gateway=NETWORK[254])
    world = World([FOUND, LOST, moved, CHECKED])
    watch = world.make_watch()
    assert world.sleep(watch, 3) == [60, 5, 60]
    assert [route is None for _, route in world.looks] == [True, False, True]
    assert world.read_news() == ["true", "false", "true"]
    world.outcomes = [dataclasses.replace(moved, verdict=None)]
    watch.run_due()
    known = world.looks[-1][1]
    assert known is not None
    assert known.gateway == NETWORK[254]
    assert world.read_news() == []


def test_pauses_begin_anew_after_a_success() -> None:
    """What failed long ago does not count."""
    world = World([SILENCE, SILENCE, SILENCE, FOUND, LOST, SILENCE])
    assert world.sleep(world.make_watch(), 6) == [5, 10, 20, 60, 5, 10]


@pytest.mark.parametrize(("outcome", "pauses"), [(CHECKED, [60, 60]), (LOST, [5, 10, 20, 40, 60, 60])])
def test_route_of_a_person_is_only_checked(outcome: Discovery, pauses: list[float]) -> None:
    """Mode manual never asks DHCP, be the gateway there or not, and looks every minute at least."""
    manual = Route(mode=MANUAL, cidr=NETWORK, gateway=GATEWAY)
    world = World([outcome])
    watch = world.make_watch(Target("one", PLACE, manual))
    assert world.sleep(watch, len(pauses)) == pauses
    assert world.looks == [("one", manual)] * len(pauses)


# --- links ---------------------------------------------------------------------------------------------------------


def test_links_of_interest_are_bridge_and_uplink() -> None:
    """A cluster network's uplink has its name; a bridge of another name has none."""
    assert TARGET.link_names == {"cn1-br", "cn1-bo"}
    assert Target("plain", Place("virbr0", 0)).link_names == {"virbr0"}
    assert World([FOUND]).make_watch(TARGET, SECOND).link_names == {"cn1-br", "cn1-bo", "cn2-br", "cn2-bo"}


@pytest.mark.parametrize("names", [{"cn1-br"}, {"cn1-bo"}, {"cn1-br", "cn1-bo", "eth0"}])
@pytest.mark.parametrize("outcome", [FOUND, SILENCE])
def test_link_event_makes_a_network_due_after_a_second(outcome: Discovery, names: set[str]) -> None:
    """Neither a minute nor a quarter of an hour is waited for when the bridge or its uplink changes."""
    world = World([outcome])
    watch = world.make_watch(TARGET, SECOND)
    world.sleep(watch, 8)
    assert watch.run_due() >= 60
    world.looks.clear()
    watch.note_link_change(names)
    assert watch.run_due() == 1
    world.now_s += 1
    watch.run_due()
    assert [name for name, _ in world.looks] == ["one"]


def test_link_event_lets_pauses_begin_anew() -> None:
    """After a change of the link, the earlier failures say nothing."""
    world = World([SILENCE])
    watch = world.make_watch()
    world.sleep(watch, 6)
    watch.run_due()
    watch.note_link_change({"cn1-bo"})
    assert world.sleep(watch, 4) == [1, 5, 10, 20]


def test_link_event_does_not_put_off_what_is_due_sooner() -> None:
    """A link that changes all the time does not keep a network from being looked at."""
    world = World([SILENCE])
    watch = world.make_watch()
    watch.run_due()
    for _ in range(30):
        watch.note_link_change({"cn1-br"})
        world.now_s += 0.1
        watch.run_due()
    assert len(world.looks) == 4


@pytest.mark.parametrize("names", [set(), {"eth0"}, {"cn2-br"}])
def test_link_event_of_another_interface_changes_nothing(names: set[str]) -> None:
    """Only the bridge and the uplink of a network concern it."""
    world = World([FOUND])
    watch = world.make_watch()
    watch.run_due()
    watch.note_link_change(names)
    assert watch.run_due() == 60


# --- what is told --------------------------------------------------------------------------------------------------


def test_same_outcome_is_told_once() -> None:
    """Times, durations and offered addresses differ each time, and are no change; nor is a check beside its find."""
    later = dataclasses.replace(SILENCE, at=START + timedelta(minutes=5), duration_s=3.0)
    world = World([SILENCE, later, SILENCE, FOUND, CHECKED, dataclasses.replace(CHECKED, duration_s=9.0)])
    world.sleep(world.make_watch(), 12)
    assert world.read_news() == ["DHCP failed", "true"]


def test_offered_address_is_no_change() -> None:
    """A server may offer another address each time; the network is the same."""
    other = dataclasses.replace(OFFER, address=NETWORK[99])
    again = dataclasses.replace(UNREACHABLE, verdict=Verdict(Reason.FOUND, "other text", other), offers=(other,))
    world = World([UNREACHABLE, again])
    world.sleep(world.make_watch(), 3)
    assert world.read_news() == ["false"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SILENCE, REFUSED),
        (SILENCE, FOUND),
        (SILENCE, NOT_READY),
        (FOUND, LOST),
        (FOUND, SILENCE),
        (UNREACHABLE, find(Reason.FOUND)),
        (UNREACHABLE, find(Reason.FOUND, Answer.NO, gateway=NETWORK[254])),
        (NOT_READY, NotReady("another reason")),
    ],
)
def test_every_change_is_told(first: Outcome, second: Outcome) -> None:
    """Another route, another connectivity, another reason, another error."""
    world = World([first, second, second, first])
    world.sleep(world.make_watch(), 4)
    assert len(world.read_news()) == 3


@pytest.mark.parametrize(
    ("error", "words"), [(NOT_READY, NOT_READY.msg), (OSError(24, "Too many open files"), "Too many open files")]
)
def test_error_is_told_with_its_words(error: Exception, words: str) -> None:
    """That no machine could be attached is news like others, stops nothing, and ends with the next good look."""
    world = World([error, error, FOUND])
    watch = world.make_watch()
    assert world.sleep(watch, 3) == [5, 10, 60]
    assert [change.found for change in world.told] == [None, FOUND]
    assert words in world.told[0].error
    assert world.told[1].error == ""


def test_answer_to_ping_is_no_change() -> None:
    """A gateway that drops echo requests now and then is reachable all the time."""
    dropped = dataclasses.replace(CHECKED, facts=(*FOUND.facts, Fact(GATEWAY_ICMP, Answer.NO, "it drops them")))
    world = World([FOUND, CHECKED, dropped])
    world.sleep(world.make_watch(), 4)
    assert world.read_news() == ["true"]


def test_latest_has_every_network_that_was_looked_at() -> None:
    """A live display shows all of them, told or not."""
    world = World([SILENCE])
    watch = world.make_watch(TARGET, SECOND)
    assert watch.latest == []
    watch.run_due()
    assert [change.target for change in watch.latest] == [TARGET, SECOND]
    assert {change.found for change in watch.latest} == {SILENCE}


def test_networks_are_looked_at_together() -> None:
    """One that takes its time does not hold up another one."""
    world = World([SILENCE])
    meeting = threading.Barrier(2)

    def look(target: Target, _: Route | None, __: Wishes) -> Discovery:
        meeting.wait(20)
        return FOUND if target is TARGET else SILENCE

    watch = Watch([TARGET, SECOND], world.told.append, wishes=Wishes(), now_s=lambda: world.now_s, run=look)
    watch.run_due()
    assert sorted(world.read_news()) == ["DHCP failed", "true"]


def test_pause_begins_when_the_look_ends() -> None:
    """A look takes seconds, which do not count as pause."""
    world = World([SILENCE])

    def look(*_: object) -> Discovery:
        world.now_s += 7
        return SILENCE

    watch = Watch(
        [TARGET], world.told.append, wishes=Wishes(), now_s=lambda: world.now_s, jitter=lambda *_: 1.0, run=look
    )
    assert watch.run_due() == 5
    assert world.now_s == 1007


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("cn1-br/100", Place("cn1-br", 100)),
        ("cn1-br/1", Place("cn1-br", 1)),
        ("cn1-br/4094", Place("cn1-br", 4094)),
        ("virbr0/untagged", Place("virbr0", 0)),
    ],
)
def test_network_is_named_by_bridge_and_vlan(text: str, place: Place) -> None:
    """The text is the network's name in what is printed."""
    assert parse_network(text) == Target(text, place)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "name the networks: --network or --nad, as often as needed"),
        (["--network", "cn1-br"], "'cn1-br' is neither cn1-br/100 nor cn1-br/untagged in form"),
        (["--network", "cn1-br/0"], "'cn1-br/0' is neither"),
        (["--network", "cn1-br/4095"], "'cn1-br/4095' is neither"),
        (["--network", "cn1-br/Untagged"], "'cn1-br/Untagged' is neither"),
        (["--network", "cn1-br/-1"], "'cn1-br/-1' is neither"),
        (["--network", "/100"], "'/100' is neither"),
        (["--network", "cn1-br/100/"], "'cn1-br/100/' is neither"),
        (["--timeout", "0", "--network", "cn1-br/1"], "--timeout"),
        (["--timeout", "601", "--network", "cn1-br/1"], "--timeout"),
        (["--nad", "/nonexistent.yaml"], "/nonexistent.yaml"),
    ],
)
def test_wrong_words_are_refused(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and what is wrong on standard error; nothing is looked at."""
    assert run(["watch", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert complaint in said.err
