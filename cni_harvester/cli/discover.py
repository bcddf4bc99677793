"""`cni-harvester discover`: the route of one network, with everything that speaks for and against it."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from cni_harvester.cli.main import FAILED
from cni_harvester.cli.options import format_option, timeout_option
from cni_harvester.cli.output import make_console, make_table, print_document
from cni_harvester.dhcp.offer import Offer
from cni_harvester.dhcp.wishes import Wishes
from cni_harvester.discovery.discover import discover as run
from cni_harvester.discovery.facts import Answer
from cni_harvester.discovery.machine import Place
from cni_harvester.discovery.nad.file import load_file
from cni_harvester.discovery.nad.fill import probe_nad, write_discovery
from cni_harvester.discovery.report import Discovery
from cni_harvester.model.route import DHCP_FAILED, REACHABLE, UNREACHABLE
from cni_harvester.wire.dhcp_options import INFINITE_S

_STYLES = {Answer.YES: "green", Answer.NO: "red", Answer.UNKNOWN: "yellow"}


class Address(click.ParamType[Any]):
    """An IPv4 address on the command line; with its prefix length when `with_prefix`."""

    def __init__(self, *, with_prefix: bool = False) -> None:
        self._with_prefix = with_prefix
        self.name = "address/prefix length" if with_prefix else "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read it; fail with what it should look like."""
        try:
            if not self._with_prefix:
                return IPv4Address(value)
            if isinstance(value, str) and not re.search(r"/\d+$", value):
                raise AddressValueError("it needs a prefix length, such as 192.0.2.5/24")
            return IPv4Interface(value)
        except ValueError as e:
            self.fail(f"{value!r} is no IPv4 {self.name}: {e}", param, ctx)


@click.command(short_help="Find out by DHCP which CIDR and gateway a network has.")
@click.option("--bridge", metavar="BRIDGE", help="Bridge of the network: <cn>-br for a cluster network.")
@click.option("--vlan", type=click.IntRange(1, 4094), metavar="VID", help="VLAN to probe.")
@click.option("--untagged", is_flag=True, help="Probe the network without a VLAN.")
@click.option(
    "--nad",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Probe what the NetworkAttachmentDefinitions in a file (YAML or JSON) join machines to.",
)
@click.option("--write", is_flag=True, help="Write what was found into the annotations of that file.")
@click.option("--server", type=Address(), help="Only this DHCP server's answers count.")
@click.option("--trusted", type=Address(), multiple=True, help="A DHCP server that may be there; others are rogue.")
@click.option("--address", type=Address(with_prefix=True), help="An address that may be used for the checks.")
@timeout_option
@click.option("--first", is_flag=True, help="Be content with the first usable answer.")
@click.option("--checks/--no-checks", default=True, help="Check what can be reached, too.")
@format_option
def discover(
    *,
    bridge: str | None,
    vlan: int | None,
    untagged: bool,
    file: Path | None,
    write: bool,
    server: IPv4Address | None,
    trusted: tuple[IPv4Address, ...],
    address: IPv4Interface | None,
    timeout: float,
    first: bool,
    checks: bool,
    output: str,
) -> int:
    """Find out by DHCP which CIDR and gateway a network has, and check that they can be reached from this node.

    A machine is attached to the network for the time of the probe. It takes no lease, and leaves nothing behind. The
    exit status is 0 only when a valid route was found; for a NAD in mode manual, when its gateway can be reached.

    \b
    examples:
      cni-harvester discover --bridge cn1-br --vlan 100
      cni-harvester discover --bridge cn1-br --untagged -o json
      cni-harvester discover --nad vlan100.yaml --write
    """  # noqa: D301 - \b is a character that click takes for "do not fold the following"
    wishes = Wishes(timeout, first, server, frozenset(trusted), address, checks)
    if file:
        if bridge or vlan or untagged:
            raise click.UsageError("--nad says which network: leave --bridge, --vlan and --untagged out")
        return _discover_nads(file, wishes, output, write=write)
    if not bridge:
        raise click.UsageError("name the network: --bridge with --vlan or --untagged, or --nad")
    if bool(vlan) == untagged:
        raise click.UsageError("say which network of the bridge: either --vlan or --untagged")
    if write:
        raise click.UsageError("--write goes with --nad")
    place = Place(bridge, vlan or 0)
    with _tell(str(place), wishes):
        found = run(place, wishes)
    if output == "table":
        show(make_console(), found)
    else:
        print_document(found.to_json(), output)
    return 0 if found.is_good else FAILED


def _discover_nads(path: Path, wishes: Wishes, output: str, *, write: bool) -> int:
    """Probe all NADs of a file, one after another; the exit status is 0 when each came out well."""
    documents, good = [], True
    for nad in load_file(path):
        name = f"{nad.namespace}/{nad.name}"
        with _tell(name, wishes):
            found = probe_nad(nad, wishes)
        good = good and found.is_good
        documents.append({"nad": name, **found.to_json()})
        if output == "table":
            show(make_console(), found, f"{name}: ")
        if write:
            written = write_discovery(path, nad, found)
            said = "written into" if written else "changed meanwhile, so nothing is written into"
            click.echo(f"{name}: {said} {path}", err=True)
    if output != "table":
        print_document(documents[0] if len(documents) == 1 else documents, output)
    return 0 if good else FAILED


def _tell(what: str, wishes: Wishes) -> Status:
    """Show that something is going on, on a terminal."""
    return make_console(stderr=True).status(f"probing {what}: listening for {wishes.timeout_s:g} s")


def show(console: Console, found: Discovery, title: str = "") -> None:
    """Print a discovery for people."""
    console.print(f"[bold]{title}{escape(str(found.place))}[/] on node {escape(found.node)}, {found.duration_s:.1f} s")
    table = make_table("cidr", "gateway", "connectivity")
    table.add_row(str(found.cidr or "none"), str(found.gateway or "none"), format_connectivity(found))
    console.print(table)
    if found.offers:
        console.print()
        console.print(_make_offer_table(found))
    console.print()
    console.print(_make_fact_table(found))
    if found.advertisements:
        console.print()
        console.print(_make_router_table(found))
    _show_conclusions(console, found)


def format_connectivity(found: Discovery) -> str:
    """Write the connectivity for a console, in its colour."""
    style = {REACHABLE: "green", UNREACHABLE: "red", DHCP_FAILED: "red"}.get(found.connectivity, "yellow")
    return f"[{style}]{found.connectivity or 'not checked'}[/]"


def _make_offer_table(found: Discovery) -> Any:  # noqa: ANN401
    table = make_table("", "server", "mac", "relay", "address", "cidr", "gateway", "lease", "after", "remarks")
    taken = found.verdict.offer if found.verdict else None
    for offer in found.offers:
        mark = "[green]taken[/]" if offer == taken else "[red]faulty[/]" if offer.faults else ""
        table.add_row(
            mark,
            str(offer.server or "none"),
            offer.server_mac,
            str(offer.relay or "none"),
            str(offer.address),
            str(offer.network or "none"),
            str(offer.gateway or "none"),
            format_lease(offer),
            f"{offer.answered_s * 1000:.0f} ms",
            escape("; ".join((*offer.faults, *offer.remarks)) or "none"),
        )
    return table


def format_lease(offer: Offer) -> str:
    """Write the lease time as people do."""
    if offer.lease_s is None:
        return "none"
    return "for ever" if offer.lease_s == INFINITE_S else f"{offer.lease_s} s"


def _make_fact_table(found: Discovery) -> Any:  # noqa: ANN401
    table = make_table("check", "result", "time", "reason")
    for fact in found.facts:
        answer = f"[{_STYLES[fact.answer]}]{fact.answer.value}[/]"
        table.add_row(fact.name, answer, f"{fact.duration_ms:.0f} ms" if fact.duration_ms else "", escape(fact.reason))
    return table


def _make_router_table(found: Discovery) -> Any:  # noqa: ANN401
    table = make_table("ipv6 router", "mac", "prefixes", "mtu", "addresses by", "remarks")
    for a in found.advertisements:
        source = "DHCPv6" if a.managed else "the prefixes (SLAAC)"
        prefixes = ", ".join(str(prefix.network) for prefix in a.prefixes) or "none"
        table.add_row(
            str(a.router), a.router_mac, prefixes, str(a.mtu or "none"), source, "; ".join(a.faults) or "none"
        )
    return table


def _show_conclusions(console: Console, found: Discovery) -> None:
    verdict = found.verdict
    if verdict is None:
        return
    if verdict.warnings or verdict.advice:
        console.print()
    for warning in verdict.warnings:
        console.print(f"[yellow]Warning:[/] {escape(warning)}")
    if verdict.advice:
        console.print(f"[red]Reason:[/] {escape(verdict.text)} ({verdict.reason.value})")
        console.print(f"[bold]Next:[/] {escape(verdict.advice)}")
