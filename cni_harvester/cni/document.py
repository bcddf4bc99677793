"""Outside JSON made into values: the pydantic base of all our documents, and its faults in words.

Keys match without case and null means "not given", as Go's decoder has it, by which all such documents were written
so far. Types are strict: "5", 1.5 and true are not the number 5.
"""

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Self

# pydantic looks through all installed packages for plugins of its own, 15 ms; there is none in the bundle.
_loader = ModuleType("pydantic.plugin._loader")
_loader.get_plugins = lambda: ()  # type: ignore[attr-defined]
sys.modules.setdefault(_loader.__name__, _loader)

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator  # noqa: E402

from cni_harvester.errors import HarvesterError, InvalidNetworkConfig, UnsupportedField  # noqa: E402

_SHOWN_CHARACTERS = 80


class Document(BaseModel):
    """A JSON object from outside; unknown keys are left alone unless a subclass forbids them."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _match_keys(cls, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """Bring keys into our spelling and drop nulls; what is no object is left for pydantic to refuse."""
        if not isinstance(value, Mapping):
            return value
        spelling = {(f.alias or name).lower(): f.alias or name for name, f in cls.model_fields.items()}
        return {spelling.get(k.lower(), k): v for k, v in value.items() if v is not None}

    @classmethod
    def parse(cls, value: object, what: str, at: str = "") -> Self:
        """Validate a JSON value.

        Args:
            value: the value.
            what: what it is, for the message: `network configuration`.
            at: JSON path of the value within the document, for the paths in the message.

        Raises:
            UnsupportedField: keys that do not exist, and nothing else, are wrong (code 2).
            InvalidNetworkConfig: all faults, by JSON path (code 7).
        """
        try:
            return cls.model_validate(value)
        except ValidationError as e:
            raise _describe(e, what, at) from e


def _describe(error: ValidationError, what: str, at: str) -> HarvesterError:
    # CNI 1.1.0 asks for key and value in a code 2 message; ours has both, for code 7 too.
    faults = error.errors(include_url=False, include_context=False)
    lines = [_describe_fault(fault, at) for fault in faults]
    unsupported = all(fault["type"] == "extra_forbidden" for fault in faults)
    kind = UnsupportedField if unsupported else InvalidNetworkConfig
    count = f"{len(lines)} faults" if len(lines) > 1 else "1 fault"
    return kind(f"invalid {what}: {'; '.join(lines)}", f"{count}; see docs/configuration.md for the keys")


def _describe_fault(fault: Mapping[str, Any], at: str) -> str:
    path = at
    for part in fault["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if fault["type"] == "missing":
        return f"{path}: missing"
    reason = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    reason = f"{reason[0].lower()}{reason[1:]}" if not reason[1:2].isupper() else reason
    if not path:
        return reason  # a fault of several keys together names them itself
    shown = repr(fault["input"])
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
    return f"{path}: {reason}, got {shown}"
