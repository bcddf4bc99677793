"""An attachment's identity, and what is named after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.errors import InvalidEnvironment
from cni_harvester.model import attachment, names
from cni_harvester.model.attachment import Attachment

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
identifiers = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(LETTERS + "_.-", max_size=60))
interface_names = st.text(min_size=1, max_size=15).filter(lambda name: names.find_interface_name_fault(name) is None)
attachments = st.builds(Attachment, identifiers, identifiers, interface_names)
vid_sets = st.frozensets(st.integers(1, 4094), max_size=120)

EXAMPLE = Attachment("vlan100", "c-1", "eth0")


def test_identity_gives_the_same_names_in_every_release() -> None:
    """Attachments must be found again by a later release, so what is derived from an identity never changes."""
    assert EXAMPLE.alias == "cni-harvester:vlan100/c-1/eth0"
    assert EXAMPLE.host_end == "vethx5ynqdeoz5c"
    assert EXAMPLE.host_mac == "fa:87:68:cf:ee:2d"
    assert EXAMPLE.container_mac == "92:30:8e:ec:24:a2"
    assert EXAMPLE.group == attachment.network_group("vlan100") == 1198426313


@given(attachments)
def test_host_end_name_is_a_valid_interface_name_of_a_veth(one: Attachment) -> None:
    """It starts with `veth`, as host firewalls and tools expect, and fits in 15 bytes."""
    assert one.host_end.startswith("veth")
    assert len(one.host_end) == names.INTERFACE_NAME_MAX_BYTES
    assert names.find_interface_name_fault(one.host_end) is None


@given(attachments)
def test_identity_made_twice_gives_equal_names(one: Attachment) -> None:
    """DEL finds by the same three words what ADD made."""
    again = Attachment(one.network, one.container_id, one.ifname)
    assert (again.host_end, again.host_mac, again.container_mac, again.group, again.alias) == (
        one.host_end,
        one.host_mac,
        one.container_mac,
        one.group,
        one.alias,
    )


@given(attachments, attachments)
def test_identities_that_differ_give_names_that_differ(one: Attachment, other: Attachment) -> None:
    """Two attachments never share a host end or a MAC."""
    same = one == other
    assert (one.host_end == other.host_end) == same
    assert (one.host_mac == other.host_mac) == same
    assert (one.container_mac == other.container_mac) == same


@pytest.mark.parametrize(
    "other",
    [
        Attachment("vlan10", "0c-1", "eth0"),
        Attachment("vlan100c", "-1", "eth0"),
        Attachment("vlan100", "c-", "1eth0"),
        Attachment("vlan100", "c-1", "eth1"),
        Attachment("vlan100", "c-2", "eth0"),
        Attachment("vlan101", "c-1", "eth0"),
        Attachment("c-1", "vlan100", "eth0"),
    ],
)
def test_identity_is_not_confused_with_one_of_the_same_letters(other: Attachment) -> None:
    """Where one word of an identity ends and the next begins is part of it."""
    assert other.host_end != EXAMPLE.host_end
    assert other.alias != EXAMPLE.alias


@given(attachments)
def test_host_mac_is_above_those_of_vendors_and_unlike_a_taps(one: Attachment) -> None:
    """The host end's MAC starts with `fa`, so that a bridge rather takes the uplink's, and never with `fe`."""
    assert one.host_mac.startswith("fa:")
    assert int(one.container_mac[:2], 16) & 0b11 == 0b10
    assert not one.container_mac.startswith("fe:")


@given(attachments)
def test_alias_is_read_back_as_the_same_attachment(one: Attachment) -> None:
    """The kernel is the only database: an ifalias tells the whole identity."""
    assert attachment.parse_alias(one.alias) == one


@pytest.mark.parametrize(
    "alias",
    [
        "",
        "uplink to switch 3",
        "cni-harvester",
        "cni-harvester:",
        "cni-harvester:a/b",
        "cni-harvester:a/b/c/d",
        "cni-harvester:/b/c",
        "cni-harvester:a//c",
        "cni-harvester:a/b/",
        "CNI-harvester:a/b/c",
        " cni-harvester:a/b/c",
        "cni-harvester:uplink:100,200-210",
    ],
)
def test_alias_of_somebody_else_is_no_attachment(alias: str) -> None:
    """An ifalias that we did not write, or wrote for an uplink, names no attachment."""
    assert attachment.parse_alias(alias) is None


def test_identity_of_255_bytes_fits_in_an_ifalias() -> None:
    """The longest identity takes the ifalias to its last byte."""
    one = Attachment("n" * 100, "c" * 135, "eth0")
    assert len(one.alias) == attachment.ALIAS_MAX_BYTES == 255
    assert attachment.parse_alias(one.alias) == one


@pytest.mark.parametrize(
    ("container_id", "ifname", "size"), [("c" * 136, "eth0", 256), ("c" * 135, "ethé", 256), ("c" * 900, "eth0", 1020)]
)
def test_identity_that_is_too_long_for_an_ifalias_is_refused(container_id: str, ifname: str, size: int) -> None:
    """An attachment that could not be found again is not made; bytes count, not characters."""
    with pytest.raises(InvalidEnvironment) as caught:
        Attachment("n" * 100, container_id, ifname)
    assert f"it takes {size} bytes" in caught.value.msg
    assert "239 bytes" in caught.value.details


@given(identifiers)
def test_network_group_is_a_link_group_other_than_the_default(network: str) -> None:
    """Whatever the name, the group fits in 32 bits and is not 0, which all other links have."""
    assert 0 < attachment.network_group(network) < 1 << 32


def test_network_groups_of_different_networks_differ() -> None:
    """GC tells networks apart by the group; a thousand of them all have their own."""
    groups = {attachment.network_group(f"vlan{number}") for number in range(1000)}
    assert len(groups) == 1000
    assert attachment.BRIDGE_GROUP not in groups


@given(vid_sets)
def test_uplink_alias_that_fits_is_read_back_as_the_same_vids(vids: frozenset[int]) -> None:
    """Which VIDs are ours on an uplink survives in its ifalias; what does not fit is forgotten, never invented."""
    alias = attachment.format_uplink_alias(vids)
    found = attachment.parse_uplink_alias(alias)
    assert len(alias) <= attachment.ALIAS_MAX_BYTES
    assert found is not None
    assert found <= vids
    assert found == vids or len(alias) > attachment.ALIAS_MAX_BYTES - len(",4093-4094")


@pytest.mark.parametrize(
    ("vids", "alias"),
    [
        (frozenset(), ""),
        (frozenset({100}), "cni-harvester:uplink:100"),
        (frozenset({100, 200, 201, 202}), "cni-harvester:uplink:100,200-202"),
        (frozenset(range(1, 4095)), "cni-harvester:uplink:1-4094"),
    ],
)
def test_uplink_alias_lists_ranges(vids: frozenset[int], alias: str) -> None:
    """`ip link` shows a person which VIDs of an uplink are ours; for none the ifalias is empty."""
    assert attachment.format_uplink_alias(vids) == alias
    assert attachment.parse_uplink_alias(alias) == vids


def test_uplink_alias_of_too_many_ranges_keeps_the_first_that_fit() -> None:
    """Ranges beyond 255 bytes are left out, so that those VIDs stay on the uplink."""
    odd = frozenset(range(1001, 1401, 2))
    alias = attachment.format_uplink_alias(odd)
    kept = attachment.parse_uplink_alias(alias)
    assert len(alias) == len("cni-harvester:uplink:") + 46 * 5 + 4 == 255
    assert kept == frozenset(range(1001, 1001 + 2 * 47, 2))


@pytest.mark.parametrize(
    "alias",
    [
        "uplink to switch 3",
        "cni-harvester:vlan100/c-1/eth0",
        "cni-harvester:uplink:",
        "cni-harvester:uplink:x",
        "cni-harvester:uplink:1,",
        "cni-harvester:uplink:0",
        "cni-harvester:uplink:4095",
        "cni-harvester:uplink:20-10",
        " cni-harvester:uplink:1",
    ],
)
def test_uplink_alias_of_somebody_else_is_not_ours_to_change(alias: str) -> None:
    """An ifalias that we cannot have written tells that the uplink's VIDs are not ours."""
    assert attachment.parse_uplink_alias(alias) is None
