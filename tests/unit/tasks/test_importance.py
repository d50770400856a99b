from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from flytekit import workflow
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset
from sklearn.linear_model import LogisticRegression

from flytekitplugins.wbmon import (
    DriftCheck,
    DriftReport,
    DriftRule,
    FeatureImportance,
    ProfileData,
    batch_scoring,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.tasks._node import node_resolver
from support.in_process import execute, pod_context

FEATURES = ("age", "balance", "visits", "zeal")


@batch_scoring(load={"model": joblib.load})
def score(batch: pd.DataFrame, model: LogisticRegression) -> pd.DataFrame:
    return pd.DataFrame({"p": model.predict_proba(batch[list(FEATURES)])[:, 1]})


def decide(batch: np.ndarray, model: LogisticRegression) -> np.ndarray:
    return model.coef_[0] @ batch.T


importance = FeatureImportance("test.importance", features=FEATURES)
labelled = FeatureImportance("test.labelled", features=FEATURES, label="bought", predict=score)
profile = ProfileData("test.importance.profile", columns=FEATURES)
drift = DriftCheck("test.importance.drift", rule=DriftRule(importance={"age": 0.1, "new": 0.5}))


@workflow
def weighed(
    train: StructuredDataset, night: StructuredDataset, model: FlyteFile
) -> tuple[dict[str, float], DriftReport]:
    weights = importance(data=train, model=model)
    reference = profile(data=train)
    current = profile(data=night, like=reference)
    checked = drift(reference=reference, current=current, importance=weights)
    return weights, checked.report


def rows(rng: np.random.Generator, n: int = 1000) -> pd.DataFrame:
    """People, of whom those with visits and zeal buy."""
    found = pd.DataFrame(rng.normal(size=(n, 4)), columns=list(FEATURES))
    found["bought"] = found["visits"] + 2 * found["zeal"] > rng.normal(size=n)
    return found


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> FlyteFile:
    train = rows(rng)
    fitted = LogisticRegression().fit(train[list(FEATURES)], train["bought"])
    # the noise of the fit is not what is tested
    fitted.coef_ = np.where(np.abs(fitted.coef_) > 0.5, fitted.coef_, 0.0)
    joblib.dump(fitted, tmp_path / "model.joblib")
    return FlyteFile(str(tmp_path / "model.joblib"))


def data(frame: pd.DataFrame) -> StructuredDataset:
    return StructuredDataset(dataframe=frame)


def test_a_workflow_weighs_what_drifted_by_what_the_model_listens_to(
    model: FlyteFile, rng: np.random.Generator
) -> None:
    night = rows(rng)
    night[["age", "zeal"]] += 0.7

    weights, report = weighed(train=data(rows(rng)), night=data(night), model=model)

    assert weights["zeal"] == 1.0
    assert 0.3 < weights["visits"] < 0.7
    assert weights["age"] == weights["balance"] == 0.0
    drifted = [name for name, feature in report.features.items() if feature.drifted]
    assert drifted == ["zeal", "age"]
    assert report.features["zeal"].importance == 1.0


def test_given_weights_go_before_those_of_the_rule_and_fill_them(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    with pod_context(tmp_path) as context:
        reference = execute(context, profile, data=data(rows(rng)), like=None)["o0"]
        found = execute(
            context,
            drift,
            reference=reference,
            current=reference,
            past=None,
            importance={"age": 0.7, "zeal": 0.2},
        )["report"]
        plain = execute(
            context, drift, reference=reference, current=reference, past=None, importance=None
        )["report"]

    weights = {name: feature.importance for name, feature in found.features.items()}
    assert weights == {"age": 0.7, "balance": 1.0, "visits": 1.0, "zeal": 0.2}
    assert found.rule.importance == {"age": 0.7, "new": 0.5, "zeal": 0.2}
    assert plain.features["age"].importance == 0.1


def test_a_node_rebuilt_from_its_arguments_calls_the_function_of_the_scoring_task(
    tmp_path: Path, model: FlyteFile, rng: np.random.Generator
) -> None:
    arguments = node_resolver.loader_args(None, labelled)
    rebuilt = node_resolver.load_task(arguments)

    with pod_context(tmp_path) as context:
        found = execute(context, rebuilt, data=data(rows(rng)), model=model)["o0"]

    assert rebuilt.config == labelled.config
    assert found["zeal"] == 1.0
    assert 0 < found["visits"] < 0.7


def test_a_function_of_a_module_says_what_it_takes(
    tmp_path: Path, model: FlyteFile, rng: np.random.Generator
) -> None:
    node = FeatureImportance(
        "test.decide", features=FEATURES, predict=decide, load=joblib.load, max_rows=200
    )
    with pod_context(tmp_path) as context:
        found = execute(context, node, data=data(rows(rng)), model=model)["o0"]

    assert max(found, key=lambda name: found[name]) == "zeal"


def test_a_file_that_is_no_model_is_told_by_what_could_not_read_it(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_text("not a model")
    with (
        pod_context(tmp_path),
        pytest.raises(DataError, match=r"'model' must be one that .*load can read"),
    ):
        importance.compute(
            data=data(pd.DataFrame({"age": [1.0]})), model=FlyteFile(str(tmp_path / "model.joblib"))
        )


@pytest.mark.parametrize("nothing", ["no rows", "no columns", "one row", "no labels", "one class"])
def test_a_window_that_says_nothing_leaves_every_weight_the_same(
    rng: np.random.Generator, model: FlyteFile, caplog, nothing: str
) -> None:
    frame = rows(rng, 50)
    given = {
        "no rows": frame.iloc[:0],
        "no columns": pd.DataFrame({"other": []}),
        "one row": frame.iloc[:1],
        "no labels": frame.assign(bought=None),
        "one class": frame.assign(bought=True),
    }[nothing]
    found = labelled(data=StructuredDataset(dataframe=given), model=model)
    assert found == dict.fromkeys(FEATURES, 1.0)
    assert "test.labelled: all features weigh the same, as" in caplog.text


def test_wrong_settings_are_refused_where_the_node_is_made() -> None:
    with pytest.raises(ConfigError, match="features must name"):
        FeatureImportance("x", features=())
    with pytest.raises(ConfigError, match="features must be a sequence of column names"):
        FeatureImportance("x", features="age")
    with pytest.raises(ConfigError, match="n_repeats must be a whole number"):
        FeatureImportance("x", features=("a",), n_repeats="3")
    with pytest.raises(ConfigError, match="seed must be a whole number"):
        FeatureImportance("x", features=("a",), seed=-1)
    with pytest.raises(ConfigError, match="metric must be one of roc_auc"):
        FeatureImportance("x", features=("a",), label="b", metric="auc")
    with pytest.raises(ConfigError, match="needs the truth"):
        FeatureImportance("x", features=("a",), metric="mae")
    with pytest.raises(ConfigError, match="a function at module level"):
        FeatureImportance("x", features=("a",), predict=lambda batch, model: batch)
