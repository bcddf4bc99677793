"""The IPAM plugin `cni-harvester`: addresses by DHCP, leased for one interface. One file a verb, as in `attach`.

Our own attachments call it in their process; any other main plugin (macvlan, for one) executes this program, as the
specification has it (CNI, section 4 "Plugin Delegation").
"""

import dataclasses
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cni_harvester.cni.request import Call
from cni_harvester.cni.versions import NEWEST

if TYPE_CHECKING:  # netlink is loaded by the verbs
    from cni_harvester.kernel.handle import Trace

IPAM_TYPE = "cni-harvester"
VERB_MODULES = {"ADD": "add", "DEL": "delete", "CHECK": "check", "GC": "gc", "STATUS": "status"}
"""Where a verb is: a module of this package, or of `attach`, with a function of the same name."""


def is_delegated(call: Call) -> bool:
    """Whether another main plugin runs us as its IPAM plugin: `ipam.type` is our name, and `type` is not."""
    return call.find("type") != IPAM_TYPE and find_type(call) == IPAM_TYPE


def find_type(call: Call) -> str | None:
    """Return the IPAM plugin's name as far as the configuration can be read; it need not be valid for a DEL."""
    ipam = call.find("ipam")
    kind: Any = next((v for k, v in ipam.items() if k.lower() == "type"), None) if isinstance(ipam, dict) else None
    return kind if isinstance(kind, str) and kind and "/" not in kind and "\0" not in kind else None


def run_plugin(call: Call, plugin: str, command: str, *, trace: "Trace") -> dict[str, Any] | None:
    """Run a verb of an IPAM plugin: our own one in this process, any other one as a program.

    Raises:
        HarvesterError: our own verbs' errors, or those of `delegate`.
    """
    if plugin != IPAM_TYPE:
        from cni_harvester.cni.delegate import delegate

        return delegate(call, plugin, command)
    if command == "ADD":  # whose answer stays here: an old version could not say that a route is on the link
        call = dataclasses.replace(call, cni_version=NEWEST)
    module = VERB_MODULES[command]
    document: dict[str, Any] | None = getattr(import_module(f"{__name__}.{module}"), module)(call, trace=trace)
    return document


def require_plugin(call: Call, plugin: str) -> None:
    """Find faults of an IPAM plugin's configuration before anything is changed.

    Raises:
        FeatureMissing: there is no such program.
        InvalidNetworkConfig, UnsupportedField: our own plugin's configuration is wrong.
    """
    if plugin != IPAM_TYPE:
        from cni_harvester.cni.delegate import find_plugin

        find_plugin(plugin, call.plugin_path)
        return
    from cni_harvester.ipam.config import load_dhcp_config

    load_dhcp_config(call)
