"""The tables of VLANs and MTUs that a port gets, row by row, and one proof that frames go where they should."""

from typing import Any

import pytest

from lab import node
from lab.namespaces import Container, make_containers
from lab.plugin import InProcess, Plugin
from lab.shell import run_ip
from lab.topology import add_bridge

from .observe import BRIDGE, NEW, Snapshot, VlanTable, assert_detached, assert_result, assert_same, look, vlan_table
from .rows import NEWEST, row, rows

TRUNK = [{"id": 101}, {"minID": 200, "maxID": 203}]
TRUNK_VIDS = [101, 200, 201, 202, 203]


def configure(version: str, **keys: Any) -> dict[str, Any]:
    """Make a network configuration for a bridge that the test makes."""
    return {"cniVersion": version, "name": "net", "type": "cni-harvester", "bridge": NEW, **keys}


# Keys of the configuration, options of the bridge, the host end's table.
VLANS: dict[str, tuple[dict[str, Any], dict[str, Any], VlanTable]] = {
    "VLAN-none": ({}, {}, vlan_table(native=1)),
    "VLAN-unfiltered": ({}, {"filtering": False}, vlan_table(native=1)),
    "VLAN-access": ({"vlan": 100}, {}, vlan_table(native=100)),
    "VLAN-1": ({"vlan": 1}, {}, vlan_table(native=1)),
    "VLAN-4094": ({"vlan": 4094}, {}, vlan_table(native=4094)),
    "VLAN-preserved": (
        {"vlan": 100, "preserveDefaultVlan": True}, {}, vlan_table(native=100, untagged=[1]),
    ),
    "VLAN-trunk": ({"vlanTrunk": TRUNK}, {}, vlan_table(native=1, tagged=TRUNK_VIDS)),
    "VLAN-trunk_preserved": (
        {"vlanTrunk": TRUNK, "preserveDefaultVlan": True}, {}, vlan_table(native=1, tagged=TRUNK_VIDS),
    ),
    "VLAN-native": ({"vlan": 100, "vlanTrunk": TRUNK}, {}, vlan_table(native=100, tagged=TRUNK_VIDS)),
    "VLAN-overlap": (
        {"vlan": 100, "vlanTrunk": [{"minID": 99, "maxID": 101}]}, {}, vlan_table(native=100, tagged=[99, 101]),
    ),
    "VLAN-overlap_1": ({"vlanTrunk": [{"minID": 1, "maxID": 3}]}, {}, vlan_table(native=1, tagged=[2, 3])),
    "VLAN-both_in_one": (
        {"vlanTrunk": [{"id": 10, "minID": 20, "maxID": 22}, {"id": 21}]}, {}, vlan_table(1, tagged=[10, 20, 21, 22]),
    ),
    "VLAN-all": ({"vlanTrunk": [{"minID": 1, "maxID": 4094}]}, {}, vlan_table(native=1, tagged=range(2, 4095))),
    "VLAN-empty": ({"vlanTrunk": []}, {}, vlan_table(native=1)),
    "VLAN-pvid_0": ({"vlan": 100}, {"default_pvid": 0}, vlan_table(native=100)),
    "VLAN-pvid_0_preserved": (
        {"vlan": 100, "preserveDefaultVlan": True}, {"default_pvid": 0}, vlan_table(native=100),
    ),
    "VLAN-pvid_50": ({}, {"default_pvid": 50}, vlan_table(native=50)),
    "VLAN-pvid_50_access": ({"vlan": 100}, {"default_pvid": 50}, vlan_table(native=100)),
    "VLAN-pvid_50_trunk": ({"vlanTrunk": [{"id": 101}]}, {"default_pvid": 50}, vlan_table(native=50, tagged=[101])),
    "VLAN-pvid_50_overlap": (
        {"vlanTrunk": [{"minID": 49, "maxID": 51}]}, {"default_pvid": 50}, vlan_table(native=50, tagged=[49, 51]),
    ),
}  # fmt: skip


@rows(VLANS, NEWEST, with_bundle=False)
def test_port_has_exactly_the_vlans_of_the_table(
    row: tuple[dict[str, Any], dict[str, Any], VlanTable], version: str, plugin: Plugin, container: Container
) -> None:
    """The host end has these VLANs and no other, and the bridge's own table stays as it was."""
    keys, options, vlans = row
    add_bridge(NEW, **options)
    before, config = node.take_snapshot(), configure(version, **keys)
    plugin.add(config, container)
    assert look(container, NEW).vlans == vlans
    assert node.list_vlans().get(NEW) == before["vlans"].get(NEW)
    assert_detached(plugin, config, container, before)
    run_ip(f"link del {NEW}")


# Keys of the configuration, MTU of the uplink, MTU that the bridge was set to (0: it follows its ports), expected:
# bridge, both ends.
MTUS: dict[str, tuple[dict[str, Any], int, int, tuple[int, int]]] = {
    "MTU-followed": ({}, 9000, 0, (9000, 9000)),
    "MTU-set": ({}, 0, 9000, (9000, 9000)),
    "MTU-lower_uplink": ({}, 1400, 0, (1400, 1400)),
    "MTU-equal": ({"mtu": 9000}, 9000, 0, (9000, 9000)),
    "MTU-lower": ({"mtu": 1400}, 9000, 0, (9000, 1400)),
    "MTU-lower_than_set": ({"mtu": 1400}, 0, 9000, (9000, 1400)),
    "MTU-0": ({"mtu": 0}, 9000, 0, (9000, 9000)),
    "MTU-least": ({"mtu": 68, "disableContainerInterface": True}, 0, 0, (1500, 68)),
}


@rows(MTUS, NEWEST, with_bundle=False)
def test_both_ends_have_the_mtu_of_the_table(
    row: tuple[dict[str, Any], int, int, tuple[int, int]], version: str, plugin: Plugin, container: Container
) -> None:
    """The bridge keeps its MTU, both ends have it or the lower one that was asked for, and the result says so."""
    keys, uplink_mtu, bridge_mtu, (bridge, ends) = row
    add_bridge(NEW, mtu=bridge_mtu)
    if uplink_mtu:
        run_ip(f"link add uplink0 mtu {uplink_mtu} type dummy", f"link set uplink0 master {NEW} up")
    before, config = node.take_snapshot(), configure(version, **keys)
    result = plugin.add(config, container)
    seen = look(container, NEW)
    assert seen.mtus == (bridge, ends, ends)
    assert_result(result, version, container, seen)
    assert_detached(plugin, config, container, before)
    run_ip(f"link del {NEW}", *(["link del uplink0"] if uplink_mtu else []))


@row("MTU-created", NEWEST)
def test_bridge_that_we_make_has_the_mtu_that_is_asked_for(
    version: str, plugin: Plugin, container: Container, other: Container, before: Snapshot
) -> None:
    """On a new bridge `mtu` is the bridge's too; a second machine inherits it, and keeps it when the first goes."""
    config, plain = configure(version, mtu=9000, createBridge=True), configure(version, createBridge=True)
    plugin.add(config, container)
    plugin.add(plain, other, container_id="c-2")
    assert look(container, NEW).mtus == look(other, NEW).mtus == (9000, 9000, 9000)
    plugin.delete(config, container)
    assert look(other, NEW).mtus == (9000, 9000, 9000)
    plugin.delete(plain, other, container_id="c-2")
    assert_same(before)


# --- traffic -----------------------------------------------------------------------------------------------------

MACHINES: dict[str, dict[str, Any]] = {
    "first": {"vlan": 100},
    "second": {"vlan": 100},
    "foreign": {"vlan": 200},
    "trunk": {"vlanTrunk": [{"id": 100}]},
    "untagged": {},
}


def _can_reach(source: Container, address: str, *, attempts: int = 1) -> bool:
    return " 0 received" not in source.run(f"ping -c {attempts} -i 0.2 -W 1 {address}", check=False)


@pytest.mark.timeout(300)
def test_frames_stay_within_their_vlan(before: Snapshot) -> None:
    """Machines of one VLAN reach each other, a trunk by a tagged interface too; those of another or of none do not."""
    plugin = InProcess()
    with make_containers(len(MACHINES)) as made:
        machines = dict(zip(MACHINES, made, strict=True))
        for number, (name, keys) in enumerate(MACHINES.items(), 1):
            plugin.add(configure("1.1.0", bridge=BRIDGE, **keys), machines[name], container_id=name)
            run_ip(f"address add 192.0.2.{number}/24 dev eth0", namespace=machines[name].name)
        run_ip(
            "address flush dev eth0",
            "link add link eth0 name eth0.100 type vlan id 100",
            "address add 192.0.2.4/24 dev eth0.100",
            "link set eth0.100 up",
            namespace=machines["trunk"].name,
        )
        reach = {
            (source, target): _can_reach(machines[source], f"192.0.2.{number}")
            for source in MACHINES
            for number, target in enumerate(MACHINES, 1)
            if source != target
        }
        together = {"first", "second", "trunk"}
        assert reach == {pair: set(pair) <= together for pair in reach}
        for name, keys in MACHINES.items():
            plugin.delete(configure("1.1.0", bridge=BRIDGE, **keys), machines[name], container_id=name)
