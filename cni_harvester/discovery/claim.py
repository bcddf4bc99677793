"""Taking an address for the time of a check, unless somebody has it."""

from ipaddress import IPv4Interface

from cni_harvester.dhcp.holder import find_holder
from cni_harvester.discovery.machine import Machine
from cni_harvester.kernel import addresses, links
from cni_harvester.kernel.frames import FrameSocket
from cni_harvester.kernel.handle import Handle

_CLAIM_TIMEOUT_S = 1.0
"""How long to look for a holder of an address that a DHCP server has just offered, which it has tried as a rule."""


def claim_address(machine: Machine, port: FrameSocket, own: IPv4Interface) -> str:
    """Give the machine an address unless somebody has it; it goes with the machine.

    The kernel answers ARP for it from then on.

    Returns:
        The MAC of who has it; empty when it is the machine's now.
    """
    with Handle(machine.namespace) as guest:
        link = links.find_link(guest, machine.interface)
        if link is None or own in {a.interface for a in addresses.list_addresses(guest, link)}:
            return ""
        if holder := find_holder(port, own.ip, timeout_s=_CLAIM_TIMEOUT_S).macs:
            return holder[0]
        addresses.add_address(guest, link, own, detect_duplicates=False)
        return ""
