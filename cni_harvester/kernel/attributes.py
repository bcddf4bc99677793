"""Netlink attributes as octets: cut apart without making an object of each. netlink(7), linux/netlink.h.

pyroute2 decodes every attribute of a message into an object, of which a link has some eighty: half a millisecond. A
verb looks a handful of links up, and reads a dozen attributes of each.
"""

import struct

_HEADER = struct.Struct("=HH")  # struct nlattr
_TYPE_MASK = 0x3FFF  # less NLA_F_NESTED and NLA_F_NET_BYTEORDER


def split_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Return the attributes from an offset on, by their number; of several of one number the last."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _HEADER.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


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
