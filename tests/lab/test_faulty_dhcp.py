"""The lab's faulty DHCP server: each fault as it is on the wire, byte by byte."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lab import namespaces
from lab.faulty_dhcp import FaultyServer, serve_faults
from lab.faulty_dhcp.faults import FAULTS
from lab.namespaces import make_container
from lab.shell import run_ip

from .wire import CLIENT_MAC, XID, Frame, Wire, ask, parse_options

MASK, ROUTER, LEASE_TIME, OVERLOAD, MESSAGE_TYPE, SERVER_ID, ROUTES, END = 1, 3, 51, 52, 53, 54, 121, 255
OFFER, ACK, NAK = b"\2", b"\5", b"\6"
MTU = 9000
MAC = "02:00:00:00:00:01"
DISCOVER, REQUEST, INFORM = 1, 3, 8


@dataclass(frozen=True)
class Bench:
    """The faulty server, and the wire that it is on."""

    server: FaultyServer
    wire: Wire

    def ask(self, *faults: str, count: int = 1, timeout_s: float = 2, question: bytes = b"") -> list[Frame]:
        """Ask a server of these faults; return the answers, and fail if there are more than so many."""
        self.server.use(*faults)
        self.wire.forget()
        self.wire.send(question or ask())
        answers = self.wire.collect(count, timeout_s)
        assert self.wire.collect(1, 0.02) == []
        return answers


@pytest.fixture(scope="module")
def bench(own_machine: None) -> Iterator[Bench]:
    """One server for all tests of this file: it takes up new faults faster than it starts."""
    namespaces.enter_fresh_node()
    with make_container("faulty") as container:
        run_ip(
            f"link add wire mtu {MTU} type veth peer name eth0 mtu {MTU} address {MAC} netns {container.name}",
            "link set wire up",
        )
        run_ip("link set eth0 up", namespace=container.name)
        wire = Wire("wire")
        with serve_faults(container, "eth0", "none") as server:
            yield Bench(server, wire)
        wire.close()


def sound(answer: Frame, *changed: int) -> bool:
    """Whether an answer is as it should be, but for some options."""
    message = answer.message
    expected = {
        MESSAGE_TYPE: OFFER,
        SERVER_ID: bytes([192, 0, 2, 1]),
        LEASE_TIME: (600).to_bytes(4, "big"),
        MASK: bytes([255, 255, 255, 0]),
        ROUTER: bytes([192, 0, 2, 1]),
    }
    return (
        (answer.source, answer.vlan, answer.yiaddr) == (MAC, 0, "192.0.2.77")
        and answer.ip_is_sound
        and answer.udp_is_sound
        and message[:8] == bytes([2, 1, 6, 0]) + XID.to_bytes(4, "big")
        and message[28:34].hex(":") == CLIENT_MAC
        and message[236:240] == b"\x63\x82\x53\x63"
        and len(message) >= 300
        and all(answer.get(code) == value for code, value in expected.items() if code not in changed)
        and answer.list_options()[-1] == (END, b"")
    )


def has(code: int, value: bytes | None) -> Callable[[Frame], bool]:
    """Return what tells whether an answer is sound but for one option, which has this value or is not there."""
    return lambda answer: sound(answer, code) and answer.get(code) == value


def gives(address: str) -> Callable[[Frame], bool]:
    """Return what tells whether an answer gives away this address."""
    return lambda answer: answer.yiaddr == address and answer.get(MESSAGE_TYPE) == OFFER and answer.udp_is_sound


def is_from(mac: str, server: list[int], router: list[int], yiaddr: str) -> Callable[[Frame], bool]:
    """Return what tells whether an answer is another server's, and sound in itself."""
    return lambda answer: (
        (answer.source, answer.get(SERVER_ID), answer.ip[12:16]) == (mac, bytes(server), bytes(server))
        and (answer.get(ROUTER), answer.get(MASK)) == (bytes(router), b"\xff\xff\xff\0")
        and (answer.yiaddr, answer.udp_is_sound) == (yiaddr, True)
    )


def fills_the_frame(answer: Frame) -> bool:
    """Whether the options fill the frame, and those that matter come last."""
    return sound(answer) and len(answer.ip) > MTU - 3 and [code for code, _ in answer.list_options()][-3:-1] == [1, 3]


def is_overloaded(answer: Frame) -> bool:
    """Whether option 52 names both fields, and they have what the options have not."""
    sname, file = list(parse_options(answer.message[44:108])), list(parse_options(answer.message[108:236]))
    return (
        sound(answer, MASK, ROUTER)
        and answer.get(OVERLOAD) == b"\3"
        and {answer.get(MASK), answer.get(ROUTER)} == {None}
        and file == [(MASK, b"\xff\xff\xff\0"), (END, b"")]
        and sname == [(ROUTER, bytes([192, 0, 2, 1])), (END, b"")]
    )


def is_split(answer: Frame) -> bool:
    """Whether there are two parts of option 121 with another option between, the default route at the very end."""
    parts = [(code, len(value)) for code, value in answer.list_options() if code in (ROUTES, ROUTER)]
    routes = answer.get(ROUTES) or b""
    return (
        sound(answer)
        and [code for code, _ in parts] == [ROUTES, ROUTER, ROUTES]
        and parts[0][1] == 255
        and routes[-5:] == bytes([0, 192, 0, 2, 254])
        and routes[:7] == bytes([16, 10, 0, 192, 0, 2, 1])
    )


def runs_past_the_end(answer: Frame) -> bool:
    """Whether the last option says that it is longer than what is left."""
    code, value = answer.list_options()[-1]
    return answer.message[-4:-2] == bytes([code, 200]) and len(value) == 2


CHECKS: dict[str, Callable[[Frame], bool]] = {
    "none": sound,
    "slow": sound,
    "duplicate": sound,
    "arp-conflict": sound,
    "short": lambda a: len(a.message) == 200 and a.message[4:8] == XID.to_bytes(4, "big"),
    "no-options": lambda a: len(a.message) == 236 and a.yiaddr == "192.0.2.77",
    "bad-cookie": lambda a: a.message[236:240] == b"\x63\x82\x53\x64" and a.get(MASK) is not None,
    "option-past-end": runs_past_the_end,
    "no-end": lambda a: a.list_options()[-1][0] == ROUTER and a.message.endswith(bytes([192, 0, 2, 1])),
    "bad-xid": lambda a: a.message[4:8] == bytes(0xFF ^ byte for byte in XID.to_bytes(4, "big")),
    "bad-chaddr": lambda a: a.message[28:34].hex(":") == "00:00:5e:00:53:99",
    "wrong-op": lambda a: a.message[:2] == b"\1\1" and a.get(MESSAGE_TYPE) == OFFER,
    "wrong-htype": lambda a: a.message[:2] == b"\2\6" and a.get(MESSAGE_TYPE) == OFFER,
    "wrong-message-type": has(MESSAGE_TYPE, ACK),
    "no-message-type": has(MESSAGE_TYPE, None),
    "nak": lambda a: (a.get(MESSAGE_TYPE), a.get(MASK), a.yiaddr) == (NAK, None, "0.0.0.0"),
    "bad-udp-checksum": lambda a: a.ip_is_sound and not a.udp_is_sound and a.ip[26:28] != b"\0\0",
    "bad-ip-checksum": lambda a: not a.ip_is_sound and a.udp_is_sound,
    "other-vlan": lambda a: a.vlan == 999 and a.yiaddr == "192.0.2.77",
    "no-server-id": has(SERVER_ID, None),
    "no-lease-time": has(LEASE_TIME, None),
    "zero-lease": has(LEASE_TIME, bytes(4)),
    "no-mask": has(MASK, None),
    "non-contiguous-mask": has(MASK, bytes([255, 0, 255, 0])),
    "zero-mask": has(MASK, bytes(4)),
    "full-mask": has(MASK, b"\xff" * 4),
    "no-router": has(ROUTER, None),
    "router-outside": has(ROUTER, bytes([203, 0, 113, 1])),
    "router-is-network": has(ROUTER, bytes([192, 0, 2, 0])),
    "router-is-broadcast": has(ROUTER, bytes([192, 0, 2, 255])),
    "router-is-offer": has(ROUTER, bytes([192, 0, 2, 77])),
    "router-3-bytes": has(ROUTER, bytes([192, 0, 2])),
    "router-5-bytes": has(ROUTER, bytes([192, 0, 2, 1, 0])),
    "zero-yiaddr": gives("0.0.0.0"),
    "yiaddr-is-network": gives("192.0.2.0"),
    "yiaddr-is-broadcast": gives("192.0.2.255"),
    "yiaddr-is-multicast": gives("224.0.0.77"),
    "yiaddr-is-loopback": gives("127.0.0.77"),
    "yiaddr-is-server": gives("192.0.2.1"),
    "bad-121-prefix": lambda a: sound(a) and (a.get(ROUTES) or b"")[0] == 33,
    "bad-121-truncated": lambda a: sound(a) and a.get(ROUTES) == bytes([0, 192, 0, 2]),
    "rogue": is_from("00:00:5e:00:53:66", [198, 51, 100, 1], [198, 51, 100, 1], "198.51.100.77"),
    "conflicting": is_from("00:00:5e:00:53:77", [192, 0, 2, 2], [192, 0, 2, 254], "192.0.2.78"),
    "infinite-lease": has(LEASE_TIME, b"\xff" * 4),
    "two-routers": has(ROUTER, bytes([192, 0, 2, 1, 192, 0, 2, 254])),
    "overload": is_overloaded,
    "huge": fills_the_frame,
    "long-options": is_split,
    "routes-121": lambda a: sound(a) and a.get(ROUTES) == bytes([0, 192, 0, 2, 254]),
}
"""What the answer to a DISCOVER must be, by fault. How many there are, and when, has tests of its own."""


def test_every_fault_is_checked() -> None:
    """Each is in the table above, or has a test by its name."""
    assert FAULTS.keys() == CHECKS.keys() | {"silent", "flood"}


@pytest.mark.parametrize("fault", sorted(CHECKS.keys() - {"slow", "duplicate"}))
def test_fault_is_on_the_wire(bench: Bench, fault: str) -> None:
    """One DISCOVER gets one answer, which has this fault and no other."""
    (answer,) = bench.ask(fault)
    assert CHECKS[fault](answer), answer.raw.hex(" ")


def test_silent_server_says_nothing(bench: Bench) -> None:
    """It has heard the question all the same."""
    assert bench.ask("silent", timeout_s=0.2) == []
    assert CLIENT_MAC in bench.server.list_clients()


def test_slow_server_answers_after_three_seconds(bench: Bench) -> None:
    """Not before; and it is not deaf in the meantime."""
    asked = time.monotonic()
    assert bench.ask("slow", timeout_s=2.5) == []
    (answer,) = bench.wire.collect(1)
    assert sound(answer)
    assert 2.9 < time.monotonic() - asked < 4


def test_duplicate_answer_comes_three_times(bench: Bench) -> None:
    """All three are the same."""
    answers = bench.ask("duplicate", count=3)
    assert len(answers) == 3
    assert len(set(answers)) == 1


def test_flood_is_a_thousand_offers(bench: Bench) -> None:
    """Within seconds, of many addresses, all of them for the client."""
    asked = time.monotonic()
    answers = bench.ask("flood", count=1000, timeout_s=20)
    assert len(answers) == 1000
    assert time.monotonic() - asked < 10
    assert len({answer.yiaddr for answer in answers}) > 200
    assert {answer.message[4:8] for answer in answers} == {XID.to_bytes(4, "big")}


def test_several_faults_give_several_answers(bench: Bench) -> None:
    """A sound server and a rogue one, in this order."""
    first, second = bench.ask("none", "rogue", count=2)
    assert sound(first)
    assert CHECKS["rogue"](second)


def test_request_is_acknowledged_by_the_server_that_it_names(bench: Bench) -> None:
    """The other one stays silent, as its offer was not taken."""
    wanted, server = (50, bytes([198, 51, 100, 77])), (54, bytes([198, 51, 100, 1]))
    (answer,) = bench.ask("none", "rogue", question=ask(REQUEST, wanted, server))
    assert (answer.get(MESSAGE_TYPE), answer.get(SERVER_ID), answer.yiaddr) == (ACK, server[1], "198.51.100.77")


def test_inform_is_acknowledged_without_a_lease(bench: Bench) -> None:
    """Mask and router are in it; address and lease time are not (RFC 2131, section 4.3.5)."""
    (answer,) = bench.ask("none", question=ask(INFORM))
    assert (answer.get(MESSAGE_TYPE), answer.get(LEASE_TIME), answer.yiaddr) == (ACK, None, "0.0.0.0")
    assert None not in (answer.get(MASK), answer.get(ROUTER))


def test_client_without_broadcast_flag_is_answered_alone(bench: Bench) -> None:
    """The frame goes to its MAC, the packet to its address to be."""
    (answer,) = bench.ask("none", question=ask(flags=0))
    assert (answer.raw[:6].hex(":"), answer.ip[16:20]) == (CLIENT_MAC, bytes([192, 0, 2, 77]))


def test_question_with_a_tag_is_not_for_a_server_without(bench: Bench) -> None:
    """It would be another network's."""
    assert bench.ask("none", question=ask(vlan=100), timeout_s=0.2) == []
