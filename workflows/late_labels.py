"""Labels that come a week late: the window of a week ago, judged anew with the truth.

pyflyte run workflows/late_labels.py payments_labels --kickoff 2026-03-01
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import pandas as pd
from flytekit import CronSchedule, LaunchPlan, conditional, task, workflow

from flytekitplugins.wbmon import AlertRule, DegradationAlert, JoinLabels, MonitorFailure
from workflows import reference_profile as fixed
from workflows.on_call import FLYTE_SAYS_SO, MODEL_WORSE, ON_CALL, OWNER, STATE, go_on, retrain
from workflows.payments import FAULTS, generate_payments, night_date
from workflows.payments_model import score_payments

DELAY = timedelta(days=7)

labels_alert = DegradationAlert(
    "labels.alert",
    rules=[
        replace(MODEL_WORSE, name="model worse, by late labels"),
        AlertRule(metric="performance.coverage", below=0.9, name="labels missing", owner=OWNER),
    ],
    channels=[ON_CALL],
    state_uri=f"{STATE}/payments-labels.json",
)


labels_join = JoinLabels("labels.join", label="fraud", on="payment_id")


class WeekAgo(NamedTuple):
    """The payments of a night, the labels that have come since, and the night's time."""

    payments: pd.DataFrame
    labels: pd.DataFrame
    at: datetime


@task
def week_ago(kickoff: datetime, n_rows: int) -> WeekAgo:
    """The synthetic night of a week ago; 3 % of its labels never come.

    Args:
        kickoff: The scheduled time.
        n_rows: Rows of the night.
    """
    night = (kickoff - DELAY).date() - night_date(1)
    frame = generate_payments(night.days, n_rows=n_rows, fault=FAULTS.get(night.days))
    frame["payment_id"] = frame.index
    came = frame.loc[frame.index % 33 != 0, ["payment_id", "fraud"]]
    return WeekAgo(
        payments=frame.drop(columns="fraud"),
        labels=came.reset_index(drop=True),
        at=kickoff - DELAY,
    )


@workflow(
    on_failure=MonitorFailure(
        "labels.failed",
        inputs={"kickoff": datetime, "n_rows": int},
        at="kickoff",
        owner=OWNER,
        channels=[ON_CALL],
    )
)
def payments_labels(kickoff: datetime, n_rows: int = 5000) -> str:
    """Measure the window whose labels have come by now, and retrain if the model was worse.

    Args:
        kickoff: The scheduled time; the night of a week before is measured.
        n_rows: Rows of the night.
    """
    reference = fixed.payments_reference()
    arrived = week_ago(kickoff=kickoff, n_rows=n_rows)
    scored = score_payments(data=arrived.payments, model=reference.model)
    joined = labels_join(predictions=scored.predictions, labels=arrived.labels)
    measured = fixed.payments_performance(data=joined.data, baseline=reference.baseline)
    decided = labels_alert(performance=measured.report, at=arrived.at)
    return (
        conditional("act")
        .if_(decided.severity == "error")
        .then(retrain(decision=decided.decision))
        .else_()
        .then(go_on())
    )


payments_late_labels = LaunchPlan.get_or_create(
    payments_labels,
    name="payments.late_labels",
    schedule=CronSchedule(schedule="0 4 * * *", kickoff_time_input_arg="kickoff"),
    fixed_inputs={"n_rows": 5000},
    notifications=[FLYTE_SAYS_SO],
)
