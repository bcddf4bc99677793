"""GC: remove the attachments of one network that the runtime does not know any more. CNI specification 1.1.0, "GC"."""

from cni_harvester import ipam
from cni_harvester.attach import delete
from cni_harvester.cni.request import Call
from cni_harvester.cni.valid_attachments import parse_valid_attachments
from cni_harvester.errors import GcIncomplete, HarvesterError
from cni_harvester.kernel import links, nftables
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.kernel.links import Link
from cni_harvester.model.attachment import Attachment, network_group, parse_alias


def gc(call: Call, *, trace: Trace) -> None:
    """Have the IPAM plugin collect its garbage, then remove what belongs to this network and to no valid attachment.

    Raises:
        InvalidNetworkConfig: the list is missing or malformed; that never means "all".
        GcIncomplete: something could not be removed; everything was tried.
    """
    valid = parse_valid_attachments(call)
    failures: list[str] = []
    if plugin := ipam.find_type(call):  # first, for a lease can only be released over an interface that is still there
        try:
            ipam.run_plugin(call, plugin, "GC", trace=trace)
        except HarvesterError as e:
            failures.append(f'IPAM plugin "{plugin}": {e.msg}')
    with Handle(trace=trace) as host:
        stale = [link for link in links.list_links(host) if _is_stale(link, call.name, valid)]
        for link in stale:
            try:
                _remove(host, link, call)
            except HarvesterError as e:
                failures.append(e.msg)
        for attachment in _list_guarded(call.name) - valid:
            try:
                delete.remove_attachment(host, attachment, None)
            except HarvesterError as e:
                failures.append(e.msg)
        _put_bridge_in_order(host, call, failures)
    if failures:
        raise GcIncomplete(
            f'cannot collect all garbage of network "{call.name}": {len(failures)} failed',
            "; ".join(failures),
        )


def _is_stale(link: Link, network: str, valid: set[Attachment]) -> bool:
    """Whether a link is a host end of this network that no valid attachment has.

    One without our ifalias is of an ADD that was killed right after it made the pair; its group tells the network.
    """
    if link.kind != "veth" or link.group != network_group(network):
        return False
    owner = parse_alias(link.alias)
    if owner is None:
        return link.name not in {attachment.host_end for attachment in valid}
    return owner.network == network and owner not in valid


def _remove(host: Handle, link: Link, call: Call) -> None:
    owner = parse_alias(link.alias)
    if owner:
        delete.remove_attachment(host, owner, delete.find_bridge_name(call))
    else:
        links.delete_link(host, link)


def _list_guarded(network: str) -> set[Attachment]:
    """Return the attachments of a network that have spoof protection, be their host ends gone or not."""
    found = (parse_alias(label) for label in nftables.list_guard_labels())
    return {attachment for attachment in found if attachment and attachment.network == network}


def _put_bridge_in_order(host: Handle, call: Call, failures: list[str]) -> None:
    """Take VLANs off the uplink that no machine uses any more, whatever made their last user vanish."""
    bridge = delete.find_bridge(host, None, delete.find_bridge_name(call))
    if bridge is None:
        return
    try:
        delete.leave_bridge(host, bridge)
    except HarvesterError as e:
        failures.append(e.msg)
