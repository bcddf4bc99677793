"""dnsmasq as a DHCP server: what small sites and libvirt run.

Its leases last 120 s at least. It forgets a lease that has ended; whether that was by a release, only its log says.
"""

import re
import time

from lab.dhcp.server import DhcpServer, LabLease, judge

_MESSAGE = r"DHCP(ACK|RELEASE)\(\S+\) (\S+) ([0-9a-f:]{17})"
"""What the log has when a lease begins, and when its client gives it back: which of them, address, MAC."""

_REWRITING_S = 0.02


class Dnsmasq(DhcpServer):
    """dnsmasq, without its DNS part."""

    minimum_lease_s = 120
    client_pattern = r"DHCPDISCOVER\(\S+\) (?:\S+ )?([0-9a-f:]{17})"

    def prepare(self) -> list[str]:
        """Return the command line, which says everything."""
        scope = self.scope
        lines = [
            "conf-file=/dev/null", "keep-in-foreground", "log-facility=-", "pid-file", "user=root", "port=0",
            f"interface={scope.interface}", "bind-interfaces", "no-ping", "dhcp-authoritative",
            f"dhcp-leasefile={self.folder / 'leases'}",
            f"dhcp-range={scope.first},{scope.last},{scope.subnet.netmask},{scope.lease_s}",
        ]  # fmt: skip
        return ["dnsmasq", *(f"--{line}" for line in lines + self._plan_options())]

    def _plan_options(self) -> list[str]:
        """Return the options to send. Option 3 is sent unless it is given without a value."""
        scope = self.scope
        routes = [part for route in scope.routes.items() for part in route]
        values = [(6, scope.dns), (15, [scope.domain]), (26, [str(scope.mtu or "")]), (42, scope.ntp), (121, routes)]
        given = [f"dhcp-option={code},{','.join(words)}" for code, words in values if any(words)]
        return [*given, f"dhcp-option=3,{scope.router}" if scope.router else "dhcp-option=3"]

    def is_ready(self) -> bool:
        """Whether it says that it started, which it does after it has opened its sockets."""
        return "started, version" in self.read_log()

    def read_leases(self) -> dict[str, LabLease]:
        """Return the leases of its file, and those of its log that are no longer there.

        The file is written anew at each change, before the client gets its answer, and is empty for a moment then: what
        seems to be gone is looked for twice.
        """
        leases = self._read_once()
        if any(lease.state == "expired" for lease in leases.values()):
            time.sleep(_REWRITING_S)
            leases = self._read_once()
        return leases

    def _read_once(self) -> dict[str, LabLease]:
        """Read log and file; a line of the file has the end of the lease, MAC, address, host name and client id."""
        leases = {}
        for message, address, mac in re.findall(_MESSAGE, self.read_log()):
            leases[mac] = LabLease(mac, address, "expired" if message == "ACK" else "released", None)
        for line in (self.folder / "leases").read_text().splitlines():
            expires_at, mac, address = line.split()[:3]
            leases[mac] = LabLease(mac, address, judge(int(expires_at)), int(expires_at))
        return leases
