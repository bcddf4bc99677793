"""A probe leaves nothing behind on the node or in the network, however it ends."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cni_harvester.__main__ import serve_person
from cni_harvester.dhcp.verdict import Reason
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.discover import discover
from cni_harvester.discovery.machine import Place, join_network
from cni_harvester.errors import HarvesterError, NotReady, TryAgainLater
from lab import node
from lab.dhcp import KINDS, DhcpServer, serve_dhcp
from lab.namespaces import Container
from lab.plugin import ROOT, InProcess
from lab.shell import run_ip
from lab.topology import ClusterNetwork
from lab.vm_network import join_vlan, make_plain_network, plug_in

SERVER = "192.0.2.1/24"
PLACE = Place("cn1-br", 100)
FIRST = Wishes(timeout_s=10, first=True)
QUICK = Wishes(timeout_s=0.1, check=False)
_PATIENCE_S = 30
"""How long the rest of a killed probe may take to go: a Python starts, and the kernel clears a namespace away."""

any_kernel = pytest.mark.any_kernel
_changes = logging.getLogger("cni_harvester.kernel.handle")
Snapshot = dict[str, Any]


@pytest.fixture(autouse=True)
def heeded_interrupts() -> Iterator[None]:
    """Ctrl-C is heeded, although a shell that runs the tests in its background has it ignored by all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def bridge(empty_node: None) -> Iterator[str]:
    """A plain bridge, which must be found unchanged after the test."""
    with make_plain_network() as name:
        before = node.take_snapshot() | {"namespaces": []}
        yield name
        assert node.list_differences(before, node.take_snapshot() | {"namespaces": []}) == []


@pytest.fixture
def server(bridge: str, container: Container) -> Iterator[DhcpServer]:
    """A DHCP server on the plain bridge, which is the gateway too."""
    with plug_in(bridge, container, address=SERVER), serve_dhcp(container, "eth0", SERVER) as running:
        yield running


def _wait_until(what: str, is_so: Callable[[], bool], *, poll_s: float = 0.002) -> None:
    give_up_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < give_up_s, f"not {what} after {_PATIENCE_S} s"
        time.sleep(poll_s)


def _wait_until_as_before(before: Snapshot) -> None:
    """Wait until the node is as it was; what still differs is in the error."""
    give_up_s = time.monotonic() + _PATIENCE_S
    while differences := node.list_differences(before, node.take_snapshot()):
        assert time.monotonic() < give_up_s, differences
        time.sleep(0.02)


def _list_children(pid: int) -> list[int]:
    """Return the processes that a process has started and that run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(path.parent.name))
    return found


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


class _StepIn(logging.Handler):
    """Does something right before the n-th change that a process makes; every change is logged before it is made."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[str] = []
        self._number, self._act = number, act
        _changes.setLevel(logging.DEBUG)
        _changes.addHandler(self)

    def close(self) -> None:
        """Count no more."""
        _changes.removeHandler(self)
        _changes.setLevel(logging.NOTSET)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Count a change; step in at ours."""
        self.seen.append(record.getMessage())
        if len(self.seen) == self._number:
            self._act()


def _fork(work: Callable[[], int]) -> int:
    """Run something in a process of its own; return its PID."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = work()
        except SystemExit as e:
            status = int(e.code or 0)
        finally:
            os._exit(status)
    return child


def _wait_for(child: int) -> int:
    """Wait for the end of a process; return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_signalled(number: int, kind: int, words: list[str]) -> int:
    """Be a command line that sends itself a signal right before its n-th change."""
    _StepIn(number, lambda: os.kill(os.getpid(), kind))
    return serve_person(words)


def _start_program(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cni_harvester", "discover", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _has_machine(beside: int = 0) -> bool:
    """Whether a probe's host end is on the node, beside those of so many other machines."""
    return sum(path.name.startswith("veth") for path in Path("/sys/class/net").iterdir()) > beside


def _probe_for_long(place: Place) -> int:
    discover(place, Wishes(timeout_s=60))
    return 0


# --- the ends that a probe can choose ---------------------------------------------------------------------------


@any_kernel
@pytest.mark.parametrize("kind", KINDS)
def test_discovery_takes_no_lease(bridge: str, container: Container, kind: str) -> None:
    """The server has heard the probe, its lease file stays empty, and so does the node."""
    with plug_in(bridge, container, address=SERVER), serve_dhcp(container, "eth0", SERVER, kind=kind) as server:
        before = node.take_snapshot()
        found = discover(Place(bridge, 0), FIRST)
        assert node.list_differences(before, node.take_snapshot()) == []
        assert (found.is_valid, found.connectivity) == (True, "true")
        assert len(server.list_clients()) == 1
        assert (server.read_leases(), server.list_leases()) == ({}, {})


@any_kernel
def test_every_probe_of_a_network_has_the_same_mac(bridge: str, container: Container) -> None:
    """So a server with one free address has it still after many probes, and offers it each time."""
    only = ("192.0.2.100", "192.0.2.100")
    with plug_in(bridge, container, address=SERVER), serve_dhcp(container, "eth0", SERVER, addresses=only) as server:
        wishes = Wishes(timeout_s=10, first=True, check=False)
        offers = [discover(Place(bridge, 0), wishes).offers[0] for _ in range(3)]
        assert {str(offer.address) for offer in offers} == {"192.0.2.100"}
        assert len(server.list_clients()) == 1


@any_kernel
def test_discovery_without_an_answer_leaves_the_node_as_it_was(bridge: str) -> None:
    """A network where nobody answers costs the time-out, and nothing else."""
    before = node.take_snapshot()
    found = discover(Place(bridge, 0), Wishes(timeout_s=0.3))
    assert found.verdict is not None
    assert found.verdict.reason is Reason.SILENCE
    assert node.list_differences(before, node.take_snapshot()) == []


@any_kernel
def test_failure_inside_of_a_probe_leaves_the_node_as_it_was(bridge: str) -> None:
    """Whatever goes wrong while the machine is there, it goes."""
    before = node.take_snapshot()
    with pytest.raises(ZeroDivisionError), join_network(Place(bridge, 0)):
        assert _has_machine()
        raise ZeroDivisionError
    assert node.list_differences(before, node.take_snapshot()) == []


@any_kernel
def test_bridge_that_goes_away_during_a_probe_is_no_crash(empty_node: None) -> None:
    """The probe ends with an answer or an error of ours, and leaves nothing."""
    before = node.take_snapshot()
    with make_plain_network(), ThreadPoolExecutor(1) as pool:
        probing = pool.submit(discover, Place("vm-br", 0), Wishes(timeout_s=1))
        _wait_until("attached", _has_machine)
        time.sleep(0.2)
        run_ip("link set vm-br down")
        with contextlib.suppress(HarvesterError):
            found = probing.result()
            assert found.connectivity == "DHCP failed"
    assert node.list_differences(before, node.take_snapshot()) == []


@any_kernel
def test_probe_of_a_bridge_that_is_down_is_refused(bridge: str) -> None:
    """It is named, with what to do; a probe sets nothing up by itself."""
    run_ip(f"link set {bridge} down")
    before = node.take_snapshot()
    with pytest.raises(NotReady, match=bridge) as caught:
        discover(Place(bridge, 0), QUICK)
    assert bridge in caught.value.details
    assert node.list_differences(before, node.take_snapshot()) == []
    run_ip(f"link set {bridge} up")


@any_kernel
def test_probe_of_a_bridge_that_is_missing_is_refused(empty_node: None) -> None:
    """With the code of an ADD there, and none is made."""
    with pytest.raises(HarvesterError, match="none-br") as caught:
        discover(Place("none-br", 100), QUICK)
    assert caught.value.code == 100
    assert node.list_links()[1:] == []


@any_kernel
def test_probe_of_a_vlan_on_a_bridge_without_filtering_is_refused(bridge: str) -> None:
    """All its machines are in one network; an answer would be anybody's."""
    with pytest.raises(HarvesterError, match=bridge) as caught:
        discover(Place(bridge, 100), QUICK)
    assert caught.value.code in {102, 105}  # 105: the kernel knows no other bridges


# --- two at once ------------------------------------------------------------------------------------------------


@any_kernel
def test_two_probes_of_one_network_at_once_both_succeed(bridge: str, server: DhcpServer) -> None:
    """One waits for the other: two machines with one MAC would take each other's answers."""
    before = node.take_snapshot()
    most = 0
    with ThreadPoolExecutor(2) as pool:
        probes = [pool.submit(discover, Place(bridge, 0), FIRST) for _ in range(2)]
        while not all(probe.done() for probe in probes):
            most = max(most, len(node.list_attachments()))
        found = [probe.result() for probe in probes]
    assert [(f.is_valid, f.connectivity) for f in found] == [(True, "true")] * 2
    assert most == 1
    assert node.list_differences(before, node.take_snapshot()) == []


@any_kernel
def test_probe_of_a_network_that_stays_busy_gives_up(bridge: str) -> None:
    """With the code that asks for another try, and without any change."""
    with join_network(Place(bridge, 0)):
        during = node.take_snapshot()
        patience = join_network(Place(bridge, 0), busy_timeout_s=0.3)
        with pytest.raises(TryAgainLater, match=bridge) as caught, patience:
            pytest.fail("the block must not begin")
        assert caught.value.code == 11
        assert node.list_differences(during, node.take_snapshot()) == []


# --- the ends that others choose for it -------------------------------------------------------------------------


def _list_changes(place: Place) -> list[str]:
    """Return the changes that a probe makes."""
    with contextlib.closing(_StepIn(0, lambda: None)) as step_in:
        discover(place, QUICK)
    return step_in.seen


@any_kernel
@pytest.mark.parametrize(("kind", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_probe_that_is_stopped_at_each_step_leaves_the_node_as_it_was(
    bridge: str, kind: signal.Signals, status: int
) -> None:
    """By Ctrl-C or SIGTERM right before any change that it makes, those of its own clearing up among them."""
    words = ["discover", "--bridge", bridge, "--untagged", "--timeout", "0.1", "--no-checks"]
    before = node.take_snapshot()
    changes = _list_changes(Place(bridge, 0))
    assert len(changes) > 5
    for number, change in enumerate(changes, 1):
        child = _fork(partial(_be_signalled, number, kind, words))
        assert _wait_for(child) == status, change
        _wait_until_as_before(before)


@any_kernel
@pytest.mark.parametrize(("kind", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_program_that_is_stopped_while_it_listens_leaves_the_node_as_it_was(
    bridge: str, kind: signal.Signals, status: int
) -> None:
    """It ends at once, with the exit status of that signal, and takes its machine along."""
    before = node.take_snapshot()
    with _start_program("--bridge", bridge, "--untagged", "--timeout", "60") as program:
        _wait_until("attached", _has_machine)
        time.sleep(0.3)
        guards = _list_children(program.pid)
        program.send_signal(kind)
        stdout, stderr = program.communicate(timeout=_PATIENCE_S)
    assert (program.returncode, stdout) == (status, "")
    assert "Traceback" not in stderr
    assert node.list_differences(before, node.take_snapshot()) == []
    assert len(guards) == 1
    assert all(map(_has_ended, guards))


def _be_killed(number: int, place: Place) -> int:
    """Probe, and be killed right before the n-th change."""
    _StepIn(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
    discover(place, QUICK)
    return 0


@any_kernel
def test_probe_that_is_killed_at_each_step_leaves_the_node_as_it_was(bridge: str) -> None:
    """Shortly after a SIGKILL right before any change, machine and guard are gone."""
    before = node.take_snapshot()
    for number, change in enumerate(_list_changes(Place(bridge, 0)), 1):
        child = _fork(partial(_be_killed, number, Place(bridge, 0)))
        assert _wait_for(child) == -signal.SIGKILL, change
        _wait_until_as_before(before)


def _kill_and_see(place: Place, after_s: float, *, with_guard: bool) -> None:
    """Kill a probe, some time after its machine came up, and wait until all its processes have ended."""
    others = len(node.list_attachments())
    child = _fork(partial(_probe_for_long, place))
    _wait_until("attached", partial(_has_machine, others))
    time.sleep(after_s)
    guards = _list_children(child)
    assert len(guards) == 1
    for victim in (guards if with_guard else []) + [child]:
        os.kill(victim, signal.SIGKILL)
    assert _wait_for(child) == -signal.SIGKILL
    _wait_until("ended", lambda: all(map(_has_ended, guards)))


@any_kernel
@pytest.mark.parametrize("after_s", [0, 0.01, 0.05, 0.5])
def test_probe_that_is_killed_while_it_listens_leaves_the_node_as_it_was(bridge: str, after_s: float) -> None:
    """Its guard ends too, having taken away what was there."""
    before = node.take_snapshot()
    _kill_and_see(Place(bridge, 0), after_s, with_guard=False)
    _wait_until_as_before(before)


@any_kernel
def test_machine_of_a_probe_that_is_killed_with_its_guard_is_gone_all_the_same(bridge: str) -> None:
    """Nobody is left to take it away but the kernel, which does so with the last descriptor of its namespace."""
    before = node.take_snapshot()
    _kill_and_see(Place(bridge, 0), 0.3, with_guard=True)
    _wait_until_as_before(before)


@any_kernel
def test_probe_after_one_that_was_killed_succeeds_at_once(bridge: str, server: DhcpServer) -> None:
    """The dead one's claim on the network is void, and its guard does not touch the next one's machine."""
    child = _fork(partial(_probe_for_long, Place(bridge, 0)))
    _wait_until("attached", _has_machine)
    os.kill(child, signal.SIGKILL)
    assert _wait_for(child) == -signal.SIGKILL
    found = discover(Place(bridge, 0), FIRST)
    assert (found.is_valid, found.connectivity) == (True, "true")
    _wait_until("gone", lambda: not node.list_attachments())


# --- with VLANs on an uplink ------------------------------------------------------------------------------------


def test_probe_of_a_vlan_that_is_killed_at_each_step_leaves_the_node_as_it_was(cluster: ClusterNetwork) -> None:
    """The VLAN is off the uplink again, and so is our record of it."""
    before = node.take_snapshot()
    changes = _list_changes(PLACE)
    assert [cluster.uplink in change for change in changes].count(True) >= 4
    for number, change in enumerate(changes, 1):
        child = _fork(partial(_be_killed, number, PLACE))
        assert _wait_for(child) == -signal.SIGKILL, change
        _wait_until_as_before(before)


def test_probe_of_a_vlan_that_is_stopped_at_the_uplink_leaves_the_node_as_it_was(cluster: ClusterNetwork) -> None:
    """By SIGTERM right before each change of the uplink; the other steps are those of a plain network."""
    words = ["discover", "--bridge", cluster.bridge, "--vlan", str(PLACE.vlan), "--timeout", "0.1", "--no-checks"]
    before = node.take_snapshot()
    steps = [step for step in enumerate(_list_changes(PLACE), 1) if cluster.uplink in step[1]]
    assert len(steps) >= 4
    for number, change in steps:
        child = _fork(partial(_be_signalled, number, signal.SIGTERM, words))
        assert _wait_for(child) == 128 + signal.SIGTERM, change
        _wait_until_as_before(before)


def _kill_with_guard(cluster: ClusterNetwork, before: Snapshot) -> None:
    """Kill a probe and its guard, and see that the machine is gone, and nothing is left but its VLAN on the uplink."""
    others = len(node.list_attachments())
    _kill_and_see(PLACE, 0.2, with_guard=True)
    _wait_until("gone", lambda: not _has_machine(others))
    assert PLACE.vlan in node.list_vlans()[cluster.uplink]
    left = node.list_differences(before, node.take_snapshot())
    assert [line for line in left if cluster.uplink not in line] == []


def test_vlan_of_a_probe_that_was_killed_with_its_guard_goes_with_the_next_one(cluster: ClusterNetwork) -> None:
    """A probe of any network of that bridge takes it off the uplink."""
    before = node.take_snapshot()
    _kill_with_guard(cluster, before)
    discover(Place(cluster.bridge, PLACE.vlan + 1), QUICK)
    assert node.list_differences(before, node.take_snapshot()) == []


def test_vlan_of_a_probe_that_was_killed_with_its_guard_goes_with_the_next_delete(
    cluster: ClusterNetwork, container: Container, plugin: InProcess
) -> None:
    """Where nobody probes, a machine that leaves the bridge does the same."""
    config = {"cniVersion": "1.1.0", "name": "vms", "type": "cni-harvester", "bridge": cluster.bridge, "vlan": 200}
    before = node.take_snapshot()
    plugin.add(config, container)
    _kill_with_guard(cluster, node.take_snapshot())
    plugin.delete(config, container)
    assert node.list_differences(before, node.take_snapshot()) == []


def test_probes_of_different_vlans_at_once_do_not_disturb_each_other(cluster: ClusterNetwork) -> None:
    """Each finds its own network's route, and the last one leaves nothing on the uplink."""
    before = node.take_snapshot()
    one, two = "192.0.2.1/24", "198.51.100.1/24"
    first, second = (join_vlan(cluster, vlan, address=own) for vlan, own in ((100, one), (200, two)))
    with (
        serve_dhcp(cluster.switch, first, one),
        serve_dhcp(cluster.switch, second, two),
        ThreadPoolExecutor(2) as pool,
    ):
        probes = [pool.submit(discover, Place(cluster.bridge, vlan), FIRST) for vlan in (100, 200)]
        found = [probe.result() for probe in probes]
    assert [str(f.gateway) for f in found] == ["192.0.2.1", "198.51.100.1"]
    assert [f.connectivity for f in found] == ["true", "true"]
    assert node.list_differences(before, node.take_snapshot()) == []


def test_probe_leaves_a_vlan_that_a_machine_uses_on_the_uplink(
    cluster: ClusterNetwork, container: Container, plugin: InProcess
) -> None:
    """What was there before a probe, or came during it, is not the probe's to take."""
    config = {"cniVersion": "1.1.0", "name": "vms", "type": "cni-harvester", "bridge": cluster.bridge, "vlan": 100}
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(discover, PLACE, Wishes(timeout_s=1.5, check=False))
        _wait_until("attached", _has_machine)
        plugin.add(config, container)
        probing.result()
    assert PLACE.vlan in node.list_vlans()[cluster.uplink]
    assert len(node.list_attachments()) == 1
    plugin.delete(config, container)


def test_probe_on_a_cluster_network_that_is_down_is_refused(cluster: ClusterNetwork) -> None:
    """Nothing is put on the uplink, and the bridge stays down."""
    run_ip(f"link set {cluster.bridge} down")
    before = node.take_snapshot()
    with pytest.raises(NotReady, match=cluster.bridge):
        discover(PLACE, QUICK)
    assert node.list_differences(before, node.take_snapshot()) == []
    run_ip(f"link set {cluster.bridge} up")
