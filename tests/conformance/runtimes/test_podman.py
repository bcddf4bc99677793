"""podman with its CNI backend starts and stops containers on networks of the plugin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .machine import Machine, PluginDirectory, write_network

if TYPE_CHECKING:
    import subprocess

# Everything podman keeps lies in the machine's own /run; limits are lowered because a test run may not be
# allowed to raise them.
CONTAINERS_CONF = """
[containers]
cgroups = "disabled"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "{networks}"
"""
STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "/run/podman/storage"
runroot = "/run/podman/run"
"""
ADDRESS_RANGE = {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24", "rangeStart": "10.77.0.50"}]]}
MAC = "02:00:00:aa:bb:01"


class Podman:
    """podman inside a machine."""

    def __init__(self, machine: Machine, plugins: PluginDirectory, directory: Path, rootfs: Path) -> None:
        self.machine = machine
        self.networks = directory / "networks"
        self._rootfs = rootfs
        conf = CONTAINERS_CONF.format(plugins=plugins.path, networks=self.networks)
        (directory / "containers.conf").write_text(conf)
        (directory / "storage.conf").write_text(STORAGE_CONF)
        self._environment = {
            "CONTAINERS_CONF": str(directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
        }

    def run(self, *arguments: str | Path) -> str:
        """Run one podman command and return what it printed."""
        return self.machine.run("podman", *arguments, env=self._environment).stdout

    def start(self, *networks: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Start the container `c1` on some networks; it sleeps."""
        joined = [f"--network={network}" for network in networks]
        command = ("podman", "run", "--detach", "--name=c1", *joined, "--rootfs", self._rootfs, "/bin/sleep", "1000")
        return self.machine.run(*command, env=self._environment, check=check)

    def remove(self) -> None:
        """Stop and remove the container `c1`."""
        self.run("stop", "--time", "0", "c1")
        self.run("rm", "c1")

    def show_interface(self) -> str:
        """Return what `ip address` says of eth0 inside the container."""
        return self.run("exec", "c1", "/bin/ip", "address", "show", "dev", "eth0")

    def list_reservations(self) -> list[str]:
        """Return the addresses that host-local holds reserved."""
        script = "mkdir -p /var/lib/cni/networks/lan && cd /var/lib/cni/networks/lan && find . -name '10.*'"
        return [Path(line).name for line in self.machine.run("sh", "-c", script).stdout.splitlines()]


@pytest.fixture
def podman(machine: Machine, plugins: PluginDirectory, tmp_path: Path, root_file_system: Path) -> Podman:
    """A podman ready for the networks written to its `networks` directory."""
    return Podman(machine, plugins, tmp_path, root_file_system)


def test_run_host_local_network_gives_address_and_reaches_bridge(podman: Podman, bridge: str) -> None:
    """A container gets its address from the IPAM plugin and reaches the bridge with it."""
    write_network(podman.networks, bridge=bridge, ipam=ADDRESS_RANGE)

    podman.start("lan")

    assert "inet 10.77.0.50/24 " in podman.show_interface()
    podman.run("exec", "c1", "/bin/ping", "-c", "1", "-W", "3", "10.77.0.1")


def test_inspect_host_local_network_shows_result(podman: Podman, bridge: str) -> None:
    """Podman's own record of the network is what the plugin reported: address and hardware address."""
    write_network(podman.networks, bridge=bridge, ipam=ADDRESS_RANGE)

    podman.start("lan")

    settings = json.loads(podman.run("inspect", "c1"))[0]["NetworkSettings"]["Networks"]["lan"]
    assert settings["IPAddress"] == "10.77.0.50"
    assert f"link/ether {settings['MacAddress']} " in podman.show_interface()


def test_run_layer_2_network_with_mac_gives_mac_and_no_address(podman: Podman, bridge: str) -> None:
    """A pure layer-2 network gives the asked hardware address and no IPv4 address at all."""
    write_network(podman.networks, bridge=bridge)

    podman.start(f"lan:mac={MAC}")

    shown = podman.show_interface()
    assert f"link/ether {MAC} " in shown
    assert "inet " not in shown


def test_run_two_networks_gives_two_interfaces(podman: Podman, bridge: str) -> None:
    """A container on two networks has an interface on each, and both are gone after it."""
    write_network(podman.networks, "lan", bridge=bridge)
    write_network(podman.networks, "lan2", bridge=bridge)
    before = podman.machine.identify_links()

    podman.start("lan", "lan2")

    names = podman.run("exec", "c1", "/bin/ls", "/sys/class/net").split()
    assert sorted(names) == ["eth0", "eth1", "lo"]
    podman.remove()
    assert podman.machine.identify_links() == before


def test_restart_container_attaches_it_again(podman: Podman, bridge: str) -> None:
    """A restarted container, whose id stays the same, is reached on its network again."""
    write_network(podman.networks, bridge=bridge, ipam=ADDRESS_RANGE)
    podman.start("lan")

    podman.run("restart", "--time", "0", "c1")

    podman.run("exec", "c1", "/bin/ping", "-c", "1", "-W", "3", "10.77.0.1")


def test_run_missing_bridge_fails_and_names_bridge(podman: Podman) -> None:
    """Without its bridge the container does not start, podman names the bridge, and nothing is made."""
    write_network(podman.networks, bridge="gone-br")
    before = podman.machine.identify_links()

    done = podman.start("lan", check=False)

    assert done.returncode != 0
    assert "gone-br" in done.stderr
    assert podman.machine.identify_links() == before


@pytest.mark.parametrize("ipam", [ADDRESS_RANGE, {}], ids=["host-local", "layer-2"])
def test_remove_running_container_leaves_nothing(podman: Podman, bridge: str, ipam: dict[str, object]) -> None:
    """After stop and rm the node has the links it had before, and no address is reserved any more."""
    write_network(podman.networks, bridge=bridge, ipam=ipam)
    before = podman.machine.identify_links()
    podman.start("lan")
    assert podman.machine.identify_links() != before
    assert podman.list_reservations() == (["10.77.0.50"] if ipam else [])

    podman.remove()

    assert podman.machine.identify_links() == before
    assert podman.list_reservations() == []


def test_run_and_remove_container_calls_version_add_and_delete(
    podman: Podman, plugins: PluginDirectory, bridge: str
) -> None:
    """Podman asks VERSION with a dummy namespace, then ADD, then DEL with the result of ADD."""
    write_network(podman.networks, bridge=bridge, ipam=ADDRESS_RANGE)
    podman.start(f"lan:mac={MAC}")
    podman.remove()

    calls = plugins.list_calls()
    version, add, delete = (next(c for c in calls if c.verb == verb) for verb in ("VERSION", "ADD", "DEL"))
    assert {call.verb for call in calls} == {"VERSION", "ADD", "DEL"}
    assert calls.index(version) < calls.index(add) < calls.index(delete)
    assert version.environment["CNI_NETNS"] == "dummy"
    assert f"MAC={MAC}" in add.environment["CNI_ARGS"].split(";")
    assert "prevResult" not in add.config
    assert delete.environment["CNI_CONTAINERID"] == add.environment["CNI_CONTAINERID"]
    assert [address["address"] for address in delete.config["prevResult"]["ips"]] == ["10.77.0.50/24"]
