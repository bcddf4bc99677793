"""When something is to be done about a lease: stages, their ends, and when to try again."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cni_harvester.ipam.lease import Lease
from cni_harvester.ipam.schedule import Retry, Stage, find_change, find_stage, plan_retry

from .samples import INFINITE_S, LEASE, OBTAINED_S, make

NEVER = float("inf")
INFINITE = make(lease_s=INFINITE_S, t1_s=INFINITE_S // 2, t2_s=INFINITE_S // 8 * 7)

LEASE_TIMES = st.integers(1, INFINITE_S - 1)
SHARES = st.floats(0, 1)


def make_timed(lease_s: int, share_1: float, share_2: float) -> Lease:
    """Make a lease whose T1 and T2 are in order, wherever in its time."""
    t2_s = int(lease_s * share_2)
    return make(lease_s=lease_s, t1_s=int(t2_s * share_1), t2_s=t2_s)


TIMED = st.builds(make_timed, LEASE_TIMES, SHARES, SHARES)


def find_now(lease: Lease, share: float) -> float:
    """Return a time: at this share of the lease's time, or of one and a half of it."""
    return lease.obtained_s + lease.lease_s * share * 1.5


# --- stages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lease", "age_s", "stage", "change_s"),
    [
        (LEASE, 0, Stage.BOUND, 500),
        (LEASE, 499.9, Stage.BOUND, 500),
        (LEASE, 500, Stage.RENEWING, 875),
        (LEASE, 874.9, Stage.RENEWING, 875),
        (LEASE, 875, Stage.REBINDING, 1000),
        (LEASE, 999.9, Stage.REBINDING, 1000),
        (LEASE, 1000, Stage.LOST, NEVER),
        (LEASE, 100_000, Stage.LOST, NEVER),
        (LEASE.make_void(), 0, Stage.LOST, NEVER),
        (LEASE.make_void(), 10, Stage.LOST, NEVER),
        (INFINITE, 0, Stage.BOUND, NEVER),
        (INFINITE, INFINITE_S, Stage.BOUND, NEVER),
        (INFINITE, INFINITE_S * 2, Stage.BOUND, NEVER),
        (INFINITE.make_void(), 1, Stage.LOST, NEVER),
        (make(t1_s=1000, t2_s=1000), 999, Stage.BOUND, 1000),
        (make(t1_s=500, t2_s=500), 500, Stage.REBINDING, 1000),
        (make(t1_s=0, t2_s=0, lease_s=1), 0, Stage.REBINDING, 1),
    ],
)
def test_stage_and_its_end_follow_the_times(lease: Lease, age_s: float, stage: Stage, change_s: float) -> None:
    """RENEWING from T1 on, REBINDING from T2 on, LOST at the end; what has no end never changes."""
    now_s = OBTAINED_S + age_s
    assert find_stage(lease, now_s) is stage
    assert find_change(lease, now_s) == OBTAINED_S + change_s


@given(lease=TIMED, share=SHARES)
def test_state_changes_when_it_was_said_to_and_not_before(lease: Lease, share: float) -> None:
    """Up to the time of the change the state is the same, and at it the next one."""
    now_s = find_now(lease, share)
    change_s = find_change(lease, now_s)
    stage = find_stage(lease, now_s)
    if stage is Stage.LOST:
        assert change_s == NEVER
        return
    assert change_s > now_s
    assert find_stage(lease, (now_s + change_s) / 2) is stage or change_s - now_s < 1e-3
    assert find_stage(lease, change_s) is not stage


@given(lease=TIMED, one=SHARES, other=SHARES)
def test_stages_only_go_forward(lease: Lease, one: float, other: float) -> None:
    """A lease by itself never gets younger."""
    order = list(Stage)
    first, last = sorted((find_now(lease, one), find_now(lease, other)))
    assert order.index(find_stage(lease, first)) <= order.index(find_stage(lease, last))


# --- retries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lease", "age_s", "wait_s"),
    [
        pytest.param(LEASE, 500, 187.5, id="renewing: half of the rest"),
        pytest.param(LEASE, 687.5, 93.75, id="renewing: half of the rest again"),
        pytest.param(LEASE, 781.25, 60, id="renewing: not before a minute"),
        pytest.param(LEASE, 841.25, 33.75, id="renewing: at its end at the latest"),
        pytest.param(LEASE, 875, 62.5, id="rebinding: half of the rest"),
        pytest.param(LEASE, 937.5, 60, id="rebinding: not before a minute"),
        pytest.param(LEASE, 997.5, 2.5, id="rebinding: at its end at the latest"),
        pytest.param(make(lease_s=100, t1_s=50, t2_s=87), 50, 18.5, id="short: half of the rest"),
        pytest.param(make(lease_s=100, t1_s=50, t2_s=87), 70, 10, id="short: not before a tenth of the lease"),
        pytest.param(make(lease_s=100, t1_s=50, t2_s=87), 80, 7, id="short: at the end at the latest"),
        pytest.param(make(lease_s=6, t1_s=3, t2_s=5), 4, 0.6, id="shortest: a tenth"),
    ],
)
def test_retry_of_a_running_lease_halves_what_is_left(lease: Lease, age_s: float, wait_s: float) -> None:
    """RFC 2131, section 4.4.5: half of the time to T2, then to the end, and 60 s at least where leases are long."""
    now_s = OBTAINED_S + age_s
    retry = plan_retry(lease, now_s, 3)
    assert (retry.at_s - now_s, retry.failures) == (pytest.approx(wait_s), 4)


@pytest.mark.parametrize(
    ("failures", "wait_s"),
    [(0, 5), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300), (10, 300), (10_000, 300)],
)
def test_retry_of_a_lost_lease_comes_after_growing_pauses(failures: int, wait_s: float) -> None:
    """Five seconds first, twice that each time, five minutes at most."""
    assert plan_retry(LEASE, OBTAINED_S + 1000, failures) == Retry(OBTAINED_S + 1000 + wait_s, failures + 1)


@given(lease=TIMED, share=SHARES, failures=st.integers(0, 1000))
def test_retry_is_in_the_future_and_not_after_the_states_end(lease: Lease, share: float, failures: int) -> None:
    """Nothing is tried in a loop, and no state is slept through."""
    now_s = find_now(lease, share)
    retry = plan_retry(lease, now_s, failures)
    assert retry.at_s > now_s
    assert retry.at_s <= find_change(lease, now_s)
    assert retry.failures == failures + 1


@given(lease=TIMED, share=SHARES)
def test_retries_of_a_state_end_with_it_after_few(lease: Lease, share: float) -> None:
    """A server that does not answer is asked some ten times in a state, be the lease of seconds or of years."""
    now_s = find_now(lease, share)
    assume(find_stage(lease, now_s) is not Stage.LOST)
    end_s, count = find_change(lease, now_s), 0
    while now_s < end_s:
        now_s, count = plan_retry(lease, now_s, count).at_s, count + 1
    assert now_s == end_s
    assert count <= 40


@given(failures=st.integers(0, 100))
def test_pauses_of_a_lost_lease_never_shrink(failures: int) -> None:
    """They stay between 5 s and 5 min."""
    now_s = LEASE.expires_s
    first, second = (plan_retry(LEASE, now_s, number).at_s - now_s for number in (failures, failures + 1))
    assert 5 <= first <= second <= 300
