"""A class that a window has no label of: nothing is held against it, as nothing is measured."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from flytekitplugins.wbmon import PerformanceReport, check_performance, estimate_performance
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

RIGHT = {"a": 0.99, "b": 0.8, "c": 0.7}
MACRO = ("precision", "recall", "f1")


def window(rng, n, classes="abc", right=RIGHT):
    """Labels of these classes, and predictions that confuse only `b` with `c`, and `a` with `b`."""
    y = rng.choice(list(classes), n)
    is_right = rng.random(n) < [right[each] for each in y]
    return pd.DataFrame({"y": y, "p": np.where(is_right, y, np.where(y == "b", "c", "b"))})


def measured(frame, **given):
    return check_performance(frame, task="classification", label="y", prediction="p", **given)


def score(name, frame, classes):
    y, p = frame["y"], frame["p"]
    mean = {"average": "macro", "labels": list(classes), "zero_division": np.nan}
    return getattr(sk, f"{name}_score")(y, p, **mean)


@pytest.mark.parametrize("n_taken_for_it", [0, 6], ids=["not predicted", "predicted six times"])
def test_a_mean_over_classes_is_compared_with_the_mean_over_the_same(rng, n_taken_for_it):
    before = window(rng, 20_000)
    baseline = measured(before)
    frame = window(rng, 3000, "bc")
    frame.loc[: n_taken_for_it - 1, "p"] = "a"

    report = measured(frame, baseline=baseline)

    for name in MACRO:
        found = report.metrics[name]
        assert found.value == pytest.approx(score(name, frame, "bc"))
        assert found.baseline == pytest.approx(score(name, before, "bc"))
        assert found.verdict == "ok"
    assert "no row is labelled 'a'" in report.reason
    # the one class that was easy is gone, and that is what users of the model see
    assert report.metrics["accuracy"].verdict == "worse"


def test_a_class_that_became_worse_is_found_without_the_others(rng):
    baseline = measured(window(rng, 20_000))
    report = measured(window(rng, 3000, "bc", {"b": 0.8, "c": 0.6}), baseline=baseline)
    assert [report.metrics[name].verdict for name in ("recall", "f1")] == ["worse", "worse"]


@pytest.mark.parametrize("kind", ["rows", "weights", "clusters"])
def test_windows_that_lack_a_class_are_called_worse_as_seldom_as_any(rng, kind):
    """Eight baselines with 15 windows each: of 120 windows about 3 are worse by chance."""
    extra = {"rows": {}, "weights": {"weight": "w"}, "clusters": {"cluster": "k"}}[kind]

    def drawn(n, classes):
        frame = window(rng, n, classes)
        if kind == "clusters":
            frame = frame.loc[np.repeat(frame.index, 3)].assign(k=np.repeat(range(n), 3))
        return frame.assign(w=rng.choice([1.0, 3.0], len(frame)))

    n_worse = dict.fromkeys(MACRO, 0)
    for _ in range(8):
        baseline = measured(drawn(1200, "abc"), **extra)
        for _ in range(15):
            found = measured(drawn(300, "bc"), baseline=baseline, **extra).metrics
            for name in MACRO:
                n_worse[name] += found[name].verdict == "worse"
    # the error of a baseline is common to its windows, so the numbers vary more than binomially
    assert max(n_worse.values()) <= 12, n_worse


def test_an_area_over_other_classes_is_not_compared(rng):
    def scored(classes):
        frame = window(rng, 2000, classes)
        scores = rng.dirichlet(np.ones(3), 2000) + np.eye(3)[["abc".index(y) for y in frame["y"]]]
        return frame.assign(**dict(zip(("sa", "sb", "sc"), (scores / 2).T, strict=True)))

    given = {"score": ("sa", "sb", "sc")}
    baseline = measured(scored("abc"), **given)
    report = measured(scored("bc"), baseline=baseline, **given)
    for name in ("roc_auc", "pr_auc"):
        assert report.metrics[name].verdict == "unknown"
        assert "its classes are others, 'a' in one window only" in report.metrics[name].reason
    again = measured(scored("abc"), baseline=baseline, **given)
    assert again.metrics["roc_auc"].verdict == "ok"


def test_a_class_that_the_baseline_never_saw_counts_as_it_is_now(rng):
    before = window(rng, 5000, "bc")
    baseline = measured(before, classes=["a", "b", "c"])
    frame = window(rng, 2000)
    report = measured(frame, baseline=baseline)
    own = (frame["p"] == "a")[frame["y"] == "a"].mean()
    expected = (2 * score("recall", before, "bc") + own) / 3
    assert report.metrics["recall"].baseline == pytest.approx(expected)
    assert report.metrics["recall"].verdict == "ok"


def test_a_baseline_of_none_of_the_classes_is_told(rng):
    baseline = measured(pd.DataFrame({"y": ["d"] * 40, "p": ["d"] * 40}), classes=list("abcd"))
    report = measured(window(rng, 500), baseline=baseline)
    assert report.metrics["recall"].verdict == "unknown"
    assert "no row of the classes of this window" in report.metrics["recall"].reason


def test_a_model_that_is_never_right_by_class_has_no_precision_to_compare():
    """Every prediction is of the one class that no row has."""
    frame = pd.DataFrame({"y": ["a", "b"] * 20, "p": ["c"] * 40})
    report = measured(frame, baseline=measured(frame))
    precision = report.metrics["precision"]
    assert (precision.verdict, math.isnan(precision.value)) == ("unknown", True)
    assert "no row is predicted as a class that has labels" in precision.reason
    assert report.metrics["recall"].value == 0.0


def test_a_baseline_of_an_earlier_release_is_compared_over_the_same_classes(rng):
    """It took the recall of a class without labels for 0, and kept that as its mean."""
    before = window(rng, 4000, "bc")
    before.loc[:5, "p"] = "a"
    kept = measured(before)
    recall = kept.metrics["recall"]
    old = replace(recall, value=recall.value * 2 / 3, low=recall.low * 2 / 3, high=recall.high)
    earlier = replace(kept, metrics={**kept.metrics, "recall": old})
    found = measured(window(rng, 500, "bc"), baseline=earlier).metrics["recall"]
    assert found.baseline == pytest.approx(recall.value)
    assert found.verdict == "ok"


def test_a_stored_baseline_compares_as_one_at_hand(rng):
    baseline = measured(window(rng, 3000))
    stored = record_from_json(PerformanceReport, record_to_json(baseline))
    frame = window(rng, 500, "bc")
    reports = [measured(frame, baseline=each) for each in (stored, baseline)]
    assert record_to_json(reports[0]) == record_to_json(reports[1])


def test_a_segment_without_a_class_is_compared_by_its_classes(rng):
    frame = pd.concat(
        [window(rng, 4000).assign(part="all"), window(rng, 1000, "bc").assign(part="some")]
    )
    parts = measured(frame, segments=("part",), rank_by="recall").segments
    assert {part.value: part.verdict for part in parts} == {"all": "ok", "some": "ok"}


def test_an_estimate_without_labels_is_compared_by_the_classes_it_expects(rng):
    def scored(n, classes):
        y = rng.choice(list(classes), n)
        sure = rng.beta(6, 3, n)
        # rows of `a` are known as such, the two others are confused with each other
        own = {"a": [0.98, 0.01], "b": [0.0, 1.0], "c": [0.0, 0.0]}
        scores = np.array([own[each] for each in y])
        scores[:, 1] = np.where(y == "b", sure, np.where(y == "c", 1 - sure, scores[:, 1]))
        frame = pd.DataFrame({"sa": scores[:, 0], "sb": scores[:, 1], "sc": 1 - scores.sum(axis=1)})
        best = frame.to_numpy().argmax(axis=1)
        return frame.assign(y=y, p=np.array(list("abc"))[best])

    reference, current = scored(4000, "abc"), scored(2000, "bc")
    report = estimate_performance(
        current.drop(columns="y"),
        reference=reference,
        label="y",
        prediction="p",
        score=("sa", "sb", "sc"),
    )
    assert report.metrics["recall"].baseline == pytest.approx(score("recall", reference, "bc"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=30, max_size=60),
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=30, max_size=60),
)
def test_any_window_is_compared_over_classes_that_both_have_or_not_at_all(before, now):
    old, new = (pd.DataFrame(rows, columns=["y", "p"]) for rows in (before, now))
    names = list("abcd")
    report = measured(new, baseline=measured(old, classes=names), classes=names)
    labelled = [set(frame["y"]) for frame in (old, new)]
    found = report.metrics["recall"]
    assert found.value == pytest.approx(score("recall", new, sorted(labelled[1])))
    common = sorted(labelled[0] & labelled[1])
    if not common:
        assert math.isnan(found.baseline)
        return
    own = [(new["p"] == each)[new["y"] == each].mean() for each in labelled[1] - labelled[0]]
    expected = (len(common) * score("recall", old, common) + sum(own)) / len(labelled[1])
    assert found.baseline == pytest.approx(expected)
