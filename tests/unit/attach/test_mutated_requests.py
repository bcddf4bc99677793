"""Thousands of broken requests through the one way in, none of which can reach the node's network.

Only commands that open the container's namespace first, and only namespaces that do not exist: the kernel tier has
those that go further.
"""

import json
import sys
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cni_harvester.attach import handle
from cni_harvester.cni.request import Request, Response

EXAMPLES = 2000
GOOD_ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c-1",
    "CNI_NETNS": "/nonexistent/netns",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/nonexistent/bin",
    "CNI_ARGS": "",
}
GOOD_CONFIG: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": "vlan100",
    "type": "cni-harvester",
    "bridge": "nope-br",
    "ipam": {},
    "prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": "/nonexistent/netns"}]},
}
REACHING = {"DEL", "GC", "STATUS"}
"""These open a socket in our own network namespace before anything else, so they are not for this tier."""

KEYS = [
    *("cniVersion", "name", "type", "bridge", "mtu", "vlan", "vlanTrunk", "promiscMode", "hairpinMode", "ipam", "dns"),
    *("preserveDefaultVlan", "macspoofchk", "portIsolation", "disableContainerInterface", "enabledad", "createBridge"),
    *("enableVlanFiltering", "uplinkVlans", "isGateway", "ipMasq", "args", "runtimeConfig", "prevResult", "cni", "mac"),
    *("id", "minID", "maxID", "interfaces", "ips", "address", "gateway", "routes", "dst", "gw", "nameservers", "ip4"),
]
texts = st.one_of(
    st.text(max_size=20),
    st.text("\ud800\udcff\udfff\0\n ./:é网-a1", max_size=6),
    st.sampled_from(["1.0.0", "0.2.0", "9.9.9", "192.0.2.5/24", "2001:db8::1", "00:00:5e:00:53:01", "x" * 300]),
)
environment_texts = st.one_of(
    st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"").decode(errors="surrogateescape")),
    st.sampled_from(["", "eth0", "c-1", "x" * 16, "x" * 300, "IgnoreUnknown=1;K=V", "MAC=zz", "K", "=", ";", "1"]),
)
commands = st.one_of(
    st.sampled_from(["ADD", "ADD", "ADD", "CHECK", "CHECK", "VERSION", "NOPE", "add", ""]),
    environment_texts.filter(lambda text: text not in REACHING),
)
namespaces = st.one_of(st.just("/nonexistent/netns"), st.just(""), environment_texts.map("/nonexistent/".__add__))
good_variables = st.sampled_from([{}, {}, {"CNI_COMMAND": "CHECK"}])
bad_variables = st.fixed_dictionaries(
    {},
    optional={
        "CNI_COMMAND": commands,
        "CNI_NETNS": namespaces,
        **dict.fromkeys(("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS"), environment_texts),
        "CNI_NETNS_OVERRIDE": environment_texts,
    },
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from([0, 1, 4094, 4095, 65536, 10**30])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | texts, inner, max_size=3),
    max_leaves=6,
)
documents = st.one_of(
    st.dictionaries(st.sampled_from(KEYS) | texts, values, max_size=4).map(GOOD_CONFIG.__or__),
    st.dictionaries(st.sampled_from(KEYS), values, max_size=3).map(lambda one: GOOD_CONFIG | {"prevResult": one}),
    values,
).map(lambda value: json.dumps(value).encode())


def damage(document: bytes, at: int, junk: bytes, cut: int) -> bytes:
    """Put junk into a document, and take some of it away."""
    at %= len(document) + 1
    return document[:at] + junk + document[at + cut :]


inputs = st.one_of(
    documents,
    documents,
    st.builds(damage, documents, st.integers(0, 500), st.binary(max_size=4), st.integers(0, 200)),
    st.binary(max_size=40),
    st.builds(bytes.__mul__, st.sampled_from([b"[", b'{"a":', b"9"]), st.sampled_from([1, 900, 990, 5000])),
)


def refuse_change(command: str) -> NoReturn:
    """Stop what would change the node, which no request here may come near."""
    raise AssertionError(command)


def refuse_constant(text: str) -> NoReturn:
    """Refuse what Python's decoder takes and JSON does not have."""
    raise AssertionError(text)


def judge(response: Response) -> str:
    """Say what is wrong with a response, or nothing."""
    document = json.loads(response.stdout, parse_constant=refuse_constant) if response.stdout else {}
    failed = "code" in document
    if not isinstance(document, dict) or response.stdout.count(b"\n") != bool(response.stdout):
        return "stdout is not one JSON object on a line"
    if bool(response.exit_status) != failed:
        return "the exit status does not tell whether it failed"
    if failed and not (type(document["code"]) is int and document["code"] > 0 and isinstance(document["msg"], str)):
        return "the error has no code or no message"
    if failed and (document["code"] == 999 or response.stderr):
        return f"it is taken for a bug: {document['msg']}"
    return ""


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(good_variables | bad_variables, st.none() | st.none() | st.sampled_from(sorted(GOOD_ENVIRONMENT)), inputs)
def test_request_that_is_broken_in_any_way_is_answered_with_an_error(
    variables: dict[str, str], missing: str | None, stdin: bytes
) -> None:
    """Whatever comes in, standard output is empty or one JSON object that goes with the exit status, and no bug."""
    environment = {key: value for key, value in (GOOD_ENVIRONMENT | variables).items() if key != missing}
    assert environment.get("CNI_COMMAND") not in REACHING
    assert not environment.get("CNI_NETNS") or environment["CNI_NETNS"].startswith("/nonexistent/")
    response = handle(Request(environment, stdin), trace=refuse_change)
    if environment.get("CNI_COMMAND") and environment["CNI_COMMAND"] != "VERSION":
        assert response.exit_status == 1
        assert judge(response) == ""
    else:
        assert response.exit_status == 0
        assert bool(response.stderr) != bool(response.stdout)


@pytest.mark.parametrize("key", ["mtu", "bridge", "vlanTrunk", "ipam", "prevResult"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_configuration_nested_to_any_depth_is_never_taken_for_a_bug(key: str, opening: str, closing: str) -> None:
    """At the interpreter's recursion limit, as everywhere, a value that nests is a fault of the request."""
    limit = sys.getrecursionlimit()
    start, end = json.dumps(GOOD_CONFIG | {key: "HERE"}).split('"HERE"')
    faults = {}
    for depth in range(limit - 150, limit + 10):
        nested = opening * depth + "1" + closing * depth
        response = handle(Request(GOOD_ENVIRONMENT, f"{start}{nested}{end}".encode()), trace=refuse_change)
        if fault := judge(response):
            faults[depth] = fault
    assert faults == {}
