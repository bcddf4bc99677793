"""Names of interfaces, containers, networks and uplinks."""

import pytest

from cni_harvester.errors import InvalidEnvironment, InvalidNetworkConfig
from cni_harvester.model import names

TOO_LONG, DOTS = "interface name is too long", "interface name is . or .."
BAD_CHARACTER = "interface name contains / or : or whitespace characters"


@pytest.mark.parametrize(
    "name",
    [
        "e",
        "eth0",
        "pod16367aacb67",
        "a" * 15,
        "é" * 7,
        "網" * 5,
        "...",
        ".hidden",
        "-x",
        "a.100",
        "a@b",
    ],
)
def test_interface_name_that_the_kernel_takes_is_kept_as_it_is(name: str) -> None:
    """A name of 1 to 15 bytes without forbidden characters is returned unchanged."""
    assert names.parse_interface_name(name) == name


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "interface name is empty"),
        ("a" * 16, TOO_LONG),
        ("é" * 8, TOO_LONG),
        ("a" + "網" * 5, TOO_LONG),
        ("eth\udcff", "interface name is not UTF-8"),  # an octet that is not UTF-8, as os.environ has it
        ("\ud800", "interface name is not UTF-8"),
        (".", DOTS),
        ("..", DOTS),
        ("a/b", BAD_CHARACTER),
        ("a:b", BAD_CHARACTER),
        ("a\0b", BAD_CHARACTER),
        ("a b", BAD_CHARACTER),
        (" eth0", BAD_CHARACTER),
        ("eth0\n", BAD_CHARACTER),
        ("eth0\r", BAD_CHARACTER),
        ("eth\t0", BAD_CHARACTER),
        ("eth\v0", BAD_CHARACTER),
        ("eth\f0", BAD_CHARACTER),
        ("eth\x850", BAD_CHARACTER),
        ("eth\xa00", BAD_CHARACTER),
        ("eth\u20030", BAD_CHARACTER),
        ("eth\u30000", BAD_CHARACTER),
    ],
)
def test_interface_name_that_the_kernel_refuses_is_refused_with_its_reason(name: str, fault: str) -> None:
    """The length is counted in bytes, and each kind of fault has the reference's words."""
    with pytest.raises(InvalidEnvironment) as caught:
        names.parse_interface_name(name)
    assert caught.value.msg == f"invalid CNI_IFNAME: {fault}"
    assert repr(name) in caught.value.details


@pytest.mark.parametrize("value", ["c", "0", "c-1", "A_b.C-9", "x" * 64, "a" * 1000])
def test_identifier_of_allowed_characters_is_kept_as_it_is(value: str) -> None:
    """Container ids and network names are a letter or digit, then letters, digits, `_`, `.` and `-`, of any length."""
    assert names.parse_container_id(value) == value
    assert names.parse_network_name(value) == value


@pytest.mark.parametrize(
    "value",
    ["x\n", "\nx", "x\r\n", "-x", "_x", ".x", "a b", "a/b", "a:b", "a\0", "é", "x²", "\u0663", "a\udcff", "a;b", "a=b"],
)
def test_identifier_with_other_characters_is_refused_up_to_its_true_end(value: str) -> None:
    """Nothing outside the set passes, not even a newline at the end."""
    with pytest.raises(InvalidEnvironment) as of_container:
        names.parse_container_id(value)
    assert of_container.value.msg == "invalid characters in CNI_CONTAINERID"
    with pytest.raises(InvalidNetworkConfig) as of_network:
        names.parse_network_name(value)
    assert of_network.value.msg == "invalid characters found in network name"
    assert repr(value) in of_container.value.details
    assert repr(value) in of_network.value.details


def test_network_name_that_is_empty_is_reported_as_missing() -> None:
    """An empty name has the reference's message of its own."""
    with pytest.raises(InvalidNetworkConfig) as caught:
        names.parse_network_name("")
    assert caught.value.msg == "missing network name"


@pytest.mark.parametrize(
    ("bridge", "uplink"),
    [
        ("cn1-br", "cn1-bo"),
        ("mgmt-br", "mgmt-bo"),
        ("a-br-br", "a-br-bo"),
        ("-br", None),
        ("br0", None),
        ("cn1-bo", None),
        ("cn1-br0", None),
        ("cn1br", None),
        ("", None),
    ],
)
def test_uplink_name_follows_from_the_bridge_of_a_cluster_network(bridge: str, uplink: str | None) -> None:
    """`<cn>-br` has the uplink `<cn>-bo`; a bridge of another name has none."""
    assert names.find_uplink_name(bridge) == uplink
