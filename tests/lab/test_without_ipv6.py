"""A node whose kernel was started with `ipv6.disable=1`."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
from lab import namespaces, node
from lab.plugin import InProcess
from lab.shell import run_ip

config = {"cniVersion": "1.0.0", "name": "net", "type": "cni-harvester", "bridge": "vm-br", "vlan": 100}
addressed = config | {"ipam": {"type": "static", "addresses": [{"address": "192.0.2.5/24"}]}}
namespaces.leave_machine()
run_ip("link add vm-br type bridge vlan_filtering 1", "link set vm-br up")
with namespaces.make_container("pod") as container:
    for wanted in (config, addressed):
        result = InProcess().add(wanted, container)
        checked = InProcess().call("CHECK", wanted | {"prevResult": result}, container)
        assert checked.exit_status == 0, checked
        InProcess().delete(wanted, container)
assert node.list_attachments() == []
print("attached without IPv6")
"""


def test_attachment_on_a_kernel_without_ipv6_works() -> None:
    """ADD, CHECK and DEL need no IPv6 on the node: they leave its attributes and settings alone."""
    command = [str(_ROOT / "lab/uml-run"), "--arg", "ipv6.disable=1", "--", sys.executable, "-c", _PROGRAM]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "attached without IPv6\n"), done.stderr
