"""How results are shown: tables for people, JSON and YAML for programs; what is in the way goes to standard error."""

import json
import sys

import click
from rich.console import Console
from rich.table import Table

_UNLIMITED_COLUMNS = 400
"""Width where nobody looks at a terminal: a table in a file or pipe must not be folded at 80 columns."""


def make_console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or standard error."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _UNLIMITED_COLUMNS, highlight=False)


def print_document(document: object, output: str) -> None:
    """Print a result for programs."""
    if output == "json":
        click.echo(json.dumps(document, indent=2))
        return
    import yaml

    click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


def make_table(*headings: str) -> Table:
    """Return an empty table in the house style: headings in capitals, two spaces between columns, no lines."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for heading in headings:
        table.add_column(heading.upper(), overflow="fold")
    return table
