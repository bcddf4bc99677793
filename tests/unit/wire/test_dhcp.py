"""DHCP messages: what a client sends, taken apart with `struct`, and what is made of the frames that come back."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.wire import dhcp
from cni_harvester.wire.dhcp import PARAMETERS, Question, Reply, decode_reply, encode_question
from cni_harvester.wire.dhcp_options import Options
from tests.unit.wire.packets import (
    CLIENT,
    CLIENT_MAC,
    END,
    OFFER,
    SERVER,
    SERVER_MAC,
    XID,
    checksum,
    encode_options,
    list_options,
    make_ethernet,
    make_ipv4,
    make_message,
    make_offer,
    make_reply,
    make_udp,
    pack_mac,
)

NOWHERE, EVERYWHERE = IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")
KINDS = (dhcp.DISCOVER, dhcp.REQUEST, dhcp.RELEASE, dhcp.DECLINE, dhcp.INFORM)
MESSAGE = make_message(encode_options(OFFER.items()))

# --- what a client sends -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """A client's frame, read octet by octet as RFC 791, RFC 768 and RFC 2131 have it."""

    data: bytes

    @property
    def ip(self) -> bytes:
        """The IP packet."""
        return self.data[14:]

    @property
    def udp(self) -> bytes:
        """The UDP datagram."""
        return self.data[34:]

    @property
    def message(self) -> bytes:
        """The BOOTP message."""
        return self.data[42:]

    @property
    def options(self) -> list[tuple[int, bytes]]:
        """The options, in their order."""
        return list(list_options(self.message[240:]))

    def assert_sound(self) -> None:
        """Check all that every message of a client must have."""
        assert self.data[12:14] == b"\x08\x00"
        assert self.ip[0] == 0x45
        assert self.ip[6:8] in {b"\0\0", b"\x40\0"}  # in one piece
        assert self.ip[9] == 17
        assert struct.unpack_from("!H", self.ip, 2) == (len(self.ip),)
        assert checksum(self.ip[:20]) == 0
        assert struct.unpack_from("!HHH", self.udp) == (68, 67, len(self.udp))
        assert self.udp[6:8] != b"\0\0"
        assert checksum(self.ip[12:20] + struct.pack("!HH", 17, len(self.udp)) + self.udp) == 0
        assert len(self.message) >= 300
        assert self.message[:4] == bytes([1, 1, 6, 0])  # BOOTREQUEST, Ethernet, six octets, no relay
        assert self.message[16:28] == bytes(12)  # yiaddr, siaddr, giaddr are the server's and the relay's
        assert self.message[34:236] == bytes(10 + 64 + 128)
        assert self.message[236:240] == b"\x63\x82\x53\x63"
        codes = [code for code, _ in self.options]
        assert codes[0] == 53
        assert len(set(codes)) == len(codes)
        rest = self.message[240 + sum(2 + len(value) for _, value in self.options) :]
        assert rest[:1] == END
        assert not rest.strip(b"\xff\0")


def send(question: Question) -> Sent:
    """Return what a question is on the wire, once it is found sound."""
    sent = Sent(encode_question(question))
    sent.assert_sound()
    return sent


@pytest.mark.parametrize("kind", KINDS)
def test_question_of_each_kind_says_who_asks(kind: int) -> None:
    """Type (option 53), transaction, hardware address and client identifier (61) are in every message."""
    sent = send(Question(kind, CLIENT_MAC, XID))
    assert sent.data[:12] == b"\xff" * 6 + pack_mac(CLIENT_MAC)
    assert sent.message[4:8] == bytes.fromhex("12345678")
    assert sent.message[8:16] == bytes(8)  # it has just begun, takes answers as they come, and has no address
    assert sent.message[28:34] == pack_mac(CLIENT_MAC)
    assert dict(sent.options)[53] == bytes([kind])
    assert dict(sent.options)[61] == b"\1" + pack_mac(CLIENT_MAC)
    assert sent.ip[12:20] == bytes(4) + b"\xff" * 4


@pytest.mark.parametrize("kind", [dhcp.DISCOVER, dhcp.REQUEST, dhcp.INFORM])
def test_question_asks_for_classless_routes_before_the_older_options(kind: int) -> None:
    """Option 55 has what we want to know; 121 stands before 33 and 3, for some servers stop early (RFC 3442)."""
    wanted = list(dict(send(Question(kind, CLIENT_MAC, XID)).options)[55])
    assert wanted == list(PARAMETERS)
    assert wanted.index(121) < wanted.index(33)
    assert wanted.index(121) < wanted.index(3)
    assert sorted(wanted) == [1, 3, 6, 15, 26, 28, 33, 42, 51, 54, 58, 59, 119, 121, 249]


@pytest.mark.parametrize("kind", [dhcp.RELEASE, dhcp.DECLINE])
def test_question_that_gives_an_address_back_asks_for_nothing(kind: int) -> None:
    """RFC 2131, table 5: no parameter request list in a RELEASE or DECLINE."""
    assert [code for code, _ in send(Question(kind, CLIENT_MAC, XID)).options] == [53, 61]


def test_question_has_address_and_server_only_if_they_are_given() -> None:
    """Options 50 and 54 select an offer; a DISCOVER has neither."""
    assert [code for code, _ in send(Question(dhcp.DISCOVER, CLIENT_MAC, XID)).options] == [53, 61, 55]
    question = Question(dhcp.REQUEST, CLIENT_MAC, XID, requested=CLIENT, server=SERVER)
    options = send(question).options
    assert [code for code, _ in options] == [53, 61, 50, 54, 55]
    assert (dict(options)[50], dict(options)[54]) == (CLIENT.packed, SERVER.packed)


@pytest.mark.parametrize(("broadcast", "flags"), [(False, b"\0\0"), (True, b"\x80\0")])
def test_question_asks_for_an_answer_by_broadcast_if_told_to(broadcast: bool, flags: bytes) -> None:
    """Only the first bit of the flags has a meaning; the others are zero."""
    assert send(Question(dhcp.DISCOVER, CLIENT_MAC, XID, broadcast=broadcast)).message[10:12] == flags


@pytest.mark.parametrize(("elapsed_s", "secs"), [(0, 0), (4, 4), (65535, 65535), (65536, 65535), (10**6, 65535)])
def test_question_says_since_when_the_client_asks(elapsed_s: int, secs: int) -> None:
    """Relays may wait for a while to have passed; what does not fit into the field is its largest value."""
    question = Question(dhcp.DISCOVER, CLIENT_MAC, XID, elapsed_s=elapsed_s)
    assert send(question).message[8:10] == secs.to_bytes(2, "big")


def test_question_of_a_client_with_an_address_comes_from_it_and_goes_to_the_server() -> None:
    """RENEWING: `ciaddr` and the source are the client's own, and the frame is for the server alone."""
    question = Question(
        dhcp.REQUEST, CLIENT_MAC, XID, client_address=CLIENT, destination_mac=SERVER_MAC, destination=SERVER
    )
    sent = send(question)
    assert sent.data[:6] == pack_mac(SERVER_MAC)
    assert sent.ip[12:20] == CLIENT.packed + SERVER.packed
    assert sent.message[12:16] == CLIENT.packed


def test_question_has_the_client_identifier_that_is_given() -> None:
    """A lease of its own for each attachment: the identifier counts to the server, not the MAC."""
    sent = send(Question(dhcp.DISCOVER, CLIENT_MAC, XID, client_id=b"\0net/pod/eth0"))
    assert dict(sent.options)[61] == b"\0net/pod/eth0"


macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
ipv4 = st.ip_addresses(v=4)


@given(
    st.builds(
        Question,
        kind=st.sampled_from(KINDS),
        mac=macs,
        xid=st.integers(0, 2**32 - 1),
        elapsed_s=st.integers(0, 10**6),
        client_address=ipv4,
        requested=st.none() | ipv4,
        server=st.none() | ipv4,
        client_id=st.binary(max_size=255),
        broadcast=st.booleans(),
        destination_mac=macs,
        destination=ipv4,
    )
)
def test_question_of_any_values_is_read_back(question: Question) -> None:
    """Whatever a client says stands at its place in the frame, with right lengths and checksums."""
    sent = send(question)
    assert sent.data[:12] == pack_mac(question.destination_mac) + pack_mac(question.mac)
    assert sent.ip[12:20] == question.client_address.packed + question.destination.packed
    xid, secs, flags = struct.unpack_from("!IHH", sent.message, 4)
    assert (xid, secs, flags) == (question.xid, min(question.elapsed_s, 65535), 0x8000 * question.broadcast)
    assert sent.message[12:16] == question.client_address.packed
    assert sent.message[28:34] == pack_mac(question.mac)
    options = dict(sent.options)
    assert options[53] == bytes([question.kind])
    assert options[61] == (question.client_id or b"\1" + pack_mac(question.mac))
    assert options.get(50) == (question.requested.packed if question.requested is not None else None)
    assert options.get(54) == (question.server.packed if question.server is not None else None)


# --- what comes back -----------------------------------------------------------------------------------------------


def decode(data: bytes, **known: bool) -> Reply:
    """Read a frame that is a server's message."""
    reply = decode_reply(data, **known)
    assert reply is not None
    return reply


def test_reply_is_read() -> None:
    """Everything that a sound message says, and what is known beside it."""
    assert decode_reply(make_offer(giaddr="192.0.2.9"), vlan=100, at_s=12.5) == Reply(
        source_mac=SERVER_MAC,
        source=SERVER,
        xid=XID,
        client_mac=CLIENT_MAC,
        address=CLIENT,
        relay=IPv4Address("192.0.2.9"),
        kind=dhcp.OFFER,
        options=Options({53: 2, 54: SERVER, 51: 3600, 1: 24, 3: (SERVER,)}),
        vlan=100,
        at_s=12.5,
    )


def test_reply_without_a_relay_has_none() -> None:
    """`giaddr` 0.0.0.0 is no relay's address."""
    reply = decode(make_offer())
    assert (reply.relay, reply.vlan, reply.faults) == (None, None, ())


@pytest.mark.parametrize("kind", range(1, 9))
def test_reply_has_its_kind(kind: int) -> None:
    """Option 53 is the kind of the message; whether it is right here is judged elsewhere."""
    assert decode(make_offer({53: bytes([kind])})).kind == kind


def test_reply_without_a_type_has_no_kind() -> None:
    """A BOOTP server's answer is a reply that does not say what it is."""
    reply = decode(make_offer({53: None}))
    assert (reply.kind, reply.faults) == (None, ())


def test_reply_with_options_in_the_headers_fields_is_read() -> None:
    """`file` and `sname` are at their places in the header (option 52)."""
    file, sname = encode_options([(15, b"example.org")]), encode_options([(56, b"hello")])
    reply = decode(make_offer({52: b"\3"}, file=file, sname=sname))
    assert reply.options.values.items() >= {15: "example.org", 56: "hello"}.items()
    assert reply.options.structure == ()


@pytest.mark.parametrize("words", range(1, 11))
def test_reply_with_ip_options_is_read(words: int) -> None:
    """An IP header of more than 20 octets moves what follows it; no-operation options, up to the largest header."""
    packet = make_ipv4(
        make_udp(MESSAGE, source=SERVER, to=EVERYWHERE), source=SERVER, to=EVERYWHERE, options=b"\1" * 4 * words
    )
    assert decode(make_ethernet(packet)) == decode(make_offer())


@pytest.mark.parametrize("options", [b"\x83\xff\0\0", b"\x44\0\0\0", b"\x94\4\0", b"\x07\x27" + bytes(38), bytes(40)])
def test_reply_with_ip_options_that_are_nonsense_is_read(options: bytes) -> None:
    """IP options are nothing that a client looks at, whatever is wrong with them."""
    options = options.ljust(-(-len(options) // 4) * 4, b"\xff")
    packet = make_ipv4(make_udp(MESSAGE, source=SERVER, to=EVERYWHERE), source=SERVER, to=EVERYWHERE, options=options)
    assert decode(make_ethernet(packet)) == decode(make_offer())


@pytest.mark.parametrize("padding", [b"\0", bytes(18), b"\x35\1\6" * 10, b"\xff" * 64])
def test_reply_in_a_padded_frame_ends_where_its_packet_ends(padding: bytes) -> None:
    """What fills a short frame, or follows as a trailer, is no part of the message."""
    assert decode(make_offer() + padding) == decode(make_offer())
    unclosed = make_offer(end=b"")
    assert decode(unclosed + padding) == decode(unclosed)
    assert decode(unclosed + padding).options.structure == ("the options have no end (255)",)


def test_reply_with_options_in_the_headers_fields_has_only_theirs() -> None:
    """`sname` ends where `file` begins, and `file` where the cookie does."""
    reply = decode(make_offer({52: b"\3"}, file=b"\x0f\x7eexample.org", sname=b"\x38\x3ehello"))
    assert reply.options.structure == (
        "the options in the file field have no end (255)",
        "the options in the sname field have no end (255)",
    )
    assert reply.options.values.items() >= {15: "example.org", 56: "hello"}.items()


# --- faults --------------------------------------------------------------------------------------------------------


def damage(data: bytes, at: int, mask: int = 0xFF) -> bytes:
    """Flip bits of one octet."""
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def fix_ip(data: bytes) -> bytes:
    """Write the right checksum into an IP header of 20 octets."""
    return data[:24] + checksum(data[14:24] + data[26:34]).to_bytes(2, "big") + data[26:]


@pytest.mark.parametrize("at", [15, 18, 19, 22, 24, 25])
def test_reply_with_a_wrong_ip_checksum_is_faulty(at: int) -> None:
    """Any octet of the header that was changed on the way is noticed."""
    assert decode(damage(make_offer(), at)).faults == ("the IP header's checksum is wrong",)


@pytest.mark.parametrize("at", [34, 40, 41, 42, 58, 70, 281, 282, 290, -1, -2])
@pytest.mark.parametrize("odd", [False, True])
def test_reply_with_a_wrong_udp_checksum_is_faulty(at: int, odd: bool) -> None:
    """Any octet of ports, checksum or message that was changed on the way is noticed, odd lengths included."""
    sound = make_offer(end=END + b"\0" * odd)
    assert len(sound) % 2 == (len(make_offer()) % 2) ^ odd
    assert decode(sound).faults == ()
    assert "the UDP checksum is wrong" in decode(damage(sound, at)).faults


@pytest.mark.parametrize("at", [26, 33])
def test_reply_whose_addresses_were_changed_has_a_wrong_udp_checksum(at: int) -> None:
    """The addresses are part of what the UDP checksum is over."""
    assert decode(fix_ip(damage(make_offer(), at))).faults == ("the UDP checksum is wrong",)


def test_reply_whose_checksum_was_left_to_hardware_is_not_held_to_it() -> None:
    """A server on the same machine leaves the UDP checksum to a NIC that the frame never meets."""
    unfinished = damage(make_offer(), 40)
    assert decode(unfinished).faults == ("the UDP checksum is wrong",)
    assert decode(unfinished, checksummed=False).faults == ()


def test_reply_whose_checksum_was_left_to_hardware_is_held_to_all_else() -> None:
    """The IP header's checksum, the lengths and the message are looked at as ever."""
    assert decode(damage(make_offer(), 24), checksummed=False).faults == ("the IP header's checksum is wrong",)
    assert decode(make_offer(op=1), checksummed=False).faults == ("it is no reply: op is 1",)


def test_reply_without_a_udp_checksum_is_sound() -> None:
    """0 says that there is none (RFC 768)."""
    assert decode(make_reply(MESSAGE, checksummed=False)).faults == ()


def test_reply_whose_udp_checksum_is_all_ones_is_sound() -> None:
    """A checksum that comes out as 0 is sent as 0xffff (RFC 768)."""
    for xid in range(1 << 16):
        message = make_message(encode_options(OFFER.items()), xid=xid)
        if make_udp(message, source=SERVER, to=EVERYWHERE)[6:8] == b"\xff\xff":
            break
    else:
        raise AssertionError("no such message")
    assert decode(make_reply(message)).faults == ()


@pytest.mark.parametrize("lost", [1, 2, 9, 28])
def test_reply_that_is_cut_off_is_faulty_with_both_lengths(lost: int) -> None:
    """The frame holds less than its IP packet announces; the UDP length does not fit either then."""
    whole = make_offer()
    total = len(whole) - 14
    assert decode(whole[:-lost]).faults == (
        f"the IP packet is cut off: {total} bytes announced, {total - lost} there",
        f"UDP announces {total - 20} bytes, IP {total - 20 - lost}",
    )


@pytest.mark.parametrize("length", [0, 8, 267, 269, 65535])
def test_reply_with_another_udp_length_is_faulty_with_both(length: int) -> None:
    """UDP and IP must agree; the checksum would then be over what nobody knows, and is left out."""
    data = make_offer()
    assert len(data) - 34 == 8 + len(MESSAGE) == 276
    faults = decode(data[:38] + length.to_bytes(2, "big") + data[40:]).faults
    assert faults == (f"UDP announces {length} bytes, IP 276",)


def test_reply_in_fragments_is_faulty() -> None:
    """The first fragment is named as what it is; its lengths and checksum are not held against it."""
    datagram = make_udp(MESSAGE, source=SERVER, to=EVERYWHERE)
    first = make_ipv4(datagram[:264], source=SERVER, to=EVERYWHERE, fragment=0x2000)
    assert decode(make_ethernet(first)).faults == (
        "it comes in fragments, which a client without an address cannot put together",
    )


@pytest.mark.parametrize("fragment", [1, 185, 0x2001, 0x1FFF])
def test_later_fragment_is_nothing(fragment: int) -> None:
    """It has no ports; what stands at their place may look like a client's."""
    packet = make_ipv4(make_udp(MESSAGE, source=SERVER, to=EVERYWHERE), source=SERVER, to=EVERYWHERE, fragment=fragment)
    assert decode_reply(make_ethernet(packet)) is None


@pytest.mark.parametrize("size", [0, 3, 28, 34, 100, 235, 236, 239])
def test_reply_that_is_too_short_is_faulty(size: int) -> None:
    """Less than the fixed part and the cookie is no DHCP message; there are no options in it."""
    reply = decode(make_reply(MESSAGE[:size]))
    assert reply.faults == (f"the message is too short: {size} bytes, a DHCP message has 240 or more",)
    assert (reply.kind, reply.options) == (None, Options())


def test_reply_with_nothing_is_for_nobody() -> None:
    """A message of no octets has the transaction 0, which is none of ours."""
    assert decode(make_reply(b"")).xid == 0


@pytest.mark.parametrize("size", range(1, 34))
def test_reply_that_ends_within_its_header_says_only_what_is_there(size: int) -> None:
    """Transaction, hardware and MAC are read when all of them is there, and nothing is made up of less."""
    reply = decode(make_reply(MESSAGE[:size]))
    assert reply.faults == (f"the message is too short: {size} bytes, a DHCP message has 240 or more",)
    assert (reply.xid, reply.client_mac) == (XID if size >= 8 else 0, "")


def test_reply_that_ends_with_its_cookie_has_no_end() -> None:
    """240 octets are the least: then the options lack their end."""
    reply = decode(make_reply(MESSAGE[:240]))
    assert (reply.faults, reply.options.structure) == ((), ("the options have no end (255)",))


@pytest.mark.parametrize("cookie", [bytes(4), b"\x63\x82\x53\x64", b"\x64\x82\x53\x63"])
def test_reply_with_a_wrong_cookie_is_faulty(cookie: bytes) -> None:
    """What follows is not read as options, for it may be anything (RFC 1497)."""
    reply = decode(make_offer(cookie=cookie))
    assert reply.faults == ("the magic cookie before the options is wrong",)
    assert (reply.kind, reply.options) == (None, Options())


@pytest.mark.parametrize("op", [0, 1, 3, 255])
def test_reply_with_a_wrong_op_is_faulty(op: int) -> None:
    """A client's own question, sent back by a loop, is no answer."""
    assert decode(make_offer(op=op)).faults == (f"it is no reply: op is {op}",)


@pytest.mark.parametrize("hardware", [(0, 0), (1, 16), (6, 6), (32, 20), (1, 0), (255, 255)])
def test_reply_for_other_hardware_is_faulty(hardware: tuple[int, int]) -> None:
    """Hardware type and address length are shown as they are."""
    kind, length = hardware
    faults = decode(make_offer(hardware=hardware)).faults
    assert faults == (f"it is not for Ethernet: hardware type {kind}, address length {length}",)


def test_reply_with_several_faults_has_them_all() -> None:
    """One fault does not hide another."""
    data = damage(damage(make_offer(op=1, hardware=(6, 8), cookie=bytes(4)), 24), 100)
    assert decode(data).faults == (
        "the IP header's checksum is wrong",
        "the UDP checksum is wrong",
        "the magic cookie before the options is wrong",
        "it is no reply: op is 1",
        "it is not for Ethernet: hardware type 6, address length 8",
    )


@pytest.mark.parametrize("total", [0, 19, 20, 27, 28])
def test_reply_whose_packet_announces_less_than_its_headers_has_no_message(total: int) -> None:
    """An IP length that leaves no room for a message gives an empty one, not one of octets behind the packet."""
    datagram = make_udp(MESSAGE, source=SERVER, to=EVERYWHERE)
    reply = decode(make_ethernet(make_ipv4(datagram, source=SERVER, to=EVERYWHERE, total=total)))
    assert reply.faults == (
        "UDP announces 276 bytes, IP 8",
        "the message is too short: 0 bytes, a DHCP message has 240 or more",
    )


# --- what is no server's message -----------------------------------------------------------------------------------

DATAGRAM = make_udp(MESSAGE, source=SERVER, to=EVERYWHERE)


def as_ipv4(payload: bytes = DATAGRAM, *, protocol: int = 17) -> bytes:
    """Put a payload into a packet and a frame."""
    return make_ethernet(make_ipv4(payload, source=SERVER, to=EVERYWHERE, protocol=protocol))


def with_ports(source: int, to: int) -> bytes:
    """Write the server's message with other ports."""
    return as_ipv4(make_udp(MESSAGE, source=SERVER, to=EVERYWHERE, ports=(source, to)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(make_offer()[:14], id="only an Ethernet header"),
        pytest.param(make_offer()[:41], id="too short for UDP"),
        pytest.param(make_ethernet(make_offer()[14:], ethertype=0x86DD), id="IPv6"),
        pytest.param(make_ethernet(make_offer()[14:], ethertype=0x0806), id="ARP"),
        pytest.param(make_ethernet(make_offer()[14:], ethertype=0x0801), id="another EtherType"),
        pytest.param(make_ethernet(b"\x81\0\0\x64\x08\0" + make_offer()[14:], ethertype=0x8100), id="tagged"),
        pytest.param(damage(make_offer(), 14, 0x20), id="IP version 6 in an IPv4 frame"),
        pytest.param(damage(make_offer(), 14, 0x01), id="IP header of 16 bytes"),
        pytest.param(damage(make_offer(), 14, 0x05), id="IP header of 0 bytes"),
        pytest.param(
            make_ethernet(b"\x44" + make_offer()[15:32] + b"\0\x44" + bytes(300)), id="port within the IP header"
        ),
        pytest.param(as_ipv4(protocol=6), id="TCP"),
        pytest.param(as_ipv4(protocol=1), id="ICMP"),
        pytest.param(with_ports(68, 67), id="a client's question"),
        pytest.param(with_ports(67, 67), id="from relay to server"),
        pytest.param(with_ports(68, 0), id="port 0"),
        pytest.param(with_ports(67, 69), id="the next port"),
        pytest.param(with_ports(67, 68 << 8), id="the port's octets the other way round"),
    ],
)
def test_frame_that_is_no_servers_message_is_nothing(data: bytes) -> None:
    """Other protocols, ports and directions are not answers, however much they look like one behind that."""
    assert decode_reply(data) is None


def test_frame_that_ends_within_its_headers_is_nothing() -> None:
    """An IP header of 60 octets, and UDP's eight behind it: less is no message, even if the port is there."""
    packet = make_ipv4(DATAGRAM, source=SERVER, to=EVERYWHERE, options=b"\1" * 40)
    sizes = range(42, 100)
    assert [size for size in sizes if decode_reply(make_ethernet(packet)[:size])] == list(range(14 + 60 + 8, 100))


def test_reply_from_another_port_than_a_servers_is_read() -> None:
    """Only the client's port counts: some relays answer from a port of their own."""
    assert decode(with_ports(4011, 68)).faults == ()


def test_question_of_a_client_is_no_reply() -> None:
    """What we send is not taken for an answer when it comes back."""
    for kind in KINDS:
        assert decode_reply(encode_question(Question(kind, CLIENT_MAC, XID))) is None


def test_reply_that_is_cut_anywhere_is_nothing_or_faulty() -> None:
    """No part of a message passes for the whole."""
    whole = make_offer()
    for size in range(len(whole)):
        reply = decode_reply(whole[:size])
        assert (reply is None) == (size < 42)
        assert reply is None or reply.faults


@given(st.binary(max_size=400), st.booleans())
def test_frame_of_any_octets_does_not_raise(data: bytes, checksummed: bool) -> None:
    """Whatever is on the network, the answer is a value, and without an IPv4 header it is nothing."""
    reply = decode_reply(data, checksummed=checksummed)
    assert reply is None or data[12:14] == b"\x08\0"


mutations = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 4)), max_size=4)


@given(st.binary(max_size=40).map(lambda data: data[: len(data) // 4 * 4]), mutations, st.booleans())
def test_reply_that_is_broken_in_any_way_does_not_raise(
    options: bytes, changes: list[tuple[int, bytes, int]], checksummed: bool
) -> None:
    """With any IP options, and octets replaced, cut and put in anywhere, a message is a value or nothing."""
    data = make_ethernet(make_ipv4(DATAGRAM, source=SERVER, to=EVERYWHERE, options=options))
    for at, junk, cut in changes:
        data = data[: at % len(data)] + junk + data[at % len(data) + cut :] if data else data
    reply = decode_reply(data, vlan=7, checksummed=checksummed, at_s=1.0)
    assert reply is None or (reply.vlan, reply.at_s, len(reply.client_mac)) == (7, 1.0, 17)
    if not any(junk or cut for _, junk, cut in changes):
        assert reply is not None
        assert (reply.xid, reply.faults) == (XID, ())


@given(st.integers(0, 32), st.lists(ipv4, min_size=1, max_size=3), ipv4, st.integers(0, 2**32 - 1))
def test_reply_of_any_values_is_read(length: int, routers: list[IPv4Address], address: IPv4Address, xid: int) -> None:
    """What a server writes at its place is what is read from there."""
    mask = IPv4Network((0, length)).netmask.packed
    changes: dict[int, bytes | None] = {1: mask, 3: b"".join(router.packed for router in routers)}
    reply = decode(make_offer(changes, yiaddr=str(address), xid=xid))
    assert (reply.address, reply.xid, reply.faults) == (address, xid, ())
    assert (reply.options.find(1), reply.options.find(3)) == (length, tuple(routers))
