"""Watching networks: a failed discovery is tried again, a route that was found is checked again, changes are told.

A plain object: it starts nothing by itself, and is told what time it is and which links have changed.
"""

import random
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.discover import check_route, discover
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.report import Discovery
from cni_harvester.errors import HarvesterError
from cni_harvester.model.names import find_uplink_name
from cni_harvester.model.route import AUTO, REACHABLE, Route

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 900.0
RECHECK_S = 60.0
_JITTER = 0.2
"""Share by which a pause differs at random, so that all nodes do not ask at the same moment."""
_SETTLE_S = 1.0
"""After a link event: ports come up one after another."""
_AT_ONCE = 8
"""Networks that are probed at the same time."""


@dataclass(frozen=True)
class Target:
    """A network to watch: its name for people, where it is, and its route if a person has set that (mode manual)."""

    name: str
    place: Place
    manual: Route | None = None

    @property
    def link_names(self) -> frozenset[str]:
        """The interfaces whose changes concern it: the bridge and its uplink."""
        return frozenset({self.place.bridge, find_uplink_name(self.place.bridge) or self.place.bridge})


@dataclass(frozen=True)
class Change:
    """What is told of a network: its latest discovery or check, or why none could be made."""

    target: Target
    found: Discovery | None
    error: str = ""


@dataclass
class _State:
    """What is known of a network.

    Attributes:
        next_s: when it is due.
        failures: how many times in a row nothing valid was found.
        route: what the latest discovery found, and the checks are about.
        told: what was last told, in short.
        latest: the latest discovery.
    """

    next_s: float
    failures: int = 0
    route: Route | None = None
    told: object = None
    latest: Change | None = field(default=None)


class Watch:
    """Watches a set of networks.

    Args:
        targets: the networks.
        report: told of every change, never twice of the same; may be called from several threads.
        wishes: how to discover.
        now_s: the clock, seconds.
        jitter: random.uniform, or what stands in for it.
        run: makes the discovery, or the check of a route; `probe` in real life.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        report: Callable[[Change], None],
        *,
        wishes: Wishes,
        now_s: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
        run: Callable[[Target, Route | None, Wishes], Discovery] | None = None,
    ) -> None:
        self._report = report
        self._wishes = wishes
        self._now_s = now_s
        self._jitter = jitter
        self._run = run or probe
        self._states = {target: _State(now_s(), route=target.manual) for target in targets}

    @property
    def link_names(self) -> frozenset[str]:
        """All interfaces whose changes are of interest."""
        return frozenset().union(*(target.link_names for target in self._states))

    @property
    def latest(self) -> list[Change]:
        """What is known of each network now; of those that were not looked at yet nothing."""
        return [state.latest for state in self._states.values() if state.latest]

    def note_link_change(self, names: Collection[str]) -> None:
        """Have the networks of these interfaces looked at again at once."""
        for target, state in self._states.items():
            if not target.link_names.isdisjoint(names):
                state.next_s = min(state.next_s, self._now_s() + _SETTLE_S)
                state.failures = 0

    def run_due(self) -> float:
        """Look at every network that is due; return the seconds until the next one is."""
        now_s = self._now_s()
        due = [target for target, state in self._states.items() if state.next_s <= now_s]
        if due:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._look, due))
        return max(0.0, min((state.next_s for state in self._states.values()), default=now_s) - self._now_s())

    def _look(self, target: Target) -> None:
        state = self._states[target]
        try:
            change = Change(target, self._run(target, state.route, self._wishes))
        except (HarvesterError, OSError) as e:  # whatever it is, the other networks must be watched
            change = Change(target, None, str(e))
        self._plan_next(target, state, change.found)
        state.latest = change
        short = summarize(change)
        if short != state.told:
            state.told = short
            self._report(change)

    def _plan_next(self, target: Target, state: _State, found: Discovery | None) -> None:
        """Plan the next look: a check of what was found, or another discovery after a growing pause."""
        if found and found.connectivity == REACHABLE:
            state.failures = 0
            state.route = target.manual or Route(mode=AUTO, cidr=found.cidr, gateway=found.gateway)
            state.next_s = self._now_s() + RECHECK_S
            return
        state.route = target.manual
        pause_s = min(FIRST_RETRY_S * 2 ** min(state.failures, 16), LONGEST_RETRY_S)
        if target.manual:
            pause_s = min(pause_s, RECHECK_S)
        state.failures += 1
        state.next_s = self._now_s() + pause_s * self._jitter(1 - _JITTER, 1 + _JITTER)


def probe(target: Target, route: Route | None, wishes: Wishes) -> Discovery:
    """Check a network's route if there is one, else discover it.

    Raises:
        HarvesterError: the machine of the probe could not be attached.
    """
    return check_route(target.place, route, wishes) if route else discover(target.place, wishes)


def summarize(change: Change) -> object:
    """Return what makes a change one: times and offered addresses differ each time, and tell nobody anything.

    A check of a route that was found by DHCP has no verdict, and is no change beside the discovery that found it.
    """
    found = change.found
    if found is None:
        return change.error
    reason = found.verdict.reason.value if found.verdict and not found.is_valid else ""
    return found.cidr, found.gateway, found.connectivity, reason
