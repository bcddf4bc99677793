"""Network namespaces by path, and running a function inside one. Linux: network_namespaces(7), setns(2)."""

import contextlib
import ctypes
import errno as errnos
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cni_harvester.errors import UnknownContainer

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703  # linux/nsfs.h

_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Namespace:
    """An open network namespace: `fd` holds it alive, `path` is how the runtime named it."""

    fd: int
    path: str


def is_namespace(fd: int) -> bool:
    """Whether a descriptor is a network namespace's, and not a plain file left where one was mounted."""
    try:
        return fcntl.ioctl(fd, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError as e:
        if e.errno in {errnos.ENOTTY, errnos.EINVAL}:
            return False
        raise


@contextlib.contextmanager
def open_namespace(path: str) -> Iterator[Namespace]:
    """Open a namespace for the time of a `with` block; UnknownContainer when there is none at the path."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        raise UnknownContainer(f'cannot open network namespace "{path}": {reason}', _GONE_HINT) from e
    try:
        if not is_namespace(fd):
            raise UnknownContainer(f'cannot open network namespace "{path}": it is not a network namespace', _GONE_HINT)
        yield Namespace(fd, path)
    finally:
        os.close(fd)


_GONE_HINT = "the container may be gone, or CNI_NETNS is wrong"


def is_own(path: str) -> bool:
    """Whether a path is our own network namespace; False when there is nothing usable at the path."""
    try:
        there, here = Path(path).stat(), Path("/proc/thread-self/ns/net").stat()
    except (OSError, ValueError):
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def create_unnamed() -> int:
    """Make a network namespace without a path; return the descriptor that holds it alive.

    The kernel removes it, and every interface in it, with the last descriptor and socket in it.

    Raises:
        OSError: no right to make one.
    """
    return _call_in_thread(_unshare_and_open)


def _unshare_and_open() -> int:
    if _libc.unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def run_in(namespace: Namespace, function: Callable[[], _T]) -> _T:
    """Call a function inside a namespace and return what it returns.

    It runs in a thread of its own, which dies there: no way back has to work, and no other thread is moved. Sockets
    that it opens, and files below /proc/sys/net, belong to the namespace.

    Raises:
        OSError: the namespace could not be entered.
    """

    def enter_and_call() -> _T:
        if _libc.setns(namespace.fd, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), namespace.path)
        return function()

    return _call_in_thread(enter_and_call)


def _call_in_thread(function: Callable[[], _T]) -> _T:
    """Call a function in a thread of its own, and return or raise what it does."""
    results: list[_T] = []
    failures: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as e:  # handed to the caller's thread
            failures.append(e)

    thread = threading.Thread(target=call, name="in-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
