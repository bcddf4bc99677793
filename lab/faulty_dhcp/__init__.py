"""A DHCP server that answers wrongly, in one of many ways, and a gateway that is there or is not.

What a client makes of a sound answer, the real servers show (`lab.dhcp`). What it makes of the others that turn up on a
wire, broken, misleading or merely unusual, needs a server that can be told what to send:

    with serve_faults(container, "eth0", "no-mask") as server:
        ...
        server.use("none", "rogue")  # a sound answer, and one of a server that should not be there

It is a process in the container's namespace, `python -m lab.faulty_dhcp`, which can be run by hand too; `--help` lists
the faults. This module does not load scapy, so that the tests need not.
"""

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.dhcp.daemon import Daemon, run_daemon
from lab.namespaces import Container

READY = "ready"
"""What the program says once its socket is open, and again whenever it has taken up other faults."""

DEFAULT_ADDRESS = "192.0.2.1/24"

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class FaultyServer:
    """The running program."""

    daemon: Daemon

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The program's process."""
        return self.daemon.process

    def use(self, *faults: str) -> None:
        """Answer with these faults from now on: as many answers to a question, or more, in this order."""
        before = self._count_ready()
        self.daemon.say(" ".join(faults))
        self.daemon.wait_until("answering anew", lambda: self._count_ready() > before)

    def _count_ready(self) -> int:
        return self.read_log().splitlines().count(READY)

    def read_log(self) -> str:
        """Return what it has said: a line for each question."""
        return self.daemon.read_log()

    def list_clients(self) -> set[str]:
        """Return the MAC of everyone whose question came as far as this server."""
        return set(re.findall(r"^\w+ from ([0-9a-f:]{17})", self.read_log(), re.MULTILINE))


@contextlib.contextmanager
def serve_faults(
    container: Container,
    interface: str,
    *faults: str,
    vlan: int = 0,
    address: str = DEFAULT_ADDRESS,
    offer: str = "",
    router: str = "",
    lease_s: int = 600,
    arp: Sequence[str] | None = None,
    icmp: bool = False,
    mtu: int = 0,
) -> Iterator[FaultyServer]:
    """Run a faulty DHCP server for the time of a `with` block; its socket is open when the block begins.

    The interface needs no address, and better has none: the kernel would answer beside the program.

    Args:
        container: the namespace to run it in.
        interface: its interface, up.
        faults: what is wrong with its answers: names of `faults.FAULTS`.
        vlan: the VLAN whose tag its questions have, and its answers get; 0 is untagged. It sees all tags of a trunk.
        address: the address, with prefix length, that it says it has.
        offer: the address that it gives away; .77 of its subnet if left out.
        router: the router that it names; its own address if left out.
        lease_s: how long its leases last.
        arp: answer ARP for the router, with each of these MACs; with the interface's own if empty. None is silence.
        icmp: answer echo requests to the router.
        mtu: ignore what is larger than so many bytes of IP; 0 ignores nothing.

    Raises:
        RuntimeError: it did not start, for instance because there is no such fault.
    """
    options = [f"--vlan={vlan}", f"--address={address}", f"--lease={lease_s}", f"--mtu={mtu}"]
    options += [f"--offer={offer}"] * bool(offer) + [f"--router={router}"] * bool(router) + ["--icmp"] * icmp
    options += [] if arp is None else ["--arp", *arp]
    command = [sys.executable, "-m", "lab.faulty_dhcp", interface, *faults, *options]
    with (
        tempfile.TemporaryDirectory(prefix="faulty-", dir="/run") as folder,
        run_daemon(container, command, Path(folder), {"PYTHONPATH": str(_ROOT)}) as daemon,
    ):
        daemon.wait_until("ready", lambda: READY in daemon.read_log().splitlines())
        yield FaultyServer(daemon)
