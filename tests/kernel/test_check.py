"""CHECK against real damage, and against what is none."""

import re
from typing import Any

import pytest

from lab import node
from lab.namespaces import Container
from lab.plugin import Plugin, Reply
from lab.shell import run, run_ip
from lab.topology import ClusterNetwork

_NET: dict[str, Any] = {
    "cniVersion": "1.0.0", "name": "net", "type": "cni-harvester", "bridge": "cn1-br", "vlan": 100,
    "macspoofchk": True, "hairpinMode": True,
    "ipam": {
        "type": "static", "addresses": [{"address": "192.0.2.5/24"}, {"address": "2001:db8::5/64"}],
        "routes": [{"dst": "198.51.100.0/24", "gw": "192.0.2.1"}],
    },
}  # fmt: skip

# {what is damaged: (command, words of the mismatch)}; HOST stands for the host end's name.
_DAMAGE = {
    "access VLAN": ("bridge vlan del dev HOST vid 100", "expected native 100, found no VLAN"),
    "leaked VLAN": ("bridge vlan add dev HOST vid 1 untagged", "expected native 100, found native 100, untagged 1"),
    "uplink's VLAN": ("bridge vlan del dev cn1-bo vid 100", 'uplink "cn1-bo": expected none, found 100'),
    "host end's state": ("ip link set HOST down", "expected up, found down"),
    "host end's bridge": ("ip link set HOST nomaster", "expected cn1-br, found none"),
    "host end's alias": ("ip link set HOST alias somebody", "expected cni-harvester:net/c-1/eth0, found somebody"),
    # It drags the bridge down with it, so the end that is left at 9000 is the odd one.
    "host end's MTU": ("ip link set HOST mtu 1400", 'MTU of "eth0" in the container: expected 1400, found 9000'),
    "host end": ("ip link del HOST", "expected to exist, found none"),
    "hairpin": ("bridge link set dev HOST hairpin off", "expected True, found False"),
    "bridge's state": ("ip link set cn1-br down", "expected up, found down"),
    "filtering": ("ip link set cn1-br type bridge vlan_filtering 0", "expected on, found off"),
    "rules": ("nft delete table bridge nat", "expected present, found missing"),
    "container end's state": ("ip -n pod-1 link set eth0 down", "expected up, found down"),
    "container end's MTU": ("ip -n pod-1 link set eth0 mtu 1300", "expected 9000, found 1300"),
    "container end's MAC": ("ip -n pod-1 link set eth0 address 02:00:5e:00:53:07", "found 02:00:5e:00:53:07"),
    "address": ("ip -n pod-1 address del 192.0.2.5/24 dev eth0", "expected 192.0.2.5/24, found"),
    "route": ("ip -n pod-1 route del 198.51.100.0/24", "expected 198.51.100.0/24 via 192.0.2.1, found none"),
}
_REPAIR = ("link set cn1-br mtu 9000 up", "link set cn1-br type bridge vlan_filtering 1")


def _check(plugin: Plugin, result: dict[str, Any], container: Container) -> Reply:
    return plugin.call("CHECK", _NET | {"prevResult": result}, container)


@pytest.mark.parametrize(("command", "words"), _DAMAGE.values(), ids=_DAMAGE.keys())
def test_check_of_damaged_attachment_names_both_values(
    command: str, words: str, cluster: ClusterNetwork, container: Container, plugin: Plugin
) -> None:
    """CHECK passes before the damage, and then says what it expected and what it found; DEL works all the same."""
    result = plugin.add(_NET, container)
    assert _check(plugin, result, container) == Reply(0, "", "")
    run(command.replace("HOST", result["interfaces"][1]["name"]))
    reply = _check(plugin, result, container)
    assert reply.code == 110, reply
    assert words in reply.document["msg"]
    run_ip(*_REPAIR)
    plugin.delete(_NET, container)


def test_check_of_twice_damaged_attachment_names_both_damages(
    cluster: ClusterNetwork, container: Container, plugin: Plugin
) -> None:
    """All mismatches are in one message, not the first alone."""
    result = plugin.add(_NET, container)
    run(f"bridge vlan del dev {result['interfaces'][1]['name']} vid 100")
    run("ip -n pod-1 link set eth0 down")
    message = _check(plugin, result, container).document["msg"]
    assert len(re.findall("expected", message)) >= 2, message
    plugin.delete(_NET, container)


def test_check_after_the_networks_mtu_was_raised_passes(
    cluster: ClusterNetwork, container: Container, plugin: Plugin
) -> None:
    """A machine that keeps its old, smaller MTU is as its ADD made it."""
    config = {**_NET, "mtu": 0}
    run_ip("link set cn1-bo mtu 1500")
    result = plugin.add(config, container)
    run_ip("link set cn1-bo mtu 9000", "link set cn1-br mtu 9000")
    assert result["interfaces"][1]["mtu"] == 1500
    assert _check(plugin, result, container) == Reply(0, "", "")
    plugin.delete(config, container)


def test_check_changes_nothing(cluster: ClusterNetwork, container: Container, plugin: Plugin) -> None:
    """The node is the same before and after a CHECK, and so is the container."""
    result = plugin.add(_NET, container)
    before, inside = node.take_snapshot(), container.ip("address show")
    _check(plugin, result, container)
    assert node.list_differences(before, node.take_snapshot()) == []
    assert [link["addr_info"] for link in container.ip("address show")] == [link["addr_info"] for link in inside]
    plugin.delete(_NET, container)
