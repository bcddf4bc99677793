"""ISC dhcpd as a DHCP server: at its end of life, and still at work in many places."""

import re

from lab.dhcp.scope import encode_routes
from lab.dhcp.server import DhcpServer, LabLease, LeaseState, judge, put_newest

_CONFIG = """\
authoritative;
ping-check false;
ddns-update-style none;
db-time-format local;
dhcp-cache-threshold 0;
default-lease-time {lease_s};
min-lease-time {lease_s};
max-lease-time {lease_s};
option classless-routes code 121 = array of unsigned integer 8;
{own_subnet}
subnet {subnet.network_address} netmask {subnet.netmask} {{
  range {first} {last};
{options}
}}
"""
_LEASE = r"^lease (\S+) \{\n(.*?)^\}"
"""An entry of the lease file: address, and what is said of it."""


class Isc(DhcpServer):
    """dhcpd."""

    client_pattern = r"DHCPDISCOVER from ([0-9a-f:]{17})"

    def prepare(self) -> list[str]:
        """Write the configuration, and the lease file, which must be there."""
        scope = self.scope
        # It listens only where it knows the interface's own subnet, even if there is nothing to lease in it.
        own = scope.own.network
        own_subnet = f"subnet {own.network_address} netmask {own.netmask} {{}}" if scope.is_relayed else ""
        text = _CONFIG.format(**vars(scope), own_subnet=own_subnet, options="\n".join(self._plan_options()))
        config, leases, pid = (self.folder / name for name in ("dhcpd.conf", "leases", "pid"))
        config.write_text(text)
        leases.touch()
        paths = ["-cf", str(config), "-lf", str(leases), "-pf", str(pid)]
        return ["dhcpd", "-4", "-f", "-d", *paths, scope.interface]

    def _plan_options(self) -> list[str]:
        scope = self.scope
        values = {
            "routers": scope.router,
            "domain-name-servers": ", ".join(scope.dns),
            "domain-name": f'"{scope.domain}"' if scope.domain else "",
            "interface-mtu": scope.mtu,
            "ntp-servers": ", ".join(scope.ntp),
            "classless-routes": ", ".join(map(str, encode_routes(scope.routes))),
        }
        return [f"  option {name} {value};" for name, value in values.items() if value]

    def is_ready(self) -> bool:
        """Whether it says so."""
        return "Server starting service." in self.read_log()

    def read_leases(self) -> dict[str, LabLease]:
        """Return the leases of its file, where each change of a lease is an entry more (dhcpd.leases(5))."""
        leases: dict[str, LabLease] = {}
        granted: dict[str, int] = {}
        for address, entry in re.findall(_LEASE, (self.folder / "leases").read_text(), re.MULTILINE | re.DOTALL):
            words = dict(re.findall(r"^  (binding state|ends epoch|hardware ethernet) (\S+);", entry, re.MULTILINE))
            if mac := words.get("hardware ethernet"):
                active, end = words["binding state"] == "active", int(words["ends epoch"])
                granted[address] = end if active else granted.get(address, end)
                # "free" does not say why; but a release ends a lease before its time.
                state: LeaseState = "released" if end < granted[address] else "expired"
                put_newest(leases, LabLease(mac, address, judge(end) if active else state, end))
        return leases
