"""What a period will cost, and how sure that is."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flytekitplugins.wbmon.monitor.llm.cost.budgets import judge_budgets, period_bounds
from flytekitplugins.wbmon.monitor.llm.cost.report import Budget, BudgetStatus, DaySpend

NOON = datetime(2026, 3, 16, 12, tzinfo=timezone.utc)  # a Monday: 15.5 days of 31 are over


def history(spends, *, today=0.0, name="global=", unknown=0.0) -> dict[str, DaySpend]:
    """The days before `NOON`, the last of them yesterday, and the day itself."""
    days = [*spends, today]
    first = NOON.date() - timedelta(days=len(spends))
    return {
        (first + timedelta(days=at)).isoformat(): DaySpend(
            cost_usd={name: spend}, n_unknown={name: unknown}
        )
        for at, spend in enumerate(days)
    }


def judged(days, *, at=NOON, **budget) -> BudgetStatus:
    (status,) = judge_budgets([Budget(**{"limit": 1000.0} | budget)], days, at=at)
    return status


@given(st.lists(st.floats(0, 100), min_size=3, max_size=14))
def test_the_interval_is_that_of_a_sum_of_days_to_come_and_of_a_mean_that_was_learned(spends):
    status = judged(history(spends, today=1.0))

    spent, left, n = sum(spends) + 1.0, 15.5, len(spends)
    mean, sd = np.mean(spends), np.std(spends, ddof=1)
    # Var(sum of `left` new days) + left**2 * Var(mean of n days)
    error = sd * math.sqrt(left + left**2 / n)
    low, high = stats.norm.interval(0.8, loc=spent + mean * left, scale=error or 1e-300)
    assert status.forecast_usd == pytest.approx(spent + mean * left)
    assert status.forecast_high == pytest.approx(high, abs=1e-6)
    assert status.forecast_low == pytest.approx(max(spent, low), abs=1e-6)


def test_four_of_five_months_end_within_the_interval():
    rng = np.random.default_rng(0)
    n_months, inside = 1500, 0
    end_of_day = datetime(2026, 3, 16, tzinfo=timezone.utc)  # sixteen whole days are left
    for _ in range(n_months):
        month = rng.normal(100, 20, size=14 + 16)
        days = history(month[:14])
        status = judged(days, at=end_of_day)
        inside += status.forecast_low <= status.spent_usd + month[14:].sum() <= status.forecast_high

    # the deviation is learned from 14 days too, so it is a Student t with 13 degrees of freedom
    expected = 1 - 2 * stats.t.sf(stats.norm.ppf(0.9), df=13)
    error = math.sqrt(expected * (1 - expected) / n_months)
    assert inside / n_months == pytest.approx(expected, abs=4 * error)


def test_two_days_foretell_a_sum_but_no_interval():
    status = judged(history([1.0, 3.0]))

    assert status.forecast_usd == pytest.approx(4 + 2 * 15.5)
    assert math.isnan(status.forecast_low)
    assert math.isnan(status.forecast_high)
    assert not math.isnan(judged(history([1.0, 3.0, 2.0])).forecast_low)


def test_no_forecast_falls_below_what_is_spent():
    status = judged(history([0.0, 0.0, 90.0]))
    assert status.forecast_low == status.spent_usd == 90.0


def test_the_fortnight_before_today_is_learned_from_and_no_day_before_it():
    status = judged(history([1000.0, 7.0, *[2.0] * 13], today=50.0))
    assert status.forecast_usd - status.spent_usd == pytest.approx((7 + 13 * 2) / 14 * 15.5)


def test_a_day_without_calls_cost_nothing():
    days = history([4.0, 9.0, 4.0])
    del days["2026-03-14"]
    status = judged(days)
    assert status.forecast_usd == pytest.approx(8 + 8 / 3 * 15.5)


def test_a_day_on_which_only_others_spend_costs_a_key_nothing():
    days = history([4.0, 9.0, 5.0], name="tenant=a")
    days["2026-03-14"] = DaySpend(cost_usd={"tenant=b": 9.0}, n_unknown={"tenant=b": 7.0})
    status = judged(days, scope="tenant", only="a")
    assert status.forecast_usd == pytest.approx(9 + 9 / 3 * 15.5)
    assert status.n_unknown == 0.0


def test_without_a_whole_day_the_rate_so_far_goes_on():
    status = judged({"2026-03-16": DaySpend(cost_usd={"global=": 3.0})}, period="day")
    assert status.forecast_usd == pytest.approx(6.0)

    midnight = datetime(2026, 3, 16, tzinfo=timezone.utc)
    status = judged({"2026-03-16": DaySpend(cost_usd={"global=": 3.0})}, period="day", at=midnight)
    assert status.forecast_usd == 3.0


def test_only_days_of_the_period_up_to_the_moment_are_spent():
    days = {
        day: DaySpend(cost_usd={"global=": cost}, n_unknown={"global=": cost / 10})
        for day, cost in (
            ("2026-02-28", 1.0),
            ("2026-03-01", 20.0),
            ("2026-03-16", 300.0),
            ("2026-03-17", 4000.0),
        )
    }
    status = judged(days)
    assert status.spent_usd == 320.0
    assert status.n_unknown == pytest.approx(32.0)
    assert status.start == "2026-03-01"


def test_a_moment_is_taken_in_utc():
    kolkata = timezone(timedelta(hours=5, minutes=30))
    early = datetime(2026, 4, 1, 2, tzinfo=kolkata)  # still March in UTC
    assert judged(history([1.0] * 3), at=early).start == "2026-03-01"


def test_a_budget_is_exceeded_above_its_limit_and_at_risk_if_the_period_ends_above_it():
    days = history([1.0] * 5, today=1.0)  # 6 are spent, 15.5 more are to come
    verdicts = {
        limit: judged(days, limit=limit).verdict for limit in (5.99, 6.0, 21.49, 21.5, 30.0)
    }
    assert verdicts == {
        5.99: "exceeded",
        6.0: "at_risk",
        21.49: "at_risk",
        21.5: "ok",
        30.0: "ok",
    }


def test_the_worst_budget_comes_first_and_of_equals_the_fuller_one():
    costs = {"tenant=a": 9.0, "tenant=b": 1.0, "tenant=c": 5.0, "model=x": 99.0, "global=": 15.0}
    days = {"2026-03-16": DaySpend(cost_usd=costs)}
    budgets = [Budget(scope="tenant", period="day", limit=8.0)]

    found = judge_budgets(budgets, days, at=NOON)

    # by noon c has spent 5 of 8 and will have spent 10
    assert [(each.key, each.verdict) for each in found] == [
        ("a", "exceeded"),
        ("c", "at_risk"),
        ("b", "ok"),
    ]
    found = judge_budgets([Budget(scope="tenant", period="day", limit=100.0)], days, at=NOON)
    assert [each.key for each in found] == ["a", "c", "b"]
    (one,) = judge_budgets(
        [Budget(scope="tenant", only="b", period="day", limit=100.0)], days, at=NOON
    )
    assert (one.key, one.spent_usd) == ("b", 1.0)


@pytest.mark.parametrize(
    ("period", "first", "following"),
    [
        ("day", date(2026, 3, 16), date(2026, 3, 17)),
        ("week", date(2026, 3, 16), date(2026, 3, 23)),
        ("month", date(2026, 3, 1), date(2026, 4, 1)),
    ],
)
def test_a_period_ends_where_the_next_begins(period, first, following):
    assert period_bounds(period, NOON) == (first, following)


@given(st.datetimes(timezones=st.just(timezone.utc)).filter(lambda moment: moment.year < 9999))
def test_weeks_begin_on_monday_and_months_on_the_first(moment):
    start, end = period_bounds("week", moment)
    assert start.isoweekday() == end.isoweekday() == 1
    assert start <= moment.date() < end
    start, end = period_bounds("month", moment)
    assert (start.day, end.day) == (1, 1)
    assert start <= moment.date() < end <= start + timedelta(days=31)
