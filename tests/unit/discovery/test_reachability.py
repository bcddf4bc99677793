"""The search for the largest packet that a path carries: which sizes are tried at once."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cni_harvester.discovery.reachability import plan_sizes

ANSWERED = 84
"""Octets of the packet that is answered before the search begins."""
FAN = 16


def search(path_mtu: int, mtu: int) -> tuple[int, int]:
    """Search as the check does, on a path that carries packets up to a size; return what is found, and the rounds."""
    low, high, rounds = ANSWERED, mtu, 0
    while high - low > 1:
        rounds += 1
        answered = {size for size in plan_sizes(low, high) if size <= path_mtu}
        lost = set(plan_sizes(low, high)) - answered
        assert answered or lost, (low, high)
        low, high = max({low} | answered), min({high} | lost)
    return low, rounds


@given(st.integers(0, 70_000), st.integers(2, 70_000))
def test_sizes_lie_strictly_between_in_order(low: int, distance: int) -> None:
    """Nothing is tried that is known already, and nothing twice."""
    sizes = plan_sizes(low, low + distance)
    assert sizes
    assert sizes == sorted(set(sizes))
    assert low < sizes[0]
    assert sizes[-1] < low + distance


@pytest.mark.parametrize("count", range(1, FAN + 1))
@pytest.mark.parametrize("low", [84, 1490, 8990])
def test_sizes_are_all_when_they_are_few(low: int, count: int) -> None:
    """Then the search ends with this round."""
    assert plan_sizes(low, low + count + 1) == list(range(low + 1, low + count + 1))


@pytest.mark.parametrize("low", [84, 1499, 1500])
def test_sizes_of_neighbours_are_none(low: int) -> None:
    """Between the largest that is answered and the smallest that is not there is nothing to try."""
    assert plan_sizes(low, low + 1) == []


@given(st.integers(84, 65_534), st.integers(84, 65_534))
def test_sizes_are_as_many_as_can_be_sent_at_once(one: int, other: int) -> None:
    """Not more than the fan, and the two usual ones."""
    assert len(plan_sizes(min(one, other), max(one, other) + 1)) <= FAN + 2


@given(st.integers(84, 65_000), st.integers(100, 65_000))
@example(84, 8916)
def test_sizes_are_evenly_spread(low: int, distance: int) -> None:
    """Whichever is the largest that is answered, what is left is a sixteenth or less."""
    marks = [low, *plan_sizes(low, low + distance), low + distance]
    gaps = [after - before for before, after in itertools.pairwise(marks)]
    assert max(gaps) <= -(-distance // FAN)


@given(st.integers(84, 9000), st.integers(84, 9000))
@example(1499, 1502)
@example(1498, 1501)
@example(1500, 1501)
@example(84, 1501)
@example(1499, 9000)
@example(1500, 9000)
def test_sizes_have_the_usual_mtu_and_the_next_one_where_they_can(one: int, other: int) -> None:
    """1500 and 1501 are tried whenever they lie between: answered and not, they end the search at once."""
    low, high = min(one, other), max(one, other)
    if low < high:
        sizes = plan_sizes(low, high)
        assert [size for size in (1500, 1501) if size in sizes] == [size for size in (1500, 1501) if low < size < high]


@given(st.integers(84, 65_535), st.integers(84, 65_535))
@example(84, 9000)
@example(8999, 9000)
@example(1499, 1500)
@example(84, 85)
def test_search_ends_with_the_very_size_that_the_path_carries(one: int, other: int) -> None:
    """Whatever path narrower than the network's own MTU: exactly its size is found, in a few rounds."""
    path_mtu, mtu = min(one, other), max(one, other) + 1
    found, rounds = search(path_mtu, mtu)
    assert found == path_mtu
    assert rounds <= (4 if mtu <= 9001 else 5)


@pytest.mark.parametrize("mtu", [1502, 4000, 9000, 65_535])
def test_search_on_a_path_of_the_usual_mtu_takes_one_round(mtu: int) -> None:
    """1500 is what most narrow paths carry."""
    assert search(1500, mtu) == (1500, 1)


def test_search_finds_every_size_of_a_jumbo_network() -> None:
    """All paths from the least to the one that carries all but the largest."""
    assert [search(path_mtu, 9000)[0] for path_mtu in range(84, 9000, 7)] == list(range(84, 9000, 7))
