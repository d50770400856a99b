"""Each condition on numbers made for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.addresses import Measurements
from flytekitplugins.wbmon.monitor.alerts.conditions import Finding, finding_of
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.reports.measurement import Measurement, number
from flytekitplugins.wbmon.reports.report import Report


class Given(Report):
    """A performance report of the numbers that it is given."""

    KIND = "performance"

    def __init__(self, *numbers: Measurement) -> None:
        self.numbers = numbers

    def _measured(self):
        return self.numbers


def found(value: float, past=(), *, observed=None, others=(), **condition) -> Finding:
    """What a condition says of a number named `m` and its past."""
    report = Given(number("m", value=value, **observed or {}), *others)
    rule = AlertRule(metric="performance.m", **condition)
    return finding_of(rule, Measurements([report]), past)


def students(k: float, past) -> float:
    """Student's quantile that is passed as rarely as `k` by a normal variable."""
    return stats.t.isf(stats.norm.sf(k), len(past) - 1)


def judged(seen: dict, distances) -> Finding:
    """What a comparison with the baseline says, given how bad past windows were."""
    rule = AlertRule(metric="performance.m", worse_than_baseline=True)
    report = Given(number("m", value=0.7, **seen))
    return finding_of(rule, Measurements([report]), (), distances)


def metric(value=0.7, baseline=0.8, better=True, verdict="ok") -> dict:
    return {"baseline": baseline, "higher_is_better": better, "verdict": verdict}


@given(st.lists(st.integers(-50, 50), min_size=5, max_size=30).filter(lambda p: len(set(p)) > 1))
def test_the_limit_beyond_the_past_is_that_of_the_prediction_of_one_new_observation(past):
    # Hahn & Meeker, Statistical Intervals, 4.7: mean +- t sd sqrt(1 + 1/n)
    reach = students(2.5, past) * math.hypot(np.std(past, ddof=1), stats.sem(past))
    limit = found(1000.0, past, beyond_sd=2.5).threshold
    assert limit == pytest.approx(np.mean(past) + reach)
    limit = found(-1000.0, past, beyond_sd=2.5).threshold
    assert limit == pytest.approx(np.mean(past) - reach)


def test_a_limit_alarms_as_often_as_so_many_standard_deviations_of_a_normal_variable():
    rng = np.random.default_rng(0)
    # 1.6449 sd are 5 % to each side, of a past of five windows as of any other
    k, n_windows = 1.6449, 8000
    series = rng.normal(3.0, 0.2, size=(n_windows, 6))

    alarms = sum(found(row[-1], row[:-1].tolist(), beyond_sd=k).breached for row in series)

    error = math.sqrt(0.1 * 0.9 / n_windows)
    assert alarms / n_windows == pytest.approx(0.1, abs=4 * error)


@pytest.mark.parametrize(("better", "sides"), [(True, 1), (None, 2)])
def test_the_chance_of_a_value_is_that_of_students_t(better, sides):
    past = [9.0, 11.0] * 4 + [10.0]  # mean and median 10, sd 1 of all and of the lower half
    finding = found(6.0, past, beyond_sd=3, observed={"higher_is_better": better})
    expected = sides * stats.t.sf(4 / math.sqrt(1 + 1 / 9), 8)
    assert finding.p_value == pytest.approx(expected)
    assert finding.surprise == finding.p_value


def test_five_past_windows_are_needed():
    assert found(9.0, [1, 2, 1, 2, 1], beyond_sd=2.5).breached
    too_few = found(9.0, [1, 2, 1, 2], beyond_sd=2)
    assert too_few.breached is None
    assert too_few.value == 9.0
    assert "4 past windows are known, 5 are needed" in too_few.reason


@pytest.mark.parametrize(
    ("better", "value", "breached", "limit"),
    [
        (True, 0.0, True, 7.0),
        (True, 20.0, False, 7.0),
        (False, 20.0, True, 13.0),
        (False, 0.0, False, 13.0),
        (None, 0.0, True, 7.0),
        (None, 20.0, True, 13.0),
    ],
)
def test_only_the_worse_side_of_the_past_alarms(better, value, breached, limit):
    past = [9.0, 11.0] * 4 + [10.0]  # mean 10, sd 1 (8 deviations of one over n - 1 = 8)
    k = stats.norm.isf(stats.t.sf(3 / math.sqrt(1 + 1 / 9), 8))

    finding = found(value, past, beyond_sd=k, observed={"higher_is_better": better})

    assert finding.breached is breached
    assert finding.threshold == pytest.approx(limit)
    assert f"10.0 sd {'above' if value > 10 else 'below'} 10, the mean of 9" in finding.reason
    assert ("are exceeded" if breached else "are allowed") in finding.reason
    assert finding.value == value


def test_the_limit_of_the_past_itself_is_allowed():
    past = [9.0, 11.0] * 4 + [10.0]  # mean 10, sd 1
    k = stats.norm.isf(stats.t.sf(3 / math.sqrt(1 + 1 / 9), 8))
    limit = found(12.0, past, beyond_sd=k).threshold
    assert limit == pytest.approx(13.0)
    assert found(limit - 1e-9, past, beyond_sd=k).breached is False
    assert found(limit + 1e-9, past, beyond_sd=k).breached is True


def test_a_past_that_never_moved_allows_rounding_and_nothing_else():
    past = [0.1 + 0.2] * 6
    assert found(0.3, past, beyond_sd=3).breached is False
    # a billionth of the mean is rounding
    assert found(0.3 * (1 + 0.9e-9), past, beyond_sd=3).breached is False
    assert found(0.3 * (1 + 1.1e-9), past, beyond_sd=3).breached is True
    assert "m 0.4 is above 0.3, the mean of 6" in found(0.4, past, beyond_sd=3).reason
    assert found(0.3, past, beyond_sd=3, observed={"higher_is_better": None}).threshold == (
        pytest.approx(0.3)
    )


def test_a_trend_needs_a_chance_of_at_most_one_in_a_hundred():
    # Kendall's table: 1 order of 120 rises throughout, 6 of 720 have at most one falling pair
    down = {"higher_is_better": False}
    assert found(5, [1, 2, 3, 4], trend=5, observed=down).breached is True
    assert found(5, [2, 1, 3, 4], trend=5, observed=down).breached is False  # 5 of 120
    assert found(6, [2, 1, 3, 4, 5], trend=6, observed=down).breached is True
    # a number that may move either way must do so half as likely by chance: 2 of 120, 2 of 720
    assert found(5, [1, 2, 3, 4], trend=5).breached is False
    assert found(6, [1, 2, 3, 4, 5], trend=6).breached is True
    assert found(1, [6, 5, 4, 3, 2], trend=6).breached is True
    assert found(6, [2, 1, 3, 4, 5], trend=6).breached is False  # 12 of 720


def test_a_trend_tells_how_new_its_last_value_is_whatever_trend_came_before():
    past = [1.0, 2.0, 1.0, 2.0, 1.5, 3.0]
    finding = found(4.0, past, trend=5, observed={"higher_is_better": False})
    # median 1.75; above it lie 2, 2 and 3
    spread = math.sqrt(2 * (0.25**2 + 0.25**2 + 1.25**2) / 5)
    t = (4 - 1.75) / (spread * math.sqrt(1 + 1 / 6))
    assert finding.surprise == pytest.approx(stats.t.sf(t, 5))
    assert math.isnan(found(4.0, past[:4], trend=5).surprise)


def test_a_value_of_few_rows_is_as_likely_by_chance_as_its_interval_says():
    past = [0.80, 0.82, 0.78, 0.81, 0.79, 0.80]
    seen = {"higher_is_better": True, "low": 0.4, "high": 0.86}
    finding = found(0.6, past, beyond_sd=3, observed=seen)
    assert finding.breached
    error = math.hypot(0.26 / stats.norm.isf(0.025), stats.sem(past))
    assert finding.p_value == pytest.approx(stats.norm.sf(0.2 / error))
    narrow = found(0.6, past, beyond_sd=3, observed=seen | {"high": 0.61})
    assert narrow.p_value == pytest.approx(
        found(0.6, past, beyond_sd=3, observed={"higher_is_better": True}).p_value
    )


@pytest.mark.parametrize("shift", range(9))
def test_the_chance_of_a_trend_either_way_is_that_of_kendalls_exact_test(shift):
    *past, value = [shift, *(other for other in range(9) if other != shift)]
    p_value = stats.kendalltau(range(9), [*past, value], method="exact").pvalue
    assert found(value, past, trend=9).breached is bool(p_value <= 0.01)
    assert found(value, past, trend=9).p_value == pytest.approx(p_value)


def test_only_the_worse_direction_is_a_trend_and_only_over_the_windows_asked_for():
    up = {"higher_is_better": True}
    assert found(5, [1, 2, 3, 4], trend=5, observed=up).breached is False
    falling = found(1, [9, 9, 9, 5, 4, 3, 2], trend=5, observed=up)
    assert falling.breached is True
    assert falling.threshold == 5
    assert falling.value == 1
    assert "from 5 to 1 over 5 windows (-1 a window), more than chance" in falling.reason
    short = found(1, [3, 2], trend=5, observed=up)
    assert (short.breached, short.value) == (None, 1)
    assert "3 windows are known, a trend over 5" in short.reason


def test_a_limit_itself_is_allowed():
    assert found(0.5, below=0.5).breached is False
    assert found(0.49, below=0.5).breached is True
    assert found(0.5, above=0.5).breached is False
    assert found(0.51, above=0.5).breached is True
    for finding in (found(0.51, above=0.5), found(0.4, below=0.5)):
        assert finding.threshold == 0.5
    assert found(0.4, below=0.5).value == 0.4
    assert found(0.4, below=0.5).reason == "m 0.4 is below 0.5"
    assert found(0.6, below=0.5).reason == "m 0.6 is not below 0.5"


@pytest.mark.parametrize("condition", [{"below": 0.5}, {"above": 0.5}])
def test_what_is_undefined_breaches_no_limit(condition):
    finding = found(math.nan, **condition, observed={"reason": "no labels"})
    assert (finding.breached, finding.threshold) == (None, 0.5)
    assert finding.reason == "m is unknown: no labels"
    assert math.isnan(finding.value)


@pytest.mark.parametrize("condition", [{"beyond_sd": 2.0}, {"trend": 5}])
def test_what_is_undefined_is_held_against_no_past(condition):
    finding = found(math.nan, [1, 2, 3, 4, 5, 6], **condition)
    assert finding.breached is None
    assert finding.reason == "m is unknown: undefined in this window"


@pytest.mark.parametrize("above", [0, 0.5])
def test_a_gate_breaches_if_it_says_yes(above):
    gate = {"is_gate": True, "reason": "two features"}
    yes, no = found(1, above=above, observed=gate), found(0, above=above, observed=gate)
    assert (yes.breached, yes.value, yes.threshold) == (True, 1, above)
    assert (no.breached, no.value, no.threshold) == (False, 0, above)
    assert (yes.reason, no.reason) == ("m: two features", "not m: two features")
    assert found(1, above=above, observed={"is_gate": True}).reason == "m"
    unknown = found(math.nan, above=above, observed=gate)
    assert (unknown.breached, unknown.threshold) == (None, above)


@pytest.mark.parametrize("condition", [{"above": 1}, {"above": -0.1}, {"below": 1}])
def test_no_other_condition_can_be_asked_of_a_gate(condition):
    with pytest.raises(ConfigError, match="must be above=0"):
        found(1, **condition, observed={"is_gate": True})


@pytest.mark.parametrize(
    ("better", "value", "baseline", "breached", "limit"),
    [
        (True, 0.7, 0.8, True, 0.72),
        (True, 0.73, 0.8, False, 0.72),
        (True, 0.75, 1.0, False, 0.75),
        (False, 0.9, 0.8, True, 0.88),
        (False, 0.87, 0.8, False, 0.88),
        (True, -0.9, -0.8, True, -0.88),
        (True, -0.85, -0.8, False, -0.88),
    ],
)
def test_a_share_of_the_baseline_may_be_lost(better, value, baseline, breached, limit):
    drop = 0.25 if value == 0.75 else 0.1
    seen = metric(baseline=baseline, better=better, verdict="worse")
    finding = found(value, drop=drop, observed=seen)
    assert finding.breached is breached
    assert finding.threshold == pytest.approx(limit)
    assert finding.value == value
    assert f"{drop:.0%} is allowed" in finding.reason


@pytest.mark.parametrize(("verdict", "breached"), [("ok", False), ("unknown", True)])
def test_a_share_lost_by_chance_is_no_drop_where_an_interval_says_so(verdict, breached):
    finding = found(0.7, drop=0.1, observed=metric(verdict=verdict))
    assert finding.breached is breached
    assert ("not clearly worse" in finding.reason) is not breached


def test_a_number_has_the_chance_of_its_rows_until_past_windows_are_known():
    seen = metric(verdict="worse") | {"p_value": 0.001, "distance": 3.1}
    first = found(0.7, worse_than_baseline=True, observed=seen)
    assert (first.p_value, first.distance) == (0.001, 3.1)
    assert math.isnan(first.surprise)


def test_a_number_that_is_no_worse_than_in_past_windows_may_be_chance():
    seen = metric(verdict="worse") | {"p_value": 0.001, "distance": 3.1}
    distances = [2.0, 4.0, 3.0, 5.0, 1.0]
    moody = judged(seen, distances)
    t = (3.1 - 3) / math.hypot(np.std(distances, ddof=1), stats.sem(distances))
    assert moody.p_value == moody.surprise == pytest.approx(stats.t.sf(t, 4))
    # and past windows that are all alike do not make it less likely than its rows do
    assert judged(seen, [0.0, 0.01, -0.01, 0.01, 0.0]).p_value == 0.001


def test_a_plain_limit_has_no_chance_though_its_metric_has_one():
    seen = metric(verdict="worse") | {"p_value": 0.001, "distance": 3.1}
    assert math.isnan(found(0.7, below=0.75, observed=seen).p_value)
    assert found(0.7, above=0.5, observed={"p_value": 0.001, "distance": 0.2}).p_value == 0.001


def test_of_a_baseline_of_nothing_no_share_can_be_lost():
    finding = found(0.5, drop=0.1, observed=metric(baseline=0.0))
    assert finding.breached is None
    assert "its baseline is 0" in finding.reason
    worse = found(0.5, worse_than_baseline=True, observed=metric(baseline=0.0, verdict="worse"))
    assert worse.breached is True
    assert "0.5 above baseline 0" in worse.reason


def test_the_verdict_of_a_metric_decides_whether_it_is_worse():
    verdicts = {
        verdict: found(0.7, worse_than_baseline=True, observed=metric(verdict=verdict))
        for verdict in ("worse", "ok", "better", "unknown")
    }
    assert {name: finding.breached for name, finding in verdicts.items()} == {
        "worse": True,
        "ok": False,
        "better": False,
        "unknown": None,
    }
    assert all(finding.threshold == 0.8 for finding in verdicts.values())
    assert "is 12.5% below baseline 0.8, more than chance" in verdicts["worse"].reason
    assert "not clearly worse" in verdicts["ok"].reason
    equal = found(0.8, worse_than_baseline=True, observed=metric())
    assert "is equal to baseline 0.8" in equal.reason
    above = found(0.9, worse_than_baseline=True, observed=metric())
    assert "is 12.5% above baseline 0.8" in above.reason


def test_a_baseline_without_this_metric_says_nothing_and_one_without_any_is_an_error():
    other = number("other", value=1.0, **metric())
    nothing = metric(baseline=math.nan)
    finding = found(0.7, drop=0.1, observed=nothing, others=[other])
    assert finding.breached is None
    assert "the baseline has no value for it" in finding.reason
    undefined = found(math.nan, drop=0.1, observed=metric())
    assert (undefined.breached, undefined.threshold) == (None, pytest.approx(0.72))
    with pytest.raises(ConfigError, match="needs a baseline"):
        found(0.7, drop=0.1, observed=nothing)
    with pytest.raises(ConfigError, match="has no baseline"):
        found(0.7, drop=0.1)


def test_an_interval_is_shown_if_it_has_both_ends():
    assert found(0.5, above=1, observed={"low": 0.4, "high": 0.6}).reason.startswith(
        "m 0.5 [0.4, 0.6] is"
    )
    assert found(0.5, above=1, observed={"low": 0.4}).reason.startswith("m 0.5 is")
    assert found(0.5, above=1, observed={"high": 0.6}).reason.startswith("m 0.5 is")


def test_a_report_that_is_not_there_says_nothing():
    finding = finding_of(AlertRule(metric="drift.drifted", above=0), Measurements([]), ())
    assert finding.breached is None
    assert "no drift report" in finding.reason
