"""Every step of every verb failed once, and killed once, in turn: the node must be as before.

The trace that announces each change before it is made is where a test steps in: it raises, or ends the process.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from cni_harvester.errors import KernelRefused
from lab import node
from lab.namespaces import Container
from lab.plugin import InProcess
from lab.shell import run_ip
from lab.topology import ClusterNetwork

_VLAN = {"cniVersion": "1.1.0", "name": "net", "type": "cni-harvester", "bridge": "cn1-br", "vlan": 100}
_STATIC = {"type": "static", "addresses": [{"address": "192.0.2.5/24"}, {"address": "2001:db8::5/64"}]}
_CREATED = {"bridge": "island-br", "createBridge": True}

SCENARIOS: dict[str, dict[str, Any]] = {
    "vlan": _VLAN,
    "trunk": _VLAN | {"vlanTrunk": [{"minID": 200, "maxID": 300}], "portIsolation": True, "mtu": 1400},
    "guarded": _VLAN | {"macspoofchk": True},
    "addressed": _VLAN | {"cniVersion": "1.0.0", "ipam": _STATIC | {"routes": [{"dst": "198.51.100.0/24"}]}},
    "created": _VLAN | _CREATED,
    "untagged": {key: value for key, value in _VLAN.items() if key != "vlan"} | {"hairpinMode": True},
}
ALL = pytest.mark.parametrize("config", SCENARIOS.values(), ids=SCENARIOS.keys())


class StepIn:
    """A trace that does something when the n-th change is about to be made, once."""

    def __init__(self, number: int, act: Callable[[str], None]) -> None:
        self.seen: list[str] = []
        self._number, self._act = number, act

    def __call__(self, command: str) -> None:
        """Count a change; step in at ours."""
        self.seen.append(command)
        if len(self.seen) == self._number:
            self._act(command)


def _refuse(command: str) -> None:
    raise KernelRefused(f"injected instead of: {command}", errno=5)


def _count_steps(config: dict[str, Any], container: Container) -> int:
    """Run an ADD and a DEL to see how many changes the ADD makes."""
    trace = StepIn(0, _refuse)
    InProcess(trace).add(config, container)
    steps = len(trace.seen)
    InProcess().delete(config, container)
    return steps


@ALL
def test_add_with_each_step_failed_leaves_the_node_as_it_was(
    config: dict[str, Any], cluster: ClusterNetwork, container: Container
) -> None:
    """Whichever change the kernel refuses, the failed ADD has undone the ones before it by itself."""
    before, inside = node.take_snapshot(), container.ip("link show")
    steps = _count_steps(config, container)
    assert steps >= 3
    for number in range(1, steps + 1):
        trace = StepIn(number, _refuse)
        reply = InProcess(trace).call("ADD", config, container)
        assert reply.code in {101, 106}, (number, reply)  # 101: the uplink, which says more
        assert node.list_differences(before, node.take_snapshot()) == [], trace.seen
        assert container.ip("link show") == inside, trace.seen


def _run_and_be_killed(config: dict[str, Any], container: Container, number: int) -> None:
    """Run an ADD in a process of its own that is ended by SIGKILL right before its n-th change."""
    child = os.fork()
    if child == 0:
        InProcess(StepIn(number, lambda _: os.kill(os.getpid(), signal.SIGKILL))).call("ADD", config, container)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@ALL
def test_delete_after_add_was_killed_at_each_step_leaves_the_node_as_it_was(
    config: dict[str, Any], cluster: ClusterNetwork, container: Container
) -> None:
    """Whenever an ADD is killed, a DEL puts the node in order."""
    before = node.take_snapshot()
    for number in range(1, _count_steps(config, container) + 1):
        _run_and_be_killed(config, container, number)
        InProcess().delete(config, container)
        assert node.list_differences(before, node.take_snapshot()) == [], number


@ALL
def test_gc_after_add_was_killed_at_each_step_leaves_the_node_as_it_was(
    config: dict[str, Any], cluster: ClusterNetwork, container: Container
) -> None:
    """Whenever an ADD is killed, a GC that does not list it puts the node in order, without its DEL."""
    before = node.take_snapshot()
    collect = config | {"cniVersion": "1.1.0", "ipam": {}, "cni.dev/valid-attachments": []}
    for number in range(1, _count_steps(config, container) + 1):
        _run_and_be_killed(config, container, number)
        reply = InProcess().call("GC", collect)
        assert reply.exit_status == 0, reply
        assert node.list_differences(before, node.take_snapshot()) == [], number


@ALL
def test_delete_with_each_step_failed_is_completed_by_the_next(
    config: dict[str, Any], cluster: ClusterNetwork, container: Container
) -> None:
    """A DEL that fails says so, and the runtime's next DEL finishes the work."""
    before = node.take_snapshot()
    number = 1
    while True:
        InProcess().add(config, container)
        trace = StepIn(number, _refuse)
        reply = InProcess(trace).call("DEL", config, container)
        InProcess().delete(config, container)
        assert node.list_differences(before, node.take_snapshot()) == [], trace.seen
        if len(trace.seen) < number:
            break
        assert reply.code in {0, 106}, reply  # rules are tried again at once
        number += 1
    assert number > 1


def test_add_that_switched_the_bridge_is_undone_with_it(empty_node: None, container: Container) -> None:
    """VLAN filtering and promiscuous mode that a failed ADD switched on are off again, step by step."""
    run_ip("link add plain-br type bridge")
    before = node.take_snapshot()
    config = _VLAN | {"bridge": "plain-br", "enableVlanFiltering": True, "promiscMode": True}
    number = 1
    while True:
        trace = StepIn(number, _refuse)
        reply = InProcess(trace).call("ADD", config, container)
        if reply.exit_status == 0:
            break
        assert node.list_differences(before, node.take_snapshot()) == [], trace.seen
        number += 1
    assert number > 6
    InProcess().delete(config, container)
    run_ip("link del plain-br")
