"""A network to try things in: namespaces with a trunk uplink, DHCP servers and machines, on any kernel.

The demo and the tests are built from it. It drives the node with iproute2, never with our own netlink code, so that it
can bear witness against it. On a kernel without VLAN filtering all of it runs inside User-Mode Linux (`lab/uml-run`).
"""
