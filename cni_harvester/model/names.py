"""The names that the CNI specification and the kernel allow, and those of a cluster network's devices."""

import re

from cni_harvester.errors import InvalidEnvironment, InvalidNetworkConfig

INTERFACE_NAME_MAX_BYTES = 15
"""IFNAMSIZ less the terminating zero (linux/if.h)."""

# CNI specification, sections "Parameters" and "Network configuration"; matched with fullmatch, so a trailing
# newline is no match.
_IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")

_BRIDGE_SUFFIX, _UPLINK_SUFFIX = "-br", "-bo"


def find_interface_name_fault(name: str) -> str | None:
    """Say what is wrong with an interface name, or None (CNI specification, CNI_IFNAME; kernel dev_valid_name)."""
    if not name:
        return "interface name is empty"
    if any("\ud800" <= c <= "\udfff" for c in name):  # what Python makes of octets that are not UTF-8
        return "interface name is not UTF-8"
    if len(name.encode()) > INTERFACE_NAME_MAX_BYTES:
        return "interface name is too long"
    if name in {".", ".."}:
        return "interface name is . or .."
    if any(c in "/:\0" or c.isspace() for c in name):
        return "interface name contains / or : or whitespace characters"
    return None


def parse_interface_name(name: str) -> str:
    """Return a valid CNI_IFNAME; raise InvalidEnvironment otherwise."""
    if fault := find_interface_name_fault(name):
        hint = f"CNI_IFNAME is {name!r}; 1 to {INTERFACE_NAME_MAX_BYTES} bytes without '/', ':' or white space"
        raise InvalidEnvironment(f"invalid CNI_IFNAME: {fault}", hint)
    return name


def parse_container_id(value: str) -> str:
    """Return a valid CNI_CONTAINERID; raise InvalidEnvironment otherwise."""
    if not _IDENTIFIER.fullmatch(value):
        hint = f"CNI_CONTAINERID is {value!r}; it starts with a letter or digit, then letters, digits, '_', '.', '-'"
        raise InvalidEnvironment("invalid characters in CNI_CONTAINERID", hint)
    return value


def parse_network_name(value: str) -> str:
    """Return a valid network name; raise InvalidNetworkConfig when it is missing or has other characters."""
    if not value:
        raise InvalidNetworkConfig("missing network name", 'add "name" to the network configuration')
    if not _IDENTIFIER.fullmatch(value):
        hint = f"name is {value!r}; it starts with a letter or digit, then letters, digits, '_', '.', '-'"
        raise InvalidNetworkConfig("invalid characters found in network name", hint)
    return value


def find_uplink_name(bridge: str) -> str | None:
    """Return the uplink that belongs to a cluster network's bridge (`<cn>-br` has `<cn>-bo`), None for another name."""
    stem = bridge.removesuffix(_BRIDGE_SUFFIX)
    return f"{stem}{_UPLINK_SUFFIX}" if stem and stem != bridge else None
