"""A lock per bridge that leaves no file behind and dies with its holder.

It is flock(2) on the directory /proc/sys/net/ipv4/conf/<bridge>, which the kernel makes with the bridge, shows in the
caller's network namespace only, and removes with it. So processes and threads that work on one bridge exclude each
other, those of other bridges and namespaces do not wait, and a crash cannot leave a stale lock.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_DIRECTORY = "/proc/sys/net/ipv4/conf/"


@contextlib.contextmanager
def lock_bridge(name: str) -> Iterator[bool]:
    """Hold the bridge's lock for the time of a `with` block; yields False, holding nothing, when there is no bridge.

    Waits as long as another holds it: what is done under the lock is a few netlink requests, each with a time limit
    of its own (see `handle`).
    """
    fd = _open_locked(Path(_DIRECTORY, name))
    try:
        yield fd is not None
    finally:
        if fd is not None:
            os.close(fd)


def _open_locked(path: Path) -> int | None:
    """Return the locked directory; None when there is none.

    While we waited, the bridge may have been deleted and another of that name made: that is another directory, with
    another lock.
    """
    while True:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
