"""Variants against scipy's tests, and what makes a comparison worth nothing."""

from __future__ import annotations

import math
import warnings

import pytest
from scipy import stats

from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.service.experiment import compare_variants
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.serving.log.feedback import exposure_row, feedback_row

AT = "2026-03-01T12:00:00+00:00"


def rating(unit, score, *, name="thumbs", number=0) -> dict:
    return feedback_row(
        request_id=f"{unit}-{name}-{number}",
        session_id=unit,
        source="user",
        name=name,
        score=score,
        label=None,
        feedback_id=None,
    )


def log(outcomes, *, silent=0):
    """The feedback of units whose outcomes are given, by variant; some more said nothing."""
    rows = []
    for variant, values in outcomes.items():
        units = [f"{variant}{i}" for i in range(len(values) + silent)]
        rows += [exposure_row("layout", unit, variant, tenant=None) for unit in units]
        rows += [rating(unit, float(value)) for unit, value in zip(units, values, strict=False)]
    return log_table("feedback", [{**row, "timestamp": AT} for row in rows])


def compare(table, **more) -> ExperimentReport:
    given = {"experiment": "layout", "outcome": "thumbs", "control": "old"} | more
    return compare_variants(table, **given)


@pytest.mark.parametrize("names", [("new",), ("new", "third", "fourth")])
def test_differences_are_those_of_welchs_test_adjusted_for_their_number(rng, names):
    outcomes = {"old": rng.normal(1.0, 1.0, 45)}
    outcomes |= {name: rng.normal(1.3, 2.0 + i, 31 + 5 * i) for i, name in enumerate(names)}

    report = compare(log(outcomes, silent=7))

    assert [each.variant for each in report.variants] == ["old", *sorted(names)]
    for found in report.variants[1:]:
        theirs = stats.ttest_ind(outcomes[found.variant], outcomes["old"], equal_var=False)
        low, high = theirs.confidence_interval(1 - 0.05 / len(names))
        error = (high - low) / 2
        assert found.difference == pytest.approx(
            outcomes[found.variant].mean() - outcomes["old"].mean()
        )
        assert found.difference_low == pytest.approx(low, abs=0.002 * error)
        assert found.difference_high == pytest.approx(high, abs=0.002 * error)
        assert found.p_value == pytest.approx(min(1, theirs.pvalue * len(names)), rel=1e-6)
        assert found.n_exposed == len(outcomes[found.variant]) + 7


def test_the_mean_of_a_variant_has_the_interval_of_student(rng):
    values = rng.normal(5.0, 2.0, 40)

    (control,) = compare(log({"old": values})).variants

    low, high = stats.t.interval(0.95, 39, loc=values.mean(), scale=stats.sem(values))
    assert (control.mean, control.n_measured) == (pytest.approx(values.mean()), 40)
    assert (control.low, control.high) == (pytest.approx(low), pytest.approx(high))
    assert control.verdict == "no_difference"
    assert math.isnan(control.difference)


def test_two_units_have_the_interval_of_one_degree_of_freedom():
    # the quantile of Student is 12.706; the expansion for it is 11 % too small there
    found = compare(log({"old": [1.0, 2.0], "new": [1.5, 4.5]}), min_units=2).variants[1]
    assert found.high - found.mean == pytest.approx(12.706 * 1.5, rel=0.12)
    theirs = stats.ttest_ind([1.5, 4.5], [1.0, 2.0], equal_var=False)
    assert found.p_value == pytest.approx(theirs.pvalue)


def test_a_small_loss_beyond_chance_is_worse(rng):
    old, new = rng.normal(0.5, 0.1, 90), rng.normal(0.3, 0.1, 90)
    assert compare(log({"old": old, "new": new})).variants[1].verdict == "worse"


def test_the_side_of_the_interval_is_the_verdict(rng):
    noise = rng.normal(0, 1, 50)
    report = compare(log({"old": noise, "worse": noise - 2, "better": noise + 2, "same": noise}))
    verdicts = {each.variant: each.verdict for each in report.variants}
    assert verdicts == {
        "old": "no_difference",
        "worse": "worse",
        "better": "better",
        "same": "no_difference",
    }
    assert report.reason == "better is better; same is no difference; worse is worse"


@pytest.mark.parametrize(
    ("n_old", "n_new", "enough"), [(30, 30, True), (29, 30, False), (30, 29, False)]
)
def test_thirty_units_of_each_are_enough(rng, n_old, n_new, enough):
    report = compare(log({"old": rng.normal(0, 1, n_old), "new": rng.normal(9, 1, n_new)}))
    assert report.variants[1].verdict == ("better" if enough else "insufficient")
    assert report.variants[0].verdict == ("no_difference" if n_old >= 30 else "insufficient")
    if not enough:
        assert report.variants[1].reason == "29 units; 30 are needed"


def test_the_split_is_tested_as_scipy_does(rng):
    table = log({"old": [0.0] * 130, "new": [1.0] * 90, "third": [1.0] * 80})
    shares = {"old": 0.4, "new": 0.35, "third": 0.25}

    report = compare(table, shares=shares)

    expected = stats.chisquare([130, 90, 80], [120, 105, 75])
    assert report.split_p_value == pytest.approx(expected.pvalue)
    assert report.variants[1].verdict != "invalid"


def test_a_split_at_one_and_a_half_in_a_thousand_is_trusted():
    outcomes = {"old": [0.0, 0.1] * 80, "new": [0.9, 1.0] * 54}
    report = compare(log(outcomes), shares={"old": 0.5, "new": 0.5})
    assert 0.001 < stats.chisquare([160, 108]).pvalue < 0.002
    assert 0.001 < report.split_p_value < 0.002
    assert report.variants[1].verdict == "better"


@pytest.mark.parametrize("n_new", [60, 66, 72, 78, 84, 90, 96])
def test_a_split_less_likely_than_one_in_a_thousand_is_not_trusted(n_new):
    outcomes = {"old": [0.0, 0.1] * 80, "new": [0.9, 1.0] * (n_new // 2)}

    report = compare(log(outcomes), shares={"old": 0.6, "new": 0.4})

    n = 160 + n_new
    expected = stats.chisquare([160, n_new], [0.6 * n, 0.4 * n]).pvalue
    assert report.split_p_value == pytest.approx(expected)
    assert report.variants[1].verdict == ("invalid" if expected < 0.001 else "better")


def test_a_variant_that_was_not_planned_or_never_came_makes_the_split_impossible():
    table = log({"old": [0.0, 1.0], "new": [0.0, 1.0]})
    assert compare(table, shares={"old": 1.0}).split_p_value == 0.0
    absent = compare(table, shares={"old": 0.3, "new": 0.3, "third": 0.4}).split_p_value
    expected = stats.chisquare([2, 2, 0], [1.2, 1.2, 1.6]).pvalue
    assert absent == pytest.approx(expected)
    assert math.isnan(compare(table).split_p_value)


def test_a_loud_unit_counts_once_and_other_ratings_do_not():
    rows = [exposure_row("layout", unit, "old", tenant=None) for unit in ("a", "b")]
    rows.append(exposure_row("elsewhere", "c", "old", tenant=None))
    rows += [rating("a", 1.0, number=i) for i in range(9)] + [rating("b", 0.0), rating("c", 7.0)]
    rows += [rating("b", 5.0, name="stars"), rating(None, 5.0)]
    rows.append({**exposure_row("layout", "x", "old", tenant=None), "session_id": None})
    table = log_table("feedback", [{**row, "timestamp": AT} for row in rows])

    (control,) = compare(table).variants

    assert (control.n_exposed, control.n_measured, control.mean) == (2, 2, 0.5)


def test_one_unit_has_a_mean_and_no_interval_and_equal_units_no_p_value():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = compare(log({"old": [1.0] * 40, "new": [1.0] * 40, "one": [3.0]}))
    by_name = {each.variant: each for each in report.variants}
    assert by_name["one"].mean == 3.0
    assert math.isnan(by_name["one"].low)
    assert math.isnan(by_name["one"].difference_low)
    assert math.isnan(by_name["new"].p_value)
    assert by_name["new"].verdict == "no_difference"
