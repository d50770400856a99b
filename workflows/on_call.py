"""A night with all that a person on call needs: memory, channels, gates, and a watch on the watch.

pyflyte run workflows/on_call.py on_call_night --kickoff 2026-02-13
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flytekit import CronSchedule, Email, LaunchPlan, Secret, conditional, task, workflow
from flytekit.models.core.execution import WorkflowExecutionPhase
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon import (
    AlertRule,
    Channel,
    DeadManCheck,
    Decision,
    DegradationAlert,
    DriftCheck,
    DriftRule,
    MonitorFailure,
    PerformanceReport,
    Profile,
    wandb_init,
)
from workflows import reference_profile as fixed
from workflows.payments import payments_window
from workflows.payments_model import score_payments
from workflows.shared import shared

STATE = shared("state")
"""The folder of the state files."""

OWNER, RUNBOOK = "payments team", "https://wiki.example.com/payments-monitor"
ON_CALL = Channel(name="on-call", secret=Secret(group="alerts", key="on_call"), min_severity="warn")
# should even the failure node not run
FLYTE_SAYS_SO = Email(
    phases=[WorkflowExecutionPhase.FAILED, WorkflowExecutionPhase.TIMED_OUT],
    recipients_email=["payments-on-call@example.com"],
)
# one run a month, continued every night with one row; the date is that of the node's input `at`
monthly = wandb_init(
    project="wbmon-demo",
    entity="my-team",
    secret=Secret(group="wandb", key="api_key"),
    id="payments-{date:%Y-%m}",
    resume="allow",
)
MODEL_WORSE = AlertRule(
    metric="performance.roc_auc",
    worse_than_baseline=True,
    severity="error",
    name="model worse",
    owner=OWNER,
    runbook=RUNBOOK,
)
PAYMENTS_RULES = (
    AlertRule(metric="drift.drifted", above=0, name="drift", owner=OWNER, runbook=RUNBOOK),
    MODEL_WORSE,
    AlertRule(metric="drift.n_current", below=1000, name="few payments", owner=OWNER),
)
drift_check = DriftCheck(
    "on_call.drift", rule=DriftRule(predictions=("p_fraud",), labels=("fraud",))
)
alert = monthly(
    DegradationAlert(
        "on_call.alert",
        rules=PAYMENTS_RULES,
        channels=[ON_CALL],
        state_uri=f"{STATE}/payments.json",
        remind_after=timedelta(days=3),
    )
)
heartbeat = DeadManCheck(
    "on_call.heartbeat",
    watched_uri=f"{STATE}/payments.json",
    state_uri=f"{STATE}/payments-heartbeat.json",
    max_age=timedelta(hours=26),
    owner=OWNER,
    runbook=RUNBOOK,
    channels=[ON_CALL],
)


@task
def retrain(decision: Decision) -> str:
    """Stands for the launch of a training workflow."""
    return f"retrain: {decision.reason}"


@task
def hold_payments(decision: Decision) -> str:
    """Stands for a rollback, or for holding payments for review."""
    return f"review: {decision.reason}"


@task
def go_on() -> str:
    """Nothing to do."""
    return "go on"


@workflow
def watch_payments(
    kickoff: datetime, n_rows: int, model: FlyteFile, profile: Profile, baseline: PerformanceReport
) -> str:
    """Monitor one night of the synthetic payments against a reference, and act on the outcome."""
    scored = score_payments(data=payments_window(kickoff=kickoff, n_rows=n_rows), model=model)
    current = fixed.payments_profile(data=scored.predictions, like=profile)
    drift = drift_check(reference=profile, current=current)
    measured = fixed.payments_performance(data=scored.predictions, baseline=baseline)
    decided = alert(
        drift=drift.report, performance=measured.report, scoring=scored.report, at=kickoff
    )
    return (
        conditional("act")
        .if_(decided.severity == "error")
        .then(retrain(decision=decided.decision))
        .elif_(decided.fired.is_true())
        .then(hold_payments(decision=decided.decision))
        .else_()
        .then(go_on())
    )


@workflow(
    on_failure=MonitorFailure(
        "on_call.failed",
        inputs={"kickoff": datetime, "n_rows": int},
        at="kickoff",
        owner=OWNER,
        runbook=RUNBOOK,
        channels=[ON_CALL],
    )
)
def on_call_night(kickoff: datetime, n_rows: int = 5000) -> str:
    """A scheduled night; if the monitor itself fails, people are told of that too.

    Args:
        kickoff: The scheduled time; the day before it is scored.
        n_rows: Rows of the night.
    """
    reference = fixed.payments_reference()
    return watch_payments(
        kickoff=kickoff,
        n_rows=n_rows,
        model=reference.model,
        profile=reference.profile,
        baseline=reference.baseline,
    )


@workflow
def watch_the_watch(kickoff: datetime) -> bool:
    """Some hours after the night: has it reported at all?"""
    return heartbeat(at=kickoff).fired


on_call_nightly = LaunchPlan.get_or_create(
    on_call_night,
    name="on_call.nightly",
    schedule=CronSchedule(schedule="0 2 * * *", kickoff_time_input_arg="kickoff"),
    fixed_inputs={"n_rows": 5000},
    notifications=[FLYTE_SAYS_SO],
)
on_call_morning = LaunchPlan.get_or_create(
    watch_the_watch,
    name="on_call.morning",
    schedule=CronSchedule(schedule="0 6 * * *", kickoff_time_input_arg="kickoff"),
)
