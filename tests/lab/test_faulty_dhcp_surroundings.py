"""The lab's faulty DHCP server: its options, its gateway, its end, and what a real client makes of it."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.dhcp import request_lease
from lab.faulty_dhcp import serve_faults
from lab.namespaces import Container
from lab.plugin import ROOT
from lab.shell import run_ip

from .wire import Wire, ask

OWNERS = ("00:00:5e:00:53:01", "00:00:5e:00:53:02")
ROUTER = "192.0.2.1"


@pytest.fixture
def cable(container: Container, other: Container) -> Iterator[None]:
    """A cable between the `eth0` of both namespaces; neither has an address."""
    run_ip(f"link add eth0 mtu 9000 netns {container.name} type veth peer name eth0 mtu 9000 netns {other.name}")
    for end in (container, other):
        run_ip("link set eth0 up", namespace=end.name)
    yield
    run_ip("link del eth0", namespace=other.name)


def list_owners(guest: Container, address: str) -> set[str]:
    """Return the MACs of all that answer a machine's ARP requests for an address within a second."""
    output = guest.run(f"arping -w 1 -I eth0 {address}", check=False)
    return {mac.lower() for mac in re.findall(r"\[([0-9A-F:]{17})\]", output)}


def gets_ping(guest: Container, address: str, size: int) -> bool:
    """Whether an IP packet of that size, which nobody may fragment, is answered."""
    return ", 0% packet loss" in guest.run(f"ping -n -c 1 -W 1 -M do -s {size - 28} {address}", check=False)


@pytest.mark.parametrize("fault", ["none", "duplicate", "infinite-lease", "two-routers", "overload"])
def test_real_client_takes_what_is_right(cable: None, container: Container, other: Container, fault: str) -> None:
    """Address, mask and router of an answer that is sound, however odd, arrive at udhcpc."""
    with serve_faults(container, "eth0", fault) as server:
        lease = request_lease(other)
        assert lease is not None, server.read_log()
    assert (lease.address, lease.server) == ("192.0.2.77/24", ROUTER)
    assert lease.options["router"].split()[0] == ROUTER


def test_address_router_and_lease_are_as_told(cable: None, container: Container, other: Container) -> None:
    """A subnet of another size, a router that is not the server, and a route that goes before it."""
    told = {"address": "198.51.100.65/26", "offer": "198.51.100.99", "router": "198.51.100.70", "lease_s": 15}
    with serve_faults(container, "eth0", "none", **told):
        lease = request_lease(other)
        assert lease is not None
    assert (lease.address, lease.server) == ("198.51.100.99/26", "198.51.100.65")
    assert lease.options == {"lease": "15", "router": "198.51.100.70"}


def test_gateway_answers_arp_and_echo(cable: None, container: Container, other: Container) -> None:
    """With its interface's MAC, and up to its own MTU."""
    run_ip("address add 192.0.2.5/24 dev eth0", namespace=other.name)
    with serve_faults(container, "eth0", "silent", arp=[], icmp=True, mtu=1500):
        link = container.find_link("eth0")
        assert link is not None
        assert list_owners(other, ROUTER) == {link["address"]}
        assert gets_ping(other, ROUTER, 1500)
        assert not gets_ping(other, ROUTER, 1501)
        assert list_owners(other, "192.0.2.77") == set()


def test_gateway_without_being_asked_for_is_not_there(cable: None, container: Container, other: Container) -> None:
    """The router that the server names need not exist."""
    run_ip("address add 192.0.2.5/24 dev eth0", namespace=other.name)
    with serve_faults(container, "eth0", "none"):
        assert list_owners(other, ROUTER) == set()


def test_two_owners_of_the_router_both_answer(cable: None, container: Container, other: Container) -> None:
    """As two machines with the same address would."""
    run_ip("address add 192.0.2.5/24 dev eth0", namespace=other.name)
    with serve_faults(container, "eth0", "silent", arp=OWNERS):
        assert list_owners(other, ROUTER) == set(OWNERS)


def test_conflicting_address_has_an_owner_while_that_fault_lasts(
    cable: None, container: Container, other: Container
) -> None:
    """The address that is given away answers ARP, and no longer with other faults."""
    run_ip("address add 192.0.2.5/24 dev eth0", namespace=other.name)
    with serve_faults(container, "eth0", "arp-conflict") as server:
        assert list_owners(other, "192.0.2.77") == {"00:00:5e:00:53:88"}
        server.use("none")
        assert list_owners(other, "192.0.2.77") == set()


def test_server_of_a_vlan_answers_with_its_tag(container: Container) -> None:
    """It heeds that tag alone; and "other-vlan" is the next one."""
    run_ip(f"link add wire type veth peer name eth0 netns {container.name}", "link set wire up")
    run_ip("link set eth0 up", namespace=container.name)
    wire = Wire("wire")
    with serve_faults(container, "eth0", "none", "other-vlan", vlan=100):
        wire.send(ask())
        wire.send(ask(vlan=101))
        wire.send(ask(vlan=100))
        assert [answer.vlan for answer in wire.collect(3, 0.5)] == [100, 101]
    wire.close()
    run_ip("link del wire")


def test_server_outlives_a_cable_that_is_pulled(cable: None, container: Container, other: Container) -> None:
    """It answers again once its interface is back."""
    with serve_faults(container, "eth0", "none") as server:
        run_ip("link set eth0 down", "link set eth0 up", namespace=container.name)
        assert request_lease(other) is not None, server.read_log()


def test_server_ends_with_its_block(cable: None, container: Container) -> None:
    """Even when the block fails: process and socket are gone."""
    with pytest.raises(ZeroDivisionError), serve_faults(container, "eth0", "none") as server:
        raise ZeroDivisionError
    assert server.process.returncode is not None
    assert container.run("ss --no-header --packet") == ""


def test_unknown_fault_is_an_error_that_names_it(cable: None, container: Container) -> None:
    """At the start, and later."""
    with pytest.raises(RuntimeError, match="no such fault: no-such"), serve_faults(container, "eth0", "no-such"):
        pytest.fail("the block must not begin")
    with serve_faults(container, "eth0", "none") as server, pytest.raises(RuntimeError, match="no such fault: worse"):
        server.use("worse")


def test_program_by_hand_lists_its_faults() -> None:
    """With what each does."""
    command = [sys.executable, "-m", "lab.faulty_dhcp", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"^  no-mask +no subnet mask$", done.stdout, re.MULTILINE)
