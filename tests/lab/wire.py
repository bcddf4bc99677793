"""One end of a cable, read and written in bytes, and taken apart without the library that the lab writes with."""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_OUTGOING = 263, 8, 4
_SO_RCVBUFFORCE = 33
_AUXDATA = struct.Struct("IIIHHHH")
_VLAN_VALID = 0x10

CLIENT_MAC = "02:00:00:00:00:05"
XID = 0x12345678


def checksum(data: bytes) -> int:
    """Return the Internet checksum; 0 over data whose checksum is right (RFC 1071)."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Frame:
    """A frame, and what it is when it carries IPv4."""

    raw: bytes
    vlan: int

    @property
    def source(self) -> str:
        """MAC of whoever sent it."""
        return self.raw[6:12].hex(":")

    @property
    def ethertype(self) -> int:
        """What it carries."""
        return int.from_bytes(self.raw[12:14], "big")

    @property
    def ip(self) -> bytes:
        """The IP packet, without what fills a short frame."""
        return self.raw[14 : 14 + int.from_bytes(self.raw[16:18], "big")]

    @property
    def is_dhcp_reply(self) -> bool:
        """Whether it is for a DHCP client's port."""
        return self.ethertype == 0x0800 and self.ip[9] == socket.IPPROTO_UDP and self.ip[22:24] == b"\0\x44"

    @property
    def ip_is_sound(self) -> bool:
        """Whether the IP header's checksum is right."""
        return checksum(self.ip[:20]) == 0

    @property
    def udp_is_sound(self) -> bool:
        """Whether there is a UDP checksum, and it is right."""
        pseudo = self.ip[12:20] + bytes([0, socket.IPPROTO_UDP]) + self.ip[24:26]
        return self.ip[26:28] != b"\0\0" and checksum(pseudo + self.ip[20:]) == 0

    @property
    def message(self) -> bytes:
        """The BOOTP message."""
        return self.ip[28:]

    @property
    def yiaddr(self) -> str:
        """The address that is given away."""
        return socket.inet_ntoa(self.message[16:20])

    def list_options(self) -> list[tuple[int, bytes]]:
        """Return the options in their order, with only the bytes that are there, up to the end of either kind."""
        return list(parse_options(self.message[240:]))

    def get(self, code: int) -> bytes | None:
        """Return an option's value, its parts joined; None if it is not there."""
        parts = [value for found, value in self.list_options() if found == code]
        return b"".join(parts) if parts else None


def parse_options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the options in these bytes; the last is END, (255, b""), if it is there."""
    at = 0
    while at < len(data):
        code = data[at]
        if code in (0, 255):
            at += 1
            if code:
                yield code, b""
                return
        else:
            yield code, data[at + 2 : at + 2 + data[at + 1]]
            at += 2 + data[at + 1]


def ask(kind: int = 1, *options: tuple[int, bytes], vlan: int = 0, flags: int = 0x8000) -> bytes:
    """Return a client's question as a frame; 1 is a DISCOVER."""
    mac = bytes.fromhex(CLIENT_MAC.replace(":", ""))
    header = struct.pack("!BBBBIHH16s16s192x", 1, 1, 6, 0, XID, 0, flags, b"", mac)
    given = b"".join(bytes([code, len(value)]) + value for code, value in ((53, bytes([kind])), *options))
    message = header + b"\x63\x82\x53\x63" + given + b"\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(message), 0) + message
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return b"\xff" * 6 + mac + tag + b"\x08\0" + head + udp


class Wire:
    """An interface of this namespace, with everything that comes in on it, tags included."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 23)  # for a flood
        self._socket.bind((interface, _ETH_P_ALL))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._socket.send(frame)

    def forget(self) -> None:
        """Drop what has come in so far."""
        while self.read(0):
            pass

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame that comes in, or None if there is none in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._socket.settimeout(max(0, deadline - time.monotonic()))
            try:
                raw, notes, _, address = self._socket.recvmsg(65536, 64)
            except (TimeoutError, BlockingIOError):
                return None
            if address[2] != _PACKET_OUTGOING:
                return Frame(raw, _find_vlan(notes))

    def collect(self, count: int, timeout_s: float = 2) -> list[Frame]:
        """Return the DHCP answers that come, so many at most."""
        found = []
        deadline = time.monotonic() + timeout_s
        while len(found) < count and (frame := self.read(max(0, deadline - time.monotonic()))):
            if frame.is_dhcp_reply:
                found.append(frame)
        return found


def _find_vlan(notes: list[tuple[int, int, bytes]]) -> int:
    """Return the VLAN whose tag the kernel took off, 0 for none."""
    for level, kind, data in notes:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tag, _ = _AUXDATA.unpack(data[: _AUXDATA.size])
            return tag & 0xFFF if status & _VLAN_VALID else 0
    return 0
