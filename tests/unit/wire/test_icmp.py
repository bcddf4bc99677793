"""ICMP echo: requests of a given size that nobody may cut up, and the answers, a router's among them."""

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.wire.icmp import HEADERS_BYTES, EchoAnswer, decode_echo, encode_echo
from tests.unit.wire.packets import CLIENT, CLIENT_MAC, SERVER, SERVER_MAC, checksum, make_ethernet, make_ipv4, pack_mac

ROUTER = IPv4Address("192.0.2.254")
IDENTIFIER, SEQUENCE = 0x1234, 0x5678
ECHO_REPLY, UNREACHABLE, ECHO_REQUEST = 0, 3, 8
FRAGMENTATION_NEEDED = 4


def make_request(size: int = 84, *, identifier: int = IDENTIFIER, sequence: int = SEQUENCE) -> bytes:
    """Make the request of one client to one gateway."""
    return encode_echo(
        mac=CLIENT_MAC,
        source=CLIENT,
        to_mac=SERVER_MAC,
        to=SERVER,
        identifier=identifier,
        sequence=sequence,
        size=size,
    )


def make_icmp(kind: int, code: int, rest: bytes, payload: bytes = b"") -> bytes:
    """Write an ICMP message of RFC 792 with its checksum."""
    start = bytes([kind, code])
    return start + checksum(start + b"\0\0" + rest + payload).to_bytes(2, "big") + rest + payload


def make_frame(message: bytes, *, source: IPv4Address = SERVER, options: bytes = b"", fragment: int = 0) -> bytes:
    """Put an ICMP message into a packet and a frame."""
    return make_ethernet(make_ipv4(message, source=source, to=CLIENT, protocol=1, options=options, fragment=fragment))


def make_reply(identifier: int = IDENTIFIER, sequence: int = SEQUENCE, payload: bytes = bytes(56)) -> bytes:
    """Write the answer to an echo request."""
    return make_icmp(ECHO_REPLY, 0, struct.pack("!HH", identifier, sequence), payload)


def make_too_large(quoted: bytes, mtu: int = 1400) -> bytes:
    """Write a router's word that a packet was too large for the next link (RFC 1191, section 4)."""
    return make_icmp(UNREACHABLE, FRAGMENTATION_NEEDED, struct.pack("!HH", 0, mtu), quoted)


# --- asking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [28, 29, 84, 1500, 1501, 9000, 65535])
def test_request_has_the_size_that_is_asked_for(size: int) -> None:
    """An IP packet of exactly that many octets, in one piece, with "don't fragment", and right checksums."""
    data = make_request(size)
    assert data[:14] == pack_mac(SERVER_MAC) + pack_mac(CLIENT_MAC) + b"\x08\0"
    packet = data[14:]
    assert len(packet) == size
    assert (packet[0], struct.unpack_from("!H", packet, 2)[0], packet[9]) == (0x45, size, 1)
    assert struct.unpack_from("!H", packet, 6) == (0x4000,)
    assert packet[12:20] == CLIENT.packed + SERVER.packed
    assert checksum(packet[:20]) == 0
    assert checksum(packet[20:]) == 0
    assert packet[20:22] == bytes([ECHO_REQUEST, 0])
    assert struct.unpack_from("!HH", packet, 24) == (IDENTIFIER, SEQUENCE)


def test_headers_are_what_a_request_has_without_a_payload() -> None:
    """28 octets of IPv4 and ICMP, the least that can be asked with."""
    assert len(make_request(HEADERS_BYTES)) == 14 + 28


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(28, 9000))
def test_request_that_is_answered_is_recognised(identifier: int, sequence: int, size: int) -> None:
    """Whoever answers turns the addresses and the type around; identifier, sequence and size come back as they were."""
    packet = make_request(size, identifier=identifier, sequence=sequence)[14:]
    answer = make_icmp(ECHO_REPLY, 0, packet[24:28], packet[28:])
    assert decode_echo(make_frame(answer)) == EchoAnswer(SERVER, identifier, sequence, size)


# --- hearing -------------------------------------------------------------------------------------------------------


def test_reply_is_read() -> None:
    """Who answers, what was asked, and how large the answer is."""
    assert decode_echo(make_frame(make_reply())) == EchoAnswer(SERVER, IDENTIFIER, SEQUENCE, 84)


@pytest.mark.parametrize("words", range(1, 11))
def test_reply_with_ip_options_is_read(words: int) -> None:
    """An IP header of up to 60 octets moves what follows it; the size is that of the whole packet."""
    data = make_frame(make_reply(), options=b"\1" * 4 * words)
    assert decode_echo(data) == EchoAnswer(SERVER, IDENTIFIER, SEQUENCE, 84 + 4 * words)


def test_reply_in_a_padded_frame_has_its_own_size() -> None:
    """What fills a short frame does not count."""
    assert decode_echo(make_frame(make_reply(payload=b"")) + bytes(18)) == EchoAnswer(SERVER, IDENTIFIER, SEQUENCE, 28)


@pytest.mark.parametrize("mtu", [0, 68, 1400, 1500, 65535])
def test_word_of_a_router_has_the_mtu_of_the_next_link(mtu: int) -> None:
    """The packet that was too large is quoted in it, so it is known which one (RFC 1191); old routers say 0."""
    quoted = make_request(9000)[14:]
    data = make_frame(make_too_large(quoted[:28], mtu), source=ROUTER)
    assert decode_echo(data) == EchoAnswer(ROUTER, IDENTIFIER, SEQUENCE, 56, narrow_mtu=mtu)


@pytest.mark.parametrize("quoted", [28, 100, 128, 548, 1472])
def test_word_of_a_router_may_quote_more_than_it_must(quoted: int) -> None:
    """RFC 1812, section 4.3.2.3: as much of the packet as fits."""
    data = make_frame(make_too_large(make_request(9000)[14 : 14 + quoted]), source=ROUTER)
    assert decode_echo(data) == EchoAnswer(ROUTER, IDENTIFIER, SEQUENCE, 28 + quoted, narrow_mtu=1400)


def test_word_of_a_router_about_a_packet_with_ip_options_is_read() -> None:
    """The quoted header has its own length."""
    message = make_icmp(ECHO_REQUEST, 0, struct.pack("!HH", IDENTIFIER, SEQUENCE))
    quoted = make_ipv4(message, source=CLIENT, to=SERVER, protocol=1, options=b"\1" * 12)
    data = make_frame(make_too_large(quoted), source=ROUTER)
    assert decode_echo(data) == EchoAnswer(ROUTER, IDENTIFIER, SEQUENCE, 28 + 40, narrow_mtu=1400)


@pytest.mark.parametrize("size", [0, 1, 19, 20, 27])
def test_word_of_a_router_that_quotes_too_little_is_nothing(size: int) -> None:
    """Without eight octets behind the quoted header nobody knows which packet it is about."""
    assert decode_echo(make_frame(make_too_large(make_request(9000)[14 : 14 + size]), source=ROUTER)) is None


@pytest.mark.parametrize("first", [0x40, 0x44, 0x4F])
def test_word_of_a_router_that_quotes_a_wrong_header_is_nothing(first: int) -> None:
    """A quoted header shorter than 20 octets, or longer than what is there, is none."""
    quoted = bytes([first]) + make_request(84)[15:42]
    assert decode_echo(make_frame(make_too_large(quoted), source=ROUTER)) is None


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UNREACHABLE, 0),
        (UNREACHABLE, 1),
        (UNREACHABLE, 3),
        (UNREACHABLE, 5),
        (ECHO_REQUEST, 0),
        (5, 1),
        (11, 0),
        (13, 0),
    ],
)
def test_other_message_is_nothing(kind: int, code: int) -> None:
    """Requests, redirects and other errors are neither an answer nor a word about a packet's size."""
    message = make_icmp(kind, code, struct.pack("!HH", IDENTIFIER, SEQUENCE), make_request(84)[14:])
    assert decode_echo(make_frame(message)) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(make_frame(make_reply(payload=b""))[:41], id="too short for ICMP"),
        pytest.param(make_ethernet(make_frame(make_reply())[14:], ethertype=0x86DD), id="IPv6"),
        pytest.param(make_ethernet(make_frame(make_reply())[14:], ethertype=0x0806), id="ARP"),
        pytest.param(make_frame(make_reply())[:14] + b"\x65" + make_frame(make_reply())[15:], id="IP version 6"),
        pytest.param(make_frame(make_reply())[:23] + b"\x11" + make_frame(make_reply())[24:], id="UDP"),
        pytest.param(make_frame(make_reply(), fragment=0x2001), id="a later fragment"),
        pytest.param(make_frame(make_reply(), fragment=185), id="the last fragment"),
    ],
)
def test_frame_of_another_protocol_is_nothing(data: bytes) -> None:
    """Only ICMP over IPv4, and of fragments only the first one, which has its header."""
    assert decode_echo(data) is None


@given(st.binary(max_size=200))
def test_frame_of_any_octets_does_not_raise(data: bytes) -> None:
    """Whatever is on the network, the answer is a value, and without an IPv4 header it is nothing."""
    answer = decode_echo(data)
    assert answer is None or data[12:14] == b"\x08\0"


mutations = st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=4), st.integers(0, 4)), max_size=4)
messages = st.one_of(
    st.just(make_reply()),
    st.binary(max_size=200).map(lambda more: make_too_large(make_request(84)[14:42] + more)),
    st.binary(max_size=200).map(make_too_large),
)


@given(messages, st.binary(max_size=40).map(lambda data: data[: len(data) // 4 * 4]), mutations)
def test_answer_that_is_broken_in_any_way_does_not_raise(
    message: bytes, options: bytes, changes: list[tuple[int, bytes, int]]
) -> None:
    """With any IP options, quotes, and octets replaced, cut and put in anywhere, an answer is a value or nothing."""
    data = make_frame(message, options=options)
    for at, junk, cut in changes:
        data = data[: at % len(data)] + junk + data[at % len(data) + cut :] if data else data
    answer = decode_echo(data)
    if answer:
        assert all(type(value) is int for value in (answer.identifier, answer.sequence, answer.size))
        assert answer.narrow_mtu is None or 0 <= answer.narrow_mtu <= 0xFFFF
