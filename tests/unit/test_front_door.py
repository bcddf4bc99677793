"""The program as a process: a runtime and a person at its door."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cni_harvester import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "CNI_CONTAINERID": "c-1",
    "CNI_NETNS": "/nonexistent/netns",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/nonexistent/bin",
}
CONFIG = b'{"cniVersion":"1.1.0","name":"vlan100","bridge":"cn1-br"}'


def run(*words: str, stdin: Any = subprocess.DEVNULL, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-B", "-m", "cni_harvester", *words],
        stdin=stdin,
        capture_output=True,
        text=True,
        env=variables | {"PYTHONPATH": str(REPOSITORY)},
        cwd="/",
        timeout=60,
        check=False,
    )


def make_input(data: bytes) -> int:
    """Return the reading end of a pipe that holds some bytes and its end."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def test_version_reads_no_stdin_and_loads_neither_pydantic_nor_pyroute2() -> None:
    """VERSION answers fast: the bytes on standard input stay there, and nothing heavy is imported."""
    reader = make_input(b"untouched")
    done = run(stdin=reader, CNI_COMMAND="VERSION", PYTHONPROFILEIMPORTTIME="1")
    left = os.read(reader, 100)
    os.close(reader)
    assert done.returncode == 0
    assert json.loads(done.stdout)["cniVersion"] == "1.1.0"
    assert left == b"untouched"
    modules = {line.rsplit("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert {"cni_harvester", "json"} < modules
    assert modules.isdisjoint({"pydantic", "pydantic_core", "pyroute2", "subprocess", "asyncio"})


def test_request_of_a_runtime_is_answered_on_stdout() -> None:
    """An ADD for a container that is gone is code 3, on standard output alone."""
    reader = make_input(CONFIG)
    done = run(stdin=reader, CNI_COMMAND="ADD", **ENVIRONMENT)
    os.close(reader)
    document = json.loads(done.stdout)
    assert (done.returncode, document["code"], document["cniVersion"]) == (1, 3, "1.1.0")
    assert document["msg"] == 'cannot open network namespace "/nonexistent/netns": No such file or directory'
    assert done.stderr == ""


def test_request_with_octets_that_are_not_utf8_is_answered_in_ascii() -> None:
    """A broken environment is reported, not stumbled over."""
    reader = make_input(CONFIG)
    done = run(stdin=reader, CNI_COMMAND="ADD", **ENVIRONMENT | {"CNI_CONTAINERID": "\udcff\udc80"})
    os.close(reader)
    document = json.loads(done.stdout)
    assert (done.returncode, document["code"]) == (1, 4)
    assert document["msg"] == "invalid characters in CNI_CONTAINERID"
    assert done.stderr == ""


@pytest.mark.parametrize("redirection", ["<&-", "0>/dev/null"])
def test_request_whose_stdin_cannot_be_read_is_refused(redirection: str) -> None:
    """Standard input that is closed, or open for writing only, is code 5 (row L-09)."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -B -m cni_harvester {redirection}', sys.executable],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"CNI_COMMAND": "ADD", "PYTHONPATH": str(REPOSITORY)},
        timeout=60,
        check=False,
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["code"]) == (1, 5)
    assert document["msg"].startswith("error reading from stdin: ")
    assert done.stderr == ""


@pytest.mark.parametrize("variables", [{}, {"CNI_COMMAND": ""}])
def test_person_without_words_is_told_what_this_is(variables: dict[str, str]) -> None:
    """Without CNI_COMMAND, or with an empty one, the program introduces itself on standard error (row S2.1)."""
    done = run(**variables)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        f"CNI cni-harvester plugin {__version__}\n"
        "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
    )


def test_person_who_asks_is_answered() -> None:
    """`--version` and `--help` are answered on standard output."""
    assert run("--version").stdout == f"cni-harvester {__version__}\n"
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: cni-harvester ")
    assert "discover" in done.stdout


def test_person_with_unknown_words_is_told_the_usage() -> None:
    """A mistake on the command line has exit status 2."""
    done = run("add", "--fast")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: cni-harvester ")
    assert "Error: No such command 'add'." in done.stderr


def test_runtime_is_served_whatever_words_are_on_the_command_line() -> None:
    """CNI_COMMAND decides who is at the door."""
    done = run("--help", CNI_COMMAND="VERSION")
    assert json.loads(done.stdout)["supportedVersions"][-1] == "1.1.0"
