"""What a runtime hands to a plugin, environment and standard input, and what it gets back.

CNI specification, section 2 "Execution Protocol". The order in which faults are found is libcni's (pkg/skel), for
runtimes and test suites know it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cni_harvester.cni import versions
from cni_harvester.errors import DecodeFailed, InvalidEnvironment
from cni_harvester.model import names
from cni_harvester.model.attachment import Attachment

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")

# (variable, commands that need it); a DEL may come after its namespace is gone. CNI_ARGS is never required.
_REQUIRED = (
    ("CNI_CONTAINERID", {"ADD", "DEL", "CHECK"}),
    ("CNI_NETNS", {"ADD", "CHECK"}),
    ("CNI_IFNAME", {"ADD", "DEL", "CHECK"}),
    ("CNI_PATH", {"ADD", "DEL", "CHECK", "GC", "STATUS"}),
)
_PARSERS = {"CNI_CONTAINERID": names.parse_container_id, "CNI_IFNAME": names.parse_interface_name}


@dataclass(frozen=True)
class Request:
    """One call of the plugin, as it came: the process environment and the bytes on standard input."""

    environment: Mapping[str, str]
    stdin: bytes


@dataclass(frozen=True)
class Response:
    """What the caller sees: one JSON document on standard output or nothing, text for people, the exit status."""

    stdout: bytes = b""
    stderr: str = ""
    exit_status: int = 0


@dataclass(frozen=True)
class Call:
    """A request that was read and found valid as far as the protocol goes.

    Attributes:
        command: one of COMMANDS.
        name: the network's name.
        cni_version: the configuration's `cniVersion`, `0.1.0` when it has none.
        config: the network configuration, keys as they came; its values are not checked yet.
        request: where it came from, for delegation: an IPAM plugin gets the very same bytes.
    """

    command: str
    name: str
    cni_version: str
    config: Mapping[str, Any]
    request: Request = field(repr=False)

    def _get(self, variable: str) -> str:
        return self.request.environment.get(variable, "")

    @property
    def attachment(self) -> Attachment:
        """Which attachment ADD, DEL and CHECK are about."""
        return Attachment(self.name, self._get("CNI_CONTAINERID"), self._get("CNI_IFNAME"))

    @property
    def netns(self) -> str:
        """Path of the container's network namespace; may be empty for DEL."""
        return self._get("CNI_NETNS")

    @property
    def arguments(self) -> str:
        """CNI_ARGS as it came."""
        return self._get("CNI_ARGS")

    @property
    def plugin_path(self) -> list[str]:
        """Directories to look for delegates in."""
        return [directory for directory in self._get("CNI_PATH").split(":") if directory]

    def find(self, key: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return a top-level value of the configuration by its key, matched without case as Go does; None if absent."""
        found = None
        for name, value in self.config.items():
            if name.lower() == key.lower() and value is not None:
                found = value
        return found


def check_environment(environment: Mapping[str, str]) -> str:
    """Return the command; raise InvalidEnvironment naming all missing variables, or the first invalid one."""
    command = environment["CNI_COMMAND"]
    missing = []
    for variable, commands in _REQUIRED:
        if command not in commands:
            continue
        value = environment.get(variable, "")
        if not value:
            missing.append(variable)
        elif variable in _PARSERS:
            _PARSERS[variable](value)
    if missing:
        raise InvalidEnvironment(f"required env variables [{','.join(missing)}] missing", f"{command} needs them")
    return command


def parse_call(request: Request) -> Call:
    """Read and check a request.

    Raises:
        InvalidEnvironment, DecodeFailed, InvalidNetworkConfig, IncompatibleVersion: see `errors`.
    """
    command = check_environment(request.environment)
    config = decode_object(request.stdin, "network configuration")
    call = Call(command, "", "", config, request)
    name, version = call.find("name"), call.find("cniVersion")
    if not isinstance(name, str | None) or not isinstance(version, str | None):
        raise DecodeFailed("error decoding network configuration: name and cniVersion are strings")
    call = Call(command, names.parse_network_name(name or ""), version or versions.OLDEST, config, request)
    if command not in COMMANDS:
        raise InvalidEnvironment(f"unknown CNI_COMMAND: {command}", f"the commands are {', '.join(COMMANDS)}")
    versions.require_supported(call.cni_version, command)
    return call


def decode_object(data: bytes, what: str) -> dict[str, Any]:
    """Decode one JSON object; DecodeFailed for anything else, be it nested too deep or followed by more."""
    try:
        value = json.loads(data.decode(), parse_constant=_refuse_constant, parse_float=_parse_finite)
    except (ValueError, RecursionError) as e:
        raise DecodeFailed(f"error decoding {what}: {e}", "it must be one JSON object in UTF-8") from e
    if not isinstance(value, dict):
        raise DecodeFailed(f"error decoding {what}: it is not a JSON object", "it must be one JSON object in UTF-8")
    return value


def _parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
