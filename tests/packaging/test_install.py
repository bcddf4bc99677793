"""What install.sh and build/build.sh promise to the administrator of a node, tried on throw-away directories.

They run against the bundle in dist/, which install.sh brings up to date first. Nothing outside of the test's own
directory is touched.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CNI_DIRECTORY = Path("/etc/cni")


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, and return what it said and how it ended."""
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, cwd=cwd)


def snapshot(*directories: Path) -> dict[str, tuple[int, int, int, int]]:
    """Return inode, size, mode and time of last change of everything below the directories."""
    paths = [path for directory in directories for path in (directory, *sorted(directory.rglob("*")))]
    found = {str(path): path.lstat() for path in paths if path.exists() or path.is_symlink()}
    return {name: (stat.st_ino, stat.st_size, stat.st_mode, stat.st_mtime_ns) for name, stat in found.items()}


@dataclass(frozen=True)
class Node:
    """The two directories of a node that an installation writes to, and nobody else's."""

    prefix: Path
    bin_directory: Path

    @property
    def entry(self) -> Path:
        """The plugin, as a runtime finds it."""
        return self.bin_directory / "cni-harvester"

    def call(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run install.sh for this node."""
        where: list[str | Path] = ["--prefix", self.prefix, "--bin-dir", self.bin_directory]
        return run(ROOT / "install.sh", command, *where, *options)

    def install(self) -> None:
        """Install, which has to work."""
        done = self.call("install")
        assert done.returncode == 0, done.stdout + done.stderr

    def versions(self) -> list[str]:
        """Return the names under the prefix, hidden ones included."""
        return sorted(path.name for path in self.prefix.iterdir()) if self.prefix.exists() else []


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node on which nothing is installed; its directories do not exist yet."""
    return Node(tmp_path / "opt" / "cni-harvester", tmp_path / "opt" / "cni" / "bin")


@pytest.fixture
def installed(node: Node) -> Node:
    """A node on which the plugin is installed."""
    node.install()
    return node


def ask_version(*command: str | Path, cwd: Path | None = None) -> dict[str, object]:
    """Run the CNI verb VERSION with an otherwise empty environment, and return the answer; nothing else may be said."""
    done = run("env", "-i", "CNI_COMMAND=VERSION", *command, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_install_on_an_empty_node_leaves_one_version_and_one_link(node: Node) -> None:
    """An installation is a directory named after the version and a link to the program in it; nothing else stays."""
    done = node.call("install")
    assert done.returncode == 0, done.stderr
    version = run(node.entry, "--version").stdout.split()[1]
    assert node.versions() == [version]
    assert node.entry.readlink() == node.prefix / version / "cni-harvester"
    assert [path.name for path in node.bin_directory.iterdir()] == ["cni-harvester"]


def test_install_says_each_path_and_what_to_do_next(node: Node) -> None:
    """The person reads which paths were made, and how a network is declared."""
    said = node.call("install").stdout
    assert str(node.prefix) in said
    assert str(node.entry) in said
    assert "NetworkAttachmentDefinition" in said


def test_install_shows_a_network_configuration_that_is_json(node: Node) -> None:
    """The example that install.sh prints can be applied as it stands."""
    said = node.call("install").stdout
    document = json.loads(said.split("<<'EOF'")[1].split("EOF")[0])
    assert json.loads(document["spec"]["config"])["type"] == "cni-harvester"


def test_install_twice_changes_nothing(installed: Node) -> None:
    """A second installation touches no file, and says so."""
    before = snapshot(installed.prefix, installed.bin_directory)
    done = installed.call("install")
    assert done.returncode == 0
    assert "already installed, nothing to do" in done.stdout
    assert snapshot(installed.prefix, installed.bin_directory) == before


def test_install_over_a_damaged_version_repairs_it(installed: Node) -> None:
    """An installation whose files were changed is replaced by a good one."""
    (library,) = installed.prefix.glob("*/_internal/cni_harvester/errors.pyc")
    good = library.read_bytes()
    library.write_bytes(b"damaged")
    installed.install()
    assert library.read_bytes() == good


def test_install_of_another_version_keeps_the_old_one_and_switches_the_link(installed: Node) -> None:
    """Calls that still run find their files, and the way back is a link."""
    (version,) = installed.versions()
    (installed.prefix / version).rename(installed.prefix / "0.0.1")
    installed.entry.unlink()
    installed.entry.symlink_to(installed.prefix / "0.0.1" / "cni-harvester")
    installed.install()
    assert installed.versions() == ["0.0.1", version]
    assert installed.entry.readlink() == installed.prefix / version / "cni-harvester"


def test_install_dry_run_changes_nothing(node: Node, tmp_path: Path) -> None:
    """A dry run names the paths and makes none of them."""
    done = node.call("install", "--dry-run")
    assert done.returncode == 0
    assert f"{node.entry}" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_install_takes_relative_directories_from_the_caller(tmp_path: Path) -> None:
    """A relative directory means the same as for every other program."""
    done = run(ROOT / "install.sh", "install", "--prefix=here", "--bin-dir=there", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "there" / "cni-harvester").resolve().is_relative_to(tmp_path / "here")


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_install_over_a_foreign_entry_fails_and_leaves_it(node: Node, tmp_path: Path, kind: str) -> None:
    """Another program of our name is not replaced; the error names it, and nothing was installed."""
    other = tmp_path / "other"
    other.write_text("somebody else's\n")
    node.bin_directory.mkdir(parents=True)
    if kind == "file":
        other.rename(node.entry)
    else:
        node.entry.symlink_to(other if kind == "link" else tmp_path / "gone" / "cni-harvester")
    before = snapshot(node.bin_directory)
    done = node.call("install")
    assert done.returncode == 1
    assert f'cannot install "{node.entry}"' in done.stderr
    assert snapshot(node.bin_directory) == before
    assert node.versions() == []


def test_install_drops_no_network_configuration(node: Node) -> None:
    """A secondary plugin must not become the node's default network: /etc/cni stays as it is."""
    before = snapshot(CNI_DIRECTORY)
    node.install()
    assert snapshot(CNI_DIRECTORY) == before
    assert not list(node.prefix.rglob("*.conflist"))


def test_uninstall_removes_the_link_and_every_version(installed: Node) -> None:
    """Nothing of ours stays, not even the directory that we made."""
    run("cp", "-r", *installed.prefix.iterdir(), installed.prefix / "0.0.1")
    done = installed.call("uninstall")
    assert done.returncode == 0, done.stderr
    assert not installed.prefix.exists()
    assert list(installed.bin_directory.iterdir()) == []
    assert "keep their networks" in done.stdout


def test_uninstall_twice_is_fine(installed: Node) -> None:
    """Removing what is gone is no error."""
    installed.call("uninstall")
    done = installed.call("uninstall")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to do" in done.stdout


def test_uninstall_leaves_foreign_files_alone(installed: Node) -> None:
    """Only what an installation made is removed; a foreign program of our name is pointed out."""
    foreign = installed.prefix / "notes.txt"
    foreign.write_text("keep me\n")
    neighbour = installed.bin_directory / "bridge"
    neighbour.write_text("#!/bin/sh\n")
    installed.entry.unlink()
    installed.entry.write_text("somebody else's\n")
    done = installed.call("uninstall")
    assert done.returncode == 0
    assert f'left "{installed.entry}" alone' in done.stderr
    assert installed.versions() == ["notes.txt"]
    assert sorted(installed.bin_directory.iterdir()) == [neighbour, installed.entry]


def test_uninstall_dry_run_changes_nothing(installed: Node) -> None:
    """A dry run of the removal removes nothing."""
    before = snapshot(installed.prefix, installed.bin_directory)
    done = installed.call("uninstall", "--dry-run")
    assert done.returncode == 0
    assert str(installed.entry) in done.stdout
    assert snapshot(installed.prefix, installed.bin_directory) == before


def test_uninstall_after_an_installation_that_was_cut_short_removes_what_it_left(installed: Node) -> None:
    """A copy that was never finished goes too."""
    (installed.prefix / ".0.1.0.new" / "_internal").mkdir(parents=True)
    installed.call("uninstall")
    assert not installed.prefix.exists()


@pytest.mark.parametrize("arguments", [[], ["instal"], ["install", "--perfix=/opt"], ["install", "--prefix"]])
def test_install_script_with_wrong_arguments_shows_its_usage(arguments: list[str]) -> None:
    """A mistake on the command line ends with status 2 and the usage text on standard error."""
    done = run(ROOT / "install.sh", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage:" in done.stderr


def test_install_script_help_is_data() -> None:
    """Help that was asked for goes to standard output."""
    done = run(ROOT / "install.sh", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage:" in done.stdout


def test_program_with_an_empty_environment_answers(installed: Node) -> None:
    """No HOME, no PATH, no locale: a runtime owes the plugin nothing but CNI's own variables."""
    assert "supportedVersions" in ask_version(installed.entry)


def test_program_through_a_chain_of_links_answers(installed: Node, tmp_path: Path) -> None:
    """However many links lead to it, the program finds its libraries."""
    link = tmp_path / "link"
    link.symlink_to(os.path.relpath(installed.entry, tmp_path))
    assert "supportedVersions" in ask_version(link)


def test_program_in_an_unwritable_directory_answers(installed: Node) -> None:
    """The current directory of a runtime is not ours to write to; /proc is one that nobody can write to."""
    assert "supportedVersions" in ask_version(installed.entry, cwd=Path("/proc"))


def test_program_in_a_removed_directory_answers(installed: Node, tmp_path: Path) -> None:
    """The current directory may be gone."""
    gone = shlex.quote(str(tmp_path / "gone"))
    script = f'mkdir {gone} && cd {gone} && rmdir {gone} && exec "$0"'
    assert "supportedVersions" in ask_version("/bin/sh", "-c", script, installed.entry)


def test_program_with_tmp_mounted_noexec_answers() -> None:
    """Nothing is unpacked to /tmp, or anywhere, before the program starts."""
    script = """
        mount -t tmpfs -o mode=755 test /run
        ./install.sh install --prefix /run/opt --bin-dir /run/bin >/dev/null
        mount -t tmpfs -o noexec,nosuid,nodev,ro test /tmp
        exec env -i CNI_COMMAND=VERSION /run/bin/cni-harvester
    """
    done = run("unshare", "--mount", "sh", "-e", "-c", script, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "supportedVersions" in json.loads(done.stdout)


def test_program_of_dist_is_reached_by_a_relative_link() -> None:
    """dist/ can be moved as a whole: the entry in dist/bin points to its neighbour."""
    assert (ROOT / "dist" / "bin" / "cni-harvester").readlink() == Path("../cni-harvester/cni-harvester")


def test_program_carries_the_licences_of_what_is_in_it() -> None:
    """Whoever passes the bundle on passes on the terms it comes with."""
    licences = {path.name for path in (ROOT / "dist" / "cni-harvester" / "_internal" / "licences").iterdir()}
    assert {"cni-harvester", "pydantic", "pyroute2", "python"} <= licences


def test_program_has_no_test_or_build_tool_in_it() -> None:
    """The virtual environment's other inhabitants stay out of the bundle."""
    modules = {path.name.removesuffix(".pyc") for path in (ROOT / "dist" / "cni-harvester" / "_internal").iterdir()}
    assert not modules & {"PyInstaller", "_pytest", "hypothesis", "mypy", "pip", "pytest", "setuptools"}


def test_build_leaves_nothing_in_the_source_directories() -> None:
    """build/ holds sources: PyInstaller's and setuptools' work folders, whose default it is, are elsewhere."""
    assert not [
        path
        for path in ROOT.glob("build/*")
        if path.name.startswith(("bdist", "bundle", "cni", "lib")) and path.is_dir()
    ]
    assert not [*ROOT.glob("*.egg-info"), *ROOT.glob("*.spec")]


def test_build_without_changes_does_nothing() -> None:
    """Building again is a matter of reading the sources, not of building."""
    run(ROOT / "build" / "build.sh")
    before = snapshot(ROOT / "dist")
    done = run(ROOT / "build" / "build.sh")
    assert done.stdout.strip() == "dist/cni-harvester is up to date"
    assert snapshot(ROOT / "dist") == before
