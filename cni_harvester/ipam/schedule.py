"""When something is to be done about a lease. Pure; RFC 2131, section 4.4.5."""

from dataclasses import dataclass
from enum import Enum

from cni_harvester.ipam.lease import Lease

_SHORTEST_RETRY_S = 60.0
_RETRY_SHARE = 10
"""Leases of minutes are retried more often than RFC 2131's 60 s: a tenth of the lease."""
_LOST_RETRY_S, _LOST_RETRY_MAX_S = 5.0, 300.0


class Stage(Enum):
    """The states of a lease; LOST has none any more, and asks for a new one."""

    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"
    LOST = "lost"


def find_stage(lease: Lease, now_s: float) -> Stage:
    """Return the state of a lease at a time."""
    age_s = now_s - lease.obtained_s
    if now_s >= lease.expires_s:
        return Stage.LOST
    if lease.expires_s == float("inf") or age_s < lease.t1_s:
        return Stage.BOUND
    return Stage.RENEWING if age_s < lease.t2_s else Stage.REBINDING


def find_change(lease: Lease, now_s: float) -> float:
    """Return when the state of a lease changes next by itself; never for an infinite one."""
    if lease.expires_s == float("inf"):
        return lease.expires_s
    times = (lease.obtained_s + lease.t1_s, lease.obtained_s + lease.t2_s, lease.expires_s)
    return next((at_s for at_s in times if at_s > now_s), float("inf"))


@dataclass(frozen=True)
class Retry:
    """When to try again after a failure, and how many there were in a row."""

    at_s: float
    failures: int


def plan_retry(lease: Lease, now_s: float, failures: int) -> Retry:
    """Say when to try again: after half of what is left of the state, and not too soon; at its end at the latest.

    A lost lease is asked for with growing pauses, 5 s to 5 minutes.
    """
    if find_stage(lease, now_s) is Stage.LOST:
        wait_s = min(_LOST_RETRY_S * 2 ** min(failures, 10), _LOST_RETRY_MAX_S)
        return Retry(now_s + wait_s, failures + 1)
    shortest_s = min(_SHORTEST_RETRY_S, lease.lease_s / _RETRY_SHARE)
    end_s = find_change(lease, now_s)
    return Retry(min(end_s, now_s + max((end_s - now_s) / 2, shortest_s)), failures + 1)
