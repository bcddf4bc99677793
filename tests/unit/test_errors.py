"""The tree of errors: codes, retries, and that what is written about them is true."""

import errno
import re
from pathlib import Path

import pytest

from cni_harvester import errors
from cni_harvester.errors import DelegateFailed, HarvesterError, KernelRefused

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
GROUPS = {"HarvesterError", "RequestError", "NodeError"}


def list_classes(root: type[HarvesterError] = HarvesterError) -> list[type[HarvesterError]]:
    """Return a class of the tree and all below it that the program has."""
    below = [one for child in root.__subclasses__() for one in list_classes(child)]
    return [one for one in [root, *below] if one.__module__ == errors.__name__]


def list_reported() -> dict[str, type[HarvesterError]]:
    """Return the errors that are reported, which are those without any below them."""
    return {one.__name__: one for one in list_classes() if not one.__subclasses__()}


def describe_retry(one: type[HarvesterError]) -> str:
    """Say whether a retry may help, as the documentation does."""
    return "by errno" if one is KernelRefused else "yes" if one.retryable else "no"


def test_errors_that_are_reported_are_the_leaves_of_the_tree() -> None:
    """Groups only say who must act; each error below them says what happened."""
    assert {one.__name__ for one in list_classes()} - set(list_reported()) == GROUPS


def test_errors_have_a_code_each_that_no_other_has() -> None:
    """A code tells the error; only a delegate's is its own."""
    codes = {name: one.code for name, one in list_reported().items() if one is not DelegateFailed}
    assert sorted(set(codes.values())) == sorted(codes.values())
    assert all("code" in vars(one) for one in list_reported().values() if one is not DelegateFailed)


def test_errors_of_ours_have_codes_that_the_specification_leaves_free() -> None:
    """Codes below 100 are the specification's, and 8 is libcni's; 999 is a bug."""
    codes = {one.code for one in list_reported().values()}
    assert {code for code in codes if code < 100} == {1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51}
    assert max(codes) == errors.Bug.code == HarvesterError.code == 999


def test_errors_say_what_they_are_and_who_must_act() -> None:
    """Every class has a sentence for the reader of the documentation."""
    for one in list_classes():
        assert one.__doc__
        assert one.who_acts


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN, errno.ENOBUFS, errno.EINTR, errno.ENOMEM])
def test_refusal_of_the_kernel_that_passes_by_itself_may_be_retried(number: int) -> None:
    """Busy-like errors are reported as code 11, which tells a runtime to try again."""
    error = KernelRefused("m", "d", errno=number)
    assert (error.code, error.retryable, error.errno) == (11, True, number)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.EEXIST, errno.ENODEV, errno.EOPNOTSUPP, 0])
def test_refusal_of_the_kernel_that_stays_may_not_be_retried(number: int) -> None:
    """Any other error number is code 106."""
    error = KernelRefused("m", "d", errno=number)
    assert (error.code, error.retryable, error.errno) == (106, False, number)
    assert (KernelRefused.code, KernelRefused.retryable) == (106, False)


@pytest.mark.parametrize(("code", "retryable"), [(11, True), (50, False), (113, False), (999, False)])
def test_failure_of_a_delegate_has_its_own_code(code: int, retryable: bool) -> None:
    """A delegate that says "try again later" may be tried again."""
    error = DelegateFailed("m", "d", code=code)
    assert (error.code, error.retryable, DelegateFailed.code) == (code, retryable, 999)


def test_error_has_its_parts_and_is_its_message_as_text() -> None:
    """Logs show `msg`; details are optional."""
    error = errors.BridgeMissing('cannot find bridge "cn1-br"')
    assert (str(error), error.msg, error.details) == ('cannot find bridge "cn1-br"', error.msg, "")


def test_tree_in_the_modules_docstring_is_the_tree() -> None:
    """The picture at the head of the module lists every class, with code and retry where they are fixed."""
    assert errors.__doc__
    drawn = re.findall(
        r"^ {4}[ │├└─]*(\w+) +(?:(\d+|inner's or 113) +(yes|no|by errno|-))?", errors.__doc__, re.MULTILINE
    )
    assert {name for name, _, _ in drawn} == {one.__name__ for one in list_classes()}
    for name, code, retry in drawn:
        if name in GROUPS:
            assert (code, retry) == ("", "")
        elif name == "DelegateFailed":
            assert (code, retry) == ("inner's or 113", "-")
        else:
            one = list_reported()[name]
            assert code == str(one.code)
            statuses = {("-", "NotReady"), ("-", "LimitedConnectivity")}
            assert (retry, name) in {(describe_retry(one), name), *statuses}


def test_documentation_lists_exactly_the_errors_of_the_tree() -> None:
    """docs/errors.md has a row for each error that is reported: its code, whether a retry may help, who must act."""
    row = re.compile(r"^\| *([^|]*?) *\| *`(\w+)` *\| *([^|]*?) *\| *([^|]*?) *\|", re.MULTILINE)
    rows = {name: (code, retry, who) for code, name, retry, who in row.findall(DOCUMENT.read_text())}
    assert len(rows) == len(row.findall(DOCUMENT.read_text()))
    code, _, who = rows.pop("DelegateFailed")
    assert code.startswith("inner's")
    assert who == DelegateFailed.who_acts
    assert rows == {
        name: (str(one.code), describe_retry(one), one.who_acts)
        for name, one in list_reported().items()
        if one is not DelegateFailed
    }
