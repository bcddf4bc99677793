"""Addresses leased by DHCP for an attachment: from ADD to DEL, on the container and in the server's own lease file."""

import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from cni_harvester.ipam.lease import list_leases
from cni_harvester.ipam.renewal import extend
from lab import node
from lab.dhcp import KINDS, DhcpServer, connect_relay, serve_dhcp, serve_relay
from lab.namespaces import Container, make_container, make_containers
from lab.plugin import InProcess, Plugin
from lab.shell import run, run_ip
from lab.topology import ClusterNetwork, add_bridge

SERVER = "192.0.2.1/24"
IPAM = {"type": "cni-harvester", "mode": "dhcp", "timeoutSeconds": 10}
CONFIG = {"cniVersion": "1.1.0", "name": "net", "type": "cni-harvester", "bridge": "lan-br", "ipam": IPAM}
LEASES = Path("/run/cni-harvester/leases")
GUEST_MAC = "02:00:00:00:00:05"

any_kernel = pytest.mark.any_kernel
every_kind = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True)
class Lan:
    """A plain bridge, and where its DHCP server runs: on `eth0` of a namespace of its own."""

    bridge: str
    room: Container
    address: str

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of a network on that bridge."""
        return CONFIG | {"bridge": self.bridge}

    def serve(self, **options: Any) -> contextlib.AbstractContextManager[DhcpServer]:
        """Run a DHCP server for the time of a `with` block; see `serve_dhcp`."""
        return serve_dhcp(self.room, "eth0", self.address, **options)


@contextlib.contextmanager
def make_lan(name: str = "lan", address: str = SERVER) -> Iterator[Lan]:
    """Make a plain bridge for the time of a `with` block; the node must be found as it was before."""
    before = node.take_snapshot()
    bridge, end = f"{name}-br", f"{name}-end"
    with make_container(f"{name}-room") as room:
        add_bridge(bridge, filtering=False)
        run_ip(f"link add {end} type veth peer name eth0 netns {room.name}", f"link set {end} master {bridge} up")
        run_ip(f"address add {address} dev eth0", "link set eth0 up", namespace=room.name)
        yield Lan(bridge, room, address)
        run_ip(f"link del {end}", f"link del {bridge}")
    after = node.take_snapshot()
    assert node.list_differences(before | {"namespaces": []}, after | {"namespaces": []}) == []


@pytest.fixture
def lan(empty_node: None) -> Iterator[Lan]:
    """A plain bridge and a room for its DHCP server."""
    with make_lan() as made:
        yield made


def list_addresses(container: Container, interface: str = "eth0") -> list[str]:
    """Return the IPv4 addresses of an interface."""
    found = (link for link in container.ip("-4 address show") if link["ifname"] == interface)
    return [f"{a['local']}/{a['prefixlen']}" for link in found for a in link["addr_info"]]


def list_routes(container: Container) -> dict[str, str]:
    """Return the IPv4 routes that are not the kernel's own, as {destination: gateway, or "link"}."""
    routes = container.ip("-4 route show")
    return {r["dst"]: r.get("gateway", "link") for r in routes if r.get("protocol") != "kernel"}


def read_lease_files() -> list[dict[str, Any]]:
    """Return what is kept of leases on this node."""
    return [json.loads(path.read_text()) for path in sorted(LEASES.glob("*"))]


def find_mac(result: dict[str, Any]) -> str:
    """Return the MAC of the container end."""
    return str(result["interfaces"][-1]["mac"])


# --- ADD and DEL ---------------------------------------------------------------------------------------------------


@any_kernel
@every_kind
def test_add_leases_an_address_and_delete_releases_it(
    lan: Lan, container: Container, plugin: Plugin, kind: str
) -> None:
    """Whatever the server: it has the lease in its file, the container has the address; DEL gives it back."""
    with lan.serve(kind=kind, lease_s=600) as server:
        result = plugin.add(lan.config, container)
        mac = find_mac(result)
        kept = server.find_lease(mac)
        assert kept is not None, server.read_log()
        assert (kept.state, kept.expires_at) == ("active", pytest.approx(time.time() + 600, abs=5))
        assert result["ips"] == [{"address": f"{kept.address}/24", "gateway": "192.0.2.1", "interface": 2}]
        assert result["routes"] == [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}]
        assert list_addresses(container) == [f"{kept.address}/24"]
        assert list_routes(container) == {"default": "192.0.2.1"}
        container.run("ping -c 1 -W 2 192.0.2.1")
        plugin.delete(lan.config, container)
        assert server.wait_for_lease(mac, "released").address == kept.address
        assert server.list_leases() == {}
        assert read_lease_files() == []


@any_kernel
def test_lease_is_not_released_for_another_machine_in_its_place(lan: Lan, container: Container, plugin: Plugin) -> None:
    """An interface with another MAC is somebody else's: DEL forgets the lease, and the server keeps it to its end."""
    with lan.serve(kind="kea", lease_s=600) as server:
        mac = find_mac(plugin.add(lan.config, container))
        container.run(f"ip link set eth0 address {GUEST_MAC}")
        plugin.delete(lan.config, container)
        assert read_lease_files() == []
        assert server.wait_for_lease(mac, "active")


@any_kernel
def test_lease_file_has_what_renewal_and_release_need(lan: Lan, container: Container, plugin: Plugin) -> None:
    """Server, times and client are kept in one file, for root only, which goes with the attachment."""
    with lan.serve(kind="kea", lease_s=600):
        result = plugin.add(lan.config, container)
        (path,) = LEASES.iterdir()
        assert path.name == f"{result['interfaces'][1]['name']}.json"
        assert (path.stat().st_mode & 0o777, LEASES.stat().st_mode & 0o777) == (0o600, 0o700)
        document = json.loads(path.read_text())
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        assert document.pop("obtained_s") == pytest.approx(uptime_s, abs=10)
        room_mac = (lan.room.find_link("eth0") or {})["address"]
        assert document == {
            "version": 1,
            "attachment": {"network": "net", "container_id": "c-1", "ifname": "eth0"},
            "netns": container.path,
            "mac": find_mac(result),
            "client_id": "",
            "address": result["ips"][0]["address"],
            "routes": [{"destination": "0.0.0.0/0", "gateway": "192.0.2.1"}],
            "server": "192.0.2.1",
            "server_mac": room_mac,
            "lease_s": 600,
            "t1_s": 300,
            "t2_s": 525,
            "only_server": "",
        }
        plugin.delete(lan.config, container)
    assert list(LEASES.iterdir()) == []


@any_kernel
@every_kind
def test_lease_is_released_before_the_port_is_gone(lan: Lan, container: Container, plugin: Plugin, kind: str) -> None:
    """When DEL is about to delete the host end, the server has the address back already."""
    with lan.serve(kind=kind) as server:
        mac = find_mac(plugin.add(lan.config, container))
        seen = []

        def look(command: str) -> None:
            if "link del" in command:
                seen.append(server.wait_for_lease(mac, "released").state)

        InProcess(look).delete(lan.config, container)
        assert seen == ["released"]


@any_kernel
def test_delete_without_a_namespace_uses_the_one_of_the_lease(lan: Lan, container: Container, plugin: Plugin) -> None:
    """A runtime that has forgotten the namespace's path still has the address released."""
    with lan.serve(kind="kea") as server:
        mac = find_mac(plugin.add(lan.config, container))
        plugin.delete(lan.config, None)
        server.wait_for_lease(mac, "released")


@any_kernel
def test_delete_after_the_container_is_gone_forgets_the_lease(lan: Lan, container: Container, plugin: Plugin) -> None:
    """Nothing can be sent any more: the lease ends on the server by itself, and no file is left."""
    with lan.serve(kind="kea") as server:
        mac = find_mac(plugin.add(lan.config, container))
        container.delete()
        plugin.delete(lan.config, container)
        plugin.delete(lan.config, container)
        assert read_lease_files() == []
        assert server.wait_for_lease(mac, "active")


# --- what the server says ------------------------------------------------------------------------------------------

ROUTES = {"0.0.0.0/0": "192.0.2.8", "198.51.100.0/25": "192.0.2.7", "203.0.113.0/24": "0.0.0.0"}
OPTIONS: dict[str, Any] = {"dns": ["192.0.2.53", "192.0.2.54"], "domain": "example.org", "router": "192.0.2.9"}


@any_kernel
@every_kind
def test_classless_routes_go_before_the_router(lan: Lan, container: Container, plugin: Plugin, kind: str) -> None:
    """With option 121 option 3 does not count (RFC 3442); a gateway of 0.0.0.0 is a destination on the link itself."""
    routes = dict(list(ROUTES.items())[: 2 if kind == "dnsmasq" else 3])  # dnsmasq puts itself in the place of 0.0.0.0
    with lan.serve(kind=kind, routes=routes, **OPTIONS):
        result = plugin.add(lan.config, container)
        assert result["ips"][0]["gateway"] == "192.0.2.8"
        wanted = [{"dst": dst, "gw": gateway} for dst, gateway in routes.items() if gateway != "0.0.0.0"]
        on_link = [{"dst": "203.0.113.0/24", "scope": 253}] if kind != "dnsmasq" else []
        assert result["routes"] == wanted + on_link
        assert result["dns"] == {"nameservers": OPTIONS["dns"], "domain": "example.org"}
        expected = {"default": "192.0.2.8", "198.51.100.0/25": "192.0.2.7"}
        assert list_routes(container) == expected | ({"203.0.113.0/24": "link"} if on_link else {})
        reply = plugin.call("CHECK", lan.config | {"prevResult": result}, container)
        assert (reply.exit_status, reply.stdout) == (0, "")
        plugin.delete(lan.config, container)


@any_kernel
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_result_is_written_in_the_configurations_version(
    lan: Lan, container: Container, plugin: Plugin, version: str
) -> None:
    """Address, gateway, routes and name service are in the result of every version; the container is the same."""
    with lan.serve(kind="kea", addresses=("192.0.2.20", "192.0.2.20"), routes=ROUTES, **OPTIONS):
        config = lan.config | {"cniVersion": version}
        result = plugin.add(config, container)
        assert result["cniVersion"] == version
        assert result["dns"] == {"nameservers": ["192.0.2.53", "192.0.2.54"], "domain": "example.org"}
        routes = [
            {"dst": "0.0.0.0/0", "gw": "192.0.2.8"},
            {"dst": "198.51.100.0/25", "gw": "192.0.2.7"},
        ]
        if version < "0.3.0":
            old = {"ip": "192.0.2.20/24", "gateway": "192.0.2.8", "routes": [*routes, {"dst": "203.0.113.0/24"}]}
            assert result["ip4"] == old
        else:
            family = {"version": "4"} if version < "1.0.0" else {}
            assert result["ips"] == [{"address": "192.0.2.20/24", "gateway": "192.0.2.8", "interface": 2} | family]
            assert result["routes"] == [*routes, {"dst": "203.0.113.0/24", "scope": 253}]
        assert list_addresses(container) == ["192.0.2.20/24"]
        assert list_routes(container) == {
            "default": "192.0.2.8",
            "198.51.100.0/25": "192.0.2.7",
            "203.0.113.0/24": "link",
        }
        plugin.delete(config, container)


@any_kernel
def test_network_without_a_router_gives_an_address_alone(lan: Lan, container: Container, plugin: Plugin) -> None:
    """A storage network has none, and needs none."""
    with lan.serve(kind="dnsmasq", router=None):
        result = plugin.add(lan.config, container)
        assert list(result["ips"][0]) == ["address", "interface"]
        assert "routes" not in result
        assert list_routes(container) == {}
        plugin.delete(lan.config, container)


@any_kernel
def test_own_name_service_goes_before_the_servers(lan: Lan, container: Container, plugin: Plugin) -> None:
    """`dns` of the configuration replaces what the server says, as it does for any IPAM plugin."""
    with lan.serve(kind="dnsmasq", dns=["192.0.2.53"], domain="example.org"):
        config = lan.config | {"dns": {"nameservers": ["198.51.100.53"]}}
        assert plugin.add(config, container)["dns"] == {"nameservers": ["198.51.100.53"]}
        plugin.delete(config, container)


# --- who asks, and whom --------------------------------------------------------------------------------------------


@any_kernel
def test_client_is_named_by_its_mac_or_as_told(lan: Lan, container: Container, plugin: Plugin) -> None:
    """The server keeps the lease under type 1 and the MAC, or type 0 and the text, at its release too."""
    config = lan.config | {"runtimeConfig": {"mac": GUEST_MAC}}
    with lan.serve(kind="kea") as server:
        for ipam, client_id in (IPAM, f"01:{GUEST_MAC}"), (IPAM | {"clientID": "vm-1"}, "00:76:6d:2d:31"):
            plugin.add(config | {"ipam": ipam}, container)
            rows = (server.folder / "leases.csv").read_text().splitlines()
            assert rows[-1].split(",")[1:3] == [GUEST_MAC, client_id]
            plugin.delete(config | {"ipam": ipam}, container)
            server.wait_for_lease(GUEST_MAC, "released")


@any_kernel
def test_only_the_server_of_the_configuration_counts(
    lan: Lan, container: Container, other: Container, plugin: Plugin
) -> None:
    """With `server` the offers of all others are left alone, however fast they are."""
    run_ip(f"link add two-end type veth peer name eth0 netns {other.name}", f"link set two-end master {lan.bridge} up")
    run_ip("address add 192.0.2.2/24 dev eth0", "link set eth0 up", namespace=other.name)
    with (
        lan.serve(kind="udhcpd", addresses=("192.0.2.20", "192.0.2.29")) as first,
        serve_dhcp(other, "eth0", "192.0.2.2/24", kind="udhcpd", addresses=("192.0.2.40", "192.0.2.49")) as second,
    ):
        for wanted, server in (("192.0.2.1", first), ("192.0.2.2", second)):
            config = lan.config | {"ipam": IPAM | {"server": wanted}}
            mac = find_mac(plugin.add(config, container))
            assert [document["server"] for document in read_lease_files()] == [wanted]
            assert list_addresses(container) == [f"{server.list_leases()[mac]}/24"]
            plugin.delete(config, container)
            server.wait_for_lease(mac, "released")
    run_ip("link del two-end")


@any_kernel
def test_many_containers_get_an_address_each_at_once(lan: Lan, empty_node: None) -> None:
    """Sixteen ADDs at the same time: sixteen addresses, and sixteen released ones after the DELs."""
    with make_containers(16) as containers, lan.serve(kind="dnsmasq") as server, ThreadPoolExecutor(16) as pool:

        def call(command: str, number: int) -> int:
            return InProcess().call(command, lan.config, containers[number], container_id=f"c-{number}").exit_status

        assert list(pool.map(lambda number: call("ADD", number), range(16))) == [0] * 16
        addresses = [address for container in containers for address in list_addresses(container)]
        assert sorted(addresses) == sorted(f"{address}/24" for address in server.list_leases().values())
        assert (len(set(addresses)), len(read_lease_files())) == (16, 16)
        assert list(pool.map(lambda number: call("DEL", number), range(16))) == [0] * 16
        assert read_lease_files() == []
        deadline = time.monotonic() + 5
        while server.list_leases() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.list_leases() == {}


# --- through a relay -----------------------------------------------------------------------------------------------


@any_kernel
@pytest.mark.parametrize("kind", [kind for kind, server in KINDS.items() if server.serves_relays])
def test_lease_behind_a_relay_is_renewed_and_released_through_it(
    lan: Lan, container: Container, other: Container, plugin: Plugin, kind: str
) -> None:
    """The server is elsewhere: what goes to its address goes to the relay's MAC, and broadcasts go to the relay."""
    relay, room = lan.room, other
    link = connect_relay(relay, room, "192.0.2.0/24")
    server_address = str(link.server_address)
    with (
        serve_dhcp(
            room, link.server_interface, server_address, kind=kind, subnet="192.0.2.0/24", lease_s=600
        ) as server,
        serve_relay(relay, "eth0", link.relay_interface, str(link.server_address.ip)),
    ):
        mac = find_mac(plugin.add(lan.config, container))
        (lease,) = list_leases()
        assert (lease.server, lease.gateway) == (link.server_address.ip, IPv4Address("192.0.2.1"))
        assert lease.server_mac == (relay.find_link("eth0") or {})["address"]
        assert list_addresses(container) == [f"{server.list_leases()[mac]}/24"]
        for rebind in (False, True):
            renewed = extend(lease, rebind=rebind)
            assert renewed is not None, server.read_log()
            assert (renewed.address, renewed.server) == (lease.address, lease.server)
        plugin.delete(lan.config, container)
        server.wait_for_lease(mac, "released")


# --- CHECK, GC, STATUS ---------------------------------------------------------------------------------------------


@any_kernel
def test_check_passes_while_the_lease_runs_and_fails_when_it_has_expired(
    lan: Lan, container: Container, plugin: Plugin
) -> None:
    """Nobody renews it here: code 110 names the address, and what should have renewed it."""
    with lan.serve(kind="kea", lease_s=2) as server:
        config = lan.config
        result = plugin.add(config, container)
        check = config | {"prevResult": result}
        assert plugin.call("CHECK", check, container).exit_status == 0
        server.wait_for_lease(find_mac(result), "expired")
        time.sleep(1)  # its clock has whole seconds, ours begins at the question
        reply = plugin.call("CHECK", check, container)
        assert reply.code == 110
        address = result["ips"][0]["address"]
        assert f'the DHCP lease of "eth0" for {address} expired ' in reply.document["msg"]
        assert "cni-harvester leases" in reply.document["details"]
        plugin.delete(config, container)


@any_kernel
def test_check_after_the_lease_was_lost_fails(lan: Lan, container: Container, plugin: Plugin) -> None:
    """Without its file the address is nobody's to renew."""
    with lan.serve(kind="kea"):
        result = plugin.add(lan.config, container)
        for path in LEASES.iterdir():
            path.unlink()
        reply = plugin.call("CHECK", lan.config | {"prevResult": result}, container)
        assert (reply.code, reply.document["msg"]) == (110, 'attachment "eth0" has no DHCP lease')
        plugin.delete(lan.config, container)


@any_kernel
def test_gc_forgets_the_stale_leases_and_keeps_the_valid_ones(
    lan: Lan, container: Container, other: Container, plugin: Plugin
) -> None:
    """What the runtime lists stays, on the node and on the server; another network's leases stay too."""
    foreign = lan.config | {"name": "foreign"}
    with lan.serve(kind="kea") as server:
        valid = find_mac(plugin.add(lan.config, container))
        stale = find_mac(plugin.add(lan.config, other, container_id="c-2"))
        alien = find_mac(plugin.add(foreign, other, container_id="c-3", ifname="net1"))
        collect = lan.config | {"cni.dev/valid-attachments": [{"containerID": "c-1", "ifname": "eth0"}]}
        reply = plugin.call("GC", collect)
        assert (reply.exit_status, reply.stdout) == (0, "")
        assert sorted(document["mac"] for document in read_lease_files()) == sorted([valid, alien])
        assert list_addresses(container) != []
        assert other.find_link("eth0") is None
        assert {valid, alien} <= set(server.list_leases())
        server.wait_for_lease(stale, "released")
        plugin.delete(lan.config, container)
        plugin.delete(foreign, other, container_id="c-3", ifname="net1")


@any_kernel
def test_gc_as_anothers_ipam_plugin_releases_on_the_server(lan: Lan, container: Container, plugin: Plugin) -> None:
    """The port is still there then: it is another main plugin's, which deletes it afterwards."""
    run_ip(
        f"link add pod-end type veth peer name eth0 netns {container.name}", f"link set pod-end master {lan.bridge} up"
    )
    delegated = {key: value for key, value in lan.config.items() if key != "bridge"} | {"type": "macvlan"}
    with lan.serve(kind="kea") as server:
        assert plugin.call("ADD", delegated, container).exit_status == 0
        (mac,) = server.list_leases()
        reply = plugin.call("GC", delegated | {"cni.dev/valid-attachments": []})
        assert (reply.exit_status, reply.stdout) == (0, "")
        server.wait_for_lease(mac, "released")
        assert read_lease_files() == []
    run_ip("link del pod-end")


@any_kernel
def test_status_says_whether_leases_can_be_kept(lan: Lan, plugin: Plugin) -> None:
    """Code 50 where they cannot be written, code 7 for a wrong configuration, and nothing is asked of the network."""
    assert plugin.call("STATUS", lan.config).exit_status == 0
    wrong = plugin.call("STATUS", lan.config | {"ipam": {"type": "cni-harvester"}})
    assert (wrong.code, "ipam.mode: missing" in wrong.document["msg"]) == (7, True)
    LEASES.mkdir(parents=True, exist_ok=True)
    run(f"mount -t tmpfs -o ro none {LEASES}")
    try:
        reply = plugin.call("STATUS", lan.config)
        assert reply.code == 50
        assert f'cannot keep leases in "{LEASES}"' in reply.document["msg"]
    finally:
        run(f"umount {LEASES}")


# --- on a cluster network ------------------------------------------------------------------------------------------


def test_lease_of_a_vlan_comes_over_the_uplink(cluster: ClusterNetwork, container: Container, plugin: Plugin) -> None:
    """Through port, VLAN, uplink and switch: the address is that VLAN's, and is given back there."""
    switch = cluster.switch
    run_ip(
        f"link add link {cluster.trunk} name trunk.100 type vlan id 100",
        f"address add {SERVER} dev trunk.100",
        "link set trunk.100 up",
        namespace=switch.name,
    )
    config = CONFIG | {"bridge": cluster.bridge, "vlan": 100, "ipam": IPAM | {"timeoutSeconds": 60}}
    with serve_dhcp(switch, "trunk.100", SERVER, kind="dnsmasq") as server:
        mac = find_mac(plugin.add(config, container))
        assert list_addresses(container) == [f"{server.list_leases()[mac]}/24"]
        plugin.delete(config, container)
        server.wait_for_lease(mac, "released")
