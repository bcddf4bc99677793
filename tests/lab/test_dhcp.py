"""The lab's DHCP servers, and udhcpc as their client, on a plain bridge: any kernel has that."""

import time
from pathlib import Path

import pytest

from lab.dhcp import KINDS, hold_lease, request_lease, serve_dhcp
from lab.namespaces import Container

SERVER = "192.0.2.1/24"
GUEST_MAC = "02:00:00:00:00:05"
OPTIONS = {
    "dns": "192.0.2.53 192.0.2.54",
    "domain": "example.org",
    "lease": "1200",
    "mtu": "1400",
    "ntpsrv": "192.0.2.123",
    "router": "192.0.2.9",
    "staticroutes": "0.0.0.0/0 192.0.2.8 198.51.100.0/25 192.0.2.7",
}

every_kind = pytest.mark.parametrize("kind", KINDS)
pytestmark = pytest.mark.usefixtures("plain_network")


@every_kind
def test_guest_gets_a_lease_from_the_server(container: Container, other: Container, kind: str) -> None:
    """The guest has the address it was given, and the server knows whom it gave it to, and until when."""
    with serve_dhcp(container, "eth0", SERVER, kind=kind) as server:
        lease = request_lease(other)
        assert lease is not None, server.read_log()
        assert server.list_leases() == {GUEST_MAC: lease.address.removesuffix("/24")}
        kept = server.find_lease(GUEST_MAC)
        assert kept is not None
        assert kept.expires_at == pytest.approx(time.time() + 600, abs=5)
        assert server.list_clients() == {GUEST_MAC}
    assert (lease.server, lease.options) == ("192.0.2.1", {"lease": "600", "router": "192.0.2.1"})
    found = [f"{a['local']}/{a['prefixlen']}" for a in other.ip("-4 address show dev eth0")[0]["addr_info"]]
    assert found == [lease.address]


@every_kind
def test_release_shows_in_the_lease_file(container: Container, other: Container, kind: str) -> None:
    """A lease that was renewed and then given back before its time is released, not expired."""
    with serve_dhcp(container, "eth0", SERVER, kind=kind) as server, hold_lease(other) as client:
        address = client.renew().address.removesuffix("/24")
        assert server.list_leases() == {GUEST_MAC: address}
        client.release()
        assert server.wait_for_lease(GUEST_MAC, "released").address == address
        assert server.list_leases() == {}


@every_kind
def test_options_arrive_as_they_were_given(container: Container, other: Container, kind: str) -> None:
    """Whatever the server, the guest reads the same."""
    with serve_dhcp(
        container,
        "eth0",
        SERVER,
        kind=kind,
        addresses=("192.0.2.20", "192.0.2.20"),
        lease_s=1200,
        router="192.0.2.9",
        dns=["192.0.2.53", "192.0.2.54"],
        domain="example.org",
        mtu=1400,
        ntp=["192.0.2.123"],
        routes={"0.0.0.0/0": "192.0.2.8", "198.51.100.0/25": "192.0.2.7"},
    ) as server:
        lease = request_lease(other, ask=["mtu", "staticroutes"])
        assert lease is not None, server.read_log()
    assert (lease.address, lease.options) == ("192.0.2.20/24", OPTIONS)


@every_kind
def test_server_without_router_sends_none(container: Container, other: Container, kind: str) -> None:
    """Even dnsmasq, which would send its own address."""
    with serve_dhcp(container, "eth0", SERVER, kind=kind, router=None) as server:
        lease = request_lease(other)
        assert lease is not None, server.read_log()
        assert lease.options == {"lease": "600"}


@pytest.mark.parametrize("kind", [kind for kind, server in KINDS.items() if server.minimum_lease_s == 1])
def test_lease_that_nobody_renews_expires(container: Container, other: Container, kind: str) -> None:
    """It is active for two seconds, and then expired, not released."""
    with serve_dhcp(container, "eth0", SERVER, kind=kind, lease_s=2) as server:
        assert request_lease(other) is not None
        assert server.wait_for_lease(GUEST_MAC, "active").expires_at == pytest.approx(time.time() + 2, abs=2)
        server.wait_for_lease(GUEST_MAC, "expired")
        time.sleep(1.5)  # by then the server has noticed by itself, and made an entry of it
        server.wait_for_lease(GUEST_MAC, "expired", timeout_s=0)


def test_lease_time_too_short_for_dnsmasq_is_refused(container: Container) -> None:
    """It would silently be made longer."""
    with pytest.raises(ValueError, match="expected 120 or more"), serve_dhcp(container, "eth0", SERVER, lease_s=60):
        pytest.fail("the block must not begin")


@every_kind
def test_server_ends_with_its_block(container: Container, kind: str) -> None:
    """Even when the block fails: process, sockets and files are gone."""
    with pytest.raises(ZeroDivisionError), serve_dhcp(container, "eth0", SERVER, kind=kind) as server:
        raise ZeroDivisionError
    assert server.process.returncode is not None
    assert container.run("ss --no-header --udp --raw --packet --listening") == ""
    assert not server.folder.exists()
    assert list(Path("/run").glob(f"{kind}-*")) == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dnsmasq", r"dnsmasq ended with status \d: .*unknown interface eth7"),
        ("kea", r"(?s)kea-dhcp4 ended with status \d: .*eth7"),
        ("isc", r"(?s)dhcpd ended with status \d: .*eth7"),
        ("udhcpd", r"(?s)busybox ended with status \d: .*eth7"),
    ],
)
def test_server_that_cannot_start_says_why(container: Container, kind: str, words: str) -> None:
    """The error carries the words of the program itself."""
    with pytest.raises(RuntimeError, match=words), serve_dhcp(container, "eth7", SERVER, kind=kind):
        pytest.fail("the block must not begin")
