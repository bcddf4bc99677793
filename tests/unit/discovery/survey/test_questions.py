"""The patched question is the encoded one, whatever the VLAN."""

import dataclasses
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.discovery.survey.questions import Questions, patch, update_checksum
from cni_harvester.wire import arp, dhcp
from cni_harvester.wire.dhcp import Question, Reply
from cni_harvester.wire.layers import Dot1Q, Ether, checksum

MAC = "02:00:00:00:00:05"
xids = st.integers(0, 2**32 - 1)
macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))


@given(macs, xids, xids, st.integers(0, 0xFFFF), st.integers(0, 4094))
def test_patched_question_equals_the_encoded_one(mac: str, first: int, xid: int, elapsed_s: int, vlan: int) -> None:
    """All of it, checksum included; the tag is where scapy puts it."""
    template = dhcp.encode_question(Question(dhcp.DISCOVER, mac, first, broadcast=True))
    whole = dhcp.encode_question(Question(dhcp.DISCOVER, mac, xid, elapsed_s=elapsed_s, broadcast=True))
    if vlan:
        frame = Ether(whole)
        whole = bytes(Ether(src=frame.src, dst=frame.dst) / Dot1Q(vlan=vlan, type=0x0800) / whole[14:])
    assert patch(template, vlan=vlan, xid=xid, elapsed_s=elapsed_s) == whole


@given(st.binary(min_size=2, max_size=40).filter(lambda d: len(d) % 2 == 0 and any(d)), st.data())
def test_updated_checksum_covers_the_changed_data(data: bytes, draw: st.DataObject) -> None:
    """RFC 1624: as if it was computed anew; but for the two forms of zero, which are equal."""
    new = draw.draw(st.binary(min_size=len(data), max_size=len(data)).filter(any))
    assert update_checksum(checksum(data), data, new) % 0xFFFF == checksum(new) % 0xFFFF


def test_checksum_is_never_zero() -> None:
    """A UDP checksum of 0 would say that there is none (RFC 768): all transactions of one half-word."""
    questions = Questions(MAC, 0)
    frames = (patch(questions.make_discover(0), vlan=0, xid=xid, elapsed_s=0) for xid in range(0x10000))
    assert sum(frame[40:42] == b"\xff\xff" for frame in frames) >= 1
    assert all(patch(questions.make_discover(0), vlan=0, xid=x, elapsed_s=0)[40:42] != b"\0\0" for x in range(0x10000))


@given(xids, st.integers(0, 4094))
def test_answer_tells_the_vlan_of_its_question(first: int, vlan: int) -> None:
    """Modulo 2^32, and for our MAC only."""
    questions = Questions(MAC, first)
    frame = questions.make_discover(vlan)
    xid = int.from_bytes(frame[50:54] if vlan else frame[46:50], "big")
    reply = Reply(MAC, IPv4Address("192.0.2.1"), xid=xid, client_mac=MAC)
    assert questions.find_vlan(reply) == vlan
    assert questions.find_vlan(dataclasses.replace(reply, client_mac="02:00:00:00:00:06")) is None
    assert questions.find_vlan(dataclasses.replace(reply, xid=(first - 1) % 2**32)) is None


def test_questions_are_discovers_and_arp() -> None:
    """Broadcast, from our MAC, tagged; the second time with the seconds since the first."""
    questions = Questions(MAC, 0xFFFFFFFF)
    assert questions.make_discover(1)[:18] == bytes.fromhex("ffffffffffff020000000005810000010800")
    assert questions.make_discover(0, elapsed_s=70000)[46:52] == bytes.fromhex("ffffffffffff")
    assert questions.make_discover(1)[50:54] == bytes(4)
    gateway = IPv4Address("192.0.2.1")
    assert questions.make_arp(7, gateway) == arp.encode_request(MAC, gateway, vlan=7)
    assert questions.make_arp(0, gateway) == arp.encode_request(MAC, gateway)
