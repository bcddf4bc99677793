"""Leases when something goes wrong: no server, a bad one, an address that is taken, a step that fails, a signal."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cni_harvester.errors import KernelRefused
from cni_harvester.kernel import namespaces
from cni_harvester.kernel.frames import FrameSocket
from lab import node
from lab.dhcp import DhcpServer, serve_dhcp
from lab.faulty_dhcp import serve_faults
from lab.namespaces import Container, make_container
from lab.plugin import ROOT, InProcess, Plugin
from lab.shell import run_ip

from .test_dhcp_leases import CONFIG, IPAM, LEASES, Lan, find_mac, list_addresses, make_lan, read_lease_files

pytestmark = pytest.mark.any_kernel

KINDS = {1: "DISCOVER", 3: "REQUEST", 4: "DECLINE", 7: "RELEASE"}
_SLACK_S = 1.5
"""How much longer than its time an ADD may take here: the port comes up, the machine is slow."""


@pytest.fixture
def lan(empty_node: None) -> Iterator[Lan]:
    """A plain bridge and a room for its DHCP server."""
    with make_lan() as made:
        yield made


@pytest.fixture
def quiet_lan(lan: Lan) -> Lan:
    """The same without an address in the room, where the faulty server's answers alone count."""
    run_ip("address flush dev eth0", namespace=lan.room.name)
    return lan


def configure(timeout_s: int, **keys: Any) -> dict[str, Any]:
    """Make a configuration whose leases may take so long."""
    return CONFIG | {"ipam": IPAM | {"timeoutSeconds": timeout_s}, **keys}


class Ear:
    """Hears what clients say to DHCP servers, in the room of a network."""

    def __init__(self, lan: Lan) -> None:
        with namespaces.open_namespace(lan.room.path) as namespace:
            self._socket = FrameSocket("eth0", namespace, promiscuous=True)

    def close(self) -> None:
        """Stop listening."""
        self._socket.__exit__(None, None, None)

    def read(self, wait_s: float = 0.2) -> list[tuple[str, bytes]]:
        """Return the questions since the last time, as (kind, BOOTP message)."""
        found = []
        while select.select([self._socket], [], [], wait_s)[0]:
            while frame := self._socket.read():
                data = frame.data
                if data[12:14] == b"\x08\0" and data[23] == 17 and data[36:38] == b"\0\x43":
                    kind = data[42 + 240 + 2]  # option 53 comes first
                    found.append((KINDS.get(kind, str(kind)), data[42:]))
        return found


@pytest.fixture
def ear(lan: Lan) -> Iterator[Ear]:
    """What clients say on the network."""
    made = Ear(lan)
    yield made
    made.close()


def find_options(message: bytes) -> dict[int, bytes]:
    """Return the options of a BOOTP message."""
    options, at = {}, 240
    while message[at] != 255:
        options[message[at]] = message[at + 2 : at + 2 + message[at + 1]]
        at += 2 + message[at + 1]
    return options


def assert_nothing_left(container: Container) -> None:
    """No file, no host end, nothing in the container."""
    assert read_lease_files() == []
    assert node.list_attachments() == []
    assert [link["ifname"] for link in container.ip("link show")] == ["lo"]


# --- no lease ------------------------------------------------------------------------------------------------------


def test_add_without_a_server_fails_within_its_time_and_says_what_was_heard(
    lan: Lan, container: Container, plugin: Plugin
) -> None:
    """Code 11 after the two seconds that it has, with the reason; nothing is left."""
    began_s = time.monotonic()
    reply = plugin.call("ADD", configure(2), container)
    took_s = time.monotonic() - began_s
    assert (reply.code, 2 <= took_s <= 2 + _SLACK_S) == (11, True), took_s
    message = 'cannot get an address by DHCP on "eth0" within 2 s: '
    assert reply.document["msg"].startswith(message)
    assert "in 2 s" in reply.document["msg"].removeprefix(message)
    assert "DHCP server" in reply.document["details"] or "VLAN" in reply.document["details"]
    assert_nothing_left(container)


FAULTS = {
    "silent": "no DHCP server answers",
    "no-mask": "there is no subnet mask (option 1)",
    "nak": "the server refuses (NAK)",
    "bad-udp-checksum": "the UDP checksum is wrong",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_server_gives_no_address_and_is_named(
    quiet_lan: Lan, container: Container, plugin: Plugin, fault: str
) -> None:
    """Nothing of a faulty offer is taken; the message says what is wrong with it."""
    with serve_faults(quiet_lan.room, "eth0", fault, arp=[]):
        reply = plugin.call("ADD", configure(1), container)
    assert reply.code == 11
    assert FAULTS[fault] in reply.document["msg"]
    assert_nothing_left(container)


def test_server_that_takes_its_offer_back_is_named_and_not_flooded(
    quiet_lan: Lan, container: Container, plugin: Plugin, ear: Ear
) -> None:
    """It offers, and refuses what it offered (NAK): the client begins anew, but not a thousand times."""
    with serve_faults(quiet_lan.room, "eth0", "nak", "none"):
        reply = plugin.call("ADD", configure(3), container)
    assert reply.code == 11
    assert "DHCP server 192.0.2.1 refuses 192.0.2.77 (NAK)" in reply.document["msg"]
    kinds = [kind for kind, _ in ear.read()]
    assert 2 <= kinds.count("REQUEST") <= 5, kinds
    assert_nothing_left(container)


# --- an address that is taken --------------------------------------------------------------------------------------


def test_address_that_somebody_has_is_declined(quiet_lan: Lan, container: Container, plugin: Plugin, ear: Ear) -> None:
    """A server that only has an address which answers ARP: DECLINE, code 11, and the holder in the message."""
    with serve_faults(quiet_lan.room, "eth0", "arp-conflict"):
        reply = plugin.call("ADD", configure(3), container)
    assert reply.code == 11
    assert "192.0.2.77, which was granted, is in use by 00:00:5e:00:53:88" in reply.document["msg"]
    questions = ear.read()
    declined = [message for kind, message in questions if kind == "DECLINE"]
    assert len(declined) == 1, [kind for kind, _ in questions]  # RFC 2131, section 3.1: ten seconds between two
    options = find_options(declined[0])
    assert (options[50], options[54]) == (bytes([192, 0, 2, 77]), bytes([192, 0, 2, 1]))
    assert declined[0][12:16] == bytes(4)
    assert "RELEASE" not in [kind for kind, _ in questions]
    assert_nothing_left(container)


def test_add_outlasts_a_declined_address_and_a_slow_server(lan: Lan, container: Container, other: Container) -> None:
    """Two networks at the same time, each of which takes several questions to give an address.

    In one a machine has taken the first free address by hand: the server learns of it, and gives the next one after the
    ten seconds of RFC 2131, section 3.1, point 5. In the other one the server thinks for three seconds about each
    answer, while it is asked again.
    """
    with make_lan("slow", "198.51.100.1/24") as slow, make_container("squatter") as squatter:
        run_ip("address flush dev eth0", namespace=slow.room.name)
        run_ip(
            f"link add squat type veth peer name eth0 netns {squatter.name}", f"link set squat master {lan.bridge} up"
        )
        run_ip("address add 192.0.2.100/24 dev eth0", "link set eth0 up", namespace=squatter.name)
        with (
            lan.serve(kind="kea") as server,
            serve_faults(slow.room, "eth0", "slow", address=slow.address),
            ThreadPoolExecutor(2) as pool,
        ):
            began_s = time.monotonic()
            theirs = pool.submit(InProcess().add, configure(20, bridge=slow.bridge), other, container_id="c-2")
            ours = InProcess().add(configure(20), container)
            assert time.monotonic() - began_s >= 10
            assert theirs.result()["ips"][0]["address"] == "198.51.100.77/24"
            assert list_addresses(other) == ["198.51.100.77/24"]
            assert list_addresses(container) == ["192.0.2.101/24"]
            assert server.list_leases()[find_mac(ours)] == "192.0.2.101"
            assert "DHCP4_DECLINE_LEASE" in server.read_log()
            InProcess().delete(configure(20), container)
            InProcess().delete(configure(20, bridge=slow.bridge), other, container_id="c-2")
        run_ip("link del squat")


# --- a later step that fails ---------------------------------------------------------------------------------------


def count_changes(config: dict[str, Any], container: Container) -> tuple[list[str], int]:
    """Return the changes that an ADD makes, and how many come before the lease."""
    changes: list[str] = []
    before = 0

    def note(command: str) -> None:
        nonlocal before
        if not read_lease_files():
            before = len(changes) + 1
        changes.append(command)

    InProcess(note).add(config, container)
    InProcess().delete(config, container)
    return changes, before


class StepIn:
    """A trace that does something when the n-th change is about to be made, once."""

    def __init__(self, number: int, error: BaseException | None = None) -> None:
        self._number, self._error = number, error

    def __call__(self, _: str) -> None:
        """Count a change; at ours raise, or end the process."""
        self._number -= 1
        if self._number == 0:
            if self._error:
                raise self._error
            os.kill(os.getpid(), signal.SIGKILL)


def test_add_whose_later_step_fails_releases_its_lease(lan: Lan, container: Container) -> None:
    """Whichever change after the lease the kernel refuses: the address is given back, and the node is as before."""
    with lan.serve(kind="kea", routes={"0.0.0.0/0": "192.0.2.1", "198.51.100.0/24": "192.0.2.7"}) as server:
        config = configure(5)
        changes, before_lease = count_changes(config, container)
        before = node.take_snapshot()
        after_lease = range(before_lease + 1, len(changes) + 1)
        assert len(after_lease) >= 3, changes
        for number in after_lease:
            reply = InProcess(StepIn(number, KernelRefused("injected", errno=5))).call("ADD", config, container)
            assert reply.code == 106, (changes[number - 1], reply)
            assert "injected" in reply.document["msg"]
            assert node.list_differences(before, node.take_snapshot()) == [], changes[number - 1]
            assert_nothing_left(container)
            wait_until_released(server)


def wait_until_released(server: DhcpServer) -> None:
    """Wait until no lease is active any more."""
    for mac in list(server.list_leases()):
        server.wait_for_lease(mac, "released")
    assert server.list_leases() == {}


@pytest.mark.parametrize("way", ["DEL", "GC"])
def test_add_that_was_killed_after_its_lease_is_cleaned_up(lan: Lan, container: Container, way: str) -> None:
    """Killed with no chance to undo anything: the file is there by then, by which the next call gives it back."""
    with lan.serve(kind="kea") as server:
        config = configure(5)
        changes, before_lease = count_changes(config, container)
        before = node.take_snapshot()
        for number in range(before_lease + 1, len(changes) + 1):
            child = os.fork()
            if child == 0:
                InProcess(StepIn(number)).call("ADD", config, container)
                os._exit(0)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            assert len(read_lease_files()) == 1
            reply = InProcess().call(way, config | {"cni.dev/valid-attachments": []}, container)
            assert reply.exit_status == 0, reply
            assert node.list_differences(before, node.take_snapshot()) == []
            wait_until_released(server)


# --- signals -------------------------------------------------------------------------------------------------------


def start_add(config: dict[str, Any], container: Container) -> subprocess.Popen[bytes]:
    """Start an ADD as a runtime does, in a process of its own."""
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c-1",
        "CNI_NETNS": container.path,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/nonexistent",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "cni_harvester"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(config).encode())
    process.stdin.close()
    process.stdin = None
    return process


def test_add_that_is_terminated_while_it_asks_undoes_itself(quiet_lan: Lan, container: Container) -> None:
    """A runtime that gives up sends SIGTERM: interface and port are gone when the process is, soon."""
    before = node.take_snapshot()
    with serve_faults(quiet_lan.room, "eth0", "silent") as server:
        process = start_add(configure(60), container)
        while not server.list_clients():
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        process.communicate(timeout=5)
    assert process.returncode == 128 + signal.SIGTERM
    assert_nothing_left(container)
    assert node.list_differences(before, node.take_snapshot()) == []


def test_add_that_is_terminated_right_after_the_grant_releases_it(lan: Lan, container: Container) -> None:
    """The server has given the address, the client still looks whether it is free: it is given back all the same."""
    with lan.serve(kind="kea") as server:
        process = start_add(configure(60), container)
        while not server.list_leases():
            assert process.poll() is None
            time.sleep(0.002)
        process.terminate()
        process.communicate(timeout=5)
        assert process.returncode == 128 + signal.SIGTERM
        (mac,) = server.read_leases()
        server.wait_for_lease(mac, "released")
    assert_nothing_left(container)


# --- files ---------------------------------------------------------------------------------------------------------


def test_lease_that_cannot_be_kept_is_given_back(lan: Lan, container: Container, plugin: Plugin) -> None:
    """Without its file nobody could renew or release it: the ADD fails, and the server has the address again."""
    LEASES.parent.mkdir(parents=True, exist_ok=True)
    if LEASES.exists():
        LEASES.rmdir()
    LEASES.write_text("in the way")
    try:
        with lan.serve(kind="kea") as server:
            reply = plugin.call("ADD", configure(5), container)
            assert reply.exit_status == 1
            (mac,) = server.read_leases()
            server.wait_for_lease(mac, "released")
    finally:
        LEASES.unlink()
    assert_nothing_left(container)


def test_damaged_lease_does_not_stop_a_delete(lan: Lan, container: Container, plugin: Plugin) -> None:
    """The attachment goes; its lease ends on the server by itself."""
    with serve_dhcp(lan.room, "eth0", lan.address, kind="kea"):
        plugin.add(configure(5), container)
        (path,) = LEASES.iterdir()
        path.write_text("{")
        reply = plugin.call("CHECK", configure(5) | {"prevResult": {"cniVersion": "1.1.0"}}, container)
        assert reply.exit_status == 1
        plugin.delete(configure(5), container)
    assert_nothing_left(container)
