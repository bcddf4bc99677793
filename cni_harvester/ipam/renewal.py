"""Renewing one lease on its interface, and giving the interface what the server says now."""

import contextlib
from collections.abc import Iterator

from cni_harvester.dhcp.client import renew, take_lease
from cni_harvester.dhcp.offer import Offer
from cni_harvester.ipam.delete import release_lease, require_same_interface
from cni_harvester.ipam.grant import make_lease
from cni_harvester.ipam.lease import Lease, now_s
from cni_harvester.ipam.schedule import find_change
from cni_harvester.kernel import addresses, links, namespaces, routes
from cni_harvester.kernel.frames import FrameSocket, hold_udp_port
from cni_harvester.kernel.handle import Handle, Trace
from cni_harvester.kernel.links import Link
from cni_harvester.kernel.routes import SCOPE_LINK, KernelRoute
from cni_harvester.wire import dhcp

_ANSWER_TIMEOUT_S, _LEASE_TIMEOUT_S = 4.0, 10.0


class LeaseRefusedError(Exception):
    """The server says that the address is not ours any more (NAK); its text is what the server said."""


def extend(lease: Lease, *, rebind: bool) -> Lease | None:
    """Ask for more time; return the lease as it is then, None when nobody answers.

    Raises:
        LeaseRefusedError: the server refuses.
        HarvesterError: the namespace or the interface is gone, or down.
    """
    began_s = now_s()
    timeout_s = min(_ANSWER_TIMEOUT_S, find_change(lease, began_s) - began_s)  # at its end the address is not ours
    with _open_port(lease) as port:
        answer = renew(port, lease.client, lease.grant, rebind=rebind, timeout_s=timeout_s)
    if answer is None:
        return None
    if answer.kind == dhcp.NAK:
        raise LeaseRefusedError(answer.message or "no reason given")
    return _remake(lease, answer) if answer.is_usable else None


def replace(lease: Lease) -> Lease:
    """Take a new lease for the interface, as its ADD did.

    Raises:
        TryAgainLater: there is none to be had.
        HarvesterError: the namespace or the interface is gone, or down.
    """
    with _open_port(lease) as port:
        where = f'"{lease.attachment.ifname}"'
        granted = take_lease(port, lease.client, timeout_s=_LEASE_TIMEOUT_S, where=where)
    return _remake(lease, granted)


def _remake(lease: Lease, granted: Offer) -> Lease:
    return make_lease(lease.attachment, lease.netns, lease.client, granted)


@contextlib.contextmanager
def _open_port(lease: Lease) -> Iterator[FrameSocket]:
    """Open a socket on the lease's interface, and hold the client's port there.

    Without a holder of the port the container's kernel would answer the server's answer with "port unreachable".
    """
    with (
        namespaces.open_namespace(lease.netns) as namespace,
        hold_udp_port(namespace, dhcp.CLIENT_PORT),
        FrameSocket(lease.attachment.ifname, namespace) as port,
    ):
        require_same_interface(port, lease)
        yield port


def release(lease: Lease) -> None:
    """Give an address back, as far as that is possible still."""
    release_lease(lease, lease.netns)


def configure(old: Lease, new: Lease, *, trace: Trace) -> None:
    """Bring the interface from one lease's address and routes to another's; nothing is touched that stays the same."""
    if not old.is_void and (old.address, old.routes) == (new.address, new.routes):
        return
    with namespaces.open_namespace(new.netns) as namespace, Handle(namespace, trace=trace) as guest:
        link = links.find_link(guest, new.attachment.ifname)
        if link is None:
            return
        keep_address = not old.is_void and old.address == new.address
        if not old.is_void:
            _take_away(guest, link, old, keep_address=keep_address)
        if new.address not in {address.interface for address in addresses.list_addresses(guest, link)}:
            addresses.add_address(guest, link, new.address, detect_duplicates=False)
        for route in _list_routes(new):
            routes.add_route(guest, link, route)


def unconfigure(lease: Lease, *, trace: Trace) -> None:
    """Take a lost lease's address and routes from its interface: they are no longer ours to use."""
    with namespaces.open_namespace(lease.netns) as namespace, Handle(namespace, trace=trace) as guest:
        if link := links.find_link(guest, lease.attachment.ifname):
            _take_away(guest, link, lease, keep_address=False)


def _take_away(guest: Handle, link: Link, lease: Lease, *, keep_address: bool) -> None:
    for route in _list_routes(lease):
        routes.remove_route(guest, link, route)
    if not keep_address:
        addresses.remove_address(guest, link, lease.address)


def _list_routes(lease: Lease) -> list[KernelRoute]:
    return [KernelRoute(dst, gw, scope=None if gw else SCOPE_LINK) for dst, gw in lease.routes]
