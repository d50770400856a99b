"""Every node that judges a window, fed with nothing: it never says that all is well.

A window without rows, one with a single row, and one of which everything failed. The node must
report it, the alert node must find it, and a rule must be able to page on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    SLO,
    AlertRule,
    DegradationAlert,
    DriftCheck,
    DriftSeriesCheck,
    EstimateLoss,
    EstimatePerformance,
    FitLossModel,
    MergeProfiles,
    PerformanceCheck,
    Profile,
    ProfileData,
    batch_scoring,
    check_drift,
    check_joint_drift,
)
from flytekitplugins.wbmon.reports.report import Report
from support.examples import AT

N = 2000  # rows of an ordinary window
FEATURES = ["amount", "hour"]


def rows(n: int, seed: int = 0) -> pd.DataFrame:
    """An ordinary window of a model."""
    rng = np.random.default_rng([seed, n])
    score = rng.random(n)
    amount = rng.normal(size=n)
    return pd.DataFrame(
        {
            "amount": amount,
            "hour": rng.choice(["a", "b", "c"], n),
            "at": [AT + timedelta(seconds=30 * i) for i in range(n)],
            "label": np.where(rng.random(n) < score, "yes", "no"),
            "score": score,
            "price": amount + rng.normal(size=n),
        }
    )


def dataset(data: Any) -> StructuredDataset:
    if isinstance(data, str):
        return StructuredDataset(uri=data, file_format="parquet")
    return StructuredDataset(dataframe=data)


def folder_with(*names: str) -> str:
    """A folder as a job that had nothing to write leaves it."""
    root = Path(mkdtemp())
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return str(root)


NOTHING: dict[str, Callable[[], Any]] = {
    "empty": lambda: rows(N).iloc[:0],
    "empty, without types": lambda: pd.DataFrame({name: [] for name in rows(1)}),
    "empty, of Arrow's null": lambda: pa.table({name: pa.nulls(0) for name in rows(1)}),
    "empty, without columns": lambda: pd.DataFrame({"other": pd.Series(dtype="float64")}),
    "an empty folder": folder_with,
    "only _SUCCESS": lambda: folder_with("_SUCCESS", "day=2026-01-01/_SUCCESS"),
    "one row": lambda: rows(1),
    "all missing": lambda: pd.DataFrame({name: [None] * N for name in rows(1)}),
}


class Monitor(NamedTuple):
    """A node as a function of a window, and what rules ask of it."""

    kind: str
    gate: str
    check: Callable[[Any], Report]


def monitors() -> dict[str, Monitor]:
    before = rows(N, seed=1)
    reference = ProfileData("reference", columns=FEATURES)(data=dataset(before))
    profile = ProfileData("profile", columns=FEATURES)
    classes: dict[str, Any] = {"label": "label", "prediction": "score", "positive": "yes"}
    numbers: dict[str, Any] = {"label": "price", "prediction": "amount", "task": "regression"}
    drift, series = DriftCheck("drift"), DriftSeriesCheck("series", at="at")
    measure = PerformanceCheck("measure", task="classification", **classes)
    measure_numbers = PerformanceCheck("numbers", **numbers)
    baseline = measure(data=dataset(before)).report
    of_numbers = measure_numbers(data=dataset(before)).report
    estimate = EstimatePerformance("estimate", **classes)
    model = FitLossModel("fit", label="price", prediction="amount", features=FEATURES)(
        reference=dataset(before)
    )
    loss = EstimateLoss("loss")

    @batch_scoring(max_error_rate=1.0, slos=[SLO(name="fast", percentile=50, value=60_000)])
    def score(batch: pd.DataFrame) -> pd.DataFrame:
        # as a model of scikit-learn: neither no rows nor missing values
        if batch.empty or batch["amount"].isna().any():
            raise ValueError("Found array with 0 sample(s)")
        return pd.DataFrame({"prediction": batch["amount"] > 0})

    return {
        "drift": Monitor(
            "drift",
            "drifted",
            lambda now: (
                drift(
                    reference=reference, current=profile(data=dataset(now), like=reference)
                ).report
            ),
        ),
        "drift series": Monitor(
            "drift_series",
            "drifted",
            lambda now: series(data=dataset(now), reference=reference).series,
        ),
        "joint drift": Monitor(
            "joint_drift", "drifted", lambda now: check_joint_drift(before, now, columns=FEATURES)
        ),
        "performance": Monitor(
            "performance",
            "worse",
            lambda now: measure(data=dataset(now), baseline=baseline).report,
        ),
        "performance of numbers": Monitor(
            "performance",
            "worse",
            lambda now: measure_numbers(data=dataset(now), baseline=of_numbers).report,
        ),
        "estimate": Monitor(
            "estimate",
            "worse",
            lambda now: estimate(data=dataset(now), reference=dataset(before)).report,
        ),
        "estimate of a loss": Monitor(
            "estimate", "worse", lambda now: loss(data=dataset(now), model=model).report
        ),
        "scoring": Monitor("scoring", "slo.fast", lambda now: score(data=dataset(now)).report),
    }


@pytest.fixture(scope="module")
def every_monitor() -> dict[str, Monitor]:
    return monitors()


NAMES = (
    "drift",
    "drift series",
    "joint drift",
    "performance",
    "performance of numbers",
    "estimate",
    "estimate of a loss",
    "scoring",
)


def gate_of(report: Report, address: str) -> Any:
    found = {each.address: each for each in report.measurements()}
    return found[address]


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_measured_is_no_pass(every_monitor, tmp_path, name: str, nothing: str) -> None:
    monitor = every_monitor[name]
    address = monitor.gate if "." in monitor.gate else f"{monitor.kind}.{monitor.gate}"
    rule = AlertRule(metric=address, above=0, on_no_data="breach")
    node = DegradationAlert("alert", rules=[rule], state_uri=str(tmp_path / "alert.json"))
    usual = monitor.check(rows(N))
    for night in range(6):
        decided = node(**{monitor.kind: usual}, at=AT + timedelta(days=night))
        assert (decided.fired, decided.decision.findings) == (False, ()), decided.decision.reason

    report = monitor.check(NOTHING[nothing]())
    decided = node(**{monitor.kind: report}, at=AT + timedelta(days=7))

    gate = gate_of(report, address)
    if not report.unmeasured:
        # a single row was scored, or all of a column is missing: that is measured, and no pass
        assert gate.value == 1 or decided.decision.findings, (report, gate)
    else:
        assert math.isnan(gate.value)
        assert gate.reason
        assert report.unmeasured in decided.decision.findings[0]
        assert decided.decision.alerts[0].reason
    if math.isnan(gate.value) or gate.value == 1:
        assert decided.fired
        assert decided.severity == "warn"
    assert "nan" not in report.to_html().split("</style>")[1].replace("nanosecond", "")


def test_a_night_without_partitions_is_a_window_without_rows(tmp_path) -> None:
    reference = ProfileData("reference.of.parts", columns=FEATURES)(data=dataset(rows(N)))
    nothing = MergeProfiles("merged")(profiles=[])
    found = DriftCheck("drift.of.parts")(reference=reference, current=nothing).report
    assert found.verdict == "insufficient"
    assert found.unmeasured == "the window has no rows, so nothing can be said about drift"
    nothing.save(tmp_path / "nothing.profile")
    again = Profile.load(tmp_path / "nothing.profile")
    assert again.is_nothing
    # nor does it keep others from being examples
    past = [ProfileData("past", columns=FEATURES)(data=dataset(rows(N, i)), like=reference)
            for i in range(5)]  # fmt: skip
    assert check_drift(reference, past[0], past=[*past[1:], past[0], again]).n_past == 5
