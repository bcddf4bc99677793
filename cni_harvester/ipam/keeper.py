"""Keeping leases: renewed, rebound, replaced, each in its time, as long as somebody calls `run_due`.

A plain object: it starts nothing by itself, and is told what time it is.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from cni_harvester.errors import DecodeFailed, HarvesterError, UnknownContainer
from cni_harvester.ipam import lease as store
from cni_harvester.ipam import renewal
from cni_harvester.ipam.lease import Lease
from cni_harvester.ipam.schedule import Retry, Stage, find_change, find_stage, plan_retry
from cni_harvester.kernel.handle import Trace, log_change
from cni_harvester.model.attachment import Attachment

_AT_ONCE = 32
"""Leases that are worked on at the same time; a server that does not answer holds up no others."""


@dataclass(frozen=True)
class LeaseEvent:
    """Something that happened to a lease: `what` is renewed, rebound, replaced, lost, failed, refused or gone."""

    attachment: Attachment
    what: str
    address: str
    text: str


class Work(Protocol):
    """What is done to leases, on the network and on their interfaces (`renewal`)."""

    def extend(self, lease: Lease, *, rebind: bool) -> Lease | None:
        """Ask for more time."""

    def replace(self, lease: Lease) -> Lease:
        """Take a new lease."""

    def configure(self, old: Lease, new: Lease, *, trace: Trace) -> None:
        """Bring the interface from one lease to another."""

    def unconfigure(self, lease: Lease, *, trace: Trace) -> None:
        """Take the address from the interface."""


class LeaseKeeper:
    """Keeps all leases of this node.

    Args:
        report: told of everything that happens; may be called from several threads.
        now_s: the clock of the leases.
        trace: told of every change of an interface before it is made.
    """

    def __init__(
        self,
        report: Callable[[LeaseEvent], None],
        *,
        now_s: Callable[[], float] = store.now_s,
        trace: Trace = log_change,
        work: Work = renewal,
    ) -> None:
        self._report = report
        self._now_s = now_s
        self._trace = trace
        self._work = work
        self._retries: dict[Attachment, Retry] = {}
        self._unreadable: set[str] = set()

    def run_due(self) -> float:
        """Do what is due for every lease; return the seconds until something is due again, as far as known now."""
        leases = self._list_leases()
        known = {lease.attachment for lease in leases}
        self._retries = {attachment: retry for attachment, retry in self._retries.items() if attachment in known}
        due = [lease for lease in leases if self._find_due(lease) <= self._now_s()]
        if due:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._attend, due))
        now_s = self._now_s()
        return max(0.0, min((self._find_due(lease) - now_s for lease in self._list_leases()), default=float("inf")))

    def _list_leases(self) -> list[Lease]:
        """Return the leases that can be read; report a damaged file once."""
        found = []
        for path in sorted(store.DIRECTORY.glob("*.json")):
            try:
                lease = store.read_lease(path)
            except DecodeFailed as e:
                if str(path) not in self._unreadable:
                    self._unreadable.add(str(path))
                    self._report(LeaseEvent(Attachment("unknown", path.stem, "unknown"), "failed", "", e.msg))
                continue
            if lease:
                found.append(lease)
        return found

    def _find_due(self, lease: Lease) -> float:
        """Return when a lease is due: when its state asks for it, or after a pause."""
        now_s = self._now_s()
        if lease.attachment in self._retries:
            return self._retries[lease.attachment].at_s
        return now_s if find_stage(lease, now_s) is not Stage.BOUND else find_change(lease, now_s)

    def _attend(self, lease: Lease) -> None:
        """Do what a lease's state asks for; plan another try when it fails."""
        stage = find_stage(lease, self._now_s())
        try:
            new = self._replace(lease) if stage is Stage.LOST else self._extend(lease, stage)
        except UnknownContainer as e:
            if stage is not Stage.LOST:
                self._fail(lease, e.msg)
                return
            store.remove_lease(lease.attachment)
            self._tell(lease, "gone", f"it has expired, and its machine is gone: {e.msg}")
        except HarvesterError as e:
            self._fail(lease, e.msg)
            return
        else:
            if new is None:
                self._fail(lease, f"DHCP server {lease.server} does not answer")
                return
        self._retries.pop(lease.attachment, None)

    def _extend(self, lease: Lease, stage: Stage) -> Lease | None:
        rebind = stage is Stage.REBINDING
        try:
            new = self._work.extend(lease, rebind=rebind)
        except renewal.LeaseRefusedError as e:
            self._tell(lease, "refused", f"DHCP server refuses {lease.address}: {e}")
            return self._replace(lease)
        if new is not None:
            self._take_over(lease, new)
            self._tell(new, "rebound" if rebind else "renewed", f"for {new.lease_s} s by {new.server}")
        return new

    def _replace(self, lease: Lease) -> Lease:
        """Stop using an address that is not ours any more, and get another one."""
        if not lease.is_void:
            self._work.unconfigure(lease, trace=self._trace)
            store.replace_lease(lease.make_void())
            self._tell(lease, "lost", f"{lease.address} was taken from {lease.attachment.ifname}")
        new = self._work.replace(lease)
        self._take_over(lease.make_void(), new)
        self._tell(new, "replaced", f"{lease.address} by {new.address} of {new.server}")
        return new

    def _take_over(self, old: Lease, new: Lease) -> None:
        """Configure the interface, then keep the lease."""
        self._work.configure(old, new, trace=self._trace)
        store.replace_lease(new)

    def _fail(self, lease: Lease, text: str) -> None:
        before = self._retries.get(lease.attachment)
        retry = plan_retry(lease, self._now_s(), before.failures if before else 0)
        self._retries[lease.attachment] = retry
        self._tell(lease, "failed", f"{text}; next try in {retry.at_s - self._now_s():.0f} s")

    def _tell(self, lease: Lease, what: str, text: str) -> None:
        self._report(LeaseEvent(lease.attachment, what, str(lease.address), text))
