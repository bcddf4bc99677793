"""`cni-harvester watch`, the real process: what it prints of networks that change, and that it leaves nothing."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import node
from lab.faulty_dhcp import serve_faults
from lab.namespaces import Container
from lab.plugin import ROOT
from lab.shell import run_ip

from .test_dhcp_leases import Lan, make_lan

pytestmark = pytest.mark.any_kernel

COMMAND = [sys.executable, "-m", "cni_harvester", "watch", "--timeout", "1"]
_POLL_S = 0.02
_AT_ONCE_S = 4.5
"""A second to settle, and a look, which takes a second and a half; a minute, or five seconds, if no link told."""
_ARP_S = 3.0
"""How much longer a look takes that asks a gateway in vain."""


@dataclass(frozen=True)
class Watcher:
    """The running program, and what it has printed."""

    process: subprocess.Popen[bytes]
    log: Path

    def read(self, network: str) -> list[dict[str, Any]]:
        """Return what it has printed of a network so far."""
        lines = self.log.read_text().splitlines(keepends=True)
        documents = [json.loads(line) for line in lines if line.endswith("\n")]
        return [document for document in documents if document["network"] == network]

    def wait_for(self, network: str, count: int, timeout_s: float) -> dict[str, Any]:
        """Return a network's document of that number, as soon as it is there and before any other one comes."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.read(network)) < count:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not {count} after {timeout_s} s:\n{self.log.read_text()}"
            time.sleep(_POLL_S)
        assert len(found) == count, found
        return found[-1]


@contextlib.contextmanager
def watch(folder: Path, *networks: str) -> Iterator[Watcher]:
    """Run the program for the time of a `with` block; SIGTERM ends it, with status 0 and without a complaint."""
    log, complaints = folder / "lines", folder / "complaints"
    words = [word for network in networks for word in ("--network", network)]
    with log.open("wb") as out, complaints.open("wb") as errors:
        process = subprocess.Popen(
            [*COMMAND, "--lines", *words], stdout=out, stderr=errors, stdin=subprocess.DEVNULL, cwd=ROOT
        )
    try:
        yield Watcher(process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, complaints.read_text()
        assert complaints.read_text() == ""
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def lan(empty_node: None) -> Iterator[Lan]:
    """A plain bridge and a room for its DHCP server, which answers ARP as well."""
    with make_lan() as made:
        yield made


@contextlib.contextmanager
def record_ports(bridge: str) -> Iterator[list[str]]:
    """Collect the names of the ports that join a bridge during a `with` block; they are there at its end."""
    monitor = subprocess.Popen(["ip", "monitor", "link"], stdout=subprocess.PIPE, text=True)
    names: list[str] = []
    try:
        yield names
    finally:
        monitor.terminate()
        lines = [line for line in monitor.communicate()[0].splitlines() if f" master {bridge} " in line]
        names += dict.fromkeys(line.split(": ")[1].partition("@")[0] for line in lines if "Deleted" not in line)


def test_changes_of_a_network_are_printed_and_nothing_else(lan: Lan, tmp_path: Path) -> None:
    """No server, then one; then the bridge goes down and comes up again: a line each, at once where a link tells.

    Beside it is a bridge without ports, whose carrier comes and goes with each probe: it is told once, and its probes
    are not events that ask for the next one.
    """
    run_ip("link add bare-br type bridge", "link set bare-br up")
    before, name = node.take_snapshot(), "lan-br/untagged"
    with (
        record_ports("bare-br") as probes,
        contextlib.ExitStack() as stack,
        watch(tmp_path, name, "bare-br/untagged") as watcher,
    ):
        began_s = time.monotonic()
        first = watcher.wait_for(name, 1, 10)
        assert (first["bridge"], first["vlan"]) == ("lan-br", 0)
        assert (first["connectivity"], first["reason"]) == ("DHCP failed", "no-server")

        stack.enter_context(lan.serve(kind="dnsmasq"))
        found = watcher.wait_for(name, 2, 15)
        assert (found["connectivity"], found["reason"]) == ("true", "found")
        assert (found["cidr"], found["gateway"]) == ("192.0.2.0/24", "192.0.2.1")
        time.sleep(1)

        run_ip("link set lan-br down")
        down = watcher.wait_for(name, 3, _AT_ONCE_S)
        assert down["error"] == "cannot probe the untagged network of lan-br: the bridge is down"
        assert "time" in down

        run_ip("link set lan-br up")
        again = watcher.wait_for(name, 4, _AT_ONCE_S + _ARP_S)
        assert (again["cidr"], again["gateway"], again["connectivity"]) == ("192.0.2.0/24", "192.0.2.1", "true")
        time.sleep(2)
        assert len(watcher.read(name)) == 4
        assert [line["connectivity"] for line in watcher.read("bare-br/untagged")] == ["DHCP failed"]
        took_s = time.monotonic() - began_s
    assert node.list_differences(before, node.take_snapshot()) == []
    assert 2 <= len(probes) <= 1 + took_s / 4, probes
    run_ip("link del bare-br")


def test_bridges_and_uplinks_tell_of_themselves(lan: Lan, container: Container, tmp_path: Path) -> None:
    """A bridge that comes or goes, and an uplink that goes down, are noticed at once; of others nothing is said."""
    run_ip(f"link add cn9-bo type veth peer name eth0 netns {container.name}", "link add cn9-br type bridge")
    run_ip("link set cn9-br up", "link set cn9-bo master cn9-br up")
    run_ip("link set eth0 up", namespace=container.name)
    names = (lasting, late, cut) = ("lan-br/untagged", "late-br/untagged", "cn9-br/untagged")
    with (
        lan.serve(kind="dnsmasq"),
        serve_faults(container, "eth0", "none", arp=[], icmp=True),
        watch(tmp_path, *names) as watcher,
    ):
        assert watcher.wait_for(lasting, 1, 10)["connectivity"] == "true"
        assert watcher.wait_for(cut, 1, 5)["connectivity"] == "true"
        missing = watcher.wait_for(late, 1, 5)["error"]
        assert "late-br" in missing

        run_ip("link add late-br type bridge", "link set late-br up", "link set cn9-bo down")
        assert watcher.wait_for(cut, 2, _AT_ONCE_S + _ARP_S)["connectivity"] == "false"
        assert watcher.wait_for(late, 2, _AT_ONCE_S)["connectivity"] == "DHCP failed"

        run_ip("link del late-br")
        assert watcher.wait_for(late, 3, _AT_ONCE_S + _ARP_S)["error"] == missing
        assert len(watcher.read(lasting)) == 1
    run_ip("link del cn9-br", "link del cn9-bo")


def test_termination_during_a_probe_leaves_nothing(lan: Lan, tmp_path: Path) -> None:
    """The machine of the probe is taken away before the program ends."""
    before = node.take_snapshot()
    with watch(tmp_path, "lan-br/untagged"):
        deadline = time.monotonic() + 10
        while not node.list_attachments():
            assert time.monotonic() < deadline
            time.sleep(_POLL_S)
    assert node.list_differences(before, node.take_snapshot()) == []


def test_terminal_shows_a_table_of_all_networks(lan: Lan) -> None:
    """On a terminal the latest state of each network is a row, shown anew at each look; SIGTERM ends it as well."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--network", "lan-br/untagged", "--network", "none-br/untagged"]
    with lan.serve(kind="dnsmasq"):
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment)
        os.close(theirs)
        shown, deadline = b"", time.monotonic() + 15
        while not (b"192.0.2.0/24" in shown and b"cannot probe" in shown) and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536)
        process.terminate()
        assert process.wait(10) == 0
        os.close(ours)
    for words in (b"NETWORK", b"lan-br/untagged", b"192.0.2.0/24", b"192.0.2.1", b"none-br/untagged", b"cannot probe"):
        assert words in shown
