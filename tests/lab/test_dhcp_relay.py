"""The lab's DHCP relay: a guest on one side of it, a server on the other."""

from collections.abc import Iterator

import pytest

from lab.dhcp import KINDS, RelayLink, connect_relay, hold_lease, request_lease, serve_dhcp, serve_relay
from lab.namespaces import Container, make_container

SUBNET = "192.0.2.0/24"
GUEST_MAC = "02:00:00:00:00:05"

every_kind = pytest.mark.parametrize("kind", [kind for kind, server in KINDS.items() if server.serves_relays])


@pytest.fixture
def server_host(plain_network: None) -> Iterator[Container]:
    """A namespace for the server; `container`, which has 192.0.2.1, is the relay."""
    with make_container("server") as made:
        yield made


@pytest.fixture
def link(container: Container, server_host: Container) -> RelayLink:
    """The link between relay and server."""
    return connect_relay(container, server_host, SUBNET)


@every_kind
@pytest.mark.parametrize("agent_option", [True, False], ids=["option-82", "plain"])
def test_guest_gets_a_lease_through_the_relay(
    container: Container, other: Container, server_host: Container, link: RelayLink, kind: str, agent_option: bool
) -> None:
    """The server is in another subnet; the guest's router is the relay."""
    with (
        serve_dhcp(server_host, link.server_interface, str(link.server_address), kind=kind, subnet=SUBNET) as server,
        serve_relay(
            container, "eth0", link.relay_interface, str(link.server_address.ip), agent_option=agent_option
        ) as relay,
    ):
        lease = request_lease(other)
        assert lease is not None, server.read_log() + relay.read_log()
        assert (lease.server, lease.options["router"]) == ("198.51.100.2", "192.0.2.1")
        assert server.list_leases() == {GUEST_MAC: lease.address.removesuffix("/24")}


@every_kind
def test_release_goes_to_the_server_past_the_relay(
    container: Container, other: Container, server_host: Container, link: RelayLink, kind: str
) -> None:
    """It is no broadcast, so the guest needs its router for it."""
    with (
        serve_dhcp(server_host, link.server_interface, str(link.server_address), kind=kind, subnet=SUBNET) as server,
        serve_relay(container, "eth0", link.relay_interface, str(link.server_address.ip)),
        hold_lease(other) as client,
    ):
        other.ip(f"route add default via {client.lease.options['router']}")
        client.release()
        server.wait_for_lease(GUEST_MAC, "released")


def test_kind_that_knows_no_relays_is_refused(container: Container) -> None:
    """It would have no answer to a relayed question."""
    serving = serve_dhcp(container, "eth0", "198.51.100.2/30", kind="udhcpd", subnet=SUBNET)
    with pytest.raises(ValueError, match="does not serve relays"), serving:
        pytest.fail("the block must not begin")
