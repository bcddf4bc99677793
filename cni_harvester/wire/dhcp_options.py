"""DHCP options as they stand in a packet: split strictly, read into values, every fault named.

RFC 2131 and 2132; RFC 3396 (long options), RFC 3397 (119), RFC 3442 (121; 249 is Microsoft's number for the same).
scapy's own reader skips what it cannot read; a client must know what was wrong.
"""

import ipaddress
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

PAD, MASK, ROUTER, DNS, DOMAIN, MTU, BROADCAST, STATIC_ROUTES, NTP = 0, 1, 3, 6, 15, 26, 28, 33, 42
LEASE_TIME, OVERLOAD, MESSAGE_TYPE, SERVER_ID, MESSAGE = 51, 52, 53, 54, 56
T1, T2, SEARCH, CLASSLESS_ROUTES, MS_CLASSLESS_ROUTES, END = 58, 59, 119, 121, 249, 255

NAMES = {
    MASK: "subnet mask",
    ROUTER: "router",
    DNS: "DNS servers",
    DOMAIN: "domain",
    MTU: "interface MTU",
    BROADCAST: "broadcast address",
    STATIC_ROUTES: "static routes",
    NTP: "NTP servers",
    LEASE_TIME: "lease time",
    OVERLOAD: "option overload",
    MESSAGE_TYPE: "message type",
    SERVER_ID: "server identifier",
    MESSAGE: "message",
    T1: "renewal time",
    T2: "rebinding time",
    SEARCH: "domain search",
    CLASSLESS_ROUTES: "classless static routes",
    MS_CLASSLESS_ROUTES: "classless static routes of Microsoft",
}

INFINITE_S = 0xFFFFFFFF
"""RFC 2131, section 3.3: the lease never ends."""

_FILE, _SNAME = 1, 2  # bits of option 52
_NAME_BYTES = 255
"""The longest domain name, RFC 1035, section 2.3.4; without a limit, pointers make megabytes of one jumbo frame."""


@dataclass(frozen=True)
class StaticRoute:
    """A route that a server hands out; `gateway` 0.0.0.0 means that the destination is on the link (RFC 3442)."""

    destination: IPv4Network
    gateway: IPv4Address


@dataclass(frozen=True)
class Options:
    """The options of one message.

    Attributes:
        values: by option number, each of the type that its reader gives; options without a reader are left out.
        faults: what is wrong with an option, by its number.
        structure: what is wrong with the options as a whole.
    """

    values: Mapping[int, Any] = field(default_factory=dict)
    faults: Mapping[int, str] = field(default_factory=dict)
    structure: tuple[str, ...] = ()

    def find(self, code: int) -> Any:  # noqa: ANN401 - the type depends on the option
        """Return an option's value; None when it is absent or faulty."""
        return self.values.get(code)


def parse_options(options: bytes, file: bytes = b"", sname: bytes = b"") -> Options:
    """Read the options of a message.

    Args:
        options: what follows the magic cookie.
        file: the `file` field of the header, which holds more options when option 52 says so.
        sname: the `sname` field, likewise.
    """
    structure: list[str] = []
    raw: dict[int, bytes] = {}
    _split(options, "", raw, structure)
    overload = raw.get(OVERLOAD, b"\0")[:1] or b"\0"
    for bit, field_name, data in ((_FILE, "file", file), (_SNAME, "sname", sname)):
        if overload[0] & bit:
            _split(data, f" in the {field_name} field", raw, structure)
    values: dict[int, Any] = {}
    faults: dict[int, str] = {}
    for code, data in raw.items():
        if code not in _READERS:
            continue
        try:
            values[code] = _READERS[code](data)
        except ValueError as e:
            faults[code] = f"option {code} ({NAMES[code]}) {e}"
    return Options(values, faults, tuple(structure))


def _split(data: bytes, where: str, raw: dict[int, bytes], faults: list[str]) -> None:
    """Cut octets into options; pieces of one option are joined in their order (RFC 3396)."""
    at = 0
    while at < len(data):
        code = data[at]
        if code == END:
            return
        if code == PAD:
            at += 1
            continue
        if at + 1 >= len(data):
            faults.append(f"option {code}{where} has no length")
            return
        length = data[at + 1]
        value = data[at + 2 : at + 2 + length]
        if len(value) < length:
            faults.append(f"option {code}{where} runs past the end: {length} bytes announced, {len(value)} there")
            return
        raw[code] = raw.get(code, b"") + value
        at += 2 + length
    faults.append(f"the options{where} have no end (255)")


def _read_address(data: bytes) -> IPv4Address:
    if len(data) != 4:
        raise ValueError(f"has {len(data)} bytes instead of 4")
    return IPv4Address(data)


def _read_addresses(data: bytes) -> tuple[IPv4Address, ...]:
    if not data or len(data) % 4:
        raise ValueError(f"has {len(data)} bytes, which is no list of addresses of 4 bytes each")
    return tuple(IPv4Address(data[i : i + 4]) for i in range(0, len(data), 4))


def _read_mask(data: bytes) -> int:
    """Return the prefix length of a subnet mask."""
    mask = int(_read_address(data))
    host_bits = ~mask & 0xFFFFFFFF
    if host_bits & (host_bits + 1):
        raise ValueError(f"is {ipaddress.IPv4Address(mask)}, whose ones are not contiguous")
    return 32 - host_bits.bit_length()


def _read_seconds(data: bytes) -> int:
    if len(data) != 4:
        raise ValueError(f"has {len(data)} bytes instead of 4")
    return int.from_bytes(data, "big")


def _read_mtu(data: bytes) -> int:
    if len(data) != 2:
        raise ValueError(f"has {len(data)} bytes instead of 2")
    if (mtu := int.from_bytes(data, "big")) < 68:
        raise ValueError(f"is {mtu}, below the smallest MTU of IPv4, 68")
    return mtu


def _read_octet(data: bytes) -> int:
    if len(data) != 1:
        raise ValueError(f"has {len(data)} bytes instead of 1")
    return data[0]


def _read_overload(data: bytes) -> int:
    if (fields := _read_octet(data)) not in {_FILE, _SNAME, _FILE | _SNAME}:
        raise ValueError(f"is {fields} instead of 1, 2 or 3")
    return fields


def _read_text(data: bytes) -> str:
    """Return text for people: what cannot be printed is replaced, for it comes from whoever is on the network."""
    text = data.rstrip(b"\0").decode(errors="replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _read_static_routes(data: bytes) -> tuple[StaticRoute, ...]:
    """Read option 33: pairs of host and router (RFC 2132, section 5.8)."""
    if not data or len(data) % 8:
        raise ValueError(f"has {len(data)} bytes, which is no list of address pairs of 8 bytes each")
    addresses = _read_addresses(data)
    pairs = zip(addresses[::2], addresses[1::2], strict=True)
    return tuple(StaticRoute(IPv4Network(f"{host}/32"), router) for host, router in pairs)


def _read_classless_routes(data: bytes) -> tuple[StaticRoute, ...]:
    """Read option 121: prefix length, the octets of the prefix that matter, router (RFC 3442)."""
    if not data:
        raise ValueError("is empty")
    found = []
    at = 0
    while at < len(data):
        length = data[at]
        if length > 32:
            raise ValueError(f"has a prefix of {length} bits")
        octets = (length + 7) // 8
        entry = data[at + 1 : at + 1 + octets + 4]
        if len(entry) < octets + 4:
            raise ValueError("ends within a route")
        prefix = int.from_bytes(entry[:octets].ljust(4, b"\0"), "big")
        network = IPv4Network((prefix, length), strict=False)
        found.append(StaticRoute(network, IPv4Address(entry[octets:])))
        at += 1 + octets + 4
    return tuple(found)


def _read_search(data: bytes) -> tuple[str, ...]:
    """Read option 119: domain names with compression that points into the option itself (RFC 3397)."""
    names = []
    at = 0
    while at < len(data):
        name, at = _read_name(data, at)
        names.append(name)
    return tuple(names)


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    """Read one domain name; return it and where the next one starts. A pointer may only point backwards (RFC 1035)."""
    labels: list[str] = []
    after: int | None = None
    lowest = at
    size = 0
    while True:
        if size > _NAME_BYTES:
            raise ValueError(f"has a name of more than {_NAME_BYTES} bytes")
        if at >= len(data):
            raise ValueError("ends within a name")
        length = data[at]
        if length == 0:
            return ".".join(labels), at + 1 if after is None else after
        if length & 0xC0 == 0xC0:
            if at + 1 >= len(data):
                raise ValueError("ends within a pointer")
            (word,) = struct.unpack_from(">H", data, at)
            after = at + 2 if after is None else after
            at = word & 0x3FFF
            if at >= lowest:
                raise ValueError("has a pointer that does not point backwards")
            lowest = at
            size += 1  # so that a chain of pointers ends as well
        elif length & 0xC0:
            raise ValueError(f"has a label of unknown kind {length:#x}")
        else:
            labels.append(_read_text(data[at + 1 : at + 1 + length]))
            at += 1 + length
            size += 1 + length


_READERS: Mapping[int, Callable[[bytes], Any]] = {
    MASK: _read_mask,
    ROUTER: _read_addresses,
    DNS: _read_addresses,
    DOMAIN: _read_text,
    MTU: _read_mtu,
    BROADCAST: _read_address,
    STATIC_ROUTES: _read_static_routes,
    NTP: _read_addresses,
    LEASE_TIME: _read_seconds,
    OVERLOAD: _read_overload,
    MESSAGE_TYPE: _read_octet,
    SERVER_ID: _read_address,
    MESSAGE: _read_text,
    T1: _read_seconds,
    T2: _read_seconds,
    SEARCH: _read_search,
    CLASSLESS_ROUTES: _read_classless_routes,
    MS_CLASSLESS_ROUTES: _read_classless_routes,
}
