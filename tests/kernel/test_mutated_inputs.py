"""Thousands of broken requests: never a traceback, never anything but JSON on stdout, never a change of the node.

Runs on any kernel: the bridge is a plain one.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lab import node
from lab.namespaces import Container
from lab.plugin import Bundle, InProcess, Plugin, Reply
from lab.shell import run_ip

pytestmark = pytest.mark.any_kernel

IN_PROCESS_EXAMPLES = 20_000
BUNDLE_EXAMPLES = 300

_KEYS = [
    *("cniVersion", "name", "bridge", "mtu", "vlan", "vlanTrunk", "promiscMode", "hairpinMode", "ipam", "dns", "args"),
    *("runtimeConfig", "prevResult", "macspoofchk", "portIsolation", "enabledad", "isGateway", "uplinkVlans"),
    *("disableContainerInterface", "preserveDefaultVlan", "cni.dev/valid-attachments", "createBridge", "type"),
]
_GOOD: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "net", "type": "cni-harvester", "bridge": "plain-br", "ipam": {},
    "cni.dev/valid-attachments": [],
}  # fmt: skip

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(),
    st.sampled_from([-1, 0, 1, 100, 4094, 4095, 5000, 65536, 2**63, 10**30]),
    st.floats(allow_nan=False), st.text(max_size=20),
    st.sampled_from(["plain-br", "nope", "lo", "x" * 16, "", "1.0.0"]),
)  # fmt: skip
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5), inner),
    max_leaves=6,
)
_changes = st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=8), _values, max_size=4)
_documents = st.builds(lambda changes: json.dumps(_GOOD | changes).encode(), _changes)


def _damage(document: bytes, at: int, junk: bytes, cut: int) -> bytes:
    at %= len(document) + 1
    return document[:at] + junk + document[at + cut :]


_stdin = st.one_of(
    _documents,
    st.builds(_damage, _documents, st.integers(0, 500), st.binary(max_size=4), st.integers(0, 30)),
    st.binary(max_size=60),
    st.builds(lambda depth: b"[" * depth, st.integers(0, 100_000)),
)
# What execve can carry: no zero octet; what is not UTF-8 arrives as surrogates.
_text = st.binary(max_size=24).map(lambda raw: raw.replace(b"\0", b"").decode(errors="surrogateescape"))
_command = st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"])
_NAMESPACES = ["/run/netns/pod-1", "/run/netns/gone", "/etc/passwd", "/proc/self/ns/net", ""]
_environments = st.fixed_dictionaries(
    {"CNI_COMMAND": _command | _text},
    optional={
        "CNI_CONTAINERID": st.sampled_from(["c-1", "c-2", "x\n", "../x", "a" * 300]) | _text,
        "CNI_NETNS": st.sampled_from(_NAMESPACES) | _text,
        "CNI_IFNAME": st.sampled_from(["eth0", "lo", ".", "a/b", "x" * 16, "\u00e9" * 8]) | _text,
        "CNI_PATH": st.sampled_from(["/usr/lib/cni", "/nowhere", ""]),
        "CNI_ARGS": st.sampled_from(["", "MAC=02:00:00:00:00:01", "MAC", "IgnoreUnknown=1;A=b", "a=b=c"]) | _text,
    },
)


@pytest.fixture
def mutants(container: Container) -> Iterator[None]:
    """A node with one plain bridge; what the mutants leave on it fails the test."""
    run_ip("link add plain-br type bridge", "link set plain-br up")
    before = node.take_snapshot()
    yield
    assert node.list_differences(before, node.take_snapshot()) == []
    run_ip("link del plain-br")


def _judge(reply: Reply) -> None:
    """Hold a reply against what every runtime expects of every call."""
    assert "Traceback" not in reply.stderr, reply
    if reply.exit_status:
        assert (reply.exit_status, type(reply.document["code"]), type(reply.document["msg"])) == (1, int, str)
        assert reply.document["code"] != 999, reply
        assert "\n" not in reply.document["msg"]
    elif reply.stdout:
        assert "cniVersion" in reply.document


def _send(plugin: Plugin, environment: dict[str, str], stdin: bytes) -> None:
    """Send one request; one that happens to be a good ADD is taken back."""
    reply = plugin.execute(environment, stdin)
    _judge(reply)
    if environment["CNI_COMMAND"] == "ADD" and reply.exit_status == 0:
        taken_back = plugin.execute(environment | {"CNI_COMMAND": "DEL"}, stdin)
        assert (taken_back.exit_status, taken_back.stdout) == (0, "")


def _hammer(plugin: Plugin, examples: int) -> Callable[[], None]:
    """Make a run of many mutants, the same ones each time."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_environments, _stdin)
    def run(environment: dict[str, str], stdin: bytes) -> None:
        _send(plugin, environment, stdin)

    return run


@pytest.mark.timeout(900)
def test_mutated_requests_in_process_are_answered_and_change_nothing(mutants: None, plugin: InProcess) -> None:
    """20,000 mutated requests go through `handle` without a traceback, with one document or none, without a trace."""
    _hammer(plugin, IN_PROCESS_EXAMPLES)()


@pytest.mark.timeout(900)
def test_mutated_requests_to_the_bundle_are_answered_and_change_nothing(mutants: None, bundle: Bundle) -> None:
    """300 mutated requests go through the built bundle likewise."""
    _hammer(bundle, BUNDLE_EXAMPLES)()
