"""From a request to a response: the protocol around the verbs. `attach` plugs the verbs in.

One code path for every way in: the bundle calls `dispatch` once in its process, an agent would call it for every
request on its socket. Importing this module costs little, for VERSION must answer in tens of milliseconds; verbs are
therefore given as functions that import what they need.
"""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from cni_harvester import __version__
from cni_harvester.cni import versions
from cni_harvester.cni.request import Call, Request, Response, parse_call
from cni_harvester.errors import Bug, DecodeFailed, HarvesterError

log = logging.getLogger(__name__)

Verb = Callable[[Call], dict[str, Any] | None]
"""Carries out one call; returns the result document of an ADD, None for the others. Raises HarvesterError."""


def dispatch(request: Request, verbs: Mapping[str, Verb]) -> Response:
    """Answer one request. Never raises for what a request can cause: every fault is an error document."""
    command = request.environment.get("CNI_COMMAND", "")
    if not command:
        return Response(stderr=about())
    if command == "VERSION":
        return _succeed({"cniVersion": versions.NEWEST, "supportedVersions": list(versions.SUPPORTED)})
    version = ""
    try:
        call = parse_call(request)
        version = call.cni_version
        result = verbs[call.command](call)
    except HarvesterError as e:
        return fail(e, version)
    except RecursionError:
        hint = "no network configuration needs a thousand levels"
        return fail(DecodeFailed("error decoding network configuration: it is nested too deep", hint), version)
    except Exception as e:  # the last line of defence: stdout must hold JSON, whatever happens
        bug = Bug(f"bug in cni-harvester: {type(e).__name__}: {e}", "please report it with the log of the runtime")
        response = fail(bug, version)
        return Response(response.stdout, traceback.format_exc(), response.exit_status)
    return Response() if result is None else _succeed(result)


def about() -> str:
    """Say what this program is, for a person who runs it without CNI_COMMAND."""
    return f"CNI cni-harvester plugin {__version__}\nCNI protocol versions supported: {', '.join(versions.SUPPORTED)}\n"


def _succeed(document: dict[str, Any]) -> Response:
    return Response(stdout=_encode(document))


def fail(error: HarvesterError, version: str = "") -> Response:
    """Make the response that reports an error, in the version of the configuration where it is known."""
    document = {
        "cniVersion": version or versions.NEWEST,
        "code": error.code,
        "msg": " ".join(error.msg.split()),
    }
    if error.details:
        document["details"] = error.details
    return Response(stdout=_encode(document), exit_status=1)


def _encode(document: dict[str, Any]) -> bytes:
    """One line of ASCII: a name that is not UTF-8 must not break the document that reports it."""
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
