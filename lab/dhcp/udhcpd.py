"""busybox's udhcpd as a DHCP server: what small routers run. It does not know relays."""

import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from lab.dhcp.scope import Scope
from lab.dhcp.server import DhcpServer, LabLease, LeaseState

_HEADER = struct.Struct("!q")
"""When the file was written, in seconds since 1970."""

_RECORD = struct.Struct("!I4s6s22x")
"""A lease in the file: seconds left, address, MAC; the host name does not matter here."""

_SERVER_PORT = 67


class Udhcpd(DhcpServer):
    """udhcpd of the Debian package busybox-static."""

    serves_relays = False

    def __init__(self, scope: Scope, folder: Path) -> None:
        super().__init__(scope, folder)
        self._leases = folder / "leases"
        self._ends: dict[str, int] = {}  # when each client's lease is to end, as far as that was seen
        self._first_end = time.time() + scope.lease_s  # no lease of this server can end by itself before that

    def prepare(self) -> list[str]:
        """Write the configuration, and an empty lease file, lest it complains.

        It asks for two seconds whether an address is in use unless told not to wait. Its file has offers too: one that
        nobody takes is forgotten soon.
        """
        scope = self.scope
        values = {
            "start": scope.first,
            "end": scope.last,
            "interface": scope.interface,
            "max_leases": int(scope.last) - int(scope.first) + 1,
            "min_lease": scope.lease_s,
            "offer_time": 1,
            "lease_file": self._leases,
            "pidfile": self.folder / "pid",
        }
        lines = [f"{name} {value}" for name, value in values.items()] + self._plan_options()
        config = self.folder / "udhcpd.conf"
        config.write_text("".join(f"{line}\n" for line in lines))
        self._leases.touch()
        return ["busybox", "udhcpd", "-f", "-a", "1", str(config)]

    def _plan_options(self) -> list[str]:
        scope = self.scope
        values = {
            "lease": scope.lease_s,
            "subnet": scope.subnet.netmask,
            "router": scope.router,
            "dns": " ".join(scope.dns),
            "domain": scope.domain,
            "mtu": scope.mtu,
            "ntpsrv": " ".join(scope.ntp),
            "staticroutes": ", ".join(f"{destination} {gateway}" for destination, gateway in scope.routes.items()),
        }
        return [f"option {name} {value}" for name, value in values.items() if value]

    def is_ready(self) -> bool:
        """Whether it has its socket: it says that it started before that."""
        return self.daemon.has_udp_socket(_SERVER_PORT)

    def list_clients(self) -> set[str]:
        """Return the MAC of everyone to whom it made an offer: its log names nobody."""
        self._update_file()
        return {mac for mac, *_ in self._read_file()}

    def read_leases(self) -> dict[str, LabLease]:
        """Return the leases of its file that were granted, not only offered.

        It lets a lease end at once when it is released, and the file of one that has ended says no more than that. So
        one that ended before its time was released. Its time is known if this was called while it was active; else it
        is taken to have been granted when the server started, and may be held for expired though it was released.
        """
        self._update_file()
        granted = set(re.findall(r"sending ACK to (\S+)", self.read_log()))
        leases = {}
        for mac, address, left_s, written_at in self._read_file():
            if left_s:
                self._ends[mac] = written_at + left_s
            end = self._ends.get(mac)
            ended: LeaseState = "released" if written_at + 1 < (end or self._first_end) else "expired"
            if address in granted:
                leases[mac] = LabLease(mac, address, "active" if left_s else ended, end)
        return leases

    def _update_file(self) -> None:
        """Have it write its file, which it does not do by itself, and wait for the end of that."""
        self._leases.unlink(missing_ok=True)
        self.daemon.process.send_signal(signal.SIGUSR1)
        self.daemon.wait_until("writing its leases", self._leases.exists)
        self.daemon.wait_until("done with its leases", lambda: str(self._leases) not in self.daemon.list_open_files())

    def _read_file(self) -> Iterator[tuple[str, str, int, int]]:
        """Give MAC, address, the seconds that are left, and when that was, of each lease and each offer."""
        content = self._leases.read_bytes()
        (written_at,) = _HEADER.unpack_from(content)
        for left_s, address, mac in _RECORD.iter_unpack(content[_HEADER.size :]):
            yield mac.hex(":"), socket.inet_ntoa(address), left_s, written_at
