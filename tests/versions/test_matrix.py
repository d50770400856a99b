"""The ends of the range of versions, in environments of their own."""

from __future__ import annotations

import re

import pytest
from packaging.version import Version

from versions import matrix

pytestmark = pytest.mark.slow
HERE = [version for version in matrix.PYTHONS if matrix.find_python(version)]
CORE = [row for row in matrix.rows(HERE) if not row.extra]
OLDEST = next(row for row in CORE if row.name == "oldest")
NEWEST = next(row for row in reversed(CORE) if row.name == "newest")


@pytest.mark.parametrize("row", [OLDEST, NEWEST], ids=lambda row: row.name)
def test_the_smoke_passes_at_the_end_of_the_range(row: matrix.Row) -> None:
    outcome = matrix.run_row(row)
    assert outcome.failed == (), outcome.output
    assert len(outcome.passed) >= 16
    assert set(outcome.versions) >= set(matrix.PACKAGES)
    if row is OLDEST and row.python == matrix.PYTHONS[0]:
        assert versions_of(outcome.versions) == versions_of(matrix.declared_bounds())


def test_the_page_is_of_the_bounds_that_are_declared() -> None:
    page = matrix.PAGE.read_text()
    lines = re.findall(rf"^\| oldest \| {matrix.PYTHONS[0]} \|.*$", page, re.MULTILINE)
    core, llm = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    shown = dict(zip(matrix.PACKAGES, core[2:-1], strict=True))
    assert versions_of(shown) == versions_of(matrix.declared_bounds())
    for name, version in zip(matrix.LLM_PACKAGES, llm[2:], strict=False):
        assert Version(version) == Version(matrix.declared_bounds("llm")[name])


def versions_of(named: dict[str, str]) -> dict[str, Version]:
    return {name: Version(named[name]) for name in matrix.PACKAGES}


@pytest.mark.parametrize(
    "row",
    [matrix.Row("impossible", HERE[0], {"numpy": "0.0.1"}), matrix.Row("no Python", "3.99")],
    ids=lambda row: row.name,
)
def test_an_environment_that_cannot_be_made_is_a_failed_row(row: matrix.Row) -> None:
    outcome = matrix.run_row(row)
    assert outcome.failed == ("install",)
    assert outcome.output
    assert "0 of 1; not: install" in matrix.to_markdown([outcome])
