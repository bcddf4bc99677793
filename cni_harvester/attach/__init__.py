"""What a verb does: add, delete, check, gc, status - one file each, one public function each.

`handle` is the one way in, for the bundle's single call as for any process that serves many.
"""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from cni_harvester.cni.dispatch import Verb, dispatch
from cni_harvester.cni.request import Call, Request, Response
from cni_harvester.ipam import VERB_MODULES, is_delegated


def handle(request: Request, trace: Any = None) -> Response:  # noqa: ANN401 - kernel.handle.Trace, not yet imported
    """Answer one request of a runtime.

    Args:
        request: environment and standard input of the call.
        trace: told of every change of the node before it is made (see `kernel.handle.Trace`); logged at DEBUG
            when None.

    Returns:
        What goes to standard output, standard error, and the exit status. Never raises for what a request can cause.
    """
    return dispatch(request, _bind_verbs(trace))


def _bind_verbs(trace: Any) -> Mapping[str, Verb]:  # noqa: ANN401
    return {command: partial(_run, module, trace) for command, module in VERB_MODULES.items()}


def _run(module: str, trace: Any, call: Call) -> dict[str, Any] | None:  # noqa: ANN401
    """Load a verb and run it; a call on our own namespace is refused before any work.

    It is the IPAM plugin's verb when another main plugin calls.
    """
    from cni_harvester.kernel.handle import log_change

    _refuse_own_namespace(call)
    room = "ipam" if is_delegated(call) else "attach"
    verb = getattr(import_module(f"cni_harvester.{room}.{module}"), module)
    result: dict[str, Any] | None = verb(call, trace=trace or log_change)
    return result


def _refuse_own_namespace(call: Call) -> None:
    """Refuse a CNI_NETNS that is the namespace we run in, unless CNI_NETNS_OVERRIDE says that it is meant (libcni)."""
    from cni_harvester.errors import InvalidNamespace
    from cni_harvester.kernel import namespaces

    allowed = call.request.environment.get("CNI_NETNS_OVERRIDE", "").lower() in {"1", "true"}
    if call.command in {"ADD", "DEL", "CHECK"} and call.netns and not allowed and namespaces.is_own(call.netns):
        raise InvalidNamespace(
            "plugin's netns and netns from CNI_NETNS should not be the same",
            f"CNI_NETNS is {call.netns!r}; set CNI_NETNS_OVERRIDE=1 if the container shares the node's network",
        )
