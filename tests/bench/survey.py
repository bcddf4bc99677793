"""Time a survey of all 4094 VLANs with 20 live ones, and count what it sends.

    .venv/bin/python -m tests.bench.survey                        on any kernel
    lab/uml-run -- .venv/bin/python -m tests.bench.survey         in User-Mode Linux

The promise: no longer than the timeout of DHCP and 3 s, and every live VLAN found. Times are those of the whole command
as a person sees them, and of the survey in it. The switch port is the lab's: half of the live VLANs have a DHCP server,
a quarter only traffic, a quarter only a spanning tree.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from cni_harvester.model.vlan import format_vids
from lab import namespaces
from lab.shell import run_ip
from lab.switch_port import Port, PortVlan, serve_port

_UPLINK, _FAR = "eth1", "far"
_ALLOWANCE_S = 3


@dataclass(frozen=True)
class Outcome:
    """One survey: what it printed, and what the whole process took."""

    document: dict[str, Any]
    wall_s: float
    processor_s: float


def plan_vlans(count: int) -> list[PortVlan]:
    """Spread live VLANs over all VIDs, of each kind its share."""
    vids = [1 + 4093 * i // (count - 1) for i in range(count)]
    vlans = []
    for i, vid in enumerate(vids):
        if i % 4 == 1:
            vlans.append(PortVlan(vid, frames_a_second=2, talkers=2))
        elif i % 4 == 3:
            vlans.append(PortVlan(vid, has_tree=True))
        else:
            vlans.append(PortVlan(vid, f"10.{vid >> 8}.{vid & 0xFF}.1/24"))
    return vlans


def time_survey(timeout_s: float, rate: int) -> Outcome:
    """Run the command to its end; RuntimeError when it fails."""
    words = ["--interface", _UPLINK, "--timeout", str(timeout_s), "--rate", str(rate), "-o", "json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "cni_harvester", "survey", *words]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - began_s
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Outcome(json.loads(done.stdout), wall_s, processor_s)


def main() -> None:
    """Be the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--live", type=int, default=20)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--noise", type=int, default=0, help="frames a second in one more VLAN")
    arguments = parser.parse_args()
    namespaces.leave_machine()
    vlans = plan_vlans(arguments.live)
    if arguments.noise:
        vlans.append(PortVlan(77, frames_a_second=arguments.noise, talkers=20))
    print(f"Linux {platform.release()}, CPython {platform.python_version()}, {os.cpu_count()} processors")
    with namespaces.make_container("switch") as switch:
        run_ip(f"link add {_UPLINK} type veth peer name {_FAR} netns {switch.name}", f"link set {_UPLINK} up")
        run_ip(f"link set {_FAR} up", namespace=switch.name)
        with serve_port(switch, _FAR, Port(tuple(vlans), announces=True)):
            time.sleep(2)  # until the kernel has seen the carrier
            for _ in range(arguments.runs):
                report(time_survey(arguments.timeout, arguments.rate), vlans, arguments.timeout)


def report(outcome: Outcome, vlans: list[PortVlan], timeout_s: float) -> None:
    """Print one run."""
    document = outcome.document
    wanted = format_vids(vlan.vid for vlan in vlans)
    verdict = "all found, none invented" if document["live"] == wanted else f"found {document['live']} of {wanted}"
    kept = "kept" if outcome.wall_s <= timeout_s + _ALLOWANCE_S else "BROKEN"
    print(
        f"{len(vlans)} live VLANs of 4094: {verdict}; {document['framesSent']} frames sent; survey "
        f"{document['durationSeconds']:.2f} s, command {outcome.wall_s:.2f} s (promise {timeout_s + _ALLOWANCE_S:g} s "
        f"{kept}), processor {outcome.processor_s:.2f} s"
    )


if __name__ == "__main__":
    main()
