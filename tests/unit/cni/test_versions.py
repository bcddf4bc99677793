"""CNI versions: which are spoken, how they compare, what each allows."""

import pytest

from cni_harvester.cni import versions
from cni_harvester.errors import DecodeFailed, HarvesterError, IncompatibleVersion

ALL = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
WITH_CHECK, WITH_GC = ALL[4:], ALL[6:]


def find_refusal(version: str, command: str) -> HarvesterError | None:
    """Return why a command is refused in a version, None when it is allowed."""
    try:
        versions.require_supported(version, command)
    except HarvesterError as error:
        return error
    return None


def test_supported_versions_are_all_seven_in_ascending_order() -> None:
    """VERSION prints them, and libcni takes the list for ascending."""
    assert versions.SUPPORTED == ALL
    assert (versions.OLDEST, versions.NEWEST) == ("0.1.0", "1.1.0")


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.1.0", (1, 1, 0)), ("1.0", (1, 0, 0)), ("1", (1, 0, 0)), ("10.20.30", (10, 20, 30)), ("0.0.0", (0, 0, 0))],
)
def test_version_with_up_to_three_numbers_is_read(text: str, version: tuple[int, ...]) -> None:
    """Parts that are missing are 0, as libcni reads them."""
    assert versions.parse_version(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1.0.0.0",
        "1..0",
        "1.0.",
        ".1",
        "-1.0.0",
        "1.0.0-rc1",
        "v1.0.0",
        "1.0.0\n",
        "1.\u0663.0",
        "1.\u00b2",
        "9" * 10,
    ],
)
def test_version_in_another_form_cannot_be_decoded(text: str) -> None:
    """What is not up to three numbers is refused with the text (CNI code 6)."""
    with pytest.raises(DecodeFailed) as caught:
        versions.parse_version(text)
    assert caught.value.msg == f"invalid cniVersion {text!r}"


def test_versions_compare_as_numbers() -> None:
    """Ascending order holds for every pair, and parts are numbers, not text."""
    assert all(versions.is_at_least(ALL[i], ALL[j]) == (i >= j) for i in range(7) for j in range(7))
    assert versions.is_at_least("0.10.0", "0.9.0")


@pytest.mark.parametrize(
    ("command", "allowed"),
    [("ADD", ALL), ("DEL", ALL), ("CHECK", WITH_CHECK), ("GC", WITH_GC), ("STATUS", WITH_GC)],
)
def test_command_is_allowed_from_its_first_version_on(command: str, allowed: tuple[str, ...]) -> None:
    """CHECK exists since 0.4.0, GC and STATUS since 1.1.0; before, they are refused with libcni's message (code 1)."""
    refusals = {version: find_refusal(version, command) for version in ALL}
    assert {version for version, refusal in refusals.items() if refusal is None} == set(allowed)
    for version, refusal in refusals.items():
        if refusal:
            assert type(refusal) is IncompatibleVersion
            assert refusal.msg == f"config version does not allow {command}"
            assert f'"{version}"' in refusal.details


@pytest.mark.parametrize("version", ["9.9.9", "1.2.0", "1.0", "1", "0.3.2", "01.0.0", "abc", "1.0.0.0", "1.0.0\n"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_version_that_is_not_supported_is_refused_in_add_and_del(version: str, command: str) -> None:
    """Versions match as exact text; the refusal names the version and the supported ones."""
    refusal = find_refusal(version, command)
    assert type(refusal) is IncompatibleVersion
    assert refusal.msg == "incompatible CNI versions"
    assert refusal.details == f'config is "{version}", plugin supports {", ".join(ALL)}'


@pytest.mark.parametrize("command", ["CHECK", "GC", "STATUS"])
@pytest.mark.parametrize("version", ["abc", "1.0.0.0", "1.1.x"])
def test_version_that_is_none_cannot_be_decoded_where_it_is_compared(command: str, version: str) -> None:
    """The younger commands compare versions first, so for them such a version is a decoding fault (code 6)."""
    assert type(find_refusal(version, command)) is DecodeFailed


@pytest.mark.parametrize(
    ("version", "command", "message"),
    [
        ("0.3.9", "CHECK", "config version does not allow CHECK"),
        ("0", "CHECK", "config version does not allow CHECK"),
        ("1.0.9", "GC", "config version does not allow GC"),
        ("9.9.9", "CHECK", "plugin version does not allow CHECK"),
        ("1.1.1", "GC", "plugin version does not allow GC"),
        ("2", "STATUS", "plugin version does not allow STATUS"),
        ("1.0", "CHECK", "incompatible CNI versions"),
        ("0.4.1", "CHECK", "incompatible CNI versions"),
        ("1.1", "STATUS", "incompatible CNI versions"),
    ],
)
def test_version_of_a_younger_command_is_compared_low_then_high_then_exactly(
    version: str, command: str, message: str
) -> None:
    """The faults come in libcni's order: too old for the command, newer than we are, not in the list."""
    refusal = find_refusal(version, command)
    assert type(refusal) is IncompatibleVersion
    assert refusal.msg == message
