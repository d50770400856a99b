"""The ends of the range of versions, in environments of their own."""

from __future__ import annotations

import re

import pytest
from packaging.version import Version

from versions import matrix

pytestmark = pytest.mark.slow
HERE = [version for version in matrix.PYTHONS if matrix.find_python(version)]
ENDS = {
    row.name: row
    for row in (*reversed(matrix.rows(HERE)), *matrix.rows(HERE)[:1])
    if row.name in ("oldest", "newest")
}


@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_the_smoke_passes_at_the_end_of_the_range(name: str) -> None:
    outcome = matrix.run_row(ENDS[name])
    assert outcome.failed == (), outcome.output
    assert len(outcome.passed) >= 16
    for package, pinned in ENDS[name].pins.items():
        assert Version(outcome.versions.get(package, pinned)) == Version(pinned)


def test_the_page_is_of_the_bounds_that_are_declared() -> None:
    lines = re.findall(r"^\| oldest \|.*$", matrix.PAGE.read_text(), re.MULTILINE)
    assert lines
    bounds = matrix.declared_bounds()
    for line in lines:
        versions = [cell.strip() for cell in line.strip("|").split("|")][2:-1]
        assert list(map(Version, versions)) == [Version(bounds[one]) for one in matrix.PACKAGES]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (matrix.Row("impossible", HERE[0], {"numpy": "0.0.1"}), "install"),
        (matrix.Row("no Python", "3.99"), "install"),
    ],
)
def test_an_environment_that_cannot_be_made_is_a_failed_row(row: matrix.Row, reason: str) -> None:
    outcome = matrix.run_row(row)
    assert outcome.failed == (reason,)
    assert outcome.output
    assert "0 of 1; not: install" in matrix.to_markdown([outcome])
