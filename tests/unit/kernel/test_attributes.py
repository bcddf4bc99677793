"""Netlink attributes cut apart: what comes from the kernel is sound, and yet nothing in it may hang or raise."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.kernel.attributes import (
    pack_attribute,
    read_s32,
    read_text,
    read_u8,
    read_u16,
    read_u32,
    split_attributes,
)

attributes = st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=12)


@given(attributes, st.binary(max_size=20))
def test_attributes_are_found_behind_whatever_stands_before(found: dict[int, bytes], before: bytes) -> None:
    """Packed and cut apart again they are the same, whatever their padding."""
    packed = b"".join(pack_attribute(kind, value) for kind, value in found.items())
    assert len(packed) % 4 == 0
    assert split_attributes(before + packed, len(before)) == found


@given(st.binary(max_size=200), st.integers(0, 220))
def test_any_octets_are_cut_apart(data: bytes, offset: int) -> None:
    """Lengths of nothing, and beyond the end, end the list."""
    assert all(len(value) <= len(data) for value in split_attributes(data, offset).values())


def test_flags_are_no_part_of_the_number() -> None:
    """NLA_F_NESTED and NLA_F_NET_BYTEORDER stand in the same two octets."""
    assert split_attributes(struct.pack("=HHI", 8, 18 | 0x8000, 7)) == {18: struct.pack("=I", 7)}
    assert split_attributes(struct.pack("=HHI", 8, 18 | 0x4000, 7)) == {18: struct.pack("=I", 7)}


def test_values_are_read_by_their_size() -> None:
    """Absent ones are None, or empty text; octets that are not UTF-8 are replaced."""
    assert [read_u8(b"\x07"), read_u16(struct.pack("=H", 9)), read_u32(struct.pack("=I", 1 << 31))] == [7, 9, 1 << 31]
    assert read_s32(struct.pack("=i", -1)) == -1
    assert [read_u8(None), read_u16(None), read_u32(None), read_s32(None)] == [None] * 4
    assert [read_text(b"eth0\0"), read_text(None), read_text(b"\xff\0")] == ["eth0", "", "\ufffd"]
