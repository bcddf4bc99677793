"""`cni-harvester watch`: keep probing networks, and print what changes."""

import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from cni_harvester.cli.discover import format_connectivity
from cni_harvester.cli.options import timeout_option
from cni_harvester.cli.output import make_console, make_table
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.nad.file import load_file
from cni_harvester.discovery.nad.fill import make_target
from cni_harvester.discovery.watch import Change, Target, Watch
from cni_harvester.kernel.link_events import LinkEvents

_NETWORK = re.compile(r"(?P<bridge>[^/:\s]+)/(?P<vlan>untagged|\d+)")
_LOOK_S = 1.0
"""How often to look whether a signal asked for the end."""


@click.command(short_help="Keep probing networks, and print what changes.")
@click.option("--network", "networks", multiple=True, metavar="BRIDGE/VID", help="cn1-br/100, or cn1-br/untagged.")
@click.option(
    "--nad",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with NetworkAttachmentDefinitions.",
)
@timeout_option
@click.option("--live/--lines", default=None, help="A live table (default on a terminal), or a JSON object a line.")
def watch(*, networks: tuple[str, ...], files: tuple[Path, ...], timeout: float, live: bool | None) -> int:
    """Keep probing networks until stopped, and print what changes.

    A discovery that fails is tried again after 5 s, then after longer and longer pauses up to 15 min. A route that was
    found is checked every minute, and at once when the bridge or its uplink changes.
    """
    targets = [parse_network(text) for text in networks]
    targets += [make_target(nad) for path in files for nad in load_file(path)]
    if not targets:
        raise click.UsageError("name the networks: --network or --nad, as often as needed")
    if live is None:
        live = sys.stdout.isatty()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    wishes = Wishes(timeout)
    if not live:
        _run(Watch(targets, _print_change, wishes=wishes), stop, lambda _: None)
        return 0
    with Live(console=make_console(), auto_refresh=False) as display:
        watched = Watch(targets, lambda _: None, wishes=wishes)
        _run(watched, stop, lambda w: display.update(_make_table(w), refresh=True))
    return 0


def parse_network(text: str) -> Target:
    """Read `BRIDGE/VID` or `BRIDGE/untagged`."""
    match = _NETWORK.fullmatch(text)
    vlan = int(match["vlan"]) if match and match["vlan"] != "untagged" else 0
    if not match or (match["vlan"] != "untagged" and not 1 <= vlan <= 4094):
        raise click.BadParameter(f"{text!r} is neither cn1-br/100 nor cn1-br/untagged in form", param_hint="--network")
    return Target(text, Place(match["bridge"], vlan))


def _run(watched: Watch, stop: threading.Event, show: Callable[[Watch], None]) -> None:
    """Look at networks when they are due, or when one of their links changes, until told to stop."""
    with LinkEvents(watched.link_names) as events:
        while not stop.is_set():
            wait_s = watched.run_due()
            show(watched)
            changed = events.wait(min(wait_s, _LOOK_S))
            if changed:
                watched.note_link_change(changed)


def _print_change(change: Change) -> None:
    document: dict[str, object] = {"network": change.target.name}
    if change.found:
        document |= change.found.to_json()
    else:
        document |= {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "error": change.error}
    sys.stdout.write(json.dumps(document) + "\n")  # one write: changes may come from several threads
    sys.stdout.flush()


def _make_table(watched: Watch) -> Table:
    table = make_table("network", "cidr", "gateway", "connectivity", "last looked at", "reason")
    for change in watched.latest:
        found = change.found
        if found is None:
            table.add_row(change.target.name, "", "", "[red]cannot probe[/]", "", escape(change.error))
            continue
        table.add_row(
            change.target.name,
            str(found.cidr or "none"),
            str(found.gateway or "none"),
            format_connectivity(found),
            found.at.astimezone().strftime("%H:%M:%S"),
            escape(found.verdict.text if found.verdict else found.facts[0].reason),
        )
    return table
