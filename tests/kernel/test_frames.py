"""Packet sockets on a cable between two network namespaces: what is heard, with which VLAN, and when it ends."""

import itertools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import pytest

from cni_harvester.dhcp.exchange import converse
from cni_harvester.errors import KernelRefused
from cni_harvester.kernel import namespaces
from cni_harvester.kernel.frames import DHCP_AND_GROUPS, Frame, FrameSocket, hold_udp_port, wait_for_frames
from cni_harvester.kernel.namespaces import Namespace
from cni_harvester.wire.dhcp import decode_reply
from lab.namespaces import Container
from lab.shell import run_ip
from tests.unit.wire.packets import (
    OFFER,
    SERVER,
    encode_options,
    make_ethernet,
    make_ipv4,
    make_message,
    make_offer,
    make_udp,
    pack_mac,
)

pytestmark = pytest.mark.any_kernel

NEAR_MAC, FAR_MAC = "02:00:00:00:00:05", "02:00:00:00:00:01"
EVERYWHERE = IPv4Address("255.255.255.255")
EXPERIMENT = 0x88B5
"""EtherType of IEEE 802 for local experiments, so that nobody else's frame is taken for one of the test."""
MARKS = (
    (0x28, 0, 0, 12),  # ldh [12]: EtherType
    (0x15, 1, 0, EXPERIMENT),
    (0x15, 0, 1, 0x8100),  # of an inner tag
    (0x06, 0, 0, 0xFFFFFFFF),
    (0x06, 0, 0, 0),
)
"""Lets pass the frames of the test, for a kernel may say something by itself."""
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Cable:
    """A cable: `near`, where the test listens, and `far`, each in a namespace of its own, both up."""

    near: Namespace
    far: Namespace
    container: Container
    other: Container

    def listen(self, **options: Any) -> FrameSocket:
        """Open a socket at the near end; it hears frames of the test unless another filter is given."""
        return FrameSocket("near", self.near, **({"accept": MARKS} | options))

    def listen_far(self) -> FrameSocket:
        """Open a socket at the far end for frames of the test."""
        return FrameSocket("far", self.far, accept=MARKS)

    def send(self, *frames: bytes) -> None:
        """Send frames from the far end."""
        with FrameSocket("far", self.far) as port:
            for frame in frames:
                port.send(frame)


@pytest.fixture
def cable(container: Container, other: Container) -> Iterator[Cable]:
    """A cable whose ends have no addresses, so that the kernels keep silent."""
    run_ip(
        f"link add near address {NEAR_MAC} netns {container.name} type veth "
        f"peer name far address {FAR_MAC} netns {other.name}"
    )
    run_ip("link set near addrgenmode none", "link set near up", namespace=container.name)
    run_ip("link set far addrgenmode none", "link set far up", namespace=other.name)
    # The first end to be up had no carrier then, and drops what it sends until the kernel takes note of it, which it
    # puts off for up to a second; a new length of its queue is an occasion to do so.
    run_ip("link set near txqueuelen 1001", namespace=container.name)
    with namespaces.open_namespace(container.path) as near, namespaces.open_namespace(other.path) as far:
        yield Cable(near, far, container, other)


def mark(number: int, *, tag: bytes = b"", source: str = FAR_MAC, to: str = NEAR_MAC) -> bytes:
    """Make a frame of the test, with a number to know it by."""
    return pack_mac(to) + pack_mac(source) + tag + EXPERIMENT.to_bytes(2, "big") + number.to_bytes(46, "big")


def get_number(frame: Frame) -> int:
    """Return the number of a frame of the test."""
    return int.from_bytes(frame.data[-46:], "big")


LAST = mark(999)
"""Sent behind all others: frames keep their order on a cable, so nothing more comes."""


def hear(port: FrameSocket, last: bytes = LAST) -> list[Frame]:
    """Return the frames that come, up to the last one, which is left out."""
    heard: list[Frame] = []
    until_s = time.monotonic() + PATIENCE_S
    while wait_for_frames([port], until_s):
        while (frame := port.read()) is not None:
            if frame.data == last:
                return heard
            heard.append(frame)
    raise AssertionError(f"the last frame did not come; heard {heard}")


# --- what is heard -------------------------------------------------------------------------------------------------


def make_tag(vid: int, *, priority: int = 0, kind: int = 0x8100) -> bytes:
    """Write a VLAN tag as it is on the wire."""
    return kind.to_bytes(2, "big") + (priority << 13 | vid).to_bytes(2, "big")


@pytest.mark.parametrize(
    ("tag", "vlan", "inner"),
    [
        pytest.param(b"", None, b"", id="untagged"),
        pytest.param(make_tag(1), 1, b"", id="1"),
        pytest.param(make_tag(100), 100, b"", id="100"),
        pytest.param(make_tag(4094), 4094, b"", id="4094"),
        pytest.param(make_tag(100, priority=7), 100, b"", id="100 with a priority"),
        pytest.param(make_tag(0, priority=5), None, b"", id="only a priority"),
        pytest.param(make_tag(0), None, b"", id="VID 0"),
        pytest.param(make_tag(200) + make_tag(100), 200, make_tag(100), id="two tags"),
        pytest.param(make_tag(200, kind=0x88A8), 200, b"", id="802.1ad"),
    ],
)
def test_frame_is_heard_with_the_vlan_of_its_outer_tag(
    cable: Cable, tag: bytes, vlan: int | None, inner: bytes
) -> None:
    """The tag is told beside the frame, which is without it; a tag that only gives a priority is no VLAN."""
    with cable.listen() as port:
        cable.send(mark(1, tag=tag), LAST)
        (frame,) = hear(port)
    assert frame.vlan == vlan
    assert frame.data == mark(1, tag=inner)


def test_frames_of_all_vlans_are_heard_on_one_socket_in_their_order(cable: Cable) -> None:
    """One socket hears a whole trunk."""
    vids = [1, 2, 100, 4094, 3, 100]
    with cable.listen() as port:
        cable.send(*[mark(number, tag=make_tag(vid)) for number, vid in enumerate(vids)], LAST)
        heard = hear(port)
    assert [(get_number(frame), frame.vlan) for frame in heard] == list(enumerate(vids))


def test_frame_is_told_when_it_was_read(cable: Cable) -> None:
    """In monotonic time, as deadlines are."""
    with cable.listen() as port:
        before_s = time.monotonic()
        cable.send(mark(1), LAST)
        (frame,) = hear(port)
        assert before_s <= frame.at_s <= time.monotonic()


def test_socket_does_not_hear_what_leaves(cable: Cable) -> None:
    """Neither what it sends itself, nor what another socket sends on the same interface."""
    with cable.listen() as port, cable.listen() as neighbour:
        port.send(mark(1, source=NEAR_MAC, to=FAR_MAC))
        neighbour.send(mark(2, source=NEAR_MAC, to=FAR_MAC))
        cable.send(LAST)
        assert hear(port) == []
        assert hear(neighbour) == []


def test_frame_that_is_sent_arrives_as_it_is(cable: Cable) -> None:
    """Nothing is put in front of it, or taken away."""
    with cable.listen_far() as far, cable.listen() as port:
        port.send(mark(1, source=NEAR_MAC, to=FAR_MAC))
        port.send(LAST)
        assert [frame.data for frame in hear(far)] == [mark(1, source=NEAR_MAC, to=FAR_MAC)]


def test_frames_for_other_machines_are_heard(cable: Cable) -> None:
    """A cable does not filter by MAC, nor does the socket: broadcast, multicast and strangers'."""
    to = ["ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:0e", "33:33:00:00:00:01", "02:00:00:00:00:77"]
    with cable.listen() as port:
        cable.send(*[mark(number, to=mac) for number, mac in enumerate(to)], LAST)
        assert [get_number(frame) for frame in hear(port)] == [0, 1, 2, 3]


def test_socket_knows_the_mac_of_its_interface(cable: Cable) -> None:
    """What a client asks with."""
    with cable.listen() as port:
        assert (port.mac, port.interface) == (NEAR_MAC, "near")


def test_socket_hears_only_its_own_interface(cable: Cable) -> None:
    """What comes in elsewhere in the namespace is not heard."""
    with FrameSocket("lo", cable.near, accept=MARKS) as port, cable.listen() as near:
        cable.send(mark(1), LAST)
        assert [get_number(frame) for frame in hear(near)] == [1]
        assert wait_for_frames([port], time.monotonic()) == []


# --- checksums -----------------------------------------------------------------------------------------------------


def broadcast_offer(cable: Cable) -> None:
    """Let the far kernel send an offer from a UDP socket, as a DHCP server does."""
    run_ip("address add 192.0.2.1/24 dev far", namespace=cable.other.name)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            server.bind(("192.0.2.1", 67))
            server.sendto(make_message(encode_options(OFFER.items())), ("192.0.2.255", 68))

    namespaces.run_in(cable.far, send)


def test_checksum_that_a_sender_on_this_machine_leaves_to_hardware_is_told(cable: Cable) -> None:
    """A kernel does not finish the checksums of what never meets a NIC: such a message is sound all the same."""
    with cable.listen(accept=DHCP_AND_GROUPS) as port:
        broadcast_offer(cable)
        cable.send(make_offer())
        unfinished, finished = hear_two(port)
    assert (unfinished.checksummed, finished.checksummed) == (False, True)
    replies = [decode_reply(frame.data, checksummed=frame.checksummed) for frame in (unfinished, finished)]
    assert [reply.faults for reply in replies if reply] == [(), ()]
    strict = decode_reply(unfinished.data)
    assert strict is not None
    assert strict.faults == ("the UDP checksum is wrong",)


def hear_two(port: FrameSocket) -> tuple[Frame, Frame]:
    """Return the two frames that come."""
    heard: list[Frame] = []
    until_s = time.monotonic() + PATIENCE_S
    while len(heard) < 2 and wait_for_frames([port], until_s):
        while (frame := port.read()) is not None:
            heard.append(frame)
    first, second = heard
    return first, second


# --- filters -------------------------------------------------------------------------------------------------------

DATAGRAM = make_udp(make_message(encode_options(OFFER.items())), source=SERVER, to=EVERYWHERE)


def put_in_ip(payload: bytes = DATAGRAM, *, protocol: int = 17, options: bytes = b"", fragment: int = 0) -> bytes:
    """Make an IPv4 frame from the server to all."""
    packet = make_ipv4(payload, source=SERVER, to=EVERYWHERE, protocol=protocol, options=options, fragment=fragment)
    return make_ethernet(packet)


def put_tag(frame: bytes, vid: int) -> bytes:
    """Put a tag into a frame."""
    return frame[:12] + make_tag(vid) + frame[12:]


def put_to(mac: str, frame: bytes) -> bytes:
    """Put another destination into a frame."""
    return pack_mac(mac) + frame[6:]


ALL, GROUP = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"


def make_ports(source: int, to: int) -> bytes:
    """Make a UDP frame with these ports."""
    return put_in_ip(make_udp(bytes(300), source=SERVER, to=EVERYWHERE, ports=(source, to)))


PASSING = {
    "an offer": make_offer(),
    "a tagged offer": put_tag(make_offer(), 100),
    "from another port": make_ports(4011, 68),
    "with IP options": put_in_ip(options=b"\1" * 12),
    "with as many IP options as there can be": put_in_ip(options=b"\1" * 40),
    "the first fragment": put_in_ip(DATAGRAM[:264], fragment=0x2000),
    "not to be fragmented": put_in_ip(fragment=0x4000),
    "a broadcast offer": put_to(ALL, make_offer()),
}
TO_GROUPS = {
    "a broadcast question": put_to(ALL, make_ports(68, 67)),
    "a tagged broadcast": put_tag(put_to(ALL, make_ports(68, 67)), 100),
    "a later fragment for a group": put_to(ALL, put_in_ip(fragment=0x2001)),
    "broadcast TCP": put_to(ALL, put_in_ip(protocol=6)),
    "broadcast ARP": put_to(ALL, make_ethernet(make_offer()[14:], ethertype=0x0806)),
    "multicast IPv6": put_to(GROUP, make_ethernet(make_offer()[14:], ethertype=0x86DD)),
    "a short broadcast": put_to(ALL, mark(1)),
}
HELD_BACK = {
    "a question": make_ports(68, 67),
    "between relay and server": make_ports(67, 67),
    "the next port": make_ports(67, 69),
    "the port's octets the other way round": make_ports(67, 68 << 8),
    "TCP": put_in_ip(protocol=6),
    "a later fragment": put_in_ip(fragment=0x2001),
    "the last fragment": put_in_ip(fragment=185),
    "ARP": make_ethernet(make_offer()[14:], ethertype=0x0806),
    "IPv6": make_ethernet(make_offer()[14:], ethertype=0x86DD),
    "another port where IP options move it": put_in_ip(
        make_udp(bytes(300), source=SERVER, to=EVERYWHERE, ports=(67, 69)), options=b"\1\1\1\1\0\x43\0\x44"
    ),
    "of the test": mark(1),
    "too short for a port": put_in_ip(DATAGRAM)[:36],
}


def hear_with_tags(port: FrameSocket, last: bytes) -> list[bytes]:
    """Return the frames that come as they were on the wire."""
    return [put_tag(frame.data, frame.vlan) if frame.vlan else frame.data for frame in hear(port, last)]


def test_filter_for_answers_passes_what_servers_and_relays_send_to_clients(cable: Cable) -> None:
    """Everything to UDP port 68, tagged or not, whatever the IP header's length; nothing else that is for one MAC."""
    last = make_offer(xid=999)
    names = {frame: name for name, frame in (PASSING | HELD_BACK).items()}
    with cable.listen(accept=DHCP_AND_GROUPS) as port:
        mixed = itertools.chain(*itertools.zip_longest(HELD_BACK.values(), PASSING.values()))
        cable.send(*filter(None, mixed), last)
        assert [names[frame] for frame in hear_with_tags(port, last)] == list(PASSING)


def test_filter_for_answers_passes_the_heads_of_what_is_for_groups(cable: Cable) -> None:
    """64 octets tell who speaks there; the tag is told beside them."""
    last = make_offer(xid=999)
    with cable.listen(accept=DHCP_AND_GROUPS) as port:
        cable.send(*TO_GROUPS.values(), last)
        heads = [frame[: 68 if frame[12:14] == b"\x81\0" else 64] for frame in TO_GROUPS.values()]
        assert hear_with_tags(port, last) == heads


def test_filter_for_answers_passes_whole_ones(cable: Cable) -> None:
    """Nothing is cut off what passes."""
    large = make_offer(end=bytes(900) + b"\xff")
    with cable.listen(accept=DHCP_AND_GROUPS) as port:
        cable.send(large, make_offer(xid=999))
        assert [frame.data for frame in hear(port, make_offer(xid=999))] == [large]


def test_socket_without_a_filter_hears_every_frame(cable: Cable) -> None:
    """Of all protocols, those that a filter for answers holds back as well."""
    sent = [frame for frame in (HELD_BACK | PASSING | TO_GROUPS).values() if frame[12:14] != b"\x81\0"]
    with cable.listen(accept=None) as port:
        cable.send(*sent, LAST)
        heard = [frame.data for frame in hear(port)]
    assert [data for data in heard if data in sent] == sent


def test_filter_that_is_put_in_place_of_another_counts_from_then_on(cable: Cable) -> None:
    """What was held back before is let through now, and the other way round."""
    nothing = ((0x06, 0, 0, 0),)
    everything = ((0x06, 0, 0, 0xFFFFFFFF),)
    with cable.listen(accept=everything) as port:
        cable.send(mark(1))
        port.accept(nothing)
        cable.send(mark(2))
        port.accept(everything)
        cable.send(mark(3), LAST)
        assert [get_number(frame) for frame in hear(port)] == [1, 3]


def test_frames_that_are_not_read_in_time_are_counted_as_lost(cable: Cable) -> None:
    """What did not fit is known by its number, which begins anew with each look."""
    sent = 30_000
    with cable.listen() as port:
        cable.send(mark(1), LAST)
        assert len(hear(port)) == 1
        assert port.count_lost() == 0
        cable.send(*[mark(2).ljust(1500, b"\0")] * sent)
        read = sum(1 for _ in iter(port.read, None))
        lost = port.count_lost()
        assert 0 < lost < sent
        assert read + lost == sent
        assert port.count_lost() == 0


# --- promiscuous mode ----------------------------------------------------------------------------------------------


def count_promiscuous(cable: Cable) -> tuple[int, int]:
    """Return how many hold the near end promiscuous, and in all multicast groups."""
    link = cable.container.find_link("near")
    assert link is not None
    return link["promiscuity"], link["allmulti"]


def test_promiscuous_mode_ends_with_the_socket(cable: Cable) -> None:
    """As many as want it, and none afterwards; a socket that does not ask for it does not set it."""
    assert count_promiscuous(cable) == (0, 0)
    with cable.listen():
        assert count_promiscuous(cable) == (0, 0)
    with cable.listen(promiscuous=True):
        assert count_promiscuous(cable) == (1, 1)
        with cable.listen(promiscuous=True):
            assert count_promiscuous(cable) == (2, 2)
        assert count_promiscuous(cable) == (1, 1)
    assert count_promiscuous(cable) == (0, 0)


def test_promiscuous_mode_ends_with_a_process_that_is_killed(cable: Cable) -> None:
    """Nobody has to clean up."""
    program = (
        "from cni_harvester.kernel.frames import FrameSocket\n"
        "port = FrameSocket('near', promiscuous=True)\n"
        "print('open', flush=True)\n"
        "input()\n"
    )
    enter = ["ip", "netns", "exec", cable.container.name]
    with subprocess.Popen(
        [*enter, sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert count_promiscuous(cable) == (1, 1)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert count_promiscuous(cable) == (0, 0)


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_interface_that_is_missing_is_named(cable: Cable) -> None:
    """In a namespace and in our own."""
    for namespace in (cable.near, None):
        with pytest.raises(KernelRefused) as caught:
            FrameSocket("nope0", namespace)
        assert caught.value.msg == 'cannot listen on "nope0": No such device'


def test_interface_that_is_missing_leaves_no_socket_open(cable: Cable) -> None:
    """What was opened before it was found out is closed, promiscuous mode of others untouched."""
    with cable.listen(promiscuous=True):
        for _ in range(3):
            with pytest.raises(KernelRefused):
                FrameSocket("nope0", cable.near, promiscuous=True)
        assert count_promiscuous(cable) == (1, 1)


def expect_refusal(port: FrameSocket) -> KernelRefused:
    """Wait for a socket; return the error of reading it, and fail if it takes long or does not come."""
    began_s = time.monotonic()
    assert wait_for_frames([port], began_s + PATIENCE_S) == [port]
    assert time.monotonic() - began_s < PATIENCE_S / 2
    with pytest.raises(KernelRefused) as caught:
        port.read()
    return caught.value


@pytest.mark.parametrize("change", ["link set near down", "link delete near"])
def test_interface_that_goes_away_while_listening_is_named(cable: Cable, change: str) -> None:
    """A listener wakes up and is told, at once."""
    with cable.listen() as port:
        run_ip(change, namespace=cable.container.name)
        error = expect_refusal(port)
    assert error.msg == 'cannot listen on "near": Network is down'
    assert error.details == "it went down, or away, meanwhile"


def test_interface_that_is_down_from_the_beginning_is_named(cable: Cable) -> None:
    """Nothing would ever be heard there."""
    run_ip("link set near down", namespace=cable.container.name)
    with cable.listen() as port:
        assert expect_refusal(port).msg == 'cannot listen on "near": Network is down'


def test_interface_that_goes_down_ends_a_conversation(cable: Cable) -> None:
    """With an error, and not after all the time that it was given."""
    began_s = time.monotonic()
    with cable.listen() as port, pytest.raises(KernelRefused) as caught:
        converse(
            [port],
            lambda _: run_ip("link set near down", namespace=cable.container.name),
            lambda _port, _frame: False,
            until_s=began_s + 60,
        )
    assert caught.value.msg == 'cannot listen on "near": Network is down'
    assert time.monotonic() - began_s < PATIENCE_S


@pytest.mark.parametrize("change", ["link set near down", "link delete near"])
def test_interface_that_takes_no_frame_is_named(cable: Cable, change: str) -> None:
    """A question that cannot be sent is an error, not a question that nobody answers."""
    with cable.listen() as port:
        run_ip(change, namespace=cable.container.name)
        for _ in range(2):  # the first error may be the one that waited for a reader
            with pytest.raises(KernelRefused) as caught:
                port.send(mark(1))
    assert caught.value.msg.startswith('cannot send on "near": ')
    assert caught.value.details == "it went down, or away, meanwhile"


def test_frame_that_is_too_large_is_refused_with_the_reason(cable: Cable) -> None:
    """The largest that fits passes."""
    run_ip("link set near mtu 1400", namespace=cable.container.name)
    with cable.listen() as port, cable.listen_far() as far:
        port.send(mark(1).ljust(1400 + 14, b"\0"))
        with pytest.raises(KernelRefused) as caught:
            port.send(mark(2).ljust(1400 + 14 + 5, b"\0"))
        assert caught.value.msg == 'cannot send on "near": Message too long'
        assert caught.value.details == "the frame is larger than the interface's MTU"
        port.send(LAST)
        assert [len(frame.data) for frame in hear(far)] == [1414]


# --- waiting -------------------------------------------------------------------------------------------------------


def test_waiting_ends_at_its_time(cable: Cable) -> None:
    """Without a frame nothing is ready, and a time that is over is not waited for."""
    with cable.listen() as port:
        began_s = time.monotonic()
        assert wait_for_frames([port], began_s + 0.05) == []
        assert time.monotonic() >= began_s + 0.05
        assert wait_for_frames([port], began_s - 10) == []
        assert port.read() is None


def test_waiting_tells_which_socket_has_a_frame(cable: Cable) -> None:
    """Of several only those that can be read."""
    with cable.listen() as port, cable.listen_far() as far:
        cable.send(mark(1))
        assert wait_for_frames([far, port], time.monotonic() + PATIENCE_S) == [port]
        far.send(mark(2))
        port.send(mark(3))
        assert wait_for_frames([far, port], time.monotonic() + PATIENCE_S) == [far, port]


@dataclass
class Talk:
    """A conversation: when questions were asked, and what was heard."""

    asked_s: list[float]
    heard: list[Frame]


def test_conversation_repeats_the_question_by_its_waits(cable: Cable) -> None:
    """At once, and then after each wait; when there are no more waits it only listens, to the end."""
    talk = Talk([], [])
    began_s = time.monotonic()
    with cable.listen() as port:
        ended = converse(
            [port],
            talk.asked_s.append,
            lambda _port, _frame: False,
            until_s=began_s + 0.6,
            waits=iter([0.05, 0.15]),
        )
    assert ended is False
    assert time.monotonic() >= began_s + 0.6
    first_s, second_s, third_s = talk.asked_s
    assert first_s < 0.05 <= second_s < 0.15
    assert second_s + 0.15 <= third_s < 0.6


def test_conversation_asks_by_rfc_2131_unless_told_otherwise(cable: Cable) -> None:
    """The first repetition comes after three seconds or more."""
    asked_s: list[float] = []
    with cable.listen() as port:
        converse([port], asked_s.append, lambda _port, _frame: False, until_s=time.monotonic() + 0.2)
    assert len(asked_s) == 1


def test_conversation_stops_when_an_answer_is_enough(cable: Cable) -> None:
    """At once, with what comes behind left unread."""
    numbers: list[int] = []

    def ask(_: float) -> None:
        cable.send(mark(1), mark(2), mark(3))

    def heard(_: FrameSocket, frame: Frame) -> bool:
        numbers.append(get_number(frame))
        return numbers[-1] == 2

    began_s = time.monotonic()
    with cable.listen() as port:
        assert converse([port], ask, heard, until_s=began_s + 60) is True
        rest = port.read()
    assert time.monotonic() - began_s < PATIENCE_S
    assert numbers == [1, 2]
    assert rest is not None
    assert get_number(rest) == 3


def test_conversation_takes_the_answer_to_a_later_question(cable: Cable) -> None:
    """The first question was lost, or its answer was."""
    asked_s: list[float] = []

    def ask(elapsed_s: float) -> None:
        asked_s.append(elapsed_s)
        if len(asked_s) == 3:
            cable.send(mark(7))

    with cable.listen() as port:
        ended = converse(
            [port],
            ask,
            lambda _port, _frame: True,
            until_s=time.monotonic() + 60,
            waits=itertools.repeat(0.02),
        )
    assert (ended, len(asked_s)) == (True, 3)


def test_conversation_on_several_sockets_tells_which_one_heard(cable: Cable) -> None:
    """The machine's port and the uplink are listened on together."""
    found: list[tuple[str, int]] = []

    def heard(port: FrameSocket, frame: Frame) -> bool:
        found.append((port.interface, get_number(frame)))
        return len(found) == 2

    with cable.listen() as near, cable.listen_far() as far:

        def ask(_: float) -> None:
            far.send(mark(1))
            near.send(mark(2))

        assert converse([near, far], ask, heard, until_s=time.monotonic() + 60) is True
    assert sorted(found) == [("far", 2), ("near", 1)]


def test_conversation_in_a_flood_ends_at_its_time(cable: Cable) -> None:
    """There is always one more frame to be read; the time is over all the same."""
    count = 0

    with cable.listen_far() as far, cable.listen() as port:

        def heard(_port: FrameSocket, _frame: Frame) -> bool:
            nonlocal count
            count += 1
            far.send(mark(count))
            return False

        began_s = time.monotonic()
        assert converse([port], lambda _: far.send(mark(0)), heard, until_s=began_s + 0.3) is False
        assert began_s + 0.3 <= time.monotonic() < began_s + PATIENCE_S
    assert count > 100


def test_conversation_in_a_flood_repeats_the_question(cable: Cable) -> None:
    """There is always one more frame to be read; the question's time comes all the same."""
    asked_s: list[float] = []
    with cable.listen_far() as far, cable.listen() as port:

        def ask(elapsed_s: float) -> None:
            asked_s.append(elapsed_s)
            far.send(mark(0))

        def heard(_port: FrameSocket, _frame: Frame) -> bool:
            far.send(mark(1))
            return False

        converse([port], ask, heard, until_s=time.monotonic() + 0.5, waits=itertools.repeat(0.1))
    assert len(asked_s) >= 3


def test_conversation_whose_time_is_over_asks_nothing(cable: Cable) -> None:
    """No question without time for an answer."""
    asked_s: list[float] = []
    with cable.listen() as port:
        assert converse([port], asked_s.append, lambda _port, _frame: True, until_s=time.monotonic()) is False
    assert asked_s == []


# --- holding a port ------------------------------------------------------------------------------------------------


def ask_port(cable: Cable, timeout_s: float) -> bool:
    """Send a datagram from the far end to UDP port 68 of the near one; return whether it is refused in that time."""

    def ask() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("192.0.2.5", 68))
            client.settimeout(timeout_s)
            client.send(b"hello")
            try:
                client.recv(1)
            except ConnectionRefusedError:
                return True
            except TimeoutError:
                return False
            raise AssertionError("somebody answered")

    return namespaces.run_in(cable.far, ask)


def test_udp_port_that_is_held_is_not_reported_as_unreachable(cable: Cable) -> None:
    """A server must not be told that nobody is there while a packet socket listens; afterwards it is as before."""
    run_ip("address add 192.0.2.5/24 dev near", namespace=cable.container.name)
    run_ip("address add 192.0.2.1/24 dev far", namespace=cable.other.name)
    assert ask_port(cable, PATIENCE_S) is True
    with hold_udp_port(cable.near, 68), hold_udp_port(cable.near, 68):
        assert ask_port(cable, 0.2) is False
    assert ask_port(cable, PATIENCE_S) is True
