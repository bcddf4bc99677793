"""Undoing what was done when a later step fails."""

import pytest

from cni_harvester.attach.undo import UndoStack
from cni_harvester.errors import BridgeMissing, NotOurs, RollbackFailed


def fail(error: BaseException) -> None:
    """Be a step that raises."""
    raise error


def test_steps_are_not_undone_when_nothing_fails() -> None:
    """A block that ends well leaves everything as it is."""
    undone: list[int] = []
    with UndoStack() as undo:
        undo.push("undo 1", lambda: undone.append(1))
    assert undone == []


@pytest.mark.parametrize("error", [BridgeMissing("gone"), ValueError("x"), SystemExit(143), KeyboardInterrupt()])
def test_steps_are_undone_last_one_first_whatever_is_raised(error: BaseException) -> None:
    """Every kind of exception undoes all steps in reverse and goes on its way unchanged."""
    undone: list[int] = []
    with pytest.raises(type(error)) as caught, UndoStack() as undo:
        for step in (1, 2, 3):
            undo.push(f"undo {step}", lambda step=step: undone.append(step))
        raise error
    assert caught.value is error
    assert undone == [3, 2, 1]


def test_steps_that_were_not_reached_are_not_undone() -> None:
    """Only what was pushed before the failure counts."""
    undone: list[int] = []
    with pytest.raises(BridgeMissing), UndoStack() as undo:
        undo.push("undo 1", lambda: undone.append(1))
        fail(BridgeMissing("gone"))
        undo.push("undo 2", lambda: undone.append(2))
    assert undone == [1]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (BridgeMissing("the bridge is gone"), "the bridge is gone"),
        (ValueError("x"), "ValueError: x"),
        (SystemExit(143), "SystemExit: 143"),
    ],
)
def test_undoing_goes_on_after_a_failure_and_lists_what_is_left(error: BaseException, cause: str) -> None:
    """All other steps are undone; the report names the first cause, and what could not be undone, with reasons."""
    undone: list[int] = []
    with pytest.raises(RollbackFailed) as caught, UndoStack() as undo:
        undo.push("undo 1", lambda: undone.append(1))
        undo.push('delete "veth0"', lambda: fail(NotOurs("it is busy")))
        undo.push("undo 3", lambda: undone.append(3))
        undo.push('release "192.0.2.5"', lambda: fail(OSError(5, "Input/output error")))
        raise error
    assert undone == [3, 1]
    assert caught.value.__cause__ is error
    assert caught.value.msg == f"cannot undo after a failure, the node is left changed: {cause}"
    assert caught.value.details == (
        'could not release "192.0.2.5": [Errno 5] Input/output error; could not delete "veth0": it is busy. '
        "Run DEL for this attachment, which tries again"
    )


def test_steps_are_undone_once() -> None:
    """A block that is left twice does not undo twice."""
    undone: list[int] = []
    undo = UndoStack()
    undo.push("undo 1", lambda: undone.append(1))
    for _ in range(2):
        with pytest.raises(BridgeMissing), undo:
            raise BridgeMissing("gone")
    assert undone == [1]
