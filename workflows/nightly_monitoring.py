"""The nightly check: score a window, profile it, compare, measure, decide.

pyflyte run workflows/nightly_monitoring.py nightly --window 5
pyflyte run workflows/nightly_monitoring.py payments_night --kickoff 2026-02-09
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import joblib
import pandas as pd
from flytekit import CronSchedule, LaunchPlan, Secret, workflow
from flytekit.types.file import FlyteFile
from sklearn.pipeline import Pipeline

from flytekitplugins.wbmon import (
    SLO,
    AlertRule,
    DegradationAlert,
    DriftCheck,
    DriftRule,
    batch_scoring,
    wandb_init,
)
from workflows import reference_profile as fixed
from workflows.digits import digits_window, predict_digits
from workflows.payments import payments_window
from workflows.payments_model import score_payments
from workflows.summary import summarise

KEY = Secret(group="wandb", key="api_key")
tracked = wandb_init(project="wbmon-demo", entity="my-team", secret=KEY)


class Checked(NamedTuple):
    """The page to read, and whether somebody has to."""

    page: FlyteFile
    fired: bool


@tracked
@batch_scoring(
    batch_rows=50,
    load={"model": joblib.load},
    slos=[SLO(name="batch_p99", metric="latency_ms", percentile=99, value=1_000)],
)
def score_digits(batch: pd.DataFrame, model: Pipeline) -> pd.DataFrame:
    """The digit, its probability, and the probability of each digit."""
    return predict_digits(batch, model)


digits_drift = tracked(
    DriftCheck(
        "digits.drift",
        rule=DriftRule(predictions=("prediction", "confidence"), labels=("label",)),
    )
)
digits_alert = tracked(
    DegradationAlert(
        "digits.alert",
        rules=[
            AlertRule(metric="performance.accuracy", worse_than_baseline=True, severity="error"),
            AlertRule(metric="performance.accuracy", drop=0.05, severity="warn"),
            AlertRule(metric="drift.share_drifted", above=0.25, severity="info"),
        ],
        # each window of this demo is looked at once, and there are no nights to remember
        budget=None,
    )
)
payments_drift = tracked(
    DriftCheck("payments.drift", rule=DriftRule(predictions=("p_fraud",), labels=("fraud",)))
)
payments_alert = tracked(
    DegradationAlert(
        "payments.alert",
        rules=[
            AlertRule(metric="drift.drifted", above=0),
            AlertRule(metric="performance.roc_auc", worse_than_baseline=True, severity="error"),
        ],
    )
)


@workflow
def nightly(window: int = 5, at: datetime | None = None) -> Checked:
    """Monitor the digit classifier over one window of the digits that came after its training.

    Args:
        window: 0, the 150 rows right after the training rows, to 5, the last rows of the file.
        at: The time that the decision is about.
    """
    reference = fixed.digits_reference()
    scored = score_digits(data=digits_window(window=window), model=reference.model)
    current = fixed.digits_profile(data=scored.predictions, like=reference.profile)
    drift = digits_drift(reference=reference.profile, current=current)
    measured = fixed.digits_performance(data=scored.predictions, baseline=reference.baseline)
    decided = digits_alert(
        drift=drift.report, performance=measured.report, scoring=scored.report, at=at
    )
    page = summarise(
        title="Digits",
        drift=drift.report,
        performance=measured.report,
        decision=decided.decision,
    )
    return Checked(page=page, fired=decided.fired)


@workflow
def payments_night(kickoff: datetime, n_rows: int = 5000) -> Checked:
    """Monitor the fraud model over the synthetic payments of the day before a scheduled run.

    Args:
        kickoff: The scheduled time; the day before it is scored.
        n_rows: Rows of the night.
    """
    reference = fixed.payments_reference()
    scored = score_payments(
        data=payments_window(kickoff=kickoff, n_rows=n_rows), model=reference.model
    )
    current = fixed.payments_profile(data=scored.predictions, like=reference.profile)
    drift = payments_drift(reference=reference.profile, current=current)
    measured = fixed.payments_performance(data=scored.predictions, baseline=reference.baseline)
    decided = payments_alert(
        drift=drift.report, performance=measured.report, scoring=scored.report, at=kickoff
    )
    page = summarise(
        title="Synthetic payments",
        drift=drift.report,
        performance=measured.report,
        decision=decided.decision,
    )
    return Checked(page=page, fired=decided.fired)


payments_nightly = LaunchPlan.get_or_create(
    payments_night,
    name="payments.nightly",
    schedule=CronSchedule(schedule="0 2 * * *", kickoff_time_input_arg="kickoff"),
    fixed_inputs={"n_rows": 5000},
)
