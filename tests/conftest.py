"""Options and fixtures of every tier.

Kernel tests run in namespaces of their own, each on a fresh node; a test that leaves anything behind fails.
"""

from collections.abc import Iterator

import pytest

from lab import namespaces, node
from lab.namespaces import Container
from lab.plugin import Bundle, InProcess
from lab.topology import ClusterNetwork, make_cluster_network


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--shard K/N`, by which two User-Mode Linux kernels share a tier."""
    parser.addoption("--shard", default="1/1", help="run every N-th test, beginning with the K-th: K/N")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep this shard's tests; all tests of one shard are another's deselected ones, so none is lost."""
    number, count = (int(part) for part in config.getoption("--shard").split("/"))
    if not 1 <= number <= count:
        raise pytest.UsageError(f"--shard {number}/{count}: K is 1 to N")
    kept = items[number - 1 :: count]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.fixture(scope="session")
def own_machine() -> None:
    """Take the test process away from the machine's own network and /run, once and for all."""
    namespaces.leave_machine()


@pytest.fixture
def empty_node(own_machine: None) -> Iterator[None]:
    """A node without links; fails the test if anything is left on it at the end."""
    namespaces.enter_fresh_node()
    before = node.take_snapshot()
    yield
    assert node.list_differences(before, node.take_snapshot()) == []


@pytest.fixture
def container(empty_node: None) -> Iterator[Container]:
    """A container's network namespace on the node."""
    with namespaces.make_container("pod-1") as made:
        yield made


@pytest.fixture
def other(empty_node: None) -> Iterator[Container]:
    """Another container's network namespace on the node."""
    with namespaces.make_container("pod-2") as made:
        yield made


@pytest.fixture
def cluster(empty_node: None) -> Iterator[ClusterNetwork]:
    """The cluster network `cn1` at MTU 9000, with a switch at the far end; must be found unchanged after the test."""
    with make_cluster_network("cn1") as network:
        before = node.take_snapshot()
        yield network
        after = node.take_snapshot()
        before["namespaces"] = after["namespaces"] = []  # containers may come and go around this fixture
        assert node.list_differences(before, after) == []


@pytest.fixture
def plugin() -> InProcess:
    """The plugin in this process."""
    return InProcess()


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The built bundle; `build/build.sh` makes it."""
    made = Bundle()
    assert made.path.exists(), f"{made.path} is missing: run build/build.sh"
    return made
