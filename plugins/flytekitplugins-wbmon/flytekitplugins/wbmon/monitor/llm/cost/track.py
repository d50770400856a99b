"""Tokens and cost of the LLM calls of a window by dimension, and the state of budgets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from flytekitplugins.wbmon.arguments import listed, moment
from flytekitplugins.wbmon.data.open import Data, open_source
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.cost.budgets import judge_budgets
from flytekitplugins.wbmon.monitor.llm.cost.report import (
    SCOPES,
    Budget,
    BudgetStatus,
    DaySpend,
    Usage,
    UsageReport,
)
from flytekitplugins.wbmon.monitor.llm.cost.spending import Spending, encoded

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from flytekitplugins.wbmon.monitor.llm.cost.prices import PriceTable

    Floats = NDArray[np.float64]

DIMENSIONS = ("model", "tenant", "user", "endpoint", "prompt", "service", "purpose")
KEPT_DAYS = 62
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "reasoning_output_tokens",
)
_COLUMNS = (
    "timestamp",
    "service",
    "tenant",
    "user_hash",
    "route",
    "error_type",
    "sample_weight",
    "finish_reason",
    "prompt_name",
    "prompt_version",
    "purpose",
    "cost_usd",
    "attempts",
    "retries",
    "rate_limited",
    "fallback_from",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
    *(f"gen_ai_usage_{name}" for name in _TOKENS),
)
_UNNAMED = "(none)"


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
    Rows without a language model are left out. A call without a readable time is taken to be of the
    time of the row before it; if none has one, of `at`.

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
    undated_at = at or datetime.now(timezone.utc)
    tally = _Tally(prices=prices, spending=Spending(previous), undated_at=undated_at)
    # budgets need sums by their scope even if the report does not show them
    dimensions = tuple(dict.fromkeys([*by, *(b.scope for b in budgets if b.scope != "global")]))
    for batch in _batches(data):
        tally.add(batch, dimensions)
    days = tally.spending.days()
    # without a call, the budgets are those of the last call before
    end = at or tally.spending.last_at
    statuses = judge_budgets(budgets, days, at=end, since=tally.start_at) if end else ()
    total = tally.usage("", "")
    return UsageReport(
        start_at=tally.start_at,
        end_at=tally.end_at,
        total=total,
        groups={name: tally.groups(name) for name in by},
        days=_recent(days),
        budgets=statuses,
        models_without_price=tuple(sorted(tally.without_price)),
        reason=_reason(total, statuses),
    )


@dataclass(kw_only=True)
class _Tally:
    """Running sums by dimension, key and day."""

    prices: PriceTable
    spending: Spending
    sums: dict[tuple[str, str], dict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    without_price: set[str] = field(default_factory=set)
    undated_at: datetime
    start_at: datetime | None = None
    end_at: datetime | None = None

    def add(self, batch: pa.Table, dimensions: Sequence[str]) -> None:
        """Count the rows of a batch."""
        rows = _Rows(batch, self.end_at or self.undated_at)
        called = rows.called()
        if not called.any():
            return
        times = [at for at, is_call in zip(rows.times, called, strict=True) if is_call]
        self.start_at = min(filter(None, (self.start_at, *times)))
        self.end_at = max(filter(None, (self.end_at, *times)))
        measures = rows.measures(self.prices, self.without_price)
        self._add_groups("", [""] * len(called), called, measures)
        scopes: dict[str, Sequence[str]] = {"global": [""] * len(times)}
        for name in dimensions:
            keys = rows.keys(name)
            self._add_groups(name, keys, called, measures)
            if name in SCOPES:
                scopes[name] = [key for key, is_call in zip(keys, called, strict=True) if is_call]
        unpriced = measures["n_no_usage"] + measures["n_unknown_price"]
        self.spending.add(times, scopes, measures["cost_usd"][called], unpriced[called])

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


class _Rows:
    """Columns of a batch as arrays; columns that the log lacks are empty."""

    def __init__(self, batch: pa.Table, undated_at: datetime) -> None:
        self._columns: dict[str, list[Any]] = {
            name: batch.column(name).to_pylist() for name in batch.schema.names
        }
        self._n = batch.num_rows
        self.times = _filled(map(_time, self.values("timestamp")), undated_at)

    def values(self, name: str) -> list[Any]:
        """A column, None where there is no value."""
        return self._columns.get(name) or [None] * self._n

    def number(self, name: str, otherwise: float) -> Floats:
        """A column of numbers."""
        filled = (otherwise if value is None else float(value) for value in self.values(name))
        return np.fromiter(filled, dtype=np.float64, count=self._n)

    def present(self, name: str) -> NDArray[np.bool_]:
        """True where a column has a value that is neither null, empty nor zero."""
        return np.fromiter(map(bool, self.values(name)), dtype=np.bool_, count=self._n)

    def called(self) -> NDArray[np.bool_]:
        """True for rows that are calls of a language model."""
        return self.present("gen_ai_request_model") | self.present("gen_ai_response_model")

    def models(self) -> list[str]:
        """The model that answered, else the requested one."""
        asked, answered = self.values("gen_ai_request_model"), self.values("gen_ai_response_model")
        return [b or a or _UNNAMED for a, b in zip(asked, answered, strict=True)]

    def keys(self, dimension: str) -> list[str]:
        """The group of each row."""
        if dimension == "model":
            return self.models()
        if dimension == "prompt":
            parts = zip(self.values("prompt_name"), self.values("prompt_version"), strict=True)
            return ["@".join(filter(None, (name, (version or "")[:12]))) or _UNNAMED
                    for name, version in parts]  # fmt: skip
        column = {"user": "user_hash", "endpoint": "route"}.get(dimension, dimension)
        return [str(value) if value else _UNNAMED for value in self.values(column)]

    def measures(self, prices: PriceTable, without_price: set[str]) -> dict[str, Floats]:
        """The weighted contribution of each row to the sums."""
        weight = self.number("sample_weight", 1.0)
        cost, has_usage = self._costs(prices)
        failed = self.present("error_type")
        priced = ~np.isnan(cost)
        unknown = ~priced & has_usage
        models = self.models()
        without_price.update(models[i] for i in np.flatnonzero(unknown & self.called()))
        known_cost = np.where(priced, cost, 0.0)
        attempts = self.number("attempts", 1.0)
        counts = {
            "n_calls": np.ones(self._n),
            "n_errors": failed,
            # a call that was logged was attempted at least once, whatever the client counted
            "n_attempts": np.maximum(attempts, 1.0),
            "n_retried": (attempts > 1) | (self.number("retries", 0.0) > 0),
            "n_rate_limited": self.present("rate_limited"),
            "n_fallback": self.present("fallback_from"),
            "n_truncated": np.array([r == "length" for r in self.values("finish_reason")]),
            "n_no_usage": ~priced & ~has_usage & ~failed,
            "n_unknown_price": unknown,
            "input_tokens": self.number("gen_ai_usage_input_tokens", 0.0),
            "output_tokens": self.number("gen_ai_usage_output_tokens", 0.0),
            "cached_tokens": self.number("gen_ai_usage_cache_read_input_tokens", 0.0),
            "reasoning_tokens": self.number("gen_ai_usage_reasoning_output_tokens", 0.0),
            "cost_usd": known_cost,
        }
        weighted = {name: weight * values for name, values in counts.items()}
        # a row kept with probability 1/w stands for w calls: w * (w - 1) * cost ** 2
        variance = weight * (weight - 1.0) * known_cost**2
        return weighted | {"n_rows": np.ones(self._n), "cost_error": variance}

    def _costs(self, prices: PriceTable) -> tuple[Floats, NDArray[np.bool_]]:
        columns = [self.values(f"gen_ai_usage_{name}") for name in _TOKENS]
        has_usage = np.array(
            [a is not None and b is not None for a, b in zip(*columns[:2], strict=True)], dtype=bool
        )
        recorded, providers = self.values("cost_usd"), self.values("gen_ai_provider_name")
        costs = np.full(self._n, math.nan)
        for i, (model, at) in enumerate(zip(self.models(), self.times, strict=True)):
            usage = {name: column[i] for name, column in zip(_TOKENS, columns, strict=True)}
            found = prices.cost_usd(model, at=at, provider=providers[i], **usage)
            found = recorded[i] if found is None else found
            costs[i] = math.nan if found is None else found
        return costs, has_usage


def _batches(data: Data) -> Iterator[pa.Table]:
    import pyarrow as pa

    source = open_source(data)
    if "timestamp" not in source.names:
        raise DataError(
            "a call log must have a column 'timestamp', found "
            f"{', '.join(source.names) or 'no column'}; see the data contract"
        )
    present = [name for name in _COLUMNS if name in source.names]
    for part in source.parts():
        for batch in part(present):
            yield pa.Table.from_batches([batch])


def _time(value: Any) -> datetime | None:
    try:
        return None if value is None else moment("timestamp", value)
    except ConfigError:
        return None


def _filled(times: Iterable[datetime | None], undated_at: datetime) -> list[datetime]:
    """Times, each missing one that of the row before it."""
    known = list(times)
    found, last = [], next(filter(None, known), undated_at)
    for at in known:
        last = at or last
        found.append(last)
    return found


def _recent(days: Mapping[str, DaySpend]) -> dict[str, DaySpend]:
    """The last two months of days, which later reports may need."""
    return {day: days[day] for day in sorted(days)[-KEPT_DAYS:]}


def _reason(total: Usage, budgets: Sequence[BudgetStatus]) -> str:
    cost = _cost(total)
    if not budgets or budgets[0].verdict == "ok":
        return cost
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
