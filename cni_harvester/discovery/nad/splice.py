"""One entry set in a YAML or JSON text, everything else of which stays as its author wrote it.

Nothing is dumped anew: comments, quoting, anchors, order, line ends and the byte order mark stay. The text is spliced
at the marks of PyYAML's nodes; JSON is YAML in flow style, so the same code serves it. The result is read again, and
must be the documents of before but for that entry; a text in which no splice leads there (an alias stands in the way,
say) is refused.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

from cni_harvester.errors import InvalidNetworkConfig

Node = Any
"""A yaml.Node."""

Steps = tuple[int | str, ...]
"""Positions and keys that lead from a text's list of documents to a node."""

_MAP, _SEQ, _STR, NULL, MERGE = (f"tag:yaml.org,2002:{tag}" for tag in ("map", "seq", "str", "null", "merge"))
"""Tags of YAML 1.1; `<<` has the last one."""

_BREAKS = "\r\n\x85\u2028\u2029"  # YAML 1.1, section 4.1.4
_BREAK = re.compile(f"\r\n|[{_BREAKS}]")
_UNPRINTABLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_PLAIN_KEY = re.compile(r"annotations|[a-z][a-z0-9.-]*/[A-Za-z0-9._-]+")
_BLOCK_HEADER = re.compile(f"[^{_BREAKS}]*?(?P<comment>[ \t]+#[^{_BREAKS}]*)?(?=[{_BREAKS}]|$)")


# --- reading -------------------------------------------------------------------------------------------------------


def compose(text: str, source: str) -> list[Node]:
    """Read a text into nodes, one for each document; raise InvalidNetworkConfig, naming line and column, if it cannot.

    Duplicate keys, of which YAML and JSON readers keep the one or the other, are refused too.
    """
    # A tab is white space in JSON but not in YAML. It cannot stand inside of a string of JSON, so there a blank may
    # take its place, and the marks stay right.
    plain = text.replace("\t", " ") if "\t" in text and _is_json(text) else text
    try:
        roots = list(yaml.compose_all(plain, Loader=yaml.SafeLoader))
        _check_nodes(roots)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as e:
        hint = "YAML is indented with blanks, and a mapping has each key but once"
        raise InvalidNetworkConfig(f"invalid YAML in {source}: {_describe(e, text)}", hint) from e
    return roots


def _is_json(text: str) -> bool:
    try:
        json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True


def _describe(e: Exception, text: str) -> str:
    if isinstance(e, RecursionError):
        return "it is nested too deep"
    if isinstance(e, yaml.reader.ReaderError):
        line, column = text.count("\n", 0, e.position), e.position - text.rfind("\n", 0, e.position) - 1
        return f"line {line + 1}, column {column + 1}: character {text[e.position]!r} is not allowed"
    mark = getattr(e, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(e, 'problem', '')}" if mark else str(e)


def _check_nodes(roots: list[Node]) -> None:
    """Refuse duplicate keys, and put characters together that PyYAML leaves in halves."""
    todo, seen = list(roots), set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            # JSON writes a character above U+FFFF as two escapes
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
        else:
            todo += [one for pair in node.value for one in pair]
            _refuse_duplicates([key for key, _ in node.value if isinstance(key, yaml.ScalarNode)])


def _refuse_duplicates(keys: list[Node]) -> None:
    seen = set()
    for key in keys:
        if key.value in seen:
            raise yaml.composer.ComposerError(None, None, f"duplicate key {key.value!r}", key.start_mark)
        seen.add(key.value)


def find(node: Node, key: str) -> Node:
    """Return the value of a mapping's key; None when it has none, or is no mapping."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def find_text(node: Node) -> str | None:
    """Return the text of a scalar; None for null and for what is no scalar."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == NULL:
        return None
    return str(node.value)


# --- writing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Style:
    """How the entries of a mapping are laid out.

    Attributes:
        flow: in braces and with commas, as in JSON.
        lines: each entry has a line of its own.
        indent: white space before an entry.
        unit: what an inner mapping is indented by, in addition.
        line_break: the text's.
    """

    flow: bool
    lines: bool
    indent: str
    unit: str
    line_break: str

    @property
    def gap(self) -> str:
        """What stands between two entries, but for the comma."""
        return self.line_break + self.indent if self.lines else " "

    @property
    def deeper(self) -> "_Style":
        """The style of a mapping inside."""
        return replace(self, indent=self.indent + self.unit)


def find_splice(text: str, roots: list[Node], steps: Steps, value: str, source: str) -> str | None:
    """Return a text in which an entry has a value; None when no splice leads there.

    In block style the value is a single-quoted scalar, in flow style a string of JSON. A new entry comes last, or
    first where it cannot be put behind the last one. Mappings on the way that are missing, null or empty are made.

    Args:
        text: the text as it is.
        roots: its nodes, by `compose`.
        steps: number of the document, then the keys and positions that lead to the entry; its own key is the last.
        value: the entry's new value.
        source: the text's name, for messages.
    """
    for changed, is_first in _iter_splices(text, roots, steps, value):
        wanted = _graft(_join(roots), steps, yaml.ScalarNode(_STR, value), is_first=is_first)
        with contextlib.suppress(InvalidNetworkConfig):
            if _is_same(wanted, _join(compose(changed, source))):
                return changed
    return None


def _join(roots: list[Node]) -> Node:
    return yaml.SequenceNode(_SEQ, roots)


def _graft(node: Node, steps: Steps, leaf: Node, *, is_first: bool) -> Node:
    """Return a tree with another leaf, sharing with the old one all that is not on the way."""
    if not steps:
        return leaf
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        items = list(node.value)
        items[step] = _graft(items[step], rest, leaf, is_first=is_first)
        return yaml.SequenceNode(node.tag, items)
    pairs = list(node.value) if isinstance(node, yaml.MappingNode) else []
    at = next((at for at, (key, _) in enumerate(pairs) if key.value == step), None)
    if at is None:
        at = 0 if is_first else len(pairs)
        pairs.insert(at, (yaml.ScalarNode(_STR, step), yaml.MappingNode(_MAP, [])))
    pairs[at] = (pairs[at][0], _graft(pairs[at][1], rest, leaf, is_first=is_first))
    return yaml.MappingNode(node.tag if isinstance(node, yaml.MappingNode) else _MAP, pairs)


def _is_same(one: Node, other: Node) -> bool:
    """Whether two trees say the same; aliases may make them endless, or endlessly wide."""
    todo, seen = [(one, other)], set()
    while todo:
        a, b = todo.pop()
        if (id(a), id(b)) in seen:
            continue
        seen.add((id(a), id(b)))
        if type(a) is not type(b) or a.tag != b.tag:
            return False
        if isinstance(a, yaml.ScalarNode):
            if a.value != b.value:
                return False
            continue
        if len(a.value) != len(b.value):
            return False
        for left, right in zip(a.value, b.value, strict=True):
            todo += zip(left, right, strict=True) if isinstance(left, tuple) else [(left, right)]
    return True


def _iter_splices(text: str, roots: list[Node], steps: Steps, value: str) -> Iterator[tuple[str, bool]]:
    """Yield texts that may be what is wanted, and whether the new entry comes first in them."""
    chain = [roots[int(steps[0])]]
    for step in steps[1:]:
        child = chain[-1].value[step] if isinstance(step, int) else find(chain[-1], step)
        if child is None:
            break
        chain.append(child)
    node, rest = chain[-1], [str(step) for step in steps[len(chain) :]]
    if not rest:
        quote = _quote_double if chain[-2].flow_style else _quote_single
        yield _replace_scalar(text, node, quote(value)), False
    elif isinstance(node, yaml.MappingNode) and node.value:
        yield from _insert(text, node, rest, value, _find_style(text, node, chain[-2:-1]))
    elif isinstance(node, yaml.MappingNode) or node.tag == NULL:
        style = _find_style(text, chain[-2], chain[-3:-2])
        yield _fill(text, node, rest, value, style), False


def _find_style(text: str, mapping: Node, outer: list[Node]) -> _Style:
    """Look how a mapping that is not empty is laid out, and how far it is indented from the one around it."""
    line_break = _BREAK.search(text)
    indent = _find_indent(text, mapping)
    around = _find_indent(text, outer[0]) if outer and isinstance(outer[0], yaml.MappingNode) else ""
    unit = indent.removeprefix(around) if indent.startswith(around) and indent != around else "  "
    is_long = bool(mapping.start_mark.line != mapping.end_mark.line)
    is_flow = bool(mapping.flow_style)
    return _Style(is_flow, is_long or not is_flow, indent, unit, line_break[0] if line_break else "\n")


def _find_indent(text: str, mapping: Node) -> str:
    """Return the white space that puts an entry below the first one."""
    start = _find_start(text, mapping)
    line_start = max(text.rfind(one, 0, start) for one in _BREAKS) + 1
    return re.sub(r"[^\t]", " ", text[line_start:start].removeprefix("\ufeff"))


def _find_start(text: str, mapping: Node) -> int:
    """Return where the first entry of a mapping begins: at its key, or at the `?` before it."""
    start = int(mapping.value[0][0].start_mark.index)
    before = text[:start].rstrip(" ")
    return len(before) - 1 if before.endswith("?") else start


def _insert(text: str, mapping: Node, keys: list[str], value: str, style: _Style) -> Iterator[tuple[str, bool]]:
    """Put an entry into a mapping that is not empty: behind the last one, else before the first one."""
    entry = _format_entry(keys, value, style)
    start, end = _find_start(text, mapping), _find_end(mapping.value[-1][1])
    if style.flow:
        yield f"{text[:end]},{style.gap}{entry}{text[end:]}", False
        yield f"{text[:start]}{entry},{style.gap}{text[start:]}", True
        return
    if text[end - 1] in _BREAKS:  # a block scalar ends with its line
        yield f"{text[:end]}{style.indent}{entry}{style.line_break}{text[end:]}", False
    else:
        end = _find_line_end(text, end)
        yield f"{text[:end]}{style.gap}{entry}{text[end:]}", False
    yield f"{text[:start]}{entry}{style.gap}{text[start:]}", True


def _fill(text: str, node: Node, keys: list[str], value: str, style: _Style) -> str:
    """Put an entry into a mapping that is empty or null; `style` is that of the mapping around it."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.MappingNode):
        start = text.index("{", start)
        if not (style.flow and style.lines) or text[start + 1 : end - 1].strip():
            return f"{text[: start + 1]}{_format_entry(keys, value, replace(style, flow=True))}{text[start + 1 :]}"
    if style.flow:
        blank = " " if start == end else ""
        return f"{text[:start]}{blank}{_format_mapping(keys, value, style)}{text[end:]}"
    end = len(text[:end].rstrip(f"{_BREAKS} ")) if start < end else end
    line_end = _find_line_end(text, end)
    entry = f"{style.deeper.gap}{_format_entry(keys, value, style.deeper)}"
    return f"{text[:start].rstrip(' ')}{text[end:line_end]}{entry}{text[line_end:]}"


def _replace_scalar(text: str, node: Node, quoted: str) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    old = text[start:end]
    if not old:
        return f"{text[:start]} {quoted}{text[end:]}"
    if node.style not in {"|", ">"}:
        return f"{text[:start]}{quoted}{text[end:]}"
    # the blank lines behind a block scalar are part of it, and so is the comment at its head
    header = _BLOCK_HEADER.match(old)
    comment = header["comment"] or "" if header else ""
    tail = old[len(old.rstrip(f"{_BREAKS} \t")) :].lstrip(" \t")
    return f"{text[:start]}{quoted}{comment}{tail}{text[end:]}"


def _find_end(node: Node) -> int:
    """Return where a value ends; the mark of a block mapping or sequence is behind the comments that follow it."""
    while not isinstance(node, yaml.ScalarNode) and not node.flow_style:
        last = node.value[-1]
        last = last[1] if isinstance(last, tuple) else last
        if last.start_mark.index <= node.start_mark.index:
            break  # an alias, which leads back
        node = last
    return int(node.end_mark.index)


def _find_line_end(text: str, at: int) -> int:
    found = _BREAK.search(text, at)
    return found.start() if found else len(text)


def _format_entry(keys: list[str], value: str, style: _Style) -> str:
    """Write an entry; of several keys, all but the last have a mapping."""
    key, rest = keys[0], keys[1:]
    if style.flow:
        return f"{_quote_double(key)}: {_format_mapping(rest, value, style) if rest else _quote_double(value)}"
    name = key if _PLAIN_KEY.fullmatch(key) else _quote_single(key)
    if rest:
        return f"{name}:{style.deeper.gap}{_format_entry(rest, value, style.deeper)}"
    return f"{name}: {_quote_single(value)}"


def _format_mapping(keys: list[str], value: str, style: _Style) -> str:
    """Write a mapping of one entry in flow style; `style` is that of the mapping around it."""
    entry = _format_entry(keys, value, style.deeper)
    return f"{{{style.deeper.gap}{entry}{style.gap}}}" if style.lines else f"{{{entry}}}"


def _quote_double(text: str) -> str:
    """Write a string of JSON, which is a double-quoted scalar too."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _quote_single(text: str) -> str:
    """Write a single-quoted scalar, in which JSON can be read; double-quoted where escapes are needed."""
    return _quote_double(text) if _UNPRINTABLE.search(text) else "'" + text.replace("'", "''") + "'"
