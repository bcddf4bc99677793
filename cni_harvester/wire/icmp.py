"""ICMP echo over IPv4 with "don't fragment" set, of any size. RFC 792, RFC 1191."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from cni_harvester.wire.layers import ICMP, IP, Ether

HEADERS_BYTES = 28
"""IPv4 and ICMP headers: what a packet's size has beyond its payload."""

_ECHO_REPLY, _UNREACHABLE, _FRAGMENTATION_NEEDED = 0, 3, 4


@dataclass(frozen=True)
class EchoAnswer:
    """An answer to an echo request.

    Attributes:
        source: who answers.
        identifier, sequence: those of the request.
        size: bytes of the IP packet that came back.
        narrow_mtu: what a router on the way says is the largest that it forwards; None for a plain answer.
    """

    source: IPv4Address
    identifier: int
    sequence: int
    size: int
    narrow_mtu: int | None = None


def encode_echo(
    *, mac: str, source: IPv4Address, to_mac: str, to: IPv4Address, identifier: int, sequence: int, size: int
) -> bytes:
    """Make an echo request frame whose IP packet has `size` bytes, and may not be fragmented."""
    packet = (
        Ether(src=mac, dst=to_mac)
        / IP(src=str(source), dst=str(to), flags="DF", id=sequence)
        / ICMP(type="echo-request", id=identifier, seq=sequence)
        / bytes(size - HEADERS_BYTES)
    )
    return bytes(packet)


def decode_echo(data: bytes) -> EchoAnswer | None:
    """Read a frame as the answer to an echo request, or as a router's word that it was too large; None otherwise.

    Args:
        data: the frame, from the destination MAC on, without a VLAN tag.
    """
    if len(data) < 42 or data[12:14] != b"\x08\x00" or data[14] >> 4 != 4 or data[23] != 1:
        return None
    packet = IP(data[14:])
    message = packet.getlayer(ICMP)
    if message is None:
        return None
    source, size = IPv4Address(packet.src), int.from_bytes(data[16:18], "big")
    if message.type == _ECHO_REPLY:
        return EchoAnswer(source, message.id, message.seq, size)
    if (message.type, message.code) == (_UNREACHABLE, _FRAGMENTATION_NEEDED):
        quoted = bytes(message.payload)  # the start of the packet that was too large
        header_bytes = (quoted[0] & 0x0F) * 4 if quoted else 0
        if header_bytes >= 20 and len(quoted) >= header_bytes + 8:
            echo = quoted[header_bytes : header_bytes + 8]
            identifier, sequence = int.from_bytes(echo[4:6], "big"), int.from_bytes(echo[6:8], "big")
            return EchoAnswer(source, identifier, sequence, size, narrow_mtu=message.nexthopmtu)
    return None
