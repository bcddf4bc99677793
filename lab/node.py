"""What a node looks like from outside: its links, VLAN tables, rules and files, read with iproute2 and nft."""

from pathlib import Path
from typing import Any

from lab.shell import run, run_json

_STATE_DIRECTORIES = ("/run/cni-harvester", "/run/cni", "/var/lib/cni", "/etc/cni")

# What the kernel changes by itself: counters, timers, carrier.
_VOLATILE = {
    *("gc_timer", "hello_timer", "tcn_timer", "topology_change_timer", "hold_timer", "message_age_timer"),
    *("forward_delay_timer", "operstate", "state", "root_port", "bridge_id", "root_id", "topology_change"),
    *("topology_change_detected", "promiscuity", "allmulti", "qdisc", "mcast_router", "mii_status", "ad_info"),
    *("gro_max_size", "gso_max_size", "gso_max_segs", "tso_max_size", "tso_max_segs", "link_failure_count"),
    "inet6_addr_gen_mode",  # shown from when the kernel's IPv6 is first used
}
_VOLATILE_FLAGS = {"LOWER_UP", "NO-CARRIER"}


def find_link(name: str) -> dict[str, Any] | None:
    """Return an interface of the node as iproute2 shows it, or None."""
    return next((link for link in list_links() if link["ifname"] == name), None)


def list_links() -> list[dict[str, Any]]:
    """Return all interfaces of the node."""
    links: list[dict[str, Any]] = run_json("ip -j -d link show")
    return links


def list_attachments() -> list[dict[str, Any]]:
    """Return the host ends that cni-harvester made."""
    return [link for link in list_links() if link.get("ifalias", "").startswith("cni-harvester:") and _is_veth(link)]


def _is_veth(link: dict[str, Any]) -> bool:
    return bool(link.get("linkinfo", {}).get("info_kind") == "veth")


def list_vlans() -> dict[str, dict[int, frozenset[str]]]:
    """Return the VLAN tables as {interface: {VID: {"PVID", "Egress Untagged"}}}, ranges expanded."""
    tables: dict[str, dict[int, frozenset[str]]] = {}
    for port in run_json("bridge -j -compressvlans vlan show"):
        table = tables.setdefault(port["ifname"], {})
        for entry in port["vlans"]:
            flags = frozenset(entry.get("flags", []))
            for vid in range(entry["vlan"], entry.get("vlanEnd", entry["vlan"]) + 1):
                table[vid] = flags
    return tables


def take_snapshot() -> dict[str, Any]:
    """Describe everything that cni-harvester could change, so that two snapshots can be compared.

    Left out is what the kernel changes by itself, and the MAC of a bridge that has none of its own.
    """
    return {
        "links": {link["ifname"]: _settle(link) for link in list_links()},
        "vlans": list_vlans(),
        "rules": _list_rules(),
        "namespaces": sorted(path.name for path in Path("/run/netns").iterdir()),
        "files": _list_files(),
    }


def list_differences(before: Any, after: Any, path: str = "") -> list[str]:
    """Name everything in which two snapshots differ, with both values; nothing when they are equal."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted(before.keys() | after.keys(), key=str):
            found += list_differences(before.get(key), after.get(key), f"{path}/{key}")
        return found
    return [] if before == after else [f"{path}: {before!r} before, {after!r} after"]


def _list_rules() -> list[str]:
    """Return the nftables rules; without asking nft where the kernel's part of it is not even loaded."""
    modules = Path("/proc/modules")
    absent = modules.exists() and "nf_tables" not in modules.read_text()
    return [] if absent else run("nft list ruleset").splitlines()


def _settle(link: dict[str, Any]) -> dict[str, Any]:
    settled: dict[str, Any] = _drop_volatile(link)
    settled["flags"] = sorted(set(link["flags"]) - _VOLATILE_FLAGS)
    if link.get("linkinfo", {}).get("info_kind") == "bridge":
        settled.pop("address")
    return settled


def _drop_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_volatile(item) for key, item in value.items() if key not in _VOLATILE}
    return value


def _list_files() -> dict[str, str]:
    files = {}
    for directory in _STATE_DIRECTORIES:
        for path in sorted(Path(directory).rglob("*")) if Path(directory).exists() else ():
            # Leftovers that host-local keeps by design once it was used.
            if path.is_file() and path.name != "lock" and not path.name.startswith("last_reserved_ip"):
                files[str(path)] = path.read_text(errors="replace")
    return files
