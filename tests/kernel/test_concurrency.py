"""Many runtimes' calls at once on one bridge."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab import node
from lab.namespaces import Container, make_container, make_containers
from lab.plugin import InProcess, Reply
from lab.topology import ClusterNetwork

_COUNT = 200


@pytest.fixture
def containers(empty_node: None) -> Iterator[list[Container]]:
    """Namespaces of 200 containers."""
    with make_containers(_COUNT) as made:
        yield made


def _call_all(command: str, config: dict[str, Any], containers: list[Container]) -> list[Reply]:
    """Run one verb for all containers at once, a thread each."""

    def call(number: int) -> Reply:
        return InProcess().call(command, config, containers[number], container_id=f"c-{number}")

    with ThreadPoolExecutor(len(containers)) as pool:
        return list(pool.map(call, range(len(containers))))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("extra", [{}, {"mtu": 1400}, {"vlanTrunk": [{"minID": 300, "maxID": 310}]}])
def test_two_hundred_parallel_adds_and_deletes_all_succeed(
    extra: dict[str, Any], cluster: ClusterNetwork, containers: list[Container]
) -> None:
    """No call fails, every port has its VLANs and MTU, the bridge keeps its MTU, and nothing is left."""
    config = {"cniVersion": "1.0.0", "name": "net", "type": "cni-harvester", "bridge": "cn1-br", "vlan": 100} | extra
    before = node.take_snapshot()
    added = _call_all("ADD", config, containers)
    assert [reply for reply in added if reply.exit_status] == []
    tables, attached = node.list_vlans(), node.list_attachments()
    assert len(attached) == _COUNT
    assert {link["mtu"] for link in attached} == {extra.get("mtu", 9000)}
    assert all(100 in tables[link["ifname"]] for link in attached)
    assert 100 in tables[cluster.uplink]
    bridge = node.find_link(cluster.bridge)
    assert bridge is not None
    assert bridge["mtu"] == 9000
    deleted = _call_all("DEL", config, containers)
    assert [reply for reply in deleted if reply != Reply(0, "", "")] == []
    assert node.list_differences(before, node.take_snapshot()) == []


@pytest.mark.timeout(300)
def test_parallel_adds_and_deletes_on_a_bridge_that_comes_and_goes_all_succeed(
    empty_node: None, containers: list[Container]
) -> None:
    """With createBridge the first ADD makes the bridge and the last DEL removes it, whatever overlaps."""
    config = {
        "cniVersion": "1.0.0", "name": "net", "type": "cni-harvester", "bridge": "island-br", "vlan": 100,
        "createBridge": True,
    }  # fmt: skip
    before = node.take_snapshot()

    def live_shortly(number: int) -> list[Reply]:
        """Attach and detach one container, three times."""
        plugin = InProcess()
        return [
            plugin.call(command, config, containers[number], container_id=f"c-{number}")
            for command in ("ADD", "DEL") * 3
        ]

    with ThreadPoolExecutor(16) as pool:
        replies = [reply for replies in pool.map(live_shortly, range(48)) for reply in replies]
    assert [reply for reply in replies if reply.exit_status] == []
    assert node.list_differences(before, node.take_snapshot()) == []


def test_parallel_deletes_of_one_attachment_all_succeed(cluster: ClusterNetwork) -> None:
    """A runtime may send the same DEL many times at once; each of them succeeds."""
    config = {
        "cniVersion": "1.0.0", "name": "net", "type": "cni-harvester", "bridge": "cn1-br", "vlan": 100,
        "macspoofchk": True,
    }  # fmt: skip
    with make_container("pod-one") as container:
        InProcess().add(config, container)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: InProcess().call("DEL", config, container), range(8)))
    assert [reply for reply in replies if reply != Reply(0, "", "")] == []
