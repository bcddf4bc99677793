"""Reading a request: which variables a command needs, what is wrong first, and what is JSON."""

import itertools
import json
from typing import Any

import pytest

from cni_harvester.cni.request import COMMANDS, Call, Request, decode_object, parse_call
from cni_harvester.errors import (
    DecodeFailed,
    HarvesterError,
    IncompatibleVersion,
    InvalidEnvironment,
    InvalidNetworkConfig,
)

FULL = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c-1",
    "CNI_NETNS": "/run/netns/pod-1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}
CONFIG = {"cniVersion": "1.1.0", "name": "vlan100", "type": "cni-harvester", "bridge": "cn1-br"}
NEEDED = {
    "ADD": ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
    "DEL": ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
    "CHECK": ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
    "GC": ["CNI_PATH"],
    "STATUS": ["CNI_PATH"],
}


def read(stdin: bytes | dict[str, Any] = b"", *, without: tuple[str, ...] = (), **variables: str) -> Call:
    """Read a request: a full one, less some variables, with others changed."""
    environment = {key: value for key, value in (FULL | variables).items() if key not in without}
    return parse_call(Request(environment, stdin if isinstance(stdin, bytes) else json.dumps(stdin).encode()))


def refuse(stdin: bytes | dict[str, Any] = b"", *, without: tuple[str, ...] = (), **variables: str) -> HarvesterError:
    """Return the error of a request that is refused."""
    with pytest.raises(HarvesterError) as caught:
        read(stdin, without=without, **variables)
    return caught.value


def test_request_that_is_valid_is_read_whole() -> None:
    """Everything that the verbs need of a request is in the call."""
    call = read(CONFIG, CNI_ARGS="IgnoreUnknown=1", CNI_PATH="/opt/cni/bin::/usr/lib/cni:")
    assert (call.command, call.name, call.cni_version) == ("ADD", "vlan100", "1.1.0")
    assert (call.netns, call.arguments) == ("/run/netns/pod-1", "IgnoreUnknown=1")
    assert call.plugin_path == ["/opt/cni/bin", "/usr/lib/cni"]
    assert (call.attachment.network, call.attachment.container_id, call.attachment.ifname) == ("vlan100", "c-1", "eth0")
    assert call.config == CONFIG
    assert json.loads(call.request.stdin) == CONFIG


# --- the environment (rows S2.2 to S2.8, L-01, L-04) ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (command, missing)
        for command, needed in NEEDED.items()
        for count in range(len(needed) + 1)
        for missing in itertools.combinations(needed, count)
    ],
)
@pytest.mark.parametrize("way", ["unset", "empty"])
def test_variables_that_a_command_needs_are_reported_missing_all_together(
    command: str, missing: tuple[str, ...], way: str
) -> None:
    """A command needs exactly its variables; what is unset or empty is listed whole, in the specification's order."""
    unneeded = tuple(variable for variable in FULL if variable not in ["CNI_COMMAND", *NEEDED[command]])
    variables = {"CNI_COMMAND": command} | (dict.fromkeys(missing, "") if way == "empty" else {})
    without = unneeded + (missing if way == "unset" else ())
    if not missing:
        assert read(CONFIG, without=without, **variables).command == command
        return
    error = refuse(CONFIG, without=without, **variables)
    assert type(error) is InvalidEnvironment
    assert error.msg == f"required env variables [{','.join(missing)}] missing"
    assert command in error.details


@pytest.mark.parametrize("command", ["GC", "STATUS"])
def test_variables_that_a_command_does_not_need_are_not_checked(command: str) -> None:
    """GC and STATUS are about no container, so a bad id or interface name does not matter to them."""
    assert read(CONFIG, CNI_COMMAND=command, CNI_CONTAINERID="-bad\n", CNI_IFNAME="a/b").command == command


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"CNI_CONTAINERID": "a/b"}, "invalid characters in CNI_CONTAINERID"),
        ({"CNI_CONTAINERID": "c-1\n"}, "invalid characters in CNI_CONTAINERID"),
        ({"CNI_IFNAME": "a" * 16}, "invalid CNI_IFNAME: interface name is too long"),
        ({"CNI_IFNAME": "."}, "invalid CNI_IFNAME: interface name is . or .."),
        ({"CNI_IFNAME": ".."}, "invalid CNI_IFNAME: interface name is . or .."),
        ({"CNI_IFNAME": "a/b"}, "invalid CNI_IFNAME: interface name contains / or : or whitespace characters"),
        ({"CNI_IFNAME": "a:b"}, "invalid CNI_IFNAME: interface name contains / or : or whitespace characters"),
        ({"CNI_IFNAME": "a b"}, "invalid CNI_IFNAME: interface name contains / or : or whitespace characters"),
    ],
)
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
def test_variable_with_an_invalid_value_is_refused(command: str, variables: dict[str, str], message: str) -> None:
    """Container id and interface name follow the specification's rules."""
    error = refuse(CONFIG, CNI_COMMAND=command, **variables)
    assert (type(error), error.msg) == (InvalidEnvironment, message)


def test_environment_with_an_invalid_value_is_refused_before_missing_ones_are_listed() -> None:
    """The first invalid value in the order of the specification is reported alone."""
    error = refuse(CONFIG, without=("CNI_NETNS", "CNI_PATH"), CNI_CONTAINERID="-", CNI_IFNAME="a/b")
    assert error.msg == "invalid characters in CNI_CONTAINERID"
    error = refuse(CONFIG, without=("CNI_CONTAINERID", "CNI_NETNS"), CNI_IFNAME="a/b")
    assert error.msg == "invalid CNI_IFNAME: interface name contains / or : or whitespace characters"


def test_identity_that_is_too_long_is_refused_when_it_is_used() -> None:
    """An attachment that does not fit in an ifalias is an environment fault that names the variable."""
    with pytest.raises(InvalidEnvironment, match="CNI_CONTAINERID"):
        _ = read(CONFIG, CNI_CONTAINERID="c" * 300).attachment


# --- order of faults (rows S2.9 to S2.19, L-05, L-06, L-08) --------------------------------------------------------

BAD_ENVIRONMENT = {"CNI_IFNAME": "a/b"}
UNKNOWN_COMMAND = {"CNI_COMMAND": "NOPE"}


@pytest.mark.parametrize(
    ("stdin", "variables", "kind"),
    [
        (b"{", BAD_ENVIRONMENT, InvalidEnvironment),
        (b"{", {}, DecodeFailed),
        (b"{", UNKNOWN_COMMAND, DecodeFailed),
        ({"name": 5, "cniVersion": "9.9.9"}, {}, DecodeFailed),
        ({"name": 5}, UNKNOWN_COMMAND, DecodeFailed),
        ({"name": "-", "cniVersion": 5}, {}, DecodeFailed),
        ({"name": "-", "cniVersion": "9.9.9"}, {}, InvalidNetworkConfig),
        ({"cniVersion": "9.9.9"}, {}, InvalidNetworkConfig),
        ({"name": "-"}, UNKNOWN_COMMAND, InvalidNetworkConfig),
        ({"name": "n", "cniVersion": "9.9.9"}, UNKNOWN_COMMAND, InvalidEnvironment),
        ({"name": "n", "cniVersion": "9.9.9", "bridge": 5}, {}, IncompatibleVersion),
    ],
)
def test_faults_are_found_in_the_order_of_libcni(
    stdin: bytes | dict[str, Any], variables: dict[str, str], kind: type[HarvesterError]
) -> None:
    """Environment, JSON, types of name and version, name, command, version: the first fault is the one reported."""
    assert type(refuse(stdin, **variables)) is kind


@pytest.mark.parametrize("command", ["NOPE", "add", "Add", "ADD ", "ADD\n", " ADD", "UPDATE", "\udcff"])
def test_command_that_is_unknown_needs_no_variable_and_is_refused_by_name(command: str) -> None:
    """Commands are case-sensitive words; for one that does not exist, only standard input is looked at first."""
    error = refuse(CONFIG, without=tuple(FULL)[1:], CNI_COMMAND=command)
    assert (type(error), error.msg) == (InvalidEnvironment, f"unknown CNI_COMMAND: {command}")
    assert error.details == f"the commands are {', '.join(COMMANDS)}"


@pytest.mark.parametrize("name", ["", None])
def test_network_name_that_is_empty_or_null_is_missing(name: str | None) -> None:
    """No name, an empty one and null are all the same fault (code 7)."""
    for config in ({"cniVersion": "1.1.0"}, {"cniVersion": "1.1.0", "name": name}):
        error = refuse(config)
        assert (type(error), error.msg) == (InvalidNetworkConfig, "missing network name")


@pytest.mark.parametrize("name", ["a/b", "-a", "a\n", "é", "\ud800"])
def test_network_name_with_other_characters_is_refused(name: str) -> None:
    """A name outside the specification's characters is an invalid configuration (code 7)."""
    error = refuse(CONFIG | {"name": name})
    assert (type(error), error.msg) == (InvalidNetworkConfig, "invalid characters found in network name")


@pytest.mark.parametrize("key", ["name", "cniVersion"])
@pytest.mark.parametrize("value", [5, 1.5, True, False, 0, [], ["n"], {}, {"a": "b"}])
def test_name_and_version_of_another_type_cannot_be_decoded(key: str, value: object) -> None:
    """Both are strings; anything else but null is a decoding fault (code 6), even what Python takes for false."""
    error = refuse(CONFIG | {key: value})
    assert type(error) is DecodeFailed
    assert "name and cniVersion are strings" in error.msg


@pytest.mark.parametrize("config", [{"name": "n"}, {"name": "n", "cniVersion": ""}, {"name": "n", "cniVersion": None}])
def test_version_that_is_missing_is_the_oldest(config: dict[str, Any]) -> None:
    """A configuration without a version is one of 0.1.0, which had no such key."""
    assert read(config).cni_version == "0.1.0"
    assert refuse(config, CNI_COMMAND="CHECK").msg == "config version does not allow CHECK"


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_version_that_is_supported_is_kept(version: str) -> None:
    """All seven versions of the specification are spoken."""
    assert read(CONFIG | {"cniVersion": version}).cni_version == version


@pytest.mark.parametrize(
    ("command", "version", "kind", "message"),
    [
        ("ADD", "9.9.9", IncompatibleVersion, "incompatible CNI versions"),
        ("DEL", "abc", IncompatibleVersion, "incompatible CNI versions"),
        ("CHECK", "0.3.1", IncompatibleVersion, "config version does not allow CHECK"),
        ("CHECK", "abc", DecodeFailed, "invalid cniVersion 'abc'"),
        ("CHECK", "9.9.9", IncompatibleVersion, "plugin version does not allow CHECK"),
        ("GC", "1.0.0", IncompatibleVersion, "config version does not allow GC"),
        ("STATUS", "1.0.0", IncompatibleVersion, "config version does not allow STATUS"),
        ("STATUS", "1.0.0.0", DecodeFailed, "invalid cniVersion '1.0.0.0'"),
    ],
)
def test_version_that_does_not_go_with_the_command_is_refused(
    command: str, version: str, kind: type[HarvesterError], message: str
) -> None:
    """A request is checked against what its version allows."""
    error = refuse(CONFIG | {"cniVersion": version}, CNI_COMMAND=command)
    assert (type(error), error.msg) == (kind, message)


# --- standard input (row S2.10) ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b"nonsense",
        b"{'name':'n'}",
        b'{"name":"n",}',
        b'{"name":"n"}{"name":"n"}',
        b'{"name":"n"} x',
        b'{"name":"n"}\n]',
        b'{"name":"n","x":NaN}',
        b'{"name":"n","x":Infinity}',
        b'{"name":"n","x":-Infinity}',
        b'{"name":"n","x":1e400}',
        b'{"name":"n\n"}',
        b'{"name":"\\x"}',
        b'{"name":"\\u12"}',
        b'{"name":"\xff"}',
        b'{"name":"\xed\xa0\x80"}',
        b'{"name":01}',
        b'{"name":1.}',
        b"{1:2}",
        b"null",
        b"true",
        b"5",
        b'"name"',
        b"[]",
        b'[{"name":"n"}]',
        b'\xef\xbb\xbf{"name":"n"}',
        '{"name":"n"}'.encode("utf-16"),
        b'{"name":"n"}\0',
        pytest.param(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="100000 lists deep"),
        pytest.param(b'{"x":' * 100_000, id="100000 objects deep"),
        pytest.param(b'{"x":' + b"9" * 100_000 + b"}", id="number of 100000 digits"),
    ],
)
def test_stdin_that_is_not_one_json_object_cannot_be_decoded(data: bytes) -> None:
    """Trailing data, constants that JSON does not have, other encodings and absurd sizes are all code 6."""
    with pytest.raises(DecodeFailed) as caught:
        decode_object(data, "network configuration")
    assert caught.value.msg.startswith("error decoding network configuration: ")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (b' \t\r\n{"a":1}\n', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        ('{"a":"é網"}'.encode(), {"a": "é網"}),
        (b'{"a":"\\u00e9"}', {"a": "é"}),
        (b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a":[[[[]]]],"b":{"c":null}}', {"a": [[[[]]]], "b": {"c": None}}),
    ],
)
def test_stdin_that_is_one_json_object_is_decoded(data: bytes, value: dict[str, Any]) -> None:
    """White space around it is fine, a later duplicate key wins, numbers keep all their digits."""
    assert decode_object(data, "network configuration") == value


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"Name": "n"}, "n"),
        ({"NAME": "n"}, "n"),
        ({"NAME": "m", "name": "n"}, "n"),
        ({"name": "n", "NAME": "m"}, "m"),
        ({"name": "n", "names": "m", "nam": "m"}, "n"),
    ],
)
def test_keys_match_without_case_and_the_last_one_wins(config: dict[str, Any], name: str) -> None:
    """Keys are read as Go reads them, by which all runtimes write them."""
    call = read(config | {"CNIVERSION": "1.0.0"})
    assert (call.name, call.cni_version) == (name, "1.0.0")


def test_key_that_is_absent_is_found_as_none() -> None:
    """Absent and null are the same to a verb."""
    call = read(CONFIG | {"prevResult": None})
    assert call.find("prevResult") is None
    assert call.find("cni.dev/valid-attachments") is None
    assert call.find("BRIDGE") == "cn1-br"
