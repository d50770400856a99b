from __future__ import annotations

from pathlib import Path
from typing import Optional

import pandas as pd
import pytest
from flytekit import FlyteContextManager, task, workflow
from flytekit.core.type_engine import TypeEngine, TypeTransformerFailedError
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    Decision,
    DriftReport,
    PerformanceReport,
    Profile,
    ScoringReport,
    profile_data,
)
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.reports.serialize import record_to_json
from support.examples import decision, drift_report, performance_report, scoring_report

RECORDS = [drift_report(), performance_report(), scoring_report(), decision()]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_crosses_a_task_border_as_a_file(record: object) -> None:
    context, kind = FlyteContextManager.current_context(), type(record)
    expected = TypeEngine.to_literal_type(kind)
    literal = TypeEngine.to_literal(context, record, kind, expected)
    assert literal.scalar.blob.uri.endswith(expected.blob.format)
    again = TypeEngine.to_python_value(context, literal, kind)
    assert record_to_json(again) == record_to_json(record)


def test_a_profile_crosses_a_task_border_as_a_file() -> None:
    profile = profile_data(pd.DataFrame({"x": [1.0, 2.0, None], "c": ["a", "b", "a"]}))
    context = FlyteContextManager.current_context()
    expected = TypeEngine.to_literal_type(Profile)
    literal = TypeEngine.to_literal(context, profile, Profile, expected)
    again = TypeEngine.to_python_value(context, literal, Profile)
    assert again.n_rows == 3
    assert (again.features["x"].counts == profile.features["x"].counts).all()


def test_a_user_task_may_take_and_give_records() -> None:
    @task
    def worse(report: Optional[PerformanceReport], profile: Profile) -> float:  # noqa: UP045
        return float(profile.n_rows) if report is None else report.metrics["accuracy"].value

    @workflow
    def both(profile: Profile, report: PerformanceReport) -> tuple[float, float]:
        return worse(report=report, profile=profile), worse(profile=profile, report=None)

    profile = profile_data(pd.DataFrame({"x": [1.0, 2.0]}))
    assert both(profile=profile, report=performance_report()) == (0.7, 2.0)


def test_the_command_line_may_give_a_profile_as_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "reference.profile")
    profile_data(pd.DataFrame({"x": [1.0, 2.0]})).save(path)
    context, expected = FlyteContextManager.current_context(), TypeEngine.to_literal_type(Profile)
    literal = TypeEngine.to_literal(context, FlyteFile(path), Profile, expected)
    assert TypeEngine.to_python_value(context, literal, Profile).n_rows == 2


@pytest.mark.parametrize("kind", [Profile, DriftReport, ScoringReport, Decision])
def test_a_file_that_is_none_of_ours_is_refused_with_a_reason(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "wrong"
    path.write_text("nothing of the kind")
    context, expected = FlyteContextManager.current_context(), TypeEngine.to_literal_type(kind)
    with pytest.raises(TypeTransformerFailedError, match=r"must be|is not|no profile"):
        TypeEngine.to_literal(context, FlyteFile(str(path)), kind, expected)


def test_a_value_of_another_type_is_refused() -> None:
    context, expected = FlyteContextManager.current_context(), TypeEngine.to_literal_type(Profile)
    with pytest.raises((TypeTransformerFailedError, TypeError)):
        TypeEngine.to_literal(context, 3.0, Profile, expected)


def test_a_csv_is_refused_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="must be Parquet"):
        open_data(StructuredDataset(uri=str(path)))


def test_data_must_be_somewhere() -> None:
    with pytest.raises(DataError, match="got neither"):
        open_data(StructuredDataset())
