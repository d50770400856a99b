"""Which breaches may page, and how often chance pages."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from scipy import stats

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, AlertState, PageBudget
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.reports.measurement import Measurement, number
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

START = datetime(2026, 7, 1, tzinfo=timezone.utc)
# half of one page in 365 nights is for what one night shows
LEVEL = 0.5 / 365


class Given(Report):
    """A performance report of the numbers that it is given."""

    KIND = "performance"

    def __init__(self, *numbers: Measurement) -> None:
        self.numbers = numbers

    def _measured(self):
        return self.numbers


def metric(name="auc", *, z: float) -> Measurement:
    """A metric that is `z` standard errors worse than its baseline."""
    verdict = "worse" if z > stats.norm.isf(0.025) else "ok"
    return number(
        name,
        value=0.8 - z / 100,
        baseline=0.8,
        higher_is_better=True,
        verdict=verdict,
        p_value=float(stats.norm.sf(z)),
        distance=float(z),
    )


def rule(name="auc", **condition) -> AlertRule:
    return AlertRule(metric=f"performance.{name}", **(condition or {"worse_than_baseline": True}))


def nights(rules, *reports, budget=PageBudget(), state=None):  # noqa: B008 - it is frozen
    """The decisions of consecutive nights, each from the stored state of the one before."""
    decisions = []
    for night, report in enumerate(reports):
        at = START + timedelta(days=night)
        decision = evaluate_rules(rules, [report], state=state, at=at, budget=budget)
        state = record_from_json(AlertState, record_to_json(decision.state))
        decisions.append(decision)
    return decisions


def phases(decisions, title="performance.auc worse than baseline"):
    return [alert.phase for each in decisions for alert in each.alerts if alert.rule.title == title]


def at_chance(p: float) -> float:
    return float(stats.norm.isf(p))


@pytest.mark.parametrize(("p", "phase"), [(0.02, "pending"), (0.99 * LEVEL, "firing")])
def test_a_breach_pages_at_once_if_chance_makes_it_in_half_a_night_of_a_year(p, phase):
    (decision,) = nights([rule()], Given(metric(z=at_chance(p))))
    assert phases([decision]) == [phase]
    assert decision.alerts[0].breached
    assert decision.alerts[0].p_value == pytest.approx(p)
    assert decision.fired is (phase == "firing")


def test_what_is_held_back_says_why_and_what_would_be_allowed():
    (decision,) = nights([rule(), rule("f1")], Given(metric(z=at_chance(0.02)), metric("f1", z=0)))
    reason = next(each.reason for each in decision.alerts if each.phase == "pending")
    assert "held back, as chance does this in 0.02 of windows" in reason
    assert "1 false pages a year allow 0.00068 at once; it pages if it lasts" in reason


def test_without_a_budget_every_breach_pages():
    (decision,) = nights([rule()], Given(metric(z=2)), budget=None)
    assert decision.fired
    assert decision.state.rules["performance.auc worse than baseline"].evidence == ()


def test_the_rules_of_a_monitor_share_one_budget():
    report = Given(metric(z=at_chance(0.7 * LEVEL)), metric("f1", z=0))
    assert phases(nights([rule()], report)) == ["firing"]
    assert phases(nights([rule(), rule("f1")], report)) == ["pending"]


def test_a_rule_that_pages_spares_the_others_its_part_and_one_that_is_fine_does_not():
    both = [rule(), rule("f1")]
    borderline = metric(z=at_chance(0.7 * LEVEL))
    assert phases(nights(both, Given(borderline, metric("f1", z=9)))) == ["firing"]
    # far from its baseline, but not by the 90 % that its rule asks for
    both = [rule(), rule("f1", drop=0.9)]
    assert phases(nights(both, Given(borderline, metric("f1", z=9)))) == ["pending"]


def test_a_plain_limit_needs_no_budget_and_takes_none():
    limit = rule("n", above=3)
    report = Given(metric(z=at_chance(0.7 * LEVEL)), number("n", value=4))
    decision = nights([rule(), limit], report)[0]
    assert [alert.phase for alert in decision.alerts] == ["firing", "firing"]
    assert math.isnan(decision.alerts[1].p_value)


def test_a_small_change_that_lasts_pages_within_a_few_nights():
    quiet = [0.3, -0.8, 1.1, -0.2, 0.5, -1.0, 0.9, 0.0, -0.4, 0.6] * 2
    shifted = [2.4, 2.2, 2.7, 2.3, 2.5, 2.6]
    reports = [Given(metric(z=z)) for z in (*quiet, *shifted)]
    found = phases(nights([rule()], *reports))
    assert set(found[: len(quiet)]) == {"ok"}
    assert found[len(quiet)] == "pending"
    assert found[-1] == "firing"


def test_evidence_is_multiplied_from_night_to_night_and_begins_anew_after_a_page():
    title = "performance.auc worse than baseline"
    quiet = [Given(metric(z=z)) for z in (0.0, 1.0, -1.0, 1.0, -1.0)]
    first, second, _, last = nights(
        [rule()], *quiet, *[Given(metric(z=2.5))] * 2, *[Given(metric(z=30)), Given(metric(z=2.5))]
    )[5:]
    # Student's t of 2.5 among the five: sd 1, df 4; and the likelihood ratio of a shift by 2
    z = stats.norm.isf(stats.t.sf(2.5 / math.sqrt(1.2), 4))
    e = math.exp(2 * z - 2)
    assert nights([rule()], *quiet)[-1].state.rules[title].evidence == ()
    assert first.state.rules[title].evidence[2] == pytest.approx(e)
    # the first night is not held against the second
    assert second.state.rules[title].evidence[2] == pytest.approx((1 + e) * e)
    assert last.state.rules[title].evidence == ()


def test_a_night_without_data_adds_no_evidence():
    title = "performance.auc worse than baseline"
    reports = [Given(metric(z=z)) for z in (0.0, 1.0, -1.0, 1.0, -1.0, 2.5)]
    decisions = nights([rule()], *reports, None)
    evidence = [each.state.rules[title].evidence for each in decisions]
    assert evidence[-1] == evidence[-2] != ()


def test_what_fired_is_no_example_of_a_night_without_a_fault():
    title = "performance.auc worse than baseline"
    reports = [Given(metric(z=z)) for z in (0.0, 1.0, -1.0, 1.0, -1.0, 30.0, 0.5)]
    kept = nights([rule()], *reports)[-1].state.rules[title].distances
    assert kept == (0.0, 1.0, -1.0, 1.0, -1.0, 0.5)


def test_moods_of_nights_page_until_they_are_known_and_then_no_more():
    moody = [Given(metric(z=z)) for z in (9.0, -8.0, 7.0, -9.0, 8.0, -7.0, 9.0, -9.0, 8.0, -8.0)]
    found = phases(nights([rule()], *moody))
    assert found[:5:2] == ["firing"] * 3
    assert found[6::2] == ["pending"] * 2


def test_a_rule_for_several_windows_waits_for_them_and_for_the_budget():
    waiting = rule("auc", worse_than_baseline=True, for_windows=2)
    found = nights([waiting], *[Given(metric(z=z)) for z in (2.0, 2.0, 9.0)])
    assert phases(found) == ["pending", "pending", "firing"]
    assert "1 of 2 windows in a row" in found[0].alerts[0].reason
    assert "held back" in found[1].alerts[0].reason


def test_a_state_of_an_earlier_release_has_no_evidence():
    kept = record_from_json(AlertState, b'{"rules": {"performance.auc worse than baseline": '
                                        b'{"phase": "ok", "values": []}}}')  # fmt: skip
    assert phases(nights([rule()], Given(metric(z=9)), state=kept)) == ["firing"]


@pytest.mark.parametrize("n_rules", [1, 4])
def test_chance_pages_no_more_often_than_the_budget_allows(n_rules):
    # one sample is the baseline of every night: a fifth of the variance is common to all of them
    rng = np.random.default_rng(3)
    budget = PageBudget(false_pages_per_year=20, windows_per_year=365)
    rules = [rule(f"m{j}") for j in range(n_rules)]
    pages, n_nights = 0, 0
    for _ in range(20):
        common = rng.normal(size=n_rules) * math.sqrt(0.2)
        z = common + rng.normal(size=(100, n_rules)) * math.sqrt(0.8)
        reports = [Given(*(metric(f"m{j}", z=v) for j, v in enumerate(row))) for row in z]
        decisions = nights(rules, *reports, budget=budget)
        pages += sum(alert.phase == "firing" for each in decisions for alert in each.news)
        n_nights += len(reports)
    allowed = 20 * n_nights / 365
    assert pages <= stats.poisson.ppf(0.99, allowed)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"false_pages_per_year": 0}, "must be positive"),
        ({"windows_per_year": math.nan}, "must be positive"),
        ({"false_pages_per_year": 800}, "below two false pages a window"),
    ],
)
def test_a_budget_without_sense_is_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        PageBudget(**numbers)
