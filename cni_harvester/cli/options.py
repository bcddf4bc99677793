"""Options that several commands have."""

import click

from cni_harvester.dhcp.wishes import DEFAULT_TIMEOUT_S

format_option = click.option(
    "-o", "--output", type=click.Choice(("table", "json", "yaml")), default="table", help="Form of the result."
)
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to listen for DHCP servers.",
)
