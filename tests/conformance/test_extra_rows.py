"""What users of the reference `bridge` plugin stumble over (rows X-), and what cni-harvester does instead."""

import json
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import node
from lab.namespaces import Container, make_containers
from lab.plugin import Bundle, Plugin, Reply
from lab.shell import run, run_ip
from lab.topology import add_bridge

from .ipam import PLUGIN_PATH, PLUGINS, TestIpam
from .observe import (
    BRIDGE,
    NEW,
    Snapshot,
    assert_attached,
    assert_detached,
    assert_refused,
    assert_result,
    assert_same,
    count_rules,
    list_names,
    look,
    unchanged_node,
    vlan_table,
)
from .rows import NEWEST, VERSIONS, WITH_CHECK, WITH_INTERFACES, row, rows


def configure(version: str, **keys: Any) -> dict[str, Any]:
    """Make a network configuration for the bridge that is there."""
    return {"cniVersion": version, "name": "net", "type": "cni-harvester", "bridge": BRIDGE, **keys}


def check(plugin: Plugin, config: dict[str, Any], result: dict[str, Any], container: Container) -> Reply:
    """Run CHECK with the result of the ADD."""
    return plugin.call("CHECK", config | {"prevResult": result}, container)


def assert_sound(reply: Reply) -> None:
    """A CHECK found nothing to complain of, and printed nothing."""
    assert (reply.exit_status, reply.stdout) == (0, ""), reply


# --- CHECK -------------------------------------------------------------------------------------------------------

ATTACHMENTS: dict[str, dict[str, Any]] = {
    "X-01": {"vlan": 100},
    "X-01-plain": {},
    "X-01-trunk": {"vlan": 100, "vlanTrunk": [{"minID": 200, "maxID": 300}], "portIsolation": True, "mtu": 1400},
    "X-01-guarded": {"vlan": 100, "macspoofchk": True},
    "X-01-silent": {"vlan": 100, "disableContainerInterface": True},
    "X-01-preserved": {"vlan": 100, "preserveDefaultVlan": True},
    "X-01-hairpin": {"hairpinMode": True},
}


@rows(ATTACHMENTS, WITH_CHECK)
def test_check_of_an_intact_attachment_passes(
    row: dict[str, Any], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """CHECK passes for a layer-2 attachment that is as ADD made it, and changes nothing."""
    config = configure(version, **row)
    result = plugin.add(config, container)
    attached = node.take_snapshot()
    assert_sound(check(plugin, config, result, container))
    assert_same(attached)
    assert_detached(plugin, config, container, before)


# What breaks it, words of the message, what mends what DEL does not.
DAMAGES: dict[str, tuple[str, str, str]] = {
    "X-02": ("bridge vlan del dev {host} vid 100", "VLANs of", ""),
    "X-02-more": ("bridge vlan add dev {host} vid 1 untagged", "VLANs of", ""),
    "X-02-down": ("ip link set {host} down", "state of", ""),
    "X-02-away": ("ip link set {host} nomaster", "controller of", ""),
    "X-02-mtu": ("ip link set {host} mtu 1280", "MTU of", ""),
    "X-02-isolated": ("bridge link set dev {host} isolated on", "isolation of", ""),
    "X-02-bridge": ("ip link set bridge0 down", "state", "ip link set bridge0 up"),
    "X-02-unfiltered": (
        "ip link set bridge0 type bridge vlan_filtering 0", "VLAN filtering of",
        "ip link set bridge0 type bridge vlan_filtering 1",
    ),
    "X-02-container": ("ip -n {container} link set eth0 down", "in the container", ""),
    "X-02-mac": ("ip -n {container} link set eth0 address 02:00:00:00:00:99", "MAC of", ""),
    "X-02-gone": ("ip link del {host}", "expected to exist, found none", ""),
}  # fmt: skip


@rows(DAMAGES, WITH_CHECK)
def test_check_of_a_damaged_attachment_names_the_damage(
    row: tuple[str, str, str], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """CHECK fails with code 110 when the VLAN is off the port, an end down, or anything else that carries frames."""
    damage, words, mend = row
    config = configure(version, vlan=100)
    result = plugin.add(config, container)
    host_end = result["interfaces"][1]["name"]
    run(damage.format(host=host_end, container=container.name))
    damaged = node.take_snapshot()
    reply = check(plugin, config, result, container)
    assert_same(damaged)
    run(mend or "true")
    assert_refused(reply, 110, words)
    assert_detached(plugin, config, container, before)


@row("X-03", WITH_CHECK)
def test_check_does_not_mind_that_the_bridge_took_another_mac(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """A bridge without a MAC of its own takes the lowest of its ports'; CHECK passes when one with a lower joins."""
    config = configure(version, vlan=100)
    result = plugin.add(config, container)
    run_ip("link add lower0 address 00:00:00:00:00:01 type dummy", f"link set lower0 master {BRIDGE}")
    assert look(container).bridge["address"] == "00:00:00:00:00:01"
    assert result["interfaces"][0]["mac"] != "00:00:00:00:00:01"
    assert_sound(check(plugin, config, result, container))
    run_ip("link del lower0")
    assert_detached(plugin, config, container, before)


def rename_as_kubevirt(container: Container, mac: str) -> None:
    """Do to the container end what KubeVirt's bridge binding does: rename it, and put a dummy in its place."""
    run_ip(
        "link set eth0 down",
        "link set eth0 name hash-nic",
        "link set hash-nic address 02:00:00:00:00:77",
        f"link add eth0 address {mac} type dummy",
        "link set hash-nic up",
        namespace=container.name,
    )


@row("X-04", WITH_CHECK)
def test_check_finds_the_interface_that_kubevirt_renamed(version: str, plugin: Plugin, container: Container) -> None:
    """CHECK passes after the interface was renamed and a dummy got its name, and fails when the renamed one is gone."""
    config = configure(version, vlan=100)
    result = plugin.add(config, container)
    rename_as_kubevirt(container, result["interfaces"][2]["mac"])
    assert_sound(check(plugin, config, result, container))
    run_ip("link del hash-nic", namespace=container.name)
    assert_refused(check(plugin, config, result, container), 110)
    plugin.delete(config, container)


# --- DEL ---------------------------------------------------------------------------------------------------------


@row("X-05", WITH_INTERFACES)
def test_delete_removes_the_interface_that_kubevirt_renamed(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """DEL removes our interface under its new name, and leaves the dummy that has the old one alone."""
    config = configure(version, vlan=100)
    result = plugin.add(config, container)
    rename_as_kubevirt(container, result["interfaces"][2]["mac"])
    plugin.delete(config, container)
    assert "hash-nic" not in list_names(container)
    dummy = container.find_link("eth0")
    assert dummy
    assert dummy["linkinfo"]["info_kind"] == "dummy"
    assert_same(before)
    plugin.delete(config, container)
    assert "eth0" in list_names(container)


LATE_DELETES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "X-06": ({}, {"netns": ""}),
    "X-06-vanished": ({}, {"netns": "/run/netns/gone"}),
    "X-06-unset": ({"macspoofchk": None}, {}),
    "X-06-emptied": ({"macspoofchk": None, "bridge": None, "vlan": None}, {"netns": ""}),
}


@rows(LATE_DELETES, WITH_INTERFACES)
def test_delete_removes_the_spoof_rules_by_identity(
    row: tuple[dict[str, Any], dict[str, Any]], version: str, plugin: Plugin, container: Container,
    before: Snapshot,
) -> None:  # fmt: skip
    """The rules go with the DEL though the namespace is unknown or gone, or the configuration has changed since."""
    changes, options = row
    config = configure(version, vlan=100, macspoofchk=True)
    plugin.add(config, container)
    assert sum(count_rules("macspoofchk-c-1-eth0").values()) == 4
    plugin.delete(config | changes, container, **options)
    assert count_rules("macspoofchk-c-1-eth0") == {}
    assert_same(before)


@row("X-07")
def test_delete_with_a_file_for_a_namespace_releases_everything(
    version: str, plugin: Plugin, container: Container, before: Snapshot, ipam: TestIpam, tmp_path: Path
) -> None:
    """After a reboot CNI_NETNS is a plain file: DEL takes the container for gone, and releases its address."""
    config = configure(version, ipam=ipam.config_in(version))
    plugin.add(config, container, path=PLUGIN_PATH)
    assert len(ipam.reservations) == 1
    path = tmp_path / "netns"
    path.touch()
    for _ in range(2):
        plugin.delete(config, netns=str(path), path=PLUGIN_PATH)
        assert_same(before)
        assert ipam.reservations == []


# --- failing ADDs ------------------------------------------------------------------------------------------------

REFUSED_ROUTE = {"dst": "203.0.113.0/24", "gw": "198.51.100.1"}
LATE_FAILURES: dict[str, tuple[dict[str, Any], int, str]] = {
    "X-08": ({"answer": {"routes": [REFUSED_ROUTE]}}, 106, "203.0.113.0/24"),
    "X-08-typed": ({"fail": {"ADD": {"document": {"code": 11, "msg": "busy"}}}, "after": "reserve"}, 11, "busy"),
    "X-08-none": ({"answer": {"ips": []}}, 114, "no IP address"),
    "X-08-twice": ({"answer": {"ips": [{"address": "192.0.2.5/24"}] * 2}}, 106, "192.0.2.5/24"),
    "X-08-answer": ({"answer": {"ips": [{"address": "192.0.2.5"}]}}, 7, "prefix"),
    "X-08-version": ({"answer": {"cniVersion": "9.9.9"}}, 1, "9.9.9"),
}
MADE: dict[str, dict[str, Any]] = {"there": {}, "created": {"bridge": NEW, "createBridge": True}}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE.keys())
@rows(LATE_FAILURES, WITH_INTERFACES)
def test_add_that_fails_late_leaves_nothing(
    row: tuple[dict[str, Any], int, str], version: str, plugin: Plugin, made: dict[str, Any],
    container: Container, before: Snapshot, ipam: TestIpam,
) -> None:  # fmt: skip
    """An ADD that fails in or after the IPAM plugin runs its DEL, and removes ports, VLANs, rules and its bridge."""
    keys, code, words = row
    config = configure(version, vlan=100, macspoofchk=True, ipam=ipam.config(**keys)) | made
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, path=PLUGIN_PATH), code, words)
    assert "eth0" not in list_names(container)
    assert ipam.commands == ["ADD", "DEL"]
    assert ipam.reservations == []


@row("X-08-route", VERSIONS[1:2])
def test_add_that_fails_late_in_an_old_version_leaves_nothing(
    version: str, plugin: Plugin, container: Container, before: Snapshot, ipam: TestIpam
) -> None:
    """The same holds in versions before 0.3.0, whose routes come with the address."""
    ip4 = {"ip": "10.1.2.2/24", "gateway": "10.1.2.1", "routes": [REFUSED_ROUTE]}
    config = configure(version, ipam=ipam.config(answer={"ip4": ip4}))
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, path=PLUGIN_PATH), 106, "203.0.113.0/24")
    assert ipam.commands == ["ADD", "DEL"]
    assert ipam.reservations == []


@row("X-08-missing", VERSIONS)
def test_add_without_its_ipam_plugin_leaves_nothing(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """An IPAM plugin that is not installed is code 105, and named; nothing is left, and nothing claimed to be."""
    config = configure(version, ipam={"type": "not-installed"})
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, path=PLUGIN_PATH), 105, "not-installed")
    assert "eth0" not in list_names(container)


@row("X-08-both", VERSIONS)
def test_add_whose_ipam_plugin_fails_at_everything_reports_its_first_error(
    version: str, plugin: Plugin, container: Container, before: Snapshot, ipam: TestIpam
) -> None:
    """An IPAM plugin that refuses its configuration refuses ADD and DEL alike: the ADD's own typed error is ours."""
    failure = {"document": {"code": 7, "msg": "invalid subnet", "details": "10.1.2.0/99"}}
    config = configure(version, ipam=ipam.config(fail={"ADD": failure, "DEL": failure}))
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, path=PLUGIN_PATH), 7, "invalid subnet", "10.1.2.0/99")
    assert "eth0" not in list_names(container)


EARLY_FAILURES: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "X-08-bridge": ({"bridge": "nowhere-br"}, {}, 100, "nowhere-br"),
    "X-08-netns": ({}, {"netns": "/run/netns/gone"}, 3, "/run/netns/gone"),
    "X-08-file": ({}, {"netns": "/proc/version"}, 3, "/proc/version"),
    "X-08-created": ({"bridge": NEW, "createBridge": True}, {"netns": "/run/netns/gone"}, 3, "/run/netns/gone"),
    "X-08-lo": ({}, {"ifname": "lo"}, 103, '"lo"'),
    "X-08-lo-created": ({"bridge": NEW, "createBridge": True}, {"ifname": "lo"}, 103, '"lo"'),
    "X-08-link": ({"bridge": "lo"}, {}, 104, '"lo"'),
    "X-08-name": ({"bridge": "sixteen-bytes-xx"}, {}, 7, "sixteen-bytes-xx"),
    "X-08-mac": ({"runtimeConfig": {"mac": "zz"}}, {}, 7, "zz"),
    "X-08-multicast": ({"args": {"cni": {"mac": "01:00:5e:00:00:01"}}}, {}, 7, "01:00:5e:00:00:01"),
    "X-08-flags": ({"hairpinMode": True, "promiscMode": True}, {}, 7, "hairpinMode"),
    "X-08-silent": ({"disableContainerInterface": True, "ipam": {"type": "test-ipam"}}, {}, 7, "ipam"),
    "X-08-gateway": ({"isGateway": True}, {}, 2, "isGateway: true"),
    "X-08-default": ({"isDefaultGateway": True}, {}, 2, "isDefaultGateway: true"),
    "X-08-force": ({"forceAddress": True}, {}, 2, "forceAddress: true"),
    "X-08-masq": ({"ipMasq": True}, {}, 2, "ipMasq: true"),
    "X-08-type": ({"vlan": "100"}, {}, 7, "'100'"),
}


@rows(EARLY_FAILURES, WITH_INTERFACES)
def test_add_that_fails_early_changes_nothing_and_can_be_deleted(
    row: tuple[dict[str, Any], dict[str, Any], int, str], version: str, plugin: Plugin,
    container: Container, before: Snapshot,
) -> None:  # fmt: skip
    """What stands in the way is named with the code that says who must act, and a DEL of it succeeds."""
    keys, options, code, words = row
    config = configure(version) | keys
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, **options), code, words)
        plugin.delete(config | {"ipam": {}}, container, **options)
    assert "lo" in list_names(container)


# --- VLAN and MTU ------------------------------------------------------------------------------------------------


@row("X-09", WITH_INTERFACES)
def test_native_vlan_wins_over_a_trunk_that_lists_it(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """`vlan` 100 within trunk 99-101 stays PVID and untagged, so that a guest's untagged frames are not lost."""
    config = configure(version, vlan=100, vlanTrunk=[{"minID": 99, "maxID": 101}])
    plugin.add(config, container)
    assert look(container).vlans == vlan_table(native=100, tagged=[99, 101])
    assert_detached(plugin, config, container, before)


@rows({"X-10": {"vlan": 100}, "X-10-trunk": {"vlanTrunk": [{"id": 100}]}}, WITH_INTERFACES)
def test_vlan_on_a_bridge_that_does_not_filter_is_refused(
    row: dict[str, Any], version: str, plugin: Plugin, container: Container
) -> None:
    """Without filtering there is no isolation: code 102 and no port, unless `enableVlanFiltering` switches it on."""
    add_bridge(NEW, filtering=False)
    config, before = configure(version, bridge=NEW, **row), node.take_snapshot()
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container), 102, NEW)
    assert "eth0" not in list_names(container)
    result = plugin.add(config | {"enableVlanFiltering": True}, container)
    seen = look(container, NEW)
    assert_result(result, version, container, seen)
    assert seen.bridge["linkinfo"]["info_data"]["vlan_filtering"]
    assert 100 in seen.vlans
    plugin.delete(config, container)
    run_ip(f"link del {NEW}")


@pytest.fixture
def jumbo(before: Snapshot) -> Iterator[str]:
    """A bridge whose MTU follows its uplink's, 9000."""
    run_ip(
        "link add uplink0 mtu 9000 type dummy",
        f"link add {NEW} type bridge vlan_filtering 1",
        f"link set uplink0 master {NEW} up",
        f"link set {NEW} up",
    )
    yield "uplink0"
    run_ip(f"link del {NEW}", "link del uplink0")


@rows({"X-11": {}, "X-11-1400": {"mtu": 1400}}, WITH_INTERFACES)
def test_mtu_of_the_bridge_is_inherited_and_never_lowered(
    row: dict[str, Any], version: str, plugin: Plugin, jumbo: str, container: Container, other: Container
) -> None:
    """Without `mtu` both ends get the bridge's 9000; with a lower one bridge, uplink and other ports keep theirs."""
    before = node.take_snapshot()
    config = configure(version, bridge=NEW, vlan=100, **row)
    plugin.add(configure(version, bridge=NEW), other, container_id="c-2")
    result = plugin.add(config, container)
    seen = look(container, NEW)
    mtu = row.get("mtu", 9000)
    assert seen.mtus == (9000, mtu, mtu)
    assert_result(result, version, container, seen)
    assert look(other, NEW).mtus == (9000, 9000, 9000)
    uplink = node.find_link(jumbo)
    assert uplink
    assert uplink["mtu"] == 9000
    plugin.delete(configure(version, bridge=NEW), other, container_id="c-2")
    assert_detached(plugin, config, container, before)


@row("X-12", WITH_INTERFACES)
def test_mtu_above_the_bridge_s_is_refused(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """Larger frames would be dropped without a trace: code 7, naming both values, and no port."""
    with unchanged_node(before):
        reply = plugin.call("ADD", configure(version, mtu=9000), container)
        assert_refused(reply, 7, "mtu", "9000", "1500", BRIDGE)
    assert "eth0" not in list_names(container)


EMPTY_ITEMS = {"X-13": [None], "X-13-empty": [{}], "X-13-range": [{"id": 5}, {"minID": None, "maxID": None}]}


@rows(EMPTY_ITEMS)
def test_trunk_entry_that_says_nothing_is_refused(
    row: list[Any], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """`[null]` and `[{}]` are code 7 and named by their place; a DEL succeeds."""
    config = configure(version, vlanTrunk=row)
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container), 7, f"vlanTrunk[{len(row) - 1}]")
        plugin.delete(config, container)


# --- IPAM --------------------------------------------------------------------------------------------------------


@row("X-14", WITH_INTERFACES)
def test_routes_that_say_the_same_are_added_once(
    version: str, plugin: Plugin, container: Container, before: Snapshot, ipam: TestIpam
) -> None:
    """A default route with the gateway's name and one without it are the same route, and no fault."""
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "0.0.0.0/0", "gw": "10.1.2.1"}]
    config = configure(version, ipam=ipam.config(answer={"routes": routes}))
    plugin.add(config, container, path=PLUGIN_PATH)
    defaults = [route for route in container.ip("route show") if route["dst"] == "default"]
    assert [(route["gateway"], route["dev"]) for route in defaults] == [("10.1.2.1", "eth0")]
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)


@row("X-14-gateway", VERSIONS[2:3])
def test_default_gateway_on_the_bridge_is_refused(
    version: str, plugin: Plugin, container: Container, before: Snapshot, ipam: TestIpam
) -> None:
    """`isDefaultGateway` is not for a layer-2 network: code 2 with key and value, before the IPAM plugin is run."""
    config = configure(version, isDefaultGateway=True, ipam=ipam.config())
    with unchanged_node(before):
        reply = plugin.call("ADD", config, container, path=PLUGIN_PATH)
        assert_refused(reply, 2, "isDefaultGateway", "true")
    assert ipam.commands == []


@row("X-15")
def test_second_add_of_an_attachment_leaves_the_first_intact(
    version: str, plugin: Plugin, container: Container, other: Container, before: Snapshot, ipam: TestIpam
) -> None:
    """ADD of the same container and interface again, in another namespace, is code 103; the first and its address stay.

    So is one in the same namespace.
    """
    config = configure(version, ipam=ipam.config_in(version))
    plugin.add(config, container, path=PLUGIN_PATH)
    reserved, attached = ipam.reservations, node.take_snapshot()
    for namespace in (other, container):
        assert_refused(plugin.call("ADD", config, namespace, path=PLUGIN_PATH), 103, "eth0")
    assert_same(attached)
    assert "eth0" not in list_names(other)
    seen = look(container)
    assert_attached(seen)
    assert seen.addresses == ["10.1.2.2/24"]
    assert ipam.reservations == reserved
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)


@row("X-16", NEWEST)
def test_gc_is_forwarded_to_the_ipam_plugin(
    version: str, plugin: Plugin, container: Container, other: Container, before: Snapshot, ipam: TestIpam
) -> None:
    """GC removes ports, rules and reservations of all attachments that are not listed, after their netns are gone."""
    config = configure(version, vlan=100, macspoofchk=True, ipam=ipam.config())
    plugin.add(config, container, container_id="valid", path=PLUGIN_PATH)
    one = node.take_snapshot()
    plugin.add(config, other, container_id="stale", path=PLUGIN_PATH)
    assert ipam.reservations == ["net/stale-eth0", "net/valid-eth0"]
    entry = {"containerID": "valid", "ifname": "eth0"}
    assert_sound(plugin.call("GC", config | {"cni.dev/valid-attachments": [entry]}, path=PLUGIN_PATH))
    assert_same(one)
    assert ipam.reservations == ["net/valid-eth0"]
    assert_sound(plugin.call("GC", config | {"cni.dev/valid-attachments": []}, path=PLUGIN_PATH))
    assert_same(before)
    assert ipam.reservations == []


@row("X-16-vanished", NEWEST)
def test_gc_removes_what_vanished_namespaces_left(version: str, plugin: Plugin, before: Snapshot) -> None:
    """After a node's containers died without a DEL, GC removes the rules that are left of them."""
    config = configure(version, vlan=100, macspoofchk=True)
    with make_containers(1) as (dying,):
        result = plugin.add(config, dying)
    run(f"ip link del {result['interfaces'][1]['name']}", check=False)
    assert sum(count_rules("macspoofchk-c-1-eth0").values()) == 4
    assert_sound(plugin.call("GC", config | {"cni.dev/valid-attachments": []}))
    assert count_rules("macspoofchk-c-1-eth0") == {}
    assert node.list_differences(before["links"], node.take_snapshot()["links"]) == []


@row("X-16-failing", NEWEST)
def test_gc_goes_on_when_the_ipam_plugin_fails(
    version: str, plugin: Plugin, container: Container, before: Snapshot, ipam: TestIpam
) -> None:
    """When the IPAM plugin's GC fails, ours has removed what it can, and says so with code 140."""
    config = configure(version, ipam=ipam.config())
    plugin.add(config, container, path=PLUGIN_PATH)
    failing = ipam.config(fail={"GC": {"document": {"code": 11, "msg": "the pool is locked"}}})
    collect = config | {"ipam": failing, "cni.dev/valid-attachments": []}
    assert_refused(plugin.call("GC", collect, path=PLUGIN_PATH), 140, "the pool is locked")
    assert_same(before)


@pytest.fixture
def dhcp_path(tmp_path: Path) -> str:
    """A CNI_PATH with an IPAM plugin of the name `dhcp`, which has a daemon."""
    shutil.copy(PLUGINS / "test-ipam", tmp_path / "dhcp")
    return str(tmp_path)


@row("X-17", NEWEST)
def test_status_asks_for_the_dhcp_daemon(
    version: str, plugin: Plugin, before: Snapshot, ipam: TestIpam, dhcp_path: str
) -> None:
    """STATUS is code 50 while nobody listens on the socket of the `dhcp` daemon, and succeeds when somebody does."""
    path = f"{dhcp_path}/dhcp.sock"
    config = configure(version, ipam=ipam.config(type="dhcp", daemonSocketPath=path))
    with unchanged_node(before):
        assert_refused(plugin.call("STATUS", config, path=dhcp_path), 50, path)
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.bind(path)
            assert_refused(plugin.call("STATUS", config, path=dhcp_path), 50, path)
            daemon.listen()
            assert_sound(plugin.call("STATUS", config, path=dhcp_path))


UNREADY: dict[str, tuple[dict[str, Any], str]] = {
    "X-17-bridge": ({"bridge": "nowhere-br"}, "nowhere-br"),
    "X-17-kind": ({"bridge": "lo"}, '"lo"'),
    "X-17-plugin": ({"ipam": {"type": "not-installed"}}, "not-installed"),
}


@rows(UNREADY, NEWEST)
def test_status_names_what_is_missing(
    row: tuple[dict[str, Any], str], version: str, plugin: Plugin, before: Snapshot
) -> None:
    """STATUS is code 50 and names what an ADD would fail for; it changes nothing."""
    keys, words = row
    with unchanged_node(before):
        assert_refused(plugin.call("STATUS", configure(version) | keys), 50, words)


@row("X-17-ipam", NEWEST)
def test_status_of_the_ipam_plugin_is_ours(version: str, plugin: Plugin, ipam: TestIpam) -> None:
    """STATUS is code 50 with the IPAM plugin's reason while that is not ready."""
    failing = ipam.config(fail={"STATUS": {"document": {"code": 50, "msg": "pool exhausted"}}})
    assert_refused(plugin.call("STATUS", configure(version, ipam=failing), path=PLUGIN_PATH), 50, "pool exhausted")
    assert_sound(plugin.call("STATUS", configure(version, ipam=ipam.config()), path=PLUGIN_PATH))


@row("X-17-limited", NEWEST)
def test_status_51_of_the_ipam_plugin_is_kept(version: str, plugin: Plugin, ipam: TestIpam) -> None:
    """Code 51 says that containers that run are affected too; the runtime must not be told less."""
    failing = ipam.config(fail={"STATUS": {"document": {"code": 51, "msg": "leases run out"}}})
    assert_refused(plugin.call("STATUS", configure(version, ipam=failing), path=PLUGIN_PATH), 51, "leases run out")


@row("X-18", WITH_INTERFACES)
def test_result_of_an_earlier_plugin_is_merged(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """A `prevResult` on ADD is not dropped: our interfaces follow its own, and CHECK accepts what ADD returned."""
    first = {"name": "first0", "mac": "02:00:00:00:00:01", "sandbox": container.path}
    config = configure(version, prevResult={"cniVersion": version, "interfaces": [first]})
    result = plugin.add(config, container)
    seen = look(container)
    assert result["interfaces"][0] == first
    assert_result(result | {"interfaces": result["interfaces"][1:]}, version, container, seen)
    if version in WITH_CHECK:
        assert_sound(check(plugin, config, result, container))
    assert_detached(plugin, config, container, before)


# --- namespaces --------------------------------------------------------------------------------------------------


@row("X-19", WITH_INTERFACES)
def test_own_namespace_is_refused_before_anything_is_done(version: str, plugin: Plugin, before: Snapshot) -> None:
    """CNI_NETNS that is the plugin's own is code 8, one document, and no change; an override lifts the refusal."""
    config = configure(version)
    own = "/proc/self/ns/net"
    with unchanged_node(before):
        for command in ("ADD", "DEL"):
            assert_refused(plugin.call(command, config, netns=own), 8)
    environment = {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c-1", "CNI_NETNS": own, "CNI_IFNAME": "eth0",
        "CNI_PATH": PLUGIN_PATH, "CNI_NETNS_OVERRIDE": "true",
    }  # fmt: skip
    reply = plugin.execute(environment, json.dumps(config).encode())
    assert reply.exit_status == 0, reply
    assert reply.document["interfaces"][2]["sandbox"] == own
    assert node.find_link("eth0") is not None
    reply = plugin.execute(environment | {"CNI_COMMAND": "DEL"}, json.dumps(config).encode())
    assert reply == Reply(0, "", "")
    assert_same(before)


@row("X-20", NEWEST)
def test_parallel_adds_share_a_bridge_that_they_make(version: str, plugin: Plugin, before: Snapshot) -> None:
    """32 ADDs at once (8 processes of the bundle) on a bridge that none finds all succeed, and DELs remove it again."""
    config = configure(version, bridge=NEW, vlan=100, createBridge=True)
    with make_containers(8 if isinstance(plugin, Bundle) else 32) as many:

        def call_all(command: str) -> list[Reply]:
            with ThreadPoolExecutor(len(many)) as pool:
                return list(pool.map(lambda c: plugin.call(command, config, c, container_id=c.name), many))

        added = call_all("ADD")
        assert [reply for reply in added if reply.exit_status] == []
        tables = node.list_vlans()
        host_ends = {reply.document["interfaces"][1]["name"] for reply in added}
        assert {link["ifname"] for link in node.list_attachments()} == host_ends
        assert len(host_ends) == len(many)
        assert [tables[name] for name in host_ends] == [vlan_table(native=100)] * len(many)
        assert [reply for reply in call_all("DEL") if reply != Reply(0, "", "")] == []
    assert_same(before)


# --- bridges without VLAN 1 --------------------------------------------------------------------------------------


@row("X-21", WITH_INTERFACES)
def test_untagged_machine_on_a_bridge_without_a_default_vlan_is_refused(
    version: str, plugin: Plugin, container: Container
) -> None:
    """`vlan_default_pvid` 0 gives an untagged machine no connectivity: code 102; one with a VLAN is fine."""
    add_bridge(NEW, default_pvid=0)
    before = node.take_snapshot()
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", configure(version, bridge=NEW), container), 102, "vlan_default_pvid", NEW)
    config = configure(version, bridge=NEW, vlan=100)
    plugin.add(config, container)
    assert look(container, NEW).vlans == vlan_table(native=100)
    assert_detached(plugin, config, container, before)
    run_ip(f"link del {NEW}")


@row("X-22", WITH_INTERFACES)
def test_default_vlan_of_the_bridge_is_a_trunk_s_native_one(version: str, plugin: Plugin, container: Container) -> None:
    """On a bridge with `vlan_default_pvid` 50 a trunk without `vlan` has 50 as its native VLAN, not 1."""
    add_bridge(NEW, default_pvid=50)
    before = node.take_snapshot()
    config = configure(version, bridge=NEW, vlanTrunk=[{"id": 101}])
    plugin.add(config, container)
    assert look(container, NEW).vlans == vlan_table(native=50, tagged=[101])
    assert_detached(plugin, config, container, before)
    run_ip(f"link del {NEW}")


# --- spoof protection --------------------------------------------------------------------------------------------


@row("X-23", WITH_INTERFACES)
def test_spoof_protection_holds_in_every_vlan_of_a_trunk(
    version: str, plugin: Plugin, container: Container, other: Container, before: Snapshot
) -> None:
    """A trunk's tagged frames pass with the machine's own MAC, and are dropped with another."""
    trunk = configure(version, vlanTrunk=[{"id": 101}], macspoofchk=True)
    access = configure(version, vlan=101)
    plugin.add(trunk, container)
    plugin.add(access, other, container_id="c-2")
    chain = "cni-br-iface-c-1-eth0"
    assert count_rules("macspoofchk-c-1-eth0") == {"PREROUTING": 1, chain: 1, f"{chain}-mac": 2}
    run_ip(
        "link add link eth0 name eth0.101 type vlan id 101",
        "address add 192.0.2.1/24 dev eth0.101",
        "link set eth0.101 up",
        namespace=container.name,
    )
    run_ip("address add 192.0.2.2/24 dev eth0", namespace=other.name)
    container.run("ping -c 1 -W 5 192.0.2.2")
    run_ip("link set eth0.101 address 02:00:00:00:00:99", "neighbour flush all", namespace=container.name)
    assert " 0 received" in container.run("ping -c 2 -i 0.2 -W 1 192.0.2.2", check=False)
    plugin.delete(access, other, container_id="c-2")
    assert_detached(plugin, trunk, container, before)


# --- spelling ----------------------------------------------------------------------------------------------------


@row("X-24", WITH_INTERFACES)
def test_keys_match_without_case(version: str, plugin: Plugin, container: Container, before: Snapshot) -> None:
    """Go's decoder ignores the case of keys, so configurations exist that rely on it."""
    config = {
        "CNIVersion": version, "Name": "net", "Type": "cni-harvester", "BRIDGE": BRIDGE, "VLAN": 100, "Mtu": 1400,
        "VlanTrunk": [{"ID": 101}, {"minid": 200, "MAXID": 201}], "PORTISOLATION": True, "IPAM": {},
        "RuntimeConfig": {"MAC": "02:00:00:00:00:05"},
    }  # fmt: skip
    result = plugin.add(config, container)
    seen = look(container)
    assert_result(result, version, container, seen)
    assert seen.vlans == vlan_table(native=100, tagged=[101, 200, 201])
    assert seen.mtus == (1500, 1400, 1400)
    assert seen.port["isolated"] is True
    assert seen.container_end["address"] == "02:00:00:00:00:05"
    assert_detached(plugin, config, container, before)


@row("X-25", WITH_INTERFACES)
def test_lower_case_mac_argument_is_an_unknown_one(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """CNI_ARGS are matched with case: `mac` is code 4, or ignored if IgnoreUnknown says so."""
    config = configure(version)
    argument = "mac=02:00:00:00:00:05"
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, args=argument), 4, argument)
    plugin.add(config, container, args=f"IgnoreUnknown=1;{argument}")
    assert look(container).container_end["address"] != "02:00:00:00:00:05"
    assert_detached(plugin, config, container, before)
