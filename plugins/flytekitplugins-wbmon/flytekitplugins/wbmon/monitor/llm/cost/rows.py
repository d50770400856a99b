"""The columns of a call log as arrays, and what each call contributes to the sums."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from flytekitplugins.wbmon.arguments import moment_read, number_meant

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from flytekitplugins.wbmon.monitor.llm.cost.prices import PriceTable

    Floats = NDArray[np.float64]

_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "reasoning_output_tokens",
)
COLUMNS = (
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
_NUMBERS = (
    "sample_weight",
    "cost_usd",
    "attempts",
    "retries",
    *(f"gen_ai_usage_{name}" for name in _TOKENS),
)
_UNNAMED = "(none)"
_FIRST = datetime(2000, 1, 1, tzinfo=timezone.utc)  # no call of a language model is older


class UsageRows:
    """Columns of a batch as arrays; columns that the log lacks are empty.

    Args:
        batch: The rows.
        undated_at: The time of rows without a usable one, unless a row before them has one.
        latest: The latest time that a call can have; a later one, and one before the year 2000, is
            that of a clock that was not set.
    """

    def __init__(self, batch: pa.Table, undated_at: datetime, latest: datetime) -> None:
        self._columns: dict[str, list[Any]] = {
            name: batch.column(name).to_pylist() for name in batch.schema.names
        }
        for name, values in self._columns.items():
            # a weight is never left out
            if name != "sample_weight":
                self._columns[name] = _without_nan(values)
        self._n = batch.num_rows
        self._is_odd = np.zeros(self._n, dtype=np.bool_)
        for name in _NUMBERS:
            if name in self._columns:
                self._columns[name] = self._amounts(name)
        known = [_possible(moment_read(each), latest) for each in self.values("timestamp")]
        self.is_undated = np.array([at is None for at in known], dtype=np.bool_)
        self.times = _filled(known, undated_at)

    def _amounts(self, name: str) -> list[float | None]:
        """A column of numbers of 0 or more, None for any other, which is counted."""
        found = list(map(_amount, self._columns[name]))
        odd = [b is None and a is not None for a, b in zip(self._columns[name], found, strict=True)]
        self._is_odd |= np.array(odd, dtype=np.bool_)
        return found

    def values(self, name: str) -> list[Any]:
        """A column, None where there is no value."""
        return self._columns.get(name) or [None] * self._n

    def number(self, name: str, otherwise: float) -> Floats:
        """A column of numbers."""
        filled = (otherwise if value is None else value for value in self.values(name))
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
        return [str(b or a or _UNNAMED) for a, b in zip(asked, answered, strict=True)]

    def keys(self, dimension: str) -> list[str]:
        """The group of each row."""
        if dimension == "model":
            return self.models()
        if dimension == "prompt":
            parts = zip(self.values("prompt_name"), self.values("prompt_version"), strict=True)
            return ["@".join(filter(None, (str(name or ""), str(version or "")[:12]))) or _UNNAMED
                    for name, version in parts]  # fmt: skip
        column = {"user": "user_hash", "endpoint": "route"}.get(dimension, dimension)
        return [str(value) if value else _UNNAMED for value in self.values(column)]

    def measures(self, prices: PriceTable, without_price: set[str]) -> dict[str, Floats]:
        """The weighted contribution of each row to the sums."""
        weight = self.number("sample_weight", 1.0)
        cost, has_usage, has_price = self._costs(prices)
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
            "n_bounded": ~priced & ~has_usage & ~failed & has_price,
            "n_priced": priced,
            "n_undated": self.is_undated,
            "n_unreadable": self._is_odd,
            "input_tokens": self.number("gen_ai_usage_input_tokens", 0.0),
            "output_tokens": self.number("gen_ai_usage_output_tokens", 0.0),
            "cached_tokens": self.number("gen_ai_usage_cache_read_input_tokens", 0.0),
            "reasoning_tokens": self.number("gen_ai_usage_reasoning_output_tokens", 0.0),
            "cost_usd": known_cost,
        }
        weighted = {name: weight * values for name, values in counts.items()}
        # a row kept with probability 1/w stands for w calls: w * (w - 1) * cost ** 2
        variance = weight * (weight - 1.0) * known_cost**2
        alone = {"n_rows": np.ones(self._n), "cost_error": variance, "dearest_usd": known_cost}
        return weighted | alone

    def _costs(self, prices: PriceTable) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """The cost of each row, whether it has token counts, and whether it has a price."""
        columns = [self.values(f"gen_ai_usage_{name}") for name in _TOKENS]
        has_usage = np.array(
            [a is not None and b is not None for a, b in zip(*columns[:2], strict=True)], dtype=bool
        )
        recorded, providers = self.values("cost_usd"), self.values("gen_ai_provider_name")
        costs, has_price = np.full(self._n, math.nan), np.ones(self._n, dtype=np.bool_)
        for i, (model, at) in enumerate(zip(self.models(), self.times, strict=True)):
            usage = {name: column[i] for name, column in zip(_TOKENS, columns, strict=True)}
            found = prices.cost_usd(model, at=at, provider=providers[i], **usage)
            found = recorded[i] if found is None else found
            costs[i] = math.nan if found is None else found
            if found is None:
                free = prices.cost_usd(
                    model, at=at, provider=providers[i], input_tokens=0, output_tokens=0
                )
                has_price[i] = free is not None
        return costs, has_usage, has_price


def _without_nan(values: list[Any]) -> list[Any]:
    """Values with None for nan, which is how pandas writes that there is none."""
    return [None if isinstance(each, float) and math.isnan(each) else each for each in values]


def _amount(value: Any) -> float | None:
    number = math.nan if value is None else number_meant(value)
    return number if 0 <= number < math.inf else None


def _possible(at: datetime | None, latest: datetime) -> datetime | None:
    return at if at is not None and _FIRST <= at <= latest else None


def _filled(times: Iterable[datetime | None], undated_at: datetime) -> list[datetime]:
    """Times, each missing one that of the row before it."""
    known = list(times)
    found, last = [], next(filter(None, known), undated_at)
    for at in known:
        last = at or last
        found.append(last)
    return found
