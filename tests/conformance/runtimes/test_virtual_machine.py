"""A real virtual machine on a tap in the pod, joined to the plugin's interface as KubeVirt joins it.

These tests need a kernel with bridge VLAN filtering and with TAP devices.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from .machine import Client, Machine, PluginDirectory, create_bridge, wait_for_text, write_network

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.vlan

MTU = 1400
# What the switch behind the uplink serves: untagged frames (VLAN 1 of the bridge), VLAN 100 and VLAN 200.
SWITCH_INTERFACES = {"up1": "10.77.1", "up1.100": "10.77.100", "up1.200": "10.77.200"}


class Guest:
    """A running virtual machine and its serial port."""

    def __init__(self, machine: Machine, files: Path, log: Path, mac: str, mtu: int) -> None:
        self._log = log
        options = (
            "-accel tcg -m 128 -nodefaults -display none -no-reboot -serial stdio"
            f" -kernel {files}/vmlinuz -initrd {files}/initramfs.gz"
            " -netdev tap,id=net0,ifname=tap-eth0,script=no,downscript=no"
            f" -device virtio-net-pci,netdev=net0,mac={mac},host_mtu={mtu},romfile="
        ).split()
        command = ("qemu-system-x86_64", *options, "-append", "console=ttyS0 quiet")
        self._process = machine.start(*command, netns="pod", log=log)

    def read_report(self) -> dict[str, str]:
        """Wait until the guest has its network, and return what it says about it."""
        report = wait_for_text(self._log, "guest done", timeout_s=120)
        return dict(re.findall(r"^guest (mac|mtu|lease) (\S+)", report, re.MULTILINE))

    def tell(self, line: str) -> None:
        """Type one line at the guest's serial port."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def can_ping(self, address: str) -> bool:
        """Let the guest ping an address."""
        self.tell(f"ping {address}")
        return f"guest ping {address} yes" in wait_for_text(self._log, f"guest ping {address} ")

    def power_off(self) -> None:
        """Let the guest switch itself off."""
        self.tell("poweroff")
        self._process.wait(30)


@pytest.fixture
def switch(machine: Machine, tmp_path: Path) -> None:
    """A VLAN-aware bridge whose uplink is a tagged trunk; behind it, a DHCP server in each of three VLANs."""
    create_bridge(machine, options="vlan_filtering 1", mtu=MTU)
    machine.create_namespace("switch")
    machine.ip(f"link add up0 mtu {MTU} type veth peer name up1 mtu {MTU} netns switch")
    machine.ip("link set up0 master cn1-br up")
    for vid in (100, 200):
        machine.run("bridge", "vlan", "add", "dev", "up0", "vid", str(vid))
        machine.ip(f"link add link up1 name up1.{vid} type vlan id {vid}", netns="switch")
    options = [
        "--conf-file=/dev/null",
        "--no-daemon",
        "--user=root",
        "--port=0",
        "--bind-interfaces",
        "--no-ping",
    ]
    options += ["--dhcp-authoritative", f"--dhcp-leasefile={tmp_path}/leases", "--pid-file="]
    for name, prefix in SWITCH_INTERFACES.items():
        machine.ip(f"link set {name} up", netns="switch")
        machine.ip(f"address add {prefix}.1/24 dev {name}", netns="switch")
        options += [f"--interface={name}", f"--dhcp-range={prefix}.50,{prefix}.99,255.255.255.0,600"]
    log = tmp_path / "dnsmasq.log"
    machine.start("dnsmasq", *options, netns="switch", log=log)
    wait_for_text(log, "IP range 10.77.200.50")


@pytest.fixture
def client(cnitool: Path, machine: Machine, switch: None, plugins: PluginDirectory, tmp_path: Path) -> Client:
    """A client on VLAN 100 of the bridge, with an empty pod namespace."""
    write_network(tmp_path / "networks", vlan=100)
    machine.create_namespace("pod")
    return Client(cnitool, machine, plugins, tmp_path / "networks")


def bind_as_kubevirt(machine: Machine) -> dict[str, Any]:
    """Put bridge and tap behind the pod's interface, and a dummy in its place; return the link as it was.

    The interface goes down, gives its name and hardware address to the dummy and becomes a port that learns
    nothing; the guest on the tap takes the address over.
    """
    link = machine.list_links(netns="pod")["eth0"]
    for line in (
        "link set eth0 down",
        "link set eth0 name eth0-nic",
        "link set eth0-nic address 02:00:00:00:00:77",
        f"link add eth0 address {link['address']} mtu {link['mtu']} type dummy",
        f"link add k6t-eth0 mtu {link['mtu']} type bridge",
        "tuntap add tap-eth0 mode tap",
        f"link set tap-eth0 mtu {link['mtu']}",
        "link set eth0-nic master k6t-eth0",
        "link set eth0-nic type bridge_slave learning off",
        "link set tap-eth0 master k6t-eth0",
        "link set k6t-eth0 up",
        "link set eth0-nic up",
        "link set tap-eth0 up",
    ):
        machine.ip(line, netns="pod")
    return link


@pytest.mark.timeout(300)  # emulated, inside an emulated kernel
def test_guest_on_vlan_100_leases_address_and_outlives_check(
    client: Client, machine: Machine, guest: Path, tmp_path: Path
) -> None:
    """A guest gets address, MTU and answers in VLAN 100 alone, and CHECK of its running pod passes."""
    before = machine.identify_links()
    result = client.add()
    link = bind_as_kubevirt(machine)

    computer = Guest(machine, guest, tmp_path / "serial.log", mac=link["address"], mtu=link["mtu"])
    report = computer.read_report()

    assert report["mac"] == result["interfaces"][2]["mac"]
    assert report["mtu"] == str(MTU)
    assert report["lease"].startswith("10.77.100.")
    assert computer.can_ping("10.77.100.1")
    assert client.call("check").stdout == ""
    computer.power_off()
    assert client.call("del").stdout == ""
    assert machine.identify_links() == before


def test_check_after_kubevirt_renamed_interface_succeeds(client: Client, machine: Machine) -> None:
    """CHECK passes though eth0 is a dummy now and the plugin's interface has another name and address."""
    client.add()
    bind_as_kubevirt(machine)

    assert client.call("check").stdout == ""


def test_check_after_kubevirt_renamed_interface_fails_if_vlan_is_lost(client: Client, machine: Machine) -> None:
    """CHECK fails when the renamed interface's port is no longer in VLAN 100."""
    host_end = client.add()["interfaces"][1]["name"]
    bind_as_kubevirt(machine)
    machine.run("bridge", "vlan", "delete", "dev", host_end, "vid", "100")

    assert client.call("check", check=False).returncode != 0


def test_delete_after_kubevirt_renamed_interface_removes_veth_and_spares_dummy(
    client: Client, machine: Machine
) -> None:
    """DEL removes the plugin's veth pair under its new name, and not the dummy that has the old one."""
    before = machine.identify_links()
    client.add()
    bind_as_kubevirt(machine)

    assert client.call("del").stdout == ""

    assert machine.identify_links() == before
    pod_links = machine.list_links(netns="pod")
    assert set(pod_links) == {"lo", "eth0", "k6t-eth0", "tap-eth0"}
    assert pod_links["eth0"]["linkinfo"]["info_kind"] == "dummy"
