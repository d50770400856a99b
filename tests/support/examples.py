"""Reports with known contents, for tests of what shows, stores or carries them."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from flytekitplugins.wbmon.monitor.alerts.decision import (
    Alert,
    AlertRule,
    AlertState,
    Decision,
    RuleState,
)
from flytekitplugins.wbmon.monitor.drift.report import (
    Bin,
    Check,
    DriftReport,
    DriftRule,
    FeatureDrift,
)
from flytekitplugins.wbmon.monitor.performance.report import Metric, PerformanceReport
from flytekitplugins.wbmon.monitor.scoring.report import SLO, ScoringReport, SLOResult
from flytekitplugins.wbmon.monitor.service.report import ServingSLO, ServingSLOResult, SLOReport

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
