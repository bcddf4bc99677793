"""What a DHCP server of the lab hands out: addresses of a subnet, and the options beside them."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OWN_ADDRESS = "own"
"""As a router: the server's own address; of a relayed subnet its first one, which is the relay's in the lab."""


@dataclass(frozen=True)
class Scope:
    """What a server hands out. A value that is empty is not sent.

    Attributes:
        interface: the server's interface.
        own: the server's address with prefix length.
        subnet: the clients' subnet; another one than the server's where a relay stands between them.
        first: the first address to lease.
        last: the last address to lease.
        lease_s: how long a lease lasts.
        router: option 3; None sends none.
        dns: option 6.
        domain: option 15.
        mtu: option 26.
        ntp: option 42.
        routes: option 121, as {destination: gateway}.
    """

    interface: str
    own: ipaddress.IPv4Interface
    subnet: ipaddress.IPv4Network
    first: ipaddress.IPv4Address
    last: ipaddress.IPv4Address
    lease_s: int
    router: str | None
    dns: Sequence[str]
    domain: str
    mtu: int
    ntp: Sequence[str]
    routes: Mapping[str, str]

    @property
    def is_relayed(self) -> bool:
        """Whether the clients are in another subnet than the server."""
        return self.own.ip not in self.subnet


def encode_routes(routes: Mapping[str, str]) -> bytes:
    """Return routes as option 121 carries them: of a destination only the bytes that its prefix needs (RFC 3442)."""
    encoded = b""
    for destination, gateway in routes.items():
        network = ipaddress.IPv4Network(destination)
        significant = network.network_address.packed[: (network.prefixlen + 7) // 8]
        encoded += bytes([network.prefixlen]) + significant + ipaddress.IPv4Address(gateway).packed
    return encoded
