"""A lock per bridge that leaves no file behind and dies with its holder.

It is flock(2) on the directory /proc/sys/net/ipv4/conf/<bridge>, which the kernel makes with the bridge, shows in the
caller's network namespace only, and removes with it. So processes and threads that work on one bridge exclude each
other, those of other bridges and namespaces do not wait, and a crash cannot leave a stale lock.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from cni_harvester.errors import TryAgainLater

_DIRECTORY = "/proc/sys/net/ipv4/conf/"
_TIMEOUT_S = 20
_POLL_S = 0.002


@contextlib.contextmanager
def lock_bridge(name: str) -> Iterator[bool]:
    """Hold the bridge's lock for the time of a `with` block; yields False, holding nothing, when there is no bridge.

    Raises:
        TryAgainLater: another holder kept it for too long.
    """
    try:
        fd = os.open(_DIRECTORY + name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    try:
        _acquire(fd, name)
        yield True
    finally:
        os.close(fd)


def _acquire(fd: int, name: str) -> None:
    """Take the lock; flock has no time limit of its own, so a held lock is tried again every few milliseconds."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            if time.monotonic() > deadline:
                msg = f'cannot lock bridge "{name}": another process holds it for more than {_TIMEOUT_S} s'
                raise TryAgainLater(msg, "the runtime may retry; look for a cni-harvester process that hangs") from e
            time.sleep(_POLL_S)
        else:
            return
