"""Calling the plugin as a runtime does: in this process, or as the built bundle."""

import json
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.namespaces import Container

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = Path(os.environ.get("CNI_HARVESTER_BIN", ROOT / "dist/bin/cni-harvester"))
REFERENCE_PLUGINS = "/usr/lib/cni"
"""Where Debian's package containernetworking-plugins puts host-local, static and the reference bridge."""


@dataclass(frozen=True)
class Reply:
    """What a call of the plugin printed, and its exit status."""

    exit_status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        value = json.loads(self.stdout)
        assert isinstance(value, dict), self.stdout
        return value

    @property
    def code(self) -> int:
        """The error's CNI code; 0 on success."""
        return int(self.document["code"]) if self.exit_status else 0


class Plugin(ABC):
    """One way to call the plugin."""

    @abstractmethod
    def execute(self, environment: Mapping[str, str], stdin: bytes) -> Reply:
        """Run one request."""

    def call(
        self,
        command: str,
        config: Mapping[str, Any],
        container: Container | None = None,
        *,
        container_id: str = "c-1",
        ifname: str = "eth0",
        netns: str | None = None,
        args: str = "",
        path: str = REFERENCE_PLUGINS,
    ) -> Reply:
        """Run one verb with a network configuration; `netns` stands in for the container's where it is gone."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container_id,
            "CNI_NETNS": netns if netns is not None else container.path if container else "",
            "CNI_IFNAME": ifname,
            "CNI_ARGS": args,
            "CNI_PATH": path,
        }
        return self.execute(environment, json.dumps(config).encode())

    def add(self, config: Mapping[str, Any], container: Container, **options: Any) -> dict[str, Any]:
        """ADD that must succeed; return its result."""
        reply = self.call("ADD", config, container, **options)
        assert reply.exit_status == 0, reply
        return reply.document

    def delete(self, config: Mapping[str, Any], container: Container | None = None, **options: Any) -> None:
        """DEL that must succeed and print nothing."""
        reply = self.call("DEL", config, container, **options)
        assert (reply.exit_status, reply.stdout) == (0, ""), reply


class InProcess(Plugin):
    """The plugin's one way in, `handle`, called in this process.

    Args:
        trace: told of every change before it is made; an exception from it fails the step (see `kernel.handle.Trace`).
    """

    def __init__(self, trace: Callable[[str], None] | None = None) -> None:
        self._trace = trace

    def execute(self, environment: Mapping[str, str], stdin: bytes) -> Reply:
        """Run one request."""
        from cni_harvester.attach import handle
        from cni_harvester.cni.request import Request

        response = handle(Request(environment, stdin), self._trace)
        return Reply(response.exit_status, response.stdout.decode(), response.stderr)


class Bundle(Plugin):
    """The built bundle, as a runtime executes it: nothing but its environment and standard input."""

    def __init__(self, path: Path = BUNDLE) -> None:
        self.path = path

    def execute(self, environment: Mapping[str, str], stdin: bytes) -> Reply:
        """Run one request."""
        done = subprocess.run([str(self.path)], input=stdin, capture_output=True, env=dict(environment), check=False)
        return Reply(done.returncode, done.stdout.decode(), done.stderr.decode())
