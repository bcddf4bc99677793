"""What a person wants to know of a network, and whom they believe."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from cni_harvester.dhcp.offer import Offer

DEFAULT_TIMEOUT_S = 5.0
"""One question, and a second one after about four seconds (RFC 2131), with time for an answer to either."""


@dataclass(frozen=True)
class Wishes:
    """How to discover a network.

    Attributes:
        timeout_s: how long to listen for answers.
        first: end with the first usable answer; other servers are not looked for then.
        server: the only DHCP server whose answers count, by its server identifier; any when None.
        trusted: the servers that may be there; others are reported as rogue, and never used. All when empty.
        address: an address of the network that is ours to use for the checks; the offered one when None.
        check: whether to check what can be reached.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    first: bool = False
    server: IPv4Address | None = None
    trusted: frozenset[IPv4Address] = frozenset()
    address: IPv4Interface | None = None
    check: bool = True

    def believes(self, offer: Offer) -> bool:
        """Whether an offer comes from a server whose answers count."""
        if self.server is not None:
            return offer.server == self.server
        return not self.trusted or offer.server in self.trusted

    def accepts(self, offer: Offer) -> bool:
        """Whether an offer can be used as it stands: nothing wrong with it, a server that counts, a gateway."""
        return offer.is_usable and self.believes(offer) and offer.gateway is not None
