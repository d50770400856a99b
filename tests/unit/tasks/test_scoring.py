from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from flytekit import workflow
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import SLO, ScoringReport, batch_scoring, wandb_init
from flytekitplugins.wbmon.errors import ConfigError, DataError, ScoringError
from flytekitplugins.wbmon.monitor.samples.rows import Sample
from support.in_process import execute, pod_context
from support.wandb_log import find_run

LOADS: list[str] = []


def load_weights(path: str) -> dict[str, float]:
    """A model file, counting how often it is read."""
    LOADS.append(path)
    return joblib.load(path)


@batch_scoring(
    batch_rows=4,
    load={"model": load_weights},
    slos=[SLO(name="p99", percentile=99, value=60_000.0)],
)
def score(batch: pd.DataFrame, model: dict[str, float], offset: float = 1.0) -> pd.DataFrame:
    """A linear score."""
    return pd.DataFrame({"prediction": batch["x"] * model["slope"] + offset})


@batch_scoring
def score_arrow(batch: pa.Table) -> pa.Table:
    """Twice the feature."""
    return pa.table({"prediction": pa.array(2 * np.asarray(batch["x"]))})


def model_file(folder: Path) -> FlyteFile:
    """A model of slope 3."""
    path = folder / "model.joblib"
    joblib.dump({"slope": 3.0}, path)
    return FlyteFile(str(path))


def frame(n_rows: int = 10) -> pd.DataFrame:
    """Rows with one feature."""
    return pd.DataFrame(
        {"x": np.arange(n_rows, dtype=float), "key": [f"k{i}" for i in range(n_rows)]}
    )


def read(data: StructuredDataset) -> pd.DataFrame:
    """What was written."""
    return data.open(pd.DataFrame).all()


def test_predictions_are_appended_in_the_order_of_the_rows(tmp_path: Path) -> None:
    scored = score(data=StructuredDataset(dataframe=frame()), model=model_file(tmp_path))
    written = read(scored.predictions)
    assert written["key"].tolist() == [f"k{i}" for i in range(10)]
    assert written["prediction"].tolist() == [3.0 * i + 1.0 for i in range(10)]
    assert scored.report.n_batches == 3
    assert scored.report.slos[0].verdict == "pass"


def test_the_task_has_the_interface_that_a_reader_expects() -> None:
    assert list(score.python_interface.inputs) == ["data", "model", "offset"]
    assert score.python_interface.inputs["model"] is FlyteFile
    assert score.python_interface.outputs == {
        "predictions": StructuredDataset,
        "report": ScoringReport,
    }
    assert score.python_interface.default_inputs_as_kwargs == {"offset": 1.0}
    assert score.docs.short_description == "A linear score."


def test_a_model_file_is_read_once_a_process(tmp_path: Path) -> None:
    LOADS.clear()
    file = model_file(tmp_path)

    @workflow
    def twice(data: pd.DataFrame, model: FlyteFile) -> tuple[StructuredDataset, StructuredDataset]:
        first = score(data=data, model=model)
        second = score(data=data, model=model, offset=0.0)
        return first.predictions, second.predictions

    twice(data=frame(), model=file)
    assert len(LOADS) == 1


def test_a_batch_may_be_an_arrow_table(tmp_path: Path) -> None:
    with pod_context(tmp_path, task="score_arrow") as context:
        outputs = execute(context, score_arrow, data=StructuredDataset(dataframe=frame(3)))
        assert read(outputs["predictions"])["prediction"].tolist() == [0.0, 2.0, 4.0]


def test_a_tracked_scoring_logs_its_report_and_shows_it(tmp_path: Path) -> None:
    tracked = wandb_init(project="p", entity="e", dir=str(tmp_path), mode="offline")(score_arrow)
    with pod_context(tmp_path / "pod", task="score_arrow") as context:
        execute(context, tracked, data=StructuredDataset(dataframe=frame(3)))
        decks = [deck.name for deck in context.user_space_params.decks]
    assert "Scoring report" in decks
    assert find_run(tmp_path / "wandb").column("scoring/n_rows") == [3]


def test_a_tracked_scoring_shows_a_redacted_sample(tmp_path: Path) -> None:
    @batch_scoring(sample=Sample(rows=5))
    def shown(batch: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"word": ["a", "b"] * (len(batch) // 2)})

    data = frame(10).assign(note="mail ada@example.com")
    tracked = wandb_init(project="p", entity="e", dir=str(tmp_path), mode="offline")(shown)
    with pod_context(tmp_path / "pod", task="shown") as context:
        execute(context, tracked, data=StructuredDataset(dataframe=data))
    (table,) = find_run(tmp_path / "wandb").column("scoring/sample")
    assert table["nrows"] == 5
    (file,) = (tmp_path / "wandb").rglob("*.table.json")
    assert "mail [EMAIL]" in file.read_text()
    assert "ada@" not in file.read_text()


def test_a_model_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.joblib"
    path.write_bytes(b"not a model")
    with pytest.raises(Exception, match=r"'model' must be one that .*load_weights") as told:
        score(data=StructuredDataset(dataframe=frame()), model=FlyteFile(str(path)))
    assert isinstance(_root(told.value), DataError)


def test_a_wrong_number_of_predictions_is_refused() -> None:
    @batch_scoring(batch_rows=4)
    def short(batch: pd.DataFrame) -> pd.DataFrame:
        return batch[["x"]].iloc[1:].rename(columns={"x": "prediction"})

    with pytest.raises(Exception, match=r"batch 0 \(rows 0 to 3\)"):
        short(data=StructuredDataset(dataframe=frame()))


def test_an_exception_in_predict_names_the_batch_and_keeps_its_cause() -> None:
    @batch_scoring(batch_rows=4)
    def failing(batch: pd.DataFrame) -> pd.DataFrame:
        if batch["x"].iloc[0] >= 4:
            raise RuntimeError("the model broke")
        return pd.DataFrame({"prediction": batch["x"]})

    with pytest.raises(Exception, match=r"batch 1 .*the model broke") as told:
        failing(data=StructuredDataset(dataframe=frame()))
    assert isinstance(_root(told.value), ScoringError)


def test_wrong_settings_are_refused_at_decoration() -> None:
    def predict(batch: pd.DataFrame, model: object) -> pd.DataFrame:
        return batch

    def nothing() -> None:
        return None

    def taken(batch: pd.DataFrame, data: int) -> pd.DataFrame:
        return batch

    with pytest.raises(ConfigError, match="other than the batch"):
        batch_scoring(predict, load={"modle": load_weights})
    with pytest.raises(ConfigError, match="at least 1"):
        batch_scoring(predict, batch_rows=0)
    with pytest.raises(ConfigError, match="first parameter"):
        batch_scoring(nothing)
    with pytest.raises(ConfigError, match="rename it"):
        batch_scoring(taken)


def _root(error: BaseException) -> BaseException:
    """Our error inside what flytekit wraps around it."""
    while error.__cause__ is not None and not isinstance(error, (DataError, ScoringError)):
        error = error.__cause__
    return error
