"""DHCP in the lab: real servers of a network, a relay, and busybox's udhcpc as a machine's client.

Discovery and leases have to work with whatever server a site runs, so there are several: they differ in what they send
unasked, in how they reach a client without an address, and in what they keep of a lease that has ended. All run inside
the lab's namespaces, and their files go when they do.

    with serve_dhcp(container, "eth0", "192.0.2.1/24", kind="kea") as server:
        lease = request_lease(machine)
        server.find_lease(mac)

The faulty server, which sends what no real one would, is `lab.faulty_dhcp`.
"""

from lab.dhcp.client import DhcpClient, Lease, hold_lease, request_lease
from lab.dhcp.relay import RelayLink, connect_relay, serve_relay
from lab.dhcp.scope import OWN_ADDRESS, Scope
from lab.dhcp.serve import KINDS, serve_dhcp
from lab.dhcp.server import DhcpServer, LabLease

__all__ = [
    "KINDS",
    "OWN_ADDRESS",
    "DhcpClient",
    "DhcpServer",
    "LabLease",
    "Lease",
    "RelayLink",
    "Scope",
    "connect_relay",
    "hold_lease",
    "request_lease",
    "serve_dhcp",
    "serve_relay",
]
