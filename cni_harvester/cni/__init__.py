"""How a runtime speaks to us: request, network configuration, result, versions, dispatch, delegation to IPAM plugins.

The contract is the CNI specification 1.1.0 (SPEC.md and CONVENTIONS.md of containernetworking/cni) and what libcni
does with it. Nothing here touches the kernel.
"""
