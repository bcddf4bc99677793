"""DEL: remove everything that belongs to an attachment; succeeds when it is gone already.

The kernel is asked by the attachment's identity alone. Neither the namespace, nor a previous result, nor a valid
configuration is needed, so whatever state a crash, a reboot or KubeVirt's renaming left, DEL ends.
"""

import logging

from cni_harvester import ipam
from cni_harvester.attach import bridge as bridges
from cni_harvester.attach import uplink
from cni_harvester.cni.request import Call
from cni_harvester.errors import HarvesterError
from cni_harvester.kernel import links, lock, nftables
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.kernel.links import Link
from cni_harvester.model.attachment import Attachment
from cni_harvester.model.names import find_interface_name_fault

log = logging.getLogger(__name__)


def delete(call: Call, *, trace: Trace) -> None:
    """Detach a container.

    Our own part is done even when the IPAM plugin fails; its error is raised afterwards, so that the runtime tries
    again. The plugin goes first, for a DHCP lease can only be released while the interface is there.
    """
    failure: HarvesterError | None = None
    if plugin := ipam.find_type(call):
        try:
            ipam.run_plugin(call, plugin, "DEL", trace=trace)
        except HarvesterError as e:
            failure = e
    with Handle(trace=trace) as host:
        remove_attachment(host, call.attachment, find_bridge_name(call))
    if failure:
        raise failure


def find_bridge_name(call: Call) -> str | None:
    """Return the bridge's name as far as the configuration can be read."""
    name = call.find("bridge")
    return name if isinstance(name, str) and not find_interface_name_fault(name) else None


def remove_attachment(host: Handle, attachment: Attachment, bridge_name: str | None) -> None:
    """Remove what one attachment made on the node; quiet about what is gone.

    Args:
        host: the node's namespace.
        attachment: whose.
        bridge_name: the bridge that the configuration names, in case the host end, which knows its own, is gone.
    """
    link = links.find_link(host, attachment.host_end)
    if link and not is_ours(link, attachment):
        log.warning('"%s" has the name of our host end but is not ours; left alone', link.name)
        link = None
    bridge = find_bridge(host, link, bridge_name)
    if link:
        links.delete_link(host, link)
    guard = nftables.SpoofGuard(attachment)
    nftables.remove_guard(guard, trace=host.trace)
    if bridge:
        leave_bridge(host, bridge)


def is_ours(link: Link, attachment: Attachment) -> bool:
    """Whether a link of that name is our host end: by its ifalias, or by its group if it has none yet or another."""
    return link.kind == "veth" and (link.alias == attachment.alias or link.group == attachment.group)


def find_bridge(host: Handle, link: Link | None, name: str | None) -> Link | None:
    """Return the bridge that a host end is in, else the one of that name; None when there is none."""
    found = links.find_link_by_index(host, link.controller) if link and link.controller else None
    found = found or (links.find_link(host, name) if name else None)
    return found if found and found.kind == "bridge" else None


def leave_bridge(host: Handle, bridge: Link) -> None:
    """Put the bridge in order after host ends left: VLANs of the uplink, and a bridge that we made."""
    if uplink.find_uplink(host, bridge):
        with lock.lock_bridge(bridge.name) as exists:
            if exists:
                uplink.release_uplink_vlans(host, bridge)
    bridges.remove_created_bridge(host, bridge.name)
