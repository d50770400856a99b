from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flytekit import workflow
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    EstimateLoss,
    EstimatePerformance,
    FitLossModel,
    JoinLabels,
    LossModel,
    PerformanceCheck,
)
from flytekitplugins.wbmon.errors import ConfigError
from support.in_process import execute, pod_context

COLUMNS = {"label": "fraud", "prediction": "p_fraud"}
estimate = EstimatePerformance("test.estimate", **COLUMNS)
measure = PerformanceCheck("test.measure", task="classification", **COLUMNS)
join = JoinLabels("test.join", label="fraud", latest_by="at")


def window(rng: np.random.Generator, n: int = 2000) -> pd.DataFrame:
    """Calibrated scores and what came of them."""
    p = rng.random(n)
    fraud = (rng.random(n) < p).astype(int)
    return pd.DataFrame({"request_id": [f"r{i}" for i in range(n)], "p_fraud": p, "fraud": fraud})


def data(frame: pd.DataFrame) -> StructuredDataset:
    return StructuredDataset(dataframe=frame)


def test_a_night_is_estimated_then_labelled_then_held_against_the_estimate(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    reference, night = window(rng), window(rng)
    unlabelled = night.drop(columns="fraud")
    labels = night[["request_id", "fraud"]].assign(at="2026-01-02")
    wrong = labels.assign(fraud=1 - labels["fraud"], at="2026-01-01")
    with pod_context(tmp_path) as context:
        guessed = execute(context, estimate, data=data(unlabelled), reference=data(reference))
        joined = execute(
            context,
            join,
            predictions=data(unlabelled),
            labels=data(pd.concat([labels, wrong])[:-500]),
        )
        measured = execute(
            context, measure, data=joined["data"], baseline=None, estimate=guessed["report"]
        )
        decks = [deck.name for deck in context.user_space_params.decks]
    assert guessed["report"].estimated
    assert not guessed["worse"]
    assert joined["coverage"] == 1.0
    report = measured["report"]
    assert {each.name for each in report.estimates} == set(report.metrics)
    assert not report.overestimated
    assert "Performance report" in decks


VALUES = {"label": "paid", "prediction": "forecast"}
fit = FitLossModel("test.fit", features=("size",), **VALUES)
estimate_loss = EstimateLoss("test.estimate_loss")
measure_values = PerformanceCheck("test.measure_values", task="regression", **VALUES)


def invoices(rng: np.random.Generator, n: int = 500, *, by: float = 0.0) -> pd.DataFrame:
    """Forecasts that are the further off the larger the invoice."""
    size = rng.normal(by, 1, n)
    forecast = 10 * size
    return pd.DataFrame(
        {"size": size, "forecast": forecast, "paid": forecast + rng.normal(0, np.exp(size / 2))}
    )


def test_a_model_of_the_loss_is_fitted_once_and_serves_every_night(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    night = invoices(rng, by=0.8)
    with pod_context(tmp_path) as context:
        model = execute(context, fit, reference=data(invoices(rng, 2000)))["o0"]
        found = execute(context, estimate_loss, data=data(night.drop(columns="paid")), model=model)
        measured = execute(
            context,
            measure_values,
            data=data(night),
            baseline=None,
            estimate=found["report"],
        )
        decks = [deck.name for deck in context.user_space_params.decks]
    assert isinstance(model, LossModel)
    assert found["report"].estimated
    assert found["worse"]
    assert {each.name for each in measured["report"].estimates} >= {"mae", "rmse"}
    assert not measured["report"].overestimated
    assert decks.count("Performance report") >= 2


@workflow
def fit_and_estimate(reference: StructuredDataset, night: StructuredDataset) -> bool:
    """The reference goes in as data, and its model from node to node as a file."""
    return estimate_loss(data=night, model=fit(reference=reference)).worse


def test_the_nodes_compose(rng: np.random.Generator) -> None:
    same, moved = invoices(rng), invoices(rng, by=0.8)
    reference = data(invoices(rng, 2000))
    assert not fit_and_estimate(reference=reference, night=data(same))
    assert fit_and_estimate(reference=reference, night=data(moved))


def test_labels_that_have_not_come_leave_the_coverage_low(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    night = window(rng, 100)
    labels = night[["request_id", "fraud"]].assign(at="2026-01-02")[:25]
    with pod_context(tmp_path) as context:
        joined = execute(
            context, join, predictions=data(night.drop(columns="fraud")), labels=data(labels)
        )
        assert joined["data"].open(pd.DataFrame).all()["fraud"].count() == 25
    assert joined["coverage"] == 0.25


def test_wrong_settings_are_refused_where_the_node_is_made() -> None:
    with pytest.raises(ConfigError, match="'classification' or 'regression'"):
        EstimatePerformance("x", task="ranking", **COLUMNS)
    with pytest.raises(ConfigError, match="must be a probability"):
        EstimatePerformance("x", threshold=2, **COLUMNS)
    with pytest.raises(ConfigError, match="min_rows must be a whole number of at least 1"):
        EstimatePerformance("x", min_rows="3", **COLUMNS)
    with pytest.raises(ConfigError, match="features must be a sequence of column names"):
        EstimatePerformance("x", features="age", **COLUMNS)
    with pytest.raises(ConfigError, match="min_rows must be a whole number of at least 1"):
        EstimateLoss("x", min_rows=0)
    with pytest.raises(ConfigError, match="features must be a sequence of column names"):
        FitLossModel("x", features="size", **VALUES)
    with pytest.raises(ConfigError, match="different columns"):
        JoinLabels("x", label="id", on="id")
