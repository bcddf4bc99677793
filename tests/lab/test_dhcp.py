"""The lab's DHCP server and client, dnsmasq and udhcpc, on a plain bridge: any kernel has that."""

from collections.abc import Iterator

import pytest

from lab.dhcp import request_lease, serve_dhcp
from lab.namespaces import Container
from lab.shell import run_ip
from lab.topology import add_bridge

SERVER = "192.0.2.1/24"
GUEST_MAC = "02:00:00:00:00:05"


@pytest.fixture
def plain_network(container: Container, other: Container) -> Iterator[None]:
    """A plain bridge that connects the `eth0` of both namespaces; `container` has the server's address."""
    add_bridge("plain", filtering=False)
    for end in (container, other):
        run_ip(
            f"link add {end.name}-h type veth peer name eth0 netns {end.name}",
            f"link set {end.name}-h master plain up",
        )
    run_ip(f"address add {SERVER} dev eth0", "link set eth0 up", namespace=container.name)
    run_ip(f"link set eth0 address {GUEST_MAC} up", namespace=other.name)
    yield
    run_ip(*(f"link del {name}" for name in ("plain", f"{container.name}-h", f"{other.name}-h")))


def test_guest_gets_a_lease_from_the_server(plain_network: None, container: Container, other: Container) -> None:
    """The guest has the address it was given, and the server knows whom it gave it to."""
    with serve_dhcp(container, "eth0", SERVER) as server:
        lease = request_lease(other)
        assert lease is not None, server.read_log()
        assert server.list_leases() == {GUEST_MAC: lease.address.removesuffix("/24")}
    assert lease.server == "192.0.2.1"
    found = [f"{a['local']}/{a['prefixlen']}" for a in other.ip("-4 address show dev eth0")[0]["addr_info"]]
    assert found == [lease.address]


def test_server_ends_with_its_block(plain_network: None, container: Container, other: Container) -> None:
    """Even when the block fails: the process is gone, and a guest gets no answer any more."""
    with pytest.raises(ZeroDivisionError), serve_dhcp(container, "eth0", SERVER) as server:
        raise ZeroDivisionError
    assert server.process.returncode is not None
    assert container.run("ss --no-header --udp --listening") == ""
    assert request_lease(other, tries=1) is None


def test_server_that_cannot_start_says_why(empty_node: None, container: Container) -> None:
    """The error carries the words of dnsmasq itself."""
    message = r"dnsmasq ended with status \d: .*unknown interface eth0"
    with pytest.raises(RuntimeError, match=message), serve_dhcp(container, "eth0", SERVER):
        pytest.fail("the block must not begin")
