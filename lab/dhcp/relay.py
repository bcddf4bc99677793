"""A DHCP relay: a router between the clients' subnet and the server's, which carries questions and answers."""

import contextlib
import ipaddress
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.dhcp.daemon import Daemon, run_daemon
from lab.namespaces import Container
from lab.shell import run_ip


@dataclass(frozen=True)
class RelayLink:
    """The link between a relay and the server behind it: interfaces and addresses of both ends."""

    relay_interface: str
    relay_address: ipaddress.IPv4Interface
    server_interface: str
    server_address: ipaddress.IPv4Interface


def connect_relay(relay: Container, server: Container, subnet: str) -> RelayLink:
    """Lay a link of its own between relay and server, and give the server the route back to the clients.

    It goes with either namespace.

    Args:
        relay: the relay's namespace, which has an address in the clients' subnet already.
        server: the server's namespace.
        subnet: the clients' subnet.
    """
    near, far = ipaddress.IPv4Interface("198.51.100.1/30"), ipaddress.IPv4Interface("198.51.100.2/30")
    link = RelayLink("to-server", near, "to-relay", far)
    run_ip(
        f"link add {link.relay_interface} type veth peer name {link.server_interface} netns {server.name}",
        f"address add {near} dev {link.relay_interface}",
        f"link set {link.relay_interface} up",
        namespace=relay.name,
    )
    run_ip(
        f"address add {far} dev {link.server_interface}",
        f"link set {link.server_interface} up",
        f"route add {subnet} via {near.ip}",
        namespace=server.name,
    )
    return link


@contextlib.contextmanager
def serve_relay(
    container: Container,
    client_interface: str,
    server_interface: str,
    server_address: str,
    *,
    agent_option: bool = True,
) -> Iterator[Daemon]:
    """Run ISC's dhcrelay for the time of a `with` block; it is ready when the block begins.

    Its namespace becomes a router, for a client renews its lease with the server directly.

    Args:
        container: the namespace to run it in.
        client_interface: its interface towards the clients, up; its address is the giaddr, and the clients' router.
        server_interface: its interface towards the server, up and with an address.
        server_address: the server's address.
        agent_option: whether to add option 82, and take it off the answers (RFC 3046).
    """
    container.run("sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'")
    with tempfile.TemporaryDirectory(prefix="relay-", dir="/run") as folder:
        agent = ["-a", "-m", "append"] if agent_option else []
        interfaces = ["-id", client_interface, "-iu", server_interface]
        words = ["dhcrelay", "-4", "-d", "-pf", f"{folder}/pid", *agent, *interfaces, server_address]
        with run_daemon(container, words, Path(folder)) as daemon:
            # It does not say that it is ready, but it names its sockets once they are all open, this one last.
            daemon.wait_until("ready", lambda: "Sending on   Socket/fallback" in daemon.read_log())
            yield daemon
