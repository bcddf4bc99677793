"""When what is sent: told the time, so nothing here waits."""

from ipaddress import IPv4Address
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.discovery.survey.schedule import ARP_WAIT_S, Errand, Schedule

GATEWAY = IPv4Address("192.0.2.1")


def _run(schedule: Schedule, answered: set[int] | None = None, *, step_s: float = 0.001) -> list[tuple[float, Errand]]:
    """Run a schedule to its end on a clock of our own; return what was sent, and when."""
    sent, now_s = [], 0.0
    while now_s < schedule.ends_at_s:
        while errand := schedule.take(now_s, lambda e: e.vlan in (answered or set()) and e.attempt > 1):
            sent.append((now_s, errand))
        now_s += step_s
    return sent


def test_every_vlan_is_asked_twice_within_the_rate() -> None:
    """4095 questions at 2000 a second, and again after half of the timeout: over in the first round and the timeout."""
    schedule = Schedule(range(4095), [], rate=2000, timeout_s=5, began_s=0)
    assert schedule.total == 8190
    sent = _run(schedule)
    assert [e.vlan for _, e in sent if e.attempt == 1] == list(range(4095))
    assert sorted(e.vlan for _, e in sent if e.attempt == 2) == list(range(4095))
    assert (schedule.sent, schedule.total) == (8190, 8190)
    first = {e.vlan: at for at, e in sent if e.attempt == 1}
    assert all(at - first[e.vlan] >= 2.5 for at, e in sent if e.attempt == 2)
    assert 7.0 < schedule.ends_at_s < 7.2
    for second in range(8):
        assert sum(second <= at < second + 1 for at, _ in sent) <= 2000 * 1.03


def test_vlan_that_has_answered_is_not_asked_again() -> None:
    """Nor does it take of the rate, or count among what is still to do."""
    schedule = Schedule([1, 2, 3], [], rate=1000, timeout_s=2, began_s=0)
    sent = _run(schedule, {2})
    assert [e for _, e in sent] == [Errand(1), Errand(2), Errand(3), Errand(1, attempt=2), Errand(3, attempt=2)]
    assert schedule.total == 5


def test_gateways_come_first_and_three_times() -> None:
    """Known ones are asked for before any VLAN, and again each second."""
    schedule = Schedule([1, 2], [(7, GATEWAY)], rate=10, timeout_s=5, began_s=0)
    sent = _run(schedule)
    assert sent[0][1] == Errand(7, GATEWAY)
    assert [e.attempt for _, e in sent if e.gateway] == [1, 2, 3]
    assert all(later - earlier >= 0.99 for (earlier, _), (later, _) in pairwise([s for s in sent if s[1].gateway]))


def test_gateway_of_a_late_offer_prolongs_it_a_little_and_once() -> None:
    """An offer at the very end: its gateway is asked for, once, and waited for half a second."""
    schedule = Schedule([1], [], rate=1000, timeout_s=2, began_s=0)
    for _ in range(3):
        schedule.take(0, lambda _: False)
    assert schedule.take(1.5, lambda _: True) is None
    assert schedule.ends_at_s == 2
    schedule.add_gateway(1, GATEWAY)
    schedule.add_gateway(1, GATEWAY)
    assert schedule.take(1.99, lambda _: False) == Errand(1, GATEWAY)
    assert schedule.ends_at_s == 1.99 + ARP_WAIT_S
    schedule.add_gateway(2, GATEWAY)
    assert schedule.take(2.2, lambda _: False) == Errand(2, GATEWAY)
    assert schedule.ends_at_s == 2 + ARP_WAIT_S


def test_rate_holds_after_a_stall() -> None:
    """What could not be sent while we were kept from it is not sent in one burst."""
    schedule = Schedule(range(1, 1001), [], rate=1000, timeout_s=2, began_s=0)
    count = 0
    while schedule.take(0.5, lambda _: False):
        count += 1
    assert 15 <= count <= 25


def test_slow_rate_takes_its_time() -> None:
    """Ten VLANs at two frames a second: nothing is left out, and each question is listened to."""
    schedule = Schedule(range(1, 11), [], rate=2, timeout_s=1, began_s=0)
    sent = _run(schedule, step_s=0.01)
    assert len(sent) == 20
    assert schedule.ends_at_s >= sent[-1][0] + 0.5


def test_without_questions_it_only_listens() -> None:
    """For as long as the timeout."""
    schedule = Schedule([], [], rate=1, timeout_s=3, began_s=10)
    assert (schedule.total, schedule.ends_at_s, schedule.find_next_s()) == (0, 13, float("inf"))


@given(
    vlans=st.sets(st.integers(0, 4094), max_size=30),
    gateways=st.lists(st.tuples(st.integers(0, 5), st.just(GATEWAY)), max_size=5),
    rate=st.integers(5, 500),
    timeout_s=st.floats(0.1, 3),
)
def test_every_vlan_and_gateway_is_asked_whatever_the_rate(
    vlans: set[int], gateways: list[tuple[int, IPv4Address]], rate: int, timeout_s: float
) -> None:
    """It ends, within its bounds; a VLAN is asked twice, a gateway at least once."""
    schedule = Schedule(sorted(vlans), gateways, rate=rate, timeout_s=timeout_s, began_s=0)
    sent = _run(schedule, step_s=0.005)
    assert {e.vlan for _, e in sent if e.attempt == 1 and not e.gateway} == vlans
    assert {e.vlan for _, e in sent if e.attempt == 2 and not e.gateway} == vlans
    assert {(e.vlan, e.gateway) for _, e in sent if e.gateway} == set(gateways)
    assert schedule.ends_at_s <= (2 * len(vlans) + 3 * len(gateways)) / rate + timeout_s + ARP_WAIT_S + 0.5
