"""A lease, and where it is kept: one file for each attachment, in /run, which ends at reboot as interfaces do."""

import contextlib
import dataclasses
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from cni_harvester.dhcp.identity import Client, Grant
from cni_harvester.errors import DecodeFailed, HarvesterError
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
        routes: (destination, gateway) of each, the default one first; no gateway for a destination on the link.
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
    routes: tuple[tuple[IPv4Network, IPv4Address | None], ...]
    server: IPv4Address
    server_mac: str
    obtained_s: float
    lease_s: int
    t1_s: int
    t2_s: int
    only_server: IPv4Address | None = None

    @property
    def gateway(self) -> IPv4Address | None:
        """The default router; None when there is none."""
        return next((gateway for destination, gateway in self.routes if not destination.prefixlen), None)

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

    @property
    def is_void(self) -> bool:
        """Whether its address was taken from the interface, and only the wish for another one is left."""
        return self.lease_s == 0

    def make_void(self) -> "Lease":
        """Return what is left of it once its address is lost."""
        return dataclasses.replace(self, lease_s=0, t1_s=0, t2_s=0)

    def to_json(self) -> dict[str, Any]:
        """The document that is written to the file."""
        values = dataclasses.asdict(self) | {
            "attachment": dataclasses.asdict(self.attachment),
            "client_id": self.client_id.hex(),
            "address": str(self.address),
            "routes": [{"destination": str(dst), "gateway": str(gw or "")} for dst, gw in self.routes],
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
        routes=tuple(
            (IPv4Network(route["destination"]), IPv4Address(route["gateway"]) if route["gateway"] else None)
            for route in document["routes"]
        ),
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


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Hold the directory's lock, so that a lease that is removed is not written again by who renews it."""
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def write_lease(lease: Lease) -> None:
    """Keep a lease: a reader sees the old file or the new one, whole."""
    with _lock():
        _write(lease)


def replace_lease(lease: Lease) -> bool:
    """Keep a lease in place of the one before it; False, and nothing, when that was removed meanwhile."""
    with _lock():
        if not find_path(lease.attachment).exists():
            return False
        _write(lease)
        return True


def _write(lease: Lease) -> None:
    fd, name = tempfile.mkstemp(dir=DIRECTORY, prefix=".")
    try:
        with open(fd, "w") as file:  # noqa: PTH123 - a descriptor
            json.dump(lease.to_json(), file, indent=2)
        Path(name).replace(find_path(lease.attachment))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def find_lease(attachment: Attachment) -> Lease | None:
    """Return an attachment's lease, None when there is none; DecodeFailed when its file is damaged."""
    return read_lease(find_path(attachment))


def list_leases(damaged: Callable[[Path, DecodeFailed], None] | None = None) -> list[Lease]:
    """Return all leases of the node.

    Args:
        damaged: told of each file that is damaged; the first one raises DecodeFailed when None.
    """
    found = []
    for path in sorted(DIRECTORY.glob("*.json")):
        try:
            lease = read_lease(path)
        except DecodeFailed as e:
            if damaged is None:
                raise
            damaged(path, e)
            continue
        if lease:
            found.append(lease)
    return found


def read_lease(path: Path) -> Lease | None:
    """Read a lease's file; None when there is none, DecodeFailed when it is damaged."""
    try:
        return _parse(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, HarvesterError) as e:
        hint = "delete the file: its lease then ends on the server by itself"
        raise DecodeFailed(f'cannot read lease "{path}": {type(e).__name__}: {e}', hint) from e


def remove_lease(attachment: Attachment) -> None:
    """Forget a lease; quiet when there is none."""
    if DIRECTORY.exists():
        with _lock():
            find_path(attachment).unlink(missing_ok=True)
