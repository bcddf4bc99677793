"""NetworkAttachmentDefinitions in files: read, refused, annotated in place."""

import contextlib
import fcntl
import json
import os
import random
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cni_harvester.discovery.nad import file as nad
from cni_harvester.discovery.nad.file import Nad, load_nads, set_annotations
from cni_harvester.discovery.nad.route import DISCOVERY_ANNOTATION, ROUTE_ANNOTATION
from cni_harvester.errors import HarvesterError, InvalidNetworkConfig, KernelRefused, ReadFailed, UnsupportedField

CONF = Path(__file__).parents[4] / "conf"
CONFIG: dict[str, Any] = {"cniVersion": "0.3.1", "name": "n", "type": "cni-harvester", "bridge": "cn1-br", "vlan": 100}
ROUTE = '{"mode":"auto","note":"it\'s"}'
QUOTED = """'{"mode":"auto","note":"it''s"}'"""
JSON_QUOTED = json.dumps(ROUTE)


def make_object(config: object = CONFIG, **metadata: Any) -> dict[str, Any]:
    """Make a NetworkAttachmentDefinition."""
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "n", **metadata},
        "spec": {"config": config if isinstance(config, str) else json.dumps(config)},
    }


def load_one(config: object = CONFIG, **metadata: Any) -> Nad:
    """Read a file with one object."""
    (found,) = load_nads(json.dumps(make_object(config, **metadata)), "nad.json")
    return found


def refuse(call: Callable[..., Any], *arguments: Any) -> str:
    """Return the message of a call that is refused."""
    with pytest.raises(HarvesterError) as caught:
        call(*arguments)
    assert type(caught.value) is InvalidNetworkConfig
    assert caught.value.details
    return caught.value.msg


# --- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "vlan", "trunk", "mtu"),
    [
        ("nad-vlan.yaml", 100, "", 0),
        ("nad-trunk.yaml", 0, "100,200,201,202,203", 0),
        ("nad-untagged.yaml", 0, "", 0),
        ("nad-mtu.yaml", 400, "", 1400),
        ("nad-dhcp.yaml", 500, "", 0),
        ("nad-storage.yaml", 300, "", 0),
    ],
)
def test_example_is_read(file: str, vlan: int, trunk: str, mtu: int) -> None:
    """Every example has one object, on the bridge of cluster network cn1."""
    (found,) = nad.load_file(CONF / file)
    assert (found.vlan, ",".join(map(str, sorted(found.trunk))), found.mtu, found.bridge) == (
        vlan,
        trunk,
        mtu,
        "cn1-br",
    )
    assert found.is_trunk == bool(trunk)
    assert (found.annotations, found.source) == ({}, str(CONF / file))
    assert found.config["name"] == found.name


def test_every_example_is_known_here() -> None:
    """No example was forgotten above."""
    assert len(list(CONF.glob("nad-*.yaml"))) == 6


def test_object_is_read_with_its_annotations() -> None:
    """A null annotation is none; without a namespace it is in `default`."""
    found = load_one(annotations={ROUTE_ANNOTATION: ROUTE, "other": None})
    assert (found.name, found.namespace, dict(found.config)) == ("n", "default", CONFIG)
    assert found.annotations == {ROUTE_ANNOTATION: ROUTE}
    assert load_one(namespace="ns", annotations=None).namespace == "ns"


def test_several_documents_and_lists_are_read_and_other_kinds_left_alone() -> None:
    """Whatever the form, the objects come in the order of the file."""
    pods = {"kind": "Pod", "metadata": {"name": "p"}}
    items = [make_object(name="b"), pods, make_object(name="c")]
    documents = [
        *(make_object(name="a"), pods, None, [1], {"kind": "List", "items": items}),
        *({"kind": "List"}, {"kind": ["List"]}, {"kind": "NetworkAttachmentDefinitionList", "items": []}),
    ]
    found = load_nads(yaml.safe_dump_all(documents), "all.yaml")
    assert [one.name for one in found] == ["a", "b", "c"]


def test_plugin_in_a_list_of_plugins_is_read() -> None:
    """Ours is the one of a known type; name and version are the list's."""
    ours = {"type": "bridge", "bridge": "cn2-br", "vlanTrunk": [{"minID": 5, "maxID": 6}]}
    found = load_one({"cniVersion": "1.0.0", "name": "list", "plugins": [{"type": "tuning"}, ours]})
    assert (found.bridge, found.trunk, found.vlan) == ("cn2-br", {5, 6}, 0)
    assert dict(found.config) == ours | {"cniVersion": "1.0.0", "name": "list"}


def test_characters_beyond_the_first_plane_are_read_from_both_forms_of_json() -> None:
    """JSON may write them as two escapes; half of such a pair is no character."""
    for ascii_only in (True, False):
        text = json.dumps(make_object(annotations={"\U0001f600": "\U0001f600"}), ensure_ascii=ascii_only)
        assert load_nads(text, "f")[0].annotations == {"\U0001f600": "\U0001f600"}
        changed = set_annotations(text, "n", "default", {"\U0001f600": "\U0001f601"})
        assert load_nads(changed, "f")[0].annotations == {"\U0001f600": "\U0001f601"}
    text = json.dumps(make_object(annotations={"a": "\ud83d"}))
    assert load_nads(text, "f")[0].annotations == {"a": "\ufffd"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "spec.config: missing"),
        ("[]", "spec.config: error decoding JSON: it is not a JSON object"),
        ("{", "spec.config: error decoding JSON: Expecting property name"),
        ({}, "spec.config.type: must be 'cni-harvester' or 'bridge', got ''"),
        (CONFIG | {"type": "macvlan"}, "spec.config.type: must be 'cni-harvester' or 'bridge', got 'macvlan'"),
        (CONFIG | {"type": 5}, "spec.config.type: input should be a valid string, got 5"),
        ({"type": "bridge"}, "spec.config.bridge: missing"),
        (CONFIG | {"vlan": 4095}, "spec.config.vlan: must be 0 for none, or a VLAN ID, 1-4094, got 4095"),
        (CONFIG | {"vlan": "100"}, "spec.config.vlan: input should be a valid integer, got '100'"),
        (CONFIG | {"vlanTrunk": [None]}, "spec.config.vlanTrunk[0]: input should be a valid dictionary"),
        (CONFIG | {"vlanTrunk": [{"id": 0}]}, "spec.config.vlanTrunk[0].id: must be a VLAN ID, 1-4094, got 0"),
        ({"plugins": []}, "spec.config.plugins: must be 'cni-harvester' or 'bridge', got none"),
        ({"plugins": [{"type": "tuning"}]}, "spec.config.plugins: must be 'cni-harvester' or 'bridge', got 'tuning'"),
        (
            {"plugins": [{"type": "bridge"}, {"type": "cni-harvester"}]},
            "spec.config.plugins: must be 'cni-harvester' or 'bridge', got 'bridge', 'cni-harvester'",
        ),
        ({"plugins": [None]}, "spec.config.plugins[0]: input should be a valid dictionary, got None"),
        ({"plugins": {}}, "spec.config.plugins: input should be a valid list, got {}"),
        (
            {"plugins": [{"type": "tuning"}, CONFIG | {"mtu": 5}]},
            "spec.config.plugins[1].mtu: must be 0 to inherit the bridge's, or 68-65535 bytes, got 5",
        ),
    ],
)
def test_configuration_that_makes_no_port_is_refused_by_object_and_path(config: object, message: str) -> None:
    """The message names file, object and path."""
    begin = f'invalid NetworkAttachmentDefinition "default/n" in nad.json: {message}'
    assert refuse(load_one, config).startswith(begin)


def test_unknown_key_of_a_trunk_is_refused_as_the_plugin_would() -> None:
    """The rules of the configuration are the plugin's own, code 2 and all."""
    with pytest.raises(UnsupportedField, match=r'"default/n" in nad.json: spec.config.vlanTrunk\[0\].to: unknown key'):
        load_one(CONFIG | {"vlanTrunk": [{"id": 1, "to": 2}]})


def test_configuration_nested_to_any_depth_is_never_taken_for_a_bug() -> None:
    """At the interpreter's recursion limit, as everywhere, a value that nests is a fault of the file."""
    limit = sys.getrecursionlimit()
    for depth in range(limit - 150, limit + 10, 3):
        config = json.dumps(CONFIG | {"vlan": 0})[:-1] + f', "mtu": {"[" * depth}1{"]" * depth}}}'
        assert refuse(load_one, config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no NetworkAttachmentDefinition in f"),
        ("kind: Pod\n", "no NetworkAttachmentDefinition in f"),
        ("- kind: NetworkAttachmentDefinition\n", "no NetworkAttachmentDefinition in f"),
        (
            "a: 1\nkind: NetworkAttachmentDefinition\n",
            "invalid NetworkAttachmentDefinition in f, line 1: metadata.name",
        ),
        (
            "kind: List\nitems:\n- kind: NetworkAttachmentDefinition\n  metadata: {name: }\n",
            "in f, line 3: metadata.name",
        ),
        ("a: b: c\n", "invalid YAML in f: line 1, column 5: mapping values are not allowed here"),
        ("a:\n\t- b\n", "invalid YAML in f: line 2, column 1: found character '\\t' that cannot start any token"),
        ('{\n\t"a": 1,\n}', "invalid YAML in f: line 2, column 1: found character '\\t'"),
        ("a: 1\nb: 2\n'a': 3\n", "invalid YAML in f: line 3, column 1: duplicate key 'a'"),
        ('{"a": [{"b": 1, "b": 2}]}', "invalid YAML in f: line 1, column 17: duplicate key 'b'"),
        ("a: 1\nb: \x07\n", "invalid YAML in f: line 2, column 4: character '\\x07' is not allowed"),
        ('a: "\\UFFFFFFFF"\n', "invalid YAML in f: "),
        ("a: *b\n", "invalid YAML in f: line 1, column 4: found undefined alias 'b'"),
        ("[" * 5000, "invalid YAML in f: it is nested too deep"),
        ("kind: NetworkAttachmentDefinition\nmetadata: {name: n, annotations: [a]}\n", "metadata.annotations: must be"),
        (
            "kind: NetworkAttachmentDefinition\nmetadata: {name: n, annotations: {a: {}}}\n",
            'invalid NetworkAttachmentDefinition "default/n" in f: metadata.annotations.a: must be text',
        ),
        (
            "kind: NetworkAttachmentDefinition\nmetadata: {name: n, annotations: {? &x [*x] : y}}\n",
            'invalid NetworkAttachmentDefinition "default/n" in f: metadata.annotations.?: must be text',
        ),
        (
            "a: &a {b: c}\nkind: NetworkAttachmentDefinition\nmetadata: {name: n, <<: *a}\n",
            "cannot read NetworkAttachmentDefinition in f, line 1: merge key <<",
        ),
    ],
)
def test_text_without_a_sound_object_is_refused_with_its_place(text: str, message: str) -> None:
    """The message names the file, and line and column where they are known."""
    assert message in refuse(load_nads, text, "f")


def test_object_that_is_there_twice_is_refused() -> None:
    """Nobody could say which of the two is meant."""
    text = json.dumps({"kind": "List", "items": [make_object(), make_object(namespace="default")]})
    assert refuse(load_nads, text, "f") == 'NetworkAttachmentDefinition "default/n" is in f twice'
    assert refuse(set_annotations, text, "n", "default", {"a": "b"}).endswith("is in the text twice")


# --- writing -------------------------------------------------------------------------------------------------------

HEAD = f"""\
# a network
kind: NetworkAttachmentDefinition   # of Multus
spec:
  config: '{json.dumps(CONFIG)}'
metadata:
  name: n
"""


def annotate(text: str, **values: str) -> str:
    """Set the route annotation, or others."""
    return set_annotations(text, "n", "default", values or {ROUTE_ANNOTATION: ROUTE})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "  annotations:\n    R: V\n"),
        ("  # end\n", "  annotations:\n    R: V\n  # end\n"),
        ("  labels: {}\n", "  labels: {}\n  annotations:\n    R: V\n"),
        ("  labels:\n    a: b  # c\n\n# end\n", "  labels:\n    a: b  # c\n  annotations:\n    R: V\n\n# end\n"),
        ("  finalizers:\n  - a\n", "  finalizers:\n  - a\n  annotations:\n    R: V\n"),
        ("  generation:\n", "  generation:\n  annotations:\n    R: V\n"),
        ("  annotations:\n", "  annotations:\n    R: V\n"),
        ("  annotations:   # none\n", "  annotations:   # none\n    R: V\n"),
        ("  annotations: null\n", "  annotations:\n    R: V\n"),
        ("  annotations: ~  # none\n  labels: {}\n", "  annotations:  # none\n    R: V\n  labels: {}\n"),
        ("  annotations: {}\n", "  annotations: {J}\n"),
        ("  annotations: { }\n", "  annotations: {J }\n"),
        ("  annotations: {a: b}  # c\n", "  annotations: {a: b, J}  # c\n"),
        ("  annotations: {a: b,}\n", "  annotations: {a: b, J,}\n"),
        ("  annotations: {\n    a: b\n  }\n", "  annotations: {\n    a: b,\n    J\n  }\n"),
        (
            "  annotations:\n    a: b  # c\n    # d\n  # e\n",
            "  annotations:\n    a: b  # c\n    R: V\n    # d\n  # e\n",
        ),
        ("  annotations:\n      a: b\n", "  annotations:\n      a: b\n      R: V\n"),
        ("  annotations:\n    a: b\n    c:\n", "  annotations:\n    a: b\n    c:\n    R: V\n"),
        ("  annotations:\n    a: b\n     c\n", "  annotations:\n    a: b\n     c\n    R: V\n"),
        ("  annotations:\n    a: |\n      b\n\n  x: y\n", "  annotations:\n    a: |\n      b\n\n    R: V\n  x: y\n"),
        ("  annotations:\n    a: |\n      b", "  annotations:\n    R: V\n    a: |\n      b"),
        ("  x: &x b\n  annotations:\n    a: *x\n", "  x: &x b\n  annotations:\n    R: V\n    a: *x\n"),
        ("  annotations:\n    ? a\n    : b\n", "  annotations:\n    ? a\n    : b\n    R: V\n"),
        ("  annotations: {? a : b}\n", "  annotations: {? a : b, J}\n"),
        ("  annotations: {a}\n", "  annotations: {a, J}\n"),
        ("  annotations:\n    R: old\n", "  annotations:\n    R: V\n"),
        ("  annotations:\n    R:   'old'  # c\n    a: b\n", "  annotations:\n    R:   V  # c\n    a: b\n"),
        ('  annotations:\n    "R": "o\\\n      ld"\n', '  annotations:\n    "R": V\n'),
        ("  annotations:\n    R:\n    a: b\n", "  annotations:\n    R: V\n    a: b\n"),
        ("  annotations:\n    R: |- # c\n      old\n\n    a: b\n", "  annotations:\n    R: V # c\n\n    a: b\n"),
        ("  annotations:\n    R: >+\n      old\n\n      x\n  a: b\n", "  annotations:\n    R: V\n  a: b\n"),
        ("  annotations: {R: old, a: b}\n", "  annotations: {R: W, a: b}\n"),
        ("  annotations: {R: , a: b}\n", "  annotations: {R: W , a: b}\n"),
        ("  annotations:\n    R: &x old\n", "  annotations:\n    R: V\n"),
    ],
)
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ends", [True, False])
def test_annotation_is_set_where_it_belongs(before: str, after: str, line_break: str, mark: str, ends: bool) -> None:
    """The text is the same to the byte but for the entry: comments, line ends, byte order mark, last line."""

    def fill(text: str) -> str:
        text = text.replace("R", ROUTE_ANNOTATION).replace("J", f'"{ROUTE_ANNOTATION}": W')
        text = mark + HEAD + text.replace("V", QUOTED).replace("W", JSON_QUOTED)
        return (text if ends else text.rstrip("\n")).replace("\n", line_break)

    assert annotate(fill(before)) == fill(after)


@pytest.mark.parametrize("indent", [1, 2, 4, "\t"])
def test_json_is_annotated_as_if_it_had_been_written_so(indent: int | str) -> None:
    """Own lines with the indentation of the others, and tabs where others have them."""
    for annotations in ({"a": "b"}, {}, None):
        expected = make_object(annotations=(annotations or {}) | {ROUTE_ANNOTATION: ROUTE})
        text = json.dumps(make_object(annotations=annotations), indent=indent)
        assert annotate(text) == json.dumps(expected, indent=indent)
    expected = make_object(annotations={ROUTE_ANNOTATION: ROUTE})
    assert annotate(json.dumps(make_object(), indent=indent)) == json.dumps(expected, indent=indent)
    listed = json.dumps({"kind": "List", "items": [make_object()]}, indent=indent)
    assert annotate(listed) == json.dumps({"kind": "List", "items": [expected]}, indent=indent)


def test_json_on_one_line_stays_on_it() -> None:
    """As json.dumps writes it."""
    for annotations in ({"a": "b"}, {}, None):
        expected = make_object(annotations=(annotations or {}) | {ROUTE_ANNOTATION: ROUTE})
        assert annotate(json.dumps(make_object(annotations=annotations))) == json.dumps(expected)
    assert annotate(json.dumps(make_object())) == json.dumps(make_object(annotations={ROUTE_ANNOTATION: ROUTE}))


def test_json_with_tabs_on_every_side_is_annotated() -> None:
    """A tab is white space in JSON, but YAML knows none."""
    config = json.dumps(CONFIG, separators=(",", ":"))
    text = json.dumps(make_object(config, annotations={"a": "b\tc"})).replace(" ", "\t")
    assert json.loads(annotate(text))["metadata"]["annotations"] == {"a": "b\tc", ROUTE_ANNOTATION: ROUTE}


def test_example_gets_one_line_of_annotations() -> None:
    """What a person sees in the diff."""
    text = (CONF / "nad-vlan.yaml").read_text()
    added = f"  namespace: default\n  annotations:\n    {ROUTE_ANNOTATION}: {QUOTED}\n"
    assert set_annotations(text, "vlan100", "default", {ROUTE_ANNOTATION: ROUTE}) == text.replace(
        "  namespace: default\n", added
    )


def test_object_in_a_list_of_a_multi_document_file_is_the_only_one_annotated() -> None:
    """The namespace tells objects of one name apart."""
    items = [make_object(), make_object(namespace="ns"), make_object(name="other")]
    text = yaml.safe_dump_all([make_object(name="first"), {"kind": "List", "items": items}], sort_keys=False)
    changed = set_annotations(text, "n", "ns", {ROUTE_ANNOTATION: ROUTE})
    items[1]["metadata"]["annotations"] = {ROUTE_ANNOTATION: ROUTE}
    assert list(yaml.safe_load_all(changed)) == [make_object(name="first"), {"kind": "List", "items": items}]


@pytest.mark.parametrize(
    "value", ["", " ", "it's", "a\nb", "\t", "\x85\u2028\ufeff\x7f\0", "é\U0001f600", "#: - {", "null"]
)
@pytest.mark.parametrize("key", ["on", "null", "<<", "a b/c: #", "x" * 200, "5", "", "'", "example.com/a"])
@pytest.mark.parametrize("form", ["block", "flow", "json"])
def test_annotation_of_any_text_is_read_again(key: str, value: str, form: str) -> None:
    """What needs escapes gets them."""
    made = make_object(annotations={"a": "b"})
    text = json.dumps(made) if form == "json" else yaml.safe_dump(made, default_flow_style=form == "flow")
    changed = set_annotations(text, "n", "default", {key: value})
    assert load_nads(changed, "f")[0].annotations == {"a": "b", key: value}
    assert list(yaml.safe_load_all(changed)) == [make_object(annotations={"a": "b", key: value})]
    assert form != "json" or json.loads(changed) == make_object(annotations={"a": "b", key: value})


def test_annotation_that_has_its_value_is_left_as_it_is_written() -> None:
    """Nothing to do, nothing done: not even another quotation mark."""
    text = HEAD + f"  annotations:\n    {ROUTE_ANNOTATION}: >-\n      {ROUTE}\n"
    assert annotate(text) == text
    assert set_annotations(text, "n", "default", {}) == text


@pytest.mark.parametrize(
    "metadata",
    [
        "  labels: &x\n    a: b\n  annotations: *x\n",
        "  annotations: &x\n    a: b\n  labels: *x\n",
        "  annotations: &x {}\n  labels: *x\n",
        "  annotations:\n    R: &x old\n  labels: *x\n",
        "  labels: &x old\n  annotations:\n    R: *x\n",
        "  annotations: &x {a: b}\n  labels: *x\n",
        "  self: *m\n",
    ],
)
def test_annotation_that_cannot_be_set_in_place_is_refused(metadata: str) -> None:
    """Rather than to change something else along with it."""
    text = HEAD.replace("metadata:", "metadata: &m") + metadata.replace("R", ROUTE_ANNOTATION)
    reason = "an anchor, an alias or the like stands in the way"
    assert refuse(annotate, text) == f"cannot write annotations into the text: {reason}"


def test_alias_that_leads_back_is_no_trap() -> None:
    """Trees without an end are walked but once."""
    text = HEAD + "  self: &x\n    a: &y [*y]\n    x: *x\n  more: &z {z: *z}\n"
    assert annotate(text) == text + f"  annotations:\n    {ROUTE_ANNOTATION}: {QUOTED}\n"


def test_merge_key_is_refused() -> None:
    """What stands in such a mapping is not all."""
    message = "cannot read NetworkAttachmentDefinition in the text, line 2: merge key <<"
    assert refuse(annotate, HEAD + "  annotations:\n    <<: {a: b}\n") == message


def test_text_made_of_aliases_is_compared_in_no_time() -> None:
    """Ten times ten times ten, and so on, are but ten lists."""
    bomb = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10 if n else ['x'])}]\n" for n in range(30))
    assert annotate(HEAD + "---\n" + bomb).endswith(bomb)


def test_object_that_is_not_there_is_named() -> None:
    """The file may have changed since it was read."""
    assert refuse(set_annotations, HEAD, "n", "ns", {"a": "b"}) == 'no NetworkAttachmentDefinition "ns/n" in the text'


def test_annotation_that_is_not_utf_8_is_refused() -> None:
    """It could be written, but nobody else could read it."""
    for values in ({"a": "\ud800"}, {"\udfff": "b"}):
        assert refuse(set_annotations, HEAD, "n", "default", values).endswith("it is not UTF-8")


# --- properties ----------------------------------------------------------------------------------------------------

printable = st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"], exclude_characters="\ufeff")
texts = st.text(printable, max_size=12) | st.sampled_from(
    ["", "null", "a: b", "- a", "#c", "it's", '"', "{}", "x" * 90]
)
names = st.text("abc./-", min_size=1, max_size=6) | texts
annotations = st.dictionaries(names | st.sampled_from([ROUTE_ANNOTATION, DISCOVERY_ANNOTATION]), texts, max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    """An object with keys of others in it, and its own in any order."""
    made = make_object(json.dumps(CONFIG, indent=draw(st.sampled_from([None, 2]))))
    metadata = draw(st.dictionaries(names, values, max_size=3)) | made["metadata"]
    metadata.pop("namespace", None)
    metadata.pop("annotations", None)
    if draw(st.booleans()):
        metadata["annotations"] = draw(st.none() | annotations)
    made |= {"metadata": dict(draw(st.permutations(list(metadata.items()))))}
    made = draw(st.dictionaries(names, values, max_size=2)) | made
    return dict(draw(st.permutations(list(made.items()))))


def dump_yaml(draw: st.DrawFn, documents: list[Any]) -> str:
    """Write documents in any style that PyYAML has."""
    text: str = yaml.safe_dump_all(
        documents,
        default_flow_style=draw(st.sampled_from([False, False, None, True])),
        default_style=draw(st.sampled_from([None, None, "'", '"', "|", ">"])),
        indent=draw(st.integers(2, 6)),
        width=draw(st.sampled_from([20, 80, 10**6])),
        line_break=draw(st.sampled_from(["\n", "\r\n"])),
        allow_unicode=draw(st.booleans()),
        explicit_start=draw(st.booleans()),
        explicit_end=draw(st.booleans()),
        sort_keys=draw(st.booleans()),
    )
    return text


def dump_json(draw: st.DrawFn, document: object) -> str:
    """Write a document in any style that Python has."""
    indent = draw(st.sampled_from([None, 1, 2, 4, "\t"]))
    separators = draw(st.sampled_from([None, (",", ":")]))
    return json.dumps(document, indent=indent, separators=separators, ensure_ascii=draw(st.booleans()))


@st.composite
def files(draw: st.DrawFn) -> str:
    """A text with the object that is meant somewhere in it."""
    target = draw(objects())
    document = {"kind": "List", "items": [make_object(name="m"), target]} if draw(st.booleans()) else target
    mark = draw(st.sampled_from(["", "", "\ufeff"]))
    if draw(st.booleans()):
        return mark + dump_json(draw, document)
    documents = [*draw(st.lists(values, max_size=1)), document, *draw(st.lists(values, max_size=1))]
    text = dump_yaml(draw, documents)
    assume(list(yaml.safe_load_all(text)) == documents)  # PyYAML cannot read all that it writes
    return mark + text


def read(text: str) -> list[Any]:
    """Read a text by other means than those under test."""
    try:
        return [json.loads(text.removeprefix("\ufeff"))]
    except ValueError:
        return list(yaml.safe_load_all(text))


def find_target(documents: list[Any]) -> dict[str, Any]:
    """Return the metadata of the object that is meant."""
    for document in documents:
        kind = document.get("kind") if isinstance(document, dict) else None
        items = document["items"] if kind == "List" else [document] if kind == nad.KIND else []
        for one in items:
            if one["metadata"]["name"] == "n":
                metadata: dict[str, Any] = one["metadata"]
                return metadata
    raise AssertionError(documents)


def find_value(text: str, key: str) -> tuple[int, int]:
    """Return where in a text the value of a key begins and ends."""
    todo = list(yaml.compose_all(text.replace("\t", " "), Loader=yaml.SafeLoader))
    while todo:
        node = todo.pop()
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == key:
                    return value.start_mark.index, value.end_mark.index
                todo.append(value)
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
    raise AssertionError(key)


def count_common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def find_change(old: str, new: str) -> tuple[int, int, int]:
    """Return where a text begins to differ, and where the difference ends in the one and in the other."""
    start = count_common(old, new)
    end = count_common(old[start:][::-1], new[start:][::-1])
    return start, len(old) - end, len(new) - end


@settings(max_examples=300)
@given(files(), st.sampled_from([ROUTE_ANNOTATION, DISCOVERY_ANNOTATION]), texts)
def test_annotation_in_any_file_changes_nothing_else(text: str, key: str, value: str) -> None:
    """One span is new; without it the text is the old one, and the documents are the old ones with the annotation."""
    documents = read(text)
    target = find_target(documents)
    old = target.get("annotations", {})
    changed = set_annotations(text, "n", "default", {key: value})
    before = old or {}
    start, end, new_end = find_change(text, changed)
    if before.get(key) == value:
        assert changed == text
    elif key in before or old is None:
        first, last = find_value(text, key if key in before else "annotations")
        assert len(text[:first].rstrip(" ")) <= start
        assert end <= last
    else:
        assert start == end
        assert key in changed[max(0, start - len(key)) : new_end + len(key)]
    target["annotations"] = before | {key: value}
    assert read(changed) == documents
    found = next(one for one in load_nads(changed, "f") if one.name == "n")
    assert found.annotations == before | {key: value}
    assert set_annotations(changed, "n", "default", {key: value}) == changed


@settings(max_examples=100)
@given(objects(), st.integers(2, 6), st.sampled_from(["\n", "\r\n"]), st.randoms(use_true_random=False))
def test_comments_stay_where_they_are(
    target: dict[str, Any], indent: int, line_break: str, chance: random.Random
) -> None:
    """Every line of a file with comments all over is there afterwards, in the same order, and one or two are new."""
    target["metadata"].pop("annotations", None)
    target["metadata"]["annotations"] = {"a": "b"} if chance.random() < 0.7 else None
    dumped = yaml.safe_dump(target, default_flow_style=False, width=10**6, indent=indent, sort_keys=False)
    lines = [line for old in dumped.splitlines() for line in (f"{old}  # {chance.random()}", "  # a comment", "")]
    text = line_break.join(lines)
    changed = annotate(text).split(line_break)
    lines = [line.replace("annotations: null", "annotations:") for line in lines]
    remaining = iter(changed)
    assert all(line in remaining for line in lines)
    assert len(changed) == len(lines) + 1


def damage(text: str, at: int, junk: str, cut: int) -> str:
    """Put junk into a text, and take some of it away."""
    at %= len(text) + 1
    return text[:at] + junk + text[at + cut :]


junk = st.text(st.characters(), max_size=4) | st.sampled_from(
    [
        "&a ",
        "*a",
        "<<: ",
        "!!x ",
        "? ",
        "|",
        "- ",
        "{",
        "}",
        "\t",
        "\n",
        "\ufeff",
        "null",
        "[]",
        "---\n",
        "%",
        "\\U99999999",
    ]
)


@settings(max_examples=500)
@given(st.builds(damage, files(), st.integers(0), junk, st.integers(0, 20)))
def test_file_that_is_broken_in_any_way_is_refused_by_an_error_of_ours(text: str) -> None:
    """Nothing in it is taken for a bug; what is read can be annotated or is refused, and never damaged."""
    try:
        found = load_nads(text, "nad.yaml")
        changed = set_annotations(text, found[0].name, found[0].namespace, {ROUTE_ANNOTATION: ROUTE}, source="nad.yaml")
    except HarvesterError as e:
        assert " nad.yaml" in e.msg
    else:
        assert load_nads(changed, "nad.yaml")[0].annotations == found[0].annotations | {ROUTE_ANNOTATION: ROUTE}


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one object."""
    path = tmp_path / "nad.yaml"
    path.write_text(HEAD)
    return path


def update(path: Path, key: str = ROUTE_ANNOTATION, value: str = ROUTE, *, answer: bool = True) -> bool:
    """Set an annotation in a file."""
    return nad.update_file(path, "n", "default", {key: value}, only_if=lambda _: answer)


def test_file_is_replaced_with_owner_and_mode(file: Path) -> None:
    """And nothing is left beside it."""
    owner = (12345, 23456) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(file, *owner)
    file.chmod(0o646)
    before = file.stat()
    assert update(file)
    after = file.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (*owner, before.st_mode)
    assert after.st_ino != before.st_ino
    assert file.read_text() == annotate(HEAD)
    assert [path.name for path in file.parent.iterdir()] == ["nad.yaml"]


def test_file_keeps_its_byte_order_mark_and_line_ends(file: Path) -> None:
    """Files of Windows editors stay such."""
    file.write_bytes(("\ufeff" + HEAD.replace("\n", "\r\n")).encode())
    assert update(file)
    assert file.read_bytes() == ("\ufeff" + annotate(HEAD).replace("\n", "\r\n")).encode()
    assert nad.load_file(file)[0].annotations == {ROUTE_ANNOTATION: ROUTE}


def test_symbolic_link_stays_and_its_target_is_replaced(file: Path, tmp_path: Path) -> None:
    """Also across folders."""
    (tmp_path / "folder").mkdir()
    link = tmp_path / "folder" / "link.yaml"
    link.symlink_to("../nad.yaml")
    assert update(link)
    assert link.is_symlink()
    assert file.read_text() == annotate(HEAD)
    assert list(link.parent.iterdir()) == [link]


def test_file_is_left_alone_when_its_object_has_changed_meanwhile(file: Path) -> None:
    """The caller sees the object as it is now."""
    seen: list[Nad] = []
    file.write_text(HEAD.replace('"vlan": 100', '"vlan": 200'))
    before = file.stat()
    assert not nad.update_file(file, "n", "default", {"a": "b"}, only_if=lambda one: bool(seen.append(one)))
    assert seen[0].vlan == 200
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_file_that_has_the_annotation_is_not_written(file: Path) -> None:
    """It says what it shall say."""
    assert update(file)
    before = file.stat()
    assert update(file)
    assert file.stat().st_ino == before.st_ino


def test_file_whose_object_has_gone_is_refused(file: Path) -> None:
    """It was renamed, say."""
    file.write_text(HEAD.replace("name: n", "name: m"))
    assert refuse(update, file) == f'no NetworkAttachmentDefinition "default/n" in {file}'


@pytest.mark.parametrize("call", [nad.load_file, update])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, call: Callable[[Path], object]) -> None:
    """Missing, a folder, a link in a circle."""
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for path in (tmp_path / "missing.yaml", tmp_path, circle):
        with pytest.raises(ReadFailed, match=f'cannot read "{path}": '):
            call(path)
    (tmp_path / "latin1").write_bytes(HEAD.encode() + b"# \xe9")
    message = f"cannot read {tmp_path / 'latin1'}: byte {len(HEAD.encode()) + 2} is not UTF-8"
    assert refuse(call, tmp_path / "latin1") == message


def test_pipe_is_no_file_to_update(tmp_path: Path) -> None:
    """It is refused at once, and nobody waits for a writer."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ReadFailed, match="it is not a regular file"):
        update(tmp_path / "pipe")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes; not even that which pytest's own output may go to, so keep it short."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_file_that_cannot_be_written_is_as_it_was(file: Path) -> None:
    """Half a file is none; and nothing is left beside it."""
    with pytest.raises(KernelRefused, match=f'cannot write "{file}": File too large') as caught, full_disk():
        update(file)
    assert caught.value.errno
    assert file.read_text() == HEAD
    assert [path.name for path in file.parent.iterdir()] == ["nad.yaml"]


def test_error_of_the_question_leaves_the_file_alone(file: Path) -> None:
    """Whatever the caller's function raises comes out, even what the lock itself looks for."""

    def fail(_: Nad) -> bool:
        raise FileNotFoundError

    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            nad.update_file(file, "n", "default", {"a": "b"}, only_if=fail)
    assert file.read_text() == HEAD


def test_writers_do_not_lose_each_others_annotations(file: Path) -> None:
    """Each one reads what the last one wrote, though the file is another every time."""
    keys = [f"example.com/{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda key: update(file, key, "v"), keys))
    assert nad.load_file(file)[0].annotations == dict.fromkeys(keys, "v")


def wait_for_waiter(inode: int) -> None:
    """Wait until somebody waits for the lock of a file (proc_locks(5))."""
    deadline = time.monotonic() + 10
    while not re.search(rf"-> FLOCK .*:{inode} ", Path("/proc/locks").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_writer_that_waited_reads_the_file_that_has_the_name_now(file: Path) -> None:
    """The lock it got is that of the old file."""
    with file.open() as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = pool.submit(nad.update_file, file, "n", "default", {"a": "b"}, only_if=lambda one: one.vlan == 200)
        wait_for_waiter(file.stat().st_ino)
        other = file.with_suffix(".new")
        other.write_text(HEAD.replace('"vlan": 100', '"vlan": 200'))
        other.replace(file)
        assert not waiting.done()
        fcntl.flock(held, fcntl.LOCK_UN)
        assert waiting.result(timeout=10)
    assert nad.load_file(file)[0].annotations == {"a": "b"}
