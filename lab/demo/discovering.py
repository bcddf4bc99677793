"""The demo's first part: what is out there, found out before any guest comes."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lab.demo.guest import MTU
from lab.dhcp import DhcpServer
from lab.plugin import Bundle
from lab.report import Report
from lab.shell import run
from lab.topology import ClusterNetwork

_LISTEN_S = 2
_NOBODYS_VLAN = 300


def show_networks(report: Report, plugin: Bundle, network: ClusterNetwork, servers: Mapping[int, DhcpServer]) -> None:
    """Show which VLANs the switch port carries, and which CIDR and gateway each has."""
    report.start_step("What is out there? A survey of all 4094 VLANs, on the bare uplink")
    _show_survey(report, plugin, network, servers)
    report.start_step("The CIDR and gateway of each VLAN, by DHCP, and whether the gateway can be reached")
    _show_discovery(report, plugin, network, servers)


def _ask(plugin: Bundle, words: str) -> Any:
    """Run a command of the program, and return its document; its exit status is 1 where there is nothing to find."""
    return json.loads(run(f"{plugin.path} {words} -o json", check=False))


def _show_survey(report: Report, plugin: Bundle, network: ClusterNetwork, servers: Mapping[int, DhcpServer]) -> None:
    found = _ask(plugin, f"survey --interface {network.uplink} --timeout {_LISTEN_S}")
    layout = "{:8}  {:15}  {:17}  {}".format
    report.say("    " + layout("VLAN", "SERVER", "CIDR", "GATEWAY"))
    for finding in found["vlans"]:
        expected = servers.get(finding["vlan"])
        offer = finding["offers"][0]
        row = layout(_name(finding["vlan"]), offer["server"], offer["cidr"], offer["gateway"])
        report.verify(row, _Route(offer["cidr"], offer["gateway"]), expected and _Route.of(expected))
    live = sorted(finding["vlan"] for finding in found["vlans"] if finding["status"] == "live")
    claim = f"these {len(servers)} and no other of 4094, after {found['framesSent']} frames and"
    report.verify(f"{claim} {found['durationSeconds']:.1f} s", live, sorted(servers))


def _show_discovery(report: Report, plugin: Bundle, network: ClusterNetwork, servers: Mapping[int, DhcpServer]) -> None:
    vlans = [vlan for vlan in servers if vlan]
    with ThreadPoolExecutor() as pool:  # to wait for all of them at once
        answers = pool.map(lambda vlan: _discover(plugin, network, vlan), [*vlans, _NOBODYS_VLAN])
        found = dict(zip([*vlans, _NOBODYS_VLAN], answers, strict=True))
    for vlan in vlans:
        document = found[vlan]
        route = _Route(document.get("cidr", "none"), document.get("gateway", "none"))
        report.verify(f"VLAN {vlan}: {route.cidr} via {route.gateway}", route, _Route.of(servers[vlan]))
        facts = {fact["check"]: fact["result"] for fact in document["reachability"]}
        claim = f"VLAN {vlan}: the gateway answers ARP and ICMP, and the path carries {MTU} bytes"
        report.verify(claim, set(facts.values()), {"yes"})
    lost = found[_NOBODYS_VLAN]
    claim = f"VLAN {_NOBODYS_VLAN}, where nobody is: no route, and the reason"
    report.verify(claim, (lost["connectivity"], lost["reason"]), ("DHCP failed", "silence"))
    report.quote(lost["message"])
    report.quote(f"Next: {lost['advice']}")


def _discover(plugin: Bundle, network: ClusterNetwork, vlan: int) -> Any:
    return _ask(plugin, f"discover --bridge {network.bridge} --vlan {vlan} --timeout {_LISTEN_S}")


@dataclass(frozen=True)
class _Route:
    cidr: str
    gateway: str

    @classmethod
    def of(cls, server: DhcpServer) -> "_Route":
        """What a server of the demo gives: its own network, and itself as the gateway."""
        return cls(str(server.address.network), str(server.address.ip))


def _name(vlan: int) -> str:
    return str(vlan or "untagged")
