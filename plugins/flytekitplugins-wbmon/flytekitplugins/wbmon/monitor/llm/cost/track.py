"""Tokens and cost of the LLM calls of a window by dimension, and the state of budgets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.arguments import listed, moment
from flytekitplugins.wbmon.data.open import Data, open_source
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.llm.cost.budgets import judge_budgets
from flytekitplugins.wbmon.monitor.llm.cost.report import (
    SCOPES,
    Budget,
    BudgetStatus,
    DaySpend,
    Usage,
    UsageReport,
)
from flytekitplugins.wbmon.monitor.llm.cost.rows import COLUMNS, UsageRows
from flytekitplugins.wbmon.monitor.llm.cost.spending import CallCosts, Spending, encoded

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from flytekitplugins.wbmon.monitor.llm.cost.prices import PriceTable

    Floats = NDArray[np.float64]

DIMENSIONS = ("model", "tenant", "user", "endpoint", "prompt", "service", "purpose")
KEPT_DAYS = 62
# by which the clock of a server may be fast, and as much as zones differ
_FAST_CLOCK = timedelta(days=1)


def summarise_usage(
    data: Data,
    prices: PriceTable,
    *,
    by: Sequence[str] = ("model", "tenant", "endpoint", "prompt"),
    budgets: Sequence[Budget] = (),
    previous: UsageReport | None = None,
    at: datetime | None = None,
) -> UsageReport:
    """Summarise the LLM calls of a window.

    Rows are weighted by `sample_weight`, so the sums of a sampled log estimate those of all calls.
    Rows without a language model are left out. A call without a readable time, or with one before
    2000 or more than a day after the clock and `at`, is taken to be of the time of the row before
    it; if none has one, of `at`. Weights, costs and token counts that are no numbers of 0 or more
    are as if they were missing. Both are counted. Calls that are dated on days after that of `at`
    count in its period.

    Args:
        data: A call log or prediction log, see the data contract.
        prices: Prices by model and time; without a price, the `cost_usd` of the row is used.
        by: Dimensions to group by: `model`, `tenant`, `user`, `endpoint`, `prompt`, `service`,
            `purpose`.
        budgets: Spending limits.
        previous: The report of the previous window, with the spending of earlier windows of the
            budget periods. Windows may begin at any hour, overlap and be judged again: each call
            counts once. What an earlier window counted from its first to its last call of a day is
            taken from this window where this one covers it, else from the earlier one.
        at: Time at which budgets are evaluated; that of the last call if None.

    Raises:
        ConfigError: If `at` is no moment, or `by` or `budgets` are no sequences.
        DataError: If the log has no `timestamp`, or a dimension is unknown.
    """
    by, budgets = listed("by", by, "dimensions"), listed("budgets", budgets, "budgets")
    unknown = set(by) - set(DIMENSIONS)
    if unknown:
        raise DataError(f"by must be of {', '.join(DIMENSIONS)}; got {', '.join(sorted(unknown))}")
    at = None if at is None else moment("at", at)
    tally = _Tally(prices=prices, spending=Spending(previous), at=at)
    # budgets need sums by their scope even if the report does not show them
    dimensions = tuple(dict.fromkeys([*by, *(b.scope for b in budgets if b.scope != "global")]))
    for batch in _batches(data):
        tally.add(batch, dimensions)
    days = tally.spending.days()
    # without a call, the budgets are those of the last call before
    end = at or tally.spending.last_at
    ahead = tally.spending.after(end.date()) if end else DaySpend()
    statuses: tuple[BudgetStatus, ...] = ()
    if end:
        statuses = judge_budgets(budgets, days, at=end, since=tally.start_at, ahead=ahead)
    total = tally.usage("", "")
    report = UsageReport(
        start_at=tally.start_at,
        end_at=tally.end_at,
        total=total,
        groups={name: tally.groups(name) for name in by},
        days=_recent(days),
        budgets=statuses,
        models_without_price=tuple(sorted(tally.without_price)),
        n_undated=tally.beside["n_undated"],
        n_ahead=tally.beside["n_ahead"],
        n_unreadable=tally.beside["n_unreadable"],
        reason="",
    )
    return replace(report, reason=_reason(report))


@dataclass(kw_only=True)
class _Tally:
    """Running sums by dimension, key and day."""

    prices: PriceTable
    spending: Spending
    sums: dict[tuple[str, str], dict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    beside: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    without_price: set[str] = field(default_factory=set)
    at: datetime | None
    clock: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    start_at: datetime | None = None
    end_at: datetime | None = None

    def add(self, batch: pa.Table, dimensions: Sequence[str]) -> None:
        """Count the rows of a batch."""
        undated_at = self.end_at or self.at or self.clock
        rows = UsageRows(batch, undated_at, max(self.at or self.clock, self.clock) + _FAST_CLOCK)
        called = rows.called()
        if not called.any():
            return
        times = [at for at, is_call in zip(rows.times, called, strict=True) if is_call]
        self.start_at = min(filter(None, (self.start_at, *times)))
        self.end_at = max(filter(None, (self.end_at, *times)))
        measures = rows.measures(self.prices, self.without_price)
        costs = CallCosts(
            cost_usd=measures["cost_usd"][called],
            n_unknown=(measures["n_no_usage"] + measures["n_unknown_price"])[called],
            n_bounded=measures.pop("n_bounded")[called],
            n_known=measures.pop("n_priced")[called],
            dearest_usd=measures.pop("dearest_usd")[called],
        )
        for name in ("n_undated", "n_unreadable"):
            self.beside[name] += float(measures.pop(name)[called].sum())
        if self.at is not None:
            is_ahead = np.array([at.date() > self.at.date() for at in times])
            self.beside["n_ahead"] += float(measures["n_calls"][called][is_ahead].sum())
        self._add_groups("", [""] * len(called), called, measures)
        scopes: dict[str, Sequence[str]] = {"global": [""] * len(times)}
        for name in dimensions:
            keys = rows.keys(name)
            self._add_groups(name, keys, called, measures)
            if name in SCOPES:
                scopes[name] = [key for key, is_call in zip(keys, called, strict=True) if is_call]
        self.spending.add(times, scopes, costs)

    def _add_groups(
        self, name: str, keys: Sequence[str], called: NDArray[np.bool_], measures: dict[str, Floats]
    ) -> None:
        labels, index = encoded(keys)
        for measure, values in measures.items():
            totals = np.bincount(index[called], values[called], minlength=len(labels))
            for label, total in zip(labels, totals.tolist(), strict=True):
                self.sums[name, label][measure] += total

    def usage(self, dimension: str, key: str) -> Usage:
        """The sums of one group."""
        found = dict(self.sums.get((dimension, key), {}))
        n_rows = int(found.pop("n_rows", 0))
        error = math.sqrt(found.pop("cost_error", 0.0))
        return Usage(key=key, n_rows=n_rows, cost_error=error, **found)

    def groups(self, dimension: str) -> tuple[Usage, ...]:
        """The groups of a dimension, the most expensive first."""
        keys = [key for name, key in self.sums if name == dimension]
        found = [self.usage(dimension, key) for key in keys]
        # keys of rows that are no LLM calls have sums of 0
        found = [each for each in found if each.n_rows]
        return tuple(sorted(found, key=lambda each: (-each.cost_usd, -each.n_calls, each.key)))


def _batches(data: Data) -> Iterator[pa.Table]:
    import pyarrow as pa

    source = open_source(data)
    if "timestamp" not in source.names:
        raise DataError(
            "a call log must have a column 'timestamp', found "
            f"{', '.join(source.names) or 'no column'}; see the data contract"
        )
    present = [name for name in COLUMNS if name in source.names]
    for part in source.parts():
        for batch in part(present):
            yield pa.Table.from_batches([batch])


def _recent(days: Mapping[str, DaySpend]) -> dict[str, DaySpend]:
    """The last two months of days, which later reports may need."""
    return {day: days[day] for day in sorted(days)[-KEPT_DAYS:]}


def _reason(report: UsageReport) -> str:
    return "; ".join(filter(None, (_found(report.total, report.budgets), *_odd(report))))


def _odd(report: UsageReport) -> Iterator[str]:
    """What is wrong with the log."""
    if report.n_ahead:
        yield f"{report.n_ahead:,.0f} calls are dated on days after the evaluation, and count"
    if report.n_undated:
        yield f"{report.n_undated:,.0f} calls have no possible time: that of a call before is taken"
    if report.n_unreadable:
        yield f"{report.n_unreadable:,.0f} calls have an impossible weight, cost or token count"


def _found(total: Usage, budgets: Sequence[BudgetStatus]) -> str:
    cost = _cost(total)
    if not budgets:
        return cost
    if budgets[0].verdict == "ok":
        doubtful = max(budgets, key=lambda status: status.unknown_usd)
        return cost + _held(doubtful) * bool(doubtful.n_unknown)
    worst = budgets[0]
    whose = f"{worst.budget.scope} {worst.key}".strip()
    limit, beside = _usd(worst.budget.limit), _without(worst.n_unknown)
    if worst.n_days_unknown:
        beside += f", without {worst.n_days_unknown} days that were not counted by this scope"
    words = f"the {worst.budget.period} budget of {whose}"
    if worst.verdict == "unknown":
        return f"{cost}; {words} is unknown: {_usd(worst.spent_usd)} of {limit} spent{beside}"
    words += " is exceeded" if worst.verdict == "exceeded" else " will be exceeded"
    return (
        f"{cost}; {words}: {_usd(worst.spent_usd)} spent{beside}, "
        f"{_usd(worst.forecast_usd)} expected, {limit} allowed"
    )


def _held(status: BudgetStatus) -> str:
    n, usd = f"{status.n_unknown:,.0f}", _usd(status.unknown_usd)
    return (
        f"; every budget holds even if {n} calls of unknown cost were each as dear as the dearest "
        f"known one ({usd})"
    )


def _cost(total: Usage) -> str:
    if not total.n_rows:
        return "no LLM call in this window"
    if not total.is_priced:
        return f"the cost of none of {total.n_calls:,.0f} calls is known"
    cost = f"{total.n_calls:,.0f} calls cost {_usd(total.cost_usd)}"
    if total.cost_error > 0:
        cost += f" ± {_usd(1.96 * total.cost_error)}"
    return cost + _without(total.n_unpriced)


def _without(n_unknown: float) -> str:
    return f", without {n_unknown:,.0f} calls of unknown cost" if n_unknown else ""


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.3g}"
