"""Per-interface settings below /proc/sys/net, of the namespace that the calling thread is in."""

import contextlib
from pathlib import Path

from cni_harvester.kernel.handle import Trace, refused


def set_interface(family: str, interface: str, key: str, value: int, *, trace: Trace) -> None:
    """Write `net.<family>.conf.<interface>.<key>`; quiet where the kernel has no such key (IPv6 switched off)."""
    trace(f"sysctl -w net/{family}/conf/{interface}/{key}={value}")
    path = Path("/proc/sys/net", family, "conf", interface, key)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.write_text(str(value))
    except OSError as e:
        raise refused(f"set sysctl {key} of", interface, e) from e


def find_interface(family: str, interface: str, key: str) -> int | None:
    """Read `net.<family>.conf.<interface>.<key>`; None where the kernel has no such key."""
    with contextlib.suppress(FileNotFoundError):
        return int(Path("/proc/sys/net", family, "conf", interface, key).read_text())
    return None
