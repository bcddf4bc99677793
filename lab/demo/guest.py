"""The machines of the demo: what each is configured to be, and what it can reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab import node
from lab.dhcp import Lease
from lab.namespaces import Container
from lab.plugin import Reply

MTU = 9000
HEADERS = 28
"""Bytes of the IPv4 and ICMP headers around the payload of a ping."""

SHORT_S, LONG_S = 1, 10
"""How long to wait for an answer that must not come, and for one that must; the latter comes within milliseconds."""


@dataclass
class Guest:
    """A machine: its network configuration, what it must come to, and what became of it.

    Attributes:
        name: its name; also that of its namespace and its network.
        keys: the keys of its network configuration that matter.
        vlans: the VLAN table that its port must have, in the words of `bridge vlan show`.
        ports: the interfaces inside that ask for an address, each with the VLAN whose server must answer.
        result: the result of its ADD.
        leases: what each of its ports was given.
    """

    name: str
    keys: Mapping[str, Any]
    vlans: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)

    @property
    def container(self) -> Container:
        """Its network namespace."""
        return Container(self.name)

    @property
    def config(self) -> dict[str, Any]:
        """The whole network configuration, as a runtime passes it."""
        return {"cniVersion": "1.1.0", "name": self.name, "type": "cni-harvester", **self.keys}

    @property
    def host_end(self) -> str:
        """Name of its bridge port."""
        return str(self.result["interfaces"][1]["name"])

    @property
    def mac(self) -> str:
        """MAC of its interface."""
        return str(self.result["interfaces"][2]["mac"])

    def find_address(self, port: str = "eth0") -> str:
        """Return the address that a port was given, without prefix length."""
        return self.leases[port].address.partition("/")[0]

    def gets_ping(self, address: str, *, size: int = MTU, port: str = "eth0", patience_s: int = LONG_S) -> bool:
        """Whether an IPv4 packet of that many bytes, which nobody may fragment, is answered."""
        options = f"-n -c 1 -W {patience_s} -M do -s {size - HEADERS} -I {port}"
        return ", 0% packet loss" in self.container.run(f"ping {options} {address}", check=False)

    def gets_arp(self, address: str, *, patience_s: int = LONG_S) -> bool:
        """Whether anybody answers ARP for an address: the first thing that would pass from one VLAN to another."""
        options = f"-f -c {patience_s + 1} -w {patience_s} -I eth0"
        return "reply from" in self.container.run(f"busybox arping {options} {address}", check=False)


def plan_guests(bridge: str) -> list[Guest]:
    """Two access ports, a trunk with its VLANs as interfaces inside, and a guest without a VLAN."""
    trunk = {"bridge": bridge, "vlanTrunk": [{"id": 100}, {"id": 200}]}
    return [
        Guest("vm-100", {"bridge": bridge, "vlan": 100}, "100 PVID Egress Untagged", {"eth0": 100}),
        Guest("vm-200", {"bridge": bridge, "vlan": 200}, "200 PVID Egress Untagged", {"eth0": 200}),
        Guest("vm-trunk", trunk, "1 PVID Egress Untagged, 100, 200", {"eth0.100": 100, "eth0.200": 200}),
        Guest("vm-plain", {"bridge": bridge}, "1 PVID Egress Untagged", {"eth0": 0}),
    ]


def show_vlans(port: str) -> str:
    """Return a port's VLAN table in the words of `bridge vlan show`, on one line."""
    table = node.list_vlans().get(port, {})
    return ", ".join(" ".join([str(vid), *sorted(flags, reverse=True)]) for vid, flags in sorted(table.items()))


def describe(reply: Reply) -> str:
    """Say how a call of the plugin ended."""
    if reply.exit_status == 0:
        return "success"
    try:
        return f"code {reply.code}: {reply.document['msg']}"
    except (ValueError, KeyError):  # it did not even report an error
        return f"exit status {reply.exit_status}: {reply.stderr or reply.stdout}"
