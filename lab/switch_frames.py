"""What a switch sends on a port by itself, made with scapy: LLDP, CDP, and the BPDUs of RSTP and PVST+."""

from collections.abc import Mapping, Sequence

from scapy.contrib import cdp, lldp
from scapy.layers.l2 import LLC, SNAP, STP, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

SWITCH_MAC = "02:5e:00:00:00:01"
_LLDP_MAC, _CDP_MAC = "01:80:c2:00:00:0e", "01:00:0c:cc:cc:cc"
_STP_MAC, _PVST_MAC = "01:80:c2:00:00:00", "01:00:0c:cc:cc:cd"
_OUI_802_1 = 0x0080C2


def make_lldp(
    system: str,
    port: str,
    *,
    description: str = "",
    pvid: int = 0,
    names: Mapping[int, str] | None = None,
    protocol_vlans: Sequence[int] = (),
) -> bytes:
    """Make an LLDP announcement: chassis, port, names, a management address, and the port's VLANs."""
    frame: Packet = (
        Ether(src=SWITCH_MAC, dst=_LLDP_MAC)
        / lldp.LLDPDUChassisID(subtype=4, id=SWITCH_MAC)
        / lldp.LLDPDUPortID(subtype=5, id=port.encode())
        / lldp.LLDPDUTimeToLive(ttl=120)
        / lldp.LLDPDUPortDescription(description=description)
        / lldp.LLDPDUSystemName(system_name=system)
        / lldp.LLDPDUSystemDescription(description="Lab switch\r\nof nothing")
        / lldp.LLDPDUManagementAddress(management_address_subtype=1, management_address=bytes([192, 0, 2, 254]))
    )
    if pvid:
        frame /= _make_tlv(1, pvid.to_bytes(2, "big"))
    for vid in protocol_vlans:  # supported and enabled
        frame /= _make_tlv(2, b"\x06" + vid.to_bytes(2, "big"))
    for vid, name in (names or {}).items():
        frame /= _make_tlv(3, vid.to_bytes(2, "big") + bytes([len(name)]) + name.encode())
    return bytes(frame / lldp.LLDPDUEndOfLLDPDU())


def _make_tlv(subtype: int, data: bytes) -> Packet:
    return lldp.LLDPDUGenericOrganisationSpecific(org_code=_OUI_802_1, subtype=subtype, data=data)


def make_cdp(system: str, port: str, *, platform: str = "", native_vlan: int = 0) -> bytes:
    """Make a CDP announcement, with an address of IPv4 and one of IPv6."""
    addresses = [cdp.CDPAddrRecordIPv4(addr="192.0.2.254"), cdp.CDPAddrRecordIPv6(addr="2001:db8::254")]
    messages = [
        cdp.CDPMsgDeviceID(val=system.encode()),
        cdp.CDPMsgAddr(addr=addresses),
        cdp.CDPMsgPortID(iface=port.encode()),
        cdp.CDPMsgPlatform(val=platform.encode()),
    ]
    if native_vlan:
        messages.append(cdp.CDPMsgNativeVLAN(vlan=native_vlan))
    head = Dot3(src=SWITCH_MAC, dst=_CDP_MAC) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0x0C, code=0x2000)
    return bytes(head / cdp.CDPv2_HDR(vers=2, ttl=180, msg=messages))


def make_rstp() -> bytes:
    """Make a BPDU of RSTP."""
    return bytes(Dot3(src=SWITCH_MAC, dst=_STP_MAC) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / _make_bpdu(32768) / b"\0")


def make_pvst(vlan: int, *, tag: int | None = None) -> bytes:
    """Make a BPDU of Rapid PVST+ for a VLAN, tagged with it, or with another tag; untagged when `tag` is 0."""
    tlv = bytes.fromhex("00000002") + vlan.to_bytes(2, "big")
    body = LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0x0C, code=0x010B) / _make_bpdu(32768 + vlan) / Raw(b"\0" + tlv)
    tag = vlan if tag is None else tag
    if not tag:
        return bytes(Dot3(src=SWITCH_MAC, dst=_PVST_MAC) / body)
    return bytes(Ether(src=SWITCH_MAC, dst=_PVST_MAC, type=0x8100) / Dot1Q(vlan=tag, type=len(body)) / body)


def _make_bpdu(priority: int) -> Packet:
    return STP(
        version=2,
        bpdutype=2,
        bpduflags=0x3C,
        rootid=priority,
        rootmac=SWITCH_MAC,
        bridgeid=priority,
        bridgemac=SWITCH_MAC,
        portid=0x8001,
    )
