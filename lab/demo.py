"""The demo: networks of virtual machines on a real kernel, made by the built plugin. `python3 -m lab.demo`, as root.

A cluster network with DHCP servers behind its uplink; four guests on it; what they reach and what they do not; then
damage, wrong configurations, and the clean-up. All of it is in network namespaces of its own, which end with it.

Every line with a check mark is something that the program found to be true just then. The first that is not true ends
the demo with status 1.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from lab import namespaces, node
from lab.dhcp import DhcpServer, Lease, request_lease, serve_dhcp
from lab.namespaces import Container, make_container
from lab.plugin import Bundle, Reply
from lab.report import DemoFailedError, Report
from lab.shell import run, run_ip
from lab.topology import ClusterNetwork, add_bridge, make_cluster_network

_PROGRAMS = {
    "ip": "iproute2", "bridge": "iproute2", "nft": "nftables", "dnsmasq": "dnsmasq-base",
    "busybox": "busybox-static", "ping": "iputils-ping",
}  # fmt: skip
"""What the demo runs, and the Debian package that has it."""

_MTU = 9000
_HEADERS = 28
"""Bytes of the IPv4 and ICMP headers around the payload of a ping."""

_SHORT_S, _LONG_S = 1, 10
"""How long to wait for an answer that must not come, and for one that must; the latter comes within milliseconds."""

_SERVERS = {100: "192.0.2.1/24", 200: "198.51.100.1/24", 0: "203.0.113.1/24"}
"""Addresses of the DHCP servers by VLAN; 0 is untagged."""


class CannotStartError(Exception):
    """The machine lacks something that the demo needs: what, and what to do."""


class StoppedError(Exception):
    """A signal asked for the end."""


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

    def gets_ping(self, address: str, *, size: int = _MTU, port: str = "eth0", patience_s: int = _LONG_S) -> bool:
        """Whether an IPv4 packet of that many bytes, which nobody may fragment, is answered."""
        options = f"-n -c 1 -W {patience_s} -M do -s {size - _HEADERS} -I {port}"
        return ", 0% packet loss" in self.container.run(f"ping {options} {address}", check=False)

    def gets_arp(self, address: str, *, patience_s: int = _LONG_S) -> bool:
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


class Demo:
    """The steps in their order, on one cluster network."""

    def __init__(self, report: Report, plugin: Bundle, network: ClusterNetwork) -> None:
        self._report = report
        self._plugin = plugin
        self._network = network
        self._guests = plan_guests(network.bridge)
        self._servers: dict[int, DhcpServer] = {}

    def run(self) -> None:
        """Show everything.

        Raises:
            DemoFailedError: something is not as it must be.
        """
        with contextlib.ExitStack() as stack:
            self.show_network()
            self.start_servers(stack)
            before = node.take_snapshot()
            with contextlib.ExitStack() as containers:
                self.attach_guests(containers)
                self.lease_addresses()
                self.show_reach()
                self.damage_and_repair()
                self.refuse_wrong_configs(containers)
                self.detach_guests()
            differences = node.list_differences(before, node.take_snapshot())
            claim = "nothing is left: links, VLANs, rules and files of the node are as before the guests came"
            self._report.verify(claim, differences, [])

    def call(self, command: str, guest: Guest, **more_keys: Any) -> Reply:
        """Run one verb of the plugin for a guest."""
        return self._plugin.call(command, guest.config | more_keys, guest.container, container_id=guest.name)

    def check(self, guest: Guest) -> Reply:
        """Run CHECK for a guest, which wants the result of its ADD."""
        return self.call("CHECK", guest, prevResult=guest.result)

    def show_network(self) -> None:
        """Show what the node's own set-up has made, before the plugin comes."""
        bridge, uplink = self._network.bridge, self._network.uplink
        link = node.find_link(bridge) or {}
        found = (link.get("mtu"), link.get("linkinfo", {}).get("info_data", {}).get("vlan_filtering"))
        self._report.verify(f"bridge {bridge} filters VLANs and has MTU {_MTU}", found, (_MTU, 1))
        self.verify_uplink("1 PVID Egress Untagged", f"its port {uplink}, a bond, is the uplink to a switch; VLANs")

    def verify_uplink(self, vlans: str, claim: str) -> None:
        """Verify the VLANs on the uplink."""
        self._report.verify(f"{claim}: {vlans}", show_vlans(self._network.uplink), vlans)

    def start_servers(self, stack: contextlib.ExitStack) -> None:
        """Start a DHCP server in each VLAN, each in a namespace of its own behind the switch.

        For Linux answers ARP for the address of any interface on all of them: if the servers were one machine, a
        guest would seem to reach across VLANs.
        """
        trunk, switch = self._network.trunk, self._network.switch
        for vid, address in _SERVERS.items():
            host, interface = switch, trunk
            if vid:
                host, interface = stack.enter_context(make_container(f"server-{vid}")), f"vlan{vid}"
                tagged = f"link add link {trunk} name {interface} netns {host.name} type vlan id {vid}"
                run_ip(tagged, namespace=switch.name)
            run_ip(f"address add {address} dev {interface}", f"link set {interface} up", namespace=host.name)
            self._servers[vid] = stack.enter_context(serve_dhcp(host, interface, address))
            alive = self._servers[vid].process.poll() is None
            self._report.verify(f"DHCP server {address:15}  {f'VLAN {vid}' if vid else 'untagged'}", alive)

    def attach_guests(self, containers: contextlib.ExitStack) -> None:
        """ADD the guests; the trunk then makes interfaces for its VLANs inside."""
        self._report.start_step("The plugin attaches four guests (ADD)")
        self._report.say(f"    {'GUEST':8}  {'CONFIGURATION':66}  TIME")
        for guest in self._guests:
            containers.enter_context(make_container(guest.name))
            start = self._report.elapsed
            reply = self.call("ADD", guest)
            took = f"{self._report.elapsed - start:.1f} s"
            self._report.verify(f"{guest.name:8}  {json.dumps(guest.keys):66}  {took}", describe(reply), "success")
            guest.result = reply.document
            for port, vid in guest.ports.items():
                if port != "eth0":
                    added = f"link add link eth0 name {port} type vlan id {vid}"
                    run_ip(added, f"link set {port} up", namespace=guest.name)
        claim = f"uplink {self._network.uplink} got the VLANs that they need"
        self.verify_uplink("1 PVID Egress Untagged, 100, 200", claim)

    def lease_addresses(self) -> None:
        """Have every guest ask for an address; show beside it what the kernel made of its configuration."""
        self._report.start_step("Each guest asks for an address, and its own VLAN's server answers (DHCP)")
        layout = "{:8}  {:8}  {:32}  {:4}  {:17}  {}".format
        self._report.say("    " + layout("GUEST", "PORT", "VLANS IN THE KERNEL", "MTU", "LEASE", "SERVER"))
        for guest in self._guests:
            for port, vid in guest.ports.items():
                lease = request_lease(guest.container, port) or Lease("none", "none")
                vlans, mtu = show_vlans(guest.host_end), (guest.container.find_link(port) or {}).get("mtu")
                row = layout(guest.name, port, vlans, str(mtu), lease.address, lease.server)
                server = str(self._servers[vid].address.ip)
                self._report.verify(row, (vlans, mtu, lease.server), (guest.vlans, _MTU, server))
                guest.leases[port] = lease
        self.compare_servers()

    def compare_servers(self) -> None:
        """Verify that the servers know those leases, and by their logs that they heard nobody from another VLAN."""
        expected: dict[int, dict[str, str]] = {vid: {} for vid in self._servers}
        for guest in self._guests:
            for port, vid in guest.ports.items():
                expected[vid][guest.mac] = guest.find_address(port)
        granted = {vid: server.list_leases() for vid, server in self._servers.items()}
        self._report.verify("the servers' lease files have the same addresses for the guests' MACs", granted, expected)
        heard = {vid: server.list_clients() for vid, server in self._servers.items()}
        claim = "no server has heard the question of a guest outside of its VLAN"
        self._report.verify(claim, heard, {vid: set(leases) for vid, leases in expected.items()})

    def show_reach(self) -> None:
        """Try who reaches whom, with the largest packets that the MTU allows."""
        self._report.start_step(f"A VLAN carries packets of {_MTU} bytes, and nothing crosses to another")
        first, second, trunk, plain = self._guests
        server_100, server_200 = (str(self._servers[vid].address.ip) for vid in (100, 200))
        verify = self._report.verify
        size = f"{_MTU - _HEADERS} bytes, unfragmented,"
        verify(f"vm-100 pings {server_100} with {size} and is answered", first.gets_ping(server_100))
        too_large = first.gets_ping(server_100, size=_MTU + 1, patience_s=_SHORT_S)
        verify("one byte more does not fit", too_large, expected=False)
        verify(f"vm-100 asks by ARP for {server_100}, its server: answered", first.gets_arp(server_100))
        strangers = [
            (first, server_200, "the server of VLAN 200"),
            (first, second.find_address(), "vm-200"),
            (second, server_100, "the server of VLAN 100"),
            (plain, server_100, "the server of VLAN 100"),
        ]
        with ThreadPoolExecutor() as pool:  # to wait for all of them at once
            answers = pool.map(lambda ask: ask[0].gets_arp(ask[1], patience_s=_SHORT_S), strangers)
        for (guest, address, whose), answered in zip(strangers, answers, strict=True):
            verify(f"{guest.name} asks by ARP for {address}, {whose}: no answer", answered, expected=False)
        for port, address, whose in (
            ("eth0.100", server_100, "the server"),
            ("eth0.100", first.find_address(), "vm-100"),
            ("eth0.200", server_200, "the server"),
        ):
            verify(f"vm-trunk pings {address}, {whose}, through {port}: answered", trunk.gets_ping(address, port=port))

    def damage_and_repair(self) -> None:
        """Take a port's VLAN away behind the plugin's back; CHECK must say so, until it is back."""
        self._report.start_step("CHECK finds damage, and says what is wrong")
        verify = self._report.verify
        replies = [describe(self.check(guest)) for guest in self._guests]
        verify("CHECK passes for all four", replies, ["success"] * 4)
        guest = self._guests[0]
        server = str(self._servers[100].address.ip)
        run(f"bridge vlan del dev {guest.host_end} vid 100")
        connected = guest.gets_ping(server, patience_s=_SHORT_S)
        verify(f"bridge vlan del dev {guest.host_end} vid 100: vm-100 is cut off", connected, expected=False)
        damage = f'VLANs of "{guest.host_end}": expected native 100, found no VLAN'
        claim = "CHECK of vm-100 fails, and names what it expected and what it found"
        self.verify_error(claim, self.check(guest), 110, damage)
        run(f"bridge vlan add dev {guest.host_end} vid 100 pvid untagged")
        verify("the VLAN is put back: vm-100 reaches its server again", guest.gets_ping(server))
        verify("CHECK of vm-100 passes again", describe(self.check(guest)), "success")

    def verify_error(self, claim: str, reply: Reply, code: int, names: str) -> None:
        """Verify that a call failed with a code, and with a message that names the cause; show message and hint."""
        found, expected = describe(reply), f"code {code}, a message with '{names}', and a hint"
        if found.startswith(f"code {code}: ") and names in found and reply.document.get("details"):
            found = expected
        self._report.verify(f"{claim}: code {code}", found, expected)
        self._report.quote(reply.document["msg"])
        self._report.quote(f"Hint: {reply.document['details']}")

    def refuse_wrong_configs(self, containers: contextlib.ExitStack) -> None:
        """Try to attach a guest with mistakes that people make; each must be refused, and named."""
        self._report.start_step("Wrong configurations are refused, in words that help")
        container = containers.enter_context(make_container("vm-wrong"))
        before = node.take_snapshot()
        own = self._network.bridge
        for code, names, keys in (
            (100, "cn9-br", {"bridge": "cn9-br", "vlan": 100}),
            (102, "plain-br", {"bridge": "plain-br", "vlan": 100}),
            (7, "9001", {"bridge": own, "vlan": 100, "mtu": 9001}),
            (7, "5000", {"bridge": own, "vlan": 5000}),
        ):
            self.verify_error(json.dumps(keys), self.call("ADD", Guest(container.name, keys)), code, names)
        left = node.list_differences(before, node.take_snapshot()) + ["eth0"] * bool(container.find_link("eth0"))
        self._report.verify("they changed nothing, neither on the node nor in the guest", left, [])

    def detach_guests(self) -> None:
        """DEL all guests, one of them only after its namespace is gone."""
        self._report.start_step("The plugin detaches the guests (DEL)")
        gone = self._guests.pop(1)
        for guest in self._guests:
            self.verify_delete(guest, "")
        claim = f"uplink {self._network.uplink} keeps the VLAN of the one that is left"
        self.verify_uplink("1 PVID Egress Untagged, 200", claim)
        gone.container.delete()
        self.verify_delete(gone, ", although its namespace was deleted before")
        self.verify_uplink("1 PVID Egress Untagged", f"uplink {self._network.uplink} is as it was")

    def verify_delete(self, guest: Guest, remark: str) -> None:
        """DEL a guest, and see that nothing of it remains."""
        reply = self.call("DEL", guest)
        found = (describe(reply), reply.stdout, node.find_link(guest.host_end))
        self._report.verify(f"{guest.name:8}  {guest.host_end} is gone{remark}", found, ("success", "", None))


def check_machine(plugin: Bundle) -> None:
    """See that all is here that the demo needs.

    Raises:
        CannotStartError: something is missing.
    """
    if os.geteuid() != 0:
        raise CannotStartError("the demo needs root, to make network namespaces", "sudo ./install.sh demo")
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    if missing:
        raise CannotStartError("programs are missing", f"apt-get install {' '.join(sorted(missing))}")
    if not os.access(plugin.path, os.X_OK):
        raise CannotStartError(f'there is no program "{plugin.path}"', "build/build.sh")


def run_demo(report: Report) -> None:
    """Run the whole demo in namespaces of its own."""
    plugin = Bundle()
    check_machine(plugin)
    namespaces.leave_machine()
    kernel = f"Linux {os.uname().release}{' (User-Mode Linux)' if os.environ.get('UML') else ''}"
    report.say(f"{run(f'{plugin.path} --version').strip()} on {kernel}, in network namespaces of its own")
    report.start_step("A cluster network, with DHCP servers behind its uplink")
    with make_cluster_network("cn1", mtu=_MTU) as network:
        add_bridge("plain-br", filtering=False)
        Demo(report, plugin, network).run()
    report.say(f"\nAll {report.checks} checks passed in {report.elapsed:.1f} s; everything is taken down again.")


def stop_on_signals() -> None:
    """Turn the signals that end a program into a StoppedError, so that everything is taken down first."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]  # nohup's wish, for one

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # a second one must not cut the taking down short
        raise StoppedError(number)

    for number in numbers:
        signal.signal(number, stop)


def main() -> int:
    """Be the program; return the exit status."""
    argparse.ArgumentParser(prog="lab.demo", description=(__doc__ or "").partition("\n")[0]).parse_args()
    report = Report()
    stop_on_signals()
    try:
        run_demo(report)
    except StoppedError as e:
        print(f"Stopped by {signal.Signals(e.args[0]).name}; everything is taken down.", file=sys.stderr)
        return 128 + int(e.args[0])
    except CannotStartError as e:
        print(f"Error: {e.args[0]}\nHint: {e.args[1]}", file=sys.stderr)
        return 1
    except DemoFailedError as e:
        print(f"Error: the demo failed after {report.elapsed:.1f} s: {e}", file=sys.stderr)
        return 1
    except RuntimeError as e:
        print(f"Error: {e}\nHint: lab/kernel_probe.py tells what this kernel lacks", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
