"""`cni-harvester survey`: which VLANs the switch port behind an uplink carries, before anything is configured."""

from ipaddress import IPv4Address
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from cni_harvester.cli.options import format_option
from cni_harvester.cli.output import make_console, make_table, print_document
from cni_harvester.discovery.discover import get_node_name
from cni_harvester.discovery.survey.evidence import SENDERS_KEPT
from cni_harvester.discovery.survey.findings import Status, SurveyReport, VlanFinding
from cni_harvester.discovery.survey.run import DEFAULT_RATE, DEFAULT_TIMEOUT_S, Progress, SurveyWishes
from cni_harvester.discovery.survey.run import survey as run
from cni_harvester.model.vlan import VID_MAX, format_vids, parse_vids
from cni_harvester.wire.spanning_tree import Bpdu
from cni_harvester.wire.switches import Neighbour

_STYLES = {Status.LIVE: "[green]live[/]", Status.ADVERTISED: "[yellow]advertised only[/]"}


class _Vlans(click.ParamType[Any]):
    """VLANs on the command line: `1,100-110`."""

    name = "VLANs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read them; fail with what is wrong."""
        try:
            return value if isinstance(value, frozenset) else parse_vids(value)
        except ValueError as e:
            self.fail(f"{e}: it takes VLANs such as 1,100-110", param, ctx)


class _Gateway(click.ParamType[Any]):
    """A known gateway on the command line: `100=192.0.2.1`; VLAN 0 is the untagged network."""

    name = "VID=address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Read it; fail with what it should look like."""
        if isinstance(value, tuple):
            return value
        vid, equals, address = value.partition("=")
        try:
            if not equals or not (vid.isascii() and vid.isdigit()) or int(vid) > VID_MAX:
                raise ValueError(f"{vid!r} is no VLAN ID of 1 to {VID_MAX}, nor 0 for untagged")  # noqa: TRY301
            return int(vid), IPv4Address(address)
        except ValueError as e:
            self.fail(f"{value!r} does not name a gateway, such as 100=192.0.2.1: {e}", param, ctx)


@click.command(short_help="Find out which VLANs the switch port of an uplink carries.")
@click.option("--interface", metavar="NAME", help="The uplink: a NIC, or a bond such as <cn>-bo.")
@click.option("--vlans", type=_Vlans(), default="1-4094", show_default=True, metavar="VIDS", help="VLANs to ask.")
@click.option(
    "--rate",
    type=click.IntRange(1, 100_000),
    default=DEFAULT_RATE,
    show_default=True,
    metavar="N",
    help="Frames a second, at most.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer to each question.",
)
@click.option(
    "--gateway",
    "gateways",
    type=_Gateway(),
    multiple=True,
    metavar="VID=IP",
    help="A gateway that is known, to be asked for by ARP; for VLANs without DHCP.",
)
@format_option
def survey(
    *,
    interface: str | None,
    vlans: frozenset[int],
    rate: int,
    timeout: float,
    gateways: tuple[tuple[int, IPv4Address], ...],
    output: str,
) -> int:
    """Find out which VLANs the switch port behind an uplink carries, before anything is configured.

    Every VLAN is asked for DHCP servers, and what comes in is listened to: tagged frames, BPDUs, and what switches
    announce by LLDP and CDP. No lease is taken, no interface is made, and nothing is left behind.

    A switch may shut a port down that sends many DHCP questions (DHCP snooping with a rate limit): if yours does,
    keep below its limit with --rate.

    \b
    examples:
      cni-harvester survey --interface cn1-bo
      cni-harvester survey --interface eth1 --vlans 100-199 --gateway 150=192.0.2.1 -o json
      cni-harvester survey --interface eth1 --timeout 65       hears LLDP and CDP, too
    """  # noqa: D301 - \b is a character that click takes for "do not fold the following"
    if not interface:
        raise click.UsageError("name the uplink: --interface, such as eth1 or cn1-bo")
    wishes = SurveyWishes(vlans, rate, timeout, gateways)
    found = _run(interface, wishes)
    if output == "table":
        show(make_console(), found)
    else:
        print_document(found.to_json(), output)
    return 0


def _run(interface: str, wishes: SurveyWishes) -> SurveyReport:
    """Make the survey, with a progress bar where somebody looks at a terminal."""
    console = make_console(stderr=True)
    if not console.is_terminal:
        return run(interface, wishes, get_node_name())
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[found]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, found="")
        return run(interface, wishes, get_node_name(), lambda now: bar.update(task, **_describe(now)))


def _describe(now: Progress) -> dict[str, Any]:
    """What the progress bar shows; when all is sent, the answers are waited for."""
    asking = f"asked {now.sent} of {now.total}" if now.sent < now.total else f"asked {now.sent}, listening"
    return {"completed": now.sent, "total": now.total, "description": asking, "found": f"VLANs found: {now.found}"}


def show(console: Console, found: SurveyReport) -> None:
    """Print a survey for people."""
    console.print(f"[bold]{escape(found.interface)}[/] ({found.mac}) on node {escape(found.node)}")
    for switch in found.neighbours:
        console.print(f"[bold]switch[/] {escape(describe_switch(switch))}")
    for bpdu in found.trees:
        console.print(f"[bold]bridge[/] {escape(describe_bpdu(bpdu))}")
    console.print()
    if found.vlans:
        console.print(_make_table(found))
        console.print()
    console.print(
        f"{found.sent} frames sent in {found.duration_s:.1f} s, VLANs {format_vids(found.asked)} asked; "
        f"live: {format_vids(found.live)}"
    )
    for warning in found.warnings:
        console.print(f"[yellow]Warning:[/] {escape(warning)}")
    for advice in found.advice:
        console.print(f"[bold]Next:[/] {escape(advice)}")


def _make_table(found: SurveyReport) -> Any:  # noqa: ANN401
    table = make_table("vlan", "status", "name", "evidence", "servers", "cidr", "gateway")
    for finding in found.vlans:
        table.add_row(
            str(finding.vlan or "untagged"),
            _STYLES[finding.status],
            escape(_join(finding.names)),
            escape("; ".join(list_evidence(finding, is_sampled=found.is_sampled))),
            _join(f"{offer.server or 'no identifier'} ({offer.server_mac})" for offer in finding.offers),
            _join(str(offer.network) for offer in finding.offers if offer.network),
            _join(_list_gateways(finding)),
        )
    return table


def list_evidence(finding: VlanFinding, *, is_sampled: bool = False) -> list[str]:
    """Say why a VLAN is in the result, in a few words each; counts are too low when frames were sampled."""
    words = []
    if finding.offers:
        words.append("DHCP" if any(offer.is_usable for offer in finding.offers) else "faulty DHCP")
    words += [f"ARP of {gateway.address}" for gateway in finding.gateways]
    if finding.frames:
        frames = _count(finding.frames, "frame", is_more=is_sampled)
        senders = _count(finding.senders, "MAC", is_more=is_sampled or finding.senders >= SENDERS_KEPT)
        words.append(f"{frames} from {senders}")
    words += [f"{bpdu.kind} BPDU of {bpdu.bridge or bpdu.mac}" for bpdu in finding.bpdus]
    return words + list(finding.advertised)


def _count(number: int, what: str, *, is_more: bool) -> str:
    return f"{number}{'+' if is_more else ''} {what}{'s' if number > 1 or is_more else ''}"


def _list_gateways(finding: VlanFinding) -> list[str]:
    """Return the gateways that are offered, whether they answer ARP, and those that answer without being offered."""
    answering = {gateway.address for gateway in finding.gateways}
    offered = {offer.gateway for offer in finding.offers if offer.gateway}
    silent = [f"{address} (no ARP)" for address in sorted(offered - answering)]
    return [str(address) for address in sorted(answering)] + silent


def describe_switch(switch: Neighbour) -> str:
    """Say what a switch says of itself and its port, on one line."""
    port = f"port {switch.port}" + (f" ({switch.port_description})" if switch.port_description else "")
    parts: list[str] = [switch.system or switch.chassis or switch.mac]
    parts += [port] if switch.port or switch.port_description else []
    parts += [f"chassis {switch.chassis}"] if switch.system and switch.chassis else []
    parts += [f"managed at {_join(map(str, switch.management))}"] if switch.management else []
    parts += [switch.platform.splitlines()[0]] if switch.platform.strip() else []
    parts += [f"native VLAN {switch.native_vlan}"] if switch.native_vlan else []
    return ", ".join(parts) + f" [{switch.protocol}]"


def describe_bpdu(bpdu: Bpdu) -> str:
    """Say whose BPDU came untagged."""
    native = f", native VLAN {bpdu.vlan}" if bpdu.vlan else ""
    return f"{bpdu.bridge or bpdu.mac}, root {bpdu.root or 'unknown'}{native} [{bpdu.kind}]"


def _join(parts: Any) -> str:  # noqa: ANN401
    """Join what differs; empty when there is nothing."""
    return ", ".join(dict.fromkeys(parts))
