"""`cni-harvester leases`: keep the leases of this node, or show them."""

import json
import signal
import sys
import threading
import time

import click

from cni_harvester.cli.main import FAILED, report_error
from cni_harvester.cli.options import format_option
from cni_harvester.cli.output import make_console, make_table, print_document
from cni_harvester.errors import DecodeFailed
from cni_harvester.ipam import lease as store
from cni_harvester.ipam.keeper import LeaseEvent, LeaseKeeper
from cni_harvester.ipam.lease import Lease, now_s
from cni_harvester.ipam.schedule import find_stage

_LOOK_S = 1.0
"""How often to look for leases that are new: the shortest that servers give last some seconds."""


@click.command(short_help="Renew the DHCP leases of attachments.")
@click.option("--list", "show", is_flag=True, help="Show the leases, and do nothing.")
@format_option
def leases(*, show: bool, output: str) -> int:
    """Renew the DHCP leases of this node's attachments until stopped, and print what happens, a JSON object a line.

    Leases belong to attachments whose IPAM plugin is cni-harvester in mode dhcp. Without this program running they are
    not renewed, and expire.
    """
    if show:
        return _show(output)
    keeper = LeaseKeeper(_print_event)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    while not stop.is_set():
        stop.wait(min(keeper.run_due(), _LOOK_S))
    return 0


def _print_event(event: LeaseEvent) -> None:
    document = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": event.what,
        "network": event.attachment.network,
        "containerID": event.attachment.container_id,
        "ifname": event.attachment.ifname,
        "address": event.address,
        "message": event.text,
    }
    sys.stdout.write(json.dumps(document) + "\n")  # one write: events may come from several threads
    sys.stdout.flush()


def _show(output: str) -> int:
    """Show all leases that can be read; say which cannot, and fail then."""
    damaged = list[DecodeFailed]()
    found = store.list_leases(lambda _, e: damaged.append(e))
    if output != "table":
        print_document([_to_json(lease) for lease in found], output)
    elif found:
        _show_table(found)
    else:
        click.echo("No leases.")
    for error in damaged:
        report_error(error)
    return FAILED if damaged else 0


def _show_table(found: list[Lease]) -> None:
    table = make_table("network", "container", "interface", "address", "gateway", "server", "state", "expires in")
    for lease in found:
        left_s = lease.expires_s - now_s()
        table.add_row(
            lease.attachment.network,
            lease.attachment.container_id[:12],
            lease.attachment.ifname,
            str(lease.address),
            str(lease.gateway or "none"),
            str(lease.server),
            find_stage(lease, now_s()).value,
            "never" if left_s == float("inf") else f"{max(0.0, left_s):.0f} s",
        )
    make_console().print(table)


def _to_json(lease: Lease) -> dict[str, object]:
    left_s = lease.expires_s - now_s()
    return {
        "network": lease.attachment.network,
        "containerID": lease.attachment.container_id,
        "ifname": lease.attachment.ifname,
        "netns": lease.netns,
        "mac": lease.mac,
        "address": str(lease.address),
        "gateway": str(lease.gateway or ""),
        "server": str(lease.server),
        "state": find_stage(lease, now_s()).value,
        "leaseSeconds": lease.lease_s,
        "expiresInSeconds": None if left_s == float("inf") else round(max(0.0, left_s)),
    }
