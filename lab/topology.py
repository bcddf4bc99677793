"""Bridges and uplinks of a lab node, as the node's own set-up would build them.

A cluster network `<cn>`: the VLAN-aware bridge `<cn>-br`, its port `<cn>-bo`, a bond over the NIC `<cn>-nic`, whose
cable `<cn>-far` ends in a switch: a namespace of its own, so that what is out there is not on the node.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.namespaces import Container, make_container
from lab.shell import run_ip


def add_bridge(name: str, *, filtering: bool = True, mtu: int = 0, default_pvid: int | None = None) -> None:
    """Make a bridge without an uplink, up. `mtu` is set as a person would, after the creation."""
    options = " vlan_filtering 1" if filtering else ""
    commands = [f"link add {name} type bridge{options}", f"link set {name} up"]
    if default_pvid is not None:
        commands.append(f"link set {name} type bridge vlan_default_pvid {default_pvid}")
    if mtu:
        commands.append(f"link set {name} mtu {mtu}")
    run_ip(*commands)


@dataclass(frozen=True)
class ClusterNetwork:
    """A cluster network of the lab, and the switch at the far end of its cable."""

    name: str
    switch: Container

    @property
    def bridge(self) -> str:
        """The VLAN-aware bridge."""
        return f"{self.name}-br"

    @property
    def uplink(self) -> str:
        """The bond."""
        return f"{self.name}-bo"

    @property
    def trunk(self) -> str:
        """The switch's end of the cable."""
        return f"{self.name}-far"


def _wait_until_up(name: str) -> None:
    """Wait until a bond has found its NIC's carrier, which it looks for every 100 ms."""
    deadline = time.monotonic() + 10
    while Path(f"/sys/class/net/{name}/operstate").read_text().strip() != "up":
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} has no carrier after 10 s")
        time.sleep(0.01)


@contextlib.contextmanager
def make_cluster_network(name: str, *, mtu: int = 9000) -> Iterator[ClusterNetwork]:
    """Build a cluster network for the time of a `with` block: bridge over bond over one cable to a switch."""
    with make_container(f"{name}-switch") as switch:
        network = ClusterNetwork(name, switch)
        nic = f"{name}-nic"
        run_ip(
            f"link add {nic} type veth peer name {network.trunk} netns {switch.name}",
            f"link add {network.uplink} type bond mode active-backup miimon 100",
            f"link set {network.uplink} mtu {mtu}",
            f"link set {nic} master {network.uplink}",
            f"link set {network.uplink} up",
            f"link add {network.bridge} type bridge vlan_filtering 1",
            f"link set {network.uplink} master {network.bridge}",
            f"link set {network.bridge} up",
        )
        run_ip(f"link set {network.trunk} mtu {mtu} up", namespace=switch.name)
        _wait_until_up(network.uplink)
        try:
            yield network
        finally:
            run_ip(*(f"link del {link}" for link in (network.bridge, network.uplink, nic)))
