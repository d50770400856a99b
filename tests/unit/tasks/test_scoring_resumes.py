from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from flytekit import map_task, workflow
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import batch_scoring
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.scoring.slo import SLO
from support.in_process import execute, pod_context
from support.place import FIRST

DATA = pd.DataFrame({"x": range(40)})
FATE: dict[str, int] = {}


@batch_scoring(batch_rows=5, part_rows=10, max_error_rate=0.5, retries=2)
def unlucky(batch: pd.DataFrame) -> pd.DataFrame:
    """Loses its connection at the row that `FATE` names, if any."""
    if (batch["x"] == FATE.get("row", -1)).any():
        raise FlyteRecoverableException("connection lost")
    if (batch["x"] == 7).any():
        raise ValueError("seven")
    FATE["n_scored"] = FATE.get("n_scored", 0) + len(batch)
    return pd.DataFrame({"twice": batch["x"] * 2})


@batch_scoring(returns="predictions")
def partition(batch: pd.DataFrame) -> pd.DataFrame:
    """Twice the number."""
    return pd.DataFrame({"twice": batch["x"] * 2})


@pytest.fixture(autouse=True)
def _no_fate():
    FATE.clear()


def test_a_retry_goes_on_behind_the_parts_of_the_attempt_before(tmp_path: Path) -> None:
    second = replace(FIRST, attempt=1)
    FATE["row"] = 33
    with pod_context(tmp_path) as context, pytest.raises(Exception, match="connection lost") as e:
        execute(context, unlucky, data=StructuredDataset(dataframe=DATA))
    assert isinstance(e.value.__cause__, FlyteRecoverableException)
    FATE.clear()
    with pod_context(tmp_path, place=second, after=FIRST) as context:
        outputs = execute(context, unlucky, data=StructuredDataset(dataframe=DATA))
        written = outputs["predictions"].open(pd.DataFrame).all()
    assert written["x"].tolist() == [x for x in range(40) if x != 7]
    report = outputs["report"]
    assert (report.n_rows, report.n_failed, report.n_resumed) == (39, 1, 24)
    assert FATE["n_scored"] == 15
    assert pd.read_parquet(report.quarantine)["x"].tolist() == [7]


def test_an_attempt_after_one_that_saved_nothing_begins_at_the_beginning(tmp_path: Path) -> None:
    with pod_context(tmp_path, place=replace(FIRST, attempt=1), after=FIRST) as context:
        outputs = execute(context, unlucky, data=StructuredDataset(dataframe=DATA))
    assert (outputs["report"].n_rows, outputs["report"].n_resumed) == (39, 0)


def test_a_checkpoint_that_cannot_be_saved_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pod_context(tmp_path) as context:
        monkeypatch.setattr(type(context.user_space_params.checkpoint), "write", lambda *_: 1 / 0)
        outputs = execute(context, unlucky, data=StructuredDataset(dataframe=DATA))
    assert outputs["report"].n_rows == 39
    assert "could not save the checkpoint" in caplog.text


def test_partitions_are_scored_by_a_mapped_task() -> None:
    @workflow
    def scored(parts: list[StructuredDataset]) -> list[StructuredDataset]:
        return map_task(partition)(data=parts)

    parts = [StructuredDataset(dataframe=DATA[:10]), StructuredDataset(dataframe=DATA[10:])]
    tables = [part.open(pd.DataFrame).all() for part in scored(parts=parts)]
    assert [len(table) for table in tables] == [10, 30]
    assert pd.concat(tables)["twice"].tolist() == [2 * x for x in range(40)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_error_rate": 5}, "max_error_rate must be a share"),
        ({"part_rows": 0}, "part_rows must be at least 1"),
        ({"checkpoint_s": 0}, "checkpoint_s must be positive"),
        ({"returns": "report"}, "returns must be one of scored, predictions"),
        ({"slos": [SLO(name="a", value=1.0), SLO(name="a", value=2.0)]}, "different names"),
    ],
)
def test_numbers_out_of_range_are_refused_at_decoration(settings, message) -> None:
    def predict(batch: pd.DataFrame) -> pd.DataFrame:
        return batch

    with pytest.raises(ConfigError, match=message):
        batch_scoring(predict, **settings)
