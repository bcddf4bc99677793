"""Joining a machine to a VLAN, on a real bridge."""

from lab import node
from lab.namespaces import Container
from lab.plugin import Plugin
from lab.topology import ClusterNetwork

CONFIG = {"cniVersion": "1.1.0", "name": "vlan100", "type": "cni-harvester", "bridge": "cn1-br", "vlan": 100}


def test_add_with_vlan_makes_an_access_port(cluster: ClusterNetwork, container: Container, plugin: Plugin) -> None:
    """The VLAN is PVID and untagged on the host end, and nothing else is, least of all VLAN 1."""
    result = plugin.add(CONFIG, container)
    host_end = result["interfaces"][1]["name"]
    assert node.list_vlans()[host_end] == {100: {"PVID", "Egress Untagged"}}
    plugin.delete(CONFIG, container)


def test_delete_leaves_the_node_as_it_was(cluster: ClusterNetwork, container: Container, plugin: Plugin) -> None:
    """After ADD and DEL, links, VLAN tables, rules and files equal those before."""
    before = node.take_snapshot()
    plugin.add(CONFIG, container)
    assert node.take_snapshot() != before
    plugin.delete(CONFIG, container)
    assert node.list_differences(before, node.take_snapshot()) == []
