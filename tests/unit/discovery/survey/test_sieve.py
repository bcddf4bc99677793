"""The sieve's rule, and the form of its program; tests/kernel/test_survey.py runs it on real traffic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.discovery.survey.sieve import Sieve, make_program, tighten

_JUMP, _RETURN = 0x05, 0x06
_BPF_MAXINSNS = 4096  # linux/bpf_common.h

vlans = st.frozensets(st.integers(0, 4094), max_size=200)


def test_calm_uplink_is_heard_in_full() -> None:
    """2000 frames a second are not too many."""
    assert tighten(Sieve(), {100: 500}, 0.25) == Sieve()


def test_busy_vlan_is_sampled_and_others_are_not() -> None:
    """Of the VLANs that were heard about 1000 frames a second are left; all others pass."""
    assert tighten(Sieve(), {0: 4990, 100: 10}, 0.25) == Sieve(frozenset({0, 100}), 20)


def test_more_traffic_makes_it_tighter() -> None:
    """What passes a sieve stands for so much more on the wire; a VLAN that was not known counts as it is."""
    before = Sieve(frozenset({100}), 20)
    assert tighten(before, {100: 1000, 200: 5000}, 0.25) == Sieve(frozenset({100, 200}), 100)


@given(vlans, st.integers(1, 10**6), st.dictionaries(st.integers(0, 4094), st.integers(1, 10**5)), st.floats(0.25, 60))
def test_sieve_never_gets_wider(known: frozenset[int], one_in: int, heard: dict[int, int], seconds: float) -> None:
    """It keeps what it knows; and what passed it before would have been few enough."""
    before = Sieve(known, one_in)
    after = tighten(before, heard, seconds)
    assert after.known >= before.known
    assert after.one_in >= before.one_in
    if after != before:
        assert heard.keys() <= after.known


@pytest.mark.parametrize(
    "sieve",
    [Sieve(), Sieve(frozenset({1}), 2), Sieve(frozenset(range(4095)), 1000), Sieve(frozenset(range(0, 4095, 32)), 9)],
)
def test_program_keeps_the_kernels_rules(sieve: Sieve) -> None:
    """Every jump lands within it, and so does its end (Documentation/networking/filter.rst)."""
    _check(sieve)


@given(vlans, st.integers(1, 2**31))
def test_any_program_keeps_the_kernels_rules(known: frozenset[int], one_in: int) -> None:
    """Whatever is known."""
    _check(Sieve(known, one_in))


def _check(sieve: Sieve) -> None:
    program = make_program(sieve)
    assert len(program) <= _BPF_MAXINSNS
    for at, (code, if_true, if_false, operand) in enumerate(program, start=1):
        assert 0 <= if_true <= 255
        assert 0 <= if_false <= 255
        assert 0 <= operand <= 0xFFFFFFFF
        farthest = operand if code == _JUMP else max(if_true, if_false)
        assert at + farthest < len(program) or code == _RETURN
    assert program[-1][0] == _RETURN
