"""Running a DHCP server of the lab."""

import contextlib
import ipaddress
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab.dhcp.daemon import run_daemon
from lab.dhcp.dnsmasq import Dnsmasq
from lab.dhcp.isc import Isc
from lab.dhcp.kea import Kea
from lab.dhcp.scope import OWN_ADDRESS, Scope
from lab.dhcp.server import DhcpServer
from lab.dhcp.udhcpd import Udhcpd
from lab.namespaces import Container

KINDS: Mapping[str, type[DhcpServer]] = {"dnsmasq": Dnsmasq, "kea": Kea, "isc": Isc, "udhcpd": Udhcpd}
"""The servers there are, by the name that `serve_dhcp` takes."""


@contextlib.contextmanager
def serve_dhcp(
    container: Container,
    interface: str,
    address: str,
    *,
    kind: str = "dnsmasq",
    subnet: str = "",
    addresses: tuple[str, str] | None = None,
    lease_s: int = 600,
    router: str | None = OWN_ADDRESS,
    dns: Sequence[str] = (),
    domain: str = "",
    mtu: int = 0,
    ntp: Sequence[str] = (),
    routes: Mapping[str, str] | None = None,
) -> Iterator[DhcpServer]:
    """Run a DHCP server for the time of a `with` block; it is ready when the block begins.

    Several of them may run in one namespace, on an interface each.

    Args:
        container: the namespace to run it in.
        interface: its interface, up.
        address: the interface's address with prefix length, which it has already.
        kind: which program: "dnsmasq", "kea", "isc" or "udhcpd".
        subnet: the clients' subnet, if a relay stands between them and the server. Not with udhcpd.
        addresses: the first and the last one to lease; .100 and .150 of the subnet if left out.
        lease_s: how long a lease lasts. dnsmasq has none below 120.
        router: option 3; the server's own address if left out, None for no router.
        dns: option 6.
        domain: option 15.
        mtu: option 26; 0 for none.
        ntp: option 42.
        routes: option 121, as {destination: gateway}. dnsmasq, kea and isc send it, as they do the four before, to
            clients that ask for it; udhcpd to all.

    Raises:
        ValueError: the program cannot do that.
        RuntimeError: it did not start; the message has its own words.
    """
    own = ipaddress.IPv4Interface(address)
    network = ipaddress.IPv4Network(subnet) if subnet else own.network
    first, last = _plan_addresses(network, addresses)
    if router == OWN_ADDRESS:
        router = str(own.ip if own.ip in network else network[1])
    scope = Scope(interface, own, network, first, last, lease_s, router, dns, domain, mtu, ntp, routes or {})
    # /run is the lab's own (see namespaces.leave_machine), so nothing of it is on the machine.
    with tempfile.TemporaryDirectory(prefix=f"{kind}-", dir="/run") as name:
        folder = Path(name)
        server = KINDS[kind](scope, folder)
        with run_daemon(container, server.prepare(), folder, server.environment) as daemon:
            server.daemon = daemon
            daemon.wait_until("ready", server.is_ready)
            yield server


def _plan_addresses(
    network: ipaddress.IPv4Network, addresses: tuple[str, str] | None
) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    """Return the first and the last address to lease."""
    if addresses:
        return ipaddress.IPv4Address(addresses[0]), ipaddress.IPv4Address(addresses[1])
    if network.num_addresses <= 151:
        raise ValueError(f"{network} has no .150: say which addresses to lease")
    return network[100], network[150]
