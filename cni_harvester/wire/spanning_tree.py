"""BPDUs: what the bridges of a spanning tree tell each other, and so us. IEEE 802.1Q-2018, clause 14; 802.1D-2004, 9.

PVST+ is Cisco's: a tree for each VLAN, whose BPDUs are tagged, go to a group address of Cisco's, and end with the VLAN.
"""

from dataclasses import dataclass

from cni_harvester.wire.layers import STP
from cni_harvester.wire.switches import read_llc_body, read_vid

_PVST_MAC, _STP_MAC = "01:00:0c:cc:cc:cd", "01:80:c2:00:00:00"
_PVST_SNAP = bytes.fromhex("aaaa0300000c010b")
_STP_LLC = bytes.fromhex("424203")

_CONFIGURATION, _RAPID, _TOPOLOGY_CHANGE = 0x00, 0x02, 0x80  # types of BPDU
_BPDU_BYTES = 35
_PVST_VLAN_AT = 36  # behind the version 1 length of a rapid BPDU, or its place


@dataclass(frozen=True)
class Bpdu:
    """A bridge's word to its neighbours in a spanning tree.

    Attributes:
        kind: `STP`, `RSTP`, `MSTP`, `PVST+` or `Rapid PVST+`.
        mac: that it came from.
        root, bridge: identifiers, as priority and MAC: `32768.02:00:00:00:00:01`; empty in a change notification.
        port: of the bridge that sent it; None in a change notification.
        vlan: whose tree it is for; Cisco's per-VLAN kinds say it.
        faults: what is wrong with it.
    """

    kind: str
    mac: str
    root: str = ""
    bridge: str = ""
    port: int | None = None
    vlan: int | None = None
    faults: tuple[str, ...] = ()


def decode_bpdu(data: bytes) -> Bpdu | None:
    """Read a frame as a BPDU; None when it is none.

    Args:
        data: the frame, from the destination MAC on, without a VLAN tag.
    """
    faults: list[str] = []
    destination, mac, body = data[:6].hex(":"), data[6:12].hex(":"), read_llc_body(data, faults)
    if destination == _STP_MAC and body[:3] == _STP_LLC:
        return _read_bpdu(mac, body[3:], faults, per_vlan=False)
    if destination == _PVST_MAC and body[:8] == _PVST_SNAP:
        return _read_bpdu(mac, body[8:], faults, per_vlan=True)
    return None


def _read_bpdu(mac: str, data: bytes, faults: list[str], *, per_vlan: bool) -> Bpdu:
    """Read the BPDU behind its LLC header (802.1Q, 14.4)."""
    if len(data) < 4:
        return Bpdu(_name_kind(0, per_vlan=per_vlan), mac, faults=(*faults, f"the BPDU has {len(data)} bytes"))
    version, type_ = data[2], data[3]
    kind = _name_kind(version, per_vlan=per_vlan)
    if data[:2] != b"\0\0":
        faults.append(f"the protocol identifier is {data[:2].hex()} instead of 0000")
    if type_ == _TOPOLOGY_CHANGE:
        return Bpdu(kind, mac, faults=tuple(faults))
    if type_ not in {_CONFIGURATION, _RAPID} or len(data) < _BPDU_BYTES:
        faults.append(f"a BPDU of type {type_:#04x} has {len(data)} bytes")
        return Bpdu(kind, mac, faults=tuple(faults))
    header = STP(data[:_BPDU_BYTES])
    return Bpdu(
        kind,
        mac,
        root=f"{header.rootid}.{header.rootmac}",
        bridge=f"{header.bridgeid}.{header.bridgemac}",
        port=header.portid,
        vlan=_read_pvst_vlan(data, faults) if per_vlan else None,
        faults=tuple(faults),
    )


def _name_kind(version: int, *, per_vlan: bool) -> str:
    if per_vlan:
        return "Rapid PVST+" if version >= 2 else "PVST+"
    return {0: "STP", 2: "RSTP"}.get(version, "MSTP" if version >= 3 else "STP")


def _read_pvst_vlan(data: bytes, faults: list[str]) -> int | None:
    """Read the TLV behind a BPDU of PVST+: type 0, length 2, and the VLAN whose tree it is for."""
    tlv = data[_PVST_VLAN_AT : _PVST_VLAN_AT + 6]
    if tlv[:4] != bytes.fromhex("00000002") or len(tlv) < 6:
        faults.append("it does not say which VLAN it is for")
        return None
    try:
        return read_vid(tlv[4:], "the BPDU's VLAN") or None
    except ValueError as e:
        faults.append(str(e))
        return None
