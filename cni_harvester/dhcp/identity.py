"""Who a client is to a server, and what it holds of one; light, for whoever only reads leases."""

from dataclasses import dataclass
from ipaddress import IPv4Address


@dataclass(frozen=True)
class Client:
    """A client: MAC, identifier (option 61; made of the MAC when empty), and the only server that it believes."""

    mac: str
    identifier: bytes = b""
    only_server: IPv4Address | None = None


@dataclass(frozen=True)
class Grant:
    """An address that a server has granted: the server's identifier, and the MAC it is reached at (or its relay's)."""

    address: IPv4Address
    server: IPv4Address
    server_mac: str
