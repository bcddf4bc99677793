"""What an attachment must look like from outside, and what must be left of it: the assertions that many rows share."""

import ctypes
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import node
from lab.namespaces import Container
from lab.plugin import Plugin, Reply
from lab.shell import run_json

BRIDGE = "bridge0"
"""The bridge that every test finds on its node."""
NEW = "cni0"
"""A bridge that it does not find there: for the plugin, or the test, to make."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

_NATIVE = frozenset({"PVID", "Egress Untagged"})
_UNTAGGED = frozenset({"Egress Untagged"})


Snapshot = dict[str, Any]
"""What `lab.node.take_snapshot` returns."""

VlanTable = dict[int, frozenset[str]]


def vlan_table(native: int = 0, *, tagged: Iterable[int] = (), untagged: Iterable[int] = ()) -> VlanTable:
    """Write a port's VLAN table as `lab.node.list_vlans` reads it."""
    table = dict.fromkeys(tagged, frozenset[str]()) | dict.fromkeys(untagged, _UNTAGGED)
    return table | ({native: _NATIVE} if native else {})


def list_names(container: Container | None = None) -> list[str]:
    """Return the names of all interfaces in a container, or of the node, without a process for it."""
    if container is None:
        return _read_names()
    with Path(container.path).open() as file, ThreadPoolExecutor(1) as pool:
        return pool.submit(_read_names, file.fileno()).result()


def _read_names(namespace: int | None = None) -> list[str]:
    """Return the names of all interfaces of a namespace, which the calling thread enters for good, or of its own."""
    if namespace is not None and _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return sorted(line.partition(":")[0].strip() for line in lines)


@dataclass(frozen=True)
class Seen:
    """An attachment as iproute2 shows it: its three interfaces, its VLAN table, all links of the node."""

    bridge: dict[str, Any]
    host_end: dict[str, Any]
    container_end: dict[str, Any]
    vlans: VlanTable
    links: set[str]

    @property
    def mtus(self) -> tuple[int, int, int]:
        """MTU of bridge, host end, container end."""
        return self.bridge["mtu"], self.host_end["mtu"], self.container_end["mtu"]

    @property
    def addresses(self) -> list[str]:
        """IPv4 addresses of the container end."""
        return [f"{a['local']}/{a['prefixlen']}" for a in self.container_end["addr_info"] if a["family"] == "inet"]

    @property
    def port(self) -> dict[str, Any]:
        """Flags of the host end as a bridge port."""
        found: dict[str, Any] = self.host_end["linkinfo"]["info_slave_data"]
        return found


def look(container: Container, bridge: str = BRIDGE, *, ifname: str = "eth0") -> Seen:
    """Find an attachment by its container end, the host end being its peer."""
    container_end = next(link for link in container.ip("addr show") if link["ifname"] == ifname)
    links = node.list_links()
    host_end = next(link for link in links if link["ifindex"] == container_end["link_index"])
    assert host_end["link_index"] == container_end["ifindex"]
    assert host_end["master"] == bridge, host_end
    found = next(link for link in links if link["ifname"] == bridge)
    vlans = node.list_vlans().get(host_end["ifname"], {})
    return Seen(found, host_end, container_end, vlans, {link["ifname"] for link in links})


def assert_attached(seen: Seen, *, running: bool = True) -> None:
    """A veth pair from the bridge to the container, both ends up and the port forwarding."""
    assert seen.bridge["linkinfo"]["info_kind"] == "bridge"
    assert "UP" in seen.bridge["flags"]
    assert seen.host_end["linkinfo"]["info_kind"] == seen.container_end["linkinfo"]["info_kind"] == "veth"
    assert seen.host_end["ifname"].startswith("veth")
    assert "UP" in seen.host_end["flags"]
    assert ("UP" in seen.container_end["flags"]) == running, seen.container_end
    assert (seen.container_end["operstate"] == "UP") == running, seen.container_end


def assert_result(result: Mapping[str, Any], version: str, container: Container, seen: Seen) -> None:
    """The result names bridge, host end, container end in this order, with what is live, and nothing more."""
    ends = (seen.bridge, seen.host_end, seen.container_end)
    interfaces = [{"name": end["ifname"], "mac": end["address"]} for end in ends]
    interfaces[2]["sandbox"] = container.path
    if version >= "1.0.0":
        for interface, end in zip(interfaces, ends, strict=True):
            interface["mtu"] = end["mtu"]
    expected: dict[str, Any] = {"cniVersion": version, "interfaces": interfaces}
    if version < "1.0.0":
        expected["dns"] = {}
    assert result == expected, f"{result} is not {expected}"


def assert_same(before: Snapshot) -> None:
    """The node is as it was in a snapshot, but for containers, which come and go with the tests."""
    after = node.take_snapshot()
    differences = node.list_differences(before | {"namespaces": after["namespaces"]}, after)
    assert not differences, "\n".join(differences)


def assert_detached(
    plugin: Plugin, config: Mapping[str, Any], container: Container, before: Snapshot, **options: Any
) -> None:
    """DEL succeeds, twice; both ends are gone, and the node is as it was before the ADD."""
    plugin.delete(config, container, **options)
    assert "eth0" not in list_names(container)
    assert_same(before)
    plugin.delete(config, container, **options)


def assert_refused(reply: Reply, code: int, *words: str) -> dict[str, Any]:
    """The call failed with that code: one error document on standard output; return it."""
    assert reply.exit_status == 1, reply
    document = reply.document
    assert document["code"] == code, document
    text = f"{document['msg']} {document.get('details', '')}"
    assert [word for word in words if word not in text] == [], document
    return document


@contextmanager
def unchanged_node(before: Snapshot) -> Iterator[None]:
    """Nothing on the node differs after the block from how the test found it."""
    yield
    assert_same(before)


def count_rules(comment: str) -> dict[str, int]:
    """Count the nftables rules of `table bridge nat` that have a comment, by their chain."""
    counts: dict[str, int] = {}
    for entry in run_json("nft -j list ruleset")["nftables"]:
        rule = entry.get("rule", {})
        if (rule.get("family"), rule.get("table"), rule.get("comment")) == ("bridge", "nat", comment):
            counts[rule["chain"]] = counts.get(rule["chain"], 0) + 1
    return counts
