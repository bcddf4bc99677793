"""What things are: names, VLAN tables, MTUs, MACs and attachments, as pure values without any input or output."""
