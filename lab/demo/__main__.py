"""The demo as a program: see that all is here, run it in namespaces of its own, take everything down."""

import argparse
import os
import shutil
import signal
import sys
from types import FrameType
from typing import NoReturn

from lab import demo, namespaces
from lab.demo.attaching import Demo
from lab.demo.guest import MTU
from lab.plugin import Bundle
from lab.report import DemoFailedError, Report
from lab.shell import run
from lab.topology import add_bridge, make_cluster_network

_PROGRAMS = {
    "ip": "iproute2", "bridge": "iproute2", "nft": "nftables", "dnsmasq": "dnsmasq-base",
    "busybox": "busybox-static", "ping": "iputils-ping",
}  # fmt: skip
"""What the demo runs, and the Debian package that has it."""


class CannotStartError(Exception):
    """The machine lacks something that the demo needs: what, and what to do."""


class StoppedError(Exception):
    """A signal asked for the end."""


def check_machine(plugin: Bundle) -> None:
    """See that all is here that the demo needs.

    Raises:
        CannotStartError: something is missing.
    """
    if os.geteuid() != 0:
        raise CannotStartError("the demo needs root, to make network namespaces", "sudo ./install.sh demo")
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    if missing:
        raise CannotStartError("programs are missing", f"apt-get install {' '.join(sorted(missing))}")
    if not os.access(plugin.path, os.X_OK):
        raise CannotStartError(f'there is no program "{plugin.path}"', "build/build.sh")


def run_demo(report: Report) -> None:
    """Run the whole demo in namespaces of its own."""
    plugin = Bundle()
    check_machine(plugin)
    namespaces.leave_machine()
    kernel = f"Linux {os.uname().release}{' (User-Mode Linux)' if os.environ.get('UML') else ''}"
    report.say(f"{run(f'{plugin.path} --version').strip()} on {kernel}, in network namespaces of its own")
    report.start_step("A cluster network, with DHCP servers behind its uplink")
    with make_cluster_network("cn1", mtu=MTU) as network:
        add_bridge("plain-br", filtering=False)
        Demo(report, plugin, network).run()
    report.say(f"\nAll {report.checks} checks passed in {report.elapsed:.1f} s; everything is taken down again.")


def stop_on_signals() -> None:
    """Turn the signals that end a program into a StoppedError, so that everything is taken down first."""
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]  # nohup's wish, for one

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)  # a second one must not cut the taking down short
        raise StoppedError(number)

    for number in numbers:
        signal.signal(number, stop)


def main() -> int:
    """Be the program; return the exit status."""
    argparse.ArgumentParser(prog="lab.demo", description=(demo.__doc__ or "").partition("\n")[0]).parse_args()
    report = Report()
    stop_on_signals()
    try:
        run_demo(report)
    except StoppedError as e:
        print(f"Stopped by {signal.Signals(e.args[0]).name}; everything is taken down.", file=sys.stderr)
        return 128 + int(e.args[0])
    except CannotStartError as e:
        print(f"Error: {e.args[0]}\nHint: {e.args[1]}", file=sys.stderr)
        return 1
    except DemoFailedError as e:
        print(f"Error: the demo failed after {report.elapsed:.1f} s: {e}", file=sys.stderr)
        return 1
    except RuntimeError as e:
        print(f"Error: {e}\nHint: lab/kernel_probe.py tells what this kernel lacks", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
