"""Few labels, and a judge that stands in for the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json


def of_classes(frame, **given) -> PerformanceReport:
    return check_performance(frame, task="classification", label="y", prediction="p", **given)


def judged(rng, n, n_labelled, *, right=0.9):
    """Scores of whose rows the first have a label, and all a judge's verdict."""
    q = rng.beta(1, 1, n)
    y = (rng.random(n) < q).astype(float)
    frame = pd.DataFrame({"p": np.clip(q + rng.normal(size=n) / 10, 0.01, 0.99)})
    frame["truth"] = y
    frame["y"] = np.where(np.arange(n) < n_labelled, y, np.nan)
    frame["judge"] = np.where(rng.random(n) < right, y, 1 - y).astype(int)
    frame["sure"] = np.where(frame["judge"] == 1, right, 1 - right)
    return frame


@pytest.mark.parametrize("proxy", ["judge", "sure"])
def test_a_good_proxy_shortens_the_intervals_of_means_and_only_those(rng, proxy):
    frame = judged(rng, 4000, 200)
    alone, found = of_classes(frame), of_classes(frame, proxy=proxy)
    assert set(found.proxy_gain) == {"accuracy", "log_loss", "brier"}
    assert (found.proxy, found.n_proxy) == (proxy, 3800)
    for name, metric in found.metrics.items():
        before = alone.metrics[name]
        if name in found.proxy_gain:
            assert metric.high - metric.low < 0.85 * (before.high - before.low)
            assert metric.n == 200
        else:
            assert metric == before
    assert "the labelled rows must be a random sample of all" in found.reason
    assert "3,800 rows without a label count by" in found.to_html()
    again = record_from_json(PerformanceReport, record_to_json(found))
    assert again.proxy_gain == found.proxy_gain


def test_accuracy_is_the_formula_over_rows(rng):
    frame = judged(rng, 2000, 150)
    found = of_classes(frame, proxy="judge").metrics["accuracy"]
    decided = frame["p"] >= 0.5
    hit, seen = (decided == (frame[name] == 1) for name in ("truth", "judge"))
    # two rows are added in which judge and label contradict each other
    y, f = hit[:150].to_numpy() * 1.0, seen[:150].to_numpy() * 1.0
    together = ((y - y.mean()) * (f - f.mean())).sum() + (1 - y.mean()) * (0 - f.mean())
    together += (0 - y.mean()) * (1 - f.mean())
    around = ((f - f.mean()) ** 2).sum() + f.mean() ** 2 + (1 - f.mean()) ** 2
    tuning = together / (around + 150**2 * seen[150:].var(ddof=0) / 1850)
    expected = (y - tuning * f).mean() + tuning * seen[150:].mean()
    assert found.value == pytest.approx(expected)


def test_regressions_have_proxies_of_values(rng):
    y = rng.normal(10, 1, 3000)
    frame = pd.DataFrame({"p": y + rng.normal(size=3000), "judge": y + rng.normal(size=3000) / 5})
    frame["y"] = np.where(np.arange(3000) < 100, y, np.nan)
    given = {"task": "regression", "label": "y", "prediction": "p"}
    alone, found = (check_performance(frame, **given, proxy=proxy) for proxy in (None, "judge"))
    assert set(found.proxy_gain) == {"mae", "rmse"}
    for name in ("mae", "rmse"):
        wide, short = alone.metrics[name], found.metrics[name]
        assert short.high - short.low < 0.6 * (wide.high - wide.low)
    assert found.metrics["rmse"].value == pytest.approx(1, abs=0.1)


def test_a_proxy_counts_in_segments_and_a_missing_one_is_no_fault(rng):
    frame = judged(rng, 4000, 400)
    frame["part"] = rng.integers(0, 2, 4000)
    frame["judge"] = frame["judge"].astype("Int64").mask(rng.random(4000) < 0.2)
    alone, found = (of_classes(frame, proxy=p, segments=("part",)) for p in (None, "judge"))
    for before, after in zip(
        *(sorted(r.segments, key=lambda part: part.value) for r in (alone, found)), strict=True
    ):
        wide, short = before.metrics["log_loss"], after.metrics["log_loss"]
        assert short.high - short.low < wide.high - wide.low


def test_labels_that_are_no_random_sample_are_announced(rng):
    frame = judged(rng, 3000, 0)
    hard = (frame["p"] >= 0.5) != (frame["judge"] == 1)
    frame["y"] = frame["truth"].where(hard & (rng.random(3000) < 0.5))
    found = of_classes(frame, proxy="judge")
    assert "which they are not" in found.reason
    assert "which they are not" not in of_classes(judged(rng, 3000, 300), proxy="judge").reason


def test_a_window_without_labels_or_with_all_of_them_has_the_metrics_of_its_labels(rng):
    none, every = judged(rng, 300, 0), judged(rng, 300, 300)
    assert of_classes(none, proxy="judge").status == "no_labels"
    found = of_classes(every, proxy="judge").metrics["log_loss"]
    assert found.value == pytest.approx(of_classes(every).metrics["log_loss"].value)


def test_proxies_outside_a_probability_are_refused(rng):
    frame = judged(rng, 200, 50)
    frame["sure"] *= 3
    with pytest.raises(DataError, match=r"must be in \[0, 1\]"):
        of_classes(frame, proxy="sure")


def test_the_interval_covers_however_good_the_judge_is(rng):
    for right in (0.5, 0.95):
        covered = np.zeros(2)
        truth = {k: m.value for k, m in of_truth(judged(rng, 200_000, 0)).items()}
        for _ in range(150):
            metrics = of_classes(judged(rng, 1500, 150, right=right), proxy="judge").metrics
            for place, name in enumerate(("accuracy", "log_loss")):
                covered[place] += metrics[name].low <= truth[name] <= metrics[name].high
        # of 150 intervals 142; four standard errors below are 132
        assert covered.min() >= 132


def of_truth(frame):
    return of_classes(frame.assign(y=frame["truth"])).metrics


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (np.char.upper, "proxies 'judge' must be classes of the labels: 3000 of 3000 are none"),
        (lambda names: np.where(np.arange(3000) % 2, names, "none"), "1500 of 3000 are none and"),
        (lambda names: np.full(len(names), None), "no proxy 'judge' counts"),
        (lambda names: np.roll(names, 7), "3000 proxies 'judge' make no metric more certain"),
    ],
    ids=["another case", "half of them", "missing", "useless"],
)
def test_proxies_that_do_not_count_are_told(made, said):
    rng = np.random.default_rng(3)
    truth, judge = (np.array(["red", "green", "blue"])[rng.integers(0, 3, 3000)] for _ in "ab")
    frame = pd.DataFrame({"y": truth, "p": judge, "judge": made(truth)})
    frame["p"] = np.where(rng.random(3000) < 0.7, truth, judge)
    frame["y"] = frame["y"].where(np.arange(3000) < 200)
    alone, found = of_classes(frame), of_classes(frame, proxy="judge")
    assert said in found.reason
    if not found.proxy_gain:
        assert (found.metrics, found.n_proxy) == (alone.metrics, 0)
    else:
        assert found.n_proxy == 1400


@pytest.mark.parametrize("made", [str, lambda x: str(x) if x > 0.2 else None])
def test_probabilities_may_be_text(rng, made):
    frame = judged(rng, 1500, 200)
    frame["sure"] = np.clip(frame["sure"] + rng.normal(size=1500) / 30, 0, 1)
    texts = frame.assign(sure=[made(each) for each in frame["sure"]])
    numbers = frame.assign(sure=frame["sure"].where(texts["sure"].notna()))
    expected, found = (of_classes(each, proxy="sure") for each in (numbers, texts))
    assert found.proxy_gain == expected.proxy_gain
    assert found.metrics == expected.metrics
