"""`cni-harvester leases`, the real process, beside real servers with leases of seconds."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_harvester.ipam.lease import DIRECTORY
from cni_harvester.kernel import namespaces
from cni_harvester.kernel.frames import FrameSocket
from lab.namespaces import Container, make_containers
from lab.plugin import ROOT, InProcess, Plugin, Reply
from lab.shell import run_ip

from .test_dhcp_leases import Lan, find_mac, list_addresses, list_routes, make_lan, read_lease_files

pytestmark = pytest.mark.any_kernel

COMMAND = [sys.executable, "-m", "cni_harvester", "leases"]
_POLL_S = 0.05
_STOP_TIMEOUT_S = 15


@dataclass(frozen=True)
class Keeper:
    """The running program, and what it has said."""

    process: subprocess.Popen[bytes]
    log: Path

    def read_events(self, container_id: str | None = None) -> list[dict[str, Any]]:
        """Return what it has told so far, of one container or of all."""
        lines = self.log.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in events if container_id in {None, event["containerID"]}]

    def list_events(self, container_id: str | None = None) -> list[str]:
        """Return the same in a word each; tries that failed left out."""
        return [event["event"] for event in self.read_events(container_id) if event["event"] != "failed"]

    def wait_until(self, what: str, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Return as soon as something is so; fail with what the program said when it is not in time."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"not {what} after {timeout_s} s:\n{self.log.read_text()}"
            time.sleep(_POLL_S)


@contextlib.contextmanager
def keep_leases(folder: Path) -> Iterator[Keeper]:
    """Run the program for the time of a `with` block; SIGTERM ends it, with status 0 and without a complaint."""
    log, complaints = folder / "events", folder / "complaints"
    with log.open("wb") as out, complaints.open("wb") as errors:
        process = subprocess.Popen(COMMAND, stdout=out, stderr=errors, stdin=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield Keeper(process, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(_STOP_TIMEOUT_S) == 0, complaints.read_text()
        assert complaints.read_text() == ""
    finally:
        process.kill()
        process.wait()


def list_leases(form: str) -> str:
    """Run `leases --list`."""
    done = subprocess.run([*COMMAND, "--list", "-o", form], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture
def lans(empty_node: None) -> Iterator[list[Lan]]:
    """Three networks, so that what takes its time takes it together."""
    with contextlib.ExitStack() as stack:
        addresses = ("192.0.2.1/24", "198.51.100.1/24", "203.0.113.1/24")
        yield [stack.enter_context(make_lan(f"lan{n}", address)) for n, address in enumerate(addresses)]


@pytest.fixture
def pods(empty_node: None) -> Iterator[list[Container]]:
    """A container for each of them, and one more."""
    with make_containers(4) as made:
        yield made


def attach(lan: Lan, pod: Container, number: int, **keys: Any) -> str:
    """Attach a container to a network, with more keys for its `ipam` object; return its MAC."""
    config = lan.config | {"ipam": lan.config["ipam"] | keys}
    return find_mac(InProcess().add(config, pod, container_id=f"c-{number}"))


def detach(lans: list[Lan], pods: list[Container]) -> None:
    """Take the containers off their networks."""
    for number, lan in enumerate(lans):
        InProcess().delete(lan.config, pods[number], container_id=f"c-{number}")


def plan_range(lan: Lan, first: int) -> tuple[str, str]:
    """Return ten addresses of a network to lease, as first and last."""
    network = IPv4Network(lan.address, strict=False)
    return str(network[first]), str(network[first + 9])


# --- renewal -------------------------------------------------------------------------------------------------------


def test_leases_are_renewed_in_the_servers_own_files(lans: list[Lan], pods: list[Container], tmp_path: Path) -> None:
    """Past the end of the first lease the servers still have the addresses given away, to a later end; nothing moves.

    A container that is gone meanwhile is forgotten when its lease ends.
    """
    with contextlib.ExitStack() as stack:
        kinds = ("kea", "isc", "udhcpd")
        servers = [stack.enter_context(lan.serve(kind=kind, lease_s=6)) for lan, kind in zip(lans, kinds, strict=True)]
        macs = [attach(lan, pod, number) for number, (lan, pod) in enumerate(zip(lans, pods, strict=False))]
        attach(lans[0], pods[3], 3)
        firsts = [server.wait_for_lease(mac, "active") for server, mac in zip(servers, macs, strict=True)]
        files = {document["mac"]: document for document in read_lease_files()}
        before = [(list_addresses(pod), list_routes(pod)) for pod in pods[:3]]
        with keep_leases(tmp_path) as keeper:
            pods[3].delete()
            keeper.wait_until("forgotten", lambda: "gone" in keeper.list_events("c-3"), 15)
            for number in range(3):
                keeper.wait_until("renewed twice", lambda n=number: len(keeper.list_events(f"c-{n}")) >= 2, 15)
            assert time.time() > max(first.expires_at or 0 for first in firsts)
            for server, mac, first in zip(servers, macs, firsts, strict=True):
                now = server.find_lease(mac)
                assert now is not None
                assert (now.state, now.address) == ("active", first.address)
                assert now.expires_at is not None and first.expires_at is not None
                assert now.expires_at > first.expires_at
            assert [(list_addresses(pod), list_routes(pod)) for pod in pods[:3]] == before
            assert [set(keeper.list_events(f"c-{number}")) for number in range(3)] == [{"renewed"}] * 3
            later = {document["mac"]: document for document in read_lease_files()}
            assert later.keys() == set(macs)
            assert all(later[mac]["obtained_s"] > files[mac]["obtained_s"] + 2 for mac in macs)
        detach(lans, pods)
        for server, mac in zip(servers, macs, strict=True):
            server.wait_for_lease(mac, "released")


class Ear:
    """Hears in the room of a network how a client asks for more time."""

    def __init__(self, lan: Lan) -> None:
        with namespaces.open_namespace(lan.room.path) as namespace:
            self._socket = FrameSocket("eth0", namespace, promiscuous=True)

    def close(self) -> None:
        """Stop listening."""
        self._socket.__exit__(None, None, None)

    def list_ways(self) -> list[str]:
        """Return how each REQUEST of a client with an address went out: to the server alone, or to all."""
        ways = []
        while frame := self._socket.read():
            data = frame.data
            is_request = data[12:14] == b"\x08\0" and data[36:38] == b"\0\x43" and data[42 + 240 + 2] == 3
            if is_request and data[42 + 12 : 42 + 16] != bytes(4):
                ways.append("to all" if data[:6] == b"\xff" * 6 else "to the server")
        return ways


def test_what_another_server_says_at_renewal_reaches_the_container(
    lans: list[Lan], pods: list[Container], tmp_path: Path
) -> None:
    """Three networks whose server is exchanged for another program, which knows nothing of the leases.

    One gives the same addresses, from another address of its own: it is found when the lease is rebound. One has
    another range, and refuses (NAK): the container has a new address and route at once. One has another router: the
    container keeps the address, and has the new route. A container whose configuration names the server believes no
    other one, and loses its address.
    """
    rebound, refused, rerouted = lans
    with contextlib.ExitStack() as stack:
        with (
            rebound.serve(kind="kea", lease_s=12) as gone,
            refused.serve(kind="udhcpd", lease_s=10, addresses=("198.51.100.20", "198.51.100.29")),
            rerouted.serve(kind="isc", lease_s=10, routes={"0.0.0.0/0": "203.0.113.1", "10.0.0.0/8": "203.0.113.9"}),
        ):
            macs = [attach(lan, pod, number) for number, (lan, pod) in enumerate(zip(lans, pods, strict=False))]
            attach(rebound, pods[3], 3, server="192.0.2.1")
            kept = gone.list_leases()[macs[0]]
        assert list_routes(pods[2]) == {"default": "203.0.113.1", "10.0.0.0/8": "203.0.113.9"}
        before = list_addresses(pods[2])
        run_ip("address del 192.0.2.1/24 dev eth0", "address add 192.0.2.2/24 dev eth0", namespace=rebound.room.name)
        moved = Lan(rebound.bridge, rebound.room, "192.0.2.2/24")
        servers = [
            stack.enter_context(moved.serve(kind="dnsmasq")),
            stack.enter_context(refused.serve(kind="dnsmasq", addresses=("198.51.100.40", "198.51.100.49"))),
            stack.enter_context(rerouted.serve(kind="kea", router="203.0.113.254")),
        ]
        ear = Ear(rebound)
        stack.callback(ear.close)
        with keep_leases(tmp_path) as keeper:
            for number, event in enumerate(("rebound", "replaced", "renewed", "lost")):
                keeper.wait_until(event, lambda n=number, e=event: e in keeper.list_events(f"c-{n}"), 25)

        assert keeper.list_events("c-0") == ["rebound"]
        assert servers[0].list_leases()[macs[0]] == kept
        assert (list_addresses(pods[0]), list_routes(pods[0])) == ([f"{kept}/24"], {"default": "192.0.2.2"})
        ways = ear.list_ways()
        assert (ways[0], ways[-1]) == ("to the server", "to all")

        assert keeper.list_events("c-1") == ["refused", "lost", "replaced"]
        assert "refuses 198.51.100.2" in keeper.read_events("c-1")[0]["message"]
        new = servers[1].list_leases()[macs[1]]
        assert new.startswith("198.51.100.4")
        assert (list_addresses(pods[1]), list_routes(pods[1])) == ([f"{new}/24"], {"default": "198.51.100.1"})

        assert keeper.list_events("c-2") == ["renewed"]
        assert (list_addresses(pods[2]), list_routes(pods[2])) == (before, {"default": "203.0.113.254"})

        assert keeper.list_events("c-3") == ["lost"]
        assert list_addresses(pods[3]) == []
        InProcess().delete(rebound.config, pods[3], container_id="c-3")

        files = {document["attachment"]["container_id"]: document for document in read_lease_files()}
        assert [files[f"c-{number}"]["server"] for number in range(3)] == ["192.0.2.2", "198.51.100.1", "203.0.113.1"]
        assert [files["c-0"]["address"], files["c-1"]["address"]] == [f"{kept}/24", f"{new}/24"]
        detach(lans, pods)
        for server, mac in zip(servers, macs, strict=True):
            server.wait_for_lease(mac, "released")


def test_lost_address_is_taken_away_and_replaced_when_a_server_is_back(
    lans: list[Lan], pods: list[Container], tmp_path: Path
) -> None:
    """Without a server the address goes when its lease ends; with one again, of another range, there is a new one.

    CHECK fails from the loss on: the runtime believes in the old address.
    """
    pairs = list(zip(lans, ("kea", "udhcpd", "isc"), strict=True))
    results = []
    with contextlib.ExitStack() as stack:
        for number, (lan, kind) in enumerate(pairs):
            with lan.serve(kind=kind, lease_s=6, addresses=plan_range(lan, 20)):
                results.append(InProcess().add(lan.config, pods[number], container_id=f"c-{number}"))
        macs = [find_mac(result) for result in results]
        with keep_leases(tmp_path) as keeper:
            keeper.wait_until("lost", lambda: keeper.list_events() == ["lost"] * 3, 10)
            assert [(list_addresses(pod), list_routes(pod)) for pod in pods[:3]] == [([], {})] * 3
            for number, (lan, result) in enumerate(zip(lans, results, strict=True)):
                reply = call_check(lan, pods[number], result, number)
                assert reply.code == 110
                assert f'address of "eth0": expected {result["ips"][0]["address"]}, found ' in reply.document["msg"]
            servers = []
            for lan, kind in pairs:
                options = {"addresses": plan_range(lan, 40), "routes": plan_routes(lan)}
                servers.append(stack.enter_context(lan.serve(kind=kind, **options)))
            keeper.wait_until("replaced", lambda: keeper.list_events().count("replaced") == 3, 25)
        for number, (server, mac) in enumerate(zip(servers, macs, strict=True)):
            assert keeper.list_events(f"c-{number}") == ["lost", "replaced"]
            assert list_addresses(pods[number]) == [f"{server.list_leases()[mac]}/24"]
            wanted = plan_routes(lans[number])
            assert list_routes(pods[number]) == {"default": wanted["0.0.0.0/0"], "10.0.0.0/8": wanted["10.0.0.0/8"]}
            assert call_check(lans[number], pods[number], results[number], number).code == 110
        detach(lans, pods)
        for server, mac in zip(servers, macs, strict=True):
            server.wait_for_lease(mac, "released")


def plan_routes(lan: Lan) -> dict[str, str]:
    """Return two routes through routers of a network, of which one is the default."""
    network = IPv4Network(lan.address, strict=False)
    return {"0.0.0.0/0": str(network[8]), "10.0.0.0/8": str(network[9])}


def call_check(lan: Lan, pod: Container, result: dict[str, Any], number: int) -> Reply:
    """Run a CHECK with the result of the ADD."""
    return InProcess().call("CHECK", lan.config | {"prevResult": result}, pod, container_id=f"c-{number}")


def test_keeper_that_is_stopped_while_it_asks_is_followed_by_the_next(
    lans: list[Lan], pods: list[Container], tmp_path: Path
) -> None:
    """SIGTERM does not wait for a server that is not there; what was lost stays lost, and the next one asks on."""
    (lan, *_), (pod, *_) = lans, pods
    with lan.serve(kind="kea", lease_s=2):
        mac = attach(lan, pod, 0)
    with keep_leases(tmp_path) as keeper:
        keeper.wait_until("lost", lambda: keeper.list_events() == ["lost"], 10)
        time.sleep(0.5)  # it asks for another one by then
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 5
    assert [(document["mac"], document["lease_s"]) for document in read_lease_files()] == [(mac, 0)]
    assert list_addresses(pod) == []
    with lan.serve(kind="kea", addresses=plan_range(lan, 40)) as server:
        with keep_leases(tmp_path) as keeper:
            keeper.wait_until("replaced", lambda: keeper.list_events() == ["replaced"], 10)
        assert list_addresses(pod) == [f"{server.list_leases()[mac]}/24"]
        detach(lans[:1], pods)
        server.wait_for_lease(mac, "released")


# --- the program ---------------------------------------------------------------------------------------------------


def test_leases_are_listed_in_three_forms(lans: list[Lan], pods: list[Container], plugin: Plugin) -> None:
    """For people as a table, for programs as JSON and YAML, which say the same; without leases each says so."""
    assert list_leases("table") == "No leases.\n"
    assert (json.loads(list_leases("json")), yaml.safe_load(list_leases("yaml"))) == ([], [])
    with lans[0].serve(kind="kea", lease_s=600, addresses=("192.0.2.20", "192.0.2.20")):
        mac = attach(lans[0], pods[0], 0)
        documents = json.loads(list_leases("json"))
        (document,) = documents
        assert 590 <= document.pop("expiresInSeconds") <= 600
        assert document == {
            "network": "net",
            "containerID": "c-0",
            "ifname": "eth0",
            "netns": pods[0].path,
            "mac": mac,
            "address": "192.0.2.20/24",
            "gateway": "192.0.2.1",
            "server": "192.0.2.1",
            "state": "bound",
            "leaseSeconds": 600,
        }
        (other,) = yaml.safe_load(list_leases("yaml"))
        assert 590 <= other.pop("expiresInSeconds") <= 600
        assert other == document
        heading, row = list_leases("table").splitlines()
        assert heading.split()[:7] == ["NETWORK", "CONTAINER", "INTERFACE", "ADDRESS", "GATEWAY", "SERVER", "STATE"]
        assert row.split()[:7] == ["net", "c-0", "eth0", "192.0.2.20/24", "192.0.2.1", "192.0.2.1", "bound"]
        plugin.delete(lans[0].config, pods[0], container_id="c-0")


def test_damaged_file_hides_no_other_lease(lans: list[Lan], pods: list[Container], plugin: Plugin) -> None:
    """What can be read is shown; what cannot is named on standard error, with status 1."""
    with lans[0].serve(kind="kea", lease_s=600):
        attach(lans[0], pods[0], 0)
        damaged = DIRECTORY / "veth-damaged.json"
        damaged.write_text("{")
        done = subprocess.run([*COMMAND, "--list"], capture_output=True, text=True, cwd=ROOT, check=False)
        damaged.unlink()
        plugin.delete(lans[0].config, pods[0], container_id="c-0")
    assert done.returncode == 1
    assert "c-0" in done.stdout
    assert done.stderr.startswith(f'Error: cannot read lease "{damaged}": ')
