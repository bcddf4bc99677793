#!/usr/bin/python3 -I
"""Run a command as root inside a User-Mode Linux kernel (UML), on any Linux machine, without KVM.

Why: the kernel tests need VLAN-filtering bridges, 802.1Q, dummy and veth links. The kernels of containers and
of small CI machines often lack some of them; Debian's UML kernel has them all and is an ordinary program.

    lab/uml-run -- .venv/bin/python -m pytest tests/kernel -x

What the command sees:
    /            the host's file system, copy-on-write: writes land in memory and are gone at the end
    cwd          the same folder as outside; so is this repository, wherever its clone lies
    -w DIR       a host folder whose writes go through to the host
    /tmp /run    empty, but for cwd and the clone if they lie there
    /dev ...     /dev, /proc, /sys and cgroup2 are UML's own
    /lib/modules the UML kernel's own modules: modprobe and the kernel's autoloading work
    network      lo, up, and nothing else (but see --arg)
    the rest     environment (PWD and UML=1 are set) and umask as outside; stdin is /dev/null unless -i

stdout and stderr come out separately, byte for byte, as they are written; while nobody reads them, the whole
UML stands still. The exit status is the command's, 128+N for signal N. The launcher's own: 124 when --timeout
ran out, 125 when there is no working UML, 128+N when the launcher itself got signal N, 2 for wrong options.

What to know when writing for it:
    - Python imports are slow in UML without .pyc files, and those it writes are gone at the end. Compile the
      trees it will import before, outside: `python -m compileall -q cni_harvester tests .venv`.
    - CLOCK_MONOTONIC starts at 0 at boot, HZ is 100, and there is one CPU: to use two, run two UMLs.
    - UML runs on one host CPU (see --cpu): each of its system calls changes between two host processes, which
      costs two to five times less when both are on the same CPU.

Needs the Debian packages user-mode-linux, kmod and iproute2, but not root: the command is root inside either way,
though it reaches no host file that the caller may not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

HERE = Path(__file__).resolve().parent
INIT = HERE / "uml-init.sh"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # of the guest's init, see uml-init.sh
COVERED = ("/tmp", "/run", "/dev")  # the guest mounts something of its own over these
STATUS_LATE = 124
STATUS_NO_UML = 125
PATIENCE = 5.0  # seconds that a run which was cut off waits for its last output to be taken

# Becomes the UML, beside a guard in the same process group. The guard waits for the end of a pipe that only
# the launcher holds open: should the launcher die, even of SIGKILL, the guard puts all away in its place.
# (PR_SET_PDEATHSIG would not do: of the UML's host processes it reaches one, and the others may live on.)
GUARDED = """\
exec 3<&0 </dev/null
{ read -r _ <&3; rm -rf "$0"; kill -KILL 0; } &
exec "$@" 3<&-
"""

ENVIRONMENT_HELP = """\
environment:
  UML_RUN_KERNEL, UML_RUN_MODDIR  defaults of --kernel and --moddir
  UML_RUN_TMP     folder for the control files (default: $TMPDIR or /tmp)
  UML_RUN_MEMDIR  folder for the file that is the UML's memory (default: /dev/shm if it will do)
  UML_RUN_ARGS    more words for the kernel command line, before those of --arg
"""


class RunEndedError(Exception):
    """The run is over with a status that is the launcher's, not the command's."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status


def memory_size(text: str) -> int:
    """Return the bytes that a size such as 512M or 2G means, in the kernel's own spelling of sizes."""
    found = re.fullmatch(r"(\d+)([KMG]?)", text.upper())
    if found is None:
        raise argparse.ArgumentTypeError(f"not a size such as 512M or 2G: {text}")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="uml-run",
        description=(__doc__ or "").partition("\n")[0],
        epilog=ENVIRONMENT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-m", "--mem", type=memory_size, default="2G", help="memory (default 2G; taken as it is used)")
    add("-w", "--write", type=Path, action="append", default=[], metavar="DIR", help="write through to DIR")
    add("-C", "--chdir", type=Path, default=Path(), metavar="DIR", help="folder to start in (default: cwd)")
    add("-i", "--stdin", action="store_true", help="hand on standard input (read to its end before the boot)")
    add("-t", "--timeout", type=float, metavar="SECS", help="end the UML after SECS seconds (status 124)")
    add("--modules", default="", metavar="A,B", help="load these first (most modules load by themselves)")
    add("--arg", action="append", default=[], metavar="WORD", help="add to the kernel's words, e.g. vec0:...")
    add("--cpu", type=int, metavar="N", help="host CPU to run on (default: any one; -1: all of them)")
    kernel = os.environ.get("UML_RUN_KERNEL") or shutil.which("linux.uml") or "/usr/bin/linux.uml"
    add("--kernel", type=Path, default=kernel, metavar="FILE", help="the UML kernel (default: %(default)s)")
    modules = os.environ.get("UML_RUN_MODDIR") or "/usr/lib/uml/modules"
    add("--moddir", type=Path, default=modules, metavar="DIR", help="where its modules lie, as DIR/RELEASE")
    add("-v", "--verbose", action="store_true", help="show the kernel's messages and init's log on stderr")
    add("command", nargs=argparse.REMAINDER, metavar="-- CMD [ARG ...]")
    return parser


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; folders come out absolute and free of symbolic links."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("no command")
    options.chdir = options.chdir.resolve()
    options.moddir = options.moddir.resolve()
    options.write = [folder.resolve() for folder in options.write]
    return options


def check_machine(options: argparse.Namespace) -> None:
    """Raise what is missing now, in words: a guest that fails half-way through its boot says much less."""
    programs = {"user-mode-linux": str(options.kernel), "kmod": "insmod", "iproute2": "ip"}
    for package, program in programs.items():
        if shutil.which(program, path=SYSTEM_PATH) is None:
            raise RunEndedError(STATUS_NO_UML, f"no {program} here: apt-get install {package}")
    for folder in (options.chdir, options.moddir, *options.write):
        if not folder.is_dir():
            raise RunEndedError(STATUS_NO_UML, f"no such folder: {folder}")
    if Path("/") in options.write:
        raise RunEndedError(STATUS_NO_UML, "-w / cannot work: name the folders that CMD is to write to")


def kept_folders(cwd: Path) -> list[Path]:
    """Return what must stay visible although it lies where the guest mounts something: cwd and the clone."""
    wanted = {cwd}
    if (HERE.parent / "pyproject.toml").exists():
        wanted.add(HERE.parent)
    kept: list[Path] = []
    for folder in sorted(wanted):
        covered = any(folder.is_relative_to(cover) for cover in COVERED)
        if covered and not any(folder.is_relative_to(other) for other in kept):
            kept.append(folder)
    return kept


def command_script(command: Sequence[str], cwd: Path) -> str:
    """Return the bash script that becomes CMD, with the environment and the umask of this process."""
    umask = os.umask(0o22)
    os.umask(umask)
    environment = {**os.environ, "PWD": str(cwd), "UML": "1"}
    assignments = [f"{name}={value}" for name, value in environment.items()]
    words = ["env", "-i", "-C", str(cwd), "--", *assignments, *command]
    return f"umask {umask:03o}\nexec {shlex.join(words)}\n"


@contextlib.contextmanager
def control_folder() -> Iterator[Path]:
    """Make the folder through which the guest's init gets its orders and gives back the status."""
    folder = Path(tempfile.mkdtemp(prefix="uml-", dir=os.environ.get("UML_RUN_TMP") or None))
    try:
        if re.search(r"\s", str(folder)):
            raise RunEndedError(STATUS_NO_UML, f"white space in {folder}: set UML_RUN_TMP to another folder")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fill_control(control: Path, options: argparse.Namespace) -> None:
    """Write init's orders; what each file is for stands in uml-init.sh."""
    shutil.copyfile(INIT, control / "init")
    (control / "init").chmod(0o700)
    orders = {
        "cmd": command_script(options.command, options.chdir),
        "keep": "".join(f"{folder}\0" for folder in kept_folders(options.chdir)),
        "write": "".join(f"{folder}\0" for folder in options.write),
        "modules": options.modules.replace(",", " "),
        "moddir": str(options.moddir),
        "init.log": "",
    }
    for name, text in orders.items():
        (control / name).write_bytes(os.fsencode(text))
    if options.stdin:
        with (control / "stdin").open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)


class Relay:
    """One of the guest's two output lines: a pipe into which UML writes, and a thread that passes it on."""

    def __init__(self, target: int) -> None:
        self.error: OSError | None = None
        self._target = target
        self._outlet, self.inlet = os.pipe()
        self._thread = threading.Thread(target=self._copy, daemon=True)

    def start(self) -> None:
        """Begin to pass on; UML alone holds the inlet from here on, so that its end is the pipe's end."""
        os.close(self.inlet)
        self._thread.start()

    def finish(self, patience: float | None) -> None:
        """Wait until everything is passed on, for at most `patience` seconds."""
        if self._thread.is_alive():
            self._thread.join(patience)

    def _copy(self) -> None:
        while chunk := os.read(self._outlet, 65536):
            if self.error is None:
                self._pass_on(chunk)
        os.close(self._outlet)

    def _pass_on(self, chunk: bytes) -> None:
        """Write all of `chunk`; after an error the rest is read and dropped, as the UML would stand still."""
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._target, rest) :]
        except OSError as error:
            self.error = error


def memory_folder(size: int, fallback: Path) -> str:
    """Choose where UML's memory file lies; containers often have a /dev/shm that is small or noexec."""
    chosen = os.environ.get("UML_RUN_MEMDIR")
    if chosen:
        return chosen
    shm = Path("/dev/shm")
    if shm.is_dir():
        facts = os.statvfs(shm)
        if facts.f_bavail * facts.f_frsize >= size and not facts.f_flag & os.ST_NOEXEC:
            return str(shm)
    return str(fallback)


def pinning_words(cpu: int | None) -> list[str]:
    """Return the prefix that makes a command run on one CPU."""
    if cpu == -1:
        return []
    if cpu is None:
        cpu = random.choice(sorted(os.sched_getaffinity(0)))
    return ["taskset", "--cpu-list", str(cpu)]


def kernel_words(options: argparse.Namespace, control: Path, relays: Sequence[Relay]) -> list[str]:
    """Return the UML kernel and its command line."""
    out, err = relays
    return [
        str(options.kernel),
        f"mem={options.mem}",
        *("rootfstype=hostfs", "rootflags=/", "ro", f"init={control / 'init'}", f"UMLCTL={control}"),
        *("con=null", "con0=null,fd:2" if options.verbose else "con0=null"),
        *("ssl=null", f"ssl0=null,fd:{out.inlet}", f"ssl1=null,fd:{err.inlet}"),
        *(f"uml_dir={control}/", "umid=u"),
        *("panic=-1", "loglevel=7" if options.verbose else "quiet", "random.trust_cpu=on"),
        "initcall_blacklist=raid6_select_algo",  # a benchmark for RAID 6, a second of every boot
        *os.environ.get("UML_RUN_ARGS", "").split(),
        *options.arg,
    ]


def kill_group(kernel: subprocess.Popen[bytes]) -> None:
    """End the UML, the host processes that stand for the guest's processes, and the guard."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(kernel.pid, signal.SIGKILL)
    kernel.wait()


@contextlib.contextmanager
def booted(options: argparse.Namespace, control: Path, relays: Sequence[Relay]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the UML; at the end of the block nothing of it is left."""
    environment = {
        "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}",
        "TMPDIR": memory_folder(options.mem, control),
    }
    words = [*pinning_words(options.cpu), "/bin/sh", "-c", GUARDED, str(control)]
    guard_end, launcher_end = os.pipe()
    with (control / "kernel.log").open("wb") as log:
        messages = sys.stderr if options.verbose else log
        kernel = subprocess.Popen(
            [*words, *kernel_words(options, control, relays)],
            stdin=guard_end,
            stdout=messages,
            stderr=messages,
            env=environment,
            pass_fds=[relay.inlet for relay in relays],
            start_new_session=True,
        )
    os.close(guard_end)
    try:
        yield kernel
    finally:
        kill_group(kernel)
        os.close(launcher_end)


def run_guest(options: argparse.Namespace, control: Path) -> None:
    """Boot the UML, wait until it has ended, and pass on its output meanwhile."""
    relays = [Relay(sys.stdout.fileno()), Relay(sys.stderr.fileno())]
    patience: float | None = PATIENCE
    try:
        with booted(options, control, relays) as kernel:
            for relay in relays:
                relay.start()
            kernel.wait(options.timeout)
        patience = None
    except subprocess.TimeoutExpired:
        raise RunEndedError(STATUS_LATE, f"timed out after {options.timeout:g}s") from None
    finally:
        for relay in relays:
            relay.finish(patience)
    for relay in relays:
        if relay.error is not None and not isinstance(relay.error, BrokenPipeError):
            raise RunEndedError(STATUS_NO_UML, f"the output could not be written: {relay.error}")


def read_status(control: Path) -> int:
    """Return the command's exit status, which is init's last word."""
    try:
        return int((control / "rc").read_text())
    except (OSError, ValueError):
        lines = ["the UML ended without a status"]
    for name in ("kernel.log", "init.log"):
        with contextlib.suppress(OSError):
            lines += (control / name).read_text(errors="replace").splitlines()[-25:]
    raise RunEndedError(STATUS_NO_UML, "\n".join(lines))


def run(options: argparse.Namespace) -> int:
    """Run the command and return its status; nothing is left behind."""
    check_machine(options)
    with control_folder() as control:
        fill_control(control, options)
        try:
            run_guest(options, control)
            return read_status(control)
        finally:
            if options.verbose:
                sys.stderr.write((control / "init.log").read_text(errors="replace"))


def end_on_signals() -> None:
    """Turn the signals that end a program into a RunEndedError, so that everything is put away first."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # a second one must not cut the putting away short
        raise RunEndedError(128 + number)

    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # nohup's wish, for one
    ]
    for number in numbers:
        signal.signal(number, end)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program `uml-run`; return its exit status."""
    options = parse(arguments)
    try:
        end_on_signals()
        return run(options)
    except RunEndedError as ended:
        if str(ended):
            print(f"uml-run: {ended}", file=sys.stderr)
        return ended.status


if __name__ == "__main__":
    sys.exit(main())
