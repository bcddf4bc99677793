"""DEL: give the lease back while the interface is still there, and forget it. Succeeds when there is none."""

import logging
from typing import TYPE_CHECKING

from cni_harvester.cni.request import Call
from cni_harvester.errors import DecodeFailed, KernelRefused, UnknownContainer
from cni_harvester.ipam.lease import Lease, find_lease, remove_lease
from cni_harvester.kernel.handle import Trace
from cni_harvester.model.attachment import Attachment

if TYPE_CHECKING:  # a DEL without a lease opens no socket
    from cni_harvester.kernel.frames import FrameSocket

log = logging.getLogger(__name__)


def delete(call: Call, *, trace: Trace) -> None:
    """Release an attachment's lease."""
    del trace  # a RELEASE changes nothing on this node
    remove_and_release(call.attachment, call.netns)


def remove_and_release(attachment: Attachment, netns: str = "") -> None:
    """Release a lease as far as that is possible still, and forget it.

    An interface that is gone, or down, can send nothing; its lease then ends on the server by itself, and to fail would
    only have the runtime try again for ever.

    Args:
        attachment: whose lease.
        netns: path of the namespace, where the runtime knows a better one than the lease.
    """
    try:
        lease = find_lease(attachment)
    except DecodeFailed as e:
        log.warning("%s", e.msg)
        lease = None
    if lease and not lease.is_void:
        release_lease(lease, netns or lease.netns)
    remove_lease(attachment)


def release_lease(lease: Lease, netns: str) -> None:
    """Tell the server that an address is free again; only log it when the interface is not there any more, or down."""
    try:
        _send_release(lease, netns)
    except (UnknownContainer, KernelRefused) as e:
        log.warning("cannot release %s: %s", lease.address, e.msg)


def _send_release(lease: Lease, netns: str) -> None:
    from cni_harvester.dhcp.client import release
    from cni_harvester.kernel import namespaces
    from cni_harvester.kernel.frames import FrameSocket

    with (
        namespaces.open_namespace(netns) as namespace,
        FrameSocket(lease.attachment.ifname, namespace) as port,
    ):
        require_same_interface(port, lease)
        release(port, lease.client, lease.grant)


def require_same_interface(port: "FrameSocket", lease: Lease) -> None:
    """Raise UnknownContainer when the path of a lease's namespace leads to another machine's interface by now."""
    if port.mac != lease.mac:
        message = f'"{port.interface}" in {lease.netns} has MAC {port.mac}, the lease is for {lease.mac}'
        raise UnknownContainer(message, "the machine is gone, and another one has its place")
