"""ARP: the question that changes nobody's cache, and who is believed to have an address."""

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.wire.arp import ArpAnswer, decode_arp, encode_request
from tests.unit.wire.packets import CLIENT, CLIENT_MAC, SERVER, SERVER_MAC, make_ethernet, pack_mac

NOBODY = IPv4Address("0.0.0.0")
BROADCAST_MAC, NO_MAC = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
REQUEST, REPLY = 1, 2
macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
ipv4 = st.ip_addresses(v=4)


def make_arp(
    op: int,
    sender_mac: str,
    sender: IPv4Address,
    target_mac: str = NO_MAC,
    target: IPv4Address = CLIENT,
    *,
    kinds: tuple[int, int, int, int] = (1, 0x0800, 6, 4),
) -> bytes:
    """Write an ARP packet as RFC 826 has it, in its frame."""
    addresses = pack_mac(sender_mac) + sender.packed + pack_mac(target_mac) + target.packed
    return make_ethernet(struct.pack("!HHBBH", *kinds, op) + addresses, ethertype=0x0806)


# --- asking --------------------------------------------------------------------------------------------------------


def test_request_is_a_probe_unless_there_is_a_sender() -> None:
    """RFC 5227, section 2.1.1: by broadcast, from our MAC and nobody's address, so that no cache is changed by it."""
    probe = make_arp(REQUEST, CLIENT_MAC, NOBODY, NO_MAC, SERVER)
    assert encode_request(CLIENT_MAC, SERVER) == pack_mac(BROADCAST_MAC) + pack_mac(CLIENT_MAC) + probe[12:]


def test_request_with_a_sender_says_who_asks() -> None:
    """From an address of our own, whose owner the others may then learn."""
    asked = make_arp(REQUEST, CLIENT_MAC, CLIENT, NO_MAC, SERVER)
    assert encode_request(CLIENT_MAC, SERVER, sender=CLIENT)[12:] == asked[12:]


@pytest.mark.parametrize("vlan", [1, 100, 4094])
def test_request_in_a_vlan_has_its_tag(vlan: int) -> None:
    """The tag stands between the MACs and what an untagged request has, with priority 0."""
    untagged = encode_request(CLIENT_MAC, SERVER)
    assert encode_request(CLIENT_MAC, SERVER, vlan=vlan) == (
        untagged[:12] + b"\x81\0" + vlan.to_bytes(2, "big") + untagged[12:]
    )


def test_request_without_a_vlan_has_no_tag() -> None:
    """None is untagged."""
    assert encode_request(CLIENT_MAC, SERVER, vlan=None) == encode_request(CLIENT_MAC, SERVER)


@given(macs, ipv4, ipv4)
def test_request_of_any_values_is_made(mac: str, target: IPv4Address, sender: IPv4Address) -> None:
    """MACs and addresses stand where RFC 826 has them, whatever they are."""
    expected = pack_mac(BROADCAST_MAC) + pack_mac(mac) + make_arp(REQUEST, mac, sender, NO_MAC, target)[12:]
    assert encode_request(mac, target, sender=sender) == expected


# --- hearing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "is_reply"), [(REQUEST, False), (REPLY, True)])
def test_sender_of_a_request_or_reply_has_its_address(op: int, is_reply: bool) -> None:
    """Both say which MAC an address has; only one of them is an answer."""
    assert decode_arp(make_arp(op, SERVER_MAC, SERVER)) == ArpAnswer(SERVER, SERVER_MAC, is_reply=is_reply)


def test_gratuitous_arp_says_who_has_an_address() -> None:
    """An announcement asks for its sender's own address (RFC 5227, section 2.3)."""
    answer = decode_arp(make_arp(REQUEST, SERVER_MAC, SERVER, NO_MAC, SERVER))
    assert answer == ArpAnswer(SERVER, SERVER_MAC, is_reply=False)


def test_answer_that_another_station_sends_counts_by_what_it_says() -> None:
    """The MAC within the ARP packet is what caches learn, not that of the frame."""
    answer = decode_arp(make_arp(REPLY, "02:00:00:00:00:99", SERVER))
    assert answer is not None
    assert answer.mac == "02:00:00:00:00:99"


@pytest.mark.parametrize("padding", [bytes(18), b"\xff" * 22])
def test_answer_in_a_padded_frame_is_read(padding: bytes) -> None:
    """Ethernet frames have 60 octets or more; ARP has 42."""
    assert decode_arp(make_arp(REPLY, SERVER_MAC, SERVER) + padding) == ArpAnswer(SERVER, SERVER_MAC, is_reply=True)


def test_our_own_probe_announces_nothing() -> None:
    """A probe, ours or another's, says only that somebody looks for an address."""
    assert decode_arp(encode_request(CLIENT_MAC, SERVER)) is None
    assert decode_arp(make_arp(REPLY, SERVER_MAC, NOBODY)) is None


@pytest.mark.parametrize("op", [0, 3, 4, 8, 9, 0x0102, 0xFFFF])
def test_other_operations_announce_nothing(op: int) -> None:
    """Reverse and inverse ARP have other meanings."""
    assert decode_arp(make_arp(op, SERVER_MAC, SERVER)) is None


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param((6, 0x0800, 6, 4), id="hardware of another kind"),
        pytest.param((1, 0x86DD, 6, 4), id="another protocol"),
        pytest.param((1, 0x0800, 8, 4), id="long MACs"),
        pytest.param((1, 0x0800, 6, 16), id="long addresses"),
        pytest.param((1, 0x0800, 0, 0), id="no addresses"),
    ],
)
def test_arp_of_other_kinds_of_addresses_is_nothing(kinds: tuple[int, int, int, int]) -> None:
    """Its octets stand elsewhere, so nothing is read from it."""
    assert decode_arp(make_arp(REPLY, SERVER_MAC, SERVER, kinds=kinds)) is None


@pytest.mark.parametrize("ethertype", [0x0800, 0x0807, 0x8035, 0x8100])
def test_frame_of_another_protocol_is_nothing(ethertype: int) -> None:
    """The EtherType decides."""
    assert decode_arp(make_ethernet(make_arp(REPLY, SERVER_MAC, SERVER)[14:], ethertype=ethertype)) is None


def test_answer_that_is_cut_off_is_nothing() -> None:
    """No part of an answer passes for the whole."""
    whole = make_arp(REPLY, SERVER_MAC, SERVER)
    assert [size for size in range(len(whole) + 1) if decode_arp(whole[:size])] == [42]


@given(st.binary(max_size=80) | st.binary(max_size=60).map(bytes.fromhex("0806000108000604").__add__))
def test_frame_of_any_octets_does_not_raise(data: bytes) -> None:
    """Whatever is on the network, the answer is a value, and without ARP's own head it is nothing."""
    answer = decode_arp(data)
    assert answer is None or data[12:20] == bytes.fromhex("0806000108000604")


@given(macs, ipv4, st.binary(max_size=40), st.sampled_from([REQUEST, REPLY]))
def test_answer_of_any_values_is_read(mac: str, address: IPv4Address, rest: bytes, op: int) -> None:
    """MAC and address come out as they were written; 0.0.0.0 is nobody's."""
    answer = decode_arp(make_arp(op, mac, address) + rest)
    assert answer == (ArpAnswer(address, mac, op == REPLY) if address != NOBODY else None)
