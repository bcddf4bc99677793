"""VLAN sets and the table of a bridge port."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_harvester.model import vlan
from cni_harvester.model.vlan import PortVlans, VlanChange

vid_sets = st.frozensets(st.integers(1, 4094))


def table(tagged: str = "none", untagged: str = "none", pvid: int | None = None) -> PortVlans:
    """Write a port's table in short."""
    return PortVlans(vlan.parse_vids(tagged), vlan.parse_vids(untagged), pvid)


def make_table(untagged_by_vid: dict[int, bool], pvid: int | None) -> PortVlans:
    """Make a port's table of its VIDs, each untagged or not."""
    untagged = frozenset(vid for vid, flag in untagged_by_vid.items() if flag)
    return PortVlans(frozenset(untagged_by_vid) - untagged, untagged, pvid)


def list_tables(vids: tuple[int, ...]) -> Iterator[PortVlans]:
    """Yield every table that a port can have with some of these VIDs."""
    for flags in itertools.product([None, False, True], repeat=len(vids)):
        untagged_by_vid = {vid: flag for vid, flag in zip(vids, flags, strict=True) if flag is not None}
        for pvid in (None, *untagged_by_vid):
            yield make_table(untagged_by_vid, pvid)


PAIRS = list(itertools.product(list_tables((1, 2, 4094)), repeat=2))


@st.composite
def tables(draw: st.DrawFn) -> PortVlans:
    """Draw a table that a port can have: few VIDs, so that two tables often have some in common."""
    untagged_by_vid = draw(st.dictionaries(st.integers(1, 8), st.booleans()))
    return make_table(untagged_by_vid, draw(st.sampled_from([None, *untagged_by_vid])))


class KernelPort:
    """What Linux makes of a port's table: net/bridge/br_vlan.c, __vlan_flags_update and __vlan_delete_pvid."""

    def __init__(self, start: PortVlans) -> None:
        self.untagged_by_vid = dict.fromkeys(start.tagged, False) | dict.fromkeys(start.untagged, True)
        self.pvid = start.pvid

    def delete(self, vid: int) -> None:
        """RTM_DELLINK of one VID: it takes the PVID with it."""
        del self.untagged_by_vid[vid]
        self.pvid = None if self.pvid == vid else self.pvid

    def put(self, vid: int, *, untagged: bool, pvid: bool) -> None:
        """RTM_SETLINK of one VID: its flags are replaced, and PVID moves to it, or goes when it had it."""
        self.untagged_by_vid[vid] = untagged
        if pvid:
            self.pvid = vid
        elif self.pvid == vid:
            self.pvid = None

    def apply(self, change: VlanChange) -> PortVlans:
        """Carry out a change as kernel.bridge_vlans sends it: deletions, entries without PVID, the PVID's entry."""
        for vid in sorted(change.remove):
            self.delete(vid)
        for vid in sorted(change.add.vids, key=lambda vid: (vid == change.add.pvid, vid)):
            self.put(vid, untagged=vid in change.add.untagged, pvid=vid == change.add.pvid)
        return make_table(self.untagged_by_vid, self.pvid)


@given(vid_sets)
def test_vids_written_are_read_back(vids: frozenset[int]) -> None:
    """What `format_vids` writes, `parse_vids` reads."""
    assert vlan.parse_vids(vlan.format_vids(vids)) == vids


@given(vid_sets)
def test_ranges_of_vids_are_ascending_apart_and_complete(vids: frozenset[int]) -> None:
    """Runs are as long as can be, in order, and hold every VID once."""
    ranges = list(vlan.iter_ranges(vids))
    assert [vid for first, last in ranges for vid in range(first, last + 1)] == sorted(vids)
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(ranges))


@pytest.mark.parametrize(
    ("vids", "text"),
    [
        ([], "none"),
        ([1], "1"),
        ([4094, 1], "1,4094"),
        ([1, 2], "1-2"),
        ([100, 101, 102, 1, 200], "1,100-102,200"),
        ([5, 5, 6], "5-6"),
        (range(1, 4095), "1-4094"),
    ],
)
def test_vids_are_written_as_people_write_them(vids: list[int], text: str) -> None:
    """Ascending, without duplicates, runs as ranges; `none` for none."""
    assert vlan.format_vids(vids) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "1,",
        ",1",
        "0",
        "4095",
        "1-4095",
        "0-5",
        "10-5",
        "-5",
        "5-",
        "-",
        "1-2-3",
        "1 ",
        " 1",
        "1\n",
        "+1",
        "1.0",
        "0x10",
        "a",
        "\u0663",
        "1_0",
        "None",
        "none,1",
        "9" * 30,
        pytest.param("9" * 5000, id="5000 digits"),
    ],
)
def test_vids_in_another_form_are_refused(text: str) -> None:
    """Anything that is no list of VIDs and ranges within 1-4094 is a ValueError."""
    with pytest.raises(ValueError, match=r"VLAN ID|within|digits"):
        vlan.parse_vids(text)


@pytest.mark.parametrize(
    ("access", "trunk", "default_pvid", "preserve", "expected"),
    [
        # no VLAN asked for: the bridge's default one
        (0, "none", 1, False, table(untagged="1", pvid=1)),
        (0, "none", 50, False, table(untagged="50", pvid=50)),
        (0, "none", 0, False, table()),
        (0, "none", 1, True, table(untagged="1", pvid=1)),
        (0, "none", 0, True, table()),
        # access port
        (100, "none", 1, False, table(untagged="100", pvid=100)),
        (100, "none", 0, False, table(untagged="100", pvid=100)),
        (1, "none", 1, False, table(untagged="1", pvid=1)),
        (1, "none", 50, False, table(untagged="1", pvid=1)),
        (4094, "none", 1, False, table(untagged="4094", pvid=4094)),
        # trunk without a native VLAN of its own
        (0, "101,200-210", 1, False, table("101,200-210", "1", 1)),
        (0, "101", 50, False, table("101", "50", 50)),
        (0, "101", 0, False, table("101")),
        # trunk with a native VLAN
        (100, "101,200-210", 1, False, table("101,200-210", "100", 100)),
        (100, "101", 0, False, table("101", "100", 100)),
        # a trunk that lists the native VLAN too: native wins
        (100, "100-102", 1, False, table("101-102", "100", 100)),
        (100, "100", 1, False, table(untagged="100", pvid=100)),
        (0, "1-4094", 1, False, table("2-4094", "1", 1)),
        (0, "50-51", 50, False, table("51", "50", 50)),
        # a trunk that lists the bridge's default VLAN, which is not native: tagged like the others
        (100, "1,101", 1, False, table("1,101", "100", 100)),
        # preserveDefaultVlan: the default one leaves untagged beside the native one
        (100, "none", 1, True, table(untagged="1,100", pvid=100)),
        (100, "none", 50, True, table(untagged="50,100", pvid=100)),
        (100, "none", 0, True, table(untagged="100", pvid=100)),
        (100, "101", 1, True, table("101", "1,100", 100)),
        (100, "1,100-101", 1, True, table("101", "1,100", 100)),
        (1, "101", 1, True, table("101", "1", 1)),
    ],
)
def test_port_table_follows_from_the_configuration_and_the_bridge(
    access: int, trunk: str, default_pvid: int, preserve: bool, expected: PortVlans
) -> None:
    """Access, trunk and native VLAN, with every kind of default VLAN, give exactly this table."""
    planned = vlan.plan_port_vlans(
        vlan=access, trunk=vlan.parse_vids(trunk), default_pvid=default_pvid, preserve_default=preserve
    )
    assert planned == expected


@given(st.integers(0, 4094), vid_sets, st.integers(0, 4094), st.booleans())
def test_port_table_never_has_a_vid_both_tagged_and_untagged(
    access: int, trunk: frozenset[int], default_pvid: int, preserve: bool
) -> None:
    """A planned table is one that a kernel can show: read back, it equals itself."""
    planned = vlan.plan_port_vlans(vlan=access, trunk=trunk, default_pvid=default_pvid, preserve_default=preserve)
    assert planned.tagged.isdisjoint(planned.untagged)
    assert planned.pvid is None or planned.pvid in planned.untagged
    assert trunk <= planned.vids
    assert planned.vids <= trunk | {access, default_pvid} - {0}


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (table(), "no VLAN"),
        (table(untagged="100", pvid=100), "native 100"),
        (table("200-210", "100", 100), "native 100, tagged 200-210"),
        (table("101", "1,100", 100), "native 100, untagged 1, tagged 101"),
        (table("101"), "tagged 101"),
        (table(untagged="7"), "untagged 7"),
        (table("7", pvid=7), "native 7, tagged 7"),
    ],
)
def test_port_table_in_a_message_has_the_words_of_the_field(shown: PortVlans, text: str) -> None:
    """People read native, untagged and tagged, with ranges."""
    assert str(shown) == text


@given(tables(), tables())
def test_change_applied_by_the_kernel_gives_exactly_the_wanted_table(current: PortVlans, wanted: PortVlans) -> None:
    """Whatever a port has, the computed change makes it what is wanted: VIDs, flags and PVID."""
    assert KernelPort(current).apply(vlan.diff(current, wanted)) == wanted


def test_change_is_right_for_every_two_tables_of_three_vids() -> None:
    """All 6561 pairs, which hold every way in which native, tagged and untagged VLANs can change places."""
    wrong = [
        f"{current} -> {wanted}"
        for current, wanted in PAIRS
        if KernelPort(current).apply(vlan.diff(current, wanted)) != wanted
    ]
    assert wrong == []


def test_change_is_nothing_only_between_equal_tables() -> None:
    """A table that is right already is left alone, any other is not."""
    assert [pair for pair in PAIRS if bool(vlan.diff(*pair)) == (pair[0] == pair[1])] == []


def test_change_touches_no_vid_that_is_right_already() -> None:
    """Traffic of a VLAN that keeps its flags is not disturbed, and nothing outside both tables is touched."""

    def show(port: PortVlans, vid: int) -> tuple[bool, bool, bool]:
        return vid in port.tagged, vid in port.untagged, vid == port.pvid

    for current, wanted in PAIRS:
        change = vlan.diff(current, wanted)
        right = {vid for vid in current.vids | wanted.vids if show(current, vid) == show(wanted, vid)}
        assert right.isdisjoint(change.remove | change.add.vids)
        assert change.remove == current.vids - wanted.vids
        assert change.add.vids <= wanted.vids


@pytest.mark.parametrize(
    ("current", "wanted", "change"),
    [
        # a new port on a bridge with default VLAN 1 becomes an access port
        (table(untagged="1", pvid=1), table(untagged="100", pvid=100), ("1", table(untagged="100", pvid=100))),
        # the native VLAN moves, the former one stays as untagged: it is told that it is no longer PVID
        (table(untagged="1", pvid=1), table(untagged="1,100", pvid=100), ("none", table("none", "1,100", 100))),
        # the native VLAN becomes a tagged one
        (table(untagged="1", pvid=1), table("1", "100", 100), ("none", table("1", "100", 100))),
        # an uplink gets two VIDs more
        (table("5", "1", 1), table("5-7", "1", 1), ("none", table("6-7"))),
        # and loses one
        (table("5-7", "1", 1), table("5,7", "1", 1), ("6", table())),
    ],
)
def test_change_lists_what_to_remove_and_what_to_set(
    current: PortVlans, wanted: PortVlans, change: tuple[str, PortVlans]
) -> None:
    """The changes that attachments make every day, in full."""
    removed, added = change
    assert vlan.diff(current, wanted) == VlanChange(vlan.parse_vids(removed), added)
