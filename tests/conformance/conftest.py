"""Fixtures of the conformance tests: the plugin called both ways, containers, a bridge, an IPAM plugin."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import namespaces, node
from lab.namespaces import Container, make_containers
from lab.plugin import InProcess, Plugin
from lab.topology import add_bridge

from .ipam import TestIpam
from .observe import BRIDGE, Snapshot, assert_same, list_names


@pytest.fixture(scope="session")
def ipv6(own_machine: None) -> None:
    """IPv6 in the kernel, which UML loads as a module when it is first used: interfaces get link-local addresses."""
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()


@pytest.fixture
def plugin(request: pytest.FixtureRequest) -> Plugin:
    """The plugin, called the way that the row says."""
    if getattr(request, "param", "process") == "process":
        return InProcess()
    made: Plugin = request.getfixturevalue("bundle")
    return made


@pytest.fixture(scope="module")
def nodes(own_machine: None, ipv6: None) -> Iterator[list[Snapshot]]:
    """The node that the next test may have, as it is; looked at in full at the end of the module."""
    found: list[Snapshot] = []
    yield found
    for snapshot in found:
        assert_same(snapshot)


@pytest.fixture
def before(nodes: list[Snapshot]) -> Iterator[Snapshot]:
    """The node as the test finds it: nothing but the bridge `bridge0`, VLAN-aware, at MTU 1500, made by its owner.

    One test after the other has the same node, for snapshots are dear, as long as each takes away what it made; the
    next one gets a new node after one that did not, and failed for that.
    """
    if not nodes:
        namespaces.enter_fresh_node()
        add_bridge(BRIDGE)
        nodes.append(node.take_snapshot())
    found = nodes.pop()
    yield found
    assert list_names() == sorted(found["links"])
    nodes.append(found)


@pytest.fixture
def containers(before: Snapshot) -> Iterator[list[Container]]:
    """Network namespaces of two containers, made without a process each."""
    with make_containers(2) as made:
        yield made


@pytest.fixture
def container(containers: list[Container]) -> Container:
    """A container's network namespace on the node."""
    return containers[0]


@pytest.fixture
def other(containers: list[Container]) -> Container:
    """Another container's network namespace on the node."""
    return containers[1]


@pytest.fixture
def ipam(tmp_path: Path) -> TestIpam:
    """An IPAM plugin without reservations."""
    return TestIpam(tmp_path)
