"""Time ADD, DEL and VERSION of the built bundle and of Debian's reference `bridge`, side by side.

    .venv/bin/python -m tests.bench.attach                    on a kernel with VLAN filtering: everything
                                                              on another: untagged ports only
    lab/uml-run -- .venv/bin/python -m tests.bench.attach --runs 15 --ports 0     VLANs, in User-Mode Linux

Times are those of whole processes as a runtime sees them, less the time of /bin/true started the same way in the same
run. Both plugins take turns, so what disturbs the machine disturbs both. The reference knows no `vlanTrunk` in the
release that Debian has, so a trunk is compared with its access port.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import namespaces
from lab.namespaces import Container
from lab.plugin import BUNDLE, REFERENCE_PLUGINS
from lab.shell import run_ip

_REFERENCE = f"{REFERENCE_PLUGINS}/bridge"
_BRIDGE = "bench-br"
_WARM_UP = 3


@dataclass(frozen=True)
class Contender:
    """A plugin and the configuration that it is timed with."""

    program: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One comparison: what it is called, and who takes part."""

    name: str
    ours: Contender
    reference: Contender


def _config(**keys: object) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "bridge": _BRIDGE, **keys}


def list_cases(*, filtering: bool) -> list[Case]:
    """Return the comparisons that this kernel can make."""
    ours, reference = str(BUNDLE), _REFERENCE
    cases = [Case("untagged", Contender(ours, _config()), Contender(reference, _config()))]
    if filtering:
        access = Contender(reference, _config(vlan=100))
        whole = [{"minID": 1, "maxID": 4094}]
        cases.append(Case("VLAN 100", Contender(ours, _config(vlan=100)), access))
        cases.append(Case("trunk of 4094", Contender(ours, _config(vlan=100, vlanTrunk=whole)), access))
    return cases


def time_process(program: str, environment: Mapping[str, str], stdin: bytes = b"") -> float:
    """Run a program to its end and return the seconds that it took; RuntimeError when it fails."""
    started = time.perf_counter()
    done = subprocess.run([program], input=stdin, capture_output=True, env=dict(environment), check=False)
    elapsed_s = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{program}: exit status {done.returncode}: {done.stdout!r} {done.stderr!r}")
    return elapsed_s


def time_pair(contender: Contender, container: Container, container_id: str) -> tuple[float, float]:
    """Time one ADD and its DEL."""
    environment = {
        "CNI_CONTAINERID": container_id,
        "CNI_NETNS": container.path,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": REFERENCE_PLUGINS,
    }
    stdin = json.dumps(contender.config).encode()
    added = time_process(contender.program, environment | {"CNI_COMMAND": "ADD"}, stdin)
    deleted = time_process(contender.program, environment | {"CNI_COMMAND": "DEL"}, stdin)
    return added, deleted


def time_case(case: Case, container: Container, runs: int) -> dict[str, list[float]]:
    """Time both contenders in turns; return seconds by `<who> <verb>`."""
    times: dict[str, list[float]] = {f"{who} {verb}": [] for who in ("ours", "reference") for verb in ("ADD", "DEL")}
    for number in range(runs + _WARM_UP):
        for who, contender in (("ours", case.ours), ("reference", case.reference)):
            added, deleted = time_pair(contender, container, f"{who}-{number}")
            if number >= _WARM_UP:
                times[f"{who} ADD"].append(added)
                times[f"{who} DEL"].append(deleted)
    return times


def add_ports(first: int, last: int) -> None:
    """Put ports on the bridge, both ends of each pair up, as other machines would be."""
    commands: list[str] = []
    for number in range(first, last):
        commands.append(f"link add bp{number} up master {_BRIDGE} type veth peer name bq{number}")
        commands.append(f"link set bq{number} up")
    run_ip(*commands)


def keep_ports_quiet() -> None:
    """Give new interfaces of this namespace no IPv6 address: two thousand solicit their neighbours for minutes."""
    for path in Path("/proc/sys/net/ipv6/conf").glob("*/addr_gen_mode"):
        path.write_text("1")  # IN6_ADDR_GEN_MODE_NONE


def _milliseconds(times: Sequence[float], spawn_s: float) -> float:
    return 1000 * (statistics.median(times) - spawn_s)


def print_case(case: Case, ports: int, times: Mapping[str, list[float]], spawn_s: float) -> None:
    """Print one line a verb: medians net of spawning, and their ratio."""
    for verb in ("ADD", "DEL"):
        ours = _milliseconds(times[f"ours {verb}"], spawn_s)
        reference = _milliseconds(times[f"reference {verb}"], spawn_s)
        print(f"{case.name:14} {ports:5} {verb:7} {ours:9.1f} {reference:10.1f} {ours / reference:6.2f}", flush=True)


def print_version(runs: int, spawn_s: float) -> None:
    """Print the line of VERSION, which touches no network."""
    environment = {"CNI_COMMAND": "VERSION"}
    times: dict[str, list[float]] = {str(BUNDLE): [], _REFERENCE: []}
    for _ in range(runs):
        for program, seconds in times.items():
            seconds.append(time_process(program, environment))
    ours, reference = (_milliseconds(seconds, spawn_s) for seconds in times.values())
    print(f"{'any':14} {'-':>5} {'VERSION':7} {ours:9.1f} {reference:10.1f} {ours / reference:6.2f}", flush=True)


def has_filtering() -> bool:
    """Whether this kernel's bridges filter VLANs."""
    options = subprocess.run(["ip", "-j", "-d", "link", "show", _BRIDGE], capture_output=True, check=True).stdout
    return "vlan_default_pvid" in json.loads(options)[0]["linkinfo"]["info_data"]


def main() -> None:
    """Run the comparisons and print their table."""
    parser = argparse.ArgumentParser(description="time the built bundle beside Debian's reference bridge plugin")
    parser.add_argument("--runs", type=int, default=50, help="measurements of each (default 50)")
    parser.add_argument("--ports", default="0,100,1000", help="other ports on the bridge (default 0,100,1000)")
    options = parser.parse_args()
    namespaces.leave_machine()
    keep_ports_quiet()
    run_ip(f"link add {_BRIDGE} type bridge", f"link set {_BRIDGE} up")
    filtering = has_filtering()
    if filtering:
        run_ip(f"link set {_BRIDGE} type bridge vlan_filtering 1")
    spawn_s = statistics.median(time_process("/bin/true", os.environ) for _ in range(max(options.runs, 20)))
    print(f"kernel {platform.release()}, {os.cpu_count()} cores; medians of {options.runs}, in ms, each less the")
    print(f"{1000 * spawn_s:.1f} ms that /bin/true takes; reference: {_REFERENCE}\n")
    print(f"{'network':14} {'ports':>5} {'verb':7} {'ours':>9} {'reference':>10} {'ratio':>6}")
    print_version(options.runs, spawn_s)
    present = 0
    with namespaces.make_container("bench-pod") as container:
        for ports in sorted(int(text) for text in options.ports.split(",")):
            add_ports(present, ports)
            present = max(present, ports)
            for case in list_cases(filtering=filtering):
                print_case(case, ports, time_case(case, container, options.runs), spawn_s)


if __name__ == "__main__":
    main()
