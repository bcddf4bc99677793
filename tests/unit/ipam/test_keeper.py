"""The keeper of leases: on real files, with a clock and a network that the test has in its hands."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cni_harvester.errors import KernelRefused, TryAgainLater, UnknownContainer
from cni_harvester.ipam import lease as store
from cni_harvester.ipam.keeper import LeaseEvent, LeaseKeeper
from cni_harvester.ipam.lease import Lease
from cni_harvester.ipam.renewal import LeaseRefusedError
from cni_harvester.kernel.handle import Trace

from .samples import ADDRESS, INFINITE_S, LEASE, OBTAINED_S, OTHER_ADDRESS, make, make_for

pytestmark = pytest.mark.usefixtures("directory")

T1_S, T2_S, END_S = OBTAINED_S + 500, OBTAINED_S + 875, OBTAINED_S + 1000
Answer = Lease | Exception | None


@dataclass
class World:
    """A clock, and a network that answers as the test says; everything that is done is written down.

    Attributes:
        now_s: what time it is.
        extend_answers, replace_answers: what comes of asking, one after the other; the last one stays.
        deeds: what was done, as (what, container id), in order.
        changes: the interface's configurations, as (address before, address after); None is none.
        hold: called while a lease is worked on, before the answer.
    """

    now_s: float = OBTAINED_S
    extend_answers: list[Answer] = field(default_factory=lambda: [None])
    replace_answers: list[Answer] = field(default_factory=lambda: [TryAgainLater("nobody answers")])
    deeds: list[tuple[str, str]] = field(default_factory=list)
    changes: list[tuple[str | None, str | None]] = field(default_factory=list)
    events: list[LeaseEvent] = field(default_factory=list)
    hold: Callable[[Lease], None] = lambda _: None

    def make_keeper(self) -> LeaseKeeper:
        """Make a keeper in this world."""
        return LeaseKeeper(self.events.append, now_s=lambda: self.now_s, work=self)

    def read_log(self) -> list[str]:
        """Return what was reported since the last time, in short."""
        told = [event.what for event in self.events]
        self.events.clear()
        return told

    def _answer(self, answers: list[Answer], deed: str, lease: Lease) -> Lease | None:
        self.deeds.append((deed, lease.attachment.container_id))
        self.hold(lease)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def extend(self, lease: Lease, *, rebind: bool) -> Lease | None:
        """Ask for more time."""
        return self._answer(self.extend_answers, "rebind" if rebind else "renew", lease)

    def replace(self, lease: Lease) -> Lease:
        """Take a new lease."""
        new = self._answer(self.replace_answers, "replace", lease)
        assert new is not None
        return new

    def configure(self, old: Lease, new: Lease, *, trace: Trace) -> None:
        """Bring the interface from one lease to another."""
        self.changes.append((None if old.is_void else str(old.address), str(new.address)))

    def unconfigure(self, lease: Lease, *, trace: Trace) -> None:
        """Take the address from the interface."""
        self.changes.append((str(lease.address), None))

    def release(self, lease: Lease) -> None:
        """Give an address back."""
        self.deeds.append(("release", lease.attachment.container_id))


@pytest.fixture
def world() -> World:
    """A world in which nobody answers, and the lease of `samples` is kept."""
    store.write_lease(LEASE)
    return World()


def read(lease: Lease = LEASE) -> Lease:
    """Return the lease as its file has it now."""
    found = store.find_lease(lease.attachment)
    assert found is not None
    return found


# --- renewal -------------------------------------------------------------------------------------------------------


def test_bound_lease_is_left_alone_until_t1(world: World) -> None:
    """Nothing is done and nothing told; the keeper says how long that will be so."""
    keeper = world.make_keeper()
    assert keeper.run_due() == 500
    world.now_s = T1_S - 0.5
    assert keeper.run_due() == 0.5
    assert (world.deeds, world.events) == ([], [])
    assert read() == LEASE


def test_lease_is_renewed_at_t1(world: World) -> None:
    """The server itself is asked; the new time is kept, and the next renewal is half of it away."""
    keeper, world.now_s = world.make_keeper(), T1_S
    world.extend_answers = [make(obtained_s=T1_S)]
    assert keeper.run_due() == 500
    assert world.deeds == [("renew", "c-1")]
    assert [(event.what, event.address, event.text) for event in world.events] == [
        ("renewed", "192.0.2.77/24", "for 1000 s by 192.0.2.1")
    ]
    assert read() == make(obtained_s=T1_S)


def test_lease_is_rebound_after_t2(world: World) -> None:
    """Any server may give more time then, and is kept as the one to ask next."""
    keeper, world.now_s = world.make_keeper(), T2_S
    other = make(obtained_s=T2_S, server=OTHER_ADDRESS.ip)
    world.extend_answers = [other]
    assert keeper.run_due() == 500
    assert world.deeds == [("rebind", "c-1")]
    assert world.read_log() == ["rebound"]
    assert read() == other


def test_renewal_with_another_address_changes_the_interface(world: World) -> None:
    """A server may give another address, or other routes, at renewal: the interface follows before the file does."""
    keeper, world.now_s = world.make_keeper(), T1_S
    world.extend_answers = [make(obtained_s=T1_S, address=OTHER_ADDRESS)]
    keeper.run_due()
    assert world.changes == [(str(ADDRESS), str(OTHER_ADDRESS))]
    assert read().address == OTHER_ADDRESS


def test_server_that_is_silent_is_asked_again_until_the_lease_is_lost(world: World) -> None:
    """Half of what is left each time: renewing up to T2, rebinding up to the end, then the address is taken away."""
    keeper, world.now_s = world.make_keeper(), T1_S
    asked_at = []
    while not world.changes:
        before = len(world.deeds)
        wait_s = keeper.run_due()
        assert wait_s > 0 or world.changes
        asked_at += [(what, world.now_s - OBTAINED_S) for what, _ in world.deeds[before:]]
        world.now_s += wait_s
    assert asked_at == [
        ("renew", 500),
        ("renew", 687.5),
        ("renew", 781.25),
        ("renew", 841.25),
        ("rebind", 875),
        ("rebind", 937.5),
        ("rebind", 997.5),
        ("replace", 1000),
    ]
    assert world.changes == [(str(ADDRESS), None)]
    told = [(event.what, event.text) for event in world.events]
    assert told[0] == ("failed", "DHCP server 192.0.2.1 does not answer; next try in 188 s")
    assert [what for what, _ in told] == ["failed"] * 7 + ["lost", "failed"]


def test_failure_is_forgotten_after_a_success(world: World) -> None:
    """A renewal that comes late counts in full, and pauses begin anew."""
    keeper, world.now_s = world.make_keeper(), T1_S
    world.extend_answers = [None, make(obtained_s=T1_S + 187.5)]
    world.now_s += keeper.run_due()
    assert keeper.run_due() == 500
    assert world.read_log() == ["failed", "renewed"]


# --- loss ----------------------------------------------------------------------------------------------------------


def test_expired_lease_loses_its_address_once_and_is_asked_for_with_growing_pauses(world: World) -> None:
    """The address is not ours to use any more; what is kept says so, and a new one is asked for, 5 s to 5 min."""
    keeper, world.now_s = world.make_keeper(), END_S
    waits = []
    for _ in range(9):
        waits.append(keeper.run_due())
        assert read().is_void
        world.now_s += waits[-1]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert world.changes == [(str(ADDRESS), None)]
    assert world.deeds == [("replace", "c-1")] * 9
    assert world.read_log() == ["lost"] + ["failed"] * 9


def test_pauses_of_a_lost_lease_do_not_count_failed_renewals(world: World) -> None:
    """However often renewal failed, a machine without an address is helped soon."""
    keeper, world.now_s = world.make_keeper(), T1_S
    while not world.changes:
        world.now_s += (wait_s := keeper.run_due())
    assert wait_s == 5


def test_lost_lease_is_replaced(world: World) -> None:
    """With an address again, the interface gets it, the file has it, and its renewal is planned."""
    keeper, world.now_s = world.make_keeper(), END_S
    world.replace_answers = [TryAgainLater("nobody answers"), make(obtained_s=END_S + 5, address=OTHER_ADDRESS)]
    world.now_s += keeper.run_due()
    assert keeper.run_due() == 500
    assert world.changes == [(str(ADDRESS), None), (None, str(OTHER_ADDRESS))]
    assert world.read_log() == ["lost", "failed", "replaced"]
    assert read() == make(obtained_s=END_S + 5, address=OTHER_ADDRESS)


def test_keeper_that_starts_after_a_loss_goes_on_with_it(world: World) -> None:
    """What was lost before a restart is not taken away again, only asked for."""
    store.write_lease(LEASE.make_void())
    keeper = world.make_keeper()
    world.replace_answers = [make()]
    keeper.run_due()
    assert world.changes == [(None, str(ADDRESS))]
    assert world.read_log() == ["replaced"]


def test_refused_address_is_taken_away_and_replaced_at_once(world: World) -> None:
    """After a NAK the address is not ours, however much time was left (RFC 2131, section 4.4.5)."""
    keeper, world.now_s = world.make_keeper(), T1_S
    world.extend_answers = [LeaseRefusedError("wrong network")]
    world.replace_answers = [make(obtained_s=T1_S, address=OTHER_ADDRESS)]
    assert keeper.run_due() == 500
    assert world.deeds == [("renew", "c-1"), ("replace", "c-1")]
    assert world.changes == [(str(ADDRESS), None), (None, str(OTHER_ADDRESS))]
    assert [(event.what, event.address) for event in world.events] == [
        ("refused", str(ADDRESS)),
        ("lost", str(ADDRESS)),
        ("replaced", str(OTHER_ADDRESS)),
    ]
    assert world.events[0].text == "DHCP server refuses 192.0.2.77/24: wrong network"
    assert read().address == OTHER_ADDRESS


def test_refused_address_that_cannot_be_replaced_is_asked_for_soon(world: World) -> None:
    """The pauses are those of a lost lease, not those of the renewal that was refused, which may be of hours."""
    keeper, world.now_s = world.make_keeper(), T1_S
    world.extend_answers = [LeaseRefusedError("wrong network")]
    assert keeper.run_due() == 5
    world.now_s += 5
    assert keeper.run_due() == 10
    assert world.deeds == [("renew", "c-1"), ("replace", "c-1"), ("replace", "c-1")]
    assert world.read_log() == ["refused", "lost", "failed", "failed"]
    assert read().is_void


def test_lease_that_expires_while_it_is_asked_for_loses_its_address_at_once(world: World) -> None:
    """The last question takes its time, which ends after the lease: no pause is left in which the address is used."""
    keeper, world.now_s = world.make_keeper(), T1_S
    while world.now_s < END_S - 3:
        world.now_s += keeper.run_due()

    def wait_in_vain(_: Lease) -> None:
        world.now_s = END_S + 1

    world.hold = wait_in_vain
    world.read_log()
    assert keeper.run_due() == 0
    assert world.read_log() == ["failed"]
    world.hold = lambda _: None
    assert keeper.run_due() == 5
    assert world.read_log() == ["lost", "failed"]
    assert world.changes == [(str(ADDRESS), None)]


# --- what gets in the way ------------------------------------------------------------------------------------------


def test_container_that_is_gone_is_forgotten_when_its_lease_expires(world: World) -> None:
    """Until then its runtime may still ask for its release; afterwards the file tells nobody anything."""
    keeper, world.now_s = world.make_keeper(), T2_S
    gone = UnknownContainer('cannot open network namespace "/run/netns/pod-1": No such file or directory')
    world.extend_answers = world.replace_answers = [gone]
    assert keeper.run_due() == 62.5
    assert read() == LEASE
    world.now_s = END_S
    assert keeper.run_due() == float("inf")
    assert store.list_leases() == []
    assert world.read_log() == ["failed", "lost", "gone"]


@pytest.mark.parametrize(
    "error", [KernelRefused('cannot send on "eth0": Network is down', errno=100), OSError(28, "No space left")]
)
def test_error_of_one_lease_is_told_and_does_not_stop_the_keeper(world: World, error: Exception) -> None:
    """Whatever happens to one lease, it is tried again, and the others are kept."""
    store.write_lease(make_for("c-2", obtained_s=OBTAINED_S - 100))
    keeper, world.now_s = world.make_keeper(), T1_S - 100
    world.extend_answers = [error, make(obtained_s=T1_S)]
    assert keeper.run_due() == 100
    assert len(world.events) == 1
    assert world.events[0].what == "failed"
    assert str(error) in world.events[0].text
    world.now_s = T1_S
    keeper.run_due()
    assert world.deeds == [("renew", "c-2"), ("renew", "c-1")]


def test_lease_that_is_removed_while_it_is_renewed_is_given_back(world: World) -> None:
    """A DEL that came between has the last word: nothing is kept or told, and the server has the address again."""
    keeper, world.now_s = world.make_keeper(), T1_S
    world.extend_answers = [make(obtained_s=T1_S)]
    world.hold = lambda lease: store.remove_lease(lease.attachment)
    assert keeper.run_due() == float("inf")
    assert world.deeds == [("renew", "c-1"), ("release", "c-1")]
    assert (store.list_leases(), world.events) == ([], [])


def test_lease_that_is_removed_while_it_is_replaced_is_given_back(world: World) -> None:
    """The same for a lost one."""
    store.write_lease(LEASE.make_void())
    keeper = world.make_keeper()
    world.replace_answers = [make(obtained_s=OBTAINED_S)]
    world.hold = lambda lease: store.remove_lease(lease.attachment)
    assert keeper.run_due() == float("inf")
    assert world.deeds == [("replace", "c-1"), ("release", "c-1")]
    assert (store.list_leases(), world.events) == ([], [])


def test_pause_of_a_removed_lease_does_not_hold_its_successor_up(world: World) -> None:
    """An attachment that was deleted, and comes again under the same name, begins anew."""
    keeper, world.now_s = world.make_keeper(), END_S
    for _ in range(8):
        world.now_s += keeper.run_due()
    store.remove_lease(LEASE.attachment)
    assert keeper.run_due() == float("inf")
    store.write_lease(make(obtained_s=world.now_s))
    assert keeper.run_due() == 500


def test_damaged_file_is_told_once_and_the_others_are_kept(world: World, directory: Path) -> None:
    """A file that cannot be read is no reason to let other leases expire, nor to fill the log."""
    damaged = directory / "vethdamaged.json"
    damaged.write_text("{")
    keeper, world.now_s = world.make_keeper(), T1_S
    world.extend_answers = [make(obtained_s=T1_S)]
    assert keeper.run_due() == 500
    keeper.run_due()
    told = [(event.what, event.attachment.container_id) for event in world.events]
    assert sorted(told) == [("failed", "vethdamaged"), ("renewed", "c-1")]
    assert f'cannot read lease "{damaged}": ' in next(e.text for e in world.events if e.what == "failed")
    assert damaged.read_text() == "{"


def test_infinite_lease_is_never_due(world: World) -> None:
    """It needs no renewal, and nobody waits for it."""
    store.remove_lease(LEASE.attachment)
    store.write_lease(make_for("c-9", lease_s=INFINITE_S, t1_s=INFINITE_S // 2, t2_s=INFINITE_S - 1))
    keeper = world.make_keeper()
    for now_s in (OBTAINED_S, OBTAINED_S + INFINITE_S, OBTAINED_S + 3 * INFINITE_S):
        world.now_s = now_s
        assert keeper.run_due() == float("inf")
    assert (world.deeds, world.events) == ([], [])


def test_without_leases_nothing_is_due(directory: Path) -> None:
    """Not even the folder is needed."""
    assert World().make_keeper().run_due() == float("inf")
    assert not directory.exists()


def test_leases_that_are_due_together_are_worked_on_together(world: World) -> None:
    """One whose server is silent costs the others nothing."""
    others = [f"c-{number}" for number in range(2, 42)]
    for container_id in others:
        store.write_lease(make_for(container_id))
    keeper, world.now_s = world.make_keeper(), T1_S
    finished, lock = threading.Event(), threading.Lock()
    left = set(others)
    outcomes = []

    def hold(lease: Lease) -> None:
        with lock:
            left.discard(lease.attachment.container_id)
            if not left:
                finished.set()
        if lease == LEASE:
            outcomes.append(finished.wait(20))

    world.hold = hold
    keeper.run_due()
    assert outcomes == [True]
    assert sorted(world.deeds) == sorted(("renew", container_id) for container_id in ["c-1", *others])


def test_one_slow_lease_does_not_hold_up_what_is_due_later(world: World) -> None:
    """A lost lease asks for ten seconds where no server is; others are renewed meanwhile, and it is not asked twice."""
    store.write_lease(LEASE.make_void())
    store.write_lease(make_for("c-2"))
    keeper, answered = world.make_keeper(), threading.Event()

    def hold(lease: Lease) -> None:
        assert lease.attachment.container_id != "c-1" or answered.wait(20)

    world.hold = hold
    world.extend_answers = [make_for("c-2", obtained_s=T1_S)]
    world.replace_answers = [make(obtained_s=T1_S)]
    assert keeper.run_due() == 500
    world.now_s = T1_S
    assert keeper.run_due() == 500
    assert keeper.run_due() == 500
    assert world.deeds == [("replace", "c-1"), ("renew", "c-2")]
    assert world.read_log() == ["renewed"]
    answered.set()
    while read().is_void:
        keeper.run_due()
    assert keeper.run_due() == 500
    assert world.read_log() == ["replaced"]


def test_new_lease_is_found_without_being_told_of(world: World) -> None:
    """Each look reads the folder anew: attachments come and go."""
    keeper = world.make_keeper()
    assert keeper.run_due() == 500
    store.write_lease(make_for("c-2", t1_s=20, obtained_s=OBTAINED_S))
    assert keeper.run_due() == 20
    store.remove_lease(LEASE.attachment)
    store.remove_lease(make_for("c-2").attachment)
    assert keeper.run_due() == float("inf")
