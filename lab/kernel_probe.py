"""Tell whether this machine's kernel can do all that the kernel tests need: `python3 lab/kernel_probe.py`.

It prints "native" and exits with 0 if so. Else it prints what is missing, one a line, and exits with 1;
lab/uml-run then has a kernel that can. Each feature is used for real, in a child process with a network and
a mount namespace of its own, which end with it: nothing stays but the modules that the kernel loaded.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import sys

CLONE_NEWNS_AND_NEWNET = 0x00020000 | 0x40000000
NAMESPACES = "network namespaces"
FEATURES = {  # in this order: a later one may use the links of an earlier one
    "veth": ["ip link add veth0 type veth peer name veth1"],
    "vlan_filtering": [
        "ip link add bridge0 type bridge vlan_filtering 1",
        "ip link set veth0 master bridge0",
        "bridge vlan add dev veth0 vid 100",
    ],
    "dummy": ["ip link add dummy0 type dummy"],
    "8021q": ["ip link add link veth1 name veth1.100 type vlan id 100"],
    "nftables bridge": ["nft add table bridge t { chain c { type filter hook forward priority 0; }; }"],
    NAMESPACES: [
        "mount --make-rprivate /",
        "mount -t tmpfs probe /run",
        "ip netns add probe",
        "ip link set veth1 netns probe",
    ],
}


def works(commands: list[str]) -> bool:
    """Run commands until one fails; tell whether all of them succeeded."""
    runs = (subprocess.run(shlex.split(line), check=False, capture_output=True) for line in commands)
    return all(run.returncode == 0 for run in runs)


def missing_features() -> list[str]:
    """Try every feature in fresh namespaces, in which this process stays."""
    programs = [f"program {name}" for name in ("ip", "bridge", "nft", "mount") if not shutil.which(name)]
    if programs:
        return programs
    if ctypes.CDLL(None).unshare(CLONE_NEWNS_AND_NEWNET) != 0:
        return [NAMESPACES]
    return [name for name, commands in FEATURES.items() if not works(commands)]


if __name__ == "__main__":
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    missing = missing_features()
    print("\n".join(missing or ["native"]))
    sys.exit(1 if missing else 0)
