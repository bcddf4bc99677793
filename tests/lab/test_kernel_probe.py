"""lab/kernel_probe.py on this machine's kernel, whatever it can do, and on one that can do everything."""

from __future__ import annotations

import subprocess
from pathlib import Path

LAB = Path(__file__).resolve().parents[2] / "lab"
PROBE = ["/usr/bin/python3", str(LAB / "kernel_probe.py")]
BY_HAND = {
    "vlan_filtering": "ip link add probe0 type bridge vlan_filtering 1",
    "dummy": "ip link add probe0 type dummy",
    "veth": "ip link add probe0 type veth peer name probe1",
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(words, check=False, capture_output=True, text=True)


def test_probe_native_agrees_with_commands_by_hand() -> None:
    """On this machine the probe names the features whose commands fail by hand, and is 0 only with none."""
    probe = run(*PROBE)
    missing = [] if probe.stdout == "native\n" else probe.stdout.splitlines()
    failing = {name for name, line in BY_HAND.items() if run("unshare", "--net", *line.split()).returncode}
    assert failing == BY_HAND.keys() & missing
    assert (probe.returncode, probe.stderr) == (1 if missing else 0, "")


def test_probe_native_leaves_nothing_behind() -> None:
    """The probe leaves no link, no named network namespace and no mount on the machine."""
    commands = [["ip", "-brief", "link"], ["ip", "netns"], ["findmnt", "--raw"]]
    before = [run(*command).stdout for command in commands]
    run(*PROBE)
    assert [run(*command).stdout for command in commands] == before


def test_probe_in_uml_finds_everything() -> None:
    """Inside UML the kernel tests have all they need."""
    probe = run(str(LAB / "uml-run"), "--", *PROBE)
    assert (probe.returncode, probe.stdout) == (0, "native\n")
