"""Estimates without labels held against the truth: real digits, and payments with known faults."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, cross_val_predict
from threadpoolctl import threadpool_limits

from flytekitplugins.wbmon import PerformanceReport, check_performance, estimate_performance
from workflows import digits, payments, payments_model

OF_DIGITS = {
    "label": "label",
    "prediction": "prediction",
    "score": tuple(f"score_{name}" for name in digits.CLASSES),
}
OF_PAYMENTS = {"label": "fraud", "prediction": "p_fraud"}
Held = Callable[..., PerformanceReport]


@pytest.fixture(scope="module")
def digit_window() -> Held:
    """Estimate a window of the digits, then measure it."""
    train = digits.digit_rows(0, digits.N_TRAIN)
    pixels, label = train.drop(columns="label"), train["label"]
    with threadpool_limits(1):
        scores = cross_val_predict(
            digits._pipeline(), pixels, label, cv=KFold(10), method="predict_proba"
        )
        model = digits._pipeline().fit(pixels, label)
    reference = pd.concat([train, digits._predictions(scores)], axis=1)
    edges = np.linspace(digits.N_TRAIN, 1797, digits.N_WINDOWS + 1).astype(int)

    def held(window: int) -> PerformanceReport:
        rows = digits.digit_rows(edges[window], edges[window + 1])
        scored = pd.concat([rows, digits.predict_digits(rows, model)], axis=1)
        unlabelled = scored.drop(columns="label")
        estimate = estimate_performance(unlabelled, reference=reference, **OF_DIGITS)
        return check_performance(scored, task="classification", estimate=estimate, **OF_DIGITS)

    return held


@pytest.fixture(scope="module")
def payments_night() -> Held:
    """Estimate a night of payments with a fault, then measure it."""
    frames = [payments.generate_payments(night, n_rows=2000) for night in range(-10, 0)]
    past = pd.concat(frames, ignore_index=True)
    inputs, fraud = past[list(payments.FEATURES)], past["fraud"]
    with threadpool_limits(1):
        scores = cross_val_predict(
            payments_model._pipeline(), inputs, fraud, cv=KFold(4), method="predict_proba"
        )
        model = payments_model._pipeline().fit(inputs, fraud)
    reference = past.assign(p_fraud=scores[:, 1])

    def held(fault: str | None) -> PerformanceReport:
        rows = payments.generate_payments(3, n_rows=5000, fault=fault)
        with threadpool_limits(1):
            scores = model.predict_proba(rows[list(payments.FEATURES)])
        scored = rows.assign(p_fraud=scores[:, 1])
        unlabelled = scored.drop(columns="fraud")
        estimate = estimate_performance(unlabelled, reference=reference, **OF_PAYMENTS)
        report = check_performance(scored, task="classification", estimate=estimate, **OF_PAYMENTS)
        assert not estimate.worse or fault == "unit_change"
        return report

    return held


@pytest.mark.parametrize("window", range(4))
def test_the_estimate_holds_for_digits_like_those_of_the_reference(
    digit_window: Held, window: int
) -> None:
    report = digit_window(window)
    assert [each.name for each in report.estimates if not each.held] == []


def test_digits_by_other_hands_are_overestimated(digit_window: Held) -> None:
    """The model is sure of them without reason, which no score shows."""
    report = digit_window(5)
    assert report.overestimated
    accuracy = next(each for each in report.estimates if each.name == "accuracy")
    assert accuracy.low > accuracy.value


@pytest.mark.parametrize("fault", [None, "broken_sensor", "new_merchant", "population_shift"])
def test_a_change_of_the_features_alone_is_estimated_right(
    payments_night: Held, fault: str | None
) -> None:
    report = payments_night(fault)
    assert [each.name for each in report.estimates if not each.held] == []


@pytest.mark.parametrize("fault", ["concept_drift", "flipped_label", "unit_change"])
def test_a_change_of_what_the_scores_mean_is_told_by_the_labels_only(
    payments_night: Held, fault: str
) -> None:
    report = payments_night(fault)
    assert report.overestimated
    auc = next(each for each in report.estimates if each.name == "roc_auc")
    assert auc.value < auc.low
