"""A server's grant made into a lease: what it says, and what stands for what it does not say."""

import dataclasses
import time
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.dhcp.identity import Client
from cni_harvester.dhcp.offer import Offer
from cni_harvester.ipam.grant import make_lease
from cni_harvester.ipam.lease import Lease, now_s
from cni_harvester.wire import dhcp
from cni_harvester.wire.dhcp_options import StaticRoute

from .samples import DEFAULT, INFINITE_S, LEASE, MAC, SERVER, SERVER_MAC

CLIENT = Client(MAC, b"\0vm-1", SERVER)
GRANT = Offer(
    dhcp.ACK,
    SERVER,
    SERVER_MAC,
    None,
    IPv4Address("192.0.2.77"),
    network=IPv4Network("192.0.2.0/24"),
    gateway=IPv4Address("192.0.2.254"),
    lease_s=1000,
)


def grant(**changes: object) -> Lease:
    """Make a lease of a grant that differs in some values."""
    return make_lease(LEASE.attachment, "/run/netns/pod-1", CLIENT, dataclasses.replace(GRANT, **changes))


def test_lease_has_what_the_grant_says() -> None:
    """Address with the subnet's length, server, who asked, and where the interface is."""
    lease = grant()
    assert (lease.attachment, lease.netns, lease.client) == (LEASE.attachment, "/run/netns/pod-1", CLIENT)
    assert (lease.address, lease.gateway) == (IPv4Interface("192.0.2.77/24"), IPv4Address("192.0.2.254"))
    assert (lease.server, lease.server_mac, lease.lease_s) == (SERVER, SERVER_MAC, 1000)


def test_lease_runs_from_when_it_was_asked_for() -> None:
    """The server counts from its answer, which comes later: so it never ends before ours."""
    lease = grant(asked_at_s=time.monotonic() - 20)
    assert lease.obtained_s == pytest.approx(now_s() - 20, abs=1)


def test_routes_have_the_default_one_first_and_none_through_the_link() -> None:
    """A gateway of 0.0.0.0 means that the destination is on the link itself (RFC 3442)."""
    near, far = IPv4Network("198.51.100.0/24"), IPv4Network("203.0.113.0/24")
    routes = (StaticRoute(near, IPv4Address(0)), StaticRoute(far, IPv4Address("192.0.2.9")))
    assert grant(routes=routes).routes == (
        (DEFAULT, IPv4Address("192.0.2.254")),
        (near, None),
        (far, IPv4Address("192.0.2.9")),
    )
    assert grant(gateway=None).routes == ()


@pytest.mark.parametrize(
    ("lease_s", "t1_s", "t2_s", "expected"),
    [
        pytest.param(1000, None, None, (500, 875), id="none: a half, and seven eighths"),
        pytest.param(1000, 300, 600, (300, 600), id="both"),
        pytest.param(1000, 300, None, (300, 875), id="T1 alone"),
        pytest.param(1000, None, 600, (500, 600), id="T2 alone"),
        pytest.param(1000, 0, 0, (500, 875), id="zero is none"),
        pytest.param(1000, 600, 300, (500, 875), id="in the wrong order"),
        pytest.param(1000, 1000, 1000, (500, 875), id="not before the end"),
        pytest.param(1000, 2000, 3000, (500, 875), id="after the end"),
        pytest.param(1000, 300, 2000, (500, 875), id="T2 after the end"),
        pytest.param(1000, 900, None, (500, 875), id="T1 after what stands for T2"),
        pytest.param(1000, None, 400, (500, 875), id="T2 before what stands for T1"),
        pytest.param(1, None, None, (0, 0), id="one second"),
        pytest.param(2, None, None, (1, 1), id="two seconds"),
    ],
)
def test_times_of_renewal_leave_time_to_renew(
    lease_s: int, t1_s: int | None, t2_s: int | None, expected: tuple[int, int]
) -> None:
    """What the server says counts if it makes sense; else RFC 2131's times do (section 4.4.5)."""
    lease = grant(lease_s=lease_s, t1_s=t1_s, t2_s=t2_s)
    assert (lease.t1_s, lease.t2_s) == expected


@given(
    lease_s=st.integers(1, INFINITE_S),
    t1_s=st.none() | st.integers(0, INFINITE_S),
    t2_s=st.none() | st.integers(0, INFINITE_S),
)
def test_times_are_in_order_whatever_the_server_says(lease_s: int, t1_s: int | None, t2_s: int | None) -> None:
    """T1 comes no later than T2, and both before the end: no lease ends without having been asked for again."""
    lease = grant(lease_s=lease_s, t1_s=t1_s, t2_s=t2_s)
    assert 0 <= lease.t1_s <= lease.t2_s < lease.lease_s


@pytest.mark.parametrize("missing", ["network", "server", "lease_s"])
def test_grant_that_cannot_be_used_is_a_bug(missing: str) -> None:
    """It is never made into a lease: who calls has judged it before."""
    with pytest.raises(ValueError, match="a usable grant"):
        grant(**{missing: None})
