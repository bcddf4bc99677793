"""ARP: asking who has an address, with and without one of our own. RFC 826, RFC 5227."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from cni_harvester.wire.layers import ARP, Dot1Q, Ether

_BROADCAST_MAC, _NO_MAC = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
_REPLY = 2
NOBODY = IPv4Address(0)
"""Sender of a probe (RFC 5227, section 2.1.1): nobody's ARP cache is changed by it."""


@dataclass(frozen=True)
class ArpAnswer:
    """Somebody says which MAC an address has, in a reply, or by asking for something itself."""

    address: IPv4Address
    mac: str
    is_reply: bool


def encode_request(mac: str, target: IPv4Address, *, sender: IPv4Address = NOBODY, vlan: int | None = None) -> bytes:
    """Make a broadcast request for an address, in the probe form unless there is a sender; tagged when in a VLAN."""
    ethernet = Ether(src=mac, dst=_BROADCAST_MAC)
    tagged = ethernet / Dot1Q(vlan=vlan) if vlan else ethernet
    return bytes(tagged / ARP(op="who-has", hwsrc=mac, psrc=str(sender), hwdst=_NO_MAC, pdst=str(target)))


def decode_arp(data: bytes) -> ArpAnswer | None:
    """Read a frame as an announcement of who has an address; None when it is none, or a probe, which announces nothing.

    Args:
        data: the frame, from the destination MAC on, without a VLAN tag.
    """
    # Ethernet and IPv4, lengths 6 and 4, after the EtherType
    if len(data) < 42 or data[12:20] != bytes.fromhex("0806000108000604"):
        return None
    packet = ARP(data[14:42])
    address = IPv4Address(packet.psrc)
    if address == NOBODY or packet.op not in {1, _REPLY}:
        return None
    return ArpAnswer(address, packet.hwsrc, packet.op == _REPLY)
