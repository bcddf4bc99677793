"""The command line: `cni-harvester COMMAND`. Commands load what they need when they run."""

from importlib import import_module

import click

from cni_harvester import __version__
from cni_harvester.errors import HarvesterError

FAILED, INTERRUPTED = 1, 130
"""Exit statuses: what was asked for did not come out; Ctrl-C. Wrong words are click's 2."""

_COMMANDS = {
    "discover": "Find out by DHCP which CIDR and gateway a network has, and check that they can be reached.",
    "survey": "Find out which VLANs the switch port behind an uplink carries, before anything is configured.",
    "watch": "Keep probing networks, and print what changes.",
    "leases": "Renew the DHCP leases of this node's attachments.",
}
"""Each is a function of the same name in a module of this package; the help is here, so that --help loads none."""


class _LazyGroup(click.Group):
    """A group that imports a command's module when it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        """Return a command, loaded now; None when there is none of that name."""
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"cni_harvester.cli.{name}"), name)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' section of the help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="cni-harvester %(version)s")
def cni_harvester() -> None:
    """Layer-2 networks for virtual machines on Kubernetes.

    As a CNI plugin this program is called by a runtime, with CNI_COMMAND in its environment. Called by a person, it
    has these commands.
    """


def run(words: list[str]) -> int:
    """Run a command line; return the exit status. Errors go to standard error, with what to do next."""
    try:
        status = cni_harvester.main(words, prog_name="cni-harvester", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except click.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except HarvesterError as e:
        report_error(e)
        return FAILED
    return int(status or 0)


def report_error(error: HarvesterError) -> None:
    """Print an error for people, with its code and what to do next."""
    click.echo(f"Error: {error.msg} (code {error.code})", err=True)
    if error.details:
        click.echo(f"Hint: {error.details}", err=True)
