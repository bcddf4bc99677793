"""Undoing what was done when a later step fails, so that a failed verb leaves the node as it was."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cni_harvester.errors import HarvesterError, RollbackFailed

log = logging.getLogger(__name__)


class UndoStack:
    """A `with` block whose steps are undone, last one first, when an exception leaves it.

    Every kind of exception counts, SystemExit from a termination signal too. Nothing happens on success.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, undo: Callable[[], object]) -> None:
        """Remember how to undo a step: `what` completes "could not" in the report of a failed rollback."""
        self._steps.append((what, undo))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            return
        left = self._roll_back()
        if left:
            cause = error.msg if isinstance(error, HarvesterError) else f"{type(error).__name__}: {error}"
            details = f"could not {'; could not '.join(left)}. Run DEL for this attachment, which tries again"
            raise RollbackFailed(f"cannot undo after a failure, the node is left changed: {cause}", details) from error

    def _roll_back(self) -> list[str]:
        """Undo all steps, going on after failures; return what could not be undone, with reasons."""
        left = []
        while self._steps:
            what, undo = self._steps.pop()
            log.debug("rolling back: %s", what)
            try:
                undo()
            except Exception as e:  # whatever it is, the other steps must be undone too
                left.append(f"{what}: {e}")
        return left
