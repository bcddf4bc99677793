"""Network namespaces of the lab: a private node to play in, and containers on it."""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.shell import run, run_ip, run_json

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x1000, 0x4000, 0x40000, 0x2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    """Raise OSError when a call of libc failed."""
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _unshare(flags: int) -> None:
    _check(_libc.unshare(flags))


def leave_machine() -> None:
    """Move this process into mount and network namespaces of its own, so that nothing it does reaches the machine.

    /run is empty there, so namespaces that `ip netns` makes are seen by nobody else, and /sys shows the own network.
    """
    _unshare(_CLONE_NEWNS | _CLONE_NEWNET)
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    run("mount -t tmpfs tmpfs /run")
    Path("/run/netns").mkdir()
    run("mount -t sysfs sysfs /sys")
    run("ip link set lo up")


def enter_fresh_node() -> None:
    """Move this thread, and what it starts, into a network namespace without anything in it but `lo`."""
    _unshare(_CLONE_NEWNET)
    run("mount -t sysfs sysfs /sys")
    run("ip link set lo up")


@dataclass(frozen=True)
class Container:
    """A network namespace of the lab, by its `ip netns` name."""

    name: str

    @property
    def path(self) -> str:
        """What a runtime passes as CNI_NETNS."""
        return f"/run/netns/{self.name}"

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a command inside."""
        return run(f"ip netns exec {self.name} {command}", check=check)

    def ip(self, words: str) -> Any:
        """Run `ip -j <words>` inside and return what it says."""
        return run_json(f"ip -n {self.name} -j -d {words}")

    def find_link(self, name: str) -> dict[str, Any] | None:
        """Return an interface inside as iproute2 shows it, or None."""
        return next((link for link in self.ip("link show") if link["ifname"] == name), None)

    def delete(self) -> None:
        """Remove the namespace; more than once is fine."""
        run(f"ip netns del {self.name}", check=False)


@contextlib.contextmanager
def make_containers(count: int) -> Iterator[list[Container]]:
    """Make many network namespaces quickly, without a process for each, for the time of a `with` block."""
    containers = [Container(f"pod-many-{i}") for i in range(count)]
    try:
        for container in containers:
            thread = threading.Thread(target=_mount_fresh_namespace, args=(container.path,))
            thread.start()
            thread.join()
        yield containers
    finally:
        for container in containers:
            _libc.umount2(container.path.encode(), _MNT_DETACH)
            Path(container.path).unlink(missing_ok=True)


def _mount_fresh_namespace(path: str) -> None:
    """Give this thread, which ends right after, a network namespace, and keep that alive at a path."""
    _unshare(_CLONE_NEWNET)
    Path(path).touch()
    _check(_libc.mount(b"/proc/thread-self/ns/net", path.encode(), None, _MS_BIND, None))


@contextlib.contextmanager
def make_container(name: str) -> Iterator[Container]:
    """Make a network namespace with `lo` up for the time of a `with` block."""
    run(f"ip netns add {name}")
    run_ip("link set lo up", namespace=name)
    container = Container(name)
    try:
        yield container
    finally:
        container.delete()
