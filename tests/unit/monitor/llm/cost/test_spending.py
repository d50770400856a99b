"""Each call counts once, however the windows that report it are cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.llm import Budget, PriceTable
from flytekitplugins.wbmon.monitor.llm.cost.report import DaySpend, UsageReport
from flytekitplugins.wbmon.monitor.llm.cost.track import summarise_usage
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

START = datetime(2026, 10, 28, tzinfo=timezone.utc)  # a Wednesday, four days before a month ends
NOVEMBER = datetime(2026, 11, 1, tzinfo=timezone.utc)
N_HOURS = 10 * 24
PRICES = PriceTable(
    [{"model": "m", "input_usd_per_mtok": 1e6, "output_usd_per_mtok": 0.0}], builtin=False
)
SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("us", "UTC")),
        ("gen_ai_response_model", pa.string()),
        ("tenant", pa.string()),
        ("gen_ai_usage_input_tokens", pa.int64()),
        ("gen_ai_usage_output_tokens", pa.int64()),
    ]
)
BUDGETS = [
    Budget(period=period, scope=scope, limit=1e9)
    for period in ("day", "week", "month")
    for scope in ("global", "tenant")
]
# a call is its hour since the start, its cost in dollars, and who made it
Call = tuple[float, int, str]
# whole hours meet the ends of days and of windows
HOURS = st.one_of(
    st.integers(0, N_HOURS).map(float), st.integers(0, N_HOURS * 3600).map(lambda s: s / 3600)
)
CALLS = st.lists(
    st.tuples(HOURS, st.integers(1, 1000), st.sampled_from(["a", "b", "?"])),
    min_size=1,
    max_size=20,
)
CUTS = st.lists(HOURS, max_size=8).map(sorted)


def table(calls: Sequence[Call]) -> pa.Table:
    """A log; the price of what `?` asks for is unknown."""
    rows = [
        {
            "timestamp": START + timedelta(hours=hour),
            "gen_ai_response_model": "other" if who == "?" else "m",
            "tenant": who,
            "gen_ai_usage_input_tokens": cost,
            "gen_ai_usage_output_tokens": 0,
        }
        for hour, cost, who in calls
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def judged(calls: Sequence[Call], previous: UsageReport | None = None, **given_: object):
    return summarise_usage(
        table(calls), PRICES, by=("tenant",), budgets=BUDGETS, previous=previous, **given_
    )


def windows(calls: Sequence[Call], cuts: Sequence[float]) -> list[list[Call]]:
    """The calls of `[0, first cut)`, `[first cut, second cut)` and so on."""
    ends = [0.0, *cuts, N_HOURS + 1.0]
    return [[call for call in calls if begin <= call[0] < end] for begin, end in pairwise(ends)]


def chained(parts: Sequence[Sequence[Call]], **given_: object) -> UsageReport:
    """The report of the last window; each is stored before the next one reads it."""
    report = None
    for part in parts:
        found = judged(part, report, **given_)
        report = record_from_json(UsageReport, record_to_json(found))
    assert report is not None
    return report


@settings(deadline=None, max_examples=40)
@given(CALLS, CUTS, st.data())
def test_windows_cut_anywhere_and_one_judged_again_spend_what_one_pass_does(calls, cuts, data):
    parts = windows(calls, cuts)
    again = data.draw(st.integers(0, len(parts) - 1))
    at = START + timedelta(hours=N_HOURS)

    one_pass = judged(calls, at=at)
    for order in ([*parts, parts[again]], [*parts[: again + 1], *parts[again:]]):
        report = chained(order, at=at)
        assert sums(report) == sums(one_pass)
        # of periods that ended before the last window, only the one pass tells
        told = {status_of(each) for each in report.budgets}
        assert told <= {status_of(each) for each in one_pass.budgets}
        assert current(report, at) == current(one_pass, at)


@settings(deadline=None, max_examples=20)
@given(CALLS, st.integers(10, 60), st.integers(1, 60))
def test_windows_that_overlap_count_each_call_once(calls, step, more):
    """Every `step` hours, a window of the last `step + more` hours."""
    parts = [
        [call for call in calls if end - step - more <= call[0] < end]
        for end in range(step, N_HOURS + step + 1, step)
    ]
    assert sums(chained(parts)) == sums(judged(calls))


@settings(deadline=None, max_examples=20)
@given(CALLS, CUTS, st.randoms(use_true_random=False))
def test_windows_that_are_made_up_for_later_count_in_any_order(calls, cuts, random):
    parts = windows(calls, cuts)
    random.shuffle(parts)
    assert sums(chained(parts)) == sums(judged(calls))


def sums(report: UsageReport) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Whole dollars, so that no order of addition makes a difference."""
    return {day: (dict(each.cost_usd), dict(each.n_unknown)) for day, each in report.days.items()}


def current(report: UsageReport, at: datetime) -> set[tuple]:
    """The budgets of the day, the week and the month of a moment."""
    day = at.date()
    starts = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}
    return {
        status_of(each)
        for each in report.budgets
        if each.start == starts[each.budget.period].isoformat()
    }


def status_of(status) -> tuple:
    return (status.budget, status.key, status.start, status.spent_usd, status.n_unknown)


@pytest.mark.parametrize("hour", [0, 2, 8, 16, 22])
def test_a_job_at_any_hour_spends_what_was_spent(hour: int) -> None:
    """Ten windows of a day, from that hour on, with a dollar every half hour."""
    calls = [(hour + n / 2, 1, "a") for n in range(10 * 48)]
    parts = [calls[48 * day : 48 * (day + 1)] for day in range(10)]
    budget = Budget(period="month", limit=1e9)
    report = None
    for part in parts:
        report = summarise_usage(table(part), PRICES, budgets=[budget], previous=report)
    november = sum(START + timedelta(hours=at) >= NOVEMBER for at, _, _ in calls)
    assert report.budgets[0].spent_usd == november
    # at 48 dollars a day; the day on which the first window began is not taken for a whole one
    left = (NOVEMBER + timedelta(days=30) - report.end_at) / timedelta(days=1)
    assert report.budgets[0].forecast_usd == pytest.approx(november + 48 * left)


def test_a_period_that_ends_within_a_window_is_judged_to_its_end() -> None:
    """From 22:00 to 22:00: six dollars before, and six in the last two hours of the day."""
    first = [(0.0, 1, "a"), (21.0, 5, "a")]
    second = [(22.5, 3, "a"), (23.5, 3, "a"), (30.0, 1, "a")]
    budget = Budget(period="day", limit=10.0)
    before = summarise_usage(table(first), PRICES, budgets=[budget])
    report = summarise_usage(table(second), PRICES, budgets=[budget], previous=before)

    assert not before.over_budget
    found = [(each.start, each.spent_usd, each.verdict) for each in report.budgets]
    assert found == [("2026-10-28", 12.0, "exceeded"), ("2026-10-29", 1.0, "ok")]
    assert report.budgets[0].forecast_usd == 12.0
    shares = [m for m in report.measurements() if m.name == "spent_share.day.global"]
    assert [m.value for m in shares] == [1.2]


def test_a_window_of_a_week_judges_the_budget_of_each_of_its_days() -> None:
    calls = [(24.0 * day + 1, 20 if day == 3 else 1, "a") for day in range(7)]
    report = summarise_usage(table(calls), PRICES, budgets=[Budget(period="day", limit=10.0)])
    assert [each.start for each in report.budgets if each.verdict == "exceeded"] == ["2026-10-31"]
    assert report.over_budget


def test_a_late_row_counts_when_its_window_is_judged_again() -> None:
    first = judged([(1.0, 1, "a"), (30.0, 1, "a")])
    second = judged([(31.0, 2, "a"), (40.0, 2, "a")], first)
    again = judged([(31.0, 2, "a"), (33.0, 7, "a"), (40.0, 2, "a")], second)
    assert sum(each.cost_usd["global="] for each in again.days.values()) == 13.0


def test_a_window_without_calls_leaves_what_was_spent_and_judges_it() -> None:
    before = summarise_usage(table([(1.0, 7, "a")]), PRICES, budgets=[Budget(limit=5)])
    report = summarise_usage(table([]), PRICES, budgets=[Budget(limit=5)], previous=before)

    assert sums(report) == sums(before)
    assert [each.verdict for each in report.budgets] == ["exceeded"]
    assert report.unmeasured == "no LLM call in this window"
    assert "is exceeded" in report.reason


def test_days_of_an_older_report_are_read_and_go_on() -> None:
    """Its days have no windows: its own are from its first to its last call, earlier ones whole."""
    old = summarise_usage(table([(46.0, 4, "a"), (69.0, 4, "a")]), PRICES)
    days = {day: DaySpend(cost_usd=each.cost_usd) for day, each in old.days.items()}
    stored = UsageReport(
        start_at=old.start_at,
        end_at=old.end_at,
        total=old.total,
        groups={},
        days={"2026-10-28": DaySpend(cost_usd={"global=": 1.0}), **days},
        reason="",
    )
    report = judged([(69.5, 8, "a"), (73.0, 16, "a")], stored)
    totals = {day: each.cost_usd["global="] for day, each in report.days.items()}
    assert totals == {"2026-10-28": 1.0, "2026-10-29": 4.0, "2026-10-30": 12.0, "2026-10-31": 16.0}


def test_windows_long_past_are_kept_as_one_and_still_not_counted_twice() -> None:
    hours = [[(float(hour), 1, "a")] for hour in range(N_HOURS)]
    report = chained(hours)
    assert len(report.days["2026-10-28"].windows) == 1
    assert len(report.days["2026-11-06"].windows) == 24
    again = chained([*hours, hours[5], [(5.5, 1, "a")]])
    assert again.days["2026-10-28"].cost_usd["global="] == 25.0


def test_a_budget_newer_than_the_month_knows_that_days_before_it_were_not_counted_so() -> None:
    """By tenant from the second day on: what each spent on the first is unknown."""
    first = summarise_usage(table([(1.0, 5, "a")]), PRICES, by=("model",))
    by_tenant = Budget(scope="tenant", period="week", limit=100.0)
    later = table([(30.0, 1, "a")])
    report = summarise_usage(later, PRICES, budgets=[by_tenant], previous=first)

    (status,) = report.budgets
    assert (status.verdict, status.spent_usd, status.n_days_unknown) == ("unknown", 1.0, 1)
    assert "without 1 days that were not counted by this scope" in report.reason
    of_all = summarise_usage(later, PRICES, budgets=[Budget(limit=100.0)], previous=first)
    assert (of_all.budgets[0].verdict, of_all.budgets[0].spent_usd) == ("ok", 6.0)


def test_a_report_that_an_older_version_stored_is_read() -> None:
    text = json.loads(record_to_json(judged([(1.0, 5, "a"), (25.0, 5, "?")])))
    for day in text["days"].values():
        del day["windows"]
    for status in text["budgets"]:
        del status["n_days_unknown"]
    old = record_from_json(UsageReport, json.dumps(text))
    report = judged([(26.0, 7, "a")], old)
    assert report.days["2026-10-29"].cost_usd["global="] == 7.0
    assert report.days["2026-10-29"].n_unknown["global="] == 1.0
    assert report.days["2026-10-28"].cost_usd["global="] == 5.0
