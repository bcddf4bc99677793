"""The rules of a VLAN's route: which gateways fit, what an edit makes outdated, what a discovery writes down."""

import dataclasses
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.model import route
from cni_harvester.model.route import Route

CIDR, GATEWAY, SERVER = ip_network("192.0.2.0/24"), ip_address("192.0.2.1"), ip_address("192.0.2.3")
FOUND = Route(cidr=ip_network("198.51.100.0/25"), gateway=ip_address("198.51.100.126"), connectivity="true")
FAILED = Route(connectivity="DHCP failed")

addresses = st.none() | st.ip_addresses()
networks = st.none() | st.builds(
    lambda address, length: ip_network((address, length % (address.max_prefixlen + 1)), strict=False),
    st.ip_addresses(),
    st.integers(0, 128),
)
routes = st.builds(
    Route,
    mode=st.sampled_from(["", *route.MODES]),
    cidr=networks,
    gateway=addresses,
    server=addresses,
    connectivity=st.sampled_from(["", *route.CONNECTIVITY]),
    outdated=st.booleans(),
)


# --- CIDR and gateway ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cidr", "gateway"),
    [
        ("192.0.2.0/24", "192.0.2.1"),
        ("192.0.2.0/24", "192.0.2.254"),
        ("192.0.2.128/30", "192.0.2.129"),
        ("192.0.2.2/31", "192.0.2.2"),
        ("192.0.2.2/31", "192.0.2.3"),
        ("192.0.2.2/32", "192.0.2.2"),
        ("128.0.0.0/1", "192.0.2.1"),
        ("2001:db8::/64", "2001:db8::1"),
        ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:db8::2/127", "2001:db8::2"),
        ("2001:db8::2/127", "2001:db8::3"),
        ("2001:db8::2/128", "2001:db8::2"),
    ],
)
def test_gateway_that_machines_of_the_subnet_can_use_has_no_fault(cidr: str, gateway: str) -> None:
    """Any address of the subnet will do; the smallest subnets consist of nothing but usable ones."""
    assert route.find_route_faults(ip_network(cidr), ip_address(gateway)) == []


@pytest.mark.parametrize(
    ("cidr", "gateway", "faults"),
    [
        ("192.0.2.0/24", "192.0.3.1", ["gateway 192.0.3.1 is outside cidr 192.0.2.0/24"]),
        ("192.0.2.2/31", "192.0.2.4", ["gateway 192.0.2.4 is outside cidr 192.0.2.2/31"]),
        ("192.0.2.2/32", "192.0.2.1", ["gateway 192.0.2.1 is outside cidr 192.0.2.2/32"]),
        ("2001:db8::/64", "fe80::1", ["gateway fe80::1 is outside cidr 2001:db8::/64"]),
        ("192.0.2.0/24", "192.0.2.0", ["gateway 192.0.2.0 is the network address of cidr 192.0.2.0/24"]),
        ("192.0.2.4/30", "192.0.2.4", ["gateway 192.0.2.4 is the network address of cidr 192.0.2.4/30"]),
        ("2001:db8::/126", "2001:db8::", ["gateway 2001:db8:: is the network address of cidr 2001:db8::/126"]),
        ("192.0.2.0/24", "192.0.2.255", ["gateway 192.0.2.255 is the broadcast address of cidr 192.0.2.0/24"]),
        ("192.0.2.4/30", "192.0.2.7", ["gateway 192.0.2.7 is the broadcast address of cidr 192.0.2.4/30"]),
        ("192.0.2.0/24", "2001:db8::1", ["gateway 2001:db8::1 is IPv6, but cidr 192.0.2.0/24 is IPv4"]),
        ("2001:db8::/64", "192.0.2.1", ["gateway 192.0.2.1 is IPv4, but cidr 2001:db8::/64 is IPv6"]),
        ("0.0.0.0/0", "192.0.2.1", ["cidr 0.0.0.0/0 has an empty mask"]),
        ("::/0", "2001:db8::1", ["cidr ::/0 has an empty mask"]),
        (
            "0.0.0.0/0",
            "2001:db8::1",
            ["cidr 0.0.0.0/0 has an empty mask", "gateway 2001:db8::1 is IPv6, but cidr 0.0.0.0/0 is IPv4"],
        ),
    ],
)
def test_gateway_that_no_machine_can_use_is_named_with_its_fault(cidr: str, gateway: str, faults: list[str]) -> None:
    """Each rule has its words, and shows both values."""
    assert route.find_route_faults(ip_network(cidr), ip_address(gateway)) == faults


@given(networks.filter(bool), addresses.filter(bool))
def test_any_pair_is_judged(cidr: route.Network, gateway: route.Address) -> None:
    """Whatever is compared, the answer is a list; without faults the gateway lies inside."""
    faults = route.find_route_faults(cidr, gateway)
    assert faults or gateway in cidr


# --- edits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [None, Route(), Route("auto"), Route("manual")])
@pytest.mark.parametrize("new", [Route(), Route("auto", CIDR, GATEWAY), Route("manual", CIDR, GATEWAY)])
def test_route_goes_with_the_vlan(old: Route | None, new: Route) -> None:
    """Row 1: the VLAN changed to none (untagged, or a trunk): no annotation."""
    assert route.plan_outdated(old, new, 100, 0) is None


@pytest.mark.parametrize("old", [None, Route(), Route("auto"), Route("manual"), Route("auto", outdated=True)])
@pytest.mark.parametrize("old_vlan", [0, 100])
@pytest.mark.parametrize("outdated", [False, True])
def test_route_of_another_vlan_is_outdated_when_it_is_to_be_found(
    old: Route | None, old_vlan: int, outdated: bool
) -> None:
    """Row 2: the VLAN changed, mode auto: outdated; the values stay until they are found anew."""
    new = Route("auto", CIDR, GATEWAY, SERVER, "true", outdated=outdated)
    assert route.plan_outdated(old, new, old_vlan, 200) == dataclasses.replace(new, outdated=True)


@pytest.mark.parametrize("old", [None, Route(), Route("auto"), Route("manual")])
@pytest.mark.parametrize("mode", ["manual", ""])
@pytest.mark.parametrize("outdated", [False, True])
def test_route_of_another_vlan_is_current_when_its_author_gives_it(
    old: Route | None, mode: str, outdated: bool
) -> None:
    """Row 3: the VLAN changed, another mode: not outdated, and everything else as the edit has it."""
    new = Route(mode, CIDR, GATEWAY, None, "true", outdated=outdated)
    assert route.plan_outdated(old, new, 100, 200) == dataclasses.replace(new, outdated=False)


@pytest.mark.parametrize("vlan", [0, 100])
@pytest.mark.parametrize(("before", "after", "outdated"), [("auto", "manual", False), ("auto", "", False)])
@pytest.mark.parametrize("was", [False, True])
def test_route_that_becomes_manual_is_current(vlan: int, before: str, after: str, outdated: bool, was: bool) -> None:
    """Row 4: the same VLAN, from auto to another mode: not outdated."""
    new = Route(after, CIDR, GATEWAY, outdated=was)
    assert route.plan_outdated(Route(before), new, vlan, vlan) == dataclasses.replace(new, outdated=outdated)


@pytest.mark.parametrize("vlan", [0, 100])
@pytest.mark.parametrize("before", ["manual", ""])
@pytest.mark.parametrize("was", [False, True])
def test_route_that_becomes_auto_is_outdated(vlan: int, before: str, was: bool) -> None:
    """Row 5: the same VLAN, from another mode to auto: outdated."""
    new = Route("auto", CIDR, GATEWAY, outdated=was)
    assert route.plan_outdated(Route(before), new, vlan, vlan) == dataclasses.replace(new, outdated=True)


@pytest.mark.parametrize("mode", ["auto", "manual", ""])
@pytest.mark.parametrize("outdated", [False, True])
def test_route_of_the_same_vlan_and_mode_is_left_alone(mode: str, outdated: bool) -> None:
    """Row 6: nothing; so writing down what was found clears the mark."""
    new = Route(mode, CIDR, GATEWAY, outdated=outdated)
    assert route.plan_outdated(Route(mode, outdated=not outdated), new, 100, 100) is new


@given(routes | st.none(), routes | st.none(), st.integers(0, 4094), st.integers(0, 4094))
def test_missing_route_is_not_made_up(old: Route | None, new: Route | None, old_vlan: int, new_vlan: int) -> None:
    """Row 7: without one before or after the edit there is nothing to do; and nothing but the mark ever changes."""
    planned = route.plan_outdated(old, new, old_vlan, new_vlan)
    if new is None:
        assert planned is None
    elif old is None and old_vlan == new_vlan:
        assert planned is new
    elif planned is not None:
        assert dataclasses.replace(planned, outdated=new.outdated) == new


# --- discoveries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "written"),
    [
        (None, Route("auto", FOUND.cidr, FOUND.gateway, None, "true")),
        (Route("auto"), Route("auto", FOUND.cidr, FOUND.gateway, None, "true")),
        (Route("auto", server=SERVER), Route("auto", FOUND.cidr, FOUND.gateway, SERVER, "true")),
        (
            Route("auto", CIDR, GATEWAY, SERVER, "false", outdated=True),
            Route("auto", FOUND.cidr, FOUND.gateway, SERVER, "true"),
        ),
        (Route("", CIDR, GATEWAY), Route("", FOUND.cidr, FOUND.gateway, None, "true")),
    ],
)
def test_discovered_route_replaces_the_old_one_and_keeps_mode_and_server(current: Route | None, written: Route) -> None:
    """What was found stands there, not outdated; what the author chose stays."""
    assert route.merge_discovered(current, FOUND) == written


@pytest.mark.parametrize("outdated", [False, True])
def test_failed_discovery_takes_the_old_values_away(outdated: bool) -> None:
    """As Harvester's own helper does: readers take a CIDR and a gateway that are there for good ones."""
    current = Route("auto", CIDR, GATEWAY, SERVER, "true", outdated=outdated)
    assert route.merge_discovered(current, FAILED) == Route("auto", server=SERVER, connectivity="DHCP failed")
    assert route.merge_discovered(None, FAILED) == Route("auto", connectivity="DHCP failed")


def test_discovery_of_a_subnet_without_a_router_is_written_without_a_gateway() -> None:
    """What is not known is absent, not the text of nothing."""
    current = Route("auto", CIDR, GATEWAY)
    assert route.merge_discovered(current, Route(cidr=FOUND.cidr)) == Route("auto", FOUND.cidr)


@pytest.mark.parametrize(
    ("before", "found", "after"),
    [
        ("", "true", "true"),
        ("true", "false", "false"),
        ("false", "ping failed", "ping failed"),
        ("true", "", "true"),
        ("true", "DHCP failed", "true"),
        ("", "DHCP failed", ""),
    ],
)
def test_manual_route_gets_a_connectivity_and_nothing_else(before: str, found: str, after: str) -> None:
    """Its author knows the subnet; what DHCP says is none of its business."""
    current = Route("manual", CIDR, GATEWAY, SERVER, before, outdated=True)
    written = route.merge_discovered(current, dataclasses.replace(FOUND, connectivity=found))
    assert written == dataclasses.replace(current, connectivity=after)


@given(routes | st.none(), routes)
def test_discovery_that_is_written_twice_changes_nothing(current: Route | None, found: Route) -> None:
    """Merging is idempotent, and never changes what an author chose."""
    written = route.merge_discovered(current, found)
    assert route.merge_discovered(written, found) == written
    if current is not None:
        assert (written.mode, written.server) == (current.mode, current.server)
