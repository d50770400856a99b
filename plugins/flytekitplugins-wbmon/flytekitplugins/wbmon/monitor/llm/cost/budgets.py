"""Comparison of spending with budgets, and a forecast to the end of each period."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import NamedTuple

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.monitor.llm.cost.report import (
    Budget,
    BudgetStatus,
    BudgetVerdict,
    DaySpend,
    WindowSpend,
)

# two weeks, so that each weekday occurs equally often
_LEARNED_DAYS = 14
_MIN_DAYS = 3
# after midnight; a service may be quiet until then
_LATE = timedelta(hours=1)
_Z80 = 1.2815515655446004
_ORDER = ("exceeded", "at_risk", "unknown", "ok")


class _Spent(NamedTuple):
    """Spending by day, what is dated on days after the evaluation, and the time of that."""

    days: Mapping[str, DaySpend]
    ahead: DaySpend
    at: datetime

    def at_most(self, n_unknown: float, n_bounded: float) -> float:
        """What calls of unknown cost cost if each is as dear as the dearest call that is known.

        Infinite if fewer calls are known than not, or if one of these has no price: it may be any.
        """
        if not n_unknown:
            return 0.0
        every = (self.ahead, *self.days.values())
        n_known = math.fsum(each.n_known for each in every)
        # sums of weights are rounded
        is_bounded = n_bounded >= n_unknown * (1 - 1e-9)
        if not is_bounded or n_known < n_unknown:
            return math.inf
        return n_unknown * max(each.dearest_usd for each in every)


def judge_budgets(
    budgets: Sequence[Budget],
    days: Mapping[str, DaySpend],
    *,
    at: datetime,
    since: datetime | None = None,
    ahead: DaySpend | None = None,
) -> tuple[BudgetStatus, ...]:
    """Evaluate each budget for every key to which it applies.

    The forecast is the amount spent, plus the mean of the last 14 whole days for each remaining day
    of the period. Without a whole day, the rate of the period so far is used. Its 80 % interval
    assumes independent, normally distributed days.

    Args:
        budgets: The spending limits.
        days: Spending by day, `YYYY-MM-DD` in UTC.
        at: Time of the evaluation; UTC without a time zone.
        since: Start of the window, whose last hours may have been those of an earlier period; None
            for `at`.
        ahead: Spending of the window that is dated on days after `at`, by a clock that is fast; it
            counts in the period of `at`.

    Returns:
        One status per budget and key, worst first; a further one for each period that ended since
        `since` and was not `ok`.
    """
    at = moment("at", at)
    since = at if since is None else min(moment("since", since), at)
    counted = _Spent(days=days, ahead=ahead or DaySpend(), at=at)
    found = []
    for budget in budgets:
        periods = _periods(budget.period, days, since, at)
        for key in _keys(budget, [*days.values(), counted.ahead]):
            *ended, now = (_judge(budget, key, counted, bounds) for bounds in periods)
            found += [now, *(status for status in ended if status.verdict != "ok")]
    return tuple(sorted(found, key=lambda each: (_ORDER.index(each.verdict), -each.share)))


def period_bounds(period: str, at: datetime) -> tuple[date, date]:
    """First day of the period that contains a time, and first day of the next period."""
    day = at.date()
    if period == "day":
        return day, day + timedelta(days=1)
    if period == "week":
        start = day - timedelta(days=day.weekday())
        return start, start + timedelta(days=7)
    start = day.replace(day=1)
    # no month has more than 31 days, so this is a day of the next one
    return start, (start + timedelta(days=31)).replace(day=1)


def _periods(
    period: str, days: Mapping[str, DaySpend], since: datetime, at: datetime
) -> list[tuple[date, date]]:
    """The periods from `since` to `at` in which something was spent, and that of `at`, in order."""
    first, now = period_bounds(period, since), period_bounds(period, at)
    spent = {period_bounds(period, datetime.fromisoformat(day)) for day in days}
    return sorted({now, *(bounds for bounds in spent if first <= bounds <= now)})


def _keys(budget: Budget, spends: Iterable[DaySpend]) -> list[str]:
    if budget.scope == "global":
        return [""]
    if budget.only:
        return [budget.only]
    prefix = f"{budget.scope}="
    named = {name for spend in spends for name in spend.cost_usd if name.startswith(prefix)}
    return sorted(name.removeprefix(prefix) for name in named)


def _judge(budget: Budget, key: str, counted: _Spent, bounds: tuple[date, date]) -> BudgetStatus:
    start, end = bounds
    days = counted.days
    first, following = (datetime.combine(day, time(), tzinfo=timezone.utc) for day in bounds)
    at = min(counted.at, following)
    name = f"{budget.scope}={key}"
    inside = [
        spend
        for day, spend in days.items()
        if start <= date.fromisoformat(day) <= at.date() and date.fromisoformat(day) < end
    ]
    if at < following:
        inside.append(counted.ahead)
    spent = math.fsum(spend.cost_usd.get(name, 0.0) for spend in inside)
    n_unknown = math.fsum(spend.n_unknown.get(name, 0.0) for spend in inside)
    n_bounded = math.fsum(spend.n_bounded.get(name, 0.0) for spend in inside)
    unknown_usd = counted.at_most(n_unknown, n_bounded)
    n_days_unknown = sum(not _is_counted(budget.scope, spend) for spend in inside)
    left, elapsed = ((following - at) / timedelta(days=1), (at - first) / timedelta(days=1))
    rate, deviation, n = _daily(name, days, at.date())
    if n == 0:
        rate = spent / elapsed if elapsed > 0 else 0.0
    forecast = spent + rate * left
    # of the days to come, and of the mean that was learned from n days
    reach = _Z80 * deviation * math.sqrt(left + left * left / n) if n >= _MIN_DAYS else math.nan
    return BudgetStatus(
        budget=budget,
        key=key,
        start=start.isoformat(),
        spent_usd=spent,
        forecast_usd=forecast,
        # spending never goes down, so the interval starts at what is spent
        forecast_low=math.nan if math.isnan(reach) else max(spent, forecast - reach),
        forecast_high=forecast + reach,
        n_unknown=n_unknown,
        n_days_unknown=n_days_unknown,
        unknown_usd=unknown_usd,
        verdict=_verdict(
            spent, forecast, math.inf if n_days_unknown else unknown_usd, budget.limit
        ),
    )


def _is_counted(scope: str, spend: DaySpend) -> bool:
    """Whether the windows of a day counted by a scope; a budget may be newer than they are."""
    parts: Sequence[DaySpend | WindowSpend] = spend.windows or (spend,)
    return all(
        any(name.startswith(f"{scope}=") for name in part.cost_usd)
        for part in parts
        if part.cost_usd
    )


def _daily(name: str, days: Mapping[str, DaySpend], today: date) -> tuple[float, float, int]:
    """Mean and standard deviation of the last whole days, and their number; missing days are 0."""
    # today is not over yet, so it would lower the mean
    known = sorted(day for day in days if date.fromisoformat(day) < today)
    if known and _begins_late(known[0], days[known[0]]):
        del known[0]
    if not known:
        return 0.0, 0.0, 0
    n = min(_LEARNED_DAYS, (today - date.fromisoformat(known[0])).days)
    spends = [
        days[day].cost_usd.get(name, 0.0) if day in days else 0.0
        for day in ((today - timedelta(days=back)).isoformat() for back in range(1, n + 1))
    ]
    mean = math.fsum(spends) / n
    variance = math.fsum((spend - mean) ** 2 for spend in spends) / max(n - 1, 1)
    return mean, math.sqrt(variance), n


def _begins_late(day: str, spend: DaySpend) -> bool:
    """Whether the first window began within a day, which then is no whole one."""
    first = min((each.spans[0][0] for each in spend.windows), default=None)
    midnight = datetime.combine(date.fromisoformat(day), time(), tzinfo=timezone.utc)
    return first is not None and first - midnight > _LATE


def _verdict(spent: float, forecast: float, unknown: float, limit: float) -> BudgetVerdict:
    if spent > limit:
        return "exceeded"
    if forecast > limit:
        return "at_risk"
    # as many calls of unknown cost are to be expected for the rest of the period as there were
    share = forecast / spent if spent else 1.0
    return "unknown" if unknown and forecast + unknown * share > limit else "ok"
