"""The demo as a newcomer runs it: with the built bundle, in User-Mode Linux where this kernel cannot filter VLANs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.plugin import ROOT, Bundle

DEMO = [sys.executable, "-m", "lab.demo"]
UML_TIMEOUT_S = 240

pytestmark = pytest.mark.timeout(UML_TIMEOUT_S + 60)

LYING_PLUGIN = """\
#!/bin/sh
[ "$CNI_COMMAND" ] || exec {bundle} "$@"
/usr/bin/sed 's/"vlan": 200/"vlan": 100/' | {bundle}
"""
STOPPED_DEMO = """\
{demo} & demo=$!
until pgrep --session 0 --exact dnsmasq >started || ! kill -0 $demo; do sleep 0.1; done
kill -TERM $demo
wait $demo
echo "status $?"
pgrep --session 0 --exact dnsmasq || echo "no dnsmasq"
"""


@pytest.fixture(scope="module")
def launcher() -> list[str]:
    """The words before a command that give it a kernel with VLAN filtering; none where this one has it."""
    probe = subprocess.run(["/usr/bin/python3", ROOT / "lab/kernel_probe.py"], check=False, capture_output=True)
    return [] if probe.returncode == 0 else [str(ROOT / "lab/uml-run"), "--timeout", str(UML_TIMEOUT_S), "--"]


def run_in(folder: Path, command: list[str], bundle: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, which is visible inside User-Mode Linux too, with a plugin of one's choice."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CNI_HARVESTER_BIN": str(bundle)}
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def test_demo_shows_everything_and_succeeds(launcher: list[str], bundle: Bundle, tmp_path: Path) -> None:
    """Every claim holds, the steps are all there, and the lines fit a terminal."""
    done = run_in(tmp_path, [*launcher, *DEMO], bundle.path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "\033" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert re.findall(r"^\[ *[0-9.]+ s\]  (\d)\. ", done.stdout, re.MULTILINE) == list("123456789")
    for line in (
        r"✓ untagged +203\.0\.113\.1 +203\.0\.113\.0/24 +203\.0\.113\.1",
        r"✓ 100 +192\.0\.2\.1 +192\.0\.2\.0/24 +192\.0\.2\.1",
        r"✓ these 3 and no other of 4094, after \d+ frames and [0-9.]+ s",
        r"✓ VLAN 200: 198\.51\.100\.0/24 via 198\.51\.100\.1",
        r"✓ VLAN 100: the gateway answers ARP and ICMP, and the path carries 9000 bytes",
        r"✓ VLAN 300, where nobody is: no route, and the reason",
        r"✓ vm-100 +eth0 +100 PVID Egress Untagged +9000 +192\.0\.2\.\d+/24 +192\.0\.2\.1",
        r"✓ vm-200 +eth0 +200 PVID Egress Untagged +9000 +198\.51\.100\.\d+/24 +198\.51\.100\.1",
        r"✓ vm-trunk +eth0\.100 +1 PVID Egress Untagged, 100, 200 +9000 +192\.0\.2\.\d+/24 +192\.0\.2\.1",
        r"✓ vm-plain +eth0 +1 PVID Egress Untagged +9000 +203\.0\.113\.\d+/24 +203\.0\.113\.1",
        r"✓ vm-100 pings 192\.0\.2\.1 with 8972 bytes, unfragmented, and is answered",
        r"✓ vm-100 asks by ARP for 198\.51\.100\.1, the server of VLAN 200: no answer",
        r"✓ CHECK of vm-100 fails, and names what it expected and what it found: code 110",
        r"✓ nothing is left: .*",
    ):
        assert re.search(rf"^  {line}$", done.stdout, re.MULTILINE), f"{line}\n{done.stdout}"
    checks = len(re.findall(r"^  ✓ ", done.stdout, re.MULTILINE))
    assert f"\nAll {checks} checks passed in " in done.stdout


def test_demo_of_a_plugin_that_joins_the_wrong_vlan_fails(launcher: list[str], bundle: Bundle, tmp_path: Path) -> None:
    """The demo says which claim is not true, with both values, and ends with status 1."""
    plugin = tmp_path / "cni-harvester"
    plugin.write_text(LYING_PLUGIN.format(bundle=bundle.path))
    plugin.chmod(0o755)
    done = run_in(tmp_path, [*launcher, *DEMO], plugin)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^  ✗ vm-200 +eth0 ", done.stdout, re.MULTILINE), done.stdout
    assert done.stdout.count("✗") == 1
    assert re.search(r"^Error: the demo failed .*: expected .*'200 PVID .*, found .*'100 PVID ", done.stderr)


def test_stopped_demo_takes_its_servers_down(launcher: list[str], bundle: Bundle, tmp_path: Path) -> None:
    """SIGTERM ends the demo with 128+15, says so, and no DHCP server is left."""
    script = STOPPED_DEMO.format(demo=" ".join(DEMO))
    done = run_in(tmp_path, [*launcher, "sh", "-c", script], bundle.path)
    assert done.stdout.splitlines()[-2:] == ["status 143", "no dnsmasq"], done.stdout + done.stderr
    assert done.stderr == "Stopped by SIGTERM; everything is taken down.\n"
