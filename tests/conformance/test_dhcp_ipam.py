"""The built program as the IPAM plugin of other main plugins: the reference `bridge` and `macvlan`, run for real."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import node
from lab.dhcp import DhcpServer, serve_dhcp
from lab.namespaces import Container, make_container
from lab.plugin import REFERENCE_PLUGINS, ROOT, Bundle, Reply
from lab.shell import run_ip

pytestmark = pytest.mark.any_kernel

SERVER = "192.0.2.1/24"
IPAM = {"type": "cni-harvester", "mode": "dhcp", "timeoutSeconds": 10}
MAIN_PLUGINS = {
    "bridge": {"type": "bridge", "bridge": "lan-br"},
    "macvlan": {"type": "macvlan", "master": "lan-nic", "mode": "bridge"},
}
RELEASES = frozenset({"macvlan"})
"""The reference `bridge` deletes the interface before it calls its IPAM plugin's DEL, so that nothing can be sent: the
server has the address back when the lease ends."""
VERSIONS = ("0.2.0", "0.3.1", "0.4.0", "1.0.0")
"""One of each form that results have, of those that the reference plugins of Debian 12 speak."""
LEASES = Path("/run/cni-harvester/leases")
OPTIONS: dict[str, Any] = {
    "addresses": ("192.0.2.20", "192.0.2.29"),
    "dns": ["192.0.2.53"],
    "domain": "example.org",
    "routes": {"0.0.0.0/0": "192.0.2.8", "198.51.100.0/24": "192.0.2.7"},
}

every_plugin = pytest.mark.parametrize("kind", MAIN_PLUGINS)


@pytest.fixture
def room(empty_node: None) -> Iterator[Container]:
    """Where the DHCP server runs; on the node are a plain bridge towards it, and a NIC for macvlan on that bridge."""
    with make_container("room") as made:
        run_ip(
            "link add lan-br type bridge",
            f"link add lan-end type veth peer name eth0 netns {made.name}",
            "link add lan-nic type veth peer name lan-port",
            *(f"link set {port} master lan-br up" for port in ("lan-end", "lan-port")),
            "link set lan-nic up",
            "link set lan-br up",
        )
        run_ip(f"address add {SERVER} dev eth0", "link set eth0 up", namespace=made.name)
        before = node.take_snapshot()
        yield made
        after = node.take_snapshot()
        assert node.list_differences(before | {"namespaces": []}, after | {"namespaces": []}) == []
        run_ip("link del lan-nic", "link del lan-end", "link del lan-br")


@pytest.fixture
def pod(room: Container) -> Iterator[Container]:
    """A container's network namespace on that node, which need not filter VLANs."""
    with make_container("pod-1") as made:
        yield made


@pytest.fixture
def plugins(pod: Container, bundle: Bundle) -> Iterator[dict[str, "MainPlugin"]]:
    """All main plugins, with a container each, so that what takes its time takes it together."""
    with make_container("pod-2") as other:
        pods = dict(zip(MAIN_PLUGINS, (pod, other), strict=True))
        yield {kind: MainPlugin(kind, bundle, container) for kind, container in pods.items()}


class MainPlugin:
    """A reference plugin, with the built program in its CNI_PATH."""

    def __init__(self, kind: str, bundle: Bundle, pod: Container) -> None:
        self._program = Bundle(Path(REFERENCE_PLUGINS, kind))
        self._path = f"{bundle.path.parent}:{REFERENCE_PLUGINS}"
        self.pod = pod
        self._config = {"name": "net", "ipam": IPAM} | MAIN_PLUGINS[kind]

    def call(self, command: str, version: str, **keys: Any) -> Reply:
        """Run a verb."""
        config = {"cniVersion": version} | self._config | keys
        return self._program.call(command, config, self.pod, container_id=self.pod.name, path=self._path)

    def add(self, version: str) -> dict[str, Any]:
        """ADD that must succeed."""
        reply = self.call("ADD", version)
        assert reply.exit_status == 0, reply
        return reply.document

    def delete(self, version: str) -> None:
        """DEL that must succeed."""
        reply = self.call("DEL", version)
        assert reply.exit_status == 0, reply


def find_mac(container: Container) -> str:
    """Return the MAC of the container's interface."""
    link = container.find_link("eth0")
    assert link is not None
    return str(link["address"])


def list_addresses(container: Container) -> list[str]:
    """Return the IPv4 addresses of the container's interface."""
    (link,) = container.ip("-4 address show dev eth0") or [{"addr_info": []}]
    return [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"]]


def list_routes(container: Container) -> list[tuple[str, str]]:
    """Return the IPv4 routes that are not the kernel's own, as (destination, gateway or "link")."""
    routes = container.ip("-4 route show")
    return sorted((r["dst"], r.get("gateway", "link")) for r in routes if r.get("protocol") != "kernel")


def wait_for_end(server: DhcpServer, mac: str, kind: str) -> None:
    """Wait until the server has a lease back, as far as the main plugin lets us tell it."""
    if kind in RELEASES:
        server.wait_for_lease(mac, "released")
    else:
        assert find_active(server, mac)


def find_active(server: DhcpServer, mac: str) -> str:
    """Return the address that the server has given to a client."""
    lease = server.find_lease(mac)
    assert lease is not None, server.read_log()
    assert lease.state == "active"
    return lease.address


@pytest.mark.parametrize("version", VERSIONS)
@every_plugin
def test_reference_plugin_gets_address_and_routes_from_us(
    room: Container, pod: Container, bundle: Bundle, kind: str, version: str
) -> None:
    """Through ADD, CHECK and DEL: the container has what the server said, the result says it, and it is given back.

    The name service is not in the result, for these main plugins put that of the configuration in its place.
    """
    plugin = MainPlugin(kind, bundle, pod)
    with serve_dhcp(room, "eth0", SERVER, kind="kea", **OPTIONS) as server:
        result = plugin.add(version)
        mac = find_mac(pod)
        address = f"{find_active(server, mac)}/24"
        routes = [{"dst": "0.0.0.0/0", "gw": "192.0.2.8"}, {"dst": "198.51.100.0/24", "gw": "192.0.2.7"}]
        if version < "0.3.0":
            assert result["ip4"] == {"ip": address, "gateway": "192.0.2.8", "routes": routes}
        else:
            (ip,) = result["ips"]
            assert (ip["address"], ip["gateway"]) == (address, "192.0.2.8")
            assert result["routes"] == routes
        assert list_addresses(pod) == [address]
        assert list_routes(pod) == [("198.51.100.0/24", "192.0.2.7"), ("default", "192.0.2.8")]
        if version >= "0.4.0":
            reply = plugin.call("CHECK", version, prevResult=result)
            assert (reply.exit_status, reply.stdout) == (0, ""), reply
        plugin.delete(version)
        wait_for_end(server, mac, kind)
        assert pod.find_link("eth0") is None
        assert list(LEASES.iterdir()) == []
        plugin.delete(version)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_answer_to_a_main_plugin_has_all_that_the_server_said(
    room: Container, pod: Container, bundle: Bundle, version: str
) -> None:
    """What any main plugin gets: address, gateway, routes, name service, in its version, and nothing of interfaces."""
    run_ip(f"link add pod-end type veth peer name eth0 netns {pod.name}", "link set pod-end master lan-br up")
    config = {"cniVersion": version, "name": "net", "ipam": IPAM} | MAIN_PLUGINS["macvlan"]
    with serve_dhcp(room, "eth0", SERVER, kind="kea", **OPTIONS) as server:
        result = bundle.add(config, pod)
        mac = find_mac(pod)
        routes = [{"dst": "0.0.0.0/0", "gw": "192.0.2.8"}, {"dst": "198.51.100.0/24", "gw": "192.0.2.7"}]
        expected: dict[str, Any] = {
            "cniVersion": version,
            "dns": {"nameservers": ["192.0.2.53"], "domain": "example.org"},
        }
        address = f"{find_active(server, mac)}/24"
        if version < "0.3.0":
            expected["ip4"] = {"ip": address, "gateway": "192.0.2.8", "routes": routes}
        else:
            family = {"version": "4"} if version < "1.0.0" else {}
            expected |= {"ips": [{"address": address, "gateway": "192.0.2.8"} | family], "routes": routes}
        assert result == expected
        assert list_addresses(pod) == []
        bundle.delete(config, pod)
        server.wait_for_lease(mac, "released")
    run_ip("link del pod-end")


def test_expired_lease_fails_the_reference_plugins_check(room: Container, plugins: dict[str, MainPlugin]) -> None:
    """Our CHECK is part of theirs: its code 110 comes through."""
    with serve_dhcp(room, "eth0", SERVER, kind="kea", lease_s=2) as server:
        results = {kind: plugin.add("1.0.0") for kind, plugin in plugins.items()}
        for plugin in plugins.values():
            server.wait_for_lease(find_mac(plugin.pod), "expired")
        time.sleep(1)
        for kind, plugin in plugins.items():
            reply = plugin.call("CHECK", "1.0.0", prevResult=results[kind])
            assert reply.code == 110, reply
            assert 'the DHCP lease of "eth0" for ' in reply.document["msg"]
            plugin.delete("1.0.0")


def test_reference_plugin_without_a_server_gets_our_error_and_leaves_nothing(plugins: dict[str, MainPlugin]) -> None:
    """Code 11 and the reason come through, within the time; the runtime's DEL then finds nothing of ours to do."""

    def add(plugin: MainPlugin) -> tuple[Reply, float]:
        began_s = time.monotonic()
        return plugin.call("ADD", "1.0.0", ipam=IPAM | {"timeoutSeconds": 2}), time.monotonic() - began_s

    with ThreadPoolExecutor(2) as pool:
        for reply, took_s in pool.map(add, plugins.values()):
            assert reply.code == 11
            assert 'cannot get an address by DHCP on "eth0" within 2 s' in reply.document["msg"]
            assert 2 < took_s < 8
    assert list(LEASES.glob("*")) == []
    for plugin in plugins.values():
        plugin.delete("1.0.0")
        assert plugin.pod.find_link("eth0") is None


@every_plugin
def test_wrong_ipam_object_is_refused_through_the_reference_plugin(
    room: Container, pod: Container, bundle: Bundle, kind: str
) -> None:
    """Every fault by its path, code 7, and nothing is asked of the network."""
    plugin = MainPlugin(kind, bundle, pod)
    reply = plugin.call("ADD", "1.0.0", ipam={"type": "cni-harvester", "timeoutSeconds": 0})
    assert reply.code == 7
    assert "ipam.mode: missing" in reply.document["msg"]
    assert "ipam.timeoutSeconds: " in reply.document["msg"]
    plugin.delete("1.0.0")
    assert pod.find_link("eth0") is None


def test_lease_behind_a_reference_plugin_is_renewed_and_follows_the_server(
    room: Container, plugins: dict[str, MainPlugin], tmp_path: Path
) -> None:
    """`cni-harvester leases` renews it as any other; a router that the server changes is changed in the container."""
    with serve_dhcp(room, "eth0", SERVER, kind="kea", lease_s=6):
        addresses = {kind: plugin.add("1.0.0") and list_addresses(plugin.pod) for kind, plugin in plugins.items()}
    log = tmp_path / "events"
    with (
        serve_dhcp(room, "eth0", SERVER, kind="kea", lease_s=600, router="192.0.2.254") as server,
        log.open("wb") as out,
    ):
        keeper = subprocess.Popen([sys.executable, "-m", "cni_harvester", "leases"], stdout=out, cwd=ROOT)
        deadline = time.monotonic() + 15
        while log.read_text().count("\n") < len(plugins) and time.monotonic() < deadline:
            time.sleep(0.05)
        keeper.terminate()
        assert keeper.wait(10) == 0
        assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["renewed"] * 2
        for kind, plugin in plugins.items():
            mac = find_mac(plugin.pod)
            assert list_addresses(plugin.pod) == addresses[kind] == [f"{find_active(server, mac)}/24"]
            assert list_routes(plugin.pod) == [("default", "192.0.2.254")]
            plugin.delete("1.0.0")
            wait_for_end(server, mac, kind)
