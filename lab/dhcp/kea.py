"""Kea as a DHCP server: ISC's present one, for large sites."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.dhcp.scope import encode_routes
from lab.dhcp.server import DhcpServer, LabLease, LeaseState, judge, put_newest

_RECLAIMED = "2"
"""State of a lease whose end Kea has taken note of."""


class Kea(DhcpServer):
    """kea-dhcp4, with raw sockets and its leases in a CSV file."""

    client_pattern = r"DHCP4_PACKET_RECEIVED \[hwtype=1 ([0-9a-f:]{17})\]"

    @property
    def _leases(self) -> Path:
        return self.folder / "leases.csv"

    def prepare(self) -> list[str]:
        """Write the configuration."""
        path = self.folder / "kea.json"
        path.write_text(json.dumps({"Dhcp4": self._plan()}))
        return ["kea-dhcp4", "-c", str(path)]

    @property
    def environment(self) -> Mapping[str, str]:
        """Where it puts its PID and lock files."""
        return {"KEA_PIDFILE_DIR": str(self.folder), "KEA_LOCKFILE_DIR": str(self.folder)}

    def _plan(self) -> dict[str, Any]:
        """Return the configuration. A lease that has ended stays in the file for an hour, as reclaimed."""
        scope = self.scope
        output = [{"output": "stdout"}]
        pool = {"pool": f"{scope.first} - {scope.last}"}
        subnet = {"id": 1, "subnet": str(scope.subnet), "pools": [pool], "option-data": self._plan_options()}
        return {
            "interfaces-config": {"interfaces": [scope.interface], "dhcp-socket-type": "raw"},
            "lease-database": {"type": "memfile", "persist": True, "name": str(self._leases), "lfc-interval": 0},
            "expired-leases-processing": {"reclaim-timer-wait-time": 1, "hold-reclaimed-time": 3600},
            "authoritative": True,
            "valid-lifetime": scope.lease_s,
            "subnet4": [subnet],
            "loggers": [
                {"name": "kea-dhcp4", "severity": "INFO", "output_options": output},
                {"name": "kea-dhcp4.packets", "severity": "DEBUG", "debuglevel": 50, "output_options": output},
            ],
        }

    def _plan_options(self) -> list[dict[str, Any]]:
        """Return the options to send. Kea 2.2 does not know option 121, so that goes as bytes."""
        scope = self.scope
        values = {
            "routers": scope.router,
            "domain-name-servers": ", ".join(scope.dns),
            "domain-name": scope.domain,
            "interface-mtu": str(scope.mtu or ""),
            "ntp-servers": ", ".join(scope.ntp),
        }
        options: list[dict[str, Any]] = [{"name": name, "data": data} for name, data in values.items() if data]
        if scope.routes:
            options.append({"code": 121, "csv-format": False, "data": encode_routes(scope.routes).hex()})
        return options

    def is_ready(self) -> bool:
        """Whether it says so."""
        return "DHCP4_STARTED" in self.read_log()

    def read_leases(self) -> dict[str, LabLease]:
        """Return the leases of its file, where each change is a row more, and one of no time takes a lease away."""
        leases: dict[str, LabLease] = {}
        reclaimed = set()
        for row in csv.DictReader(io.StringIO(self._leases.read_text())):
            mac, address, end = row["hwaddr"], row["address"], int(row["expire"])
            if row["state"] == _RECLAIMED:
                reclaimed.add(address)
            elif row["valid_lifetime"] != "0":
                reclaimed.discard(address)
            gone: LeaseState = "expired" if address in reclaimed else "released"
            is_held = row["valid_lifetime"] != "0" and address not in reclaimed
            put_newest(leases, LabLease(mac, address, judge(end) if is_held else gone, end))
        return leases
