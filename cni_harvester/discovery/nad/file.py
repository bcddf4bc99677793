"""NetworkAttachmentDefinitions in files: read, and annotated in place without touching anything else of the file."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cni_harvester.cni.document import Document
from cni_harvester.cni.netconf import NetworkConfig
from cni_harvester.cni.request import decode_object
from cni_harvester.discovery.nad import splice
from cni_harvester.discovery.nad.splice import Node, Steps, find, find_text
from cni_harvester.errors import DecodeFailed, InvalidNetworkConfig, KernelRefused, ReadFailed

KIND = "NetworkAttachmentDefinition"
TYPES = ("cni-harvester", "bridge")
"""Plugins whose configurations we know how to read: ours, and the reference plugin that Harvester calls."""

_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Nad:
    """A NetworkAttachmentDefinition that a port can be made of.

    Attributes:
        name: `metadata.name`.
        namespace: `metadata.namespace`, `default` when there is none.
        config: the plugin's configuration as `spec.config` has it; of a list of plugins our entry, with the list's
            `name` and `cniVersion`.
        annotations: `metadata.annotations`.
        vlan: access VLAN, or a trunk's native one; 0 for none.
        bridge: the bridge to join.
        trunk: the VIDs of a trunk.
        mtu: bytes; 0 for the bridge's.
        source: the file, for messages.
    """

    name: str
    namespace: str
    config: Mapping[str, Any]
    annotations: Mapping[str, str]
    vlan: int
    bridge: str
    trunk: frozenset[int]
    mtu: int
    source: str

    @property
    def is_trunk(self) -> bool:
        """Whether machines get several VLANs."""
        return bool(self.trunk)


class _Config(Document):
    """What tells a plugin's configuration from a list of them."""

    type: str = ""
    plugins: list[dict[str, Any]] | None = None


# --- files ---------------------------------------------------------------------------------------------------------


def load_file(path: Path) -> list[Nad]:
    """Read the NetworkAttachmentDefinitions of a file, as `load_nads` does.

    Raises:
        ReadFailed: the file cannot be read (code 5).
        InvalidNetworkConfig: see `load_nads`.
    """
    return load_nads(_read_text(path, path), str(path))


def update_file(
    path: Path, name: str, namespace: str, values: Mapping[str, str], *, only_if: Callable[[Nad], bool]
) -> bool:
    """Set annotations of one NetworkAttachmentDefinition in a file, all of them or none.

    The file is replaced as a whole by one of the same owner and mode; a symbolic link stays and its target is
    replaced. A second writer of ours waits for the lock on the file, and then reads what the first one wrote.

    Args:
        path: the file.
        name: the object's name.
        namespace: its namespace.
        values: annotations to set.
        only_if: gets the object as it is now, and says whether to go on: its author may have edited it meanwhile.

    Returns:
        False when `only_if` said no, and the file was left alone.

    Raises:
        ReadFailed: the file cannot be read (code 5).
        InvalidNetworkConfig: see `load_nads` and `set_annotations`.
        KernelRefused: the file cannot be written; it is as it was (code 106).
    """
    with _lock(path) as target:
        text = _read_text(target, path)
        found = [nad for nad in load_nads(text, str(path)) if (nad.name, nad.namespace) == (name, namespace)]
        if not found:
            raise _missing(name, namespace, str(path))
        if not only_if(found[0]):
            return False
        changed = set_annotations(text, name, namespace, values, source=str(path))
        if changed != text:
            try:
                _replace(target, changed.encode())
            except OSError as e:
                hint = "its folder must be writable too, for the file is replaced as a whole"
                raise KernelRefused(f'cannot write "{path}": {e.strerror}', hint, errno=e.errno or 0) from e
    return True


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[Path]:
    """Hold the lock of the file that a path leads to; another file of that name, made meanwhile, has another lock."""
    while True:
        try:
            target = path.resolve(strict=True)
            fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, RuntimeError) as e:  # RuntimeError: symbolic links in a circle
            raise _unreadable(path, e) from e
        try:
            if _is_held(fd, target, path):
                yield target
                return
        finally:
            os.close(fd)


def _is_held(fd: int, target: Path, path: Path) -> bool:
    """Wait for the lock of an open file, and say whether it is still the one that has the name."""
    try:
        held = os.fstat(fd)
        if not stat.S_ISREG(held.st_mode):
            raise ReadFailed(f'cannot read "{path}": it is not a regular file', "only such a file can be updated")
        fcntl.flock(fd, fcntl.LOCK_EX)
        return os.path.samestat(held, target.stat())
    except FileNotFoundError:
        return False  # the next look at the name will say so
    except OSError as e:
        raise _unreadable(path, e) from e


def _read_text(file: Path, path: Path) -> str:
    """Read a file as it is, with its byte order mark and line ends."""
    try:
        return file.read_bytes().decode()
    except OSError as e:
        raise _unreadable(path, e) from e
    except UnicodeDecodeError as e:
        raise InvalidNetworkConfig(f"cannot read {path}: byte {e.start} is not UTF-8", "save it as UTF-8") from e


def _unreadable(path: Path, e: Exception) -> ReadFailed:
    return ReadFailed(f'cannot read "{path}": {getattr(e, "strerror", None) or e}', "check its name and permissions")


def _replace(path: Path, data: bytes) -> None:
    before = path.stat()
    fd, name = tempfile.mkstemp(prefix=".cni-harvester-", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            made = os.fstat(fd)
            if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
                os.fchown(fd, before.st_uid, before.st_gid)
            os.fchmod(fd, stat.S_IMODE(before.st_mode))
            file.flush()
            os.fsync(fd)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not every file system can; the file is in place all the same
            os.fsync(folder)
    finally:
        os.close(folder)


# --- reading -------------------------------------------------------------------------------------------------------


def load_nads(text: str, source: str) -> list[Nad]:
    """Read all NetworkAttachmentDefinitions of a YAML or JSON text, also those in a `List`; other kinds are left alone.

    Args:
        text: the text, one or several documents.
        source: the file's name, for messages.

    Raises:
        InvalidNetworkConfig: there is none, or the first that is wrong, naming file, object and path (code 7).
    """
    try:
        nads = [_read_nad(node, source) for _, node in _iter_objects(splice.compose(text, source))]
    except RecursionError as e:
        raise InvalidNetworkConfig(f"cannot read {source}: it is nested too deep", "write it flatter") from e
    if not nads:
        raise InvalidNetworkConfig(f"no {KIND} in {source}", f"it has no object with kind: {KIND}")
    names = [(nad.namespace, nad.name) for nad in nads]
    for namespace, name in names:
        if names.count((namespace, name)) > 1:
            raise _ambiguous(name, namespace, source)
    return nads


def _missing(name: str, namespace: str, source: str) -> InvalidNetworkConfig:
    return InvalidNetworkConfig(f'no {KIND} "{namespace}/{name}" in {source}', "somebody may have renamed or moved it")


def _ambiguous(name: str, namespace: str, source: str) -> InvalidNetworkConfig:
    return InvalidNetworkConfig(f'{KIND} "{namespace}/{name}" is in {source} twice', "remove one of the two")


def _iter_objects(roots: list[Node]) -> Iterator[tuple[Steps, Node]]:
    for number, root in enumerate(roots):
        kind = find_text(find(root, "kind"))
        if kind == KIND:
            yield (number,), root
        elif kind in {"List", f"{KIND}List"}:
            items = find(root, "items")
            for position, item in enumerate(items.value if isinstance(items, yaml.SequenceNode) else ()):
                if find_text(find(item, "kind")) == KIND:
                    yield (number, "items", position), item


def _identify(node: Node, source: str) -> tuple[str, str]:
    """Return name and namespace of an object, and make sure that its keys are where we look for them."""
    metadata = find(node, "metadata")
    name = find_text(find(metadata, "name"))
    line = node.start_mark.line + 1
    for mapping in (node, metadata, find(metadata, "annotations"), find(node, "spec")):
        if isinstance(mapping, yaml.MappingNode) and any(key.tag == splice.MERGE for key, _ in mapping.value):
            hint = "write the keys out that are merged in"
            raise InvalidNetworkConfig(f"cannot read {KIND} in {source}, line {line}: merge key <<", hint)
    if not name:
        raise InvalidNetworkConfig(f"invalid {KIND} in {source}, line {line}: metadata.name: missing", "name it")
    return name, find_text(find(metadata, "namespace")) or _DEFAULT_NAMESPACE


def _read_nad(node: Node, source: str) -> Nad:
    name, namespace = _identify(node, source)
    what = f'{KIND} "{namespace}/{name}" in {source}'
    annotations = _read_annotations(find(find(node, "metadata"), "annotations"), what)
    text = find_text(find(find(node, "spec"), "config"))
    if not text:
        hint = "it holds the configuration of the plugin, as JSON text"
        raise InvalidNetworkConfig(f"invalid {what}: spec.config: missing", hint)
    try:
        config, at = _choose_plugin(decode_object(text.encode(), "JSON"), what)
    except DecodeFailed as e:
        raise InvalidNetworkConfig(f"invalid {what}: spec.config: {e.msg}", e.details) from e
    network = NetworkConfig.parse(config, what, at)
    return Nad(name, namespace, config, annotations, network.vlan, network.bridge, network.trunk, network.mtu, source)


def _read_annotations(node: Node, what: str) -> dict[str, str]:
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == splice.NULL):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise InvalidNetworkConfig(f"invalid {what}: metadata.annotations: must be a mapping", "of names to texts")
    for key, value in node.value:
        if not (isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)):
            path = f"metadata.annotations.{find_text(key) or '?'}"
            raise InvalidNetworkConfig(f"invalid {what}: {path}: must be text", "JSON in an annotation needs quotes")
    return {str(key.value): text for key, value in node.value if (text := find_text(value)) is not None}


def _choose_plugin(config: dict[str, Any], what: str) -> tuple[dict[str, Any], str]:
    """Return the configuration of the one plugin that makes the port, and its JSON path."""
    at = "spec.config"
    outer = _Config.parse(config, what, at)
    plugins = [(config, at)] if outer.plugins is None else []
    for position, plugin in enumerate(outer.plugins or ()):
        shared = {key: value for key, value in config.items() if key.lower() in {"name", "cniversion"}}
        plugins.append((plugin | shared, f"{at}.plugins[{position}]"))
    types = [_Config.parse(plugin, what, path).type for plugin, path in plugins]
    ours = [found for found, kind in zip(plugins, types, strict=True) if kind in TYPES]
    if len(ours) != 1:
        path = f"{at}.type" if outer.plugins is None else f"{at}.plugins"
        known = " or ".join(map(repr, TYPES))
        shown = ", ".join(map(repr, types)) or "none"
        raise InvalidNetworkConfig(f"invalid {what}: {path}: must be {known}, got {shown}", "one plugin makes the port")
    return ours[0]


# --- writing -------------------------------------------------------------------------------------------------------


def set_annotations(
    text: str, name: str, namespace: str, values: Mapping[str, str], *, source: str = "the text"
) -> str:
    """Return a text in which a NetworkAttachmentDefinition has annotations, and nothing else is changed.

    An annotation that has its value already is left as it is written.

    Args:
        text: the text as it is; see `load_nads`.
        name: the object's name.
        namespace: its namespace.
        values: the annotations to set; others stay.
        source: the file's name, for messages.

    Raises:
        InvalidNetworkConfig: there is no such object, or an alias or the like stands in the way (code 7).
    """
    for key, value in values.items():
        if any("\ud800" <= c <= "\udfff" for c in key + value):
            raise InvalidNetworkConfig(
                f"cannot write annotations into {source}: {key}: it is not UTF-8", "leave it out"
            )
        text = _set_annotation(text, name, namespace, (key, value), source)
    return text


def _set_annotation(text: str, name: str, namespace: str, annotation: tuple[str, str], source: str) -> str:
    roots = splice.compose(text, source)
    found = [(steps, node) for steps, node in _iter_objects(roots) if _identify(node, source) == (name, namespace)]
    if not found:
        raise _missing(name, namespace, source)
    if len(found) > 1:
        raise _ambiguous(name, namespace, source)
    steps, node = found[0]
    key, value = annotation
    what = f'{KIND} "{namespace}/{name}" in {source}'
    if _read_annotations(find(find(node, "metadata"), "annotations"), what).get(key) == value:
        return text
    changed = splice.find_splice(text, roots, (*steps, "metadata", "annotations", key), value, source)
    if changed is None:
        hint = f'write metadata.annotations of "{namespace}/{name}" out, one entry on a line'
        reason = "an anchor, an alias or the like stands in the way"
        raise InvalidNetworkConfig(f"cannot write annotations into {source}: {reason}", hint)
    return changed
