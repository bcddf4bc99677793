"""Discovery against the DHCP servers that sites run: behind a trunk, through a relay, and on the node itself."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest
import yaml

from cni_harvester.dhcp.verdict import Reason, Verdict
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.discover import discover
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.report import Discovery
from lab import node
from lab.dhcp import KINDS, DhcpServer, connect_relay, request_lease, serve_dhcp, serve_relay
from lab.faulty_dhcp import FaultyServer, serve_faults
from lab.namespaces import Container, make_container
from lab.plugin import ROOT, Plugin
from lab.shell import run, run_ip
from lab.topology import ClusterNetwork
from lab.vm_network import join_vlan, make_plain_network, plug_in

VLAN = 100
PLACE = Place("cn1-br", VLAN)
SERVER, GATEWAY = "192.0.2.1", "192.0.2.1"
ADDRESS, CIDR = f"{SERVER}/24", "192.0.2.0/24"
RELAYED_SERVER = "198.51.100.2"
SECOND, SECOND_GATEWAY, SECOND_MAC = "192.0.2.2", "192.0.2.254", "02:00:00:00:00:02"
MACHINE = {
    "cniVersion": "1.1.0", "name": "vms", "type": "cni-harvester", "bridge": "cn1-br", "vlan": VLAN,
    "runtimeConfig": {"mac": SECOND_MAC},
}  # fmt: skip

any_kernel = pytest.mark.any_kernel
every_kind = pytest.mark.parametrize("kind", KINDS)
every_relayed_kind = pytest.mark.parametrize("kind", [kind for kind, server in KINDS.items() if server.serves_relays])


def _wish(server: str = "", **others: Any) -> Wishes:
    """Be content with the first good answer, and patient until then."""
    return Wishes(**{"timeout_s": 10, "first": True, "server": IPv4Address(server) if server else None} | others)


def _get_verdict(found: Discovery) -> Verdict:
    assert found.verdict is not None
    return found.verdict


def _assert_route(found: Discovery, gateway: str = GATEWAY, connectivity: str = "true") -> None:
    said = f"{found.verdict} {found.facts}"
    assert (str(found.cidr), str(found.gateway), found.connectivity) == (CIDR, gateway, connectivity), said
    assert _get_verdict(found).reason is Reason.FOUND


@pytest.fixture
def far_vlan(cluster: ClusterNetwork) -> str:
    """The switch's interface in the VLAN, behind the trunk, with the server's address."""
    return join_vlan(cluster, VLAN, address=ADDRESS)


@pytest.fixture
def plain(empty_node: None, container: Container) -> Iterator[Place]:
    """A plain network; `container` has the server's address on it."""
    with make_plain_network() as bridge, plug_in(bridge, container, address=ADDRESS):
        yield Place(bridge, 0)


# --- behind the trunk -------------------------------------------------------------------------------------------


@every_kind
def test_route_of_a_vlan_behind_the_trunk_is_found(cluster: ClusterNetwork, far_vlan: str, kind: str) -> None:
    """CIDR and gateway, whether or not the server is named, and all else that the server says; no lease is taken."""
    options: dict[str, Any] = {"dns": ["192.0.2.53"], "domain": "example.org", "mtu": 1400, "ntp": ["192.0.2.123"]}
    with serve_dhcp(cluster.switch, far_vlan, ADDRESS, kind=kind, **options) as server:
        found = discover(PLACE, _wish())
        named = discover(PLACE, _wish(SERVER, check=False))
        assert server.read_leases() == {}
        assert len(server.list_clients()) == 1
    _assert_route(found)
    _assert_route(named, connectivity="")
    (offer,) = found.to_json()["offers"]
    expected = {"taken": True, "server": SERVER, "cidr": CIDR, "gateway": GATEWAY, "leaseSeconds": 600}
    expected |= {"dns": ["192.0.2.53"], "domain": "example.org", "mtu": 1400, "ntp": ["192.0.2.123"]}
    assert {key: offer.get(key) for key in expected} == expected
    assert (offer["serverMAC"], "faults" in offer) == (cluster.switch.find_link(far_vlan)["address"], False)  # type: ignore[index]


@every_relayed_kind
def test_route_of_a_vlan_with_a_relay_is_found(cluster: ClusterNetwork, far_vlan: str, kind: str) -> None:
    """The server is named by its own address, which is not of the VLAN, and the relay, which is the gateway, too."""
    with make_container("server") as host:
        link = connect_relay(cluster.switch, host, CIDR)
        with (
            serve_dhcp(host, link.server_interface, str(link.server_address), kind=kind, subnet=CIDR) as server,
            serve_relay(cluster.switch, far_vlan, link.relay_interface, RELAYED_SERVER),
        ):
            found = discover(PLACE, _wish())
            named = discover(PLACE, _wish(RELAYED_SERVER, check=False))
            assert server.read_leases() == {}
        run_ip(f"link del {link.relay_interface}", namespace=cluster.switch.name)
    _assert_route(found)
    _assert_route(named, connectivity="")
    (offer,) = found.to_json()["offers"]
    assert (offer["server"], offer["relay"]) == (RELAYED_SERVER, GATEWAY)
    assert f"through relay {GATEWAY}" in _get_verdict(found).text


def test_server_behind_a_relay_is_asked_for_what_its_offer_lacks(cluster: ClusterNetwork, far_vlan: str) -> None:
    """The DHCPINFORM goes through the relay's router to the server itself; it has no gateway either."""
    with make_container("server") as host:
        link = connect_relay(cluster.switch, host, CIDR)
        address = str(link.server_address)
        with (
            serve_dhcp(host, link.server_interface, address, kind="isc", subnet=CIDR, router=None) as server,
            serve_relay(cluster.switch, far_vlan, link.relay_interface, RELAYED_SERVER),
        ):
            found = discover(PLACE, Wishes(timeout_s=1, server=IPv4Address(RELAYED_SERVER)))
            log = server.read_log()
        run_ip(f"link del {link.relay_interface}", namespace=cluster.switch.name)
    assert _get_verdict(found).reason is Reason.NO_GATEWAY
    assert "DHCPACK to 192.0.2." in log


def test_route_of_the_untagged_network_is_found(cluster: ClusterNetwork, far_vlan: str) -> None:
    """It is another network than the VLAN on the same cable, with a server of its own."""
    own = "198.51.100.1/24"
    run_ip(f"address add {own} dev {cluster.trunk}", namespace=cluster.switch.name)
    with (
        serve_dhcp(cluster.switch, far_vlan, ADDRESS),
        serve_dhcp(cluster.switch, cluster.trunk, own),
    ):
        untagged, tagged = discover(Place("cn1-br", 0), _wish(check=False)), discover(PLACE, _wish(check=False))
    assert (str(untagged.cidr), str(untagged.gateway)) == ("198.51.100.0/24", "198.51.100.1")
    _assert_route(tagged, connectivity="")


def test_server_of_another_vlan_is_not_heard(cluster: ClusterNetwork, far_vlan: str) -> None:
    """What a probe hears is what a machine of the VLAN hears, and neither is the VLAN left on the uplink."""
    with serve_dhcp(cluster.switch, far_vlan, ADDRESS) as server:
        found = discover(Place("cn1-br", VLAN + 1), Wishes(timeout_s=1))
        assert server.list_clients() == set()
    assert _get_verdict(found).reason in {Reason.SILENCE, Reason.NO_SERVER}
    assert found.offers == ()


def test_answer_in_another_vlan_names_that_vlan(cluster: ClusterNetwork) -> None:
    """A switch that moves frames between VLANs is seen on the uplink; beside a sound answer it is a warning."""
    with serve_faults(cluster.switch, cluster.trunk, "other-vlan", vlan=VLAN) as server:
        found = discover(PLACE, Wishes(timeout_s=1))
        server.use("other-vlan", "none")
        warned = discover(PLACE, Wishes(timeout_s=1, check=False))
    verdict = _get_verdict(found)
    assert (verdict.reason, found.is_valid) == (Reason.WRONG_VLAN, False)
    assert f"VLAN {VLAN + 1} (server {SERVER})" in verdict.text
    assert f"VLAN {VLAN} of cn1-br" in verdict.text
    _assert_route(warned, connectivity="")
    assert [f"VLAN {VLAN + 1}" in warning for warning in _get_verdict(warned).warnings] == [True]


def test_answer_that_the_node_drops_is_told_from_no_answer(cluster: ClusterNetwork, far_vlan: str) -> None:
    """A rule on the bridge stops it between the uplink and the machine: the network is not to blame."""
    chain = "chain forward { type filter hook forward priority 0; udp dport 68 drop; }"
    run("nft -f -", stdin=f"table bridge site {{ {chain}; }}")
    with serve_dhcp(cluster.switch, far_vlan, ADDRESS) as server:
        found = discover(PLACE, Wishes(timeout_s=1))
        assert len(server.list_clients()) == 1
    run("nft delete table bridge site")
    verdict = _get_verdict(found)
    assert (verdict.reason, found.is_valid) == (Reason.DROPPED_ON_NODE, False)
    assert "the uplink" in verdict.text


# --- several servers, and servers on the node -------------------------------------------------------------------


@contextmanager
def _serve_in_machine(plugin: Plugin, machine: Container, router: str) -> Iterator[DhcpServer]:
    """Run a second server in a machine of the VLAN on the same node, attached by the plugin."""
    plugin.add(MACHINE, machine)
    run_ip(f"address add {SECOND}/24 dev eth0", namespace=machine.name)
    addresses = ("192.0.2.20", "192.0.2.29")
    with serve_dhcp(machine, "eth0", f"{SECOND}/24", router=router, addresses=addresses) as server:
        yield server
    plugin.delete(MACHINE, machine)


def test_server_in_a_machine_of_the_same_node_is_found(
    cluster: ClusterNetwork, container: Container, plugin: Plugin
) -> None:
    """Its answers never pass the uplink. The machine keeps its attachment and its VLAN, which the probe shares."""
    with _serve_in_machine(plugin, container, SECOND) as server:
        before = node.take_snapshot()
        found = discover(PLACE, _wish())
        assert node.list_differences(before, node.take_snapshot()) == []
        assert server.read_leases() == {}
    _assert_route(found, SECOND)
    assert found.offers[0].server_mac == SECOND_MAC


def test_two_servers_are_compared(cluster: ClusterNetwork, far_vlan: str, container: Container, plugin: Plugin) -> None:
    """When they agree nobody is bothered; when they do not, MAC and identifier of each are named."""
    with serve_dhcp(cluster.switch, far_vlan, ADDRESS, kind="kea"):
        with _serve_in_machine(plugin, container, GATEWAY):
            agreed = discover(PLACE, Wishes(timeout_s=1, check=False))
        with _serve_in_machine(plugin, container, SECOND_GATEWAY):
            found = discover(PLACE, Wishes(timeout_s=1, check=False))
            trusting = discover(PLACE, Wishes(timeout_s=1, check=False, trusted=frozenset({IPv4Address(SERVER)})))
            named = discover(PLACE, _wish(SECOND, check=False))
    _assert_route(agreed, connectivity="")
    assert ({offer.server for offer in agreed.offers}, _get_verdict(agreed).warnings) == (
        {IPv4Address(SERVER), IPv4Address(SECOND)},
        (),
    )
    (warning,) = _get_verdict(found).warnings
    far = cluster.switch.find_link(far_vlan)
    assert far is not None
    assert f"{SERVER} ({far['address']}) says {CIDR} via {GATEWAY}" in warning
    assert f"{SECOND} ({SECOND_MAC}) says {CIDR} via {SECOND_GATEWAY}" in warning
    _assert_route(trusting, connectivity="")
    (rogue,) = [warning for warning in _get_verdict(trusting).warnings if warning.startswith("rogue")]
    assert SECOND in rogue
    assert SECOND_MAC in rogue
    _assert_route(named, SECOND_GATEWAY, connectivity="")


# --- what a server leaves out, and what it says in another way --------------------------------------------------


@any_kernel
@every_kind
def test_server_without_router_gives_no_gateway(plain: Place, container: Container, kind: str) -> None:
    """Named or not. Only the one that is named is asked for it (DHCPINFORM), from the address that it has offered."""
    with serve_dhcp(container, "eth0", ADDRESS, kind=kind, router=None) as server:
        found = discover(plain, Wishes(timeout_s=0.5))
        unasked = server.read_log()
        named = discover(plain, Wishes(timeout_s=0.5, server=IPv4Address(SERVER)))
        asked = server.read_log()
        assert server.list_leases() == {}
    for one in (found, named):
        verdict = _get_verdict(one)
        assert (verdict.reason, str(one.cidr), one.gateway, one.is_valid) == (Reason.NO_GATEWAY, CIDR, None, False)
        assert "no gateway" in verdict.text
        assert verdict.advice
    assert "INFORM" not in unasked
    assert ("INFORM" in asked) == (kind != "udhcpd")  # whose log does not have it


@any_kernel
def test_gateway_that_a_named_server_gives_only_when_asked_is_found(plain: Place, container: Container) -> None:
    """By DHCPINFORM; without a name, nobody is asked."""
    run_ip(f"address del {ADDRESS} dev eth0", namespace=container.name)
    with serve_faults(container, "eth0", "no-router", arp=[], icmp=True) as server:
        unnamed = discover(plain, Wishes(timeout_s=0.5))
        assert "INFORM" not in server.read_log()
        with _answer_informs_fully(server):
            named = discover(plain, Wishes(timeout_s=1, server=IPv4Address(SERVER)))
        assert "INFORM" in server.read_log()
    assert _get_verdict(unnamed).reason is Reason.NO_GATEWAY
    _assert_route(named)
    assert "DHCPINFORM" in _get_verdict(named).text
    assert [str(offer.gateway) for offer in named.offers] == [GATEWAY]


@contextmanager
def _answer_informs_fully(server: FaultyServer) -> Iterator[None]:
    """Have a server name its router from the moment that it has made its offer."""
    before = server.read_log().count("DISCOVER from")

    def follow() -> None:
        server.daemon.wait_until("asked", lambda: server.read_log().count("DISCOVER from") > before)
        server.use("none")

    follower = threading.Thread(target=follow)
    follower.start()
    yield
    follower.join()


@any_kernel
@pytest.mark.parametrize("kind", ["dnsmasq", "isc"])
def test_named_server_without_a_free_address_is_asked_from_the_one_given(
    plain: Place, container: Container, other: Container, kind: str
) -> None:
    """It offers nothing, and yet knows the network: a person gives an address, and the route is found."""
    only = ("192.0.2.100", "192.0.2.100")
    with (
        plug_in(plain.bridge, other),
        serve_dhcp(container, "eth0", ADDRESS, kind=kind, addresses=only),
    ):
        assert request_lease(other) is not None
        silent = discover(plain, Wishes(timeout_s=0.5, server=IPv4Address(SERVER)))
        own = IPv4Interface("192.0.2.60/24")
        found = discover(plain, Wishes(timeout_s=0.5, server=IPv4Address(SERVER), address=own))
    assert not silent.is_valid
    _assert_route(found)


@any_kernel
@every_kind
def test_default_route_of_option_121_goes_before_the_router(plain: Place, container: Container, kind: str) -> None:
    """As RFC 3442 has it; the other routes are in the report, and the difference is told."""
    routes = {"0.0.0.0/0": SECOND_GATEWAY, "198.51.100.0/24": "192.0.2.9"}
    with serve_dhcp(container, "eth0", ADDRESS, kind=kind, routes=routes):
        found = discover(plain, _wish(check=False))
    _assert_route(found, SECOND_GATEWAY, connectivity="")
    (offer,) = found.to_json()["offers"]
    assert offer["routes"] == [{"destination": "198.51.100.0/24", "gateway": "192.0.2.9"}]


# --- the program ------------------------------------------------------------------------------------------------


def _call(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cni_harvester", "discover", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_program_prints_what_it_found(cluster: ClusterNetwork, far_vlan: str) -> None:
    """As a table, as JSON, as YAML, with exit status 0 for a valid route; 1 and a reason when there is none."""
    vlan = ["--bridge", "cn1-br", "--vlan", str(VLAN)]
    with serve_dhcp(cluster.switch, far_vlan, ADDRESS):
        table = _call(*vlan, "--first")
        as_json = _call(*vlan, "--first", "--no-checks", "--server", SERVER, "-o", "json")
        as_yaml = _call(*vlan, "--first", "--no-checks", "--trusted", SERVER, "-o", "yaml")
        other = _call(*vlan, "--timeout", "0.5", "--server", SECOND, "-o", "json")
    with serve_dhcp(cluster.switch, far_vlan, ADDRESS, router=None):
        without = _call(*vlan, "--timeout", "0.5")
    missing = _call("--bridge", "none-br", "--vlan", "1")

    assert [done.returncode for done in (table, as_json, as_yaml)] == [0, 0, 0], (table, as_json, as_yaml)
    assert [done.stderr for done in (table, as_json, as_yaml, other, without)] == [""] * 5
    lines = table.stdout.splitlines()
    assert lines[0].startswith(f"VLAN {VLAN} of cn1-br on node ")
    assert [line.split() for line in lines[1:3]] == [["CIDR", "GATEWAY", "CONNECTIVITY"], [CIDR, GATEWAY, "true"]]
    assert any(line.startswith("taken") and SERVER in line for line in lines)

    document = json.loads(as_json.stdout)
    expected = {"bridge": "cn1-br", "vlan": VLAN, "cidr": CIDR, "gateway": GATEWAY, "reason": "found"}
    assert {key: document.get(key) for key in expected} == expected
    again = yaml.safe_load(as_yaml.stdout)
    assert {key: again.get(key) for key in expected} == expected
    assert again.keys() == document.keys()

    assert (other.returncode, json.loads(other.stdout)["reason"]) == (1, "server-silent")
    assert without.returncode == 1
    assert "(no-gateway)" in without.stdout
    assert "Next: " in without.stdout
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "none-br" in missing.stderr
    assert "(code 100)" in missing.stderr
