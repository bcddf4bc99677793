"""Router solicitations and advertisements of IPv6. RFC 4861, sections 4.1, 4.2 and 6.1; RFC 8106 for DNS."""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from cni_harvester.wire.layers import (
    Ether,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    IPv6,
    Packet,
    checksum,
)

_ALL_ROUTERS, _ALL_ROUTERS_MAC = "ff02::2", "33:33:00:00:00:02"
_ROUTER_ADVERTISEMENT = 134
_ICMPV6 = 58


@dataclass(frozen=True)
class Prefix:
    """A prefix that a router announces; times in seconds, 0xffffffff for ever."""

    network: IPv6Network
    on_link: bool
    autonomous: bool
    valid_s: int
    preferred_s: int


@dataclass(frozen=True)
class Advertisement:
    """What one router advertises.

    Attributes:
        router, router_mac: its link-local address, and the MAC that the advertisement came from.
        lifetime_s: how long it is a default router; 0 when it is none.
        managed, other: addresses, and other settings, are to be had by DHCPv6 (flags M and O).
        mtu: of the link, None when it does not say.
        prefixes: what it announces.
        dns: its DNS servers.
        faults: why it must be ignored (RFC 4861, section 6.1.2).
    """

    router: IPv6Address
    router_mac: str
    lifetime_s: int
    managed: bool
    other: bool
    mtu: int | None
    prefixes: tuple[Prefix, ...]
    dns: tuple[IPv6Address, ...]
    faults: tuple[str, ...]


def encode_solicitation(mac: str) -> bytes:
    """Make a router solicitation from the unspecified address, which needs no address of our own."""
    return bytes(Ether(src=mac, dst=_ALL_ROUTERS_MAC) / IPv6(src="::", dst=_ALL_ROUTERS, hlim=255) / ICMPv6ND_RS())


def decode_advertisement(data: bytes, *, checksummed: bool = True) -> Advertisement | None:
    """Read a frame as a router advertisement; None when it is none.

    Args:
        data: the frame, from the destination MAC on, without a VLAN tag.
        checksummed: whether its ICMPv6 checksum is there to be verified.
    """
    if len(data) < 70 or data[12:14] != b"\x86\xdd" or data[20] != _ICMPV6 or data[54] != _ROUTER_ADVERTISEMENT:
        return None
    packet = Ether(data)
    message = packet.getlayer(ICMPv6ND_RA)
    if message is None:
        return None
    router = IPv6Address(packet[IPv6].src)
    mtu = message.getlayer(ICMPv6NDOptMTU)
    return Advertisement(
        router=router,
        router_mac=packet.src,
        lifetime_s=message.routerlifetime,
        managed=bool(message.M),
        other=bool(message.O),
        mtu=mtu.mtu if mtu else None,
        prefixes=tuple(_list_prefixes(message)),
        dns=tuple(_list_dns(message)),
        faults=tuple(_find_faults(data, router, message.code, checksummed=checksummed)),
    )


def _list_prefixes(message: Packet) -> list[Prefix]:
    found = []
    number = 1
    while (option := message.getlayer(ICMPv6NDOptPrefixInfo, number)) is not None:
        number += 1
        if option.prefixlen <= 128:
            network = IPv6Network((option.prefix, option.prefixlen), strict=False)
            found.append(
                Prefix(network, bool(option.L), bool(option.A), option.validlifetime, option.preferredlifetime)
            )
    return found


def _list_dns(message: Packet) -> list[IPv6Address]:
    found = []
    number = 1
    while (option := message.getlayer(ICMPv6NDOptRDNSS, number)) is not None:
        number += 1
        found += [IPv6Address(address) for address in option.dns]
    return found


def _find_option_fault(options: bytes) -> str:
    """Check that the options fill the packet; empty when they do."""
    at = 0
    while at + 1 < len(options):
        if options[at + 1] == 0:
            return f"option {options[at]} has the length 0"
        at += options[at + 1] * 8
    return "" if at == len(options) else "an option runs past the end"


def _find_faults(data: bytes, router: IPv6Address, code: int, *, checksummed: bool) -> list[str]:
    """Check what RFC 4861, section 6.1.2, has every receiver check."""
    faults = []
    length, hop_limit = int.from_bytes(data[18:20], "big"), data[21]
    if not router.is_link_local:
        faults.append(f"the router's address {router} is not link-local")
    if hop_limit != 255:
        faults.append(f"the hop limit is {hop_limit} instead of 255: it may come from another network")
    if code:
        faults.append(f"the ICMPv6 code is {code} instead of 0")
    segment = data[54 : 54 + length]
    if len(segment) < length:
        faults.append(f"it is cut off: {length} bytes announced, {len(segment)} there")
    elif fault := _find_option_fault(segment[16:]):
        faults.append(fault)
    elif checksummed and checksum(data[22:54] + length.to_bytes(4, "big") + bytes([0, 0, 0, _ICMPV6]) + segment):
        faults.append("the ICMPv6 checksum is wrong")
    return faults
