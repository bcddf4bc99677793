"""Frames as values: DHCP, ARP, ICMP, router advertisements, and what switches say, made and read with scapy.

Pure: nothing here sends, receives or waits (`kernel.frames` does). What is read comes from whoever is on the network:
nothing in a frame may raise; a fault becomes part of the value.
"""
