"""One open rtnetlink socket in one network namespace: requests, answers, dumps and events.

pyroute2's message classes give the wire format; the socket is a plain blocking one, which costs a tenth of
pyroute2's own per request. Linux: netlink(7), rtnetlink(7), Documentation/userspace-api/netlink/intro.rst.
"""

import errno as errnos
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from cni_harvester.errors import KernelRefused, TryAgainLater
from cni_harvester.kernel import namespaces
from cni_harvester.kernel.attributes import read_text, split_attributes

log = logging.getLogger(__name__)

Trace = Callable[[str], None]
"""Called with each change before it is made, as a command that a person could paste. An exception stops the change."""

_SOL_NETLINK = 270
_NETLINK_EXT_ACK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK = 11, 10, 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x200, 0x400, 0x800
_NLM_F_DUMP_INTR, _NLM_F_ACK_TLVS = 0x10, 0x200
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")

_RECEIVE_BYTES = 1 << 16
_ANSWER_TIMEOUT_S = 30
_DUMP_TIMEOUT_S = 10.0
"""An interrupted dump may miss entries, so it is taken again (netlink intro, "Dump consistency")."""


def log_change(command: str) -> None:
    """Log a change at DEBUG, in a form that a person could paste (the default trace)."""
    log.debug("%s", command)


_HINTS = {
    errnos.EPERM: "the plugin needs root in the node's namespace, with CAP_NET_ADMIN and CAP_SYS_ADMIN",
    errnos.EACCES: "the plugin needs root in the node's namespace, with CAP_NET_ADMIN and CAP_SYS_ADMIN",
    errnos.ENODEV: "it went away meanwhile; the runtime may try again",
    errnos.EOPNOTSUPP: "this kernel, or the device's driver, cannot do that",
    errnos.EBUSY: "something else is using it; the runtime may try again",
}


class Handle:
    """An rtnetlink socket of one network namespace.

    Args:
        namespace: the namespace to open the socket in; our own when None.
        trace: told of every change before it is made.
    """

    def __init__(self, namespace: namespaces.Namespace | None = None, *, trace: Trace = log_change) -> None:
        self.trace = trace
        self._sequence = 0
        self._socket = _open_socket() if namespace is None else namespaces.run_in(namespace, _open_socket)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; more than once is fine."""
        self._socket.close()

    def get_raw(self, request: bytes, kind: int) -> bytes:
        """Ask for one object by a request without its header; return the whole answer, both as octets.

        OSError with the kernel's errno when it refuses.
        """
        self._sequence += 1
        length = _HEADER.size + len(request)
        self._socket.send(_HEADER.pack(length, kind, NLM_F_REQUEST, self._sequence, 0) + request)
        return next(self._read_answer(dump=False, acknowledged=False))

    def dump(self, message: Any, kind: int) -> list[Any]:  # noqa: ANN401
        """Ask for all objects that the message selects; TryAgainLater when the table keeps changing meanwhile."""
        return [_decode(message, body) for body in self.dump_raw(message, kind)]

    def dump_raw(self, message: Any, kind: int) -> list[bytes]:  # noqa: ANN401
        """Do as `dump` does, but return the messages as octets, where there may be thousands of them."""
        deadline = time.monotonic() + _DUMP_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                return list(self._exchange(message, kind, NLM_F_REQUEST | NLM_F_DUMP))
            except InterruptedError:  # the table changed under the dump, which may have missed entries
                continue
        raise TryAgainLater("cannot list kernel objects: the table kept changing", "the runtime may retry at once")

    def change(self, message: Any, kind: int, *, flags: int = 0, command: str) -> None:  # noqa: ANN401
        """Change the kernel's state.

        Args:
            message: a pyroute2 message, not yet encoded.
            kind: the RTM_ type.
            flags: NLM_F_ flags beside REQUEST and ACK.
            command: the change as an iproute2 command, for the trace.

        Raises:
            OSError: the kernel refused; `strerror` holds its own explanation where it gives one (extended ACK).
        """
        self.trace(command)
        for _ in self._exchange(message, kind, NLM_F_REQUEST | NLM_F_ACK | flags):
            pass

    def change_in_one_go(self, messages: list[Any], kind: int, *, command: str) -> None:
        """Make several changes in one system call, so that a killed process has made all of them or none.

        Other processes may see the states in between. The last one's errno counts; see `change` for the rest.
        """
        self.trace(command)
        data = b"".join(self._encode(message, kind, NLM_F_REQUEST | NLM_F_ACK) for message in messages)
        self._socket.send(data)
        for _ in self._read_answer(dump=False, acknowledged=True):
            pass

    def _encode(self, message: Any, kind: int, flags: int) -> bytes:  # noqa: ANN401
        self._sequence += 1
        header = message["header"]
        header["type"], header["flags"], header["sequence_number"] = kind, flags, self._sequence
        message.reset()
        message.encode()
        return bytes(message.data)

    def _exchange(self, message: Any, kind: int, flags: int) -> Iterator[bytes]:  # noqa: ANN401
        """Send one request; yield the messages of its answer up to the acknowledgement, the end, or the object."""
        self._socket.send(self._encode(message, kind, flags))
        dump, acknowledged = flags & NLM_F_DUMP == NLM_F_DUMP, bool(flags & NLM_F_ACK)
        return self._read_answer(dump=dump, acknowledged=acknowledged)

    def _read_answer(self, *, dump: bool, acknowledged: bool) -> Iterator[bytes]:
        """Yield the messages of the answer to the last request."""
        interrupted = False
        while True:
            for type_, answer_flags, body in self._receive():
                interrupted = interrupted or bool(answer_flags & _NLM_F_DUMP_INTR)
                if type_ in {_NLMSG_ERROR, _NLMSG_DONE}:
                    _raise_error(type_, answer_flags, body)
                    if interrupted:
                        raise InterruptedError(errnos.EINTR, "the dump was interrupted")
                    return
                yield body
                if not dump and not acknowledged:
                    return

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (type, flags, whole message) of one datagram, less what belongs to an older request."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError as e:  # SO_RCVTIMEO ran out
            msg = f"cannot talk to the kernel: no answer within {_ANSWER_TIMEOUT_S} s"
            raise TryAgainLater(msg, "the kernel's network lock (RTNL) may be held by something slow") from e
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, type_, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            if sequence == self._sequence:
                yield type_, flags, data[offset : offset + length]
            offset += length + 3 & ~3


class Events:
    """A socket that hears rtnetlink notifications, opened before the state is read so that no change is missed."""

    def __init__(self, group: int, namespace: namespaces.Namespace | None = None) -> None:
        def open_and_join() -> socket.socket:
            sock = _open_socket()
            sock.setsockopt(_SOL_NETLINK, 1, group)  # NETLINK_ADD_MEMBERSHIP
            return sock

        self._socket = open_and_join() if namespace is None else namespaces.run_in(namespace, open_and_join)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; more than once is fine."""
        self._socket.close()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Return True as soon as the condition holds, False when it does not within the time.

        The condition is read anew after every notification; its truth is the kernel's, not the notification's, so a
        lost one (ENOBUFS) costs nothing.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            if select.select([self._socket], [], [], left_s)[0]:
                self._drain()
        return True

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as e:
                if e.errno != errnos.ENOBUFS:
                    raise


def refused(verb: str, name: str, error: OSError, details: str = "") -> KernelRefused:
    """Make the error of a refused operation: `cannot <verb> "<name>": <the kernel's reason>`.

    Without details of its own it says what an errno of this kind asks for.
    """
    code = error.errno or 0
    reason = error.strerror or os.strerror(code)
    hint = details or _HINTS.get(code, "the kernel's log may say more (dmesg)")
    return KernelRefused(f'cannot {verb} "{name}": {reason}', hint, errno=code)


def _decode(request: Any, body: bytes) -> Any:  # noqa: ANN401
    """Decode an answer, which is of the same class as its request."""
    answer = type(request)(body)
    answer.decode()
    return answer


def _open_socket() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
        sock.setsockopt(_SOL_NETLINK, option, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _ANSWER_TIMEOUT_S, 0))
    sock.bind((0, 0))
    return sock


def _raise_error(type_: int, flags: int, body: bytes) -> None:
    """Raise OSError when an acknowledgement or the end of a dump carries an errno."""
    (code,) = struct.unpack_from("=i", body, _HEADER.size) if len(body) >= _HEADER.size + 4 else (0,)
    if not code:
        return
    reason = os.strerror(-code)
    if flags & _NLM_F_ACK_TLVS:
        skip = _HEADER.size + 4 + (_HEADER.size if type_ == _NLMSG_ERROR else 0)
        if text := read_text(split_attributes(body, skip).get(_NLMSGERR_ATTR_MSG)).rstrip("."):
            reason = f"{reason} ({text})"
    raise OSError(-code, reason)
