"""The reference `bridge` plugin's own tests (rows B-), as promises about cni-harvester.

As there, the plugin makes the bridge; cni-harvester does so only when `createBridge` says so, and removes it again.
Rows about gateways on the bridge and masquerading are left out: a layer-2 network has its gateway outside the node.
"""

from typing import Any

from lab.namespaces import Container
from lab.plugin import Plugin

from .ipam import PLUGIN_PATH, TestIpam
from .observe import (
    BRIDGE,
    NEW,
    Snapshot,
    VlanTable,
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
from .rows import OLD, VERSIONS, WITH_INTERFACES, row, rows

TRUNK = [{"id": 101}, {"minID": 200, "maxID": 210}]
TRUNK_VIDS = [101, *range(200, 211)]


def configure(version: str, **keys: Any) -> dict[str, Any]:
    """Make a network configuration whose bridge the plugin may make."""
    return {
        "cniVersion": version, "name": "testConfig", "type": "cni-harvester", "bridge": NEW, "createBridge": True,
        **keys,
    }  # fmt: skip


# --- vlanTrunk ---------------------------------------------------------------------------------------------------

TRUNKS: dict[str, tuple[list[dict[str, int]], list[int]]] = {
    "B-001": ([], []),
    "B-002": ([{"minID": 100, "maxID": 105}], [*range(100, 106)]),
    "B-003": ([{"id": 10}], [10]),
    "B-004": ([{"id": 10}, {"minID": 100, "maxID": 105}], [10, *range(100, 106)]),
}


@rows(TRUNKS, WITH_INTERFACES)
def test_trunk_carries_exactly_the_vids_that_it_lists(
    row: tuple[list[dict[str, int]], list[int]], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """The VIDs of `vlanTrunk` are tagged on the host end, beside the bridge's default VLAN as the native one."""
    trunk, vids = row
    config = configure(version, vlanTrunk=trunk)
    result = plugin.add(config, container)
    seen = look(container, NEW)
    assert_attached(seen)
    assert_result(result, version, container, seen)
    assert seen.vlans == vlan_table(native=1, tagged=vids)
    assert_detached(plugin, config, container, before)


FAULTY_TRUNKS: dict[str, tuple[dict[str, int], tuple[str, ...]]] = {
    "B-005": ({"minID": 100}, ("vlanTrunk[0]", "maxID is missing")),
    "B-006": ({"maxID": 105}, ("vlanTrunk[0]", "minID is missing")),
    "B-007": ({"minID": -1, "maxID": 105}, ("vlanTrunk[0].minID", "-1")),
    "B-008": ({"minID": 5000, "maxID": 105}, ("vlanTrunk[0].minID", "5000")),
    "B-009": ({"minID": 100, "maxID": 5000}, ("vlanTrunk[0].maxID", "5000")),
    "B-010": ({"minID": 100, "maxID": -1}, ("vlanTrunk[0].maxID", "-1")),
    "B-011": ({"id": 5000}, ("vlanTrunk[0].id", "5000")),
    "B-012": ({"id": -1}, ("vlanTrunk[0].id", "-1")),
    "B-013": ({"minID": 1000, "maxID": 100}, ("vlanTrunk[0]", "minID 1000 is greater than maxID 100")),
}


@rows(FAULTY_TRUNKS)
def test_faulty_trunk_is_refused_and_can_be_deleted(
    row: tuple[dict[str, int], tuple[str, ...]], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """ADD fails with code 7, naming the entry and what is wrong with it, before it makes a bridge; DEL succeeds."""
    item, words = row
    config = configure(version, vlanTrunk=[item])
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container), 7, *words)
        plugin.delete(config, container)


# --- bridges -----------------------------------------------------------------------------------------------------


@row("B-021", WITH_INTERFACES)
def test_bridge_that_exists_is_used_as_it_is(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """`createBridge` leaves a bridge alone that is there already: same index, same MTU, not removed by the DEL."""
    config = configure(version, bridge=BRIDGE, mtu=1400)
    plugin.add(config, container)
    seen = look(container)
    assert seen.bridge["ifindex"] == before["links"][BRIDGE]["ifindex"]
    assert seen.mtus == (1500, 1400, 1400)
    assert_detached(plugin, config, container, before)


# --- layer 2 -----------------------------------------------------------------------------------------------------

LAYER_2: dict[str, tuple[dict[str, Any], bool, VlanTable]] = {
    "B-040": ({}, False, vlan_table(native=1)),
    "B-041": ({"vlan": 100}, True, vlan_table(native=100)),
    "B-042": ({"vlanTrunk": TRUNK}, True, vlan_table(native=1, tagged=TRUNK_VIDS)),
    "B-043": ({"vlan": 100, "vlanTrunk": TRUNK}, True, vlan_table(native=100, tagged=TRUNK_VIDS)),
    "B-044": ({"vlan": 100, "preserveDefaultVlan": False}, True, vlan_table(native=100)),
}


@rows(LAYER_2, WITH_INTERFACES)
def test_layer_2_attachment_is_made_and_removed(
    row: tuple[dict[str, Any], bool, VlanTable], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """ADD makes a bridge that filters if there are VLANs, and one running port with exactly those; DEL removes all."""
    keys, filtering, vlans = row
    config = configure(version, **keys)
    result = plugin.add(config, container)
    seen = look(container, NEW)
    assert_attached(seen)
    assert_result(result, version, container, seen)
    assert seen.links == {"lo", BRIDGE, NEW, seen.host_end["ifname"]}
    assert bool(seen.bridge["linkinfo"]["info_data"]["vlan_filtering"]) == filtering
    assert seen.vlans == vlans
    assert not seen.port["isolated"]
    assert seen.addresses == []
    assert_detached(plugin, config, container, before)


LAYER_2_CONFIGS = {
    **{row_id: keys for row_id, (keys, _, _) in LAYER_2.items()},
    "B-161": {"disableContainerInterface": True},
    "B-170": {"portIsolation": False},
    "B-171": {"portIsolation": True},
}


@rows(LAYER_2_CONFIGS, OLD, with_bundle=False)
def test_layer_2_attachment_before_0_3_0_is_refused_before_anything_is_changed(
    row: dict[str, Any], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """Versions without `interfaces` cannot express the result: code 1, no bridge, no port; DEL succeeds."""
    config = configure(version, **row)
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container), 1, "no valid IP addresses", version)
        assert "eth0" not in list_names(container)
        plugin.delete(config, container)


@row("B-161", WITH_INTERFACES)
def test_disabled_container_interface_stays_silent(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """With `disableContainerInterface` the container end is down, so that it has no address and says nothing."""
    config = configure(version, disableContainerInterface=True)
    result = plugin.add(config, container)
    seen = look(container, NEW)
    assert_attached(seen, running=False)
    assert_result(result, version, container, seen)
    assert seen.container_end["addr_info"] == []
    assert_detached(plugin, config, container, before)


@rows({"B-170": False, "B-171": True}, WITH_INTERFACES)
def test_port_isolation_is_set_as_asked(
    row: bool, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """`portIsolation` is the port's `isolated` flag."""
    config = configure(version, portIsolation=row)
    plugin.add(config, container)
    seen = look(container, NEW)
    assert_attached(seen)
    assert seen.port["isolated"] is row
    assert_detached(plugin, config, container, before)


# --- MAC ---------------------------------------------------------------------------------------------------------

_FIRST, _SECOND, _THIRD = "02:00:00:00:04:56", "02:00:00:00:00:00", "02:00:00:00:07:89"

MACS: dict[str, tuple[dict[str, Any], str, str]] = {
    "B-110": ({}, _FIRST, _FIRST),
    "B-111": ({"args": {"cni": {"mac": _SECOND}}}, _FIRST, _SECOND),
    "B-112": ({"args": {"cni": {"mac": _SECOND}}, "RuntimeConfig": {"mac": _THIRD}}, _FIRST, _THIRD),
}


@rows(MACS)
def test_mac_comes_from_the_source_that_ranks_highest(
    row: tuple[dict[str, Any], str, str],
    version: str,
    plugin: Plugin,
    container: Container,
    ipam: TestIpam,
    before: Snapshot,
) -> None:
    """runtimeConfig.mac outranks args.cni.mac, which outranks CNI_ARGS; the address comes from the IPAM plugin."""
    keys, argument, mac = row
    config = configure(version, ipam=ipam.config_in(version), **keys)
    options = {"path": PLUGIN_PATH, "args": f"IgnoreUnknown=1;MAC={argument}"}
    result = plugin.add(config, container, **options)
    seen = look(container, NEW)
    assert_attached(seen)
    assert seen.container_end["address"] == mac
    assert seen.addresses == ["10.1.2.2/24"]
    assert len(ipam.reservations) == 1
    if version in OLD:
        ip4 = {"ip": "10.1.2.2/24", "gateway": "10.1.2.1"}
        assert result == {"cniVersion": version, "ip4": ip4, "dns": {}}
    else:
        family = {"version": "4"} if version < "1.0.0" else {}
        assert result.pop("ips") == [family | {"address": "10.1.2.2/24", "gateway": "10.1.2.1", "interface": 2}]
        assert_result(result, version, container, seen)
    assert_detached(plugin, config, container, before, **options)
    assert ipam.reservations == []


# --- MAC spoof protection ----------------------------------------------------------------------------------------


@row("B-150", VERSIONS)
def test_spoof_rules_have_the_layout_that_tools_know(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """One jump in PREROUTING, one in the interface's chain, two rules in its -mac chain; none after DEL."""
    config = configure(version, macspoofchk=True, ipam=ipam.config_in(version))
    options = {"container_id": "dummy-0", "path": PLUGIN_PATH}
    plugin.add(config, container, **options)
    assert_attached(look(container, NEW))
    chain = "cni-br-iface-dummy-0-eth0"
    assert count_rules("macspoofchk-dummy-0-eth0") == {"PREROUTING": 1, chain: 1, f"{chain}-mac": 2}
    assert_detached(plugin, config, container, before, **options)
    assert count_rules("macspoofchk-dummy-0-eth0") == {}


# --- the range of vlan -------------------------------------------------------------------------------------------


@row("B-180", WITH_INTERFACES)
def test_vlan_0_is_no_vlan(version: str, plugin: Plugin, container: Container, before: Snapshot) -> None:
    """`vlan` 0 attaches as if it were left out: on a bridge that need not filter."""
    config = configure(version, vlan=0)
    plugin.add(config, container)
    seen = look(container, NEW)
    assert not seen.bridge["linkinfo"]["info_data"]["vlan_filtering"]
    assert seen.vlans == vlan_table(native=1)
    assert_detached(plugin, config, container, before)


@rows({"B-181": -100, "B-182": 5000})
def test_vlan_out_of_range_is_refused_and_can_be_deleted(
    row: int, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """ADD fails with code 7, naming the key and the value, before it makes a bridge; DEL succeeds."""
    config = configure(version, vlan=row)
    assert_refused(plugin.call("ADD", config, container), 7, "vlan:", str(row))
    assert_same(before)
    plugin.delete(config, container)
    assert_same(before)
