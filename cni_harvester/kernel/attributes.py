"""Netlink attributes as octets: cut apart without making an object of each. netlink(7), linux/netlink.h.

pyroute2 decodes every attribute of a message into an object, of which a link has some eighty: half a millisecond. A
verb looks a handful of links up, and reads a dozen attributes of each.
"""

import struct
from collections.abc import Iterator

_HEADER = struct.Struct("=HH")  # struct nlattr
_TYPE_MASK = 0x3FFF  # less NLA_F_NESTED and NLA_F_NET_BYTEORDER


def iter_attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, first octet, end) of each attribute between two offsets."""
    while start + 4 <= end:
        length, kind = _HEADER.unpack_from(data, start)
        if length < 4:
            return
        yield kind & _TYPE_MASK, start + 4, start + length
        start += length + 3 & ~3


def split_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Return the attributes from an offset on, by their number; of several of one number the last."""
    return {kind: data[start:end] for kind, start, end in iter_attributes(data, offset, len(data))}


def pack_attribute(kind: int, value: bytes) -> bytes:
    """Make one attribute, padded to four octets."""
    return _HEADER.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def read_u8(value: bytes | None) -> int | None:
    """Read a number of one octet; None when it is absent."""
    return value[0] if value else None


def read_u16(value: bytes | None) -> int | None:
    """Read a number of two octets; None when it is absent."""
    return int(struct.unpack_from("=H", value)[0]) if value else None


def read_u32(value: bytes | None) -> int | None:
    """Read a number of four octets; None when it is absent."""
    return int(struct.unpack_from("=I", value)[0]) if value else None


def read_s32(value: bytes | None) -> int | None:
    """Read a signed number of four octets; None when it is absent."""
    return int(struct.unpack_from("=i", value)[0]) if value else None


def read_text(value: bytes | None) -> str:
    """Read text, which somebody may have given octets that are not UTF-8; empty when it is absent."""
    return value.rstrip(b"\0").decode(errors="replace") if value else ""
