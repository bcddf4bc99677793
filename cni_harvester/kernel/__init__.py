"""How the kernel is spoken to: netlink, namespaces, sysctls, nftables. The only importer of pyroute2.

Functions take a `Handle` (an open rtnetlink socket of one network namespace) and return plain dataclasses. They name
the object in every error; what the kernel refused is a `KernelRefused` with its errno.
"""
