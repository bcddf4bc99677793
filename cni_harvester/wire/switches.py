"""What switches announce of themselves and of the port that we hang on: LLDP and CDP.

IEEE 802.1AB-2016; IEEE 802.1Q-2018, annex D, for the VLANs in it. CDP is Cisco's, and known from its frames.

TLVs are split here, strictly: scapy's reader of LLDP raises on a frame that lacks a mandatory TLV, and both of its
readers take the lengths of some TLVs for granted and lose step behind one that has another.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from cni_harvester.model.vlan import VID_MAX, VID_MIN
from cni_harvester.wire.layers import checksum

LLDP_ETHERTYPE = 0x88CC

_CDP_SNAP = bytes.fromhex("aaaa0300000c2000")
_OUI_802_1 = bytes.fromhex("0080c2")

_END, _CHASSIS, _PORT, _TTL, _PORT_DESCRIPTION, _SYSTEM_NAME, _SYSTEM_DESCRIPTION = range(7)
_MANAGEMENT, _ORGANISATION = 8, 127
_PVID, _PROTOCOL_VLAN, _VLAN_NAME = 1, 2, 3  # 802.1Q, table D-1

_CDP_DEVICE, _CDP_ADDRESSES, _CDP_PORT, _CDP_PLATFORM, _CDP_NATIVE, _CDP_MANAGEMENT = 1, 2, 3, 6, 10, 22

Address = IPv4Address | IPv6Address


@dataclass
class _Draft:
    """A neighbour that is being read."""

    system: str = ""
    chassis: str = ""
    port: str = ""
    port_description: str = ""
    platform: str = ""
    management: list[Address] = field(default_factory=list)
    native_vlan: int | None = None
    protocol_vlans: list[int] = field(default_factory=list)
    vlan_names: dict[int, str] = field(default_factory=dict)
    lifetime_s: int | None = None


@dataclass(frozen=True)
class Neighbour:
    """What a switch announces on the port that we hang on; empty where it does not say.

    Attributes:
        protocol: `LLDP` or `CDP`.
        mac: that the announcement came from: the port's, as a rule.
        system: name of the switch; CDP's device ID.
        chassis: LLDP's chassis ID, as a rule a MAC.
        port, port_description: the switch's port.
        platform: CDP's platform, LLDP's system description.
        management: addresses at which it is managed.
        native_vlan: the VLAN of untagged frames on the port (LLDP: Port VLAN ID).
        protocol_vlans: VLANs by LLDP's Port And Protocol VLAN ID.
        vlan_names: VLANs of the port, by LLDP's VLAN Name: (VID, name).
        lifetime_s: for how long this holds; 0 when the sender says goodbye.
        faults: what is wrong with the announcement; what could be read of it is there all the same.
    """

    protocol: str
    mac: str
    system: str = ""
    chassis: str = ""
    port: str = ""
    port_description: str = ""
    platform: str = ""
    management: tuple[Address, ...] = ()
    native_vlan: int | None = None
    protocol_vlans: tuple[int, ...] = ()
    vlan_names: tuple[tuple[int, str], ...] = ()
    lifetime_s: int | None = None
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Name switch and port, for messages: `sw1, port Gi1/0/1 (LLDP)`."""
        name = self.system or self.chassis or self.mac
        return f"{name}, port {self.port} ({self.protocol})" if self.port else f"{name} ({self.protocol})"


def decode_neighbour(data: bytes) -> Neighbour | None:
    """Read a frame as a switch's announcement of itself; None when it is neither LLDP nor CDP.

    Args:
        data: the frame, from the destination MAC on, without a VLAN tag.
    """
    if len(data) < 14:
        return None
    mac, kind = data[6:12].hex(":"), int.from_bytes(data[12:14], "big")
    draft, faults = _Draft(), list[str]()
    if kind == LLDP_ETHERTYPE:
        _read_lldp(data[14:], draft, faults)
        return _finish("LLDP", mac, draft, faults)
    body = read_llc_body(data, faults)
    if body[:8] == _CDP_SNAP:
        _read_cdp(body[8:], draft, faults)
        return _finish("CDP", mac, draft, faults)
    return None


def _finish(protocol: str, mac: str, draft: _Draft, faults: list[str]) -> Neighbour:
    return Neighbour(
        protocol=protocol,
        mac=mac,
        system=draft.system,
        chassis=draft.chassis,
        port=draft.port,
        port_description=draft.port_description,
        platform=draft.platform,
        management=tuple(dict.fromkeys(draft.management)),
        native_vlan=draft.native_vlan,
        protocol_vlans=tuple(dict.fromkeys(draft.protocol_vlans)),
        vlan_names=tuple(draft.vlan_names.items()),
        lifetime_s=draft.lifetime_s,
        faults=tuple(faults),
    )


def read_llc_body(data: bytes, faults: list[str]) -> bytes:
    """Return what a frame of IEEE 802.3 carries, without its padding; nothing when it is none (802.3, 3.2.6)."""
    length = int.from_bytes(data[12:14], "big")
    if len(data) < 14 or length > 1500:
        return b""
    body = data[14 : 14 + length]
    if len(body) < length:
        faults.append(f"the frame is cut off: {length} bytes announced, {len(body)} there")
    return body


# --- LLDP ---


def _read_lldp(data: bytes, draft: _Draft, faults: list[str]) -> None:
    """Read the TLVs of an LLDPDU; one that is broken is named, and the next one read (802.1AB, 9.2.7.7)."""
    seen = []
    for kind, value in _split_lldp(data, faults):
        seen.append(kind)
        if reader := _LLDP_READERS.get(kind):
            _try(reader, value, draft, faults)
    if seen[:3] != [_CHASSIS, _PORT, _TTL]:
        faults.append("it does not begin with chassis ID, port ID and time to live")


def _split_lldp(data: bytes, faults: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value): 7 bits of type and 9 of length before each value (802.1AB, 8.4)."""
    at = 0
    while at + 2 <= len(data):
        (head,) = struct.unpack_from(">H", data, at)
        kind, length = head >> 9, head & 0x1FF
        if kind == _END:
            return
        value = data[at + 2 : at + 2 + length]
        if len(value) < length:
            faults.append(f"TLV {kind} runs past the end: {length} bytes announced, {len(value)} there")
            return
        yield kind, value
        at += 2 + length
    if at < len(data):
        faults.append("it ends within the head of a TLV")


def _read_chassis(value: bytes, draft: _Draft) -> None:
    draft.chassis = _read_identifier(value, mac_subtype=4, address_subtype=5, what="the chassis ID")


def _read_port(value: bytes, draft: _Draft) -> None:
    draft.port = _read_identifier(value, mac_subtype=3, address_subtype=4, what="the port ID")


def _read_identifier(value: bytes, *, mac_subtype: int, address_subtype: int, what: str) -> str:
    """Read a chassis or port ID: a subtype, and 1 to 255 octets (802.1AB, 8.5.2 and 8.5.3)."""
    if not 2 <= len(value) <= 256:
        raise ValueError(f"{what} has {max(0, len(value) - 1)} bytes")
    subtype, rest = value[0], value[1:]
    if subtype == mac_subtype:
        if len(rest) != 6:
            raise ValueError(f"{what} is a MAC of {len(rest)} bytes")
        return rest.hex(":")
    if subtype == address_subtype:
        address = _read_address(rest[0], rest[1:], what)
        return str(address) if address else rest[1:].hex()
    return _read_text(rest)


def _read_address(family: int, octets: bytes, what: str) -> Address | None:
    """Read an address with the number of its family (IANA): 1 and 2 are IPv4 and IPv6; None for the others."""
    if family not in {1, 2}:
        return None
    expected = 4 if family == 1 else 16
    if len(octets) != expected:
        raise ValueError(f"{what} is an address of {len(octets)} bytes instead of {expected}")
    return IPv4Address(octets) if family == 1 else IPv6Address(octets)


def _read_lifetime(value: bytes, draft: _Draft) -> None:
    if len(value) != 2:
        raise ValueError(f"the time to live has {len(value)} bytes instead of 2")
    draft.lifetime_s = int.from_bytes(value, "big")


def _read_port_description(value: bytes, draft: _Draft) -> None:
    draft.port_description = _read_text(value)


def _read_system_name(value: bytes, draft: _Draft) -> None:
    draft.system = _read_text(value)


def _read_system_description(value: bytes, draft: _Draft) -> None:
    """Read what a switch is; it has several lines, as a rule."""
    draft.platform = "\n".join(_read_text(line.rstrip(b"\r")) for line in value.split(b"\n"))


def _read_management(value: bytes, draft: _Draft) -> None:
    """Read a management address: the length of the family and the address, these two, and more (802.1AB, 8.5.9)."""
    length = value[0] if value else 0
    if not 2 <= length <= 32 or len(value) < 1 + length:
        raise ValueError("the management address does not fit in its TLV")
    if address := _read_address(value[1], value[2 : 1 + length], "the management address"):
        draft.management.append(address)


def _read_organisation(value: bytes, draft: _Draft) -> None:
    """Read a TLV of IEEE 802.1; those of others are nothing to us (802.1Q, D.2.1 to D.2.3)."""
    if len(value) < 4:
        raise ValueError(f"an organisation's TLV has {len(value)} bytes, and needs 4 to say whose it is")
    if value[:3] != _OUI_802_1:
        return
    subtype, rest = value[3], value[4:]
    if subtype == _PVID:
        draft.native_vlan = read_vid(rest, "the port VLAN ID") or draft.native_vlan
    elif subtype == _PROTOCOL_VLAN:
        if vid := read_vid(rest[1:], "the protocol VLAN ID"):
            draft.protocol_vlans.append(vid)
    elif subtype == _VLAN_NAME:
        if len(rest) < 3 or not 1 <= rest[2] <= 32 or len(rest) != 3 + rest[2]:
            raise ValueError("a VLAN name does not fit in its TLV")
        if vid := read_vid(rest[:2], "the VLAN ID of a VLAN name"):
            draft.vlan_names[vid] = _read_text(rest[3:])


def read_vid(value: bytes, what: str) -> int:
    """Read a VID; 0 says that there is none (802.1Q, D.2.1.1 and D.2.2.2)."""
    if len(value) != 2:
        raise ValueError(f"{what} has {len(value)} bytes instead of 2")
    vid = int.from_bytes(value, "big")
    if vid and not VID_MIN <= vid <= VID_MAX:
        raise ValueError(f"{what} is {vid}, which is none")
    return vid


_Reader = Callable[[bytes, _Draft], None]

_LLDP_READERS: dict[int, _Reader] = {
    _CHASSIS: _read_chassis,
    _PORT: _read_port,
    _TTL: _read_lifetime,
    _PORT_DESCRIPTION: _read_port_description,
    _SYSTEM_NAME: _read_system_name,
    _SYSTEM_DESCRIPTION: _read_system_description,
    _MANAGEMENT: _read_management,
    _ORGANISATION: _read_organisation,
}


def _try(reader: _Reader, value: bytes, draft: _Draft, faults: list[str]) -> None:
    try:
        reader(value, draft)
    except ValueError as e:
        faults.append(str(e))


def _read_text(value: bytes) -> str:
    """Return text for people: what cannot be printed is replaced, for it comes from whoever is on the wire."""
    text = value.rstrip(b"\0").decode(errors="replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


# --- CDP ---


def _read_cdp(data: bytes, draft: _Draft, faults: list[str]) -> None:
    """Read version, lifetime, checksum and TLVs."""
    if len(data) < 4:
        faults.append(f"CDP's head has {len(data)} bytes instead of 4")
        return
    version, draft.lifetime_s = data[0], data[1]
    if version not in {1, 2}:
        faults.append(f"CDP's version is {version}, and 1 and 2 are known")
    if len(data) % 2 == 0 and checksum(data):  # of an odd number of octets Cisco's differs from RFC 1071's
        faults.append("CDP's checksum is wrong")
    for kind, value in _split_cdp(data[4:], faults):
        if reader := _CDP_READERS.get(kind):
            _try(reader, value, draft, faults)


def _split_cdp(data: bytes, faults: list[str]) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value): two octets of each of type and length before a value; the length counts these four."""
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from(">HH", data, at)
        if length < 4 or at + length > len(data):
            faults.append(f"CDP's TLV {kind} has an impossible length: {length} bytes, {len(data) - at} there")
            return
        yield kind, data[at + 4 : at + length]
        at += length
    if at < len(data):
        faults.append("it ends within the head of a TLV of CDP")


def _read_cdp_port(value: bytes, draft: _Draft) -> None:
    draft.port = _read_text(value)


def _read_cdp_native(value: bytes, draft: _Draft) -> None:
    draft.native_vlan = read_vid(value, "the native VLAN") or draft.native_vlan


def _read_cdp_addresses(value: bytes, draft: _Draft) -> None:
    """Read a list of addresses: each with its protocol's type and name; NLPID 0xcc is IPv4, the SNAP of IPv6 IPv6."""
    if len(value) < 4:
        raise ValueError(f"CDP's addresses have {len(value)} bytes, and their number needs 4")
    at = 4
    for _ in range(int.from_bytes(value[:4], "big")):
        head = value[at : at + 2]
        name_end = at + 2 + (head[1] if len(head) == 2 else 0)
        end = name_end + 2 + int.from_bytes(value[name_end : name_end + 2], "big")
        if len(head) < 2 or name_end + 2 > len(value) or end > len(value):
            raise ValueError("CDP's addresses run past the end of their TLV")
        name, octets = value[at + 2 : name_end], value[name_end + 2 : end]
        family = {b"\xcc": 1, bytes.fromhex("aaaa0300000086dd"): 2}.get(name, 0)
        if address := _read_address(family, octets, "an address of CDP's"):
            draft.management.append(address)
        at = end


_CDP_READERS: dict[int, _Reader] = {
    _CDP_DEVICE: _read_system_name,
    _CDP_ADDRESSES: _read_cdp_addresses,
    _CDP_PORT: _read_cdp_port,
    _CDP_PLATFORM: _read_system_description,
    _CDP_NATIVE: _read_cdp_native,
    _CDP_MANAGEMENT: _read_cdp_addresses,
}
