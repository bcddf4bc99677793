"""VLANs: identifiers, sets of them as people write them, and the table of a bridge port.

In messages we say access, trunk, native and untagged; in the kernel's words a native VLAN is the port's PVID, an
access port has one VLAN that is PVID and untagged, and a trunk carries the others tagged (IEEE 802.1Q, ip-link(8)).
"""

import dataclasses
from collections.abc import Iterable, Iterator

VID_MIN, VID_MAX = 1, 4094
"""802.1Q: 0 is a priority tag, 4095 is reserved."""

VidRange = tuple[int, int]


def iter_ranges(vids: Iterable[int]) -> Iterator[VidRange]:
    """Yield the runs of consecutive VIDs, ascending, as (first, last)."""
    first = last = None
    for vid in sorted(set(vids)):
        if first is None or last is None:
            first = last = vid
        elif vid == last + 1:
            last = vid
        else:
            yield first, last
            first = last = vid
    if first is not None and last is not None:
        yield first, last


def format_vids(vids: Iterable[int]) -> str:
    """Write a set of VIDs as people do: `1,100-110`; `none` when it is empty."""
    return ",".join(str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in iter_ranges(vids)) or "none"


def parse_vids(text: str) -> frozenset[int]:
    """Read VIDs and ranges with commas between them; raise ValueError for anything else."""
    vids: set[int] = set()
    for part in text.split(",") if text != "none" else ():
        lo, dash, hi = part.partition("-")
        if not (lo.isascii() and lo.isdigit()) or (dash and not (hi.isascii() and hi.isdigit())):
            raise ValueError(f"{part!r} is neither a VLAN ID nor a range")
        first, last = int(lo), int(hi or lo)
        if not VID_MIN <= first <= last <= VID_MAX:
            raise ValueError(f"{part!r} is not within {VID_MIN}-{VID_MAX}")
        vids.update(range(first, last + 1))
    return frozenset(vids)


@dataclasses.dataclass(frozen=True)
class PortVlans:
    """The VLAN table of one bridge port: VIDs that leave it tagged, VIDs that leave it untagged, and its PVID."""

    tagged: frozenset[int] = frozenset()
    untagged: frozenset[int] = frozenset()
    pvid: int | None = None

    @property
    def vids(self) -> frozenset[int]:
        """All VIDs of the port."""
        return self.tagged | self.untagged

    def __str__(self) -> str:
        """In the field's words, for messages: `native 100, tagged 200-210`."""
        parts = []
        if self.pvid is not None:
            parts.append(f"native {self.pvid}")
        if extra := self.untagged - {self.pvid}:
            parts.append(f"untagged {format_vids(extra)}")
        if self.tagged:
            parts.append(f"tagged {format_vids(self.tagged)}")
        return ", ".join(parts) or "no VLAN"


def plan_port_vlans(*, vlan: int, trunk: frozenset[int], default_pvid: int, preserve_default: bool) -> PortVlans:
    """Compute the table of an attachment's host end.

    Args:
        vlan: the access or native VLAN, 0 for none.
        trunk: VIDs of a trunk, empty when the attachment is not one.
        default_pvid: the bridge's `vlan_default_pvid`, 0 for none; native when `vlan` is 0.
        preserve_default: keep the bridge's default VLAN as egress untagged beside another native one, as older
            releases of the reference plugin did (it leaks that VLAN into the machine).

    Returns:
        The table; without any VLAN when there is neither a VLAN nor a default one. The native VLAN wins over a trunk
        that lists it too, so that untagged frames of the machine are not dropped.
    """
    native = vlan or default_pvid
    untagged = {native} if native else set()
    if preserve_default and default_pvid:
        untagged.add(default_pvid)
    return PortVlans(trunk - untagged, frozenset(untagged), native or None)


@dataclasses.dataclass(frozen=True)
class VlanChange:
    """What turns one table into another: VIDs to remove, and VIDs to add or to give other flags."""

    remove: frozenset[int]
    add: PortVlans

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.remove or self.add.vids)


def diff(current: PortVlans, wanted: PortVlans) -> VlanChange:
    """Compare two tables.

    A VID whose flags differ is in `add`: the kernel replaces the flags of a VID it already has. The PVID is set by
    its own entry, and a PVID that goes is removed first, for a port keeps its PVID until told otherwise.
    """
    touched = (wanted.tagged - current.tagged) | (wanted.untagged - current.untagged)
    if wanted.pvid != current.pvid:
        touched |= wanted.vids & {wanted.pvid, current.pvid}
    pvid = wanted.pvid if wanted.pvid in touched else None
    add = PortVlans(wanted.tagged & touched, wanted.untagged & touched, pvid)
    return VlanChange(remove=current.vids - wanted.vids, add=add)
