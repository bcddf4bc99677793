"""A network for the tests of DHCP servers and clients: a plain bridge, which any kernel has."""

from collections.abc import Iterator

import pytest

from lab.namespaces import Container
from lab.shell import run_ip
from lab.topology import add_bridge

SERVER = "192.0.2.1/24"
GUEST_MAC = "02:00:00:00:00:05"


@pytest.fixture
def plain_network(container: Container, other: Container) -> Iterator[None]:
    """A plain bridge that connects the `eth0` of both namespaces; `container` has the server's address."""
    add_bridge("plain", filtering=False)
    for end in (container, other):
        run_ip(
            f"link add {end.name}-h type veth peer name eth0 netns {end.name}",
            f"link set {end.name}-h master plain up",
        )
    run_ip(f"address add {SERVER} dev eth0", "link set eth0 up", namespace=container.name)
    run_ip(f"link set eth0 address {GUEST_MAC} up", namespace=other.name)
    yield
    run_ip(*(f"link del {name}" for name in ("plain", f"{container.name}-h", f"{other.name}-h")))
