"""IP addresses of an interface, and waiting for duplicate address detection. rtnetlink(7), RFC 4862."""

import errno as errnos
import ipaddress
from dataclasses import dataclass
from typing import Any

from cni_harvester.kernel.handle import NLM_F_CREATE, NLM_F_EXCL, Events, Handle, refused
from cni_harvester.kernel.links import Link
from cni_harvester.kernel.messages import ifaddrmsg
from cni_harvester.kernel.namespaces import Namespace

_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTNLGRP_IPV6_IFADDR = 9
_AF = {4: 2, 6: 10}
_IFA_F_NODAD, _IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x02, 0x08, 0x40

IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True)
class Address:
    """An address as the kernel holds it; `tentative` while duplicate detection runs, `duplicate` when it failed."""

    interface: IpInterface
    tentative: bool
    duplicate: bool


def add_address(handle: Handle, link: Link, address: IpInterface, *, detect_duplicates: bool) -> None:
    """Add an address; IPv6 ones are usable at once unless duplicates are to be detected."""
    message = _message(link, address)
    suffix = ""
    if address.version == 4:
        message["attrs"].append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    elif not detect_duplicates:
        message["flags"], suffix = _IFA_F_NODAD, " nodad"
    command = f"ip address add {address} dev {link.name}{suffix}"
    try:
        handle.change(message, _RTM_NEWADDR, flags=NLM_F_CREATE | NLM_F_EXCL, command=command)
    except OSError as e:
        raise refused(f"add address {address} to", link.name, e) from e


def remove_address(handle: Handle, link: Link, address: IpInterface) -> None:
    """Remove an address; quiet when it is gone already. The kernel takes the routes of its subnet along."""
    try:
        handle.change(_message(link, address), _RTM_DELADDR, command=f"ip address del {address} dev {link.name}")
    except OSError as e:
        if e.errno not in {errnos.EADDRNOTAVAIL, errnos.ENODEV}:
            raise refused(f"remove address {address} from", link.name, e) from e


def _message(link: Link, address: IpInterface) -> Any:  # noqa: ANN401 - pyroute2 has no types
    message = ifaddrmsg()
    message["family"], message["prefixlen"] = _AF[address.version], address.network.prefixlen
    message["index"] = link.index
    message["attrs"] = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    return message


def list_addresses(handle: Handle, link: Link) -> list[Address]:
    """Return the addresses of one interface, of both families; none of one that is gone."""
    found = []
    for family in _AF.values():
        message = ifaddrmsg()
        message["family"], message["index"], message["attrs"] = family, link.index, []
        try:
            answers = handle.dump(message, _RTM_GETADDR)
        except OSError as e:
            if e.errno == errnos.ENODEV:
                return []
            raise refused("list the addresses of", link.name, e) from e
        for answer in answers:
            text = answer.get_attr("IFA_LOCAL") or answer.get_attr("IFA_ADDRESS")
            flags = answer.get_attr("IFA_FLAGS") or answer["flags"]
            interface = ipaddress.ip_interface(f"{text}/{answer['prefixlen']}")
            found.append(Address(interface, bool(flags & _IFA_F_TENTATIVE), bool(flags & _IFA_F_DADFAILED)))
    return found


def wait_until_settled(handle: Handle, link: Link, namespace: Namespace, timeout_s: float) -> list[Address]:
    """Wait until no address is tentative any more; return the addresses then, or at the end of the time."""
    addresses: list[Address] = []

    def is_settled() -> bool:
        nonlocal addresses
        addresses = list_addresses(handle, link)
        return not any(a.tentative and not a.duplicate for a in addresses)

    with Events(_RTNLGRP_IPV6_IFADDR, namespace) as events:
        events.wait_until(is_settled, timeout_s)
    return addresses
