"""Layer-2 networks for virtual machines on Kubernetes: the `cni-harvester` CNI plugin and node tool.

The rooms, from the bottom up: `errors`, `model` (what things are), `kernel` and `cni` (how the kernel and a
runtime are spoken to), `attach` (what a verb does), `cli` (the human's door). docs/architecture.md has the picture.
"""

__version__ = "0.1.0"
