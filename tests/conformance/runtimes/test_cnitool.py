"""cnitool, the client of the reference library, drives the plugin: what every libcni runtime would see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .machine import POD, Client, Machine, PluginDirectory, wait_for_text, write_network

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("0.4.0", "1.0.0")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The version of the network configuration."""
    return str(request.param)


@pytest.fixture
def client(
    cnitool: Path, machine: Machine, bridge: str, plugins: PluginDirectory, tmp_path: Path, version: str
) -> Client:
    """A client on a network over the untagged bridge, with an empty pod namespace."""
    write_network(tmp_path / "networks", cni_version=version, bridge=bridge)
    machine.create_namespace("pod")
    return Client(cnitool, machine, plugins, tmp_path / "networks")


def test_add_untagged_bridge_reports_bridge_host_end_and_container_end(
    client: Client, machine: Machine, version: str
) -> None:
    """The result names bridge, host end and container end, in this order, with their real addresses."""
    result = client.add()

    bridge, host_end, container_end = result["interfaces"]
    links = machine.list_links()
    pod_links = machine.list_links(netns="pod")
    assert result["cniVersion"] == version
    assert (bridge["name"], bridge["mac"]) == ("cn1-br", links["cn1-br"]["address"])
    assert host_end["mac"] == links[host_end["name"]]["address"]
    assert (container_end["name"], container_end["sandbox"]) == ("eth0", POD)
    assert container_end["mac"] == pod_links["eth0"]["address"]
    assert "sandbox" not in bridge
    assert "sandbox" not in host_end


def test_add_untagged_bridge_joins_veth_to_bridge(client: Client, machine: Machine) -> None:
    """The host end is an up veth port of the bridge and its peer is eth0 in the pod."""
    host_end = client.add()["interfaces"][1]["name"]

    port = machine.list_links()[host_end]
    eth0 = machine.list_links(netns="pod")["eth0"]
    assert port["linkinfo"]["info_kind"] == "veth"
    assert (port["master"], "UP" in port["flags"]) == ("cn1-br", True)
    assert (port["link_index"], eth0["link_index"]) == (eth0["ifindex"], port["ifindex"])


def test_add_untagged_bridge_carries_frames(client: Client, machine: Machine) -> None:
    """Once the pod gives itself an address, it reaches what is on the bridge."""
    client.add()
    machine.ip("link set eth0 up", netns="pod")
    machine.ip("address add 10.77.0.2/24 dev eth0", netns="pod")

    machine.run("busybox", "ping", "-c", "1", "-W", "3", "10.77.0.1", netns="pod")


def test_check_after_add_succeeds_in_silence(client: Client, plugins: PluginDirectory) -> None:
    """CHECK passes with the result of ADD as prevResult, and prints nothing."""
    result = client.add()

    assert client.call("check").stdout == ""
    check = plugins.list_calls()[-1]
    assert (check.verb, check.config["prevResult"]) == ("CHECK", result)


def test_check_after_veth_is_lost_fails(client: Client, machine: Machine) -> None:
    """CHECK tells the runtime when somebody else has removed the interface."""
    host_end = client.add()["interfaces"][1]["name"]
    machine.ip(f"link delete {host_end}")

    assert client.call("check", check=False).returncode != 0


def test_delete_after_add_leaves_no_link(client: Client, machine: Machine) -> None:
    """DEL prints nothing and both ends of the veth pair are gone when it returns."""
    before = machine.identify_links()
    client.add()
    assert machine.identify_links() != before

    assert client.call("del").stdout == ""
    assert machine.identify_links() == before
    assert set(machine.list_links(netns="pod")) == {"lo"}


def test_delete_twice_succeeds(client: Client, plugins: PluginDirectory) -> None:
    """A second DEL finds nothing to do and succeeds."""
    client.add()
    client.call("del")

    assert client.call("del").stdout == ""
    assert plugins.list_verbs() == ["ADD", "DEL", "DEL"]


def test_delete_without_add_succeeds(client: Client, machine: Machine) -> None:
    """DEL for a pod that never was attached succeeds and touches nothing."""
    before = machine.identify_links()

    assert client.call("del").stdout == ""
    assert machine.identify_links() == before


def test_delete_after_namespace_is_gone_succeeds(client: Client, machine: Machine) -> None:
    """DEL succeeds though the pod's network namespace does not exist any more, and leaves no link."""
    before = machine.identify_links()
    client.add()
    machine.ip("netns delete pod")

    assert client.call("del").stdout == ""
    assert machine.identify_links() == before


def test_delete_while_unnamed_namespace_lives_on_removes_veth(client: Client, machine: Machine, tmp_path: Path) -> None:
    """DEL removes the veth pair though a process still holds the namespace whose path is gone."""
    before = machine.identify_links()
    log = tmp_path / "holder.log"
    machine.start("sh", "-c", "echo held; exec sleep infinity", netns="pod", log=log)
    wait_for_text(log, "held")
    client.add()
    machine.ip("netns delete pod")

    assert client.call("del").stdout == ""
    assert machine.identify_links() == before
