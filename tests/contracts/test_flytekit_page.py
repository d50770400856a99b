"""The page about features of flytekit names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from support.environment import ROOT

PAGE = (ROOT / "docs" / "flytekit.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_feature_is_shown_by_tests_that_exist(row: list[str]) -> None:
    _, _, shown_by = row
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown_by)
    assert len(named) == shown_by.count("`") / 2 >= 1
    for path, name in named:
        module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        tests = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert name in {each.name for each in module.body if isinstance(each, tests)}


def test_every_feature_has_one_row() -> None:
    features = [row[0] for row in ROWS]
    assert len(features) == len(set(features)) >= 25
