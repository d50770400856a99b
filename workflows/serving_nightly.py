"""The night after a day of serving: segments, Parquet, profile, drift, performance, decision.

Serve something first: `make demo-serving` does, and runs this over what was logged. The log is
`log/` of the folder that `WBMON_SHARED` names.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import pandas as pd
from flytekit import CronSchedule, LaunchPlan, Secret, task, workflow
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    AlertRule,
    CheckSLO,
    CompactPredictionLog,
    Decision,
    DegradationAlert,
    DriftCheck,
    DriftReport,
    DriftRule,
    JoinFeedback,
    PerformanceCheck,
    PerformanceReport,
    Profile,
    ProfileData,
    Sample,
    ServingReport,
    ServingSLO,
    SLOReport,
    SummarizeServing,
    wandb_init,
)
from workflows.digits import digits_reference_window
from workflows.shared import shared

LOG = shared("log")
KEY = Secret(group="wandb", key="api_key")
PIXELS = tuple(f"feature.pixel_{row}_{column}" for row in range(8) for column in range(8))
LOGGED = (*PIXELS, "prediction", "score")
tracked = wandb_init(project="wbmon-demo", entity="my-team", secret=KEY)

compact = CompactPredictionLog("serving.compact", destination=LOG, service="digits")
labels = JoinFeedback("serving.labels", route="/predict")
reference_profile = ProfileData("serving.reference", columns=LOGGED, cache=True)
profile = ProfileData("serving.profile", columns=LOGGED, weight="sample_weight")
rule = DriftRule(predictions=("prediction", "score"))
drift = tracked(DriftCheck("serving.drift", rule=rule))
reference_performance = PerformanceCheck(
    "serving.reference_performance",
    task="classification",
    label="label",
    prediction="prediction",
    cache=True,
)
performance = tracked(
    PerformanceCheck(
        "serving.performance",
        task="classification",
        label="label",
        prediction="prediction",
        weight="sample_weight",
    )
)
summary = tracked(SummarizeServing("serving.summary", low_confidence=0.6, sample=Sample(rows=200)))
objectives = tracked(
    CheckSLO(
        "serving.objectives",
        slos=[
            ServingSLO(name="available", objective=0.99, route="/predict"),
            ServingSLO(name="fast", objective=0.99, route="/predict", latency_ms=250),
        ],
    )
)
alert = tracked(
    DegradationAlert(
        "serving.alert",
        rules=[
            AlertRule(metric="drift.share_drifted", above=0.25),
            AlertRule(metric="performance.accuracy", worse_than_baseline=True, severity="error"),
            AlertRule(metric="slo.available", above=0, severity="error"),
            # a day of ten times uses up a third of the month's budget
            AlertRule(metric="slo.fast.burn_rate", above=10),
        ],
    )
)


class WindowSummary(NamedTuple):
    """What the night found, in the order a person reads it."""

    decision: Decision
    fired: bool
    violated: bool
    serving: ServingReport
    objectives: SLOReport
    drift: DriftReport
    tenants: dict[str, str]
    performance: PerformanceReport


@task(cache=True, cache_version="1")
def reference_as_logged(window: pd.DataFrame) -> pd.DataFrame:
    """The training rows with predictions made out of fold, under the names of the log.

    Args:
        window: The reference window.
    """
    pixels = {name.removeprefix("feature."): name for name in PIXELS}
    renamed = window.rename(columns={**pixels, "confidence": "score"})
    return renamed[[*LOGGED, "label"]]


@task
def drift_by_tenant(reference: Profile, predictions: StructuredDataset) -> dict[str, str]:
    """Each tenant's rows checked on their own; the verdict with its reason.

    Args:
        reference: The reference profile.
        predictions: The prediction log of the day.
    """
    from flytekitplugins.wbmon.monitor.drift.series import drift_series

    # the columns of the reference are looked for; a day without requests has none, and no tenant
    rows = predictions.open(pd.DataFrame).all()
    series = drift_series(rows, like=reference, segment="tenant", rule=rule)
    return {each.segment: f"{each.report.verdict}: {each.report.reason}" for each in series.windows}


@workflow
def serving_night(at: datetime) -> WindowSummary:
    """Check the last whole day (UTC) before a moment.

    Args:
        at: Such as the kickoff time of a schedule.
    """
    fixed = reference_as_logged(window=digits_reference_window())
    reference = reference_profile(data=fixed)
    baseline = reference_performance(data=fixed)
    done = compact(at=at)
    labelled = labels(predictions=done.predictions, feedback=done.feedback)
    served = summary(windows=done.windows, predictions=done.predictions)
    promised = objectives(windows=done.windows)
    checked = drift(reference=reference, current=profile(data=labelled.data, like=reference))
    measured = performance(data=labelled.data, baseline=baseline.report)
    decided = alert(
        drift=checked.report,
        performance=measured.report,
        slo=promised.report,
        prediction_log=done.report,
        at=at,
    )
    return WindowSummary(
        decision=decided.decision,
        fired=decided.fired,
        violated=promised.violated,
        serving=served,
        objectives=promised.report,
        drift=checked.report,
        tenants=drift_by_tenant(reference=reference, predictions=labelled.data),
        performance=measured.report,
    )


serving_nightly = LaunchPlan.get_or_create(
    serving_night,
    name="serving.nightly",
    schedule=CronSchedule(schedule="0 1 * * *", kickoff_time_input_arg="at"),
)
