"""The list of attachments that a GC must leave alone: whatever is wrong with it, it never means "none"."""

import json
from typing import Any

import pytest

from cni_harvester.cni.request import Call, Request
from cni_harvester.cni.valid_attachments import parse_valid_attachments
from cni_harvester.errors import InvalidNetworkConfig
from cni_harvester.model.attachment import Attachment

KEY, OLD_KEY = "cni.dev/valid-attachments", "cni.dev/attachments"
ONE = {"containerID": "c-1", "ifname": "eth0"}


def parse(**config: Any) -> set[Attachment]:
    """Parse the list of a GC of the network `net`."""
    return parse_valid_attachments(Call("GC", "net", "1.1.0", config, Request({}, json.dumps(config).encode())))


def refuse(**config: Any) -> InvalidNetworkConfig:
    """Return the error of a list that is refused."""
    with pytest.raises(InvalidNetworkConfig) as caught:
        parse(**config)
    return caught.value


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
def test_entries_become_attachments_of_the_network(key: str) -> None:
    """The list has container and interface; the network is the one that is collected. Either key will do."""
    found = parse(**{key: [ONE, {"containerID": "c-1", "ifname": "net1"}, {"containerID": "c-2", "ifname": "eth0"}]})
    assert found == {
        Attachment("net", "c-1", "eth0"),
        Attachment("net", "c-1", "net1"),
        Attachment("net", "c-2", "eth0"),
    }


@pytest.mark.parametrize(
    "entry", [{"CONTAINERID": "c-1", "IfName": "eth0"}, ONE | {"extra": {"a": 1}}, ONE | {"containerId": "c-1"}]
)
def test_entries_are_read_without_case_and_with_more_keys(entry: dict[str, Any]) -> None:
    """As Go's decoder reads them."""
    assert parse(**{KEY: [entry]}) == {Attachment("net", "c-1", "eth0")}


def test_attachment_that_is_listed_twice_is_one() -> None:
    """A runtime may send the same one from two caches."""
    assert parse(**{KEY: [ONE, ONE]}) == {Attachment("net", "c-1", "eth0")}


def test_empty_list_says_that_none_is_valid() -> None:
    """That is an answer, other than no list."""
    assert parse(**{KEY: []}) == set()


def test_new_key_goes_before_the_old_one_unless_it_is_null() -> None:
    """Both come from libcni, with the same content; a null is none."""
    other = {"containerID": "c-2", "ifname": "eth0"}
    assert parse(**{KEY: [ONE], OLD_KEY: [other]}) == {Attachment("net", "c-1", "eth0")}
    assert parse(**{KEY: [], OLD_KEY: [other]}) == set()
    assert parse(**{KEY: None, OLD_KEY: [other]}) == {Attachment("net", "c-2", "eth0")}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "missing"),
        ({KEY: None}, "missing"),
        ({KEY: None, OLD_KEY: None}, "missing"),
        ({KEY: {}}, "not a list"),
        ({KEY: ""}, "not a list"),
        ({KEY: 0}, "not a list"),
        ({KEY: False}, "not a list"),
        ({KEY: ONE}, "not a list"),
        ({OLD_KEY: "c-1"}, "not a list"),
    ],
)
def test_list_that_is_none_is_refused(config: dict[str, Any], reason: str) -> None:
    """Nothing is collected then, and the error says how to say that none is valid."""
    error = refuse(**config)
    assert error.msg == f"invalid network configuration: {KEY}: {reason}"
    assert error.details == "nothing was removed; an empty list says that no attachment is valid"


@pytest.mark.parametrize(
    "entry",
    [
        None, "c-1", 5, [], ["c-1", "eth0"], {},
        {"containerID": "c-1"}, {"ifname": "eth0"},
        ONE | {"containerID": ""}, ONE | {"ifname": ""},
        ONE | {"containerID": None}, ONE | {"ifname": 5}, ONE | {"containerID": ["c-1"]},
    ],
)  # fmt: skip
def test_entry_that_is_none_is_refused_with_its_place(entry: object) -> None:
    """One bad entry spoils the list: the attachment that it meant might be collected."""
    error = refuse(**{KEY: [ONE, entry]})
    assert error.msg == f"invalid network configuration: {KEY}[1]: got {entry!r}"
    assert error.details.startswith("nothing was removed")
