"""IPAM plugins for the rows that need addresses: the reference `host-local`, and our `test-ipam`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.plugin import REFERENCE_PLUGINS

PLUGINS = Path(__file__).parent / "plugins"
PLUGIN_PATH = f"{PLUGINS}:{REFERENCE_PLUGINS}"
"""CNI_PATH with both."""


@dataclass(frozen=True)
class TestIpam:
    """The IPAM plugin `test-ipam`: what it was called with, and what it holds."""

    __test__ = False

    folder: Path

    def config(self, **keys: Any) -> dict[str, Any]:
        """Return an `ipam` object; the program says what the keys mean."""
        return {"type": "test-ipam", "dataDir": str(self.folder / "data"), "log": str(self.folder / "log"), **keys}

    def config_in(self, version: str) -> dict[str, Any]:
        """Return an `ipam` object for 10.1.2.0/24: `host-local`, which in Debian 12 speaks up to 1.0.0, or ours."""
        if version > "1.0.0":
            return self.config()
        return {"type": "host-local", "subnet": "10.1.2.0/24", "dataDir": str(self.folder / "data")}

    @property
    def calls(self) -> list[dict[str, Any]]:
        """All calls so far: `pid`, `environment`, `stdin`."""
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def commands(self) -> list[str]:
        """The verbs of all calls so far."""
        return [call["environment"]["CNI_COMMAND"] for call in self.calls]

    @property
    def reservations(self) -> list[str]:
        """What is reserved, as `<network>/<container id>-<interface>`, or `<network>/<address>` of `host-local`."""
        data = self.folder / "data"
        found = (path for path in data.glob("*/*") if path.name != "lock" and not path.name.startswith("last_"))
        return sorted(str(path.relative_to(data)) for path in found)
