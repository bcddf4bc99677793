"""The route of a VLAN as Harvester has it: CIDR and gateway, where they come from, and whether the gateway answers."""

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

AUTO, MANUAL = MODES = ("auto", "manual")
"""Found by DHCP, or given by the author of the network."""

REACHABLE, UNREACHABLE, DHCP_FAILED, PING_FAILED = CONNECTIVITY = ("true", "false", "DHCP failed", "ping failed")
"""Harvester's words: the gateway answers, it does not, no server answered, no question could be sent."""


@dataclasses.dataclass(frozen=True)
class Route:
    """What is known of a VLAN's route.

    Attributes:
        mode: one of MODES; empty where nobody chose, which Harvester takes for neither.
        cidr: the subnet of the VLAN's machines.
        gateway: their router.
        server: the DHCP server to ask; None to ask all.
        connectivity: one of CONNECTIVITY; empty when it was not checked.
        outdated: cidr and gateway belong to an earlier VLAN or mode, and are to be found anew.
    """

    mode: str = ""
    cidr: Network | None = None
    gateway: Address | None = None
    server: Address | None = None
    connectivity: str = ""
    outdated: bool = False


def find_route_faults(cidr: Network, gateway: Address) -> list[str]:
    """List what is wrong with a CIDR and its gateway; nothing when machines can use them.

    A /31, /32, /127 or /128 has neither a network nor a broadcast address (RFC 3021, RFC 6164). IPv6 knows no
    broadcast; the first address of a longer subnet is its routers' anycast address (RFC 4291, section 2.6.1), so it
    names no gateway.
    """
    faults = [f"cidr {cidr} has an empty mask"] if cidr.prefixlen == 0 else []
    if cidr.version != gateway.version:
        faults.append(f"gateway {gateway} is IPv{gateway.version}, but cidr {cidr} is IPv{cidr.version}")
    elif gateway not in cidr:
        faults.append(f"gateway {gateway} is outside cidr {cidr}")
    elif cidr.max_prefixlen - cidr.prefixlen > 1:
        if gateway == cidr.network_address:
            faults.append(f"gateway {gateway} is the network address of cidr {cidr}")
        elif cidr.version == 4 and gateway == cidr.broadcast_address:
            faults.append(f"gateway {gateway} is the broadcast address of cidr {cidr}")
    return faults


def plan_outdated(old: Route | None, new: Route | None, old_vlan: int, new_vlan: int) -> Route | None:
    """Say what must stand after an edit of a network, as Harvester's admission webhook has it.

    A new VLAN makes what was found worthless: without a VLAN there is nothing to find, an `auto` route is to be found
    again, and for another mode the author is taken to have given the new values in the same edit. Within a VLAN only
    a change of mode counts, so that writing down what was found clears the mark.

    Args:
        old: the route before the edit, None for none.
        new: the route that the edit leaves, None for none.
        old_vlan: the VLAN before, 0 for none.
        new_vlan: the VLAN after.

    Returns:
        The route to write; None when there must be none.
    """
    if new is None:
        return None
    if old_vlan != new_vlan:
        return None if new_vlan == 0 else dataclasses.replace(new, outdated=new.mode == AUTO)
    if old is None or old.mode == new.mode:
        return new
    return dataclasses.replace(new, outdated=new.mode == AUTO)


def merge_discovered(current: Route | None, found: Route) -> Route:
    """Say what to write after a discovery.

    Mode and server are the author's and stay. CIDR and gateway are replaced even by nothing: Harvester's readers take
    any that are there for good ones, so after a failed discovery an old pair must not stand beside "DHCP failed".

    A manual route is its author's altogether: only its connectivity changes, and not to "DHCP failed" or to nothing,
    for it never asked for DHCP.

    Args:
        current: the route that stands there now, None for none; then the new one's mode is `auto`.
        found: cidr, gateway and connectivity as discovered; its other values do not count.
    """
    if current is not None and current.mode == MANUAL:
        keep = found.connectivity in {"", DHCP_FAILED}
        return current if keep else dataclasses.replace(current, connectivity=found.connectivity)
    return dataclasses.replace(
        Route(mode=AUTO) if current is None else current,
        cidr=found.cidr,
        gateway=found.gateway,
        connectivity=found.connectivity,
        outdated=False,
    )
