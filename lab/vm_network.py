"""A network for virtual machines, and what stands on it: on ports of a plain bridge, or in a VLAN behind a trunk.

A plain bridge needs no VLAN filtering, so it is there on every kernel. Nobody on it speaks unless told to: neither the
bridge nor its ports have an IPv6 address or a multicast group that they would announce.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from lab.namespaces import Container
from lab.shell import run_ip
from lab.topology import ClusterNetwork

_CALL_IPTABLES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@contextlib.contextmanager
def make_plain_network(name: str = "vm-br", *, mtu: int = 1500) -> Iterator[str]:
    """Make a plain bridge for the time of a `with` block, and yield its name.

    Its MTU stays as it is whatever joins it. Where the machine's kernel has br_netfilter loaded, which drops damaged
    packets before anybody sees them, this node goes without.
    """
    if _CALL_IPTABLES.exists():
        _CALL_IPTABLES.write_text("0")
    # Only an MTU that is changed is kept (see docs/architecture.md, "The MTU pin").
    run_ip(
        f"link add {name} mtu {mtu - 1} type bridge mcast_snooping 0",
        f"link set {name} mtu {mtu} addrgenmode none",
        f"link set {name} up",
    )
    try:
        yield name
    finally:
        run_ip(f"link del {name}")


@contextlib.contextmanager
def plug_in(
    bridge: str, container: Container, *, address: str = "", mac: str = "", mtu: int = 1500
) -> Iterator[Container]:
    """Connect a container's `eth0`, up, to a bridge for the time of a `with` block.

    Args:
        bridge: the bridge.
        container: who is connected.
        address: the address, with prefix length, of its interface.
        mac: of its interface; one by chance if left out.
        mtu: of the cable.
    """
    port = f"{container.name}-p"
    run_ip(
        f"link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {container.name}",
        f"link set {port} addrgenmode none master {bridge}",
        f"link set {port} up",
    )
    commands = [f"link set eth0 address {mac}"] if mac else []
    commands += [f"address add {address} dev eth0"] if address else []
    run_ip("link set eth0 addrgenmode none", *commands, "link set eth0 up", namespace=container.name)
    try:
        yield container
    finally:
        run_ip(f"link del {port}")  # by ourselves, for the kernel takes its time after the end of a namespace


def join_vlan(network: ClusterNetwork, vid: int, *, address: str = "") -> str:
    """Give the switch at the far end of a trunk an interface in a VLAN, up, and return its name."""
    name = f"{network.trunk}.{vid}"
    addresses = [f"address add {address} dev {name}"] if address else []
    run_ip(
        f"link add link {network.trunk} name {name} type vlan id {vid}",
        f"link set {name} up",
        *addresses,
        namespace=network.switch.name,
    )
    return name


@contextlib.contextmanager
def repeat_frame(bridge: str, frame: bytes, *, interval_s: float = 0.05) -> Iterator[None]:
    """Have a station on a bridge send a frame over and over for the time of a `with` block."""
    run_ip(
        "link add talker type veth peer name talker-p",
        f"link set talker-p addrgenmode none master {bridge}",
        "link set talker addrgenmode none",
        "link set talker-p up",
        "link set talker up",
    )
    stop = threading.Event()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("talker", 0))

        def talk() -> None:
            while not stop.wait(interval_s):
                sock.send(frame)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            run_ip("link del talker")
