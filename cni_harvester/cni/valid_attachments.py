"""The list of attachments that a GC must leave alone. CNI specification 1.1.0, "GC"."""

from collections.abc import Iterable

from cni_harvester.cni.request import Call
from cni_harvester.errors import InvalidNetworkConfig
from cni_harvester.model.attachment import Attachment

_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")
"""The specification's key, and the one of its first 1.1.0 text; libcni sends both."""


def parse_valid_attachments(call: Call) -> set[Attachment]:
    """Read the list of attachments that must stay.

    Raises:
        InvalidNetworkConfig: there is no list, or an entry is not `{"containerID": ..., "ifname": ...}`.
    """
    entries = next((value for key in _KEYS if (value := call.config.get(key)) is not None), None)
    if not isinstance(entries, list):
        reason = "missing" if entries is None else "not a list"
        hint = "nothing was removed; an empty list says that no attachment is valid"
        raise InvalidNetworkConfig(f"invalid network configuration: {_KEYS[0]}: {reason}", hint)
    return set(_parse_entries(entries, call.name))


def _parse_entries(entries: list[object], network: str) -> Iterable[Attachment]:
    for i, entry in enumerate(entries):
        fields = {k.lower(): v for k, v in entry.items()} if isinstance(entry, dict) else {}
        container_id, ifname = fields.get("containerid"), fields.get("ifname")
        if not (isinstance(container_id, str) and container_id and isinstance(ifname, str) and ifname):
            hint = 'nothing was removed; an entry is {"containerID": "...", "ifname": "..."}'
            raise InvalidNetworkConfig(f"invalid network configuration: {_KEYS[0]}[{i}]: got {entry!r}", hint)
        yield Attachment(network, container_id, ifname)
