"""The CNI protocol as libcni, its plugin skeleton and its test plugins have it (rows L-), as a runtime sees it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab import node
from lab.namespaces import Container
from lab.plugin import REFERENCE_PLUGINS, Bundle, Plugin, Reply
from lab.shell import run_ip

from .ipam import PLUGIN_PATH, TestIpam
from .observe import (
    BRIDGE,
    NEW,
    Snapshot,
    assert_attached,
    assert_detached,
    assert_refused,
    assert_result,
    assert_same,
    list_names,
    look,
    unchanged_node,
)
from .rows import NEWEST, OLD, VERSIONS, WITH_CHECK, WITH_INTERFACES, row, rows

VERBS = ("ADD", "DEL", "CHECK", "GC", "STATUS")
NO_GC, NO_CHECK = VERSIONS[:-1], VERSIONS[:4]


def configure(version: str | None, **keys: Any) -> dict[str, Any]:
    """Make a network configuration for the bridge that is there, in no version for None."""
    config = {"cniVersion": version, "name": "net", "type": "cni-harvester", "bridge": BRIDGE, **keys}
    return {key: value for key, value in config.items() if value is not None}


def make_environment(command: str, container: Container) -> dict[str, str]:
    """Return all variables that a runtime passes."""
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c-1",
        "CNI_NETNS": container.path,
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "",
        "CNI_PATH": PLUGIN_PATH,
    }


def encode(config: Mapping[str, Any]) -> bytes:
    """Write a configuration as it comes on standard input."""
    return json.dumps(config).encode()


def assert_answered(reply: Reply) -> None:
    """The call succeeded and printed nothing."""
    assert (reply.exit_status, reply.stdout) == (0, ""), reply


# --- environment -------------------------------------------------------------------------------------------------

REQUIRED = {
    "L-01": ("ADD", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    "L-01-CHECK": ("CHECK", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    "L-01-DEL": ("DEL", ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
    "L-01-GC": ("GC", ["CNI_PATH"]),
    "L-01-STATUS": ("STATUS", ["CNI_PATH"]),
}


@rows(REQUIRED, NEWEST)
def test_missing_variables_are_all_named(
    row: tuple[str, list[str]], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """A call without one or all of a verb's variables fails with code 4 and lists those; others may be missing."""
    command, required = row
    stdin = encode(configure(version) | {"cni.dev/valid-attachments": []})
    full = make_environment(command, container)
    with unchanged_node(before):
        for missing in ([required[0]], required):
            environment = {key: value for key, value in full.items() if key not in missing}
            assert_refused(plugin.execute(environment, stdin), 4, f"[{','.join(missing)}]")
            assert_refused(plugin.execute(full | dict.fromkeys(missing, ""), stdin), 4, f"[{','.join(missing)}]")
        if command in {"DEL", "GC", "STATUS"}:  # as little as possible, and it works
            assert_answered(plugin.execute({key: full[key] for key in ("CNI_COMMAND", *required)}, stdin))


@row("L-01-VERSION", NEWEST)
def test_version_needs_nothing_but_its_name(version: str, plugin: Plugin, before: Snapshot) -> None:
    """VERSION works with CNI_COMMAND alone."""
    assert plugin.execute({"CNI_COMMAND": "VERSION"}, b"").document["cniVersion"] == version


@row("L-02")
def test_del_without_a_version_is_one_of_0_1_0(version: str, plugin: Plugin, before: Snapshot) -> None:
    """A configuration may have its version, none, null or an empty one; a DEL succeeds with each."""
    with unchanged_node(before):
        for config in (configure(version), configure(None), configure("") | {"cniVersion": None}, configure("")):
            plugin.delete(config)


@row("L-02-result", ("0.1.0",))
def test_result_without_a_version_is_one_of_0_1_0(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """The result for a configuration without a version is in the form of 0.1.0; without addresses there is none."""
    config = configure(None, ipam=ipam.config())
    result = plugin.add(config, container, path=PLUGIN_PATH)
    assert result == {"cniVersion": version, "ip4": {"ip": "10.1.2.2/24", "gateway": "10.1.2.1"}, "dns": {}}
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)
    assert_refused(plugin.call("ADD", configure(None), container), 1, "0.1.0")
    assert_same(before)


@rows({"L-03": "9.9.9", "L-03-short": "1.0", "L-03-unheard": "0.5.0", "L-03-word": "abc"}, NEWEST)
def test_version_that_we_do_not_speak_is_refused(
    row: str, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """ADD and DEL fail with code 1, naming the version and those that we speak; nothing is changed."""
    with unchanged_node(before):
        for command in ("ADD", "DEL"):
            assert_refused(plugin.call(command, configure(row), container), 1, f'"{row}"', *VERSIONS)


NAMES: dict[str, tuple[str, str]] = {
    "L-04": ("CNI_CONTAINERID", "-c"),
    "L-04-id-slash": ("CNI_CONTAINERID", "c/1"),
    "L-04-id-blank": ("CNI_CONTAINERID", "c 1"),
    "L-04-id-newline": ("CNI_CONTAINERID", "c\n"),
    "L-04-id-umlaut": ("CNI_CONTAINERID", "\u00fc"),
    "L-04-ifname-long": ("CNI_IFNAME", "sixteen-bytes-xx"),
    "L-04-ifname-dot": ("CNI_IFNAME", "."),
    "L-04-ifname-dots": ("CNI_IFNAME", ".."),
    "L-04-ifname-slash": ("CNI_IFNAME", "a/b"),
    "L-04-ifname-colon": ("CNI_IFNAME", "a:b"),
    "L-04-ifname-blank": ("CNI_IFNAME", "a b"),
}


@rows(NAMES, NEWEST)
def test_names_that_no_container_has_are_refused(
    row: tuple[str, str], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """A bad container id or interface name is code 4 and named, for ADD, DEL and CHECK, though others are missing."""
    variable, value = row
    with unchanged_node(before):
        for command in ("ADD", "DEL", "CHECK"):
            environment = make_environment(command, container) | {variable: value, "CNI_PATH": ""}
            assert_refused(plugin.execute(environment, encode(configure(version))), 4, f"invalid {variable}"[8:])


@row("L-04-unused", NEWEST)
def test_names_are_no_matter_where_they_are_not_needed(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """GC, STATUS and VERSION do not look at the container id and the interface name."""
    stdin = encode(configure(version) | {"cni.dev/valid-attachments": []})
    with unchanged_node(before):
        for command in ("GC", "STATUS", "VERSION"):
            environment = make_environment(command, container) | {"CNI_CONTAINERID": "-", "CNI_IFNAME": ".."}
            assert plugin.execute(environment, stdin).exit_status == 0


# --- standard input ----------------------------------------------------------------------------------------------


@rows({f"{number}-{verb}": verb for number, verb in (("L-05", "CHECK"), ("L-06", "GC"), ("L-17", "STATUS"))}, NEWEST)
def test_bad_version_of_a_late_verb_is_refused(
    row: str, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """CHECK, GC and STATUS with a version that is none fail with code 6, with one that is to come with code 1."""
    with unchanged_node(before):
        for bad, code in (("abc", 6), ("1.0.0.0", 6), ("9.9.9", 1), (version[:-2], 1)):
            assert_refused(plugin.call(row, configure(bad), container), code, bad)


@row("L-05", NO_CHECK)
def test_check_before_its_version_is_refused(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """CHECK came with 0.4.0: before that it is code 1."""
    with unchanged_node(before):
        assert_refused(plugin.call("CHECK", configure(version), container), 1, "does not allow CHECK", version)


@rows({"L-06": "GC", "L-17": "STATUS"}, NO_GC)
def test_gc_and_status_before_their_version_are_refused(
    row: str, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """GC and STATUS came with 1.1.0: before that they are code 1, and nothing is removed."""
    config = configure(version) | {"cni.dev/valid-attachments": []}
    with unchanged_node(before):
        assert_refused(plugin.call(row, config, container), 1, f"does not allow {row}", version)


INPUTS: dict[str, tuple[bytes, int]] = {
    "L-05": (b"", 6),
    "L-05-text": (b"no JSON", 6),
    "L-05-list": (b"[]", 6),
    "L-05-trailing": (b'{"name": "net", "cniVersion": "1.1.0"} {}', 6),
    "L-05-latin-1": (b'{"name": "\xfc", "cniVersion": "1.1.0"}', 6),
    "L-05-number": (b'{"name": 5, "cniVersion": "1.1.0"}', 6),
    "L-05-version": (b'{"name": "net", "cniVersion": 1.1}', 6),
    "L-05-nameless": (b'{"cniVersion": "1.1.0"}', 7),
    "L-05-null": (b'{"name": null, "cniVersion": "1.1.0"}', 7),
    "L-05-no-name": (b'{"name": "", "cniVersion": "1.1.0"}', 7),
    "L-05-name": (b'{"name": "a/b", "cniVersion": "1.1.0"}', 7),
    "L-05-newline": (b'{"name": "net\\n", "cniVersion": "1.1.0"}', 7),
}


@rows(INPUTS, NEWEST)
def test_bad_input_is_refused_by_every_verb(
    row: tuple[bytes, int], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """What is no JSON object is code 6, one without a valid network name code 7, whatever the verb."""
    stdin, code = row
    verbs = ("ADD",) if isinstance(plugin, Bundle) else (*VERBS, "NOPE")
    with unchanged_node(before):
        for command in verbs:
            assert_refused(plugin.execute(make_environment(command, container), stdin), code)


@row("L-06-free", NEWEST)
def test_gc_needs_no_container(version: str, plugin: Plugin) -> None:
    """GC with CNI_COMMAND and CNI_PATH alone succeeds and prints nothing."""
    config = configure(version) | {"cni.dev/valid-attachments": []}
    environment = {"CNI_COMMAND": "GC", "CNI_PATH": REFERENCE_PLUGINS}
    assert_answered(plugin.execute(environment, encode(config)))


@row("L-07")
def test_version_lists_all_versions_and_does_nothing(
    version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """VERSION prints our newest version and all of them, whatever stands on standard input, and touches nothing."""
    environment = make_environment("VERSION", container) | {"CNI_NETNS": "dummy", "CNI_IFNAME": "dummy"}
    with unchanged_node(before):
        for stdin in (encode({"cniVersion": version}), b"no JSON"):
            reply = plugin.execute(environment, stdin)
            assert reply.exit_status == 0
            assert reply.document == {"cniVersion": "1.1.0", "supportedVersions": list(VERSIONS)}


@row("L-08-unknown", NEWEST)
def test_unknown_command_is_refused(version: str, plugin: Plugin, container: Container, before: Snapshot) -> None:
    """A command that is none, a lower-case one for instance, is code 4 in the words by which libcni knows it (L-20)."""
    with unchanged_node(before):
        for command in ("NOPE", "add"):
            environment = {"CNI_COMMAND": command}
            reply = plugin.execute(environment, encode(configure(version)))
            assert_refused(reply, 4, f"unknown CNI_COMMAND: {command}")


@rows({"L-08": {}, "L-08-blank": {"CNI_COMMAND": ""}}, NEWEST)
def test_without_a_command_it_says_what_it_is(
    row: dict[str, str], version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """Run by hand, it prints its name and its versions on standard error, nothing on standard output, and succeeds."""
    environment = {key: value for key, value in make_environment("", container).items() if key != "CNI_COMMAND"} | row
    with unchanged_node(before):
        reply = plugin.execute(environment, encode(configure(version)))
        assert (reply.exit_status, reply.stdout) == (0, "")
        name, versions = reply.stderr.splitlines()
        assert name.startswith("CNI cni-harvester plugin ")
        assert versions == f"CNI protocol versions supported: {', '.join(VERSIONS)}"


class _Unreadable(Bundle):
    """The bundle with something on standard input that cannot be read, for it is open for writing only."""

    def execute(self, environment: Mapping[str, str], stdin: bytes) -> Reply:
        """Run one request; its input is lost."""
        with Path("/dev/null").open("wb") as sink:
            done = subprocess.run([self.path], stdin=sink, capture_output=True, env=dict(environment), check=False)
        return Reply(done.returncode, done.stdout.decode(), done.stderr.decode())


class _Closed(Bundle):
    """The bundle without a standard input."""

    def execute(self, environment: Mapping[str, str], stdin: bytes) -> Reply:
        """Run one request; its input is lost."""
        words = ["/bin/sh", "-c", 'exec "$0" <&-', str(self.path)]
        done = subprocess.run(words, capture_output=True, env=dict(environment), check=False)
        return Reply(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize(
    "way",
    [pytest.param(_Unreadable, id="L-09-1.1.0-bundle"), pytest.param(_Closed, id="L-09-closed-1.1.0-bundle")],
)
def test_input_that_cannot_be_read_is_an_error_of_its_own(
    way: type[Bundle], bundle: Bundle, container: Container, before: Snapshot
) -> None:
    """An input error is code 5, for every verb that has an input; VERSION has none."""
    plugin = way(bundle.path)
    with unchanged_node(before):
        for command in ("ADD", "DEL"):
            assert_refused(plugin.call(command, {}, container), 5)
        assert plugin.call("VERSION", {}).exit_status == 0


# --- the IPAM plugin's errors ------------------------------------------------------------------------------------

TYPED = {"cniVersion": "1.0.0", "code": 11, "msg": "no more addresses", "details": "the pool is empty"}


@row("L-10")
def test_typed_error_of_the_ipam_plugin_is_kept(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """Code, message and details of the IPAM plugin's own error are ours, in our version; nothing is left of the ADD."""
    config = configure(version, ipam=ipam.config(fail={"ADD": {"document": TYPED}}))
    with unchanged_node(before):
        reply = plugin.call("ADD", config, container, path=PLUGIN_PATH)
        document = assert_refused(reply, 11)
        assert document == TYPED | {"cniVersion": version}
        assert "eth0" not in list_names(container)


@rows({f"L-10-{verb}": verb for verb in ("DEL", "CHECK")}, WITH_CHECK)
def test_typed_error_of_the_ipam_plugin_is_kept_by_later_verbs(
    row: str, version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """The IPAM plugin's error of a CHECK or DEL is ours; a DEL has removed our part all the same."""
    config = configure(version, ipam=ipam.config())
    result = plugin.add(config, container, path=PLUGIN_PATH)
    failing = config | {"ipam": ipam.config(fail={row: {"document": TYPED}}), "prevResult": result}
    document = assert_refused(plugin.call(row, failing, container, path=PLUGIN_PATH), 11)
    assert document == TYPED | {"cniVersion": version}
    assert ("eth0" not in list_names(container)) == (row == "DEL")
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)


PLAIN: dict[str, tuple[dict[str, Any], int, str]] = {
    "L-19": ({"status": 1}, 113, "exit status 1"),
    "L-19-stderr": ({"status": 2, "stderr": "only people read this"}, 113, "exit status 2"),
    "L-19-garbage": ({"status": 1, "stdout": "no JSON"}, 113, "no JSON"),
    "L-10-plain": ({"status": 3, "document": {"code": 0, "msg": "code 0 is none"}}, 113, "exit status 3"),
    "L-19-success": ({"status": 0, "stdout": "no JSON"}, 6, "test-ipam"),
    "L-19-silent": ({"status": 0}, 114, "test-ipam"),
    "L-23": ({"status": 42, "document": {"code": 107, "msg": "its own exit status"}}, 107, "its own exit status"),
}


@rows(PLAIN, WITH_INTERFACES)
def test_ipam_plugin_that_breaks_the_protocol_is_reported_and_undone(
    row: tuple[dict[str, Any], int, str], version: str, plugin: Plugin, container: Container,
    ipam: TestIpam, before: Snapshot,
) -> None:  # fmt: skip
    """However the IPAM plugin fails, ours is one error document; its DEL was run, and nothing is left."""
    failure, code, words = row
    config = configure(version, ipam=ipam.config(fail={"ADD": failure}, after="reserve"))
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, path=PLUGIN_PATH), code, words)
    assert ipam.commands == ["ADD", "DEL"]
    assert ipam.reservations == []


# --- configuration and results -----------------------------------------------------------------------------------

FOREIGN = {
    "capabilities": {"mac": True, "portMappings": True},
    "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80}], "somethingElse": [1]},
    "args": {"cni": {"labels": [{"key": "a", "value": "b"}]}, "others": {"x": 1}},
    "cni.dev/something": {"x": None},
    "disableCheck": False,
    "deviceID": "none",
    "unknown": [{"deep": ["\u00fc"]}],
}


@row("L-11")
def test_foreign_keys_are_tolerated_and_passed_through(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """Keys that are not ours are no fault, and the IPAM plugin gets the very bytes that we got."""
    config = configure(version, ipam=ipam.config()) | FOREIGN
    options = {"path": PLUGIN_PATH}
    plugin.add(config, container, **options)
    assert_attached(look(container))
    assert_detached(plugin, config, container, before, **options)
    assert [call["stdin"] for call in ipam.calls] == [json.dumps(config)] * 3
    assert ipam.commands == ["ADD", "DEL", "DEL"]


FIRST = {
    "interfaces": [
        {"name": "first0", "mac": "02:00:00:00:00:01"},
        {"name": "net0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/first"},
    ],
    "ips": [{"version": "4", "address": "192.0.2.5/24", "interface": 1}],
    "routes": [{"dst": "198.51.100.0/24", "gw": "192.0.2.1"}],
    "dns": {"nameservers": ["192.0.2.53"]},
}


def _assert_chained(
    previous_version: str, version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """ADD and DEL after another plugin; what that had made comes first in our result."""
    previous = FIRST | {"cniVersion": previous_version}
    if previous_version >= "1.0.0":
        previous["ips"] = [{"address": "192.0.2.5/24", "interface": 1}]
    config = configure(version, ipam=ipam.config(), prevResult=previous)
    result = plugin.add(config, container, path=PLUGIN_PATH)
    assert result["cniVersion"] == version
    assert result["interfaces"][:2] == FIRST["interfaces"]
    host_end = look(container).host_end["ifname"]
    assert [interface["name"] for interface in result["interfaces"][2:]] == [BRIDGE, host_end, "eth0"]
    family = {"version": "4"} if version < "1.0.0" else {}
    assert result["ips"] == [
        family | {"address": "192.0.2.5/24", "interface": 1},
        family | {"address": "10.1.2.2/24", "gateway": "10.1.2.1", "interface": 4},
    ]
    assert result["routes"] == FIRST["routes"]
    assert result["dns"] == FIRST["dns"]
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)


@row("L-12", WITH_INTERFACES)
def test_result_of_the_plugin_before_us_is_passed_on(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """In a chain our interfaces and addresses come after those of `prevResult`, and point to each other still."""
    _assert_chained(version, version, plugin, container, ipam, before)


@rows({"L-12-older": ("0.3.0", "1.1.0"), "L-12-newer": ("1.1.0", "0.3.0")}, NEWEST)
def test_result_of_the_plugin_before_us_may_have_another_version(
    row: tuple[str, str], version: str, plugin: Plugin, container: Container, ipam: TestIpam,
    before: Snapshot,
) -> None:  # fmt: skip
    """A `prevResult` of another version is converted to the configuration's."""
    _assert_chained(*row, plugin, container, ipam, before)


@rows({"L-13": None, "L-13-blank": ""})
def test_ipam_result_without_a_version_has_the_configuration_s(
    row: str | None, version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """An IPAM plugin may leave out `cniVersion` of its result, or leave it empty."""
    config = configure(version, ipam=ipam.config(answer={"cniVersion": row}))
    result = plugin.add(config, container, path=PLUGIN_PATH)
    assert result["cniVersion"] == version
    if version in OLD:
        assert result["ip4"]["ip"] == "10.1.2.2/24"
    else:
        assert [ip["address"] for ip in result["ips"]] == ["10.1.2.2/24"]
    assert look(container).addresses == ["10.1.2.2/24"]
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)


@row("L-13-both", ("0.1.0",))
def test_ipam_result_without_any_version_is_one_of_0_1_0(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """If the configuration has no version either, the result is read and written as one of 0.1.0."""
    config = configure(None, ipam=ipam.config(answer={"cniVersion": None}))
    result = plugin.add(config, container, path=PLUGIN_PATH)
    assert result == {"cniVersion": version, "ip4": {"ip": "10.1.2.2/24", "gateway": "10.1.2.1"}, "dns": {}}
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)


PREVIOUS_OF_DEL: dict[str, Any] = {
    "L-14": FIRST,
    "L-14-null": None,
    "L-14-text": "broken",
    "L-14-list": [],
    "L-14-version": {"cniVersion": "9.9.9"},
    "L-14-types": {"interfaces": "broken", "ips": 5},
}


@rows(PREVIOUS_OF_DEL, WITH_INTERFACES)
def test_delete_works_with_any_previous_result(
    row: Any, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """DEL needs no `prevResult`, and a broken one does not stop it."""
    config = configure(version)
    plugin.add(config, container)
    assert_detached(plugin, config | {"prevResult": row}, container, before)


@rows({"L-15": None, "L-15-0.4.0": "0.4.0", "L-15-1.0.0": "1.0.0", "L-15-1.1.0": "1.1.0"}, WITH_CHECK)
def test_check_reads_a_result_of_another_version(
    row: str | None, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """CHECK passes with the result of the ADD, in whatever version the runtime has cached it."""
    config = configure(version)
    result = plugin.add(config, container)
    previous = {key: value for key, value in result.items() if key != "cniVersion"}
    if row:
        previous["cniVersion"] = row
    assert_answered(plugin.call("CHECK", config | {"prevResult": previous}, container))
    assert_detached(plugin, config, container, before)


@rows({"L-15-missing": (None, 7), "L-15-text": ("x", 6), "L-15-future": ({"cniVersion": "9.9.9"}, 1)}, WITH_CHECK)
def test_check_needs_a_result(row: tuple[Any, int], version: str, plugin: Plugin, container: Container) -> None:
    """CHECK without a readable `prevResult` is the caller's fault, and says so."""
    previous, code = row
    assert_refused(plugin.call("CHECK", configure(version, prevResult=previous), container), code, "prevResult")


# --- GC ----------------------------------------------------------------------------------------------------------

KEYS = {"L-16": "cni.dev/valid-attachments", "L-16-old": "cni.dev/attachments"}


@rows(KEYS, NEWEST)
def test_gc_removes_what_is_not_listed(
    row: str, version: str, plugin: Plugin, container: Container, other: Container, before: Snapshot
) -> None:
    """GC keeps the attachments that are listed and those of other networks; an empty list removes the network's."""
    config = configure(version)
    foreign = config | {"name": "other"}
    plugin.add(config, container, container_id="stale")
    plugin.add(config, other, container_id="valid")
    plugin.add(foreign, other, container_id="stale", ifname="eth1")
    entry = {"containerID": "valid", "ifname": "eth0"}
    assert_answered(plugin.call("GC", config | {row: [entry]}))
    assert "eth0" not in list_names(container)
    assert {"eth0", "eth1"}.issubset(list_names(other))
    assert_answered(plugin.call("GC", config | {row: []}))
    assert ("eth0" in list_names(other), "eth1" in list_names(other)) == (False, True)
    plugin.delete(foreign, other, container_id="stale", ifname="eth1")
    assert_same(before)


@row("L-16-libcni", NEWEST)
def test_gc_works_as_libcni_calls_it(version: str, plugin: Plugin, container: Container, before: Snapshot) -> None:
    """A DEL for the attachment that the runtime forgets, then GC with an empty list under both keys."""
    config = configure(version)
    plugin.add(config, container)
    plugin.delete(config, container)
    keys: dict[str, list[Any]] = {key: [] for key in KEYS.values()}
    assert_answered(plugin.call("GC", config | keys))
    assert_same(before)


LISTS: dict[str, Any] = {
    "L-16-missing": {},
    "L-16-null": {"cni.dev/valid-attachments": None},
    "L-16-object": {"cni.dev/valid-attachments": {}},
    "L-16-words": {"cni.dev/valid-attachments": ["c-1"]},
    "L-16-keys": {"cni.dev/valid-attachments": [{"containerID": "c-1"}]},
    "L-16-types": {"cni.dev/valid-attachments": [{"containerID": 1, "ifname": "eth0"}]},
}


@rows(LISTS, NEWEST)
def test_gc_without_a_valid_list_removes_nothing(
    row: dict[str, Any], version: str, plugin: Plugin, container: Container
) -> None:
    """A missing or malformed list is code 7; it never means that no attachment is valid."""
    config = configure(version)
    plugin.add(config, container)
    with unchanged_node(node.take_snapshot()):
        assert_refused(plugin.call("GC", config | row), 7, "cni.dev/valid-attachments")
    plugin.delete(config, container)


# --- STATUS ------------------------------------------------------------------------------------------------------


@row("L-17-ready", NEWEST)
def test_status_says_whether_an_add_could_succeed(version: str, plugin: Plugin, before: Snapshot) -> None:
    """STATUS is code 50, naming the bridge, while it is missing; and succeeds once it is there, printing nothing."""
    config = configure(version) | {"bridge": NEW}
    assert_refused(plugin.call("STATUS", config), 50, NEW)
    run_ip(f"link add {NEW} type bridge")
    assert_answered(plugin.call("STATUS", config))
    run_ip(f"link del {NEW}")


# --- a runtime that kills ----------------------------------------------------------------------------------------


def _start_sleeping_add(bundle: Bundle, config: Mapping[str, Any], container: Container) -> subprocess.Popen[bytes]:
    """Start an ADD whose IPAM plugin sleeps."""
    process = subprocess.Popen(
        [bundle.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=make_environment("ADD", container),
    )
    assert process.stdin
    process.stdin.write(encode(config))
    process.stdin.close()
    process.stdin = None
    return process


def _wait_for_ipam(ipam: TestIpam) -> int:
    """Wait until the IPAM plugin has reserved its address; return its process id."""
    deadline = time.monotonic() + 60
    while not ipam.reservations:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(ipam.calls[0]["pid"])


@pytest.mark.parametrize("how", [pytest.param(None, id="L-18-1.1.0-bundle")])
def test_add_that_the_runtime_kills_can_be_deleted(
    how: None, bundle: Bundle, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """A runtime whose patience ends kills us at any point: the DEL that follows puts node and IPAM plugin in order."""
    config = configure("1.1.0", ipam=ipam.config(sleep={"ADD": 60}))
    with _start_sleeping_add(bundle, config, container) as process:
        sleeper = _wait_for_ipam(ipam)
        process.kill()
        os.kill(sleeper, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert "eth0" in list_names(container)
    assert_detached(bundle, config, container, before, path=PLUGIN_PATH)
    assert ipam.reservations == []


@pytest.mark.parametrize("how", [pytest.param(None, id="L-18-term-1.1.0-bundle")])
def test_add_that_the_runtime_terminates_undoes_itself(
    how: None, bundle: Bundle, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """SIGTERM in the middle of an ADD: it undoes what it did, the IPAM plugin's reservation too, and fails."""
    config = configure("1.1.0", ipam=ipam.config(sleep={"ADD": 60}))
    with _start_sleeping_add(bundle, config, container) as process:
        _wait_for_ipam(ipam)
        process.terminate()
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert stdout == b""
    assert_same(before)
    assert ipam.reservations == []


# --- standard output ---------------------------------------------------------------------------------------------


@row("L-19")
def test_standard_output_is_one_document_or_nothing(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """ADD prints one JSON document, DEL nothing, a failure one document; standard error stays empty."""
    config = configure(version, ipam=ipam.config())
    added = plugin.call("ADD", config, container, path=PLUGIN_PATH)
    assert (added.exit_status, added.stderr) == (0, "")
    assert added.stdout == json.dumps(added.document, separators=(",", ":")) + "\n"
    again = plugin.call("ADD", config, container, path=PLUGIN_PATH)
    assert (again.exit_status, again.stderr) == (1, "")
    assert again.document.keys() == {"cniVersion", "code", "msg", "details"}
    assert again.document["cniVersion"] == version
    deleted = plugin.call("DEL", config, container, path=PLUGIN_PATH)
    assert deleted == Reply(0, "", "")
    assert_same(before)


# --- delegation --------------------------------------------------------------------------------------------------


@row("L-21")
def test_ipam_plugin_gets_our_environment_with_its_own_verb(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """All variables are handed on, strangers too; only CNI_COMMAND differs, when a failing ADD runs the IPAM DEL."""
    broken = {"routes": [{"dst": "203.0.113.0/24", "gw": "198.51.100.1"}]}
    if version in OLD:
        ip4 = {"ip": "10.1.2.2/24", "gateway": "10.1.2.1", "routes": broken["routes"]}
        broken = {"ip4": ip4}
    config = configure(version, ipam=ipam.config(answer=broken))
    environment = make_environment("ADD", container) | {
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=x",
        "TRACEPARENT": "00-0-0-00",
        "HTTP_PROXY": "http://192.0.2.1",
    }
    own = dict(os.environ)
    with unchanged_node(before):
        assert_refused(plugin.execute(environment, encode(config)), 106, "203.0.113.0/24")
    assert dict(os.environ) == own
    assert ipam.commands == ["ADD", "DEL"]
    for call, command in zip(ipam.calls, ["ADD", "DEL"], strict=True):
        wanted = environment | {"CNI_COMMAND": command}
        assert {key: call["environment"].get(key) for key in wanted} == wanted
        assert [key for key in call["environment"] if key.startswith(("_PYI", "_MEI", "LD_LIBRARY_PATH"))] == []
        assert call["stdin"] == json.dumps(config)


@row("L-21-later", NEWEST)
def test_ipam_plugin_gets_every_verb(
    version: str, plugin: Plugin, container: Container, ipam: TestIpam, before: Snapshot
) -> None:
    """ADD, CHECK, STATUS, GC and DEL are all handed on to the IPAM plugin."""
    config = configure(version, ipam=ipam.config())
    result = plugin.add(config, container, path=PLUGIN_PATH)
    assert_answered(plugin.call("CHECK", config | {"prevResult": result}, container, path=PLUGIN_PATH))
    assert_answered(plugin.call("STATUS", config, path=PLUGIN_PATH))
    valid = {"cni.dev/valid-attachments": [{"containerID": "c-1", "ifname": "eth0"}]}
    assert_answered(plugin.call("GC", config | valid, path=PLUGIN_PATH))
    assert ipam.reservations == ["net/c-1-eth0"]
    assert_detached(plugin, config, container, before, path=PLUGIN_PATH)
    assert ipam.commands == ["ADD", "CHECK", "STATUS", "GC", "DEL", "DEL"]
    assert ipam.reservations == []


# --- CNI_ARGS ----------------------------------------------------------------------------------------------------

GOOD_ARGUMENTS = {
    "L-22": "",
    "L-22-1": "IgnoreUnknown=1;K8S_POD_NAME=x",
    "L-22-true": "K8S_POD_NAME=x;IgnoreUnknown=true",
    "L-22-True": "IgnoreUnknown=True;K8S_POD_UID=",
    "L-22-known": "IgnoreUnknown=0;MAC=02:00:00:00:00:05",
    "L-22-false": "IgnoreUnknown=False",
}


@rows(GOOD_ARGUMENTS, WITH_INTERFACES)
def test_arguments_that_are_allowed(
    row: str, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """CNI_ARGS may be empty, and may have unknown keys if IgnoreUnknown says so."""
    config = configure(version)
    result = plugin.add(config, container, args=row)
    seen = look(container)
    assert_result(result, version, container, seen)
    if "MAC=" in row:
        assert seen.container_end["address"] == "02:00:00:00:00:05"
    assert_detached(plugin, config, container, before, args=row)


BAD_ARGUMENTS = {
    "L-22-unknown": "K8S_POD_NAME=x",
    "L-22-0": "IgnoreUnknown=0;K8S_POD_NAME=x",
    "L-22-no": "IgnoreUnknown=false;K8S_POD_NAME=x",
    "L-22-boolean": "IgnoreUnknown=maybe",
    "L-22-pair": "IgnoreUnknown=1;word",
    "L-22-equals": "IgnoreUnknown=1;A=b=c",
    "L-22-mac": "MAC=zz",
}


@rows(BAD_ARGUMENTS, WITH_INTERFACES)
def test_arguments_that_are_refused(
    row: str, version: str, plugin: Plugin, container: Container, before: Snapshot
) -> None:
    """An unknown key, a malformed pair or value is code 4 and named, and DEL takes it all the same."""
    config = configure(version)
    with unchanged_node(before):
        assert_refused(plugin.call("ADD", config, container, args=row), 4, row.rpartition(";")[2].rpartition("=")[2])
        plugin.delete(config, container, args=row)
