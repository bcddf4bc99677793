"""containerd: `ctr run --cni` for real, and the sequences of DEL its Kubernetes half sends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .machine import PLUGIN_TYPE, POD, Machine, PluginDirectory, wait_for_text, write_network

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

CONTAINERD_CONF = """
version = 2
root = "/run/containerd/root"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/containerd/containerd.sock"
"""
# ctr knows two plugin directories and one configuration directory, all built in.
MOUNT_FIXED_DIRECTORIES = """
mkdir -p /opt/cni/bin /etc/cni/net.d
mount --bind "$1" /opt/cni/bin
mount --bind "$2" /etc/cni/net.d
"""
ADDRESS_RANGE = {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24", "rangeStart": "10.77.0.50"}]]}


class Containerd:
    """containerd inside a machine, asked by ctr."""

    def __init__(self, machine: Machine, plugins: PluginDirectory, directory: Path, rootfs: Path) -> None:
        self.machine = machine
        self._rootfs = rootfs
        self._spec = directory / "spec.json"
        self.networks = directory / "networks"
        self.networks.mkdir()
        machine.run("sh", "-euc", MOUNT_FIXED_DIRECTORIES, "sh", plugins.path, self.networks)
        (directory / "containerd.toml").write_text(CONTAINERD_CONF)
        log = directory / "containerd.log"
        machine.start("containerd", "--config", directory / "containerd.toml", log=log)
        wait_for_text(log, "containerd successfully booted")

    def run(self, *command: str) -> str:
        """Run a command in a container with CNI networking, to its end, and return what it printed."""
        # Left to itself ctr asks for CPU shares, which a kernel that serves cgroups in both versions refuses.
        spec = json.loads(self.machine.run("ctr", "oci", "spec").stdout)
        spec["process"] |= {"args": command, "terminal": False}
        spec["root"] = {"path": str(self._rootfs)}
        del spec["linux"]["resources"]
        self._spec.write_text(json.dumps(spec))
        address = ("--address", "/run/containerd/containerd.sock")
        done = self.machine.run("ctr", *address, "run", "--rm", "--cni", "--config", self._spec, "c1")
        assert done.stderr == ""  # ctr only logs that a DEL failed, and exits with the command's status
        return done.stdout


@pytest.fixture
def containerd(machine: Machine, plugins: PluginDirectory, tmp_path: Path, root_file_system: Path) -> Containerd:
    """A containerd ready for the networks written to its `networks` directory."""
    return Containerd(machine, plugins, tmp_path, root_file_system)


def test_ctr_run_host_local_network_gives_address_and_reaches_bridge(containerd: Containerd, bridge: str) -> None:
    """A container gets its address from the IPAM plugin and reaches the bridge with it."""
    write_network(containerd.networks, bridge=bridge, ipam=ADDRESS_RANGE)

    script = "ip address show dev eth0 && ping -c 1 -W 3 10.77.0.1"
    output = containerd.run("/bin/sh", "-c", script)

    assert "inet 10.77.0.50/24 " in output
    assert "1 packets received" in output


def test_ctr_run_ended_leaves_nothing(containerd: Containerd, bridge: str) -> None:
    """Once `ctr run` is over the node has the links it had before."""
    write_network(containerd.networks, bridge=bridge)
    before = containerd.machine.identify_links()

    output = containerd.run("/bin/ip", "address", "show", "dev", "eth0")

    assert "link/ether " in output
    assert containerd.machine.identify_links() == before


def test_ctr_run_calls_add_and_delete_without_namespace(
    containerd: Containerd, plugins: PluginDirectory, bridge: str
) -> None:
    """The client sends ADD with the task's namespace and DEL with an empty one."""
    write_network(containerd.networks, bridge=bridge)
    containerd.run("/bin/ip", "link")

    add, delete = (call for call in plugins.list_calls() if call.verb != "VERSION")
    assert (add.verb, delete.verb) == ("ADD", "DEL")
    assert add.environment["CNI_NETNS"].endswith("/ns/net")
    assert delete.environment["CNI_NETNS"] == ""
    assert delete.environment["CNI_CONTAINERID"] == add.environment["CNI_CONTAINERID"]


class Kubelet:
    """The calls that containerd's CRI makes for one pod, sent straight to the plugin under test."""

    def __init__(self, machine: Machine, plugins: PluginDirectory, config: dict[str, Any]) -> None:
        self.machine = machine
        self._plugins = plugins
        self._config = config
        self._result: dict[str, Any] | None = None

    def _call(self, verb: str, netns: str, config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": "3f1c0d8a",
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": "K8S_POD_INFRA_CONTAINER_ID=3f1c0d8a;K8S_POD_NAME=vm;IgnoreUnknown=1",
            "CNI_PATH": str(self._plugins.path),
        }
        program = self._plugins.path / PLUGIN_TYPE
        return self.machine.run(program, env=environment, stdin=json.dumps(config), check=False)

    def add(self) -> None:
        """Attach the pod."""
        done = self._call("ADD", POD, self._config)
        assert done.returncode == 0, done.stdout
        self._result = json.loads(done.stdout)

    def delete(self) -> tuple[int, str]:
        """Send the first DEL: namespace and result of ADD are still known."""
        done = self._call("DEL", POD, {**self._config, "prevResult": self._result})
        return done.returncode, done.stdout

    def delete_again(self) -> tuple[int, str]:
        """Send a later DEL: neither the namespace nor the result is known any more."""
        done = self._call("DEL", "", self._config)
        return done.returncode, done.stdout


@pytest.fixture
def kubelet(machine: Machine, plugins: PluginDirectory, bridge: str, tmp_path: Path) -> Kubelet:
    """A pod namespace, and a caller for it on a pure layer-2 network."""
    machine.create_namespace("pod")
    return Kubelet(machine, plugins, write_network(tmp_path / "networks", bridge=bridge))


def test_delete_five_times_succeeds_in_silence(kubelet: Kubelet, plugins: PluginDirectory) -> None:
    """Removing one pod is one DEL with a namespace and four without: all succeed and print nothing."""
    before = kubelet.machine.identify_links()
    kubelet.add()

    answers = [kubelet.delete(), *(kubelet.delete_again() for _ in range(4))]

    assert answers == [(0, "")] * 5
    assert plugins.list_verbs() == ["ADD"] + ["DEL"] * 5
    assert kubelet.machine.identify_links() == before


def test_delete_after_namespace_is_gone_succeeds_in_silence(kubelet: Kubelet) -> None:
    """The DEL that follows the end of the sandbox succeeds, and leaves no link."""
    before = kubelet.machine.identify_links()
    kubelet.add()
    kubelet.machine.ip("netns delete pod")

    assert (kubelet.delete(), kubelet.delete_again()) == ((0, ""), (0, ""))
    assert kubelet.machine.identify_links() == before


def test_delete_without_namespace_removes_veth_of_living_pod(kubelet: Kubelet) -> None:
    """DEL that names no namespace removes the veth pair, though the pod's namespace still exists."""
    before = kubelet.machine.identify_links()
    kubelet.add()

    assert kubelet.delete_again() == (0, "")
    assert kubelet.machine.identify_links() == before
    assert set(kubelet.machine.list_links(netns="pod")) == {"lo"}


def test_delete_without_namespace_spares_other_pods(kubelet: Kubelet, machine: Machine) -> None:
    """DEL that names no namespace leaves links alone that are not the attachment's own."""
    machine.ip("link add veth0 master cn1-br type veth peer name veth1")
    before = machine.identify_links()

    assert kubelet.delete_again() == (0, "")
    assert machine.identify_links() == before
