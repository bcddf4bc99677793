"""From request to response: what is on standard output and standard error, and the exit status."""

import json
from typing import Any, NoReturn

import pytest

from cni_harvester import __version__, errors
from cni_harvester.cni.dispatch import Verb, dispatch
from cni_harvester.cni.request import Call, Request, Response
from cni_harvester.cni.result import format_result, parse_result
from cni_harvester.errors import HarvesterError

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c-1",
    "CNI_NETNS": "/run/netns/pod-1",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}
CONFIG = {"cniVersion": "1.0.0", "name": "vlan100", "bridge": "cn1-br"}
SEVEN = "0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"


def succeed(call: Call) -> dict[str, Any] | None:
    """Be a verb that has nothing to print."""


def never(call: Call) -> NoReturn:
    """Be a verb that must not be called."""
    raise AssertionError(call.command)


def failing(error: BaseException) -> Verb:
    """Make a verb that raises."""

    def verb(call: Call) -> NoReturn:
        raise error

    return verb


def run(
    verb: Verb, config: dict[str, Any] | bytes = b"", environment: dict[str, str] | None = None, **variables: str
) -> Response:
    """Dispatch a request to a verb, whatever its command."""
    stdin = config if isinstance(config, bytes) and config else json.dumps(config or CONFIG).encode()
    commands = ("ADD", "DEL", "CHECK", "GC", "STATUS")
    start = ENVIRONMENT if environment is None else environment
    return dispatch(Request(start | variables, stdin), dict.fromkeys(commands, verb))


def refuse_constant(text: str) -> NoReturn:
    """Refuse what Python's decoder takes and JSON does not have."""
    raise AssertionError(text)


def read_stdout(response: Response) -> dict[str, Any]:
    """Read the one line of ASCII with one JSON document that standard output must be."""
    text = response.stdout.decode("ascii")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    document = json.loads(text, parse_constant=refuse_constant)
    assert isinstance(document, dict)
    return document


# --- VERSION and about (rows S2.1, S2.21, L-07, L-08) --------------------------------------------------------------


@pytest.mark.parametrize("stdin", [b"", b"{", b'{"cniVersion":"0.2.0"}', b"\xff"])
def test_version_is_answered_without_looking_at_anything_else(stdin: bytes) -> None:
    """VERSION needs no variable and no standard input, and calls no verb."""
    response = dispatch(Request({"CNI_COMMAND": "VERSION", "CNI_IFNAME": "a/b"}, stdin), {"ADD": never})
    assert response.stdout == (
        b'{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n'
    )
    assert (response.stderr, response.exit_status) == ("", 0)


@pytest.mark.parametrize("environment", [{}, {"CNI_COMMAND": ""}, {"CNI_IFNAME": "a/b"}])
def test_request_without_a_command_is_told_what_this_is(environment: dict[str, str]) -> None:
    """Without CNI_COMMAND two lines on standard error say name, version and protocol; the exit status is 0."""
    response = run(never, b"{", environment)
    assert response.stderr == f"CNI cni-harvester plugin {__version__}\nCNI protocol versions supported: {SEVEN}\n"
    assert (response.stdout, response.exit_status) == (b"", 0)


@pytest.mark.parametrize("command", ["NOPE", "version", "VERSION "])
def test_request_with_an_unknown_command_is_refused(command: str) -> None:
    """Commands are exact words (row S2.13)."""
    response = run(never, CNI_COMMAND=command)
    document = read_stdout(response)
    assert (document["code"], document["msg"]) == (4, f"unknown CNI_COMMAND: {command.strip()}")
    assert response.exit_status == 1


# --- success -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["DEL", "CHECK", "GC", "STATUS"])
def test_verb_that_succeeds_without_a_result_prints_nothing(command: str) -> None:
    """Only ADD and VERSION print on success."""
    response = run(succeed, CONFIG | {"cniVersion": "1.1.0"}, CNI_COMMAND=command)
    assert response == Response(b"", "", 0)


def test_verb_that_succeeds_with_a_result_prints_it() -> None:
    """An ADD prints its result, in ASCII whatever the names, and nothing else."""
    result = {"cniVersion": "1.0.0", "interfaces": [{"name": "é\udcff"}]}
    response = run(lambda call: result)
    assert read_stdout(response) == result
    assert (response.stderr, response.exit_status) == ("", 0)


def test_verb_gets_the_call_that_was_read() -> None:
    """The verb of the command is called once with the request as it was read."""
    calls: list[Call] = []
    run(calls.append, CNI_COMMAND="DEL")
    assert [(call.command, call.name, call.cni_version) for call in calls] == [("DEL", "vlan100", "1.0.0")]


# --- failure (rows S2.22, S2.23, L-10) -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnsupportedField("m", "d"), 2),
        (errors.UnknownContainer("m", "d"), 3),
        (errors.TryAgainLater("m", "d"), 11),
        (errors.NotReady("m", "d"), 50),
        (errors.BridgeMissing("m", "d"), 100),
        (errors.KernelRefused("m", "d", errno=22), 106),
        (errors.KernelRefused("m", "d", errno=16), 11),
        (errors.VerificationFailed("m", "d"), 110),
        (errors.RollbackFailed("m", "d"), 112),
        (errors.DelegateFailed("m", "d", code=77), 77),
        (errors.GcIncomplete("m", "d"), 140),
    ],
)
def test_error_with_a_code_is_kept_whole(error: HarvesterError, code: int) -> None:
    """Code, message and details of an error are what the runtime sees; standard error is left alone."""
    response = run(failing(error))
    assert read_stdout(response) == {"cniVersion": "1.0.0", "code": code, "msg": "m", "details": "d"}
    assert (response.stderr, response.exit_status) == ("", 1)


def test_error_without_details_has_no_such_key() -> None:
    """An empty text is left out."""
    assert read_stdout(run(failing(errors.NotOurs("m")))) == {"cniVersion": "1.0.0", "code": 104, "msg": "m"}


def test_error_message_is_one_line_of_ascii() -> None:
    """Line breaks and names that are not UTF-8 do not break the document."""
    document = read_stdout(run(failing(errors.NotOurs("cannot\n  delete\t'\udcff é'", "line\nline"))))
    assert document["msg"] == "cannot delete '\udcff é'"
    assert document["details"] == "line\nline"


@pytest.mark.parametrize(
    ("config", "version"),
    [
        (CONFIG, "1.0.0"),
        (CONFIG | {"cniVersion": "0.2.0"}, "0.2.0"),
        ({"name": "n"}, "0.1.0"),
        (b"{", "1.1.0"),
        (CONFIG | {"cniVersion": "9.9.9"}, "1.1.0"),
    ],
)
def test_error_has_the_version_of_the_configuration(config: dict[str, Any] | bytes, version: str) -> None:
    """An error names the configuration's version where it is known and spoken, else our newest."""
    assert read_stdout(run(failing(errors.NotOurs("m")), config))["cniVersion"] == version


@pytest.mark.parametrize("error", [ValueError("no\nluck"), KeyError("x"), OSError(5, "broken")])
def test_exception_that_nobody_expected_is_reported_as_a_bug(error: Exception) -> None:
    """A plain exception is code 999 on standard output and a traceback on standard error."""
    response = run(failing(error))
    document = read_stdout(response)
    assert document["code"] == 999
    assert document["msg"] == " ".join(f"bug in cni-harvester: {type(error).__name__}: {error}".split())
    assert document["cniVersion"] == "1.0.0"
    assert "report" in document["details"]
    assert response.stderr.startswith("Traceback (most recent call last):\n")
    assert f"{type(error).__name__}" in response.stderr
    assert response.exit_status == 1


@pytest.mark.parametrize("error", [SystemExit(143), KeyboardInterrupt()])
def test_end_of_the_process_is_not_held_up(error: BaseException) -> None:
    """A termination signal ends the call: it is no error of ours to report."""
    with pytest.raises(type(error)):
        run(failing(error))


@pytest.mark.parametrize(
    ("config", "variables", "code"),
    [
        (CONFIG, {"CNI_NETNS": ""}, 4),
        (CONFIG, {"CNI_IFNAME": "a/b"}, 4),
        (b"{", {}, 6),
        ({"name": 5}, {}, 6),
        ({"cniVersion": "1.0.0"}, {}, 7),
        (CONFIG | {"cniVersion": "9.9.9"}, {}, 1),
        (CONFIG | {"cniVersion": "0.3.1"}, {"CNI_COMMAND": "CHECK"}, 1),
        (CONFIG, {"CNI_COMMAND": "GC"}, 1),
    ],
)
def test_request_that_is_invalid_reaches_no_verb(
    config: dict[str, Any] | bytes, variables: dict[str, str], code: int
) -> None:
    """A fault of the request is reported before anything is done."""
    response = run(never, config, **variables)
    assert read_stdout(response)["code"] == code
    assert (response.stderr, response.exit_status) == ("", 1)


# --- hostile documents ---------------------------------------------------------------------------------------------


def pass_through(call: Call) -> dict[str, Any]:
    """Be a verb that prints what the plugin before it printed."""
    previous = parse_result(call.find("prevResult"), config_version=call.cni_version, what="prevResult")
    return format_result(previous, call.cni_version)


@pytest.mark.parametrize("value", [b"1e400", b"-1e400", b"[1e999]"])
def test_result_with_a_number_beyond_any_is_never_printed_as_infinity(value: bytes) -> None:
    """What is no JSON is not printed, even when a plugin before us in the chain said it."""
    stdin = b'{"cniVersion":"1.0.0","name":"n","prevResult":{"interfaces":[{"name":"a","x":' + value + b"}]}}"
    assert read_stdout(run(pass_through, stdin))["code"] == 6


@pytest.mark.parametrize("depth", [10, 200, 300, 600, 800])
def test_result_with_deeply_nested_keys_of_others_is_passed_on_or_refused(depth: int) -> None:
    """An unknown key of another plugin's interface is kept however it nests, or refused as its fault."""
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    stdin = b'{"cniVersion":"1.0.0","name":"n","prevResult":{"interfaces":[{"name":"a","x":' + nested + b"}]}}"
    response = run(pass_through, stdin)
    document = read_stdout(response)
    if response.exit_status:
        assert document["code"] in {6, 7}
    else:
        assert document["interfaces"] == [{"name": "a", "x": json.loads(nested)}]
