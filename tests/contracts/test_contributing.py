"""The house that CONTRIBUTING.md shows is the one that stands."""

from __future__ import annotations

import re

import pytest

from support.environment import ROOT, SOURCE

PACKAGE = SOURCE / "flytekitplugins" / "wbmon"
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
ROWS = re.findall(r"^\| (.*?) \| (.*?) \|$", TEXT, re.MULTILINE)
FLOORS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}


def test_every_floor_has_a_sentence() -> None:
    described = {floor.strip("`").removesuffix("/") for floor, _ in ROWS}
    assert FLOORS | {"errors.py"} <= described


@pytest.mark.parametrize(
    "place",
    [place for _, text in ROWS for place in re.findall(r"`([a-z_/]+/[a-z_]*(?:\.py)?)`", text)],
)
def test_a_place_that_is_named_is_there(place: str) -> None:
    inside = [PACKAGE / place, *(PACKAGE / floor / place for floor in FLOORS)]
    assert any(path.exists() for path in inside)
