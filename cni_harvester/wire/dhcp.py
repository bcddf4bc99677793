"""DHCP messages: what a client sends, and what servers answer, read with every fault named. RFC 2131."""

import dataclasses
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from cni_harvester.wire import dhcp_options
from cni_harvester.wire.dhcp_options import Options, parse_options
from cni_harvester.wire.layers import BOOTP, DHCP, IP, UDP, Ether, checksum

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
TYPE_NAMES = {
    DISCOVER: "DISCOVER",
    OFFER: "OFFER",
    REQUEST: "REQUEST",
    DECLINE: "DECLINE",
    ACK: "ACK",
    NAK: "NAK",
    RELEASE: "RELEASE",
    INFORM: "INFORM",
}

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
NOWHERE, EVERYWHERE = IPv4Address(0), IPv4Address(0xFFFFFFFF)
_COOKIE = bytes.fromhex("63825363")
_BOOTP_BYTES = 236  # fixed part, before the cookie
_BOOTP_MIN_BYTES = 300  # RFC 1542, section 2.1: smaller ones are dropped by some relays
_FLAG_BROADCAST = 0x8000
SERVER_PORT, CLIENT_PORT = 67, 68
_BOOTREPLY = 2

PARAMETERS = (1, 121, 249, 33, 3, 6, 15, 119, 26, 28, 42, 51, 54, 58, 59)
"""What is asked for; 121 before 33 and 3, as RFC 3442 wants it."""


@dataclass(frozen=True)
class Question:
    """A message of a client.

    Attributes:
        kind: DISCOVER, REQUEST, RELEASE, DECLINE or INFORM.
        mac: the client's hardware address.
        xid: the transaction, 32 bits; answers carry the same.
        elapsed_s: since the client began.
        client_address: the address that the client has and answers for (`ciaddr`).
        requested: the address that it asks for (option 50).
        server: the server that it means (option 54).
        client_id: option 61; type 1 and the MAC when empty.
        broadcast: ask for answers by broadcast.
        destination_mac: where the frame goes.
        destination: where the packet goes.
    """

    kind: int
    mac: str
    xid: int
    elapsed_s: int = 0
    client_address: IPv4Address = NOWHERE
    requested: IPv4Address | None = None
    server: IPv4Address | None = None
    client_id: bytes = b""
    broadcast: bool = False
    destination_mac: str = BROADCAST_MAC
    destination: IPv4Address = EVERYWHERE


def encode_question(question: Question) -> bytes:
    """Make the Ethernet frame of a client's message."""
    hardware = bytes.fromhex(question.mac.replace(":", ""))
    options: list[object] = [
        ("message-type", question.kind),
        ("client_id", question.client_id or b"\x01" + hardware),
    ]
    if question.requested:
        options.append(("requested_addr", str(question.requested)))
    if question.server:
        options.append(("server_id", str(question.server)))
    if question.kind not in {RELEASE, DECLINE}:
        options.append(("param_req_list", list(PARAMETERS)))
    message = BOOTP(
        op="BOOTREQUEST",
        chaddr=hardware,
        xid=question.xid,
        secs=min(question.elapsed_s, 0xFFFF),
        flags=_FLAG_BROADCAST if question.broadcast else 0,
        ciaddr=str(question.client_address),
    ) / DHCP(options=[*options, "end"])
    payload = bytes(message)
    frame = (
        Ether(src=question.mac, dst=question.destination_mac)
        / IP(src=str(question.client_address), dst=str(question.destination), ttl=64)
        / UDP(sport=CLIENT_PORT, dport=SERVER_PORT)
        / payload.ljust(_BOOTP_MIN_BYTES, b"\0")
    )
    return bytes(frame)


@dataclass(frozen=True)
class Reply:
    """A message from a server or relay to a client, as far as it could be read.

    Attributes:
        source_mac: the sender on this link: the server, or the relay before it.
        source: IP address of the sender.
        xid: the transaction that it answers; 0 when the message is too short to tell.
        client_mac: whom it is for; empty when the message is too short to tell.
        address: the address it gives (`yiaddr`).
        relay: the relay that it came through (`giaddr`), None when there was none.
        kind: OFFER, ACK or NAK; None when it does not say.
        options: its options.
        faults: what is wrong with the message outside of its options.
        vlan: VID of the frame's tag.
        at_s: monotonic time of its arrival.
    """

    source_mac: str
    source: IPv4Address
    xid: int = 0
    client_mac: str = ""
    address: IPv4Address = NOWHERE
    relay: IPv4Address | None = None
    kind: int | None = None
    options: Options = dataclasses.field(default_factory=Options)
    faults: tuple[str, ...] = ()
    vlan: int | None = None
    at_s: float = 0.0


def decode_reply(data: bytes, *, vlan: int | None = None, checksummed: bool = True, at_s: float = 0.0) -> Reply | None:
    """Read a frame as a server's message; None when it is not one: other protocols, ports and directions.

    Args:
        data: the frame, from the destination MAC on, without a VLAN tag.
        vlan: VID of its tag, to be kept in the reply.
        checksummed: whether its UDP checksum is there to be verified (see `kernel.frames.Frame`).
        at_s: when it arrived, to be kept in the reply.
    """
    if not _is_to_client_port(data):
        return None
    header_bytes = (data[14] & 0x0F) * 4
    faults = _find_packet_faults(data, header_bytes, checksummed=checksummed)
    # scapy reads the headers; whatever follows them is cut at the IP packet's own length, for frames are padded.
    end = 14 + max(header_bytes + 8, int.from_bytes(data[16:18], "big"))
    packet = Ether(data[: 14 + header_bytes])
    payload = data[14 + header_bytes + 8 : end]
    base = Reply(packet.src, IPv4Address(packet[IP].src), faults=tuple(faults), vlan=vlan, at_s=at_s)
    return _decode_bootp(base, payload)


def _is_to_client_port(data: bytes) -> bool:
    """Whether a frame is an IPv4 packet, or the first fragment of one, to a DHCP client's port."""
    if len(data) < 42 or data[12:14] != b"\x08\x00" or data[14] >> 4 != 4 or data[23] != 17:
        return False
    header_bytes = (data[14] & 0x0F) * 4
    if header_bytes < 20 or len(data) < 14 + header_bytes + 8:
        return False
    (fragment,) = struct.unpack_from(">H", data, 20)
    (port,) = struct.unpack_from(">H", data, 14 + header_bytes + 2)
    return not fragment & 0x1FFF and port == CLIENT_PORT


def _find_packet_faults(data: bytes, header_bytes: int, *, checksummed: bool) -> list[str]:
    """Say what is wrong with the IP and UDP headers."""
    faults = []
    total, fragment = (struct.unpack_from(">H", data, at)[0] for at in (16, 20))
    if total > len(data) - 14:
        faults.append(f"the IP packet is cut off: {total} bytes announced, {len(data) - 14} there")
    if checksum(data[14 : 14 + header_bytes]):
        faults.append("the IP header's checksum is wrong")
    if fragment & 0x2000:
        faults.append("it comes in fragments, which a client without an address cannot put together")
        return faults
    segment = data[14 + header_bytes : 14 + max(total, header_bytes + 8)]
    length, sent = struct.unpack_from(">HH", segment, 4)
    if length != len(segment):
        faults.append(f"UDP announces {length} bytes, IP {len(segment)}")
    elif sent and checksummed:
        pseudo = data[26:34] + struct.pack(">HH", 17, length)
        if checksum(pseudo + segment):
            faults.append("the UDP checksum is wrong")
    return faults


def _decode_bootp(base: Reply, payload: bytes) -> Reply:
    """Add what the BOOTP message says."""
    faults = list(base.faults)
    padded = payload.ljust(_BOOTP_BYTES, b"\0")
    header = BOOTP(padded[:_BOOTP_BYTES])
    options = Options()
    if len(payload) < _BOOTP_BYTES + len(_COOKIE):
        faults.append(f"the message is too short: {len(payload)} bytes, a DHCP message has {_BOOTP_BYTES + 4} or more")
    elif payload[_BOOTP_BYTES : _BOOTP_BYTES + len(_COOKIE)] != _COOKIE:
        faults.append("the magic cookie before the options is wrong")
    else:
        options = parse_options(payload[_BOOTP_BYTES + len(_COOKIE) :], file=padded[108:236], sname=padded[44:108])
    if payload and header.op != _BOOTREPLY:
        faults.append(f"it is no reply: op is {header.op}")
    if len(payload) >= 3 and (header.htype, header.hlen) != (1, 6):
        faults.append(f"it is not for Ethernet: hardware type {header.htype}, address length {header.hlen}")
    relay = IPv4Address(header.giaddr)
    return dataclasses.replace(
        base,
        xid=header.xid if len(payload) >= 8 else 0,
        client_mac=padded[28:34].hex(":") if len(payload) >= 34 else "",
        address=IPv4Address(header.yiaddr),
        relay=relay if int(relay) else None,
        kind=options.find(dhcp_options.MESSAGE_TYPE),
        options=options,
        faults=tuple(faults),
    )
