"""Delegation to an IPAM plugin: find the program, hand it our request, read its answer.

CNI specification, section 4 "Plugin Delegation". The plugin gets the very bytes that we got.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from cni_harvester.cni.request import Call, decode_object
from cni_harvester.errors import DelegateFailed, FeatureMissing, HarvesterError, TryAgainLater

_TIMEOUT_S = {"ADD": 240, "DEL": 240}
"""DHCP may take the reference's 208 s (resendTimeout); the runtime's own limit comes first as a rule."""
_OTHER_TIMEOUT_S = 30

_UNTYPED_FAILURE = 113


def find_plugin(name: str, directories: list[str]) -> str:
    """Return the path of a plugin: the first regular file of that name; FeatureMissing when there is none."""
    for directory in directories:
        path = os.path.join(directory, name)  # noqa: PTH118 - Path.is_file raises for a name that is too long
        if os.path.isfile(path):  # noqa: PTH113
            return path
    hint = f"install it there, or correct ipam.type; CNI_PATH is {':'.join(directories)!r}"
    raise FeatureMissing(f'cannot find IPAM plugin "{name}": it is in no directory of CNI_PATH', hint)


def delegate(call: Call, plugin: str, command: str) -> dict[str, Any] | None:
    """Run a verb of an IPAM plugin; return the document that it printed, None when it printed nothing.

    Raises:
        FeatureMissing: there is no such program, or it cannot be run.
        DelegateFailed: it failed; its own code, message and details.
        TryAgainLater: it did not end in time.
        DecodeFailed: it succeeded and printed something that is no JSON object.
    """
    path = find_plugin(plugin, call.plugin_path)
    environment = clean_environment(call.request.environment) | {"CNI_COMMAND": command}
    timeout_s = _TIMEOUT_S.get(command, _OTHER_TIMEOUT_S)
    try:
        done = subprocess.run(  # noqa: S603 - found on CNI_PATH, as the specification has it
            [path],
            input=call.request.stdin,
            stdout=subprocess.PIPE,
            env=environment,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise TryAgainLater(f'cannot run IPAM plugin "{plugin}" {command}: no end within {timeout_s} s') from e
    except OSError as e:
        raise FeatureMissing(f'cannot run IPAM plugin "{plugin}": {e.strerror}', f"the program is {path}") from e
    if done.returncode:
        raise _read_error(plugin, command, done.stdout, done.returncode)
    return decode_object(done.stdout, f'what IPAM plugin "{plugin}" printed') if done.stdout.strip() else None


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what PyInstaller's bootloader puts there for its own libraries."""
    clean = {key: value for key, value in environment.items() if not key.startswith(("_PYI_", "_MEIPASS"))}
    original = clean.pop("LD_LIBRARY_PATH_ORIG", None)
    if original is not None:
        clean["LD_LIBRARY_PATH"] = original
    elif getattr(sys, "frozen", False) and clean.get("LD_LIBRARY_PATH") == os.environ.get("LD_LIBRARY_PATH"):
        clean.pop("LD_LIBRARY_PATH", None)
    return clean


def _read_error(plugin: str, command: str, stdout: bytes, status: int) -> HarvesterError:
    """Make the plugin's own error ours, code and texts kept; plugins that print no error document get code 113."""
    try:
        document = json.loads(stdout)
        code, msg, details = document["code"], document["msg"], document.get("details") or ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        code, msg, details = 0, "", ""
    if type(code) is int and code > 0 and isinstance(msg, str) and isinstance(details, str):
        return DelegateFailed(msg, details, code=code)
    said = stdout.decode(errors="replace").strip()[:256]
    cause = f"it was ended by signal {-status}" if status < 0 else f"exit status {status} without an error document"
    return DelegateFailed(f'cannot run IPAM plugin "{plugin}" {command}: {cause}', said, code=_UNTYPED_FAILURE)
