"""Reports with known contents, for tests of what shows, stores or carries them."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from flytekitplugins.wbmon.monitor.alerts.decision import (
    Alert,
    AlertRule,
    AlertState,
    Decision,
    RuleState,
)
from flytekitplugins.wbmon.monitor.alerts.heartbeat import Heartbeat
from flytekitplugins.wbmon.monitor.drift.joint_report import JointDrift
from flytekitplugins.wbmon.monitor.drift.report import Bin, Check, DriftReport, FeatureDrift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries, WindowDrift
from flytekitplugins.wbmon.monitor.llm.cost.report import Budget, BudgetStatus, Usage, UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import (
    EvaluationReport,
    PairedComparison,
    ScoreSummary,
    VariantResult,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackRate, FeedbackReport, Issue
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.monitor.llm.steps.report import StepReport, StepSummary
from flytekitplugins.wbmon.monitor.performance.calibration_report import Calibration
from flytekitplugins.wbmon.monitor.performance.estimate_check import EstimateCheck
from flytekitplugins.wbmon.monitor.performance.part import (
    Metric,
    Part,
)
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport, LabelReport
from flytekitplugins.wbmon.monitor.scoring.report import (
    Confidence,
    PredictedClasses,
    ScoringReport,
)
from flytekitplugins.wbmon.monitor.scoring.slo import (
    SLO,
    SLOResult,
)
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport, VariantOutcome
from flytekitplugins.wbmon.monitor.service.report import ServingConfidence, ServingReport, Traffic
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO, ServingSLOResult, SLOReport
from flytekitplugins.wbmon.reports.report import Report

AT = datetime(2026, 2, 5, 2, tzinfo=timezone.utc)


def drift_report(**feature: object) -> DriftReport:
    """A report of one feature, `amount`; keywords change that feature."""
    found = FeatureDrift(
        **{
            "name": "amount",
            "kind": "float",
            "status": "ok",
            "n_reference": 1000,
            "n_current": 900,
            "missing_reference": 0.0,
            "missing_current": 0.3,
            "statistic": math.inf,
            "checks": (
                Check(name="distribution", test="ks", statistic=0.2, p_value=1e-9, effect_size=0.2),
            ),
            "distances": {"psi": 0.1, "wasserstein": math.nan},
            "bins": (Bin(label="0 to 1", reference=0.5, current=0.4),),
            **feature,
        }
    )
    return DriftReport(
        rule=DriftRule(importance={"amount": 2.0}),
        n_reference=1000,
        n_current=900,
        verdict="drift",
        reason="amount moved",
        features={"amount": found},
    )


def decision() -> Decision:
    """A decision with one firing alert."""
    rule = AlertRule(metric="drift.drifted", above=0, severity="error")
    alert = Alert(
        rule=rule, phase="firing", breached=True, value=1.0, n_windows=2, since=AT, reason="moved"
    )
    state = AlertState(rules={rule.title: RuleState(phase="firing", n_windows=2, since=AT)})
    return Decision(at=AT, alerts=(alert,), state=state, reason="drift")


def performance_report(**changes: object) -> PerformanceReport:
    """A report of an accuracy that fell and an AUC that is undefined."""
    metric = Metric(
        name="accuracy",
        value=0.7,
        low=0.65,
        high=0.75,
        n=300,
        higher_is_better=True,
        baseline=0.9,
        verdict="worse",
    )
    auc = Metric(
        name="roc_auc", value=math.nan, n=300, higher_is_better=True, reason="one class only"
    )
    return PerformanceReport(
        **{
            "task": "classification",
            "status": "ok",
            "n_rows": 400,
            "n_labelled": 300,
            "metrics": {"accuracy": metric, "roc_auc": auc},
            "classes": ("0", "1"),
            "confusion": ((200.0, 10.0), (80.0, 10.0)),
            "reason": "accuracy fell",
            **changes,
        }
    )


def scoring_report() -> ScoringReport:
    """A report of ten rows and a missed objective."""
    missed = SLOResult(slo=SLO(name="p99", value=5.0), observed=7.0, verdict="fail")
    return ScoringReport(
        n_rows=10,
        n_batches=1,
        duration_s=0.5,
        predict_s=0.1,
        latency_ms={"p99": 7.0},
        slos=(missed,),
    )


def slo_report() -> SLOReport:
    """A report of one objective of a service, `up`, that was missed: five times its budget."""
    missed = ServingSLOResult(
        slo=ServingSLO(name="up", objective=0.99),
        n_requests=900,
        n_bad=45,
        good_share=0.95,
        good_share_low=0.94,
        good_share_high=0.96,
        burn_rate=5.0,
        verdict="fail",
        reason="95% of 900 requests were good; 99% is promised",
    )
    return SLOReport(results=(missed,), reason="missed: up")


def estimate_report() -> PerformanceReport:
    """The same metrics, estimated without labels."""
    return performance_report(estimated=True)


def measured_report() -> PerformanceReport:
    """A performance report that has everything: classes, calibration, segments, an estimate."""
    whole = performance_report()
    part = Part(
        by="country",
        value="fr",
        status="ok",
        n_rows=200,
        n_labelled=150,
        metrics=whole.metrics,
        verdict="worse",
    )
    return performance_report(
        per_class={"fraud": {"precision": 0.5, "recall": 0.4, "f1": 0.44, "support": 90.0}},
        calibration=Calibration(
            error=0.2, error_by_chance=0.05, p_value=0.001, too_sure=True, bins=()
        ),
        segments=(part,),
        estimates=(
            EstimateCheck(
                name="accuracy",
                expected=0.9,
                low=0.85,
                high=0.95,
                value=0.7,
                p_value=1e-6,
                higher_is_better=True,
            ),
        ),
    )


def drift_series() -> DriftSeries:
    """Two days of two segments; the second day of `eu` drifted."""
    calm = replace(drift_report(level="none"), verdict="ok", reason="nothing moved")
    days = [AT, AT + timedelta(days=1)]
    windows = [
        WindowDrift(
            start=day,
            end=day + timedelta(days=1),
            segment=segment,
            report=drift_report(level="drift") if (segment, day) == ("eu", days[1]) else calm,
        )
        for segment in ("eu", "us")
        for day in days
    ]
    return DriftSeries(windows=tuple(windows), n_undated=3)


def joint_drift() -> JointDrift:
    """Windows that a classifier tells apart by two columns."""
    return JointDrift(
        n_reference=1000,
        n_current=900,
        auc=0.71,
        low=0.68,
        high=0.74,
        p_value=1e-9,
        effect_size=0.42,
        level="drift",
        contributions={"amount": 0.2, "hour": 0.01},
        reason="amount tells the windows apart",
    )


def watched_scoring_report() -> ScoringReport:
    """A scoring report that has everything: failures, confidence, classes, an objective."""
    return replace(
        scoring_report(),
        n_rows=90,
        n_failed=10,
        errors={"ValueError": 10},
        confidence=Confidence(
            n=90,
            mean=0.8,
            sd=0.1,
            quantiles={"p5": 0.5},
            threshold=0.6,
            low_share=0.2,
            low_share_low=0.1,
            low_share_high=0.3,
        ),
        classes=PredictedClasses(counts={"yes": 60, "no": 30}),
    )


def serving_report() -> ServingReport:
    """A thousand requests of one route and one tenant."""
    return ServingReport(
        start_at=AT,
        end_at=AT + timedelta(days=1),
        total=Traffic(
            name="all",
            n_requests=1000,
            n_failed=20,
            error_rate=0.02,
            error_rate_low=0.013,
            error_rate_high=0.031,
            errors={"ValueError": 20},
            latency_ms={"p50": 20.0, "p99": 90.0},
            first_chunk_ms={"p50": 30.0},
        ),
        routes=(Traffic(name="/predict", n_requests=900, error_rate=0.02),),
        tenants=(Traffic(name="acme", n_requests=7, error_rate=0.5),),
        peak_per_s=3.0,
        confidence=ServingConfidence(n_rows=500, mean=0.8, low_share=0.3, top_share=0.6),
        reason="served",
    )


def experiment_report() -> ExperimentReport:
    """An experiment whose new variant is worse."""
    old = VariantOutcome(variant="old", n_exposed=500, mean=0.5, verdict="no_difference")
    new = VariantOutcome(
        variant="new",
        n_exposed=500,
        n_measured=300,
        mean=0.4,
        low=0.35,
        high=0.45,
        difference=-0.1,
        difference_low=-0.15,
        difference_high=-0.05,
        p_value=0.001,
        verdict="worse",
        reason="-0.1 against the control",
    )
    return ExperimentReport(
        experiment="layout",
        control="old",
        outcome="thumbs",
        split_p_value=0.4,
        variants=(old, new),
        reason="new is worse",
    )


def compaction_report() -> CompactionReport:
    """One segment of a service that became Parquet."""
    return CompactionReport(
        service="fraud",
        n_segments=1,
        n_predictions=80,
        n_torn=1,
        day="2026-03-01",
        n_day_predictions=80,
        reason="80 rows of 1 segment",
    )


def label_report() -> LabelReport:
    """Half of the predictions of a day have a label."""
    return LabelReport(
        name="label", n_predictions=80, n_labelled=40, n_disputed=1, reason="40 of 80 labelled"
    )


def usage_report() -> UsageReport:
    """A hundred calls, over a budget of one tenant."""
    spent = BudgetStatus(
        budget=Budget(scope="tenant", period="month", limit=10.0),
        key="acme",
        start="2026-02-01",
        spent_usd=12.0,
        forecast_usd=80.0,
        forecast_low=60.0,
        forecast_high=100.0,
        verdict="exceeded",
    )
    total = Usage(n_calls=100, n_errors=5, n_retried=7, cost_usd=12.0, input_tokens=5000)
    return UsageReport(
        start_at=AT,
        end_at=AT,
        total=total,
        groups={"model": (replace(total, key="house"),)},
        budgets=(spent,),
        reason="over budget",
    )


def feedback_report() -> FeedbackReport:
    """Answers that are liked less than before, with one complaint."""
    total = FeedbackRate(
        n_rated=50,
        n_calls=100,
        n_good=30,
        rate=0.6,
        low=0.46,
        high=0.72,
        before=0.8,
        verdict="worse",
    )
    return FeedbackReport(
        start_at=AT,
        end_at=AT,
        total=total,
        issues=(Issue(label="too_long", n=5, share=0.1, before=0.02),),
        reason="liked less",
    )


def rag_report() -> RAGReport:
    """Retrieval that misses a third of what is relevant."""
    recall = ScoreSummary(name="recall", mean=0.66, low=0.6, high=0.72, n=90)
    return RAGReport(
        k=5,
        n_queries=100,
        n_labelled=90,
        retrieval={"recall": recall},
        n_empty=4,
        stage_ms={"retrieve": 40.0},
        latency_ms=300.0,
        reason="recall is low",
    )


def evaluation_report() -> EvaluationReport:
    """A candidate that is better than the baseline."""
    score = ScoreSummary(name="exact", mean=0.8, low=0.7, high=0.9, n=50)
    return EvaluationReport(
        name="answers",
        metric="exact",
        n_items=50,
        variants=tuple(
            VariantResult(
                variant=Variant.of_text(name, "{question}"),
                digest=name,
                n_items=50,
                scores={"exact": score},
                latency_ms={"mean": 300.0},
                cost_per_call_usd=0.001,
            )
            for name in ("old", "new")
        ),
        comparisons=(
            PairedComparison(
                metric="exact",
                baseline="old",
                candidate="new",
                n=50,
                mean_baseline=0.7,
                mean_candidate=0.8,
                difference=0.1,
                low=0.02,
                high=0.18,
                p_value=0.01,
                method="bootstrap",
                verdict="ship",
                reason="better",
            ),
        ),
        verdict="ship",
        winner="new",
        spent_usd=0.4,
        reason="ship new",
    )


def step_report() -> StepReport:
    """Traces of an agent with one step."""
    step = StepSummary(name="search", n=20, n_traces=10, n_errors=2, latency_ms={"p95": 80.0})
    return StepReport(n_traces=10, n_failed=1, steps=(step,), reason="1 of 10 traces failed")


def heartbeat() -> Heartbeat:
    """A monitor that reported three hours ago."""
    return Heartbeat(
        at=AT + timedelta(hours=3), reported_at=AT, watches_report=True, failure="killed"
    )


REPORTS: tuple[Report, ...] = (
    drift_report(level="drift", effect_size=0.2),
    drift_series(),
    joint_drift(),
    measured_report(),
    estimate_report(),
    watched_scoring_report(),
    slo_report(),
    serving_report(),
    experiment_report(),
    compaction_report(),
    label_report(),
    usage_report(),
    feedback_report(),
    rag_report(),
    evaluation_report(),
    step_report(),
    decision(),
    heartbeat(),
)
"""One of every class of report, and of every kind."""
