"""The folder of the leases: a temporary one, and the real code that reads and writes it."""

from pathlib import Path

import pytest

from cni_harvester.ipam import lease as store


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where leases are kept during the test; not made yet, as on a node that has just started."""
    path = tmp_path / "leases"
    monkeypatch.setattr(store, "DIRECTORY", path)
    return path
