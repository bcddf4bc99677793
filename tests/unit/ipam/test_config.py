"""The `ipam` object: every key, every fault, and when the object is meant for us."""

from typing import Any

import pytest

from cni_harvester import ipam
from cni_harvester.errors import FeatureMissing, HarvesterError, InvalidNetworkConfig, UnsupportedField
from cni_harvester.ipam.config import DhcpConfig, load_dhcp_config

from .samples import make_call

OURS = {"type": "cni-harvester", "mode": "dhcp"}


def load(**keys: Any) -> DhcpConfig:
    """Load an `ipam` object: ours, and more keys."""
    return load_dhcp_config(make_call("ADD", OURS | keys))


def refuse(value: object) -> HarvesterError:
    """Return the error of an `ipam` object that is refused."""
    with pytest.raises(HarvesterError) as caught:
        load_dhcp_config(make_call("ADD", value))
    return caught.value


# --- keys --------------------------------------------------------------------------------------------------------


def test_type_and_mode_alone_have_the_promised_defaults() -> None:
    """Thirty seconds in all, the identifier made of the MAC, and any server."""
    config = load()
    assert (config.timeout_s, config.identifier, config.server) == (30, b"", "")


@pytest.mark.parametrize("case", [str, str.upper, str.lower])
def test_keys_are_read_in_any_case(case: Any) -> None:
    """Each key is found however it is spelled, as Go's decoder has it."""
    config = load(**{case("timeoutSeconds"): 5, case("clientID"): "vm-1", case("server"): "192.0.2.1"})
    assert (config.timeout_s, config.client_id, config.server) == (5, "vm-1", "192.0.2.1")


@pytest.mark.parametrize("timeout", [1, 30, 600])
def test_timeout_takes_up_to_ten_minutes(timeout: int) -> None:
    """The bounds are among the values that are accepted."""
    assert load(timeoutSeconds=timeout).timeout_s == timeout


@pytest.mark.parametrize(
    ("text", "identifier"),
    [("vm-1", b"\0vm-1"), ("ü", b"\0\xc3\xbc"), ("x" * 254, b"\0" + b"x" * 254), ("", b"")],
)
def test_client_id_becomes_option_61_of_type_0(text: str, identifier: bytes) -> None:
    """A text is no hardware address, which its type octet says (RFC 2132, section 9.14)."""
    assert load(clientID=text).identifier == identifier


@pytest.mark.parametrize("key", ["timeoutSeconds", "clientID", "server"])
def test_null_is_as_if_the_key_was_not_there(key: str) -> None:
    """As in all documents of CNI."""
    assert load(**{key: None}) == load()


# --- faults ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        pytest.param({"mode": "static"}, ["ipam.mode: input should be 'dhcp', got 'static'"], id="mode"),
        pytest.param({"mode": ""}, ["ipam.mode: ", "got ''"], id="mode, empty"),
        pytest.param({"mode": None}, ["ipam.mode: missing"], id="mode, null"),
        pytest.param({"timeoutSeconds": 0}, ["ipam.timeoutSeconds: ", "equal to 1, got 0"], id="timeout, none"),
        pytest.param({"timeoutSeconds": 601}, ["ipam.timeoutSeconds: ", "equal to 600, got 601"], id="timeout, long"),
        pytest.param({"timeoutSeconds": -1}, ["ipam.timeoutSeconds: ", "got -1"], id="timeout, negative"),
        pytest.param({"timeoutSeconds": 1.5}, ["ipam.timeoutSeconds: ", "got 1.5"], id="timeout, not whole"),
        pytest.param({"timeoutSeconds": "30"}, ["ipam.timeoutSeconds: ", "got '30'"], id="timeout, text"),
        pytest.param({"timeoutSeconds": True}, ["ipam.timeoutSeconds: ", "got True"], id="timeout, truth"),
        pytest.param({"clientID": "x" * 255}, ["ipam.clientID: takes more than 254 bytes"], id="client id, long"),
        pytest.param({"clientID": "ü" * 128}, ["ipam.clientID: takes more than 254 bytes"], id="client id, long UTF-8"),
        pytest.param({"clientID": 5}, ["ipam.clientID: ", "got 5"], id="client id, number"),
        pytest.param({"server": "192.0.2"}, ["ipam.server: ", "got '192.0.2'"], id="server, half"),
        pytest.param({"server": "2001:db8::1"}, ["ipam.server: ", "got '2001:db8::1'"], id="server, IPv6"),
        pytest.param({"server": "192.0.2.1/24"}, ["ipam.server: ", "got '192.0.2.1/24'"], id="server, subnet"),
        pytest.param({"server": 5}, ["ipam.server: ", "got 5"], id="server, number"),
    ],
)
def test_wrong_value_is_refused_by_its_path(keys: dict[str, object], words: list[str]) -> None:
    """Code 7, with path, reason and value."""
    error = refuse(OURS | keys)
    assert isinstance(error, InvalidNetworkConfig)
    assert error.msg.startswith("invalid network configuration: ")
    assert [word for word in words if word not in error.msg] == [], error.msg


def test_all_faults_are_told_together() -> None:
    """Whoever writes the configuration need not find them one by one."""
    error = refuse({"type": "cni-harvester", "timeoutSeconds": 0, "clientID": 5, "server": "here", "extra": 1})
    assert isinstance(error, InvalidNetworkConfig)
    for path in ("ipam.mode: missing", "ipam.timeoutSeconds: ", "ipam.clientID: ", "ipam.server: ", "ipam.extra: "):
        assert path in error.msg
    assert error.details == "5 faults; see docs/configuration.md for the keys"


def test_unknown_keys_alone_are_code_2() -> None:
    """A key of another IPAM plugin, or a slip, is named with its value."""
    error = refuse(OURS | {"subnet": "192.0.2.0/24", "timeout": 5})
    assert isinstance(error, UnsupportedField)
    assert "ipam.subnet: unknown key, got '192.0.2.0/24'" in error.msg
    assert "ipam.timeout: unknown key, got 5" in error.msg


@pytest.mark.parametrize("value", ["cni-harvester", 5, [], None])
def test_ipam_that_is_no_object_is_refused(value: object) -> None:
    """Code 7, whatever it is instead."""
    error = refuse(value)
    assert isinstance(error, InvalidNetworkConfig)
    assert error.msg.startswith("invalid network configuration: ipam")


# --- whose call it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ipam_kind", "delegated"),
    [
        ("macvlan", "cni-harvester", True),
        ("bridge", "cni-harvester", True),
        ("cni-harvester", "cni-harvester", False),
        ("cni-harvester", "host-local", False),
        ("macvlan", "host-local", False),
        (None, "cni-harvester", True),
    ],
)
def test_call_is_another_main_plugins_when_only_the_ipam_type_is_ours(
    kind: str | None, ipam_kind: str, delegated: bool
) -> None:
    """Our own attachments have our name in both places, and are not taken for a delegation."""
    call = make_call("ADD", {"type": ipam_kind}, type=kind)
    assert ipam.is_delegated(call) is delegated


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"type": "host-local"}, "host-local"),
        ({"TYPE": "host-local", "subnet": 5}, "host-local"),
        ({}, None),
        ({"type": ""}, None),
        ({"type": 5}, None),
        ({"type": "../bin/sh"}, None),
        ({"type": "a\0b"}, None),
        ("host-local", None),
        (None, None),
    ],
)
def test_ipam_type_is_found_as_far_as_the_configuration_can_be_read(value: object, kind: str | None) -> None:
    """A DEL must find its plugin in a configuration that no ADD would take; a path is never one."""
    assert ipam.find_type(make_call("DEL", value)) == kind


def test_own_configuration_is_required_before_anything_is_changed() -> None:
    """The main plugin's ADD refuses a wrong `ipam` object of ours without looking for a program."""
    ipam.require_plugin(make_call("ADD", OURS), "cni-harvester")
    with pytest.raises(InvalidNetworkConfig, match=r"ipam\.mode: missing"):
        ipam.require_plugin(make_call("ADD", {"type": "cni-harvester"}), "cni-harvester")


def test_other_plugin_is_required_to_be_there() -> None:
    """Any other IPAM plugin is a program."""
    with pytest.raises(FeatureMissing, match="host-local"):
        ipam.require_plugin(make_call("ADD", {"type": "host-local"}), "host-local")
