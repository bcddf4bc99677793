"""busybox's udhcpc as a machine's DHCP client."""

import contextlib
import re
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.dhcp.daemon import Daemon, run_daemon
from lab.namespaces import Container

_OPTIONS = ("lease", "router", "dns", "domain", "mtu", "ntpsrv", "staticroutes")
"""What is kept of an answer beside address and server, in udhcpc's words."""

_SCRIPT = f"""\
#!/bin/sh
case $1 in
deconfig) ip -4 address flush dev "$interface" ;;
bound | renew) ip address replace "$ip/$mask" dev "$interface" || exit 1 ;;
esac
echo "event $1;$ip/$mask;$serverid;{";".join(f"${option}" for option in _OPTIONS)}"
"""


@dataclass(frozen=True)
class Lease:
    """What a client was given: its address with prefix length, the server that gave it, and the options beside.

    Attributes:
        address: the address.
        server: the server's address.
        options: what else was sent, as {udhcpc's name of the option: text}: `lease` (the time), `router`, `dns`,
            `domain`, `mtu`, `ntpsrv`, `staticroutes`.
    """

    address: str
    server: str
    options: Mapping[str, str] = field(default_factory=dict)


def _find_lease(output: str) -> Lease | None:
    """Return the newest lease of which the script has told."""
    events: list[str] = re.findall(r"^event (?:bound|renew);(.*)$", output, re.MULTILINE)
    if not events:
        return None
    address, server, *values = events[-1].split(";")
    options = {name: value for name, value in zip(_OPTIONS, values, strict=True) if value}
    return Lease(address, server, options)


def _plan_client(folder: str, interface: str, ask: Sequence[str]) -> list[str]:
    """Write the script that gives an address to the interface, and return the client's command line."""
    script = Path(folder, "script")
    script.write_text(_SCRIPT)
    script.chmod(0o700)
    asked = [word for option in ask for word in ("-O", option)]
    return ["busybox", "udhcpc", "-f", "-i", interface, "-s", str(script), "-T", "1", *asked]


def request_lease(
    container: Container, interface: str = "eth0", *, tries: int = 5, ask: Sequence[str] = ()
) -> Lease | None:
    """Ask for an address as a machine does, and give it to the interface; None when no server answers.

    The client ends then and leaves the address where it is.

    Args:
        container: the machine's namespace.
        interface: the interface in it, up; it has no other IPv4 address afterwards.
        tries: how many times to ask, one second each.
        ask: options to ask for beside the usual ones, in udhcpc's words: "mtu", "staticroutes".
    """
    # /run is the lab's own (see namespaces.leave_machine) and, unlike some machines' /tmp, never mounted noexec.
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        words = [*_plan_client(folder, interface, ask), "-n", "-q", "-t", str(tries)]
        return _find_lease(container.run(" ".join(words), check=False))


@dataclass(frozen=True)
class DhcpClient:
    """A client that holds its lease."""

    daemon: Daemon

    @property
    def lease(self) -> Lease:
        """What it was given last."""
        lease = _find_lease(self.daemon.read_log())
        assert lease is not None
        return lease

    def renew(self) -> Lease:
        """Renew the lease now, and return the new one.

        It takes a second with most servers here: udhcpc misses an answer that comes at once, and then broadcasts.
        """
        renewed = self._count("renew")
        self.daemon.process.send_signal(signal.SIGUSR1)
        self.daemon.wait_until("renewing its lease", lambda: self._count("renew") > renewed)
        return self.lease

    def release(self) -> None:
        """Give the lease back, and take the address off the interface. No server answers a release."""
        gone = self._count("deconfig")
        self.daemon.process.send_signal(signal.SIGUSR2)
        self.daemon.wait_until("done with its lease", lambda: self._count("deconfig") > gone)

    def _count(self, event: str) -> int:
        return self.daemon.read_log().count(f"\nevent {event};")


@contextlib.contextmanager
def hold_lease(container: Container, interface: str = "eth0", *, ask: Sequence[str] = ()) -> Iterator[DhcpClient]:
    """Have a client hold a lease for the time of a `with` block; at its end it goes without a word to the server.

    Args:
        container: the machine's namespace.
        interface: the interface in it, up; it has no IPv4 address but the client's.
        ask: options to ask for beside the usual ones, in udhcpc's words.

    Raises:
        RuntimeError: no server has given it one.
    """
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        words = [*_plan_client(folder, interface, ask), "-n", "-t", "5"]
        with run_daemon(container, words, Path(folder)) as daemon:
            client = DhcpClient(daemon)
            daemon.wait_until("given a lease", lambda: _find_lease(daemon.read_log()) is not None)
            yield client
