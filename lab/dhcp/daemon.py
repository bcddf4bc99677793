"""A program that runs in a namespace of the lab for the time of a `with` block."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.namespaces import Container

_START_TIMEOUT_S = 20
_STOP_TIMEOUT_S = 5
_POLL_S = 0.005


@dataclass(frozen=True)
class Daemon:
    """A program that runs, and what it has said so far."""

    process: subprocess.Popen[bytes]
    name: str
    log: Path

    def read_log(self) -> str:
        """Return all that the program has said."""
        return self.log.read_text(errors="replace")

    def say(self, line: str) -> None:
        """Write a line to the program's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def wait_until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Return as soon as something is so.

        Raises:
            RuntimeError: the program has ended before, or it is not so for long; the message has its own words.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not is_so():
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.name} ended with status {self.process.returncode}: {self.read_log().strip()}"
                )
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} is not {what} after {_START_TIMEOUT_S} s: {self.read_log().strip()}")
            time.sleep(_POLL_S)

    def has_udp_socket(self, port: int) -> bool:
        """Whether the program itself has opened a UDP port: for those that do not say when they are ready."""
        with contextlib.suppress(OSError):  # it has ended
            table = Path(f"/proc/{self.process.pid}/net/udp").read_text().splitlines()[1:]
            rows = [line.split() for line in table]
            inodes = {row[9] for row in rows if row[1].endswith(f":{port:04X}")}
            return any(f"socket:[{inode}]" in self.list_open_files() for inode in inodes)
        return False

    def list_open_files(self) -> list[str]:
        """Return what the program has open, as /proc shows it."""
        found = []
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                found.append(str(entry.readlink()))
        return found


@contextlib.contextmanager
def run_daemon(
    container: Container, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """Run a program for the time of a `with` block; whoever calls waits until it is ready.

    Args:
        container: the namespace to run it in.
        command: its words. It must stay in the foreground.
        folder: where its log goes: a file, for a pipe that nobody reads would stop it once full.
        environment: variables beside those of this process.
    """
    path = folder / "log"
    # `ip netns exec` becomes the program, so the process we hold is the program itself. The log is opened for
    # appending, so that both of its outputs can go there, and a reader does not move the place where it writes.
    words = ["ip", "netns", "exec", container.name, *command]
    with path.open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=log, stderr=log, env=os.environ | dict(environment or {})
        )
    try:
        yield Daemon(process, command[0], path)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
