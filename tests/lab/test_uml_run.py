"""lab/uml-run against a real User-Mode Linux kernel: most tests boot one, which takes about 1.6 seconds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
UML_RUN = REPOSITORY / "lab" / "uml-run"
PYTHON = "/usr/bin/python3"

WRITE_RANDOM_BYTES = """
import random, sys
source = random.Random(1)
sys.stdout.buffer.write(source.randbytes(1 << 20))
sys.stderr.buffer.write(source.randbytes(1 << 20))
"""
TELL_SURROUNDINGS = """
import json, os, pathlib
environment = pathlib.Path("/proc/self/environ").read_text()
print(json.dumps([os.getcwd(), os.umask(0), environment.split(chr(0))[:-1]]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give an empty folder under /tmp, which the guest covers with a tmpfs of its own."""
    with tempfile.TemporaryDirectory(prefix="lab-", dir="/tmp") as name:
        yield Path(name)


def uml_run(
    *words: str | Path,
    launcher: Path = UML_RUN,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    more_environment: dict[str, str] | None = None,
    umask: int = -1,
) -> subprocess.CompletedProcess[bytes]:
    """Run lab/uml-run to its end."""
    return subprocess.run(
        [launcher, *words],
        check=False,
        capture_output=True,
        cwd=cwd,
        input=stdin,
        env={**os.environ, **(more_environment or {})},
        umask=umask,
    )


def uml_processes(folder: Path) -> list[int]:
    """Return the processes of the UML whose control files are in this folder of the test's own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"uml_dir={folder}/".encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@contextlib.contextmanager
def sleeping_guest(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give the launcher of a UML whose command has started and would last for minutes."""
    words = [str(UML_RUN), "--", "sh", "-c", "echo started; exec sleep 300"]
    environment = {**os.environ, "UML_RUN_TMP": str(folder)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as launcher:
        try:
            assert launcher.stdout is not None
            assert launcher.stdout.readline() == b"started\n"
            yield launcher
        finally:
            launcher.kill()
            for process in uml_processes(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)


def all_gone(folder: Path) -> bool:
    """Tell whether the UML of this folder ends by itself within some seconds."""
    deadline = time.monotonic() + 10
    while uml_processes(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not uml_processes(folder)


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM)])
def test_status_of_command_is_passed_through(script: str, status: int) -> None:
    """The exit status is the command's own, and 128+N for a command that signal N ended."""
    assert uml_run("--", "sh", "-c", script).returncode == status


def test_timeout_ran_out_gives_124(folder: Path) -> None:
    """A command that lasts longer than --timeout is ended with its UML, and the status is 124."""
    run = uml_run("-t", "3", "--", "sleep", "300", more_environment={"UML_RUN_TMP": str(folder)})
    assert (run.returncode, run.stderr) == (124, b"uml-run: timed out after 3s\n")
    assert uml_processes(folder) == []


def test_output_of_random_bytes_arrives_unchanged_and_separate() -> None:
    """Stdout and stderr come out separately, every byte as it was written."""
    source = random.Random(1)
    expected = [hashlib.md5(source.randbytes(1 << 20)).hexdigest() for _ in range(2)]
    run = uml_run("--", PYTHON, "-c", WRITE_RANDOM_BYTES)
    assert [hashlib.md5(output).hexdigest() for output in (run.stdout, run.stderr)] == expected


def test_output_held_open_by_child_left_behind_ends_anyway() -> None:
    """A process that the command leaves behind with its stdout does not keep the UML from ending."""
    began = time.monotonic()
    run = uml_run("--", "sh", "-c", "sleep 300 & echo done")
    assert (run.returncode, run.stdout) == (0, b"done\n")
    assert time.monotonic() - began < 30


def test_write_without_option_stays_in_guest(folder: Path) -> None:
    """The command can write everywhere, and the host sees none of it."""
    (folder / "old").write_text("host")
    run = uml_run("--", "sh", "-c", "echo guest >old && echo guest >new && cat old new", cwd=folder)
    assert run.stdout == b"guest\nguest\n"
    assert (folder / "old").read_text() == "host"
    assert not (folder / "new").exists()


def test_write_with_option_reaches_host(folder: Path) -> None:
    """What the command writes into a -w folder is on the host when uml-run has ended."""
    written = folder / "written through, with blanks"
    written.mkdir()
    run = uml_run("-w", written, "--", "cp", "/proc/version", written / "version")
    assert (run.returncode, run.stderr) == (0, b"")
    assert (written / "version").read_text().startswith("Linux version")


def test_stdin_with_option_reaches_command() -> None:
    """With -i the command reads the launcher's standard input, every byte of it."""
    sent = random.Random(2).randbytes(300_000)
    assert uml_run("-i", "--", "cat", stdin=sent).stdout == sent


def test_stdin_without_option_is_empty() -> None:
    """Without -i the command meets the end of its input at once, whatever the launcher's own input holds."""
    run = uml_run("--", "cat", stdin=b"not for the command")
    assert (run.returncode, run.stdout) == (0, b"")


def test_surroundings_of_launcher_are_carried_over(folder: Path) -> None:
    """The command has the launcher's working folder, umask and environment, whatever characters they hold."""
    cwd = folder / "with a space"
    cwd.mkdir()
    more = {"LAB_TEXT": "two\nlines, 'quotes' \"and\" $HOME \\ ü", "lab.name-no-shell-takes": "=a=b"}
    run = uml_run("--", PYTHON, "-c", TELL_SURROUNDINGS, cwd=cwd, more_environment=more, umask=0o027)
    guest_cwd, guest_umask, guest_environment = json.loads(run.stdout)
    expected = {**os.environ, **more, "PWD": str(cwd), "UML": "1"}
    assert (guest_cwd, guest_umask) == (str(cwd), 0o027)
    assert sorted(guest_environment) == sorted(f"{name}={value}" for name, value in expected.items())


def test_clone_under_tmp_works_with_its_virtual_environment(folder: Path) -> None:
    """A clone under /tmp shows inside with its .venv, also when uml-run starts in one of its folders."""
    clone = folder / "a clone"
    shutil.copytree(REPOSITORY / "lab", clone / "lab")
    shutil.copy(REPOSITORY / "pyproject.toml", clone)
    (clone / "tests").mkdir()
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    ask = ["../.venv/bin/python", "-c", "import sys; print(sys.prefix)"]
    run = uml_run("--", *ask, launcher=clone / "lab/uml-run", cwd=clone / "tests")
    assert run.stdout.decode() == f"{clone / '.venv'}\n"


def test_kernel_has_vlan_filtering() -> None:
    """A VLAN-filtering bridge can be made inside, the very thing that the tool is for."""
    run = uml_run("--", "sh", "-c", "ip link add br0 type bridge vlan_filtering 1 && bridge -j vlan")
    assert json.loads(run.stdout) == [{"ifname": "br0", "vlans": [{"vlan": 1, "flags": ["PVID", "Egress Untagged"]}]}]


def test_kernel_options_reach_kernel() -> None:
    """--modules loads modules before the command, and --arg puts words on the kernel's command line."""
    words = ["--modules", "dummy,8021q", "--arg", "lab.word=1", "--arg", "lab.word=2"]
    run = uml_run(*words, "--", "sh", "-c", "ls -d /sys/module/dummy /sys/module/8021q; cat /proc/cmdline")
    *modules, command_line = run.stdout.decode().splitlines()
    assert modules == ["/sys/module/8021q", "/sys/module/dummy"]
    assert "lab.word=1 lab.word=2" in command_line


def test_uml_running_is_on_one_cpu(folder: Path) -> None:
    """All host processes of a UML are pinned to the same single CPU."""
    with sleeping_guest(folder):
        cpus = [os.sched_getaffinity(process) for process in uml_processes(folder)]
    assert cpus
    assert all(affinity == cpus[0] and len(affinity) == 1 for affinity in cpus)


def test_launcher_killed_takes_uml_along(folder: Path) -> None:
    """A launcher that SIGKILL ended leaves no process of its UML behind, and no file."""
    with sleeping_guest(folder) as launcher:
        assert uml_processes(folder)
        launcher.kill()
        assert all_gone(folder)
        assert list(folder.iterdir()) == []


def test_launcher_terminated_puts_everything_away(folder: Path) -> None:
    """A launcher that gets SIGTERM ends its UML, removes its files and returns 128+15."""
    with sleeping_guest(folder) as launcher:
        launcher.terminate()
        assert launcher.wait() == 128 + signal.SIGTERM
        assert uml_processes(folder) == []
        assert list(folder.iterdir()) == []


def test_kernel_missing_gives_125_and_package_name(folder: Path) -> None:
    """Without a UML kernel the status is 125, and the message names the package that has it."""
    run = uml_run("--kernel", folder / "linux.uml", "--", "true")
    assert run.returncode == 125
    assert b"apt-get install user-mode-linux" in run.stderr


def test_folder_missing_gives_125_and_its_name(folder: Path) -> None:
    """A -w folder that does not exist is an error and not a folder whose writes are lost."""
    run = uml_run("-w", folder / "missing", "--", "true")
    assert (run.returncode, run.stderr.decode()) == (125, f"uml-run: no such folder: {folder}/missing\n")
