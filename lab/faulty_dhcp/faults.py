"""The faults: what a server may send that a client must see through, and what looks odd and yet is right.

Each makes of the sound answer the answers that go out.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from lab.dhcp.scope import encode_routes
from lab.faulty_dhcp.answer import (
    ACK,
    END,
    LEASE_TIME,
    MASK,
    MESSAGE_TYPE,
    NAK,
    OVERLOAD,
    ROUTER,
    ROUTES,
    SERVER_ID,
    Answer,
    encode_address,
    encode_options,
)

SLOW_S = 3
FLOOD = 1000
ROGUE_MAC, CONFLICTING_MAC, OCCUPANT_MAC = (f"00:00:5e:00:53:{number}" for number in ("66", "77", "88"))
"""Who sends the answers of other servers, and who has the address that is given away (RFC 7042, section 2.1.2)."""

_OUTSIDE = "203.0.113.1"
_ROGUE = ("198.51.100.1", "255.255.255.0", "198.51.100.77")
_PRIVATE = 224
"""The first option that means nothing to anybody (RFC 3942)."""

_JUMBO = 9000
"""The largest packet to send, whatever the MTU."""

_HEADERS = 28 + 236 + 4
"""Bytes of a packet before the options: IP and UDP, BOOTP, cookie."""


@dataclass(frozen=True)
class Fault:
    """One way to answer.

    Attributes:
        description: what is wrong, or odd, for people.
        answer: makes the answers that go out of the sound one.
    """

    description: str
    answer: Callable[[Answer], list[Answer]]


def _change(description: str, change: Callable[[Answer], Answer]) -> Fault:
    """Return a fault of the one answer."""
    return Fault(description, lambda answer: [change(answer)])


def _router(description: str, address: Callable[[Answer], object]) -> Fault:
    return _change(description, lambda a: a.having(ROUTER, encode_address(address(a))))


def _yiaddr(description: str, address: Callable[[Answer], object]) -> Fault:
    return _change(description, lambda a: replace(a, yiaddr=str(address(a))))


def _option(description: str, code: int, value: bytes) -> Fault:
    return _change(description, lambda a: a.having(code, value))


def _refuse(answer: Answer) -> Answer:
    return replace(answer, yiaddr="0.0.0.0").without(LEASE_TIME, MASK, ROUTER).having(MESSAGE_TYPE, bytes([NAK]))


def _overload(answer: Answer) -> Answer:
    mask, router = (encode_options(((code, answer.find(code) or b""),)) + END for code in (MASK, ROUTER))
    return replace(answer.without(MASK, ROUTER).having(OVERLOAD, b"\3"), file=mask, sname=router)


def _enlarge(answer: Answer) -> Answer:
    """Put options that mean nothing before the ones that do, until the frame is full."""
    room = min(answer.setting.mtu, _JUMBO) - _HEADERS - len(encode_options(answer.options)) - len(END)
    fillers: list[tuple[int, bytes]] = []
    while room > 2:
        value = b"x" * min(255, room - 2)
        fillers.append((_PRIVATE + len(fillers) % 30, value))
        room -= len(value) + 2
    first, *rest = answer.options
    return replace(answer, options=(first, *fillers, *rest))


def _split(answer: Answer) -> Answer:
    """Send more routes than an option holds, the default route last, with another option between the two halves."""
    routes = {f"10.{number}.0.0/16": answer.setting.router for number in range(60)}
    value = encode_routes(routes | {"0.0.0.0/0": answer.network[254].exploded})
    before, after = answer.without(ROUTER).options, (ROUTER, answer.find(ROUTER) or b"")
    return replace(answer, options=(*before, (ROUTES, value[:255]), after, (ROUTES, value[255:])))


def _send_as_rogue(answer: Answer) -> Answer:
    server, mask, offer = _ROGUE
    other = replace(answer, mac=ROGUE_MAC, source=server, yiaddr=offer).having(MASK, encode_address(mask))
    return other.having(SERVER_ID, encode_address(server)).having(ROUTER, encode_address(server))


def _send_as_second(answer: Answer) -> Answer:
    server, offer, router = (str(answer.network[number]) for number in (2, 78, 254))
    other = replace(answer, mac=CONFLICTING_MAC, source=server, yiaddr=offer)
    return other.having(SERVER_ID, encode_address(server)).having(ROUTER, encode_address(router))


def _flood(answer: Answer) -> list[Answer]:
    """Answer a DISCOVER with many offers; a REQUEST with the one that the client took."""
    if answer.question.name != "DISCOVER":
        return [answer]
    chance, size = answer.random, answer.network.num_addresses
    return [replace(answer, yiaddr=str(answer.network[chance.randrange(1, size - 1)])) for _ in range(FLOOD)]


_MESSAGES = {
    "none": _change("a sound answer", lambda a: a),
    "silent": Fault("no answer", lambda _: []),
    "slow": _change(f"answers after {SLOW_S} s", lambda a: replace(a, delay_s=SLOW_S)),
    "duplicate": Fault("the same answer three times", lambda a: [a] * 3),
    "flood": Fault(f"{FLOOD} offers with random addresses", _flood),
    "short": _change("cut off within the BOOTP header, at 200 bytes", lambda a: replace(a, length=200)),
    "no-options": _change("BOOTP header alone, without cookie", lambda a: replace(a, length=236)),
    "bad-cookie": _change("another magic cookie", lambda a: replace(a, cookie=b"\x63\x82\x53\x64")),
    "option-past-end": _change(
        "the last option is longer than the message",
        lambda a: replace(a, tail=bytes([_PRIVATE, 200]) + b"xx", is_padded=False),
    ),
    "no-end": _change("no end option", lambda a: replace(a, tail=b"", is_padded=False)),
    "huge": _change("as large as the MTU allows, up to 9000 bytes, mask and router last", _enlarge),
    "bad-xid": _change("another transaction id", lambda a: replace(a, xid=a.xid ^ 0xFFFFFFFF)),
    "bad-chaddr": _change("for another client", lambda a: replace(a, chaddr=bytes.fromhex("00005e005399"))),
    "wrong-op": _change("op is BOOTREQUEST", lambda a: replace(a, op=1)),
    "wrong-htype": _change("htype is IEEE 802, not Ethernet", lambda a: replace(a, htype=6)),
    "wrong-message-type": _option("an ACK, also to a DISCOVER", MESSAGE_TYPE, bytes([ACK])),
    "no-message-type": _change("BOOTP reply: no message type", lambda a: a.without(MESSAGE_TYPE)),
    "nak": _change("a NAK, also to a DISCOVER", _refuse),
    "bad-udp-checksum": _change("wrong UDP checksum", lambda a: replace(a, has_good_udp_checksum=False)),
    "bad-ip-checksum": _change("wrong IP header checksum", lambda a: replace(a, has_good_ip_checksum=False)),
    "other-vlan": _change("tagged for another VLAN", lambda a: replace(a, vlan=a.vlan % 4094 + 1 if a.vlan else 999)),
}
"""How it is sent."""

_CONTENTS = {
    "no-server-id": _change("no server id", lambda a: a.without(SERVER_ID)),
    "no-lease-time": _change("no lease time", lambda a: a.without(LEASE_TIME)),
    "zero-lease": _option("a lease of no time", LEASE_TIME, bytes(4)),
    "no-mask": _change("no subnet mask", lambda a: a.without(MASK)),
    "non-contiguous-mask": _option("mask 255.0.255.0", MASK, encode_address("255.0.255.0")),
    "zero-mask": _option("mask 0.0.0.0", MASK, bytes(4)),
    "full-mask": _option("mask 255.255.255.255", MASK, encode_address("255.255.255.255")),
    "no-router": _change("no router", lambda a: a.without(ROUTER)),
    "router-outside": _router("router in another subnet", lambda _: _OUTSIDE),
    "router-is-network": _router("router is the network's address", lambda a: a.network.network_address),
    "router-is-broadcast": _router("router is the broadcast address", lambda a: a.network.broadcast_address),
    "router-is-offer": _router("router is the offered address", lambda a: a.yiaddr),
    "router-3-bytes": _option("router of 3 bytes", ROUTER, bytes([192, 0, 2])),
    "router-5-bytes": _option("router of 5 bytes", ROUTER, bytes([192, 0, 2, 1, 0])),
    "zero-yiaddr": _yiaddr("offers 0.0.0.0", lambda _: "0.0.0.0"),
    "yiaddr-is-network": _yiaddr("offers the network's address", lambda a: a.network.network_address),
    "yiaddr-is-broadcast": _yiaddr("offers the broadcast address", lambda a: a.network.broadcast_address),
    "yiaddr-is-multicast": _yiaddr("offers 224.0.0.77", lambda _: "224.0.0.77"),
    "yiaddr-is-loopback": _yiaddr("offers 127.0.0.77", lambda _: "127.0.0.77"),
    "yiaddr-is-server": _yiaddr("offers the server's own address", lambda a: a.setting.address.ip),
    "arp-conflict": _change("offers an address that is in use: somebody answers ARP for it", lambda a: a),
    "bad-121-prefix": _option("route with a prefix of 33 bits", ROUTES, bytes([33, 10, 0, 0, 0, 0, 192, 0, 2, 1])),
    "bad-121-truncated": _option("route whose gateway is cut off", ROUTES, bytes([0, 192, 0, 2])),
    "rogue": _change("sound, but another server's, for another subnet", _send_as_rogue),
    "conflicting": _change("sound, but another server's, with another router", _send_as_second),
}
"""What it says."""

_UNUSUAL = {
    "infinite-lease": _option("a lease without end", LEASE_TIME, b"\xff" * 4),
    "two-routers": _change(
        "two routers, the better one first",
        lambda a: a.having(ROUTER, encode_address(a.setting.router, a.network[254])),
    ),
    "overload": _change("mask in `file` and router in `sname` (option 52)", _overload),
    "long-options": _change("routes in two parts, the default route in the second (RFC 3396)", _split),
    "routes-121": _change(
        "a default route in option 121, which goes before the router (RFC 3442)",
        lambda a: a.having(ROUTES, encode_routes({"0.0.0.0/0": str(a.network[254])})),
    ),
}
"""What is odd, and right: a client must understand it."""

FAULTS: dict[str, Fault] = {**_MESSAGES, **_CONTENTS, **_UNUSUAL}
"""All of them by name."""
