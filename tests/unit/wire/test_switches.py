"""What switches announce: frames made by scapy, and broken ones."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from cni_harvester.wire.spanning_tree import decode_bpdu
from cni_harvester.wire.switches import decode_neighbour
from lab.switch_frames import SWITCH_MAC, make_cdp, make_lldp, make_pvst, make_rstp

_LLDP_HEAD = bytes.fromhex("0180c200000e025e0000000188cc")
_END = b"\0\0"


def _tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2, "big") + value


_MANDATORY = _tlv(1, b"\x07sw") + _tlv(2, b"\x05Gi1") + _tlv(3, b"\0\x78")


def _dot1(subtype: int, data: bytes) -> bytes:
    return _tlv(127, b"\x00\x80\xc2" + bytes([subtype]) + data)


def test_lldp_is_read() -> None:
    """Names, port, address and VLANs, of a frame that scapy made."""
    found = decode_neighbour(make_lldp("sw1", "Gi1/0/1", description="node 1", pvid=7, names={7: "old", 50: "prod"}))
    assert found is not None
    assert (found.protocol, found.mac, found.system, found.chassis) == ("LLDP", SWITCH_MAC, "sw1", SWITCH_MAC)
    assert (found.port, found.port_description, found.lifetime_s) == ("Gi1/0/1", "node 1", 120)
    assert found.platform == "Lab switch\nof nothing"
    assert found.management == (IPv4Address("192.0.2.254"),)
    assert (found.native_vlan, found.vlan_names) == (7, ((7, "old"), (50, "prod")))
    assert found.faults == ()
    assert str(found) == "sw1, port Gi1/0/1 (LLDP)"


def test_protocol_vlans_are_read_and_zero_is_none() -> None:
    """802.1Q, D.2.2: a PPVID of 0 says that the port has none."""
    found = decode_neighbour(make_lldp("sw1", "Gi1", protocol_vlans=[300, 0]))
    assert found is not None
    assert (found.protocol_vlans, found.faults) == ((300,), ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x04\x02\x5e\x00\x00\x00\x07", "02:5e:00:00:00:07"),
        (b"\x05\x01\xc0\x00\x02\x01", "192.0.2.1"),
        (b"\x05\x02" + IPv6Address("2001:db8::1").packed, "2001:db8::1"),
        (b"\x05\x09\xff", "ff"),
        (b"\x07rack 5\x1b[2J\n", "rack 5\ufffd[2J\ufffd"),
    ],
)
def test_chassis_of_any_kind_is_text(value: bytes, expected: str) -> None:
    """A MAC, an address, or what a person has set, without what a terminal would act on."""
    found = decode_neighbour(_LLDP_HEAD + _tlv(1, value) + _tlv(2, b"\x05Gi1") + _tlv(3, b"\0\x78") + _END)
    assert found is not None
    assert (found.chassis, found.port, found.faults) == (expected, "Gi1", ())


@pytest.mark.parametrize(
    ("tlvs", "fault"),
    [
        (_tlv(1, b"\x04\x01\x02") + _tlv(2, b"\x05Gi1") + _tlv(3, b"\0\x78"), "the chassis ID is a MAC of 2 bytes"),
        (_tlv(1, b"\x05\x01\x0a") + _tlv(2, b"\x05Gi1") + _tlv(3, b"\0\x78"), "an address of 1 bytes instead of 4"),
        (_tlv(1, b"") + _tlv(2, b"\x05Gi1") + _tlv(3, b"\0\x78"), "the chassis ID has 0 bytes"),
        (_tlv(2, b"\x05Gi1"), "does not begin with chassis ID, port ID and time to live"),
        (_MANDATORY + _tlv(3, b"\0"), "the time to live has 1 bytes instead of 2"),
        (_MANDATORY + _tlv(127, b"\0"), "an organisation's TLV has 1 bytes"),
        (_MANDATORY + _dot1(1, b"\x0f\xff"), "the port VLAN ID is 4095, which is none"),
        (_MANDATORY + _dot1(1, b"\x0f"), "the port VLAN ID has 1 bytes instead of 2"),
        (_MANDATORY + _dot1(3, b"\x00\x05\x09abc"), "a VLAN name does not fit in its TLV"),
        (_MANDATORY + _tlv(8, b"\x09\x01"), "the management address does not fit in its TLV"),
        (_MANDATORY + b"\x0a\xff", "TLV 5 runs past the end: 255 bytes announced, 0 there"),
        (_MANDATORY + b"\x0a", "it ends within the head of a TLV"),
    ],
)
def test_broken_lldp_is_named_and_the_rest_read(tlvs: bytes, fault: str) -> None:
    """One fault, in words; the port is there all the same. scapy raises on some of these, and loses step on others."""
    found = decode_neighbour(_LLDP_HEAD + tlvs)
    assert found is not None
    assert found.port == "Gi1"
    assert fault in "; ".join(found.faults)


def test_six_hundred_tlvs_are_read() -> None:
    """Nothing nests: the name behind them is found."""
    found = decode_neighbour(_LLDP_HEAD + _MANDATORY + _tlv(4, b"") * 600 + _tlv(5, b"sw1") + _END)
    assert found is not None
    assert found.system == "sw1"


def test_cdp_is_read() -> None:
    """Device, port, platform, addresses and native VLAN, of a frame that scapy made."""
    found = decode_neighbour(make_cdp("sw1.example", "Gi1/0/1", platform="cisco WS-C2960", native_vlan=7) + bytes(20))
    assert found is not None
    assert (found.protocol, found.system, found.port, found.platform) == (
        "CDP",
        "sw1.example",
        "Gi1/0/1",
        "cisco WS-C2960",
    )
    assert found.management == (IPv4Address("192.0.2.254"), IPv6Address("2001:db8::254"))
    assert (found.native_vlan, found.lifetime_s, found.faults) == (7, 180, ())


def test_cut_off_cdp_is_named() -> None:
    """What is there is read, and the fault told."""
    found = decode_neighbour(make_cdp("sw1", "Gi1/0/1", native_vlan=7)[:-3])
    assert found is not None
    assert found.system == "sw1"
    assert "the frame is cut off" in found.faults[0]


def test_bpdu_of_rstp_is_read() -> None:
    """Root and bridge, and no VLAN."""
    found = decode_bpdu(make_rstp() + bytes(10))
    assert found is not None
    assert (found.kind, found.mac, found.vlan, found.port) == ("RSTP", SWITCH_MAC, None, 0x8001)
    assert found.root == found.bridge == f"32768.{SWITCH_MAC}"
    assert found.faults == ()


@pytest.mark.parametrize("vlan", [1, 100, 4094])
def test_bpdu_of_pvst_tells_its_vlan(vlan: int) -> None:
    """The VLAN is in the TLV at the end, whatever the tag, which the kernel has taken off."""
    found = decode_bpdu(make_pvst(vlan, tag=0))
    assert found is not None
    assert (found.kind, found.vlan, found.faults) == ("Rapid PVST+", vlan, ())


def test_topology_change_notification_is_a_bpdu() -> None:
    """It has four bytes, and no bridge."""
    found = decode_bpdu(make_rstp()[:12] + b"\x00\x07" + bytes.fromhex("42420300000080"))
    assert found is not None
    assert (found.kind, found.bridge, found.faults) == ("STP", "", ())


def test_bpdu_without_its_vlan_is_named() -> None:
    """PVST+ without the TLV: the fault is told."""
    frame = make_pvst(100, tag=0)
    found = decode_bpdu(frame[:12] + (len(frame) - 14 - 6).to_bytes(2, "big") + frame[14:-6])
    assert found is not None
    assert (found.vlan, found.faults) == (None, ("it does not say which VLAN it is for",))


def test_other_frames_are_neither() -> None:
    """IP, and a frame of IEEE 802.3 that carries something else."""
    for data in (b"", bytes(14), bytes(Ether(type=0x0800) / Raw(bytes(40))), bytes(12) + b"\0\x03\xff\xff\xff"):
        assert decode_neighbour(data) is None
        assert decode_bpdu(data) is None


_FRAMES = [
    make_lldp("sw1", "Gi1/0/1", description="x", pvid=7, names={7: "old", 50: "prod"}),
    make_cdp("sw1", "Gi1/0/1", platform="x", native_vlan=7),
    make_rstp(),
    make_pvst(100, tag=0),
]


@given(
    frame=st.sampled_from(_FRAMES),
    changes=st.lists(st.tuples(st.integers(12, 250), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 250),
    tail=st.binary(max_size=40),
)
def test_mutated_frames_never_raise(frame: bytes, changes: list[tuple[int, int]], cut: int, tail: bytes) -> None:
    """Whatever is done to a frame, it is read as far as it goes."""
    mutated = bytearray(frame[: max(14, len(frame) - cut)] + tail)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    decode_neighbour(bytes(mutated))
    decode_bpdu(bytes(mutated))


@given(head=st.sampled_from([frame[:22] for frame in _FRAMES]), body=st.binary(max_size=300))
def test_noise_behind_a_right_head_never_raises(head: bytes, body: bytes) -> None:
    """A right beginning, and then anything."""
    data = head[:12] + (len(body).to_bytes(2, "big") if head[12] < 6 else head[12:14]) + head[14:] + body
    decode_neighbour(data)
    decode_bpdu(data)
