"""Route discovery: which CIDR and gateway a VLAN has, whether they can be reached, and which VLANs a port carries."""
