"""Time a discovery beside nmap's broadcast-dhcp-discover and busybox's udhcpc, in the same namespace, in turns.

    .venv/bin/python -m tests.bench.discover

The server answers at once. All are timed as whole processes, from call to end. Ours and udhcpc end with the first
answer: ours with an offer, udhcpc with a lease. nmap cannot: it listens for a time, 10 s by default and 1 s here, and
needs an address on the interface; so there is ours that listens for 1 s, too. "With checks" asks also whether the
gateway answers ARP, has one MAC, answers ICMP, and whether the path carries the MTU; 1.3 s of that is waiting for a
second gateway, and for somebody who has the offered address already.
"""

import argparse
import contextlib
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

from lab import namespaces
from lab.dhcp import serve_dhcp
from lab.namespaces import Container, make_container
from lab.plugin import BUNDLE
from lab.shell import run_ip
from lab.topology import add_bridge

_BRIDGE, _SERVER = "cn1-br", "192.0.2.1"
_WARM_UP = 2


@contextlib.contextmanager
def make_network() -> Iterator[Container]:
    """Make a bridge with a DHCP server and a machine on it; yield the machine."""
    add_bridge(_BRIDGE, filtering=False)
    with make_container("server") as server, make_container("machine") as machine:
        for container, port in ((server, "port0"), (machine, "port1")):
            run_ip(f"link add {port} type veth peer name eth0 netns {container.name}")
            run_ip(f"link set {port} master {_BRIDGE} up")
            run_ip("link set eth0 up", namespace=container.name)
        run_ip(f"address add {_SERVER}/24 dev eth0", namespace=server.name)
        run_ip("address add 192.0.2.77/24 dev eth0", namespace=machine.name)  # nmap asks from no other interface
        with serve_dhcp(server, "eth0", f"{_SERVER}/24"):
            yield machine


def list_contenders(machine: Container) -> dict[str, list[str]]:
    """Return the command of each contender."""
    inside = ["ip", "netns", "exec", machine.name]
    discover = [str(BUNDLE), "discover", "--bridge", _BRIDGE, "--untagged", "-o", "json"]
    nmap = ["nmap", "--script", "broadcast-dhcp-discover", "--script-args", "broadcast-dhcp-discover.timeout=1"]
    return {
        "ours, first answer": [*discover, "--first", "--no-checks"],
        "udhcpc": [*inside, "busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "1", "-s", "/bin/true"],
        "ours, 1 s of answers": [*discover, "--timeout", "1", "--no-checks"],
        "nmap, 1 s of answers": [*inside, *nmap, "-e", "eth0"],
        "ours, with checks": [*discover, "--first"],
        "/bin/true": [*inside, "/bin/true"],
    }


def time_answer(command: Sequence[str]) -> float:
    """Run a contender to its end; return the seconds. RuntimeError when it did not find the server."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    elapsed_s = time.perf_counter() - started
    if done.returncode or (_SERVER not in done.stdout + done.stderr and command[-1] != "/bin/true"):
        raise RuntimeError(f"{command}: exit status {done.returncode}: {done.stdout} {done.stderr}")
    return elapsed_s


def time_all(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, float]:
    """Time the contenders in turns; return each one's median in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + _WARM_UP):
        for name, command in commands.items():
            elapsed_s = time_answer(command)
            if number >= _WARM_UP:
                times[name].append(elapsed_s)
    return {name: statistics.median(values) * 1000 for name, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    for program in ("nmap", "busybox", "dnsmasq"):
        if not shutil.which(program):
            raise SystemExit(f"Error: there is no {program}\nHint: ./install.sh test installs all that the tests need")
    namespaces.leave_machine()
    with make_network() as machine:
        medians = time_all(list_contenders(machine), runs)
    print(f"Linux {platform.release()}, {os.cpu_count()} cores, medians of {runs}, from call to answer")
    for name, median in medians.items():
        print(f"{name:24} {median:8.1f} ms")
    for ours, other in (("ours, first answer", "udhcpc"), ("ours, 1 s of answers", "nmap, 1 s of answers")):
        print(f"{ours} : {other} = {medians[ours] / medians[other]:.2f}")


if __name__ == "__main__":
    main()
