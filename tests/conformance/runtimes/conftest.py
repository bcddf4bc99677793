"""Fixtures: a throw-away machine, the plugin under test in a plugin directory, and the tools built here."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .machine import Machine, PluginDirectory, create_bridge, write_root_file_system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.plugin import Bundle

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
BUILT = REPOSITORY / ".work" / "runtimes"


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of the tests that need a kernel with bridge VLAN filtering."""
    config.addinivalue_line("markers", "vlan: needs a kernel with bridge VLAN filtering (run inside the lab)")


def _build(script: str) -> Path:
    """Run one of the build scripts beside this file (they do nothing when their result is there)."""
    done = subprocess.run([HERE / script, BUILT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{script}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return BUILT


@pytest.fixture(scope="session")
def cnitool() -> Path:
    """The reference library's command-line client."""
    return _build("build-cnitool.sh") / "cnitool"


@pytest.fixture(scope="session")
def guest() -> Path:
    """A directory with the kernel and the initramfs of a virtual machine."""
    return _build("build-guest.sh")


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A node with no links but `lo`."""
    with Machine() as node:
        yield node


@pytest.fixture
def plugins(tmp_path: Path, bundle: Bundle) -> PluginDirectory:
    """A plugin directory with the built bundle behind a recorder."""
    return PluginDirectory(tmp_path, bundle.path.absolute())


@pytest.fixture
def bridge(machine: Machine) -> str:
    """An untagged bridge with an address to ping."""
    create_bridge(machine)
    machine.ip("address add 10.77.0.1/24 dev cn1-br")
    return "cn1-br"


@pytest.fixture
def root_file_system(tmp_path: Path) -> Path:
    """A directory a container can run in."""
    return write_root_file_system(tmp_path / "rootfs")
