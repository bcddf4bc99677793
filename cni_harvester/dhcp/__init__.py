"""The client's side of DHCP: asking, judging what servers answer, leases. RFC 2131.

Shared by discovery, which asks and takes nothing, and by IPAM, which takes a lease.
"""
