"""The route of a NetworkAttachmentDefinition from conf/, filled in by the built program from a real DHCP server."""

import contextlib
import difflib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import node
from lab.dhcp import serve_dhcp
from lab.plugin import ROOT, Bundle
from lab.shell import run_ip
from lab.topology import ClusterNetwork

CONF = ROOT / "conf"
ROUTE, DISCOVERY = "network.harvesterhci.io/route", "cni-harvester.io/discovery"
FOUND = {"mode": "auto", "cidr": "192.0.2.0/24", "gateway": "192.0.2.1", "connectivity": "true"}


@pytest.fixture
def served(cluster: ClusterNetwork) -> Iterator[ClusterNetwork]:
    """The cluster network with a DHCP server, and gateway, in VLAN 100 behind the switch."""
    run_ip(
        f"link add link {cluster.trunk} name vlan100 type vlan id 100",
        "address add 192.0.2.1/24 dev vlan100",
        "link set vlan100 up",
        namespace=cluster.switch.name,
    )
    with serve_dhcp(cluster.switch, "vlan100", "192.0.2.1/24"):
        yield cluster


def discover(bundle: Bundle, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the built program on a file."""
    command = [str(bundle.path), "discover", "--nad", str(path), "--first", "--timeout", "2", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read_annotations(path: Path) -> dict[str, Any]:
    """Return the annotations of a file's only object, as Kubernetes would see them."""
    annotations: dict[str, Any] = yaml.safe_load(path.read_text())["metadata"].get("annotations", {})
    return annotations


def list_changes(before: str, after: str) -> list[str]:
    """Return the lines that were taken out (-) and put in (+)."""
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line for line in lines if line[0] in "+-"]


def test_nad_of_conf_is_filled_in_and_nothing_else_of_it_changes(
    served: ClusterNetwork, bundle: Bundle, tmp_path: Path
) -> None:
    """`--write` adds the annotations to nad-vlan.yaml, and not a byte elsewhere; the node is as it was."""
    path = Path(shutil.copy(CONF / "nad-vlan.yaml", tmp_path))
    before, snapshot = path.read_text(), node.take_snapshot()
    done = discover(bundle, path, "--write")
    assert done.returncode == 0, done.stdout + done.stderr
    annotations = read_annotations(path)
    assert json.loads(annotations[ROUTE]) == FOUND
    details = json.loads(annotations[DISCOVERY])
    assert (details["vlan"], details["reason"], details["offers"][0]["server"]) == (100, "found", "192.0.2.1")
    changes = list_changes(before, path.read_text())
    assert all(line.startswith("+ ") for line in changes)
    assert [line.split()[1].rstrip(":") for line in changes if "annotations" not in line] == [ROUTE, DISCOVERY]
    assert node.list_differences(snapshot, node.take_snapshot()) == []


def test_nad_whose_vlan_has_no_server_says_so(served: ClusterNetwork, bundle: Bundle, tmp_path: Path) -> None:
    """Where nobody answers, the exit status is 1, the route says "DHCP failed", and our annotation says why."""
    path = Path(shutil.copy(CONF / "nad-mtu.yaml", tmp_path))
    done = discover(bundle, path, "--write")
    assert done.returncode == 1, done.stdout + done.stderr
    annotations = read_annotations(path)
    assert json.loads(annotations[ROUTE]) == {"mode": "auto", "connectivity": "DHCP failed"}
    assert json.loads(annotations[DISCOVERY])["reason"] in {"silence", "no-server"}


def test_manual_route_is_checked_and_kept(served: ClusterNetwork, bundle: Bundle, tmp_path: Path) -> None:
    """In mode manual only the gateway is looked for, and only the connectivity is written; out of reach is status 1."""
    route = {"mode": "manual", "cidr": "192.0.2.0/24", "gateway": "192.0.2.9"}
    path = tmp_path / "nad.json"
    document = yaml.safe_load((CONF / "nad-vlan.yaml").read_text())
    document["metadata"]["annotations"] = {ROUTE: json.dumps(route)}
    path.write_text(json.dumps(document, indent=2))
    done = discover(bundle, path, "--write")
    assert done.returncode == 1, done.stdout + done.stderr
    assert json.loads(read_annotations(path)[ROUTE]) == route | {"connectivity": "false"}
    assert "offers" not in json.loads(read_annotations(path)[DISCOVERY])


def test_route_that_became_manual_meanwhile_is_not_written_over(
    served: ClusterNetwork, bundle: Bundle, tmp_path: Path
) -> None:
    """A person who sets a manual route while the probe runs has the last word."""
    path = Path(shutil.copy(CONF / "nad-vlan.yaml", tmp_path))
    command = [str(bundle.path), "discover", "--nad", str(path), "--write", "--timeout", "3", "--no-checks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2.5)  # it listens for 3 s after it has started
        manual = json.dumps({"mode": "manual", "cidr": "192.0.2.0/24", "gateway": "192.0.2.7"})
        text = path.read_text().replace("metadata:\n", f"metadata:\n  annotations:\n    {ROUTE}: '{manual}'\n", 1)
        path.write_text(text)
        _, stderr = process.communicate()
    assert "changed meanwhile" in stderr
    assert path.read_text() == text


def test_trunk_has_no_single_route(served: ClusterNetwork, bundle: Bundle) -> None:
    """A trunk is refused with code 7 and advice, and its file is left alone."""
    before = (CONF / "nad-trunk.yaml").read_text()
    done = discover(bundle, CONF / "nad-trunk.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('Error: cannot discover "default/trunk": a trunk has many routes (code 7)\nHint: ')
    assert (CONF / "nad-trunk.yaml").read_text() == before
