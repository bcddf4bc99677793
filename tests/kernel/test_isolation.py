"""What a machine on a port can and cannot do, shown with real frames."""

from collections.abc import Iterator
from typing import Any

import pytest

from lab import node
from lab.namespaces import Container, make_container
from lab.plugin import Plugin
from lab.shell import run_ip, run_json

pytestmark = pytest.mark.any_kernel

_NET = {"cniVersion": "1.1.0", "name": "net", "type": "cni-harvester", "bridge": "plain-br"}


@pytest.fixture
def bridge(empty_node: None) -> Iterator[None]:
    """A plain bridge, on which all machines are neighbours."""
    run_ip("link add plain-br type bridge", "link set plain-br up")
    before = node.take_snapshot()
    yield
    assert node.list_differences(before | {"namespaces": []}, node.take_snapshot() | {"namespaces": []}) == []
    run_ip("link del plain-br")


@pytest.fixture
def machines(bridge: None) -> Iterator[list[Container]]:
    """Three containers, not yet attached."""
    with make_container("vm-1") as one, make_container("vm-2") as two, make_container("vm-3") as three:
        yield [one, two, three]


def _attach(plugin: Plugin, config: dict[str, Any], machines: list[Container]) -> None:
    for number, machine in enumerate(machines, 1):
        plugin.add(config, machine, container_id=f"c-{number}")
        run_ip(f"address add 192.0.2.{number}/24 dev eth0 nodad", namespace=machine.name)


def _detach(plugin: Plugin, config: dict[str, Any], machines: list[Container]) -> None:
    for number, machine in enumerate(machines, 1):
        plugin.delete(config, machine, container_id=f"c-{number}")


def _reaches(machine: Container, number: int) -> bool:
    """Whether a machine gets an answer from another one; neighbours are asked anew each time."""
    run_ip("neigh flush all", namespace=machine.name)
    said = machine.run(f"ping -c 2 -i 0.2 -W 1 192.0.2.{number}", check=False)
    return " 0 received" not in said and "received" in said


def test_spoofed_source_address_with_macspoofchk_is_dropped(machines: list[Container], plugin: Plugin) -> None:
    """A machine speaks with its own MAC only; with another's it is not heard, and can speak again with its own."""
    config = _NET | {"macspoofchk": True}
    _attach(plugin, config, machines)
    assert _reaches(machines[0], 2)
    own = machines[0].find_link("eth0")
    assert own is not None
    run_ip("link set eth0 address 02:00:5e:00:53:01", namespace=machines[0].name)
    assert not _reaches(machines[0], 2)
    run_ip(f"link set eth0 address {own['address']}", namespace=machines[0].name)
    assert _reaches(machines[0], 2)
    _detach(plugin, config, machines)


def test_spoofed_source_address_without_macspoofchk_passes(machines: list[Container], plugin: Plugin) -> None:
    """The guard is what drops it: a network without one lets any MAC pass."""
    _attach(plugin, _NET, machines)
    run_ip("link set eth0 address 02:00:5e:00:53:01", namespace=machines[0].name)
    assert _reaches(machines[0], 2)
    _detach(plugin, _NET, machines)


def test_isolated_ports_do_not_reach_each_other_but_do_reach_others(machines: list[Container], plugin: Plugin) -> None:
    """With portIsolation two machines of a network are strangers; a port without it serves both."""
    isolated = _NET | {"portIsolation": True}
    _attach(plugin, isolated, machines[:2])
    plugin.add(_NET, machines[2], container_id="c-3")
    run_ip("address add 192.0.2.3/24 dev eth0 nodad", namespace=machines[2].name)
    assert not _reaches(machines[0], 2)
    assert _reaches(machines[0], 3)
    assert _reaches(machines[2], 2)
    _detach(plugin, isolated, machines)


def test_host_end_keeps_silent_towards_the_machine(machines: list[Container], plugin: Plugin) -> None:
    """The node's end of the pair has no address and so sends the machine no discovery of its own."""
    result = plugin.add(_NET, machines[0])
    name = result["interfaces"][1]["name"]
    assert [link["addr_info"] for link in _show_addresses() if link["ifname"] == name] == [[]]
    plugin.delete(_NET, machines[0])


def _show_addresses() -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = run_json("ip -j address show")
    return shown
