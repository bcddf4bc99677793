"""Router solicitations and advertisements, the latter made by scapy, and what makes a receiver ignore them."""

from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.wire.layers import (
    Ether,
    ICMPv6ND_RA,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    Packet,
    Raw,
)
from cni_harvester.wire.ndp import Advertisement, Prefix, decode_advertisement, encode_solicitation
from tests.unit.wire.packets import CLIENT_MAC, SERVER_MAC, checksum, pack_mac

ROUTER = IPv6Address("fe80::1")
FOR_EVER = 0xFFFFFFFF


def make_frame(*options: Packet, source: str = "fe80::1", hop_limit: int = 255, **header: Any) -> bytes:
    """Make the frame of an advertisement."""
    packet = Ether(src=SERVER_MAC, dst="33:33:00:00:00:01") / IPv6(src=source, dst="ff02::1", hlim=hop_limit)
    packet /= ICMPv6ND_RA(**({"routerlifetime": 1800} | header))
    for option in options:
        packet /= option
    return bytes(packet)


def decode(data: bytes, *, checksummed: bool = True) -> Advertisement:
    """Read a frame that is an advertisement."""
    advertisement = decode_advertisement(data, checksummed=checksummed)
    assert advertisement is not None
    return advertisement


def prefix(network: str, **values: Any) -> Packet:
    """Make the option of one prefix."""
    address, _, length = network.partition("/")
    return ICMPv6NDOptPrefixInfo(prefix=address, prefixlen=int(length), **values)


# --- asking --------------------------------------------------------------------------------------------------------


def test_solicitation_needs_no_address_of_our_own() -> None:
    """From the unspecified address to all routers, with hop limit 255 and a right checksum (RFC 4861, 4.1)."""
    data = encode_solicitation(CLIENT_MAC)
    assert data[:14] == bytes.fromhex("333300000002") + pack_mac(CLIENT_MAC) + b"\x86\xdd"
    assert data[14:22] == bytes.fromhex("60000000 0008 3a ff")
    assert data[22:54] == IPv6Address("::").packed + IPv6Address("ff02::2").packed
    assert (data[54:56], len(data)) == (bytes([133, 0]), 62)
    assert checksum(data[22:54] + bytes([0, 0, 0, 8, 0, 0, 0, 58]) + data[54:]) == 0


# --- hearing -------------------------------------------------------------------------------------------------------


def test_advertisement_is_read() -> None:
    """Everything that a router says, of an advertisement with every option."""
    data = make_frame(
        ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:77"),
        prefix("2001:db8:1::/64", L=1, A=1, validlifetime=86400, preferredlifetime=14400),
        ICMPv6NDOptMTU(mtu=1400),
        ICMPv6NDOptRDNSS(dns=["2001:db8::53", "2001:db8::54"], lifetime=600),
        M=1,
        O=1,
        routerlifetime=9000,
    )
    assert decode_advertisement(data) == Advertisement(
        router=ROUTER,
        router_mac=SERVER_MAC,
        lifetime_s=9000,
        managed=True,
        other=True,
        mtu=1400,
        prefixes=(Prefix(IPv6Network("2001:db8:1::/64"), True, True, 86400, 14400),),
        dns=(IPv6Address("2001:db8::53"), IPv6Address("2001:db8::54")),
        faults=(),
    )


def test_advertisement_without_options_says_nothing_more() -> None:
    """A router need not tell MTU, prefixes or DNS servers."""
    assert decode(make_frame(routerlifetime=0)) == Advertisement(
        ROUTER, SERVER_MAC, 0, managed=False, other=False, mtu=None, prefixes=(), dns=(), faults=()
    )


@pytest.mark.parametrize(("managed", "other"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_advertisement_tells_what_dhcpv6_is_for(managed: int, other: int) -> None:
    """The flags M and O, each by itself."""
    advertisement = decode(make_frame(M=managed, O=other))
    assert (advertisement.managed, advertisement.other) == (bool(managed), bool(other))


def test_advertisement_with_several_prefixes_has_them_in_order() -> None:
    """Flags and times are each prefix's own; other options may stand between."""
    data = make_frame(
        prefix("2001:db8:1::/64", L=1, A=1, validlifetime=FOR_EVER, preferredlifetime=FOR_EVER),
        ICMPv6NDOptMTU(mtu=1280),
        prefix("2001:db8:2::/64", L=1, A=0, validlifetime=60, preferredlifetime=0),
        prefix("2001:db8:3::/48", L=0, A=1, validlifetime=0, preferredlifetime=0),
        prefix("::/0", L=0, A=0, validlifetime=1, preferredlifetime=1),
        prefix("2001:db8::7/128", L=1, A=0, validlifetime=1, preferredlifetime=1),
    )
    advertisement = decode(data)
    assert advertisement.mtu == 1280
    assert advertisement.prefixes == (
        Prefix(IPv6Network("2001:db8:1::/64"), True, True, FOR_EVER, FOR_EVER),
        Prefix(IPv6Network("2001:db8:2::/64"), True, False, 60, 0),
        Prefix(IPv6Network("2001:db8:3::/48"), False, True, 0, 0),
        Prefix(IPv6Network("::/0"), False, False, 1, 1),
        Prefix(IPv6Network("2001:db8::7/128"), True, False, 1, 1),
    )


def test_advertisement_that_is_long_is_read_to_its_end() -> None:
    """More than 255 octets of options, with a right checksum."""
    written = [f"2001:db8:{number:x}::/64" for number in range(1, 31)]
    advertisement = decode(make_frame(*map(prefix, written)))
    assert [str(each.network) for each in advertisement.prefixes] == written
    assert advertisement.faults == ()


def test_advertisement_with_several_options_of_dns_has_all_servers() -> None:
    """A router may put servers of different lifetimes into options of their own (RFC 8106, section 5.1)."""
    data = make_frame(*[ICMPv6NDOptRDNSS(dns=[f"2001:db8::{number}"]) for number in (1, 2, 3)])
    assert decode(data).dns == tuple(IPv6Address(f"2001:db8::{number}") for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (b"\3\0" + bytes(30), "option 3 has the length 0"),
        (b"\1\1\2\0\0\0\0\1\xc8\0" + bytes(6), "option 200 has the length 0"),
        (b"\5\2\0\0\0\0\5\x78", "an option runs past the end"),
        (b"\5\1\0\0\0\0\5\x78\1", "an option runs past the end"),
    ],
)
def test_advertisement_with_an_option_of_a_wrong_length_is_faulty(options: bytes, fault: str) -> None:
    """RFC 4861, section 6.1.2: it must be ignored, for what follows is not known."""
    assert decode(make_frame(Raw(options))).faults == (fault,)


def test_prefix_with_bits_behind_its_length_has_them_ignored() -> None:
    """RFC 4861, section 4.6.2: the receiver ignores them."""
    (found,) = decode(make_frame(prefix("2001:db8:1:2:3::4/64", L=1))).prefixes
    assert found.network == IPv6Network("2001:db8:1:2::/64")


@pytest.mark.parametrize("length", [129, 200, 255])
def test_prefix_of_an_impossible_length_is_left_out(length: int) -> None:
    """The other prefixes of the router stay."""
    data = make_frame(prefix(f"2001:db8:1::/{length}"), prefix("2001:db8:2::/64"))
    assert [each.network for each in decode(data).prefixes] == [IPv6Network("2001:db8:2::/64")]


def test_advertisement_with_an_unknown_option_is_read_on() -> None:
    """Options that nobody knows are skipped (RFC 4861, section 6.1.2)."""
    data = make_frame(Raw(bytes([200, 2]) + b"\xff" * 14), ICMPv6NDOptMTU(mtu=1400), prefix("2001:db8::/64"))
    advertisement = decode(data)
    assert (advertisement.mtu, len(advertisement.prefixes), advertisement.faults) == (1400, 1, ())


@pytest.mark.parametrize("padding", [bytes(4), b"\x05\x01\0\0\0\0\x05\x78" * 2])
def test_advertisement_in_a_padded_frame_ends_where_its_packet_ends(padding: bytes) -> None:
    """What follows the packet is no option of it."""
    assert decode(make_frame() + padding) == decode(make_frame())


# --- faults --------------------------------------------------------------------------------------------------------


def put(data: bytes, at: int, octets: bytes) -> bytes:
    """Write octets over what stands at a place."""
    return data[:at] + octets + data[at + len(octets) :]


def damage(data: bytes, at: int) -> bytes:
    """Flip all bits of one octet."""
    return put(data, at, bytes([data[at] ^ 0xFF]))


@pytest.mark.parametrize("hop_limit", [0, 1, 64, 254])
def test_advertisement_that_may_have_been_forwarded_is_faulty(hop_limit: int) -> None:
    """A router takes one off the hop limit: only 255 is from this link."""
    fault = f"the hop limit is {hop_limit} instead of 255: it may come from another network"
    assert decode(make_frame(hop_limit=hop_limit)).faults == (fault,)


@pytest.mark.parametrize("source", ["2001:db8::1", "::", "fec0::1", "ff02::1", "::1", "fe7f::1"])
def test_advertisement_from_another_than_a_link_local_address_is_faulty(source: str) -> None:
    """Routers are known by their link-local addresses."""
    assert decode(make_frame(source=source)).faults == (f"the router's address {source} is not link-local",)


@pytest.mark.parametrize("source", ["fe80::", "fe80::1", "febf:ffff::ffff"])
def test_advertisement_from_any_link_local_address_is_sound(source: str) -> None:
    """All of fe80::/10."""
    advertisement = decode(make_frame(source=source))
    assert (advertisement.router, advertisement.faults) == (IPv6Address(source), ())


@pytest.mark.parametrize("code", [1, 255])
def test_advertisement_with_a_code_is_faulty(code: int) -> None:
    """The code of an advertisement is 0."""
    assert decode(make_frame(code=code)).faults == (f"the ICMPv6 code is {code} instead of 0",)


@pytest.mark.parametrize("at", [22, 37, 38, 53, 56, 57, 58, 60, 69])
def test_advertisement_with_a_wrong_checksum_is_faulty(at: int) -> None:
    """Any octet of addresses or message that was changed on the way is noticed."""
    assert "the ICMPv6 checksum is wrong" in decode(damage(make_frame(), at)).faults


def test_advertisement_whose_checksum_was_left_to_hardware_is_not_held_to_it() -> None:
    """A router on the same machine leaves the checksum to a NIC that the frame never meets."""
    assert decode(damage(make_frame(), 57)).faults == ("the ICMPv6 checksum is wrong",)
    assert decode(damage(make_frame(), 57), checksummed=False).faults == ()


@pytest.mark.parametrize("lost", [1, 8, 31, 32])
def test_advertisement_that_is_cut_off_is_faulty_with_both_lengths(lost: int) -> None:
    """The frame holds less than its packet announces."""
    whole = make_frame(prefix("2001:db8::/64"))
    assert len(whole) == 54 + 16 + 32
    faults = (f"it is cut off: 48 bytes announced, {48 - lost} there",)
    assert decode(whole[:-lost]).faults == faults
    assert decode(whole[:-lost], checksummed=False).faults == faults


def test_advertisement_with_several_faults_has_them_all() -> None:
    """One fault does not hide another."""
    assert decode(damage(make_frame(source="2001:db8::1", hop_limit=64, code=3), 56)).faults == (
        "the router's address 2001:db8::1 is not link-local",
        "the hop limit is 64 instead of 255: it may come from another network",
        "the ICMPv6 code is 3 instead of 0",
        "the ICMPv6 checksum is wrong",
    )


# --- what is no advertisement --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(make_frame()[:69], id="shorter than an advertisement"),
        pytest.param(encode_solicitation(CLIENT_MAC) + bytes(20), id="a solicitation"),
        pytest.param(put(make_frame(), 54, b"\x85"), id="a solicitation with options"),
        pytest.param(put(make_frame(), 54, b"\x88"), id="a neighbour's"),
        pytest.param(put(make_frame(), 54, b"\x81"), id="an echo"),
        pytest.param(make_frame()[:12] + b"\x81\0\0\x07" + make_frame()[12:], id="tagged"),
        pytest.param(put(make_frame(), 12, b"\x08\0"), id="IPv4"),
        pytest.param(put(make_frame(), 20, b"\x11"), id="UDP"),
    ],
)
def test_frame_that_is_no_advertisement_is_nothing(data: bytes) -> None:
    """Other protocols and messages, also of the same neighbour discovery."""
    assert decode_advertisement(data) is None


@pytest.mark.parametrize("length", [0, 4, 8, 15])
def test_advertisement_whose_packet_is_too_short_for_one_is_nothing(length: int) -> None:
    """RFC 4861, section 6.1.2: 16 octets or more; nothing is read from behind the packet."""
    data = make_frame()
    assert decode_advertisement(put(data, 18, length.to_bytes(2, "big")), checksummed=False) is None


@given(st.binary(max_size=200), st.booleans())
def test_frame_of_any_octets_does_not_raise(data: bytes, checksummed: bool) -> None:
    """Whatever is on the network, the answer is a value, and without an IPv6 header it is nothing."""
    advertisement = decode_advertisement(data, checksummed=checksummed)
    assert advertisement is None or data[12:14] == b"\x86\xdd"


FULL = make_frame(
    prefix("2001:db8:1::/64"),
    ICMPv6NDOptRDNSS(dns=["2001:db8::53"]),
    ICMPv6NDOptMTU(mtu=1400),
    prefix("2001:db8:2::/64"),
)
mutations = st.lists(st.tuples(st.integers(54, 300), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4)


@given(st.sampled_from([FULL, make_frame()]), st.binary(max_size=64), mutations)
def test_advertisement_that_is_broken_in_any_way_does_not_raise(
    data: bytes, options: bytes, changes: list[tuple[int, bytes, int]]
) -> None:
    """With any options, and octets replaced, cut and put in anywhere, an advertisement is a value or nothing."""
    data += options
    for at, junk, cut in changes:
        data = data[:at] + junk + data[at + cut :]
    advertisement = decode_advertisement(put(data, 18, (len(data) - 54).to_bytes(2, "big")), checksummed=False)
    if advertisement:
        assert advertisement.router == ROUTER
        assert all(type(each.valid_s) is int and type(each.preferred_s) is int for each in advertisement.prefixes)
        assert all(isinstance(server, IPv6Address) for server in advertisement.dns)


ipv6_networks = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False), st.ip_addresses(v=6), st.integers(0, 128)
)
times = st.integers(0, FOR_EVER)
prefixes = st.lists(st.builds(Prefix, ipv6_networks, st.booleans(), st.booleans(), times, times), max_size=6)


@given(prefixes, st.none() | times, st.lists(st.ip_addresses(v=6), max_size=4), st.integers(0, 65535), st.booleans())
def test_advertisement_of_any_values_is_read_back(
    written: list[Prefix], mtu: int | None, dns: list[IPv6Address], lifetime_s: int, managed: bool
) -> None:
    """What scapy writes for a router comes out as it went in, with a right checksum."""
    options = [
        prefix(
            str(each.network),
            L=each.on_link,
            A=each.autonomous,
            validlifetime=each.valid_s,
            preferredlifetime=each.preferred_s,
        )
        for each in written
    ]
    options += [ICMPv6NDOptMTU(mtu=mtu)] * (mtu is not None)
    options += [ICMPv6NDOptRDNSS(dns=[str(server) for server in dns])] * bool(dns)
    assert decode(make_frame(*options, routerlifetime=lifetime_s, M=managed)) == Advertisement(
        ROUTER, SERVER_MAC, lifetime_s, managed, False, mtu, tuple(written), tuple(dns), ()
    )
