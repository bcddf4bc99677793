"""The matrix of the conformance tests: a row per promise, run for every CNI version that it applies to.

A row's id is the test's id: `[B-041-1.0.0]` is row B-041 in version 1.0.0. Every version is run in the test process,
the newest one also with the built bundle (`[B-041-1.1.0-bundle]`). Variants of a row (`[L-22-unknown-1.1.0]`), which
differ from it in what they feed and not in where that goes, are run in the newest version only, in the test process.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
OLD, WITH_INTERFACES = VERSIONS[:2], VERSIONS[2:]
"""Results could hold nothing but addresses until 0.3.0, so that a layer-2 attachment cannot be expressed in them."""
WITH_CHECK, NEWEST = VERSIONS[4:], VERSIONS[-1:]


def _expand(row_id: str, versions: Sequence[str], *, with_bundle: bool) -> list[tuple[str, str, str]]:
    """Return (id, version, way of calling the plugin) of all tests of a row."""
    if row_id.count("-") > 1:
        return [(f"{row_id}-{versions[-1]}", versions[-1], "process")]
    found = [(f"{row_id}-{version}", version, "process") for version in versions]
    return found + ([(f"{row_id}-{versions[-1]}-bundle", versions[-1], "bundle")] if with_bundle else [])


def rows(
    table: Mapping[str, Any], versions: Sequence[str] = VERSIONS, *, with_bundle: bool = True
) -> pytest.MarkDecorator:
    """Parametrize a test by `row` (the table's value), `version` and `plugin`."""
    params = [
        pytest.param(value, version, way, id=test_id)
        for row_id, value in table.items()
        for test_id, version, way in _expand(row_id, versions, with_bundle=with_bundle)
    ]
    return pytest.mark.parametrize(("row", "version", "plugin"), params, indirect=["plugin"])


def row(row_id: str, versions: Sequence[str] = VERSIONS, *, with_bundle: bool = True) -> pytest.MarkDecorator:
    """Parametrize a test that is a row by itself by `version` and `plugin`."""
    params = [
        pytest.param(version, way, id=test_id)
        for test_id, version, way in _expand(row_id, versions, with_bundle=with_bundle)
    ]
    return pytest.mark.parametrize(("version", "plugin"), params, indirect=["plugin"])
