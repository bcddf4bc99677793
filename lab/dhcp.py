"""DHCP in the lab: dnsmasq as the server of a network, busybox's udhcpc as a machine's client.

Both run inside the lab's namespaces and keep no file: leases live in the server's memory and end with it.
"""

import contextlib
import ipaddress
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lab.namespaces import Container

_START_TIMEOUT_S = 10
_STOP_TIMEOUT_S = 5
_POLL_S = 0.005

_LEASE_SCRIPT = """\
#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface" && echo "lease $ip/$mask from $serverid"
"""


@dataclass(frozen=True)
class DhcpServer:
    """A dnsmasq that serves one network, and what it has said so far."""

    address: ipaddress.IPv4Interface
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def read_log(self) -> str:
        """Return all that the server has logged; a client may already act on a lease before its line is there."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def list_clients(self) -> set[str]:
        """Return the MAC of everyone whose question came as far as this server."""
        return set(re.findall(r"DHCPDISCOVER\(\S+\) (?:\S+ )?([0-9a-f:]{17})", self.read_log()))

    def list_leases(self) -> dict[str, str]:
        """Return the leases that the server granted, as {MAC: address}."""
        granted = re.findall(r"DHCPACK\(\S+\) (\S+) ([0-9a-f:]{17})", self.read_log())
        return {mac: address for address, mac in granted}


@dataclass(frozen=True)
class Lease:
    """What a client was given: its address with prefix length, and the server that gave it."""

    address: str
    server: str


@contextlib.contextmanager
def serve_dhcp(container: Container, interface: str, address: str) -> Iterator[DhcpServer]:
    """Run a DHCP server for the time of a `with` block; it is ready when the block begins.

    Several of them may run in one namespace, on an interface each. They lease .100 to .150 of a /24.

    Args:
        container: the namespace to run it in.
        interface: its interface, up.
        address: the interface's address with prefix length, which it has already.
    """
    own = ipaddress.IPv4Interface(address)
    network = own.network
    arguments = [
        "--conf-file=/dev/null", "--keep-in-foreground", "--log-facility=-", "--pid-file", "--leasefile-ro",
        "--user=root", "--port=0", f"--interface={interface}", "--bind-interfaces",
        "--no-ping", "--dhcp-authoritative", f"--dhcp-range={network[100]},{network[150]},{network.netmask},600",
    ]  # fmt: skip
    # `ip netns exec` becomes dnsmasq, so the process we hold is the server itself. Its log is a file, for a pipe
    # that nobody reads would stop it once full.
    command = ["ip", "netns", "exec", container.name, "dnsmasq", *arguments]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            server = DhcpServer(own, process, log)
            _wait_until_ready(server)
            yield server
        finally:
            _stop(process)


def _wait_until_ready(server: DhcpServer) -> None:
    """Return once the server says that it started, which it does after it has opened its sockets."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while "started, version" not in server.read_log():
        if server.process.poll() is not None:
            raise RuntimeError(f"dnsmasq ended with status {server.process.returncode}: {server.read_log().strip()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"dnsmasq is not ready after {_START_TIMEOUT_S} s: {server.read_log().strip()}")
        time.sleep(_POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def request_lease(container: Container, interface: str = "eth0", *, tries: int = 5) -> Lease | None:
    """Ask for an address as a machine does, and give it to the interface; None when no server answers.

    Args:
        container: the machine's namespace.
        interface: the interface in it, up.
        tries: how many times to ask, one second each.
    """
    # /run is the lab's own (see namespaces.leave_machine) and, unlike some machines' /tmp, never mounted noexec.
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        script = Path(folder, "lease")
        script.write_text(_LEASE_SCRIPT)
        script.chmod(0o700)
        options = f"--foreground --now --quit --retries {tries} --timeout 1 --script {script}"
        output = container.run(f"busybox udhcpc --interface {interface} {options}", check=False)
    found = re.search(r"^lease (\S+) from (\S+)$", output, re.MULTILINE)
    return Lease(found[1], found[2]) if found else None
