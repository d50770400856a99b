from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.addresses import Measurements
from flytekitplugins.wbmon.monitor.alerts.decision import Alert, AlertRule
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.monitor.alerts.rule_file import load_rules
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport, VariantOutcome
from flytekitplugins.wbmon.monitor.service.report import ServingConfidence, ServingReport, Traffic
from flytekitplugins.wbmon.monitor.service.slo import check_slos
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO, SLOReport
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram
from support.examples import scoring_report

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def served(n: int, slow: int, *, hour: int = 0) -> dict[str, Any]:
    """A serving window of `n` requests of 10 ms, `slow` of which took a second."""
    start = NOON + timedelta(hours=hour)
    return {
        "window_start": start.isoformat(timespec="microseconds"),
        "window_end": (start + timedelta(seconds=10)).isoformat(timespec="microseconds"),
        "instance": "i1",
        "route": "/predict",
        "tenant": "acme",
        "requests": n,
        "status": {"2xx": n},
        "latency": LogHistogram.of([1000.0] * slow + [10.0] * (n - slow)).to_dict(),
    }


def objectives(*windows: dict[str, Any]) -> SLOReport:
    """What `CheckSLO` reports of 99 % in 200 ms."""
    slo = ServingSLO(name="fast", objective=0.99, latency_ms=200)
    return check_slos(log_table("window", windows), [slo])


KEPT = objectives(served(1000, 5))
MISSED = objectives(served(1000, 30))
TOO_FEW = objectives(served(50, 30))
NOBODY = objectives()
BAD_HOUR = objectives(served(5000, 0), served(100, 15, hour=1))

ROUTE = Traffic(name="/predict", n_requests=900, error_rate=0.02, latency_ms={"p99": 80.0})
TRAFFIC = ServingReport(
    start_at=NOON,
    end_at=NOON,
    total=Traffic(
        name="all",
        n_requests=1000,
        n_failed=20,
        error_rate=0.02,
        error_rate_low=0.013,
        error_rate_high=0.031,
        latency_ms={"p99": 90.0},
        first_chunk_ms={"p50": 30.0},
    ),
    routes=(ROUTE,),
    tenants=(Traffic(name="acme", n_requests=7, error_rate=0.5),),
    n_dropped=3,
    confidence=ServingConfidence(n_rows=500, mean=0.8, low_share=0.3, top_share=0.6),
    reason="served",
)
SILENT = ServingReport(
    start_at=None, end_at=None, total=Traffic(name="all", n_requests=0), reason="nothing"
)


def variants(verdict: str = "worse", **changes: Any) -> ExperimentReport:
    new = VariantOutcome(
        variant="new",
        n_exposed=500,
        n_measured=300,
        mean=0.4,
        difference=-0.1,
        verdict=verdict,  # type: ignore[arg-type]  # one of the literals
        reason="-0.1 against the control",
    )
    old = VariantOutcome(variant="old", n_exposed=500, mean=0.5, verdict="no_difference")
    given = {"variants": (old, new), "split_p_value": 0.4, **changes}
    return ExperimentReport(
        experiment="layout", control="old", outcome="thumbs", reason=f"new is {verdict}", **given
    )


def judge(metric: str, *reports: Report | None, **condition: Any) -> Alert:
    rule = AlertRule(metric=metric, **(condition or {"above": 0}))
    (alert,) = evaluate_rules([rule], list(reports), at=NOON).alerts
    return alert


@pytest.mark.parametrize(
    ("metric", "condition", "report", "breached"),
    [
        ("slo.fast", {"above": 0}, MISSED, True),
        ("slo.fast", {"above": 0}, KEPT, False),
        ("slo.violated", {"above": 0}, MISSED, True),
        ("slo.violated", {"above": 0}, KEPT, False),
        ("slo.violated", {"above": 0}, BAD_HOUR, False),
        ("slo.violated", {"above": 0}, scoring_report(), True),
        ("slo.fast.burn_rate", {"above": 2.9}, MISSED, True),
        ("slo.fast.burn_rate", {"above": 1}, KEPT, False),
        ("slo.fast.good_share", {"below": 0.98}, MISSED, True),
        ("slo.fast.worst_hour_burn_rate", {"above": 14}, BAD_HOUR, True),
        ("slo.fast.n_requests", {"below": 100}, TOO_FEW, True),
        ("slo.fast.n_bad", {"above": 29}, MISSED, True),
        ("serving.error_rate", {"above": 0.01}, TRAFFIC, True),
        ("serving.n_requests", {"below": 1}, SILENT, True),
        ("serving.latency_ms.p99", {"above": 100}, TRAFFIC, False),
        ("serving.time_to_first_chunk_ms.p50", {"above": 20}, TRAFFIC, True),
        ("serving.latency_ms.p99.route./predict", {"above": 70}, TRAFFIC, True),
        ("serving.error_rate.tenant.acme", {"above": 0.4}, TRAFFIC, True),
        ("serving.n_dropped", {"above": 0}, TRAFFIC, True),
        ("serving.low_confidence_share", {"above": 0.25}, TRAFFIC, True),
        ("serving.top_prediction_share", {"above": 0.9}, TRAFFIC, False),
        ("experiment.worse", {"above": 0}, variants(), True),
        ("experiment.worse.new", {"above": 0}, variants(), True),
        ("experiment.worse", {"above": 0}, variants("better"), False),
        ("experiment.decided", {"above": 0}, variants("better"), True),
        ("experiment.difference.new", {"below": -0.05}, variants(), True),
        ("experiment.mean.old", {"below": 0.4}, variants(), False),
        ("experiment.invalid", {"above": 0}, variants("invalid"), True),
        ("experiment.split_p_value", {"below": 0.001}, variants(), False),
        ("experiment.n_exposed.new", {"below": 30}, variants(), False),
    ],
)  # fmt: skip
def test_a_rule_reads_the_reports_of_a_service(
    metric: str, condition: dict[str, float], report: Report, breached: bool
) -> None:
    alert = judge(metric, report, **condition)
    assert alert.breached is breached
    assert alert.phase == ("firing" if breached else "ok")


@pytest.mark.parametrize(
    ("metric", "report", "why"),
    [
        ("slo.fast", TOO_FEW, "50 requests; 100 are needed"),
        ("slo.fast.burn_rate", TOO_FEW, "50 requests; 100 are needed"),
        ("slo.fast", NOBODY, "no request to judge"),
        ("slo.violated", NOBODY, "no objective could be judged"),
        ("slo.fast.worst_hour_burn_rate", TOO_FEW, "no hour had 100 requests"),
        ("slo.fast", None, "no slo report"),
        ("serving.error_rate", SILENT, "no request in this window"),
        ("serving.error_rate.tenant.south", TRAFFIC, "no request of tenant 'south'"),
        ("experiment.worse", variants("insufficient"), "new is insufficient"),
        ("experiment.difference.new", variants("invalid"), "against the control"),
        ("experiment.difference.new", variants(variants=()), "no unit was exposed"),
    ],
)
def test_what_a_service_cannot_say_is_no_data(metric: str, report: Report | None, why: str) -> None:
    gates = ("slo.fast", "slo.violated", "experiment.worse")
    alert = judge(metric, report, above=0 if metric in gates else 1)
    assert (alert.phase, alert.breached) == ("no_data", False)
    assert math.isnan(alert.value)
    assert why in alert.reason


def test_the_reason_says_what_was_promised_and_what_was_observed() -> None:
    assert judge("slo.fast", MISSED).reason == (
        "fast: 97.0000% of 1000 requests were good; 99.0000% is promised"
    )
    assert judge("slo.violated", MISSED).reason.startswith("violated: fast: 97.0000% of 1000")
    assert judge("slo.fast.burn_rate", MISSED, above=2).reason == (
        "fast.burn_rate 3 [2.109, 4.25] is above 2"
    )


def test_an_objective_that_could_not_be_judged_is_counted_where_none_was_missed() -> None:
    rows = log_table("window", [served(1000, 0)])
    slos = [ServingSLO(name="fast", latency_ms=200), ServingSLO(name="quiet", route="/quiet")]
    found = Measurements([check_slos(rows, slos)]).resolve("slo.violated")
    assert found is not None
    assert (found.value, found.reason) == (
        0.0,
        "no objective was missed; 1 of 2 could not be judged",
    )


@pytest.mark.parametrize(
    "report", [NOBODY, TOO_FEW, SILENT, variants("insufficient"), variants(variants=())]
)
def test_a_window_that_could_not_be_judged_is_a_finding_whatever_the_rules_ask(
    report: Report,
) -> None:
    rules = [AlertRule(metric="drift.drifted", above=0)]
    (finding,) = evaluate_rules(rules, reports=[report], at=NOON).findings
    assert finding.startswith(f"{report.kind} could not be judged: ")
    assert evaluate_rules(rules, reports=[MISSED, TRAFFIC, variants()], at=NOON).findings == ()


def test_objectives_of_scoring_and_of_a_service_stand_side_by_side() -> None:
    both = [scoring_report(), MISSED]
    assert judge("slo.p99", *both).breached
    assert judge("slo.fast", *both).breached
    assert judge("slo.violated", *both).breached
    with pytest.raises(ConfigError, match="one of a kind, got two for slo"):
        judge("slo.fast", MISSED, KEPT)


def test_a_rule_on_an_objective_or_variant_that_is_not_there_fires_with_a_hint() -> None:
    typo = judge("slo.fats", MISSED)
    assert (typo.phase, typo.is_broken) == ("firing", True)
    assert "did you mean 'slo.fast'?" in typo.reason
    assert "experiment.worse.new" in judge("experiment.worse.nwe", variants()).reason


def test_rules_about_a_service_come_from_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n"
        "  - {metric: slo.fast, above: 0, severity: error, owner: platform}\n"
        "  - {metric: slo.fast.burn_rate, above: 2, for_windows: 2}\n"
        "  - {metric: serving.error_rate, above: 0.05}\n"
    )
    decision = evaluate_rules(load_rules(path), [MISSED, TRAFFIC], at=NOON)
    assert [alert.phase for alert in decision.alerts] == ["firing", "pending", "ok"]
    assert decision.severity == "error"


def test_a_breached_objective_is_told_once_and_once_more_when_it_is_over() -> None:
    rule, state, told = AlertRule(metric="slo.fast", above=0), None, []
    for night, report in enumerate((KEPT, MISSED, TOO_FEW, MISSED, KEPT)):
        at = NOON + timedelta(days=night)
        decision = evaluate_rules([rule], [report], state=state, at=at)
        state = decision.state
        told.append([alert.phase for alert in decision.news])
    assert told == [[], ["firing"], [], [], ["resolved"]]
