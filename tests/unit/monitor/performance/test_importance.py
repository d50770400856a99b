from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance as by_sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression

from flytekitplugins.wbmon.errors import (
    ConfigError,
    DataError,
    InsufficientDataError,
    ScoringError,
)
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.performance.importance import (
    _weights,
    permutation_importance,
)

FEATURES = [f"x{i}" for i in range(10)]


def frame(seed: int, n: int = 2000, shift: float = 0.0) -> pd.DataFrame:
    """Ten features, of which `x3` and `x7` make the label; `x1` and `x7` may be shifted."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(n, 10)), columns=FEATURES)
    odds = 2 * rows["x3"] + rows["x7"]
    rows["label"] = rng.random(n) < 1 / (1 + np.exp(-odds))
    rows[["x1", "x7"]] += shift
    return rows


def uses_two(batch: pd.DataFrame) -> pd.Series:
    return 1 / (1 + np.exp(-2 * batch["x3"] - batch["x7"]))


def test_only_the_features_that_the_model_uses_have_weight_without_labels():
    found = permutation_importance(uses_two, frame(1), features=FEATURES)

    assert list(found) == FEATURES
    assert found["x3"] == 1.0
    assert found["x7"] == pytest.approx(0.5, abs=0.15)
    assert all(found[name] == 0.0 for name in set(FEATURES) - {"x3", "x7"})


@pytest.mark.parametrize("metric", [None, "roc_auc", "log_loss"])
def test_with_labels_the_drop_of_a_metric_counts(metric):
    found = permutation_importance(
        uses_two, frame(1), features=FEATURES, label="label", metric=metric
    )

    assert found["x3"] == 1.0
    assert 0.1 < found["x7"] < 0.6
    assert sum(found.values()) == found["x3"] + found["x7"]


def test_of_two_features_that_drift_alike_the_one_the_model_uses_ranks_first():
    """Both are shifted by as much; `x1` comes first by name alone."""
    reference, current = frame(1), frame(2, shift=0.6)
    current["x1"] = current["x7"]
    reference["x1"] = reference["x7"]
    weights = permutation_importance(uses_two, frame(3), features=FEATURES)

    plain = check_drift(reference[FEATURES], current[FEATURES])
    weighted = check_drift(
        reference[FEATURES], current[FEATURES], rule=DriftRule(importance=weights)
    )

    assert plain.features["x1"].effect_size == plain.features["x7"].effect_size
    assert [name for name, item in plain.features.items() if item.drifted] == ["x1", "x7"]
    assert [name for name, item in weighted.features.items() if item.drifted] == ["x7", "x1"]
    assert weighted.features["x7"].importance == weights["x7"]


def test_a_model_without_a_function_is_called_by_its_own_methods():
    rows = frame(1)
    model = LogisticRegression().fit(rows[FEATURES], rows["label"])

    for settings in ({}, {"label": "label"}, {"label": "label", "metric": "accuracy"}):
        found = permutation_importance(model, rows, features=FEATURES, **settings)
        assert max(found, key=found.get) == "x3"
        assert sorted(found, key=found.get)[-2] == "x7"


@pytest.mark.parametrize(
    ("given", "repeats", "seed"), [({}, 5, 0), ({"n_repeats": 1, "seed": 4}, 1, 4)]
)
@pytest.mark.parametrize(("metric", "scoring"), [(None, "roc_auc"), ("log_loss", "neg_log_loss")])
def test_the_losses_are_those_of_scikit_learn(metric, scoring, given, repeats, seed):
    rows = frame(1, n=600)
    model = RandomForestClassifier(20, min_samples_leaf=20, random_state=0).fit(
        rows[FEATURES], rows["label"]
    )

    found = permutation_importance(
        model, rows, features=FEATURES, label="label", metric=metric, **given
    )

    theirs = by_sklearn(
        model, rows[FEATURES], rows["label"], scoring=scoring, n_repeats=repeats, random_state=seed
    ).importances_mean
    expected = np.maximum(theirs, 0) / theirs.max()
    assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-12)


def test_a_regression_is_measured_by_its_error():
    rows = frame(1)
    rows["price"] = 5 * rows["x2"] - rows["x0"]
    model = LinearRegression().fit(rows[FEATURES], rows["price"])

    for metric in ("mae", "rmse"):
        found = permutation_importance(model, rows, features=FEATURES, label="price", metric=metric)
        assert found["x2"] == 1.0
        assert found["x0"] == pytest.approx(0.2, abs=0.05)


def test_categories_texts_and_missing_values_reach_the_model_as_they_are(tmp_path):
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "country": rng.choice(["DE", "FR", None], 600),
            "count": pd.array(rng.integers(0, 9, 600), dtype="Int64"),
            "noise": rng.normal(size=600),
        }
    )
    rows.loc[::7, "count"] = pd.NA
    rows.to_parquet(tmp_path / "rows.parquet")

    def predict(batch: pd.DataFrame) -> pd.Series:
        assert batch["country"].dropna().isin(["DE", "FR"]).all()
        return pd.Series(np.where(batch["country"].eq("DE"), "yes", "no"))

    found = permutation_importance(
        predict, tmp_path / "rows.parquet", features=["country", "count", "noise"]
    )

    assert found == {"country": 1.0, "count": 0.0, "noise": 0.0}


@pytest.mark.parametrize("kind", ["arrow", "numpy"])
def test_a_function_is_given_the_batch_that_it_is_annotated_with(kind):
    def on_arrow(batch: pa.Table) -> pa.ChunkedArray:
        return batch["x3"]

    def on_numpy(batch: np.ndarray) -> np.ndarray:
        return batch[:, [3]]

    model = on_arrow if kind == "arrow" else on_numpy
    found = permutation_importance(model, frame(1, n=200), features=FEATURES)

    assert [name for name, weight in found.items() if weight] == ["x3"]


def test_a_model_that_listens_to_nothing_leaves_every_weight_the_same():
    found = permutation_importance(lambda batch: np.zeros(len(batch)), frame(1), features=FEATURES)

    assert set(found.values()) == {1.0}


def test_a_prediction_that_is_not_a_number_changes_nothing():
    nowhere = permutation_importance(
        lambda batch: np.full(len(batch), np.nan), frame(1), features=FEATURES
    )
    assert set(nowhere.values()) == {1.0}

    def beside_a_number(batch: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"a": np.full(len(batch), np.nan), "b": batch["x3"].to_numpy()})

    found = permutation_importance(beside_a_number, frame(1), features=FEATURES)
    assert {name for name, weight in found.items() if weight} == {"x3"}


def test_a_feature_of_which_the_metric_is_undefined_weighs_as_much_as_any():
    assert _weights(["x0", "x1", "x2"], np.array([np.nan, 0.2, 0.4])) == {
        "x0": 1.0,
        "x1": 0.5,
        "x2": 1.0,
    }
    assert set(_weights(["x0", "x1"], np.array([np.nan, np.nan])).values()) == {1.0}


def test_an_answer_of_another_type_is_another_answer():
    asked = []

    def predict(batch: pd.DataFrame) -> pd.Series:
        asked.append(len(batch))
        return pd.Series([1.0 if len(asked) == 1 else "one"] * len(batch))

    assert set(permutation_importance(predict, frame(1, n=50), features=FEATURES).values()) == {1.0}


@pytest.mark.parametrize(("n", "used"), [(2, 2), (5000, 5000), (5001, 2501)])
def test_two_to_five_thousand_rows_are_used_unless_told_otherwise(n, used):
    seen = set()

    def predict(batch: pd.DataFrame) -> pd.Series:
        seen.add(len(batch))
        return batch["x1"]

    permutation_importance(predict, frame(1, n=n), features=["x1"], n_repeats=1)
    permutation_importance(predict, frame(1, n=n), features=["x1"], n_repeats=1, max_rows=max(n, 2))
    assert seen == {used, n}


def test_a_folder_name_may_be_a_feature(tmp_path):
    for at, region in enumerate(("EU", "US")):
        (tmp_path / f"region={region}").mkdir()
        frame(at, n=100).to_parquet(tmp_path / f"region={region}" / "part.parquet")

    found = permutation_importance(
        lambda batch: batch["region"] == "EU", tmp_path, features=["region", "x1"]
    )

    assert found == {"region": 1.0, "x1": 0.0}


def test_the_same_seed_gives_the_same_weights_and_only_so_many_rows_are_used():
    seen = []

    def predict(batch: pd.DataFrame) -> pd.Series:
        seen.append(len(batch))
        return uses_two(batch)

    first, second = (
        permutation_importance(predict, frame(1), features=FEATURES, seed=3, max_rows=500)
        for _ in range(2)
    )

    assert first == second
    assert set(seen) == {500}


def test_correlated_features_share_their_importance():
    """The known limit: each alone says what both say."""
    rows = frame(1)
    rows["x4"] = rows["x3"]

    def predict(batch: pd.DataFrame) -> pd.Series:
        return batch["x3"] + batch["x4"] + 1.5 * batch["x7"]

    found = permutation_importance(predict, rows, features=FEATURES)

    assert found["x7"] == 1.0
    assert found["x3"] == pytest.approx(2 / 3, abs=0.1)


def test_rows_without_a_label_are_left_out():
    rows = frame(1, n=400)
    rows["label"] = rows["label"].astype("boolean")
    rows.loc[:350, "label"] = pd.NA
    seen = []

    def predict(batch: pd.DataFrame) -> pd.Series:
        seen.append(len(batch))
        return uses_two(batch)

    permutation_importance(predict, rows, features=FEATURES, label="label")

    assert set(seen) == {49}
    with pytest.raises(InsufficientDataError, match="two rows with a value of 'label', found 1"):
        permutation_importance(uses_two, rows.iloc[350:352], features=FEATURES, label="label")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": []}, "features must name"),
        ({"features": ["x1", "x1"]}, "each once"),
        ({"metric": "auc", "label": "label"}, "metric must be one of roc_auc"),
        ({"metric": "mae"}, "needs the truth"),
        ({"features": None}, "features must name"),
        ({"features": "x1"}, "features must be a sequence of column names"),
        ({"n_repeats": 0}, "n_repeats must be a whole number of at least 1, got 0"),
        ({"n_repeats": "3"}, "n_repeats must be a whole number of at least 1, got '3'"),
        ({"max_rows": 1}, "max_rows must be a whole number of at least 2"),
        ({"max_rows": None}, "max_rows must be a whole number"),
        ({"seed": -1}, "seed must be a whole number of at least 0 and at most 4294967295, got -1"),
        ({"seed": 2**32}, "seed must be"),
        ({"model": object()}, "must be a predict function"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    given = {"model": uses_two, "features": FEATURES, **settings}
    with pytest.raises(ConfigError, match=message):
        permutation_importance(given.pop("model"), frame(1, n=50), **given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": ["x1", "x33"]}, "did you mean 'x3'"),
        (
            {"label": "x1"},
            "labels of two classes: column 'x1' must hold classes.*choose metric='mae'",
        ),
        ({"label": "label", "metric": "rmse", "model": lambda b: ["a"] * len(b)}, "must return"),
        ({"label": "word", "metric": "rmse"}, "mae and rmse need numbers"),
        ({"label": "label", "model": lambda b: b[["x1", "x2", "x3"]]}, "returned 3 columns"),
        ({"label": "label", "model": lambda b: ["a"] * len(b)}, "must return"),
        ({"label": "label", "model": lambda b: b["word"], "features": ["word"]}, "need scores"),
        (
            {"label": "label", "model": lambda b: pd.to_timedelta(b["x1"], unit="s")},
            "need scores, the model returned duration",
        ),
        (
            {"label": "x5", "metric": "mae", "model": lambda b: pd.to_timedelta(b["x1"], unit="s")},
            "in the unit of the labels, plain numbers; the model returned duration",
        ),
        (
            {"label": "label", "metric": "accuracy", "model": lambda b: b[["x1", "x2"]]},
            "one column, the predicted class",
        ),
        (
            {"label": "x5", "metric": "mae", "model": lambda b: b[["x1", "x2"]]},
            "one column of numbers",
        ),
        ({"model": lambda b: b["x1"].iloc[:3]}, "the model's answer cannot be used"),
    ],
)
def test_data_that_do_not_fit_are_told_what_would(settings, message):
    rows = frame(1, n=50).assign(word="a")
    given = {"model": uses_two, "features": FEATURES, **settings}
    with pytest.raises(DataError, match=message):
        permutation_importance(given.pop("model"), rows, **given)


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_durations_and_texts_of_numbers_are_measured_as_by_the_check(metric):
    rows = frame(1, n=200)
    given = {"features": FEATURES, "label": "y", "metric": metric}
    plain = permutation_importance(lambda b: b["x3"], rows.assign(y=rows["x3"]), **given)
    assert plain["x3"] == 1.0
    for form in (lambda x: pd.to_timedelta(x, unit="s"), lambda x: x.map(repr)):
        found = permutation_importance(
            lambda b, form=form: form(b["x3"]), rows.assign(y=form(rows["x3"])), **given
        )
        assert found == pytest.approx(plain)


def test_texts_of_scores_are_scores():
    rows, given = frame(1, n=200), {"features": FEATURES, "label": "label"}
    found = permutation_importance(lambda b: uses_two(b).map(repr), rows, **given)
    assert found == permutation_importance(uses_two, rows, **given)


@pytest.mark.parametrize("form", [pd.TimedeltaIndex, pd.array])
def test_a_change_of_durations_is_measured_in_seconds(form):
    def predict(batch: pd.DataFrame) -> object:
        return form(pd.to_timedelta(2 * batch["x3"] + batch["x7"], unit="s"))

    found = permutation_importance(predict, frame(1), features=FEATURES)
    assert found["x3"] == 1.0
    assert found["x7"] == pytest.approx(0.5, abs=0.1)


def test_a_model_that_raises_is_a_scoring_error_with_its_cause():
    def predict(batch: pd.DataFrame) -> pd.Series:
        raise KeyError("no such column")

    with pytest.raises(ScoringError, match="the model raised KeyError") as caught:
        permutation_importance(predict, frame(1), features=FEATURES)

    assert isinstance(caught.value.__cause__, KeyError)
