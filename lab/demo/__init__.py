"""The demo: networks of virtual machines on a real kernel, made by the built plugin. `python3 -m lab.demo`, as root.

A cluster network with DHCP servers behind its uplink; four guests on it; what they reach and what they do not; then
damage, wrong configurations, and the clean-up. All of it is in network namespaces of its own, which end with it.

Every line with a check mark is something that the program found to be true just then. The first that is not true ends
the demo with status 1.
"""
