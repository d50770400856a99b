"""The stand-in for FlyteAdmin refuses what FlyteAdmin refuses, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from flytekit.types.file import FlyteFile

from support.admin import refusals
from support.literals import to_literals
from support.package import Package, load_package, package

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="module")
def archive() -> Path:
    return package(PROJECT, ["refused"])


@pytest.fixture
def planned(archive: Path) -> Package:
    return load_package(archive)


@pytest.fixture
def refused(planned: Package) -> list[str]:
    return refusals(planned)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unbound", "if there is an unbound required input. [data] is required"),
        ("no kickoff", "if there is an unbound required input. [at] is required"),
        ("kickoff given", "KickoffTimeInputArg does not point to a free input. [at]"),
        ("kickoff a number", "KickoffTimeInputArg must reference a datetime input. [n]"),
        ("refused.cramped", "requested 1Gi is greater than current limit 512Mi"),
        ("twice", "one name, different structure"),
    ],
)
def test_each_rule_refuses_what_breaks_it(refused: list[str], name: str, reason: str) -> None:
    (found,) = [each for each in refused if each.startswith(f"{name}: ")]
    assert found.endswith(reason)


def test_what_breaks_no_rule_is_taken(refused: list[str]) -> None:
    assert len(refused) == 6


def test_a_fixed_input_must_be_one_of_the_workflow_and_have_its_type(planned: Package) -> None:
    spec = planned.launch_plans["complete"].spec
    spec.fixed_inputs.literals["data"].scalar.blob.metadata.type.format = "wbmon-profile"
    other = to_literals({"other": 1, "file": FlyteFile(__file__)}).literals
    spec.fixed_inputs.literals["other"].CopyFrom(other["other"])
    spec.default_inputs.parameters["more"].default.CopyFrom(other["file"])

    of_plan = [each for each in refusals(planned) if each.startswith("complete: ")]

    assert of_plan == [
        "complete: unexpected input more",
        "complete: unexpected input other",
        "complete: invalid fixed_input wrong type data",
    ]


def test_a_launch_plan_without_its_workflow_is_refused(planned: Package) -> None:
    del planned.workflows["refused.night"]
    assert "complete: missing workflow refused.night" in refusals(planned)
