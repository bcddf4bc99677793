"""An attachment's identity, and the kernel objects that are named after it.

The kernel is the only database: what an attachment made can be found again from (network, container id, interface)
alone, without a file, the container's namespace or a previous result.
"""

import base64
import dataclasses
import hashlib
from functools import cached_property

from cni_harvester.errors import InvalidEnvironment
from cni_harvester.model import mac, vlan

_ALIAS_PREFIX = "cni-harvester:"
ALIAS_MAX_BYTES = 255
"""IFALIASZ less the terminating zero (linux/if.h)."""

BRIDGE_GROUP = 0x0CB21D6E
"""Link group of the bridges made by `createBridge`, by which the last DEL knows them; below those of networks."""


@dataclasses.dataclass(frozen=True)
class Attachment:
    """One machine on one network: the specification's primary key (network name, container id, interface name)."""

    network: str
    container_id: str
    ifname: str

    def __post_init__(self) -> None:
        """Refuse an identity that does not fit in an ifalias: it could not be found again."""
        size = len(self.alias.encode())
        if size > ALIAS_MAX_BYTES:
            raise InvalidEnvironment(
                f"invalid CNI_CONTAINERID: with network and interface name it takes {size} bytes as an ifalias",
                f"the three together may take {ALIAS_MAX_BYTES - len(_ALIAS_PREFIX) - 2} bytes; use shorter names",
            )

    @property
    def alias(self) -> str:
        """The identity in clear, as it stands in the host end's ifalias (`ip link` shows it)."""
        return f"{_ALIAS_PREFIX}{self.network}/{self.container_id}/{self.ifname}"

    @cached_property
    def _digest(self) -> bytes:
        return hashlib.sha256(self.alias.encode()).digest()

    @property
    def host_end(self) -> str:
        """Name of the host end: `veth` and 11 characters of a hash, so that DEL needs no look-up."""
        return "veth" + base64.b32encode(self._digest[:7]).decode().lower()[:11]

    @property
    def host_mac(self) -> str:
        """MAC of the host end.

        Explicit, so that udev's MACAddressPolicy leaves it alone, and high, for a bridge without an address of its
        own takes the lowest of its ports'.
        """
        return mac.derive_mac(b"\xfa" + self._digest[8:13])

    @property
    def container_mac(self) -> str:
        """MAC of the container end when nobody asks for one."""
        return mac.derive_mac(self._digest[16:22])

    @property
    def group(self) -> int:
        """Link group of the host end: see `network_group`."""
        return network_group(self.network)


def network_group(network: str) -> int:
    """Return the link group of a network's host ends (`ip link show group N`).

    A link gets its group in the very message that creates it, but its ifalias only in the next. So GC can tell
    whose a host end is even if its ADD was killed between the two.
    """
    return int.from_bytes(hashlib.sha256(network.encode()).digest()[:4], "big") >> 2 | 1 << 30


def parse_alias(alias: str) -> Attachment | None:
    """Return the attachment that an ifalias names, None when the alias is not ours."""
    if not alias.startswith(_ALIAS_PREFIX):
        return None
    parts = alias.removeprefix(_ALIAS_PREFIX).split("/")
    return Attachment(*parts) if len(parts) == 3 and all(parts) else None


_UPLINK_PREFIX = f"{_ALIAS_PREFIX}uplink:"


def format_uplink_alias(vids: frozenset[int]) -> str:
    """Write which VIDs we put on an uplink, as its ifalias; empty for none.

    Ranges that no longer fit are left out: those VIDs stay on the uplink when their last machine goes, which does no
    harm, while a VID taken away from somebody else's network would.
    """
    alias = ""
    for first, last in vlan.iter_ranges(vids):
        item = str(first) if first == last else f"{first}-{last}"
        longer = f"{alias},{item}" if alias else f"{_UPLINK_PREFIX}{item}"
        if len(longer) > ALIAS_MAX_BYTES:
            break
        alias = longer
    return alias


def parse_uplink_alias(alias: str) -> frozenset[int] | None:
    """Return the VIDs that we put on an uplink; None when its ifalias is somebody else's, so not for us to change."""
    if not alias:
        return frozenset()
    if not alias.startswith(_UPLINK_PREFIX):
        return None
    try:
        return vlan.parse_vids(alias.removeprefix(_UPLINK_PREFIX))
    except ValueError:
        return None
