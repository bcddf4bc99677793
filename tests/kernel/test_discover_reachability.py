"""What discovery says of the gateway: each fact by itself, with its reason, on a plain network with real stations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS, IPv6
from scapy.layers.l2 import Ether

from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.discover import check_route, discover
from cni_harvester.discovery.facts import GATEWAY_ARP, GATEWAY_ICMP, ONE_GATEWAY_MAC, PATH_MTU, Answer
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.report import Discovery
from cni_harvester.model.route import Route
from lab import node
from lab.dhcp import OWN_ADDRESS, DhcpServer, serve_dhcp
from lab.faulty_dhcp import serve_faults
from lab.faulty_dhcp.faults import OCCUPANT_MAC
from lab.namespaces import Container, make_container
from lab.shell import run_ip
from lab.vm_network import make_plain_network, plug_in, repeat_frame

pytestmark = pytest.mark.any_kernel

BRIDGE_MTU = 9000
SERVER, GATEWAY = "192.0.2.1", "192.0.2.254"
GATEWAY_MAC, OTHER_MAC = "02:00:00:00:00:fe", "02:00:00:00:00:fd"
ROUTE = Route(mode="manual", cidr=IPv4Network("192.0.2.0/24"), gateway=IPv4Address(GATEWAY))
OWN = IPv4Interface("192.0.2.200/24")
YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN
FIRST = Wishes(timeout_s=10, first=True)


@pytest.fixture
def place(empty_node: None) -> Iterator[Place]:
    """A plain network of MTU 9000, which is found unchanged after the test."""
    with make_plain_network(mtu=BRIDGE_MTU) as bridge:
        before = node.take_snapshot()
        yield Place(bridge, 0)
        after = node.take_snapshot() | {"namespaces": before["namespaces"]}  # that of `container` outlives this one
        assert node.list_differences(before, after) == []


@contextmanager
def _station(place: Place, name: str, address: str, mac: str) -> Iterator[Container]:
    """A real machine on the network."""
    with (
        make_container(name) as container,
        plug_in(place.bridge, container, address=f"{address}/24", mac=mac, mtu=BRIDGE_MTU),
    ):
        yield container


@contextmanager
def _dhcp(place: Place, *, router: str = GATEWAY, **options: Any) -> Iterator[DhcpServer]:
    """A real DHCP server, which is not the router unless told so."""
    with (
        _station(place, "server", SERVER, "02:00:00:00:00:01") as host,
        serve_dhcp(host, "eth0", f"{SERVER}/24", router=router, **options) as server,
    ):
        yield server


def _list_facts(found: Discovery) -> dict[str, tuple[Answer, str]]:
    return {fact.name: (fact.answer, fact.reason) for fact in found.facts}


def _assert_facts(found: Discovery, connectivity: str, answers: Sequence[Answer]) -> dict[str, str]:
    """Compare the four facts of the gateway; return their reasons, none of which may be empty."""
    facts = _list_facts(found)
    names = (GATEWAY_ARP, ONE_GATEWAY_MAC, GATEWAY_ICMP, PATH_MTU)
    assert ([facts[name][0] for name in names], found.connectivity) == (list(answers), connectivity), facts
    document = found.to_json()
    assert document["connectivity"] == connectivity
    reasons = {row["check"]: row["reason"] for row in document["reachability"]}
    assert all(reasons.values())
    return reasons


def _largest_ping(machine: Container, to: str, low: int, high: int) -> int:
    """Return the largest IP packet that ping gets an answer to, between one that is answered and one that is not."""
    while high - low > 1:
        size = (low + high) // 2
        said = machine.run(f"ping -n -c 1 -W 0.3 -M do -s {size - 28} {to}", check=False)
        low, high = (size, high) if " 1 received" in said else (low, size)
    return low


def test_gateway_that_answers_all_is_reachable(place: Place) -> None:
    """Everything is yes, its MAC is named, and the path carries what the bridge does."""
    with _dhcp(place), _station(place, "gateway", GATEWAY, GATEWAY_MAC):
        found = discover(place, FIRST)
    reasons = _assert_facts(found, "true", (YES, YES, YES, YES))
    assert (str(found.cidr), str(found.gateway)) == ("192.0.2.0/24", GATEWAY)
    assert GATEWAY_MAC in reasons[GATEWAY_ARP]
    assert str(BRIDGE_MTU) in reasons[PATH_MTU]


def test_gateway_that_drops_icmp_is_reachable_all_the_same(place: Place) -> None:
    """It answers ARP, so it is there; the reason says that only its ICMP is missing."""
    with _dhcp(place), _station(place, "gateway", GATEWAY, GATEWAY_MAC) as gateway:
        gateway.run("sh -c 'echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all'")
        found = discover(place, FIRST)
    reasons = _assert_facts(found, "true", (YES, YES, NO, UNKNOWN))
    assert "drops ICMP" in reasons[GATEWAY_ICMP]
    assert "reachable" in reasons[GATEWAY_ICMP]


def test_gateway_that_is_absent_is_unreachable(place: Place) -> None:
    """The route is valid, for the server says so, and nobody has the gateway's address."""
    with _dhcp(place):
        found = discover(place, FIRST)
    reasons = _assert_facts(found, "false", (NO, UNKNOWN, UNKNOWN, UNKNOWN))
    assert found.is_valid
    assert GATEWAY in reasons[GATEWAY_ARP]


def test_two_stations_with_the_gateways_address_are_both_named(place: Place) -> None:
    """One of them is wrong; which, only a person can tell."""
    with (
        _dhcp(place),
        _station(place, "gateway", GATEWAY, GATEWAY_MAC),
        _station(place, "impostor", GATEWAY, OTHER_MAC),
    ):
        found = discover(place, FIRST)
    reasons = _assert_facts(found, "true", (YES, NO, YES, YES))
    assert GATEWAY_MAC in reasons[ONE_GATEWAY_MAC]
    assert OTHER_MAC in reasons[ONE_GATEWAY_MAC]


@pytest.mark.parametrize("mtu", [576, 8999])
def test_gateway_that_ignores_large_packets_gives_the_exact_size(place: Place, container: Container, mtu: int) -> None:
    """The largest size that is answered is reported, to the byte."""
    with (
        plug_in(place.bridge, container, mtu=BRIDGE_MTU),
        serve_faults(container, "eth0", "none", arp=[], icmp=True, mtu=mtu),
    ):
        found = discover(place, FIRST)
    reasons = _assert_facts(found, "true", (YES, YES, YES, NO))
    assert f" {mtu} bytes" in reasons[PATH_MTU]
    assert str(BRIDGE_MTU) in reasons[PATH_MTU]


def test_narrow_path_to_the_gateway_gives_the_size_that_ping_finds(place: Place) -> None:
    """Behind a cable of MTU 1400 between two switches, the size is that which a machine of the network can use."""
    with (
        make_plain_network("far-br", mtu=BRIDGE_MTU) as far,
        _dhcp(place),
        _station(Place(far, 0), "gateway", GATEWAY, GATEWAY_MAC),
        _station(place, "vm", "192.0.2.7", OTHER_MAC) as machine,
    ):
        run_ip(
            "link add near-p mtu 1400 type veth peer name far-p mtu 1400",
            f"link set near-p addrgenmode none master {place.bridge} up",
            f"link set far-p addrgenmode none master {far} up",
        )
        found = discover(place, FIRST)
        largest = _largest_ping(machine, GATEWAY, 1390, 1410)
        run_ip("link del near-p")
    reasons = _assert_facts(found, "true", (YES, YES, YES, NO))
    assert 1400 <= largest <= 1404  # a cable of Linux carries a VLAN tag's worth more than its MTU
    assert f" {largest} bytes" in reasons[PATH_MTU]


def test_offered_address_that_is_in_use_is_left_to_its_holder(place: Place, container: Container) -> None:
    """No ICMP is tried from it, the holder's MAC is named, and the gateway is reachable by ARP."""
    with (
        plug_in(place.bridge, container, mtu=BRIDGE_MTU),
        serve_faults(container, "eth0", "arp-conflict", arp=[], icmp=True),
    ):
        found = discover(place, FIRST)
    reasons = _assert_facts(found, "true", (YES, YES, UNKNOWN, UNKNOWN))
    assert OCCUPANT_MAC in reasons[GATEWAY_ICMP]
    assert "192.0.2.77" in reasons[GATEWAY_ICMP]


def test_real_station_with_the_offered_address_keeps_it(place: Place) -> None:
    """A server that does not look before it offers leaves it to us to look."""
    taken = "192.0.2.100"
    with (
        _dhcp(place, addresses=(taken, taken)) as server,
        _station(place, "gateway", GATEWAY, GATEWAY_MAC) as gateway,
        _station(place, "vm", taken, OTHER_MAC),
    ):
        found = discover(place, FIRST)
        neighbours = gateway.ip("neigh show")
        assert server.list_leases() == {}
    reasons = _assert_facts(found, "true", (YES, YES, UNKNOWN, UNKNOWN))
    assert f"{taken} is in use by {OTHER_MAC}" in reasons[GATEWAY_ICMP]
    assert [entry for entry in neighbours if entry["dst"] == taken] == []


def test_address_that_is_given_is_used_instead_of_the_offered_one(place: Place, container: Container) -> None:
    """A person may know a free address where the server offers one that is not."""
    with (
        plug_in(place.bridge, container, mtu=BRIDGE_MTU),
        serve_faults(container, "eth0", "arp-conflict", arp=[], icmp=True),
    ):
        found = discover(place, Wishes(timeout_s=10, first=True, address=OWN))
    _assert_facts(found, "true", (YES, YES, YES, YES))


def test_without_checks_nothing_is_said_of_connectivity(place: Place) -> None:
    """An empty word is none of Harvester's; the route is there all the same."""
    with _dhcp(place, router=OWN_ADDRESS):
        found = discover(place, Wishes(timeout_s=10, first=True, check=False))
    assert (found.is_valid, found.connectivity) == (True, "")
    assert GATEWAY_ARP not in _list_facts(found)


def test_manual_route_is_checked_from_the_address_that_is_given(place: Place) -> None:
    """DHCP is not asked: there is no server, and no verdict."""
    with _station(place, "gateway", GATEWAY, GATEWAY_MAC):
        found = check_route(place, ROUTE, Wishes(address=OWN))
    _assert_facts(found, "true", (YES, YES, YES, YES))
    assert found.verdict is None
    assert (found.cidr, found.gateway) == (ROUTE.cidr, ROUTE.gateway)


def test_manual_route_without_an_address_is_checked_by_arp(place: Place) -> None:
    """That suffices to know that the gateway is there."""
    with _station(place, "gateway", GATEWAY, GATEWAY_MAC):
        found = check_route(place, ROUTE, Wishes())
    reasons = _assert_facts(found, "true", (YES, YES, UNKNOWN, UNKNOWN))
    assert "no address" in reasons[GATEWAY_ICMP]


def test_manual_route_whose_gateway_is_absent_is_unreachable(place: Place) -> None:
    """Whatever address is given."""
    found = check_route(place, ROUTE, Wishes(address=OWN))
    _assert_facts(found, "false", (NO, UNKNOWN, UNKNOWN, UNKNOWN))


def test_manual_route_from_an_address_of_another_subnet_tries_no_icmp(place: Place) -> None:
    """Both are named: an answer would have to come by a router."""
    with _station(place, "gateway", GATEWAY, GATEWAY_MAC):
        found = check_route(place, ROUTE, Wishes(address=IPv4Interface("198.51.100.5/24")))
    reasons = _assert_facts(found, "true", (YES, YES, UNKNOWN, UNKNOWN))
    assert f"{GATEWAY} is outside of 198.51.100.0/24" in reasons[GATEWAY_ICMP]


def test_manual_route_of_ipv6_is_neither_reachable_nor_unreachable(place: Place) -> None:
    """It was not tried, which says nothing of the network."""
    route = Route(mode="manual", cidr=IPv6Network("2001:db8::/64"), gateway=IPv6Address("2001:db8::1"))
    found = check_route(place, route, Wishes())
    assert (found.is_valid, found.connectivity) == (True, "ping failed")


def _advertise(*, hop_limit: int = 255) -> bytes:
    """Make a router advertisement with a prefix, an MTU, a DNS server, and both flags of DHCPv6."""
    return bytes(
        Ether(src=OTHER_MAC, dst="33:33:00:00:00:01")
        / IPv6(src="fe80::fd", dst="ff02::1", hlim=hop_limit)
        / ICMPv6ND_RA(M=1, O=1, routerlifetime=1800)
        / ICMPv6NDOptMTU(mtu=1480)
        / ICMPv6NDOptPrefixInfo(prefix="2001:db8::", prefixlen=64)
        / ICMPv6NDOptRDNSS(dns=["2001:db8::53"])
    )


def test_ipv6_router_is_reported_beside_the_ipv4_route(place: Place) -> None:
    """What it advertises is in the report; the IPv4 route is found as without it, and nobody takes an address of it."""
    with (
        _dhcp(place),
        _station(place, "gateway", GATEWAY, GATEWAY_MAC),
        repeat_frame(place.bridge, _advertise()),
    ):
        found = discover(place, Wishes(timeout_s=1))
    _assert_facts(found, "true", (YES, YES, YES, YES))
    assert found.to_json()["ipv6Routers"] == [
        {
            "router": "fe80::fd",
            "routerMAC": OTHER_MAC,
            "lifetimeSeconds": 1800,
            "mtu": 1480,
            "prefixes": ["2001:db8::/64"],
            "dns": ["2001:db8::53"],
            "dhcpv6Addresses": True,
            "dhcpv6Settings": True,
        }
    ]


def test_ipv6_router_without_any_dhcp_server_is_reported(place: Place) -> None:
    """A network of IPv6 alone has no IPv4 route, and its router is seen all the same, with what is wrong about it."""
    with repeat_frame(place.bridge, _advertise(hop_limit=64)):
        found = discover(place, Wishes(timeout_s=0.8))
    assert found.connectivity == "DHCP failed"
    (router,) = found.to_json()["ipv6Routers"]
    assert "hop limit is 64" in router["faults"][0]
