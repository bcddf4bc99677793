"""Keeping leases: renewed, rebound, replaced, each in its time, as long as somebody calls `run_due`.

A plain object: it starts nothing by itself, and is told what time it is. Whatever is stopped half-way, be it the whole
process, is done again by the next keeper, with the same outcome.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cni_harvester.errors import DecodeFailed, HarvesterError, TryAgainLater, UnknownContainer
from cni_harvester.ipam import lease as store
from cni_harvester.ipam import renewal
from cni_harvester.ipam.lease import Lease
from cni_harvester.ipam.schedule import Retry, Stage, find_change, find_stage, plan_retry
from cni_harvester.kernel.handle import Trace, log_change
from cni_harvester.model.attachment import Attachment

_AT_ONCE = 32
"""Leases that are worked on at the same time."""
_PATIENCE_S = 0.5
"""How long to wait for work that was started; a server that does not answer, for seconds, holds up no other lease."""


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

    def release(self, lease: Lease) -> None:
        """Give an address back that nobody wants any more."""


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
        self._unreadable: set[Path] = set()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lease")
        self._busy: dict[Attachment, Future[None]] = {}

    def run_due(self) -> float:
        """Do what is due for every lease; return the seconds until something is due again, as far as known now.

        What takes its time goes on afterwards.
        """
        leases = self._list_free_leases()
        known = {lease.attachment for lease in leases} | self._busy.keys()
        for attachment in list(self._retries):
            if attachment not in known:
                del self._retries[attachment]
        now_s = self._now_s()
        for lease in leases:
            if self._find_due(lease, now_s) <= now_s:
                self._busy[lease.attachment] = self._pool.submit(self._attend, lease)
        wait(self._busy.values(), _PATIENCE_S)
        leases, now_s = self._list_free_leases(), self._now_s()
        return max(0.0, min((self._find_due(lease, now_s) - now_s for lease in leases), default=float("inf")))

    def _list_free_leases(self) -> list[Lease]:
        """Return the leases that nobody works on, read after that has ended."""
        for attachment, work in list(self._busy.items()):
            if work.done():
                del self._busy[attachment]
                work.result()  # raises what is a bug
        return [lease for lease in store.list_leases(self._report_damaged) if lease.attachment not in self._busy]

    def _report_damaged(self, path: Path, error: DecodeFailed) -> None:
        """Report a damaged file, once."""
        if path not in self._unreadable:
            self._unreadable.add(path)
            self._report(LeaseEvent(Attachment("unknown", path.stem, "unknown"), "failed", "", error.msg))

    def _find_due(self, lease: Lease, now_s: float) -> float:
        """Return when a lease is due: when its state asks for it, or after a pause."""
        if lease.attachment in self._retries:
            return self._retries[lease.attachment].at_s
        return now_s if find_stage(lease, now_s) is not Stage.BOUND else find_change(lease, now_s)

    def _attend(self, lease: Lease) -> None:
        """Do what a lease's state asks for; plan another try when it fails."""
        stage = find_stage(lease, self._now_s())
        try:
            if stage is Stage.LOST or not self._extend(lease, rebind=stage is Stage.REBINDING):
                lease, stage = self._lose(lease), Stage.LOST
                self._replace(lease)
        except UnknownContainer as e:
            if stage is not Stage.LOST:
                self._fail(lease, stage, e.msg)
                return
            store.remove_lease(lease.attachment)
            self._tell(lease, "gone", f"it has expired, and its machine is gone: {e.msg}")
        except HarvesterError as e:
            self._fail(lease, stage, e.msg)
            return
        except OSError as e:  # whatever it is, the other leases must be kept
            self._fail(lease, stage, str(e))
            return
        self._retries.pop(lease.attachment, None)

    def _extend(self, lease: Lease, *, rebind: bool) -> bool:
        """Get more time; False when the server refuses, and the address is not ours any more."""
        try:
            new = self._work.extend(lease, rebind=rebind)
        except renewal.LeaseRefusedError as e:
            self._tell(lease, "refused", f"DHCP server refuses {lease.address}: {e}")
            return False
        if new is None:
            raise TryAgainLater(f"DHCP server {lease.server} does not answer")
        if self._take_over(lease, new):
            self._tell(new, "rebound" if rebind else "renewed", f"for {new.lease_s} s by {new.server}")
        return True

    def _lose(self, lease: Lease) -> Lease:
        """Stop using an address that is not ours any more; return what is left of its lease."""
        if lease.is_void:
            return lease
        self._work.unconfigure(lease, trace=self._trace)
        void = lease.make_void()
        store.replace_lease(void)
        self._retries.pop(lease.attachment, None)  # of renewing; the pauses of a lost lease begin anew
        self._tell(lease, "lost", f"{lease.address} was taken from {lease.attachment.ifname}")
        return void

    def _replace(self, lease: Lease) -> None:
        """Get another address in place of a lost one."""
        new = self._work.replace(lease)
        if self._take_over(lease, new):
            self._tell(new, "replaced", f"{lease.address} by {new.address} of {new.server}")

    def _take_over(self, old: Lease, new: Lease) -> bool:
        """Configure the interface, then keep the lease; give it back, and return False, when a DEL came between."""
        self._work.configure(old, new, trace=self._trace)
        if store.replace_lease(new):
            return True
        self._work.release(new)
        return False

    def _fail(self, lease: Lease, stage: Stage, text: str) -> None:
        """Plan another try; at once when the state has ended meanwhile, for the next one asks for something else."""
        now_s, before = self._now_s(), self._retries.get(lease.attachment)
        retry = plan_retry(lease, now_s, before.failures if before else 0)
        if find_stage(lease, now_s) is not stage:
            retry = Retry(now_s, 0)
        self._retries[lease.attachment] = retry
        self._tell(lease, "failed", f"{text}; next try in {retry.at_s - now_s:.0f} s")

    def _tell(self, lease: Lease, what: str, text: str) -> None:
        self._report(LeaseEvent(lease.attachment, what, str(lease.address), text))
