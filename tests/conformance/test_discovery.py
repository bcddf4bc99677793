"""Discovery by the built program: what it leaves when it is killed, and whom it believes to be beyond the uplink."""

import json
import subprocess
import time
from collections.abc import Callable

from lab import node
from lab.namespaces import Container, make_container
from lab.plugin import Bundle
from lab.topology import ClusterNetwork

WAIT_S = 20


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for something, but not for ever; return whether it came."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def test_killed_discovery_leaves_nothing(cluster: ClusterNetwork, bundle: Bundle) -> None:
    """SIGKILL while it listens: the machine goes with its namespace, the VLAN by the DEL that waits for that."""
    before = node.take_snapshot()
    command = [str(bundle.path), "discover", "--bridge", cluster.bridge, "--vlan", "100", "--timeout", "60"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        joined = wait_until(lambda: 100 in node.list_vlans()[cluster.uplink] and bool(node.list_attachments()))
        process.kill()
    assert joined
    assert wait_until(lambda: node.list_differences(before, node.take_snapshot()) == [])


def test_machines_of_this_node_are_no_sign_of_the_vlan_at_the_switch(cluster: ClusterNetwork, bundle: Bundle) -> None:
    """Where only a neighbour on the node can be heard, the reason is still silence from beyond the uplink."""
    config = {"cniVersion": "1.0.0", "name": "n", "type": "cni-harvester", "bridge": cluster.bridge, "vlan": 100}
    with make_container("pod-1") as container:
        bundle.add(config, container)
        container.run("ip address add 192.0.2.5/24 dev eth0")
        with _chatter(container):
            words = f"discover --bridge {cluster.bridge} --vlan 100 --timeout 3 -o json".split()
            done = subprocess.run([str(bundle.path), *words], capture_output=True, text=True, check=False)
        bundle.delete(config, container)
    found = json.loads(done.stdout)
    assert (done.returncode, found["reason"]) == (1, "silence")
    assert "from beyond its uplink" in found["message"]
    assert "only 1 station of this node" in found["message"]


def _chatter(container: Container) -> subprocess.Popen[bytes]:
    """Have a machine ask by ARP for somebody who is not there, again and again; ends after a minute at the latest."""
    words = ["ip", "netns", "exec", container.name, "busybox", "arping", "-w", "60", "-I", "eth0", "192.0.2.99"]
    return _Ended(words, stdout=subprocess.DEVNULL)


class _Ended(subprocess.Popen[bytes]):
    """A process that is ended with its `with` block."""

    def __exit__(self, *exception: object) -> None:
        self.terminate()
        self.wait()
