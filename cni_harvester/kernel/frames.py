"""Raw frames on one interface: a packet socket that tells the VLAN of what it hears. packet(7).

The kernel takes the outer VLAN tag off before a packet socket sees the frame, and tells it beside (PACKET_AUXDATA), so
one socket hears all VLANs of an interface. What was set for a socket (promiscuous mode, filter) ends with it, however
the process ends.
"""

import contextlib
import ctypes
import errno as errnos
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cni_harvester.errors import KernelRefused
from cni_harvester.kernel import namespaces
from cni_harvester.kernel.handle import refused

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_STATISTICS, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 1, 6, 8, 23
_PACKET_MR_PROMISC, _PACKET_MR_ALLMULTI = 1, 2
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_ETH_P_ALL = 0x0003
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata, linux/if_packet.h
_STATISTICS = struct.Struct("=II")  # struct tpacket_stats
_STATUS_CHECKSUM_NOT_READY, _STATUS_VLAN_VALID = 1 << 3, 1 << 4
_VID_MASK = 0x0FFF
_RECEIVE_BYTES = 1 << 16
_RECEIVE_BUFFER_BYTES = 8 << 20
"""Survives the burst when a few thousand questions are answered at once."""

Instruction = tuple[int, int, int, int]
"""One of a classic BPF program: code, jump if true, jump if false, operand (Documentation/networking/filter.rst)."""

DHCP_AND_GROUPS: tuple[Instruction, ...] = (
    (0x28, 0, 0, 12),  # ldh [12]: EtherType, behind the tag that the kernel took off
    (0x15, 0, 8, 0x0800),  # IPv4?
    (0x30, 0, 0, 23),  # ldb [23]: protocol
    (0x15, 0, 6, 17),  # UDP?
    (0x28, 0, 0, 20),  # ldh [20]: fragment offset
    (0x45, 4, 0, 0x1FFF),  # a later fragment has no ports
    (0xB1, 0, 0, 14),  # ldx: length of the IP header
    (0x48, 0, 0, 16),  # ldh [x + 16]: destination port
    (0x15, 0, 1, 68),  # a DHCP client's?
    (0x06, 0, 0, 0xFFFFFFFF),  # the whole frame
    (0x30, 0, 0, 0),  # ldb [0]: destination MAC
    (0x45, 0, 1, 0x01),  # for a group?
    (0x06, 0, 0, 64),  # its head
    (0x06, 0, 0, 0),  # nothing
)
"""Lets pass what DHCP servers and relays send to clients, and the heads of broadcasts and multicasts: all that is worth
hearing on an uplink that is in use, and little enough."""


@dataclass(frozen=True)
class Frame:
    """A frame that was heard.

    Attributes:
        data: from the destination MAC on, without the outer VLAN tag.
        vlan: VID of the outer tag; None for an untagged frame, and for a tag that only gives a priority (VID 0).
        checksummed: False when the sender, on this machine, left the transport checksum to hardware.
        at_s: time.monotonic() when it was read.
    """

    data: bytes
    vlan: int | None
    checksummed: bool
    at_s: float


class FrameSocket:
    """A packet socket on one interface; hears what arrives there, not what leaves.

    Args:
        interface: name of an interface that is up.
        namespace: where it is; our own when None.
        accept: a filter that the kernel runs, so that the rest costs nothing; every frame passes when None.
        promiscuous: hear also what is for other MACs, of every VLAN and multicast group, whatever the NIC filters.

    Raises:
        KernelRefused: there is no such interface, or no right to open the socket.
    """

    def __init__(
        self,
        interface: str,
        namespace: namespaces.Namespace | None = None,
        *,
        accept: Sequence[Instruction] | None = None,
        promiscuous: bool = False,
    ) -> None:
        def open_and_bind() -> socket.socket:
            return _open_bound(interface, accept, promiscuous=promiscuous)

        self.interface = interface
        try:
            self._socket = open_and_bind() if namespace is None else namespaces.run_in(namespace, open_and_bind)
        except OSError as e:
            raise refused("listen on", interface, e) from e
        address = self._socket.getsockname()
        self.mac = address[4].hex(":")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Descriptor, for select(2)."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Send one frame; KernelRefused when the interface does not take it."""
        while True:
            try:
                self._socket.send(data)
            except OSError as e:
                if e.errno == errnos.ENOBUFS:  # the device's queue is full
                    time.sleep(0.001)
                    continue
                raise _explain("send on", self.interface, e) from e
            return

    def read(self) -> Frame | None:
        """Return the next frame that has arrived; None when there is none."""
        try:
            data, extra, _, _ = self._socket.recvmsg(_RECEIVE_BYTES, socket.CMSG_SPACE(_AUXDATA.size))
        except BlockingIOError:
            return None
        except OSError as e:
            raise _explain("listen on", self.interface, e) from e
        status, tci = 0, 0
        for level, kind, value in extra:
            if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(value) >= _AUXDATA.size:
                status, _, _, _, _, tci, _ = _AUXDATA.unpack_from(value)
        vid = tci & _VID_MASK if status & _STATUS_VLAN_VALID else 0
        return Frame(data, vid or None, not status & _STATUS_CHECKSUM_NOT_READY, time.monotonic())

    def accept(self, program: Sequence[Instruction]) -> None:
        """Put another filter in place of the one before."""
        _attach_filter(self._socket, program)

    def count_lost(self) -> int:
        """Return how many frames were thrown away because they were not read in time, since the last call."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        _, lost = _STATISTICS.unpack(statistics)
        return int(lost)


@contextlib.contextmanager
def hold_udp_port(namespace: namespaces.Namespace, port: int) -> Iterator[None]:
    """Hold a UDP port of a namespace, so that its kernel does not answer "port unreachable"; quiet if somebody does."""

    def bind() -> socket.socket | None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            sock.bind(("", port))
        except OSError as e:
            sock.close()
            if e.errno != errnos.EADDRINUSE:
                raise
            return None
        return sock

    held = namespaces.run_in(namespace, bind)
    try:
        yield
    finally:
        if held:
            held.close()


def wait_for_frames(sockets: Iterable[FrameSocket], until_s: float) -> list[FrameSocket]:
    """Wait until one of the sockets has a frame; return those that have, none when `until_s` (monotonic) came first."""
    return select.select(list(sockets), [], [], max(0.0, until_s - time.monotonic()))[0]


def _explain(verb: str, interface: str, error: OSError) -> KernelRefused:
    hint = "it went down, or away, meanwhile" if error.errno in {errnos.ENETDOWN, errnos.ENXIO, errnos.ENODEV} else ""
    if error.errno == errnos.EMSGSIZE:
        hint = "the frame is larger than the interface's MTU"
    return refused(verb, interface, error, hint)


def _open_bound(interface: str, program: Sequence[Instruction] | None, *, promiscuous: bool) -> socket.socket:
    with contextlib.ExitStack() as on_failure:
        # Protocol 0: nothing is heard before the socket is bound and its filter is there.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
        on_failure.callback(sock.close)
        with contextlib.suppress(PermissionError):  # CAP_NET_ADMIN; the default size does for small networks
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
        sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        if program is not None:
            _attach_filter(sock, program)
        try:
            index = socket.if_nametoindex(interface)
        except OSError as e:  # Python leaves its number out
            raise OSError(errnos.ENODEV, os.strerror(errnos.ENODEV)) from e
        if promiscuous:
            for kind in (_PACKET_MR_PROMISC, _PACKET_MR_ALLMULTI):
                sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, struct.pack("iHH8s", index, kind, 0, b""))
        sock.bind((interface, _ETH_P_ALL))
        on_failure.pop_all()
        return sock


def _attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(buffer)))
