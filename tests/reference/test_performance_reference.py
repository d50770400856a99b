"""Performance metrics agree with scikit-learn, and their intervals cover what they promise."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as sk

from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.stats.estimate import student_quantile
from flytekitplugins.wbmon.stats.ranking import roc_auc


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def weight(request, rng):
    return rng.uniform(0.5, 5, 400) if request.param else np.ones(400)


def measured(table, **columns):
    return check_performance(pa.table(table), weight="w", **columns).metrics


def test_binary_metrics_agree_with_scikit_learn(rng, weight):
    p = rng.beta(1, 3, 400)
    y = (rng.random(400) < p).astype(int)
    found = measured(
        {"y": y, "p": p, "w": weight}, task="classification", label="y", prediction="p"
    )
    q = p >= 0.5
    expected = {
        "accuracy": sk.accuracy_score(y, q, sample_weight=weight),
        "precision": sk.precision_score(y, q, sample_weight=weight),
        "recall": sk.recall_score(y, q, sample_weight=weight),
        "f1": sk.f1_score(y, q, sample_weight=weight),
        "roc_auc": sk.roc_auc_score(y, p, sample_weight=weight),
        "pr_auc": sk.average_precision_score(y, p, sample_weight=weight),
        "log_loss": sk.log_loss(y, p, sample_weight=weight),
        "brier": sk.brier_score_loss(y, p, sample_weight=weight),
    }
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(expected)


def test_multiclass_metrics_agree_with_scikit_learn(rng, weight):
    scores = rng.dirichlet(np.ones(4), 400)
    names = np.array(["ape", "bee", "cat", "dog"])
    y = names[[rng.choice(4, p=row) for row in scores]]
    q = names[scores.argmax(axis=1)]
    table = {"y": y, "q": q, "w": weight} | {f"p{i}": scores[:, i] for i in range(4)}
    found = measured(
        table,
        task="classification",
        label="y",
        prediction="q",
        score=("p0", "p1", "p2", "p3"),
    )
    macro = {"average": "macro", "sample_weight": weight, "zero_division": 0}
    expected = {
        "accuracy": sk.accuracy_score(y, q, sample_weight=weight),
        "precision": sk.precision_score(y, q, **macro),
        "recall": sk.recall_score(y, q, **macro),
        "f1": sk.f1_score(y, q, **macro),
        "log_loss": sk.log_loss(y, scores, sample_weight=weight),
        "roc_auc": np.mean(
            [
                sk.roc_auc_score(y == n, scores[:, i], sample_weight=weight)
                for i, n in enumerate(names)
            ]
        ),
        "pr_auc": np.mean(
            [
                sk.average_precision_score(y == n, scores[:, i], sample_weight=weight)
                for i, n in enumerate(names)
            ]
        ),
        "brier": np.average(((scores - (y[:, None] == names)) ** 2).sum(axis=1), weights=weight),
    }
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(expected)


def test_macro_metrics_leave_out_what_is_undefined_as_scikit_learn_can(rng):
    """Of class 4 nothing is predicted, and nothing is labelled 5."""
    y = rng.integers(0, 5, 300)
    q = np.where(y == 4, 5, y)
    found = check_performance(
        pa.table({"y": y, "q": q}), task="classification", label="y", prediction="q"
    ).metrics
    labelled = {"average": "macro", "labels": range(5), "zero_division": np.nan}
    for name in ("precision", "recall", "f1"):
        score = getattr(sk, f"{name}_score")
        assert found[name].value == pytest.approx(score(y, q, **labelled))


def test_regression_metrics_agree_with_scikit_learn(rng, weight):
    y = rng.normal(size=400)
    p = y + rng.normal(size=400) * 0.3
    found = measured({"y": y, "p": p, "w": weight}, task="regression", label="y", prediction="p")
    expected = {
        "mae": sk.mean_absolute_error(y, p, sample_weight=weight),
        "rmse": np.sqrt(sk.mean_squared_error(y, p, sample_weight=weight)),
        "mape": sk.mean_absolute_percentage_error(y, p, sample_weight=weight),
        "r2": sk.r2_score(y, p, sample_weight=weight),
    }
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(expected)


@pytest.mark.parametrize("df", [4, 5.5, 10, 29, 100, 1e5])
def test_students_quantile_agrees_with_scipy(df):
    assert student_quantile(df) == pytest.approx(scipy_stats.t.ppf(0.975, df), abs=0.01)
    # three comparisons share the 5 %
    z = scipy_stats.norm.ppf(1 - 0.05 / 6)
    assert student_quantile(max(df, 10), z=z) == pytest.approx(
        scipy_stats.t.ppf(1 - 0.05 / 6, max(df, 10)), abs=0.01
    )


def test_the_variance_of_auc_is_delongs(rng):
    """The midrank form of Sun & Xu (2014), written out pair by pair."""
    x, y = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 60).round(1)
    wins = (x[:, None] > y).astype(float) + (x[:, None] == y) / 2
    variance = wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 60
    auc = roc_auc(np.arange(100) < 40, np.concatenate([x, y]), np.ones(100))
    logit = [np.log(end / (1 - end)) for end in auc[:3]]
    error = np.sqrt(variance) / (auc.value * (1 - auc.value))
    assert auc.value == pytest.approx(wins.mean())
    assert (logit[2] - logit[1]) / 2 / error == pytest.approx(2.0, abs=0.05)


_COVERED = {
    "binary": ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier"),
    "sampled": ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier"),
    "classes": ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier"),
    "clusters": ("accuracy", "recall", "f1", "pr_auc", "log_loss", "brier"),
    "regression": ("mae", "rmse", "mape", "r2"),
}


def draw(kind, rng, n):
    if kind == "regression":
        y = rng.uniform(2, 6, n)
        return {"y": y, "q": y + rng.normal(size=n)}, {"task": "regression"}
    if kind == "classes":
        scores = rng.dirichlet(np.full(4, 0.4), n)
        y = (scores.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=3)
        table = {"y": y, "q": scores.argmax(axis=1)} | {f"p{i}": scores[:, i] for i in range(4)}
        return table, {"task": "classification", "score": ("p0", "p1", "p2", "p3")}
    if kind == "clusters":
        of = np.arange(n) // 5
        risk = (0.8 * rng.normal(size=n)[of] + 0.6 * rng.normal(size=n)) * 1.5
        luck = 0.8 * rng.normal(size=n)[of] + 0.6 * rng.normal(size=n)
        y = (rng.random(n) < 1 / (1 + np.exp(-risk - luck))).astype(int)
        table = {"y": y, "q": 1 / (1 + np.exp(-0.9 * risk)), "c": of}
        return table, {"task": "classification", "cluster": "c"}
    p = rng.beta(0.5, 1.5, n)
    table = {"y": (rng.random(n) < p).astype(int), "q": p}
    if kind == "binary":
        return table, {"task": "classification"}
    kept = (table["y"] == 1) | (rng.random(n) < 0.25)
    table["w"] = np.where(table["y"] == 1, 1.0, 4.0)
    return {name: column[kept] for name, column in table.items()}, {
        "task": "classification",
        "weight": "w",
    }


@pytest.mark.parametrize("kind", list(_COVERED))
def test_intervals_cover_the_truth_as_often_as_they_promise(kind, rng):
    """Of 400 windows 380 should; the limits are four Monte-Carlo standard errors away."""

    def metrics_of(n):
        table, arguments = draw(kind, rng, n)
        return check_performance(pa.table(table), label="y", prediction="q", **arguments).metrics

    truth = metrics_of(300_000)
    windows = [metrics_of(400) for _ in range(400)]
    for name in _COVERED[kind]:
        covered = sum(w[name].low <= truth[name].value <= w[name].high for w in windows)
        assert 363 <= covered <= 397, name


def test_a_window_like_its_baseline_is_rarely_called_worse(rng):
    """Per metric in 2.5 % of windows, as a whole in fewer."""
    alarms = {"metric": 0, "report": 0}
    for _ in range(300):
        (before, arguments), (after, _) = draw("binary", rng, 300), draw("binary", rng, 300)
        baseline = check_performance(pa.table(before), label="y", prediction="q", **arguments)
        report = check_performance(
            pa.table(after), label="y", prediction="q", baseline=baseline, **arguments
        )
        alarms["metric"] += report.metrics["roc_auc"].verdict == "worse"
        alarms["report"] += report.worse
    assert alarms["metric"] <= 18
    assert alarms["report"] <= 14
