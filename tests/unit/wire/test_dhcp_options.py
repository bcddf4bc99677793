"""DHCP options: what each reader makes of its octets, how they are put together, and that nothing in them raises."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cni_harvester.wire import dhcp_options
from cni_harvester.wire.dhcp_options import NAMES, Options, StaticRoute, parse_options
from tests.unit.wire.packets import END, encode_option, encode_options, encode_route, encode_routes

MASK, ROUTER, DNS, DOMAIN, MTU, BROADCAST, STATIC_ROUTES, NTP = 1, 3, 6, 15, 26, 28, 33, 42
LEASE_TIME, OVERLOAD, MESSAGE_TYPE, SERVER_ID, MESSAGE, T1, T2 = 51, 52, 53, 54, 56, 58, 59
SEARCH, ROUTES, MS_ROUTES = 119, 121, 249
IN_FILE, IN_SNAME, IN_BOTH = b"\1", b"\2", b"\3"


def addresses(*texts: str) -> bytes:
    """Write addresses one after the other."""
    return b"".join(IPv4Address(text).packed for text in texts)


def ips(*texts: str) -> tuple[IPv4Address, ...]:
    """Return addresses as a reader does."""
    return tuple(map(IPv4Address, texts))


def route(network: str, gateway: str) -> StaticRoute:
    """Return a route as a reader does."""
    return StaticRoute(IPv4Network(network), IPv4Address(gateway))


def parse(code: int, value: bytes) -> Options:
    """Read one option."""
    return parse_options(encode_option(code, value) + END)


def find_fault(code: int, value: bytes) -> str:
    """Read one faulty option; return what is said of it behind its name."""
    read = parse(code, value)
    assert (dict(read.values), list(read.faults), read.structure) == ({}, [code], ())
    name = f"option {code} ({NAMES[code]}) "
    assert read.faults[code].startswith(name)
    return read.faults[code].removeprefix(name)


# --- each option ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "data", "value"),
    [
        (ROUTER, addresses("192.0.2.1"), ips("192.0.2.1")),
        (ROUTER, addresses("192.0.2.2", "192.0.2.1"), ips("192.0.2.2", "192.0.2.1")),
        (ROUTER, addresses("0.0.0.0"), ips("0.0.0.0")),
        (DNS, addresses("198.51.100.2", "198.51.100.1"), ips("198.51.100.2", "198.51.100.1")),
        (NTP, addresses("203.0.113.1"), ips("203.0.113.1")),
        (BROADCAST, addresses("192.0.2.255"), IPv4Address("192.0.2.255")),
        (SERVER_ID, addresses("192.0.2.1"), IPv4Address("192.0.2.1")),
        (SERVER_ID, addresses("255.255.255.255"), IPv4Address("255.255.255.255")),
        (LEASE_TIME, b"\0\0\0\0", 0),
        (LEASE_TIME, b"\0\0\x0e\x10", 3600),
        (LEASE_TIME, b"\x80\0\0\0", 2**31),
        (LEASE_TIME, b"\xff\xff\xff\xff", dhcp_options.INFINITE_S),
        (T1, b"\0\0\7\x08", 1800),
        (T2, b"\0\0\x0c\x4e", 3150),
        (MTU, b"\0\x44", 68),
        (MTU, b"\x05\xdc", 1500),
        (MTU, b"\xff\xff", 65535),
        (MESSAGE_TYPE, b"\0", 0),
        (MESSAGE_TYPE, b"\2", 2),
        (MESSAGE_TYPE, b"\xff", 255),
        (DOMAIN, b"example.org", "example.org"),
        (DOMAIN, b"example.org\0\0", "example.org"),
        (DOMAIN, "b\u00fccher.example".encode(), "b\u00fccher.example"),
        (DOMAIN, b"", ""),
        (MESSAGE, b"no free address", "no free address"),
        (STATIC_ROUTES, addresses("198.51.100.7", "192.0.2.9"), (route("198.51.100.7/32", "192.0.2.9"),)),
        (
            STATIC_ROUTES,
            addresses("198.51.100.7", "192.0.2.9", "203.0.113.7", "192.0.2.8"),
            (route("198.51.100.7/32", "192.0.2.9"), route("203.0.113.7/32", "192.0.2.8")),
        ),
    ],
)
def test_option_that_is_sound_has_its_value(code: int, data: bytes, value: Any) -> None:
    """Each option becomes a value of its own type, the extreme ones too."""
    assert parse(code, data) == Options({code: value})


@pytest.mark.parametrize("length", range(33))
def test_mask_of_ones_and_then_zeros_is_a_prefix_length(length: int) -> None:
    """All 33 masks are read as their prefix lengths; 0.0.0.0 is left to the judge, which refuses it."""
    mask = int("1" * length + "0" * (32 - length), 2)
    assert parse(MASK, mask.to_bytes(4, "big")).find(MASK) == length


@pytest.mark.parametrize(
    "mask", ["0.0.0.1", "0.255.255.255", "255.0.255.0", "255.255.255.1", "255.255.254.255", "127.255.255.0"]
)
def test_mask_with_a_gap_is_a_fault(mask: str) -> None:
    """A mask whose ones are not contiguous means nothing, and is shown."""
    assert find_fault(MASK, addresses(mask)) == f"is {mask}, whose ones are not contiguous"


@given(st.integers(0, 2**32 - 1))
def test_mask_is_read_only_if_it_has_no_gap(mask: int) -> None:
    """Either the value gives the very mask back, or the option is faulty."""
    length = parse(MASK, mask.to_bytes(4, "big")).find(MASK)
    assert ("01" in f"{mask:032b}") == (length is None)
    assert length is None or int(IPv4Network((0, length)).netmask) == mask


WRONG_LENGTHS = [
    *((code, size, f"has {size} bytes instead of 4") for code in (MASK, BROADCAST, SERVER_ID) for size in (0, 3, 5, 8)),
    *((code, size, f"has {size} bytes instead of 4") for code in (LEASE_TIME, T1, T2) for size in (0, 1, 3, 5, 8)),
    *((MTU, size, f"has {size} bytes instead of 2") for size in (0, 1, 3, 4)),
    *((MESSAGE_TYPE, size, f"has {size} bytes instead of 1") for size in (0, 2, 4)),
    *(
        (code, size, f"has {size} bytes, which is no list of addresses of 4 bytes each")
        for code in (ROUTER, DNS, NTP)
        for size in (0, 1, 3, 5, 7, 255)
    ),
    *(
        (STATIC_ROUTES, size, f"has {size} bytes, which is no list of address pairs of 8 bytes each")
        for size in (0, 4, 7, 9, 12, 20)
    ),
]


@pytest.mark.parametrize(("code", "size", "fault"), WRONG_LENGTHS)
def test_option_of_a_wrong_length_is_a_fault_with_both_lengths(code: int, size: int, fault: str) -> None:
    """An option of a wrong length has no value: nothing is made up of the octets that are there."""
    assert find_fault(code, b"\1" * size) == fault


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "has 0 bytes instead of 1"),
        (b"\4\4", "has 2 bytes instead of 1"),
        (b"\0", "is 0 instead of 1, 2 or 3"),
        (b"\4", "is 4 instead of 1, 2 or 3"),
    ],
)
def test_overload_that_means_nothing_is_a_fault(data: bytes, fault: str) -> None:
    """Where the options are is not known then (RFC 2132, section 9.3)."""
    assert find_fault(OVERLOAD, data) == fault


@pytest.mark.parametrize("mtu", [0, 1, 67])
def test_mtu_below_the_smallest_of_ipv4_is_a_fault(mtu: int) -> None:
    """RFC 2132, section 5.1: 68 is the least."""
    assert find_fault(MTU, mtu.to_bytes(2, "big")) == f"is {mtu}, below the smallest MTU of IPv4, 68"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\nb", "a\ufffdb"),
        (b"\x1b[31mred", "\ufffd[31mred"),
        (b"a\0b\0", "a\ufffdb"),
        (b"\xff\xfeab", "\ufffd\ufffdab"),
        ("\u202eevil".encode(), "\ufffdevil"),
        (b"\x7f\x80", "\ufffd\ufffd"),
    ],
)
@pytest.mark.parametrize("code", [DOMAIN, MESSAGE])
def test_text_with_what_cannot_be_printed_cannot_play_tricks_on_a_terminal(code: int, data: bytes, text: str) -> None:
    """Line ends, escapes, marks of direction and what is no UTF-8 are replaced: a stranger wrote the text."""
    assert parse(code, data).find(code) == text


@given(st.binary(max_size=255))
def test_text_of_any_octets_can_be_printed(data: bytes) -> None:
    """Whatever a server sends as text is one printable line."""
    text = parse(MESSAGE, data).find(MESSAGE)
    assert text.isprintable()
    assert len(text) <= len(data)


@pytest.mark.parametrize("code", [2, 12, 43, 50, 55, 61, 82, 125, 224, 254])
def test_option_that_nobody_reads_is_left_out(code: int) -> None:
    """Options that are not known are neither values nor faults (RFC 2132, section 2), and hide no other."""
    options = encode_options([(code, b"\0\1\2"), (MESSAGE_TYPE, b"\2")])
    assert parse_options(options) == Options({MESSAGE_TYPE: 2})


def test_option_that_is_absent_or_faulty_is_not_found() -> None:
    """`find` gives None for both; the faults tell them apart."""
    read = parse_options(encode_options([(MASK, b"\xff"), (MESSAGE_TYPE, b"\2")]))
    assert (read.find(MASK), read.find(ROUTER), read.find(MESSAGE_TYPE)) == (None, None, 2)
    assert list(read.faults) == [MASK]


# --- classless routes (121 and 249) --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [ROUTES, MS_ROUTES])
@pytest.mark.parametrize("length", range(33))
def test_classless_route_of_each_width_is_read(code: int, length: int) -> None:
    """A destination has only the octets that matter, none for the default route (RFC 3442), in both options."""
    network = IPv4Network(("203.0.113.255", length), strict=False)
    data = encode_route(network, IPv4Address("192.0.2.9"))
    assert len(data) == 5 + -(-length // 8)
    assert parse(code, data) == Options({code: (StaticRoute(network, IPv4Address("192.0.2.9")),)})


@pytest.mark.parametrize(
    ("data", "destination"),
    [
        (bytes([24, 198, 51, 100]), "198.51.100.0/24"),
        (bytes([25, 198, 51, 100, 255]), "198.51.100.128/25"),
        (bytes([9, 255, 255]), "255.128.0.0/9"),
        (bytes([1, 255]), "128.0.0.0/1"),
        (bytes([31, 198, 51, 100, 7]), "198.51.100.6/31"),
    ],
)
def test_classless_route_with_bits_behind_its_mask_has_them_zeroed(data: bytes, destination: str) -> None:
    """RFC 3442: the client zeroes what lies behind the mask."""
    assert parse(ROUTES, data + addresses("192.0.2.1")).find(ROUTES) == (route(destination, "192.0.2.1"),)


def test_classless_routes_keep_their_order_and_on_link_ones_their_zero() -> None:
    """Several routes stand one after the other; the gateway 0.0.0.0 says that a network is on the link."""
    routes = [("0.0.0.0/0", "192.0.2.1"), ("198.51.100.0/24", "0.0.0.0"), ("203.0.113.7/32", "192.0.2.9")]
    assert parse(ROUTES, encode_routes(*routes)).find(ROUTES) == tuple(route(*each) for each in routes)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"\0", "ends within a route"),
        (b"\0" + addresses("192.0.2.1")[:3], "ends within a route"),
        (bytes([24, 198, 51, 100, 192, 0, 2]), "ends within a route"),
        (bytes([32]), "ends within a route"),
        (encode_routes(("0.0.0.0/0", "192.0.2.1")) + b"\x18", "ends within a route"),
        (bytes([33]) + bytes(9), "has a prefix of 33 bits"),
        (bytes([255]) + bytes(40), "has a prefix of 255 bits"),
        (encode_routes(("0.0.0.0/0", "192.0.2.1")) + b"\x21", "has a prefix of 33 bits"),
    ],
)
@pytest.mark.parametrize("code", [ROUTES, MS_ROUTES])
def test_classless_routes_that_do_not_add_up_are_a_fault(code: int, data: bytes, fault: str) -> None:
    """A fault in one route makes all of them worthless: where the next one starts is not known."""
    assert find_fault(code, data) == fault


# --- domain search (119) -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"\7example\3org\0", ("example.org",)),
        (b"\7example\3org\0\4test\0", ("example.org", "test")),
        (b"\7example\3org\0\3eng\xc0\x00", ("example.org", "eng.example.org")),
        (b"\7example\3org\0\xc0\x08", ("example.org", "org")),
        (
            b"\7example\3org\0\3eng\xc0\x00\3lab\xc0\x0d\1a\0",
            ("example.org", "eng.example.org", "lab.eng.example.org", "a"),
        ),
        (b"\3org\0\7example\xc0\x00\xc0\x05", ("org", "example.org", "example.org")),
        (b"\0", ("",)),
        (b"", ()),
        (b"\x3f" + b"a" * 63 + b"\0", ("a" * 63,)),
        (b"\3a\nb\0", ("a\ufffdb",)),
    ],
)
def test_search_list_is_read_with_its_pointers(data: bytes, names: tuple[str, ...]) -> None:
    """A pointer stands for the rest of an earlier name, also through another pointer, and ends its own (RFC 3397)."""
    assert parse(SEARCH, data) == Options({SEARCH: names})


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xc0\x00", "has a pointer that does not point backwards"),
        (b"\1a\xc0\x00", "has a pointer that does not point backwards"),
        (b"\xc0\x02\1a\0", "has a pointer that does not point backwards"),
        (b"\1a\xc0\x02", "has a pointer that does not point backwards"),
        (b"\1a\0\1b\xc0\x03", "has a pointer that does not point backwards"),
        (b"\xc0\x02\xc0\x00", "has a pointer that does not point backwards"),
        (b"\1a\0\1b\xc0\x05\1c\xc0\x03", "has a pointer that does not point backwards"),
        (b"\1a\0\xff\xff", "has a pointer that does not point backwards"),
        (b"\1a\0\1b", "ends within a name"),
        (b"\5ab", "ends within a name"),
        (b"\1", "ends within a name"),
        (b"\7example", "ends within a name"),
        (b"\1a\0\1b\xc0", "ends within a pointer"),
        (b"\xc0", "ends within a pointer"),
        (b"\x40a", "has a label of unknown kind 0x40"),
        (b"\1a\x80a\0", "has a label of unknown kind 0x80"),
    ],
)
def test_search_list_that_leads_nowhere_is_a_fault(data: bytes, fault: str) -> None:
    """Loops, pointers forward or at themselves, and names without an end are faults, and reading them ends."""
    assert find_fault(SEARCH, data) == fault


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"\1a\0\xc0\0" + b"".join((0xC003 + 2 * i).to_bytes(2, "big") for i in range(4000)), id="pointers"
        ),
        pytest.param(
            b"\1a\0\1b\xc0\0" + b"".join(b"\1b" + (0xC003 + 4 * i).to_bytes(2, "big") for i in range(2000)), id="labels"
        ),
    ],
)
def test_search_list_with_a_name_of_no_end_is_a_fault(data: bytes) -> None:
    """A name has 255 octets at most (RFC 1035): a jumbo frame of pointers would make megabytes of text else."""
    assert find_fault(SEARCH, data) == "has a name of more than 255 bytes"


def test_search_list_with_a_long_chain_of_pointers_is_read() -> None:
    """Pointers that only lead backwards are followed to their end, each to the one before."""
    chain = b"\1a\0\xc0\0" + b"".join((0xC000 | 2 * i + 3).to_bytes(2, "big") for i in range(99))
    assert parse(SEARCH, chain).find(SEARCH) == ("a",) * 101


# --- how options are put together ----------------------------------------------------------------------------------


def test_option_in_pieces_is_joined_in_its_order() -> None:
    """RFC 3396: a value longer than 255 octets is split, wherever the split falls, and others may stand between."""
    routes = [(f"198.51.{i}.0/24", "192.0.2.9") for i in range(100)]
    data = encode_routes(*routes)
    assert len(data) == 800
    assert parse(ROUTES, data).find(ROUTES) == tuple(route(*each) for each in routes)
    scattered = encode_options([(ROUTES, data[:1]), (MASK, b"\xff\xff"), (ROUTES, data[1:200]), (MASK, b"\xff\0")])
    read = parse_options(scattered.removesuffix(END) + encode_option(ROUTES, data[200:]) + END)
    assert read == Options({ROUTES: tuple(route(*each) for each in routes), MASK: 24})


@pytest.mark.parametrize("size", [252, 256, 508, 512])
def test_option_at_the_border_of_a_piece_is_whole(size: int) -> None:
    """Nothing is lost or doubled where one piece ends and the next one begins."""
    listed = tuple(IPv4Address(0xC0000200 + i) for i in range(size // 4))
    data = b"".join(address.packed for address in listed)
    assert parse(DNS, data).find(DNS) == listed


def test_option_in_pieces_is_judged_as_a_whole() -> None:
    """An option that comes twice is one value of both: two masks are eight octets, which is no mask."""
    read = parse_options(encode_options([(MASK, b"\xff\xff\xff\0"), (MASK, b"\xff\xff\xff\0")]))
    assert read.faults == {MASK: "option 1 (subnet mask) has 8 bytes instead of 4"}


@pytest.mark.parametrize(
    ("overload", "found"),
    [
        (b"\0", ()),
        (IN_FILE, ("192.0.2.2",)),
        (IN_SNAME, ("192.0.2.3",)),
        (IN_BOTH, ("192.0.2.2", "192.0.2.3")),
    ],
)
def test_overloaded_fields_are_read_where_option_52_says_so(overload: bytes, found: tuple[str, ...]) -> None:
    """More options may stand in `file` and `sname`; they are joined in that order (RFC 3396, section 5)."""
    file, sname = (encode_options([(ROUTER, addresses(text))]).ljust(128, b"\0") for text in ("192.0.2.2", "192.0.2.3"))
    options = encode_options([(ROUTER, addresses("192.0.2.1")), (OVERLOAD, overload)])
    assert parse_options(options, file, sname[:64]).find(ROUTER) == ips("192.0.2.1", *found)


def test_overloaded_fields_without_option_52_are_what_they_were() -> None:
    """A boot file's name is not read as options."""
    assert parse_options(
        encode_options([(MESSAGE_TYPE, b"\2")]), b"pxelinux.0".ljust(128, b"\0"), b"server"
    ) == Options({MESSAGE_TYPE: 2})


def test_overload_within_a_field_is_not_followed() -> None:
    """Only option 52 of the options themselves counts: one in `file` cannot make `sname` be read."""
    file = encode_options([(OVERLOAD, IN_SNAME), (DOMAIN, b"file")])
    sname = encode_options([(DOMAIN, b"sname")])
    assert parse_options(encode_options([(OVERLOAD, IN_FILE)]), file, sname).find(DOMAIN) == "file"


@pytest.mark.parametrize(("bit", "name"), [(IN_FILE, "file"), (IN_SNAME, "sname")])
@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "the options in the {} field have no end (255)"),
        (bytes(64), "the options in the {} field have no end (255)"),
        (b"\3\4\xc0\0\2", "option 3 in the {} field runs past the end: 4 bytes announced, 3 there"),
        (b"\0\3", "option 3 in the {} field has no length"),
    ],
)
def test_fault_in_an_overloaded_field_names_the_field(bit: bytes, name: str, data: bytes, fault: str) -> None:
    """A person reads where the broken option stands."""
    fields = {"file": END, "sname": END} | {name: data}
    assert parse_options(encode_options([(OVERLOAD, bit)]), **fields).structure == (fault.format(name),)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (b"", "the options have no end (255)"),
        (b"\0\0\0", "the options have no end (255)"),
        (b"\x35\1\2", "the options have no end (255)"),
        (b"\x35\1\2\0\0", "the options have no end (255)"),
        (b"\x35\1\2\1", "option 1 has no length"),
        (b"\x35\1\2\1\4\xff\xff\xff", "option 1 runs past the end: 4 bytes announced, 3 there"),
        (b"\x35\1\2\1\4\xff\xff\xff\xff"[:-2] + END, "option 1 runs past the end: 4 bytes announced, 3 there"),
        (b"\x35\1\2\xfe\xff", "option 254 runs past the end: 255 bytes announced, 0 there"),
    ],
)
def test_options_that_are_not_closed_are_a_fault(options: bytes, fault: str) -> None:
    """What was read before stays; an option that is not all there is not read."""
    read = parse_options(options)
    assert read.structure == (fault,)
    assert dict(read.values) == ({MESSAGE_TYPE: 2} if options.startswith(b"\x35") else {})
    assert dict(read.faults) == {}


def test_octets_behind_the_end_are_ignored() -> None:
    """After option 255 there is padding, whatever it looks like."""
    assert parse_options(encode_options([(MESSAGE_TYPE, b"\2")]) + b"\x35\1\6\1\4\xff") == Options({MESSAGE_TYPE: 2})


def test_pads_between_options_are_skipped() -> None:
    """Option 0 has no length, and stands anywhere between others."""
    assert parse_options(b"\0\0\x35\1\2\0\0\0\x39\0\0\xff") == Options({MESSAGE_TYPE: 2})


# --- anything ------------------------------------------------------------------------------------------------------

KNOWN = sorted(NAMES)
octets = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=12),
    st.sampled_from([b"\xc0\0", b"\1a\xc0\2", bytes([33]) + bytes(8), b"\xff" * 300]),
)
options_of_anything = st.lists(st.tuples(st.sampled_from([*KNOWN, 82, 254]), octets), max_size=6).map(encode_options)


@given(options_of_anything | octets, options_of_anything | octets, options_of_anything | octets)
@example(b"\x34\0\xff", b"", b"")
@example(b"\x34\1\3\xff", b"\x34\1\3", b"\x34\1\3")
@example(b"\x77\xff" + b"\xc0\0" * 127 + b"\0\xff", b"", b"")
def test_options_of_any_octets_are_read_to_their_end(options: bytes, file: bytes, sname: bytes) -> None:
    """Nothing raises, everything ends, and an option that is read has either a value or a fault that names it."""
    read = parse_options(options, file, sname)
    assert not read.values.keys() & read.faults.keys()
    assert read.values.keys() | read.faults.keys() <= set(KNOWN)
    assert all(fault.startswith(f"option {code} ({NAMES[code]}) ") for code, fault in read.faults.items())
    assert len(read.structure) <= 3


seconds = st.integers(0, 2**32 - 1)
ipv4 = st.ip_addresses(v=4)
networks = st.builds(lambda address, length: IPv4Network((address, length), strict=False), ipv4, st.integers(0, 32))
labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
values = st.fixed_dictionaries(
    {},
    optional={
        MASK: st.integers(0, 32),
        **{code: st.lists(ipv4, min_size=1, max_size=80).map(tuple) for code in (ROUTER, DNS, NTP)},
        **dict.fromkeys((BROADCAST, SERVER_ID), ipv4),
        **dict.fromkeys((LEASE_TIME, T1, T2), seconds),
        **dict.fromkeys((DOMAIN, MESSAGE), st.text("ab.\u00e9\u7f51 -", max_size=300)),
        MTU: st.integers(68, 65535),
        MESSAGE_TYPE: st.integers(0, 255),
        STATIC_ROUTES: st.lists(st.builds(StaticRoute, ipv4.map(IPv4Network), ipv4), min_size=1, max_size=40).map(
            tuple
        ),
        **{
            code: st.lists(st.builds(StaticRoute, networks, ipv4), min_size=1, max_size=40).map(tuple)
            for code in (ROUTES, MS_ROUTES)
        },
        SEARCH: st.lists(names, max_size=6).map(tuple),
    },
)


def write_names(listed: tuple[str, ...], *, compressed: bool) -> bytes:
    """Write domain names, each known rest of one as a pointer if they are to be compressed."""
    written = b""
    places: dict[str, int] = {}
    for name in listed:
        rest = name
        while rest and not (compressed and rest in places):
            places.setdefault(rest, len(written))
            label, _, rest = rest.partition(".")
            written += bytes([len(label)]) + label.encode()
        written += (0xC000 | places[rest]).to_bytes(2, "big") if rest else b"\0"
    return written


def write_value(code: int, value: Any, *, compressed: bool) -> bytes:
    """Write an option's value as RFC 2132 and its successors have it."""
    if code == MASK:
        return (2**32 - 2 ** (32 - value)).to_bytes(4, "big")
    if code in {ROUTER, DNS, NTP}:
        return b"".join(address.packed for address in value)
    if code in {DOMAIN, MESSAGE}:
        return bytes(value.encode())
    if code == STATIC_ROUTES:
        return b"".join(each.destination.network_address.packed + each.gateway.packed for each in value)
    if code in {ROUTES, MS_ROUTES}:
        return b"".join(encode_route(each.destination, each.gateway) for each in value)
    if code == SEARCH:
        return write_names(value, compressed=compressed)
    if code in {BROADCAST, SERVER_ID}:
        return bytes(value.packed)
    return bytes(value.to_bytes({MTU: 2, MESSAGE_TYPE: 1}.get(code, 4), "big"))


@given(values, st.booleans(), st.randoms(use_true_random=False))
def test_options_that_are_written_are_read_back(written: dict[int, Any], compressed: bool, random: Any) -> None:
    """Any sound options, in any order and with pads between, are read as what they were."""
    order = sorted(written, key=lambda _: random.random())
    data = b"".join(
        bytes(random.randrange(3)) + encode_option(code, write_value(code, written[code], compressed=compressed))
        for code in order
    )
    assert parse_options(data + END) == Options(written)
