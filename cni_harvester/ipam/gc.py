"""GC: give back, and forget, the leases of one network that belong to no valid attachment."""

from cni_harvester.cni.request import Call
from cni_harvester.cni.valid_attachments import parse_valid_attachments
from cni_harvester.errors import DecodeFailed
from cni_harvester.ipam.delete import remove_and_release
from cni_harvester.ipam.lease import list_leases
from cni_harvester.kernel.handle import Trace


def gc(call: Call, *, trace: Trace) -> None:
    """Release what the runtime does not know any more.

    Raises:
        InvalidNetworkConfig: the list of valid attachments is missing or malformed; that never means "all".
        DecodeFailed: a lease's file is damaged; the others were looked at.
    """
    del trace  # a RELEASE changes nothing on this node
    valid = parse_valid_attachments(call)
    damaged = list[DecodeFailed]()  # may be another network's: the stale ones of this one go all the same
    for lease in list_leases(lambda _, e: damaged.append(e)):
        if lease.attachment.network == call.name and lease.attachment not in valid:
            remove_and_release(lease.attachment)
    if damaged:
        raise damaged[0]
