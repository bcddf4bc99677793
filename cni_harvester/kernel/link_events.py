"""Hearing that interfaces change. rtnetlink(7), group RTNLGRP_LINK."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from cni_harvester.kernel.handle import Events, Handle
from cni_harvester.kernel.links import RTNLGRP_LINK, find_link


class LinkEvents:
    """Hears when one of some interfaces changes: comes, goes, is set up or down, gains or loses its carrier."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._events = Events(RTNLGRP_LINK)
        self._handle = Handle()
        self._states = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._events.close()
        self._handle.close()

    def wait(self, timeout_s: float) -> frozenset[str]:
        """Return the names of those that changed since the last time; waits for the first, none within the time."""
        before = self._states

        def has_changed() -> bool:
            self._states = self._read()
            return self._states != before

        self._events.wait_until(has_changed, timeout_s)
        return frozenset(name for name in self._names if self._states[name] != before[name])

    def _read(self) -> dict[str, tuple[int, bool, str] | None]:
        found = ((name, find_link(self._handle, name)) for name in self._names)
        return {name: (link.index, link.up, link.operstate) if link else None for name, link in found}
