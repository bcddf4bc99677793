"""Frames written and read with `struct` alone, so that no fault of the product's library is on both sides of a test."""

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:05", "02:00:00:00:00:01"
CLIENT, SERVER = IPv4Address("192.0.2.5"), IPv4Address("192.0.2.1")
XID = 0x12345678
COOKIE = b"\x63\x82\x53\x63"
END = b"\xff"


def pack_mac(mac: str) -> bytes:
    """Return the octets of a MAC."""
    return bytes.fromhex(mac.replace(":", ""))


def checksum(data: bytes) -> int:
    """Return the Internet checksum; 0 over data that has a right one in it (RFC 1071)."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- options -------------------------------------------------------------------------------------------------------


def encode_option(code: int, value: bytes) -> bytes:
    """Write one option; a long one in pieces (RFC 3396)."""
    pieces = [value[i : i + 255] for i in range(0, len(value), 255)] or [b""]
    return b"".join(bytes([code, len(piece)]) + piece for piece in pieces)


def encode_options(options: Iterable[tuple[int, bytes]], end: bytes = END) -> bytes:
    """Write options, and their end."""
    return b"".join(encode_option(code, value) for code, value in options) + end


def list_options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the options in these octets with what is there of each, up to their end."""
    at = 0
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        yield data[at], data[at + 2 : at + 2 + length]
        at += 2 + length


def join_options(message: bytes) -> dict[int, bytes]:
    """Return what a BOOTP message has of each option, in the header's fields too where option 52 says so."""
    joined: dict[int, bytes] = {}
    for code, value in list_options(message[240:]):
        joined[code] = joined.get(code, b"") + value
    overload = (joined.get(52, b"\0") or b"\0")[0]
    for bit, data in ((1, message[108:236]), (2, message[44:108])):
        for code, value in list_options(data) if overload & bit else ():
            joined[code] = joined.get(code, b"") + value
    return joined


def encode_route(network: IPv4Network, gateway: IPv4Address) -> bytes:
    """Write one route of option 121 (RFC 3442)."""
    octets = {0: 0, **dict.fromkeys(range(1, 9), 1), **dict.fromkeys(range(9, 17), 2)}
    octets |= dict.fromkeys(range(17, 25), 3) | dict.fromkeys(range(25, 33), 4)
    return bytes([network.prefixlen]) + network.network_address.packed[: octets[network.prefixlen]] + gateway.packed


def encode_routes(*routes: tuple[str, str]) -> bytes:
    """Write option 121 of networks and gateways."""
    return b"".join(encode_route(IPv4Network(network), IPv4Address(gateway)) for network, gateway in routes)


# --- messages ------------------------------------------------------------------------------------------------------

OFFER = {
    53: b"\2",
    54: SERVER.packed,
    51: (3600).to_bytes(4, "big"),
    1: b"\xff\xff\xff\0",
    3: SERVER.packed,
}
"""What a sound offer of 192.0.2.5 has."""


def make_message(
    options: bytes,
    *,
    op: int = 2,
    hardware: tuple[int, int] = (1, 6),
    xid: int = XID,
    yiaddr: str = "192.0.2.5",
    giaddr: str = "0.0.0.0",
    chaddr: str = CLIENT_MAC,
    sname: bytes = b"",
    file: bytes = b"",
    cookie: bytes = COOKIE,
) -> bytes:
    """Write a BOOTP message of a server, with its options as they are given."""
    addresses = bytes(4) + IPv4Address(yiaddr).packed + bytes(4) + IPv4Address(giaddr).packed
    header = struct.pack("!BBBBIHH", op, *hardware, 0, xid, 0, 0) + addresses
    return header + struct.pack("!16s64s128s", pack_mac(chaddr), sname, file) + cookie + options


def make_udp(
    payload: bytes, *, source: IPv4Address, to: IPv4Address, ports: tuple[int, int] = (67, 68), checksummed: bool = True
) -> bytes:
    """Write a UDP datagram; a checksum of 0 says that there is none."""
    length = 8 + len(payload)
    pseudo = source.packed + to.packed + struct.pack("!HH", 17, length)
    header = struct.pack("!HHH", *ports, length)
    found = checksum(pseudo + header + b"\0\0" + payload) or 0xFFFF
    return header + (found if checksummed else 0).to_bytes(2, "big") + payload


def make_ipv4(
    payload: bytes,
    *,
    source: IPv4Address,
    to: IPv4Address,
    protocol: int = 17,
    options: bytes = b"",
    fragment: int = 0,
    total: int | None = None,
) -> bytes:
    """Write an IPv4 packet; `total` is the length that it announces, if that is another."""
    words = 5 + len(options) // 4
    length = words * 4 + len(payload) if total is None else total
    start = struct.pack("!BBHHHBB", 0x40 | words, 0, length, 1, fragment, 64, protocol)
    end = source.packed + to.packed + options
    return start + checksum(start + b"\0\0" + end).to_bytes(2, "big") + end + payload


def make_ethernet(payload: bytes, *, ethertype: int = 0x0800, source: str = SERVER_MAC, to: str = CLIENT_MAC) -> bytes:
    """Write an Ethernet frame."""
    return pack_mac(to) + pack_mac(source) + ethertype.to_bytes(2, "big") + payload


def make_reply(
    message: bytes, *, mac: str = SERVER_MAC, source: IPv4Address = SERVER, checksummed: bool = True
) -> bytes:
    """Write the frame of a server's message."""
    to = IPv4Address("255.255.255.255")
    datagram = make_udp(message, source=source, to=to, checksummed=checksummed)
    return make_ethernet(make_ipv4(datagram, source=source, to=to), source=mac)


def make_offer(
    changes: dict[int, bytes | None] | None = None,
    *,
    end: bytes = END,
    mac: str = SERVER_MAC,
    source: IPv4Address = SERVER,
    **header: Any,
) -> bytes:
    """Write the frame of a sound offer, with some options changed, added, or left out (None)."""
    options = {code: value for code, value in (OFFER | (changes or {})).items() if value is not None}
    message = make_message(encode_options(options.items(), end), **header)
    return make_reply(message, mac=mac, source=source)
