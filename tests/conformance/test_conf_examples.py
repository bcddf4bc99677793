"""Every example in conf/ is applied as it stands, and does what its comment promises."""

import contextlib
import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import node
from lab.dhcp import serve_dhcp
from lab.namespaces import Container, make_container
from lab.plugin import ROOT, Plugin
from lab.shell import run_ip
from lab.topology import ClusterNetwork

from .observe import assert_attached, assert_refused, assert_same, count_rules, look, vlan_table

CONF = ROOT / "conf"


@dataclass(frozen=True)
class Promise:
    """What an example makes of a machine.

    Attributes:
        words: its port's VLANs, as the example's comment and conf/README.md have them.
        vlans: the same as the kernel has it.
        mtu: of both ends.
        addresses: first and last of those that the machine may get; empty for a machine without.
        leased: whether the address comes from the VLAN's DHCP server.
    """

    words: str
    vlans: dict[int, frozenset[str]]
    mtu: int = 9000
    addresses: tuple[str, ...] = ()
    leased: bool = False

    @property
    def mtu_words(self) -> str:
        """The MTU as the example's comment has it."""
        return "that of cn1-br" if self.mtu == 9000 else str(self.mtu)


PROMISES = {
    "nad-vlan.yaml": Promise("native 100", vlan_table(100)),
    "nad-trunk.yaml": Promise("native 1, tagged 100,200-203", vlan_table(1, tagged=[100, *range(200, 204)])),
    "nad-untagged.yaml": Promise("native 1", vlan_table(1)),
    "nad-storage.yaml": Promise("native 300", vlan_table(300), addresses=("192.0.2.10", "192.0.2.99")),
    "nad-dhcp.yaml": Promise("native 500", vlan_table(500), addresses=("192.0.2.100", "192.0.2.150"), leased=True),
    "nad-mtu.yaml": Promise("native 400", vlan_table(400), mtu=1400),
    "cnitool-vlan.conflist": Promise("native 100", vlan_table(100)),
    "podman-vlan.conflist": Promise("native 100", vlan_table(100), addresses=("198.51.100.50", "198.51.100.99")),
}

EVERY_EXAMPLE = [
    *(pytest.param(name, "process", id=name) for name in PROMISES),
    pytest.param("nad-vlan.yaml", "bundle", id="nad-vlan.yaml-bundle"),
]


@pytest.fixture
def container(cluster: ClusterNetwork) -> Iterator[Container]:
    """A container on the node that has the cluster network."""
    with make_container("pod-1") as made:
        yield made


def read_config(name: str) -> dict[str, Any]:
    """Return the network configuration that a runtime makes of an example."""
    text = (CONF / name).read_text()
    return _read_nad(text) if name.endswith(".yaml") else _read_conflist(text, name)


def _read_nad(text: str) -> dict[str, Any]:
    """Do what Multus does: the configuration is JSON text in a Kubernetes object."""
    nad = yaml.safe_load(text)
    assert (nad["apiVersion"], nad["kind"]) == ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition")
    config: dict[str, Any] = json.loads(nad["spec"]["config"])
    assert config["name"] == nad["metadata"]["name"]
    return config


def _read_conflist(text: str, name: str) -> dict[str, Any]:
    """Do what libcni does: the plugin's own configuration gets version and name of the list."""
    conflist = json.loads(text)
    assert conflist["name"] == Path(name).stem
    (config,) = conflist["plugins"]
    return {**config, "cniVersion": conflist["cniVersion"], "name": conflist["name"]}


def check(plugin: Plugin, config: dict[str, Any], container: Container, result: dict[str, Any]) -> None:
    """CHECK that must succeed, in the first version that has it where the example's is older."""
    version = max(config["cniVersion"], "0.4.0")
    reply = plugin.call("CHECK", config | {"cniVersion": version, "prevResult": result}, container)
    assert (reply.exit_status, reply.stdout) == (0, ""), reply


@pytest.fixture
def promiscuous(cluster: ClusterNetwork) -> Iterator[ClusterNetwork]:
    """The cluster network as Harvester builds it: its bridge is promiscuous before any machine comes."""
    run_ip(f"link set {cluster.bridge} promisc on")
    yield cluster
    run_ip(f"link set {cluster.bridge} promisc off")


def test_every_example_has_a_promise_that_is_tested() -> None:
    """A file in conf/ that this module does not know fails here."""
    assert {path.name for path in CONF.iterdir()} - {"README.md"} == set(PROMISES)


@pytest.mark.parametrize(("name", "promise"), PROMISES.items(), ids=PROMISES)
def test_example_says_what_is_tested(name: str, promise: Promise) -> None:
    """The comment of a NAD, and the row of every example in conf/README.md, promise what the next test looks for."""
    (row,) = (line for line in (CONF / "README.md").read_text().splitlines() if line.startswith(f"| `{name}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:4] == [promise.words, "the bridge's" if promise.mtu == 9000 else str(promise.mtu)]
    assert ("host-local" in cells[4]) == (bool(promise.addresses) and not promise.leased)
    assert ("DHCP" in cells[4]) == promise.leased
    if name.endswith(".yaml"):
        comment = " ".join(re.findall(r"^# ?(.*)$", (CONF / name).read_text(), re.MULTILINE))
        assert f"Port: {promise.words}" in comment
        assert f"MTU: {promise.mtu_words}" in comment
        assert promise.leased or [address for address in promise.addresses if address not in comment] == []


@pytest.mark.parametrize(("name", "plugin"), EVERY_EXAMPLE, indirect=["plugin"])
def test_example_does_what_it_promises(
    name: str, plugin: Plugin, promiscuous: ClusterNetwork, container: Container
) -> None:
    """ADD gives the port exactly the VLANs, the MTU and the address promised; CHECK agrees; DEL leaves nothing."""
    promise, config, before = PROMISES[name], read_config(name), node.take_snapshot()
    with _serve(promise, promiscuous):
        result = plugin.add(config, container)
    seen = look(container, promiscuous.bridge)
    assert_attached(seen)
    assert seen.vlans == promise.vlans
    assert node.list_vlans()[promiscuous.uplink].keys() == {1} | promise.vlans.keys()
    assert seen.mtus == (9000, promise.mtu, promise.mtu)
    assert seen.port["isolated"] is False
    assert bool(count_rules("macspoofchk-c-1-eth0")) == config.get("macspoofchk", False)
    _assert_addresses(seen.addresses, promise)
    check(plugin, config, container, result)
    plugin.delete(config, container)
    assert_same(before)


@contextlib.contextmanager
def _serve(promise: Promise, cluster: ClusterNetwork) -> Iterator[None]:
    """Run a DHCP server in the example's VLAN, behind the switch, if its address comes from one."""
    if not promise.leased:
        yield
        return
    (vid,) = promise.vlans
    run_ip(
        f"link add link {cluster.trunk} name vlan{vid} type vlan id {vid}",
        f"address add 192.0.2.1/24 dev vlan{vid}",
        f"link set vlan{vid} up",
        namespace=cluster.switch.name,
    )
    with serve_dhcp(cluster.switch, f"vlan{vid}", "192.0.2.1/24"):
        yield


def _assert_addresses(found: list[str], promise: Promise) -> None:
    """One address within the promised range, or none."""
    assert len(found) == bool(promise.addresses)
    if found:
        first, last = (ipaddress.IPv4Address(address) for address in promise.addresses)
        address = ipaddress.IPv4Interface(found[0])
        assert first <= address.ip <= last
        assert address.network.prefixlen == 24


def test_whereabouts_alternative_of_the_storage_network_is_understood(
    plugin: Plugin, promiscuous: ClusterNetwork, container: Container
) -> None:
    """With the commented `ipam` nothing is wrong but that its program is not here: code 105, and nothing is changed."""
    text = (CONF / "nad-storage.yaml").read_text()
    (line,) = re.findall(r'^# +"ipam": (\{.*\})$', text, re.MULTILINE)
    config, before = read_config("nad-storage.yaml") | {"ipam": json.loads(line)}, node.take_snapshot()
    assert_refused(plugin.call("ADD", config, container), 105, "whereabouts")
    assert_same(before)
