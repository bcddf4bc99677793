"""A lease, and where it is kept: one file for each attachment, in /run, which ends at reboot as interfaces do."""

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from cni_harvester.dhcp.identity import Client, Grant
from cni_harvester.errors import DecodeFailed
from cni_harvester.model.attachment import Attachment

DIRECTORY = Path("/run/cni-harvester/leases")
_INFINITE_S = 0xFFFFFFFF


def now_s() -> float:
    """Return seconds since boot, suspended time included: unlike the time of day nobody sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Lease:
    """An address that a server has granted to an interface.

    Attributes:
        attachment: whose it is.
        netns: path of the namespace that the interface is in.
        mac: of the interface.
        client_id: option 61, empty for the client's default.
        address: with the subnet's prefix length.
        gateway: default router; None when there is none.
        server, server_mac: who granted it: server identifier, and the MAC it is reached at (its own, or a relay's).
        obtained_s: `now_s()` when it was asked for.
        lease_s, t1_s, t2_s: seconds from then to expiry, renewal, rebinding.
        only_server: the server that the configuration wants; any when None.
    """

    attachment: Attachment
    netns: str
    mac: str
    client_id: bytes
    address: IPv4Interface
    gateway: IPv4Address | None
    server: IPv4Address
    server_mac: str
    obtained_s: float
    lease_s: int
    t1_s: int
    t2_s: int
    only_server: IPv4Address | None = None

    @property
    def client(self) -> Client:
        """Who asked for it, and asks for more."""
        return Client(self.mac, self.client_id, self.only_server)

    @property
    def grant(self) -> Grant:
        """What renewing and releasing need of it."""
        return Grant(self.address.ip, self.server, self.server_mac)

    @property
    def expires_s(self) -> float:
        """When it ends, on the clock of `now_s`; never for an infinite one."""
        return float("inf") if self.lease_s == _INFINITE_S else self.obtained_s + self.lease_s

    def to_json(self) -> dict[str, Any]:
        """The document that is written to the file."""
        values = dataclasses.asdict(self) | {
            "attachment": dataclasses.asdict(self.attachment),
            "client_id": self.client_id.hex(),
            "address": str(self.address),
            "gateway": str(self.gateway or ""),
            "server": str(self.server),
            "only_server": str(self.only_server or ""),
        }
        return {"version": 1, **values}


def _parse(document: Any) -> Lease:  # noqa: ANN401 - any JSON value
    """Make a lease of its document; raises KeyError, TypeError or ValueError when that is damaged."""
    return Lease(
        attachment=Attachment(**document["attachment"]),
        netns=str(document["netns"]),
        mac=str(document["mac"]),
        client_id=bytes.fromhex(document["client_id"]),
        address=IPv4Interface(document["address"]),
        gateway=IPv4Address(document["gateway"]) if document["gateway"] else None,
        server=IPv4Address(document["server"]),
        server_mac=str(document["server_mac"]),
        obtained_s=float(document["obtained_s"]),
        lease_s=int(document["lease_s"]),
        t1_s=int(document["t1_s"]),
        t2_s=int(document["t2_s"]),
        only_server=IPv4Address(document["only_server"]) if document["only_server"] else None,
    )


def find_path(attachment: Attachment) -> Path:
    """Return the file of an attachment's lease, be it there or not; it has the name of the host end."""
    return DIRECTORY / f"{attachment.host_end}.json"


def write_lease(lease: Lease) -> None:
    """Keep a lease: a reader sees the old file or the new one, whole."""
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=DIRECTORY, prefix=".", delete=False) as file:
        try:
            json.dump(lease.to_json(), file, indent=2)
            file.flush()
            os.replace(file.name, find_path(lease.attachment))  # noqa: PTH105 - one rename
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def find_lease(attachment: Attachment) -> Lease | None:
    """Return an attachment's lease, None when there is none; DecodeFailed when its file is damaged."""
    return _read(find_path(attachment))


def list_leases() -> Iterator[Lease]:
    """Yield all leases of the node; DecodeFailed when a file is damaged."""
    for path in sorted(DIRECTORY.glob("*.json")):
        lease = _read(path)
        if lease:
            yield lease


def _read(path: Path) -> Lease | None:
    try:
        return _parse(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        hint = "delete the file: its lease then ends on the server by itself"
        raise DecodeFailed(f'cannot read lease "{path}": {type(e).__name__}: {e}', hint) from e


def remove_lease(attachment: Attachment) -> None:
    """Forget a lease; quiet when there is none."""
    find_path(attachment).unlink(missing_ok=True)
