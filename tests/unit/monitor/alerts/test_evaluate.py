from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, AlertState
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.monitor.drift.report import DriftReport, FeatureDrift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.performance.calibration_report import Calibration
from flytekitplugins.wbmon.monitor.performance.part import Metric
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.scoring.report import (
    Confidence,
    PredictedClasses,
    ScoringReport,
)
from flytekitplugins.wbmon.monitor.scoring.slo import (
    SLO,
    SLOResult,
)
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

START = datetime(2026, 3, 1, 2, tzinfo=timezone.utc)


def metric(name="accuracy", value=0.71, baseline=0.78, **changed):
    given = {
        "name": name,
        "value": value,
        "low": value - 0.03,
        "high": value + 0.03,
        "n": 900,
        "higher_is_better": name != "log_loss",
        "baseline": baseline,
        "verdict": "ok",
    }
    return Metric(**given | changed)


def score(value, baseline=0.78, **changed):
    return performance(metric(value=value, baseline=baseline, **changed))


def loss(value, baseline):
    return performance(metric("log_loss", value, baseline))


def worse_loss(value, baseline):
    return performance(metric("log_loss", value, baseline, verdict="worse"))


def performance(*metrics, **changed):
    given = {
        "task": "classification",
        "status": "ok",
        "n_rows": 1000,
        "n_labelled": 900,
        "metrics": {item.name: item for item in metrics or (metric(),)},
        "reason": "measured",
    }
    return PerformanceReport(**given | changed)


def drift(verdict="drift", **feature):
    given = {
        "name": "amount",
        "kind": "float",
        "status": "ok",
        "n_reference": 500,
        "n_current": 400,
        "missing_reference": 0.0,
        "missing_current": 0.02,
        "effect_size": 0.23,
        "level": "drift",
        "distances": {"psi": 0.4},
        "reason": "amount moved up",
    }
    return DriftReport(
        rule=DriftRule(),
        n_reference=500,
        n_current=400,
        verdict=verdict,
        reason="1 of 1 features drifted: amount",
        features={"amount": FeatureDrift(**given | feature)},
    )


def scoring(verdict="fail", observed=80.0):
    result = SLOResult(slo=SLO(name="p99", value=50), observed=observed, verdict=verdict)
    return ScoringReport(
        n_rows=10,
        n_batches=1,
        duration_s=2.0,
        predict_s=1.0,
        latency_ms={"p99": 80.0},
        slos=(result,),
    )


def on(address, **condition):
    """A rule on a metric; of the performance report unless another is named."""
    report = address.partition(".")[0]
    named = report in ("performance", "drift", "scoring", "slo")
    return AlertRule(metric=address if named else f"performance.{address}", **condition)


def judge(rule, *reports, **given):
    (alert,) = evaluate_rules([rule], reports=list(reports), at=START, **given).alerts
    return alert


def nights(rule, *reports, state=None):
    """The decisions of consecutive nights; None is a night without a report."""
    decisions = []
    for number, report in enumerate(reports):
        at = START + timedelta(days=number)
        decision = evaluate_rules([rule], [report], state=state, at=at)
        state = record_from_json(AlertState, record_to_json(decision.state))
        decisions.append(decision)
    return decisions


def phases(decisions):
    return [decision.alerts[0].phase for decision in decisions]


BELOW = on("accuracy", below=0.8)
GOOD, BAD = score(0.9), score(0.7)
WORSE, BETTER, UNKNOWN = (score(0.7, verdict=word) for word in ("worse", "better", "unknown"))
NO_LABELS = performance(metric("recall", math.nan, reason="no labels"))
NO_F1 = performance(metric(), metric("f1", baseline=math.nan))
BY_CLASS = performance(per_class={"fraud": {"recall": 0.4}})
WATCHED = replace(
    scoring(),
    n_failed=2,
    confidence=Confidence(
        n=8,
        mean=0.6,
        sd=0.1,
        quantiles={},
        threshold=0.6,
        low_share=0.4,
        low_share_low=0.3,
        low_share_high=0.5,
    ),
    classes=PredictedClasses(counts={"a": 6, "b": 2}),
)
CALIBRATED = performance(
    calibration=Calibration(error=0.1, error_by_chance=0.02, p_value=0.0, too_sure=True, bins=())
)
NOT_SCORED = ScoringReport(n_rows=0, n_batches=0, duration_s=0, predict_s=0)


@pytest.mark.parametrize(
    ("rule", "report", "breached"),
    [
        (on("accuracy", below=0.71), performance(), False),
        (on("accuracy", below=0.7101), performance(), True),
        (on("accuracy", above=0.71), performance(), False),
        (on("accuracy", above=0.7), performance(), True),
        (on("accuracy", drop=0.25), score(0.75, 1.0, verdict="worse"), False),
        (on("accuracy", drop=0.25), score(0.74, 1.0, verdict="worse"), True),
        (on("accuracy", drop=0.25), score(0.74, 1.0), False),
        (on("log_loss", drop=0.25), worse_loss(1.25, 1.0), False),
        (on("log_loss", drop=0.25), worse_loss(1.26, 1.0), True),
        (on("log_loss", drop=0.25), loss(0.5, 1.0), False),
        (on("r2", drop=0.5), performance(metric("r2", -0.6, -0.4, verdict="worse")), False),
        (on("r2", drop=0.4), performance(metric("r2", -0.6, -0.4, verdict="worse")), True),
        (on("accuracy", worse_than_baseline=True), WORSE, True),
        (on("accuracy", worse_than_baseline=True), BETTER, False),
        (on("coverage", below=0.95), performance(), True),
        (on("recall.fraud", below=0.5), BY_CLASS, True),
        (on("calibration.error", above=0.05), CALIBRATED, True),
        (on("worse", above=0), WORSE, True),
        (on("worse", above=0), performance(), False),
        (on("drift.drifted", above=0), drift(), True),
        (on("drift.drifted", above=0), drift("ok"), False),
        (on("drift.drifted.amount", above=0.5), drift(), True),
        (on("drift.share_drifted", above=0.5), drift(), True),
        (on("drift.effect_size.amount", above=0.2), drift(), True),
        (on("drift.psi.amount", above=0.5), drift(), False),
        (on("drift.missing_current.amount", above=0.01), drift(), True),
        (on("scoring.rows_per_s", below=6), scoring(), True),
        (on("scoring.latency_ms.p99", above=100), scoring(), False),
        (on("scoring.error_rate", above=0.1), WATCHED, True),
        (on("scoring.low_confidence_share", above=0.3), WATCHED, True),
        (on("scoring.confidence", below=0.5), WATCHED, False),
        (on("scoring.top_share", above=0.7), WATCHED, True),
        (on("slo.p99", above=0), scoring(), True),
        (on("slo.p99", above=0), scoring("pass"), False),
        (on("slo.p99.observed", above=79), scoring(), True),
    ],
)  # fmt: skip
def test_each_condition_at_its_boundary(rule, report, breached):
    alert = judge(rule, report)
    assert alert.breached is breached
    assert alert.phase == ("firing" if breached else "ok")


@pytest.mark.parametrize(
    ("rule", "report", "why"),
    [
        (BELOW, None, "no performance report"),
        (on("slo.p99", above=0), None, "no slo report"),
        (on("slo.p99", above=0), scoring("no_data", math.nan), "nothing was scored"),
        (BELOW, score(math.nan, reason="one class"), "one class"),
        (BELOW, performance(status="insufficient", reason="12 rows"), "12 rows"),
        (BELOW, score(math.nan), "undefined"),
        (on("recall.fraud", below=0.5), NO_LABELS, "no labels"),
        (on("worse", above=0), UNKNOWN, "no metric can be held against its baseline"),
        (on("accuracy", drop=0.1), score(math.nan, reason="one class"), "one class"),
        (on("accuracy", drop=0.1), score(0.7, 0.0), "baseline is 0"),
        (on("f1", drop=0.1), NO_F1, "no value for it"),
        (on("accuracy", worse_than_baseline=True), UNKNOWN, "no interval"),
        (on("drift.drifted", above=0), drift("insufficient"), "1 of 1"),
        (on("drift.drifted.amount", above=0), drift(status="insufficient"), "amount"),
        (on("recall.fraud", below=0.5), replace(BY_CLASS, status="insufficient"), "measured"),
        (on("drift.q_value.amount", below=0.1), drift(q_value=math.nan, reason=""), "status ok"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_no_data_with_a_reason(rule, report, why):
    alert = judge(rule, report)
    assert (alert.phase, alert.breached) == ("no_data", False)
    assert math.isnan(alert.value)
    assert why in alert.reason


@pytest.mark.parametrize(
    ("rule", "report", "message"),
    [
        (on("acuracy", below=0.8), performance(), r"mean 'performance\.accuracy'\?"),
        (on("zz", below=0.8), performance(), r"has 'performance\.accuracy', 'performance\.worse'"),
        (on("drift.effect_size.amuont", above=0.1), drift(), r"drift\.effect_size\.amount"),
        (on("slo.p50", above=0), NOT_SCORED, "it has no metrics"),
        (on("drift.effect_size.amount", drop=0.1), drift(), "has no baseline"),
        (on("coverage", drop=0.1), performance(), "has no baseline"),
        (on("accuracy", drop=0.1), score(0.7, math.nan), "pass baseline="),
        (on("drift.drifted", above=3), drift(), "is 0 or 1"),
        (on("drift.drifted", below=1), drift(), "is 0 or 1"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_judged_fires_and_says_what_to_mend(rule, report, message):
    alert = judge(rule, report)
    assert (alert.phase, alert.is_broken, alert.breached) == ("firing", True, False)
    assert re.search(message, alert.reason)


def test_an_alert_shows_what_was_held_against_what():
    alert = judge(BELOW, BAD)
    assert (alert.value, alert.threshold) == (0.7, 0.8)


def test_what_exists_is_cut_short_in_a_long_report():
    many = performance(*(metric(f"metric_{i}") for i in range(40)))
    assert re.search(r"and \d\d more", judge(on("zz", below=0), many).reason)


def test_two_reports_of_one_kind_and_something_else_are_refused():
    with pytest.raises(ConfigError, match="one of a kind"):
        judge(BELOW, GOOD, BAD)
    with pytest.raises(ConfigError, match="got dict"):
        judge(BELOW, {})


def test_two_rules_of_one_title_are_refused():
    with pytest.raises(ConfigError, match="different titles"):
        evaluate_rules([BELOW, BELOW], [GOOD])


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (on("accuracy", drop=0.05),
         "accuracy 0.71 [0.68, 0.74] is 9.0% below baseline 0.78, 5% is allowed"),
        (on("accuracy", below=0.8),
         "accuracy 0.71 [0.68, 0.74] is below 0.8"),
        (on("accuracy", worse_than_baseline=True),
         "accuracy 0.71 [0.68, 0.74] is 9.0% below baseline 0.78, more than chance explains"),
        (on("drift.drifted", above=0),
         "drifted: 1 of 1 features drifted: amount"),
        (on("drift.effect_size.amount", above=0.1),
         "effect_size.amount 0.23 is above 0.1"),
        (on("slo.p99", above=0),
         "p99: latency_ms p99 was 80, allowed 50"),
    ],
)  # fmt: skip
def test_the_reason_is_a_sentence_for_the_person_on_call(rule, reason):
    assert judge(rule, score(0.71, verdict="worse"), drift(), scoring()).reason == reason


def test_reasons_say_equal_and_above_and_differences_from_zero():
    def reason(value, baseline):
        rule = on("accuracy", worse_than_baseline=True)
        return judge(rule, score(value, baseline)).reason

    assert "is equal to baseline 0.8" in reason(0.8, 0.8)
    assert "is 25.0% above baseline 0.8" in reason(1.0, 0.8)
    assert "is 0.3 above baseline 0" in reason(0.3, 0.0)


def test_a_fault_is_told_once_and_once_more_when_it_is_over():
    decisions = nights(BELOW, GOOD, BAD, BAD, BAD, GOOD, GOOD)
    assert phases(decisions) == ["ok", "firing", "firing", "firing", "resolved", "ok"]
    assert [len(decision.news) for decision in decisions] == [0, 1, 0, 0, 1, 0]
    assert [decision.fired for decision in decisions] == [False, True, True, True, False, False]
    assert "over after 3 windows, since 2026-03-02 02:00 UTC" in decisions[4].alerts[0].reason
    assert "3 windows in a row since 2026-03-02" in decisions[3].alerts[0].reason


def test_an_alert_waits_for_as_many_windows_in_a_row_as_asked():
    rule = on("accuracy", below=0.8, for_windows=3)
    decisions = nights(rule, BAD, BAD, GOOD, BAD, BAD, BAD, GOOD)
    expected = ["pending", "pending", "ok", "pending", "pending", "firing", "resolved"]
    assert phases(decisions) == expected
    assert decisions[5].alerts[0].since == START + timedelta(days=3)
    assert "2 of 3 windows in a row before it fires" in decisions[1].alerts[0].reason


def test_a_night_without_data_neither_resolves_nor_counts():
    rule = on("accuracy", below=0.8, for_windows=2)
    decisions = nights(rule, BAD, None, BAD, None, BAD, GOOD)
    assert phases(decisions) == ["pending", "no_data", "firing", "no_data", "firing", "resolved"]
    assert [len(decision.news) for decision in decisions] == [0, 0, 1, 0, 0, 1]
    assert "still open since 2026-03-01" in decisions[3].alerts[0].reason


def test_judging_a_window_again_does_not_count_it_twice():
    rule = on("accuracy", below=0.8, for_windows=3)
    first, second = nights(rule, BAD, BAD)
    again = evaluate_rules([rule], [BAD], state=second.state, at=second.at)
    assert again == second
    corrected = evaluate_rules([rule], [GOOD], state=second.state, at=second.at)
    assert corrected.alerts[0].phase == "ok"
    assert corrected.state.before == first.state.rules


def test_a_window_older_than_the_last_is_judged_alone_and_not_remembered():
    state = nights(BELOW, BAD, BAD)[-1].state
    late = evaluate_rules([BELOW], [GOOD], state=state, at=START - timedelta(days=1))
    assert late.alerts[0].phase == "ok"
    assert late.state is state


def test_a_time_without_zone_is_utc_and_now_is_the_default():
    naive = evaluate_rules([BELOW], [BAD], at=datetime(2026, 3, 1, 2))  # noqa: DTZ001
    assert naive.at == START
    before = datetime.now(timezone.utc)
    assert before <= evaluate_rules([BELOW], [BAD]).at <= datetime.now(timezone.utc)


def test_a_time_of_another_zone_is_the_same_moment_in_utc():
    paris = timezone(timedelta(hours=1))
    decision = evaluate_rules([BELOW], [BAD], at=START.astimezone(paris))
    assert (decision.at, decision.at.tzinfo) == (START, timezone.utc)
    again = evaluate_rules([BELOW], [BAD], at=START, state=decision.state)
    assert again.alerts[0].n_windows == 1


@pytest.mark.parametrize(
    ("condition", "n_kept"),
    [({"below": 0.8}, 0), ({"drop": 0.1}, 0), ({"trend": 5}, 8), ({"beyond_sd": 99}, 8)],
)
def test_a_rule_remembers_the_values_it_compares_with(condition, n_kept):
    values = [0.9, 0.91, 0.9, 0.91, 0.9, 0.91, 0.9, 0.91]
    rule = on("accuracy", **condition)
    state = accuracies(rule, *values)[-1].state
    assert state.rules[rule.title].values == tuple(values[len(values) - n_kept :])
    unknown = accuracies(rule, *values, math.nan)[-1].state
    assert unknown.rules[rule.title].values == tuple(values[len(values) - n_kept :])


def test_a_fine_window_after_one_without_data_leaves_the_alert_firing():
    rule = on("accuracy", below=0.8, resolve_after=2)
    decisions = nights(rule, BAD, None, GOOD, GOOD)
    assert phases(decisions) == ["firing", "no_data", "firing", "resolved"]


def test_only_what_is_remembered_is_added_to_the_reason():
    said = "accuracy 0.7 [0.67, 0.73] is below 0.8"
    decisions = nights(BELOW, None, GOOD, BAD, BAD)
    assert [decision.alerts[0].reason for decision in decisions] == [
        "performance.accuracy is unknown: no performance report",
        "accuracy 0.9 [0.87, 0.93] is not below 0.8",
        said,
        f"{said}; 2 windows in a row since 2026-03-03 02:00 UTC",
    ]


def test_a_rule_that_is_gone_is_forgotten():
    state = nights(BELOW, BAD)[-1].state
    other = on("accuracy", below=0.5)
    later = evaluate_rules([other], [BAD], state=state, at=START + timedelta(days=1))
    assert set(later.state.rules) == {other.title}


def test_the_worst_comes_first():
    rules = [
        on("accuracy", above=0.99, name="fine", severity="error"),
        on("drift.drifted", above=0, name="silent"),
        on("accuracy", below=0.8, name="note", severity="info"),
        on("accuracy", below=0.75, name="page", severity="error"),
        on("accuracy", below=0.9, for_windows=2, name="soon"),
    ]
    decision = evaluate_rules(rules, [BAD], at=START)
    assert [alert.rule.title for alert in decision.alerts] == [
        "page",
        "note",
        "soon",
        "silent",
        "fine",
    ]
    assert decision.severity == "error"
    assert decision.reason.startswith("2 of 5 rules fire; 1 without data: accuracy 0.7 ")


def test_nothing_fires_without_rules():
    decision = evaluate_rules([], [GOOD], at=START)
    assert (decision.fired, decision.severity, decision.news) == (False, "none", ())
    assert decision.reason == "none of 0 rules fires"


def test_a_decision_renders_itself_and_survives_json():
    (decision,) = nights(BELOW, BAD)
    assert "accuracy" in decision.to_html()
    assert decision.to_dict()["alerts"][0]["phase"] == "firing"
    assert record_from_json(type(decision), record_to_json(decision)).state == decision.state


def accuracies(rule, *values):
    return nights(rule, *(score(value) if value is not None else None for value in values))


def test_a_value_far_from_past_windows_fires_once_five_of_them_are_known():
    rule = on("accuracy", beyond_sd=3)
    usual = [0.80, 0.81, 0.79, 0.80, 0.82]
    decisions = accuracies(rule, *usual, 0.80, 0.5, 0.5, 0.81)
    expected = ["no_data"] * 5 + ["ok", "firing", "firing", "resolved"]
    assert phases(decisions) == expected
    assert "4 past windows are known, 5 are needed" in decisions[4].alerts[0].reason
    fired = decisions[6].alerts[0]
    assert "below 0.8033, the mean of 6 past windows, 5.95 sd are exceeded" in fired.reason
    assert fired.threshold == pytest.approx(0.8033 - 5.95 * 0.01033, abs=1e-3)
    assert decisions[7].alerts[0].threshold == fired.threshold


def test_a_better_value_than_in_past_windows_is_no_fault():
    decisions = accuracies(on("accuracy", beyond_sd=3), 0.8, 0.81, 0.79, 0.8, 0.82, 0.99)
    assert phases(decisions)[-1] == "ok"


@pytest.mark.parametrize(("rows", "phase"), [(100, "firing"), (5000, "firing"), (1010, "ok")])
def test_where_no_side_is_the_worse_one_either_is_too_far(rows, phase):
    windows = [performance(n_rows=n) for n in (1000, 1010, 990, 1005, 995, rows)]
    assert phases(nights(on("n_rows", beyond_sd=3), *windows))[-1] == phase


def test_past_windows_without_any_spread_allow_no_other_value():
    decisions = accuracies(on("accuracy", beyond_sd=3), *[0.8] * 6, 0.6)
    assert phases(decisions)[-2:] == ["ok", "firing"]


def test_the_past_is_bounded_and_unknown_windows_are_not_in_it():
    decisions = accuracies(on("accuracy", beyond_sd=3), *[0.8, None] * 65)
    assert (
        len(decisions[-1].state.rules["performance.accuracy beyond 3 sd of past windows"].values)
        == 60
    )


def test_a_slow_loss_over_windows_fires_where_no_limit_does():
    rule = on("accuracy", trend=7)
    decisions = accuracies(rule, 0.81, 0.80, 0.79, 0.785, 0.78, 0.77, 0.76, 0.75, 0.80)
    assert phases(decisions) == ["no_data"] * 6 + ["firing", "firing", "resolved"]
    assert "from 0.81 to 0.76 over 7 windows (-0.008" in decisions[6].alerts[0].reason
    assert "a trend over 7 is asked for" in decisions[5].alerts[0].reason


def test_a_rising_accuracy_is_no_fault_and_a_rising_loss_is():
    assert phases(accuracies(on("accuracy", trend=5), 0.7, 0.72, 0.74, 0.76, 0.8))[-1] == "ok"
    losses = [loss(value, 1.0) for value in (0.7, 0.72, 0.74, 0.76, 0.8, 0.81, 0.83)]
    assert phases(nights(on("log_loss", trend=7), *losses))[-1] == "firing"
    rows = [performance(n_rows=n) for n in (1000, 900, 800, 700, 600, 500, 400)]
    assert phases(nights(on("n_rows", trend=7), *rows))[-1] == "firing"


@pytest.mark.parametrize("condition", [{"trend": 5}, {"beyond_sd": 3}])
def test_an_undefined_value_is_no_data_to_rules_on_the_past(condition):
    alert = judge(on("accuracy", **condition), score(math.nan, reason="one class"))
    assert (alert.phase, "one class" in alert.reason) == ("no_data", True)


def test_a_value_around_its_limit_fires_once_with_a_guard():
    flapping = [0.7, 0.9, 0.7, 0.9, 0.7, 0.9, 0.9, 0.9]
    rule = on("accuracy", below=0.8)
    assert sum(len(decision.news) for decision in accuracies(rule, *flapping)) == 6
    guarded = accuracies(replace(rule, resolve_after=3), *flapping)
    assert phases(guarded) == ["firing"] * 7 + ["resolved"]
    assert [len(decision.news) for decision in guarded] == [1, 0, 0, 0, 0, 0, 0, 1]
    assert "fine for 1 of 3 windows before it is over" in guarded[1].alerts[0].reason


def test_a_night_without_data_may_count_as_a_fault():
    rule = on("accuracy", below=0.8, on_no_data="breach", for_windows=2)
    decisions = nights(rule, GOOD, None, None, GOOD)
    assert phases(decisions) == ["ok", "pending", "firing", "resolved"]
    assert "no performance report" in decisions[2].alerts[0].reason


def test_a_rule_that_still_learns_is_not_without_data():
    rule = on("accuracy", beyond_sd=3, on_no_data="breach")
    assert phases(nights(rule, GOOD, None)) == ["no_data", "firing"]


def test_a_silent_rule_opens_no_gate_and_is_told_when_the_silence_ends():
    rule = on("accuracy", below=0.8, silent_until=START + timedelta(days=2))
    decisions = nights(rule, BAD, BAD, BAD, BAD, GOOD)
    assert phases(decisions) == ["firing"] * 4 + ["resolved"]
    assert [decision.fired for decision in decisions] == [False, False, True, True, False]
    assert [decision.severity for decision in decisions] == ["none", "none", "warn", "warn", "none"]
    assert [len(decision.news) for decision in decisions] == [0, 0, 1, 0, 1]
    assert decisions[0].alerts[0].is_silent
    assert decisions[0].reason == "none of 1 rules fires"


def test_a_fault_that_comes_and_goes_in_silence_is_never_told():
    rule = on("accuracy", below=0.8, silent_until=START + timedelta(days=9))
    assert not any(decision.news for decision in nights(rule, BAD, BAD, GOOD))


def test_an_estimate_has_addresses_of_its_own():
    estimate = replace(performance(metric(value=0.6, verdict="worse")), estimated=True)
    rules = [on("accuracy", below=0.65), AlertRule(metric="estimate.accuracy", below=0.65)]
    rules += [AlertRule(metric="estimate.accuracy", drop=0.05)]
    decision = evaluate_rules(rules, [performance(), estimate], at=START)
    assert [alert.rule.metric for alert in decision.alerts if alert.phase == "firing"] == [
        "estimate.accuracy",
        "estimate.accuracy",
    ]


@pytest.mark.parametrize("at", [pd.NaT, float("nan"), "yesterday", 1_767_225_600], ids=repr)
def test_a_window_without_a_time_is_refused(at):
    with pytest.raises(ConfigError, match=r"at must be a moment, such as .*, got"):
        evaluate_rules([], [], at=at)


def test_silence_ends_at_a_moment():
    with pytest.raises(ConfigError, match=r"silent_until must be a moment, .*, got NaT"):
        AlertRule(metric="drift.n_drifted", above=0, silent_until=pd.NaT)
    # YAML has a date where no hour is written
    rule = AlertRule(metric="drift.n_drifted", above=0, silent_until=START.date())
    assert rule.silent_until == START.replace(hour=0)


def test_one_rule_and_one_report_are_no_sequences():
    rule = AlertRule(metric="drift.n_drifted", above=0)

    with pytest.raises(ConfigError, match="rules must be a sequence of rules, got one AlertRule"):
        evaluate_rules(rule, [])
    with pytest.raises(ConfigError, match="reports must be a sequence of reports, got one Perf"):
        evaluate_rules([rule], performance())
    with pytest.raises(ConfigError, match="rules must hold AlertRules, got one str"):
        evaluate_rules(["drift.n_drifted > 0"], [])
