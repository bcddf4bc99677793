"""The demo's main part: guests attached, what they reach, damage, wrong configurations, and the clean-up."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab import node
from lab.demo.discovering import show_networks
from lab.demo.guest import HEADERS, MTU, SHORT_S, Guest, describe, plan_guests, show_vlans
from lab.dhcp import DhcpServer, Lease, request_lease, serve_dhcp
from lab.namespaces import make_container
from lab.plugin import Bundle, Reply
from lab.report import Report
from lab.shell import run, run_ip
from lab.topology import ClusterNetwork

SERVERS = {100: "192.0.2.1/24", 200: "198.51.100.1/24", 0: "203.0.113.1/24"}
"""Addresses of the DHCP servers by VLAN; 0 is untagged."""


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
            show_networks(self._report, self._plugin, self._network, self._servers)
            with contextlib.ExitStack() as containers:
                self.attach_guests(containers)
                self.lease_addresses()
                self.show_reach()
                self.damage_and_repair()
                self.refuse_wrong_configs(containers)
                self.detach_guests()
            differences = node.list_differences(before, node.take_snapshot())
            claim = "nothing is left: links, VLANs, rules and files of the node are as they were before all this"
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
        self._report.verify(f"bridge {bridge} filters VLANs and has MTU {MTU}", found, (MTU, 1))
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
        for vid, address in SERVERS.items():
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
                self._report.verify(row, (vlans, mtu, lease.server), (guest.vlans, MTU, server))
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
        guests = {guest.mac for guest in self._guests}  # the probes of before were heard, too
        heard = {vid: server.list_clients() & guests for vid, server in self._servers.items()}
        claim = "no server has heard the question of a guest outside of its VLAN"
        self._report.verify(claim, heard, {vid: set(leases) for vid, leases in expected.items()})

    def show_reach(self) -> None:
        """Try who reaches whom, with the largest packets that the MTU allows."""
        self._report.start_step(f"A VLAN carries packets of {MTU} bytes, and nothing crosses to another")
        first, second, trunk, plain = self._guests
        server_100, server_200 = (str(self._servers[vid].address.ip) for vid in (100, 200))
        verify = self._report.verify
        size = f"{MTU - HEADERS} bytes, unfragmented,"
        verify(f"vm-100 pings {server_100} with {size} and is answered", first.gets_ping(server_100))
        too_large = first.gets_ping(server_100, size=MTU + 1, patience_s=SHORT_S)
        verify("one byte more does not fit", too_large, expected=False)
        verify(f"vm-100 asks by ARP for {server_100}, its server: answered", first.gets_arp(server_100))
        strangers = [
            (first, server_200, "the server of VLAN 200"),
            (first, second.find_address(), "vm-200"),
            (second, server_100, "the server of VLAN 100"),
            (plain, server_100, "the server of VLAN 100"),
        ]
        with ThreadPoolExecutor() as pool:  # to wait for all of them at once
            answers = pool.map(lambda ask: ask[0].gets_arp(ask[1], patience_s=SHORT_S), strangers)
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
        connected = guest.gets_ping(server, patience_s=SHORT_S)
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
