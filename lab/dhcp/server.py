"""What all DHCP servers of the lab have in common, whichever program they are."""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from subprocess import Popen
from typing import ClassVar, Literal

from lab.dhcp.daemon import Daemon
from lab.dhcp.scope import Scope

LeaseState = Literal["active", "released", "expired"]

_POLL_S = 0.02


@dataclass(frozen=True)
class LabLease:
    """What a server's lease file has about a client, whose lease may have ended.

    Attributes:
        mac: the client's MAC.
        address: what it was given.
        state: whether the server still keeps the address for it, and if not, why.
        expires_at: when the lease ends or has ended, in seconds since 1970; None where the server does not keep that.
    """

    mac: str
    address: str
    state: LeaseState
    expires_at: float | None


def judge(expires_at: float) -> LeaseState:
    """Tell a lease that the server holds to be active from one that it has not yet cleared away."""
    return "active" if expires_at > time.time() else "expired"


def put_newest(leases: dict[str, LabLease], lease: LabLease) -> None:
    """Put a lease, newer than those there, under its MAC; the end of an old one does not hide that of a new address."""
    before = leases.get(lease.mac)
    if not (before and before.address != lease.address and before.state == "active" and lease.state != "active"):
        leases[lease.mac] = lease


class DhcpServer(ABC):
    """A server that serves one subnet; `serve_dhcp` runs it. Each subclass is one program.

    Attributes:
        scope: what it hands out.
        folder: where its files are, its lease file among them; goes with the server.
        daemon: the running program.
    """

    minimum_lease_s: ClassVar[int] = 1
    serves_relays: ClassVar[bool] = True
    client_pattern: ClassVar[str]
    """What its log has when a question has come, with the MAC as a group."""

    daemon: Daemon

    def __init__(self, scope: Scope, folder: Path) -> None:
        if scope.lease_s < self.minimum_lease_s:
            raise ValueError(
                f"lease time of {scope.lease_s} s: expected {self.minimum_lease_s} or more, or another kind"
            )
        if scope.is_relayed and not self.serves_relays:
            raise ValueError(f"subnet {scope.subnet}: this server does not serve relays, choose another kind")
        self.scope = scope
        self.folder = folder

    @abstractmethod
    def prepare(self) -> list[str]:
        """Write the files that the program needs, and return its command line."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether its sockets are open."""

    @abstractmethod
    def read_leases(self) -> dict[str, LabLease]:
        """Return what the lease file has, newest for each client: {MAC: lease}, ended leases included."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the program needs."""
        return {}

    @property
    def address(self) -> IPv4Interface:
        """The server's own address with prefix length."""
        return self.scope.own

    @property
    def process(self) -> Popen[bytes]:
        """The program's process."""
        return self.daemon.process

    def read_log(self) -> str:
        """Return all that the server has logged; a client may already act on a lease before its line is there."""
        return self.daemon.read_log()

    def list_clients(self) -> set[str]:
        """Return the MAC of everyone whose question came as far as this server."""
        return set(re.findall(self.client_pattern, self.read_log()))

    def list_leases(self) -> dict[str, str]:
        """Return the leases that have not ended, as {MAC: address}."""
        return {mac: lease.address for mac, lease in self.read_leases().items() if lease.state == "active"}

    def find_lease(self, mac: str) -> LabLease | None:
        """Return a client's newest lease, or None if it never had one."""
        return self.read_leases().get(mac.lower())

    def wait_for_lease(self, mac: str, state: LeaseState, *, timeout_s: float = 5) -> LabLease:
        """Return a client's lease once it has come to a state; a release, for one, is not answered.

        Raises:
            TimeoutError: it has not come to it in time; the message has what was found, and the server's log.
        """
        deadline = time.monotonic() + timeout_s
        while (lease := self.find_lease(mac)) is None or lease.state != state:
            if time.monotonic() > deadline:
                raise TimeoutError(f"lease of {mac}: expected it {state}, found {lease}\n{self.read_log()}")
            time.sleep(_POLL_S)
        return lease
