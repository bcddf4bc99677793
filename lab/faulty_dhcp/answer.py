"""A question of a DHCP client, and the answer to it: a value that a fault changes before it becomes bytes."""

import ipaddress
import random
from dataclasses import dataclass, replace
from typing import Self

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

OFFER, ACK, NAK = 2, 5, 6
MASK, ROUTER, LEASE_TIME, OVERLOAD, MESSAGE_TYPE, SERVER_ID, ROUTES = 1, 3, 51, 52, 53, 54, 121
"""Options (RFC 2132, RFC 3442)."""

COOKIE = bytes([99, 130, 83, 99])
END = b"\xff"

_NAMES = {1: "DISCOVER", 3: "REQUEST", 8: "INFORM"}
"""The messages that are answered."""

_PADDED_LENGTH = 300
"""What a BOOTP message has at least (RFC 1542, section 2.1); servers keep to it."""

_BROADCAST = "255.255.255.255"
_BROADCAST_FLAG = 0x8000


def encode_address(*addresses: object) -> bytes:
    """Return addresses as an option carries them."""
    return b"".join(ipaddress.IPv4Address(str(address)).packed for address in addresses)


def encode_options(options: tuple[tuple[int, bytes], ...]) -> bytes:
    """Return options as bytes, without an end."""
    return b"".join(bytes([code, len(value)]) + value for code, value in options)


@dataclass(frozen=True)
class Setting:
    """What the server would say if there was no fault.

    Attributes:
        mac: its MAC.
        address: its address, with the prefix length of the subnet.
        offer: the address that it gives away.
        router: the router that it names.
        lease_s: how long a lease lasts.
        vlan: the tag of questions and answers; 0 is untagged.
        mtu: of its interface.
    """

    mac: str
    address: ipaddress.IPv4Interface
    offer: str
    router: str
    lease_s: int
    vlan: int
    mtu: int


@dataclass(frozen=True)
class Question:
    """What a client has asked."""

    name: str
    mac: str
    xid: int
    is_broadcast: bool
    ciaddr: str
    wanted: str | None
    server_id: str | None

    @classmethod
    def find(cls, frame: Packet) -> Self | None:
        """Return the question in a frame, or None if there is none that a server would answer."""
        if DHCP not in frame or frame[BOOTP].op != 1:
            return None
        options = {option[0]: option[1] for option in frame[DHCP].options if isinstance(option, tuple)}
        name = _NAMES.get(options.get("message-type", 0))
        if name is None:
            return None
        message = frame[BOOTP]
        return cls(
            name,
            bytes(message.chaddr)[:6].hex(":"),
            message.xid,
            bool(int(message.flags) & _BROADCAST_FLAG),
            message.ciaddr,
            options.get("requested_addr"),
            options.get("server_id"),
        )


@dataclass(frozen=True)
class Answer:
    """A server's answer, sound until a fault changes something of it.

    Attributes:
        setting: the server.
        question: what it answers.
        options: the options in their order, as (code, value); a value has up to 255 bytes.
        tail: what follows the options.
        length: where the message is cut off, if it is.
        is_padded: whether it is filled up to the length that BOOTP asks for.
        delay_s: how long the server thinks about it.
    """

    setting: Setting
    question: Question
    yiaddr: str
    options: tuple[tuple[int, bytes], ...]
    mac: str
    source: str
    vlan: int
    xid: int
    chaddr: bytes
    op: int = 2
    htype: int = 1
    sname: bytes = b""
    file: bytes = b""
    cookie: bytes = COOKIE
    tail: bytes = END
    length: int | None = None
    is_padded: bool = True
    has_good_udp_checksum: bool = True
    has_good_ip_checksum: bool = True
    delay_s: float = 0

    @classmethod
    def plan(cls, setting: Setting, question: Question) -> Self:
        """Return the sound answer: an OFFER, or an ACK of whatever the client wants, or one to an INFORM."""
        is_inform = question.name == "INFORM"
        options = (
            (MESSAGE_TYPE, bytes([OFFER if question.name == "DISCOVER" else ACK])),
            (SERVER_ID, setting.address.packed),
            (LEASE_TIME, setting.lease_s.to_bytes(4, "big")),
            (MASK, setting.address.netmask.packed),
            (ROUTER, encode_address(setting.router)),
        )
        held = question.ciaddr if question.ciaddr != "0.0.0.0" else None
        answer = cls(
            setting,
            question,
            "0.0.0.0" if is_inform else setting.offer,
            options,
            setting.mac,
            str(setting.address.ip),
            setting.vlan,
            question.xid,
            bytes.fromhex(question.mac.replace(":", "")),
        )
        if question.name == "REQUEST":
            answer = replace(answer, yiaddr=question.wanted or held or setting.offer)
        return answer.without(LEASE_TIME) if is_inform else answer

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The subnet that it speaks of."""
        return self.setting.address.network

    @property
    def random(self) -> random.Random:
        """A source of chance that gives the same for the same question."""
        return random.Random(self.xid)

    def find(self, code: int) -> bytes | None:
        """Return the value of an option."""
        return next((value for found, value in self.options if found == code), None)

    def having(self, code: int, value: bytes) -> Self:
        """Return it with this value of an option, in the old one's place or at the end."""
        if self.find(code) is None:
            return replace(self, options=(*self.options, (code, value)))
        return replace(self, options=tuple((key, value if key == code else old) for key, old in self.options))

    def without(self, *codes: int) -> Self:
        """Return it without some options."""
        return replace(self, options=tuple(option for option in self.options if option[0] not in codes))

    def is_meant(self) -> bool:
        """Whether the client asks this server: a REQUEST names the one whose offer it took."""
        own = self.find(SERVER_ID)
        return None in (own, self.question.server_id) or own == encode_address(self.question.server_id)

    def build(self) -> bytes:
        """Return the frame. It goes to the client's address, as RFC 2131, section 4.1 has it, or to all."""
        question, usable = self.question, self.yiaddr != "0.0.0.0"
        target = self.yiaddr if usable else question.ciaddr
        to_all = question.is_broadcast or target == "0.0.0.0" or self.find(MESSAGE_TYPE) == bytes([NAK])
        frame = Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff" if to_all else question.mac)
        if self.vlan:
            frame /= Dot1Q(vlan=self.vlan)
        frame /= IP(src=self.source, dst=_BROADCAST if to_all else target) / UDP(sport=67, dport=68)
        frame /= Raw(self._build_message())
        return self._spoil(frame)

    def _build_message(self) -> bytes:
        header = BOOTP(
            op=self.op,
            htype=self.htype,
            hlen=6,
            xid=self.xid,
            flags=_BROADCAST_FLAG if self.question.is_broadcast else 0,
            ciaddr=self.question.ciaddr,
            yiaddr=self.yiaddr,
            chaddr=self.chaddr,
            sname=self.sname,
            file=self.file,
            options=b"",
        )
        message = bytes(header) + self.cookie + encode_options(self.options) + self.tail
        if self.is_padded:
            message = message.ljust(_PADDED_LENGTH, b"\0")
        return message[: self.length]

    def _spoil(self, frame: Packet) -> bytes:
        """Return the frame's bytes, with checksums that are wrong by one where they are to be wrong."""
        sound = Ether(bytes(frame))
        if not self.has_good_udp_checksum:
            sound[UDP].chksum = (sound[UDP].chksum + 1) & 0xFFFF or 1  # 0 would mean that there is none
        if not self.has_good_ip_checksum:
            sound[IP].chksum = (sound[IP].chksum + 1) & 0xFFFF
        return bytes(sound)
