"""Running commands, with the command and what it said in the error."""

import json
import shlex
import subprocess
from typing import Any


def run(command: str, *, stdin: str = "", check: bool = True) -> str:
    """Run one command (words as in a shell, but no shell) and return its standard output."""
    done = subprocess.run(shlex.split(command), input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{command}: exit status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def run_ip(*commands: str, namespace: str = "") -> None:
    """Run several `ip` commands in one process, for starting one is dear in User-Mode Linux."""
    batch = "".join(f"{command}\n" for command in commands)
    run(f"ip {f'-n {namespace} ' if namespace else ''}-batch -", stdin=batch)


def run_json(command: str) -> Any:
    """Run one command that prints JSON, as `ip -j` does; an empty answer is an empty list."""
    return json.loads(run(command) or "[]")
