"""The metrics of a report against scikit-learn, and its verdicts at their limits."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import metrics
from sklearn.metrics import get_scorer_names

from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.measure import _verdict
from flytekitplugins.wbmon.stats.estimate import Estimate


def test_the_better_direction_is_that_of_scikit_learn(rng) -> None:
    """There a loss is negated, which its name says."""
    scorers = set(get_scorer_names())
    theirs = {"mae": "neg_mean_absolute_error", "rmse": "neg_root_mean_squared_error"}
    theirs |= {"pr_auc": "average_precision", "mape": "neg_mean_absolute_percentage_error"}
    theirs |= {"brier": "neg_brier_score", "log_loss": "neg_log_loss"}
    classes = of_binary(binary(rng, 100)).metrics
    values = pd.DataFrame({"y": rng.normal(size=50), "q": rng.normal(size=50)})
    numbers = check_performance(values, task="regression", label="y", prediction="q").metrics
    assert len(classes | numbers) == 12
    for name, metric in (classes | numbers).items():
        scorer = theirs.get(name, name)
        assert scorer in scorers
        assert metric.higher_is_better is not scorer.startswith("neg_")


def binary(rng: np.random.Generator, n: int, *, sure: float = 1.0) -> pd.DataFrame:
    """Scores whose log odds are `sure` times the true ones."""
    truth = rng.beta(2, 3, n)
    odds = (truth / (1 - truth)) ** sure
    return pd.DataFrame({"y": (rng.random(n) < truth).astype(int), "p": odds / (1 + odds)})


def of_binary(frame: pd.DataFrame, **given):
    return check_performance(frame, task="classification", label="y", prediction="p", **given)


def spiegelhalter(frame: pd.DataFrame) -> float:
    y, p = frame["y"], frame["p"]
    return ((y - p) * (1 - 2 * p)).sum() / math.sqrt(((1 - 2 * p) ** 2 * p * (1 - p)).sum())


@pytest.mark.parametrize("sure", [0.5, 1.0, 2.0])
def test_calibration_is_tested_as_spiegelhalter_does(rng, sure):
    frame = binary(rng, 800, sure=sure)
    calibration = of_binary(frame).calibration
    z = spiegelhalter(frame)
    assert calibration.p_value == pytest.approx(2 * norm.sf(abs(z)))
    assert calibration.too_sure is {0.5: False, 1.0: None, 2.0: True}[sure]
    # the bins are over all scores, not only over those of the more likely class
    scores = [each.score for each in calibration.bins]
    assert scores == pytest.approx(
        [part.mean() for part in np.array_split(np.sort(frame["p"]), 10)]
    )


def test_nothing_is_said_of_a_calibration_within_chance() -> None:
    frames = [binary(np.random.default_rng(seed), 60) for seed in range(100)]
    near = [each for each in frames if 1.7 < abs(spiegelhalter(each)) < 2.2]
    significant = [each for each in near if abs(spiegelhalter(each)) > norm.isf(0.025)]
    assert 0 < len(significant) < len(near)
    for frame in near:
        found = of_binary(frame).calibration
        assert (found.too_sure is not None) == any(frame is each for each in significant)


def test_the_mean_is_over_the_classes_that_have_labels(rng) -> None:
    """Of five classes one is only labelled, one only predicted, one neither."""
    names = list("abcde")
    whole = pd.DataFrame({"y": names * 20, "q": names * 20})
    baseline = check_performance(whole, task="classification", label="y", prediction="q")
    frame = pd.DataFrame(
        {"y": rng.choice(["a", "b", "c"], 200), "q": rng.choice(["a", "b", "d"], 200)}
    )

    found = check_performance(
        frame, task="classification", label="y", prediction="q", baseline=baseline
    ).metrics

    y, q = frame["y"], frame["q"]
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(y, q))
    for name in ("precision", "recall", "f1"):
        score = getattr(metrics, f"{name}_score")
        mean = {"average": "macro", "labels": ["a", "b", "c"], "zero_division": np.nan}
        assert found[name].value == pytest.approx(score(y, q, **mean))


def test_with_one_class_scores_are_not_measured_and_predictions_are(rng) -> None:
    frame = pd.DataFrame({"y": ["yes"] * 50, "q": ["yes"] * 50, "p": rng.random(50)})
    given = {"task": "classification", "label": "y", "prediction": "q"}
    plain = check_performance(frame, **given)
    assert plain.metrics["accuracy"].value == 1.0
    scored = check_performance(frame, score="p", **given)
    assert scored.status == "insufficient"
    assert all(math.isnan(metric.value) for metric in scored.metrics.values())
    assert set(scored.metrics) > set(plain.metrics)
    assert scored.calibration is None


def test_only_what_is_worse_is_named(rng) -> None:
    frame = binary(rng, 2000)
    report = of_binary(frame, baseline={"accuracy": 0.99, "roc_auc": 0.1})
    assert report.worse
    assert report.reason.startswith("worse than the baseline: accuracy")
    assert "roc_auc" not in report.reason
    assert "precision" not in report.reason


@pytest.mark.parametrize("higher", [True, False])
def test_a_change_that_may_be_none_is_ok(higher: bool) -> None:
    def verdict(low: float, high: float) -> str:
        return _verdict(Estimate((low + high) / 2, low, high), higher_is_better=higher)

    assert [verdict(0.0, 0.2), verdict(-0.2, 0.0), verdict(0.0, 0.0)] == ["ok"] * 3
    assert [verdict(0.01, 0.2), verdict(-0.2, -0.01)] == (
        ["better", "worse"] if higher else ["worse", "better"]
    )
    assert _verdict(Estimate(0.1), higher_is_better=higher) == "unknown"
