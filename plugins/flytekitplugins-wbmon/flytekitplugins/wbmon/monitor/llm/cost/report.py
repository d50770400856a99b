"""The report on LLM usage: cost, budgets, tokens, latency and errors of the calls."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

Scope = Literal["global", "service", "endpoint", "tenant", "user", "model", "prompt"]
Period = Literal["day", "week", "month"]
BudgetAction = Literal["alert", "fail"]
BudgetVerdict = Literal["ok", "unknown", "at_risk", "exceeded"]

SCOPES = ("global", "service", "endpoint", "tenant", "user", "model", "prompt")
PERIODS = ("day", "week", "month")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(ByContent):
    """A spending limit for a period.

    Attributes:
        scope: What the limit applies to: `global`, or each `service`, `endpoint`, `tenant`, `user`,
            `model` or `prompt` separately.
        period: `day`, `week` (from Monday) or `month`, in UTC.
        limit: Maximum US dollars per period.
        action: `alert` reports an excess; `fail` fails the node that finds it.
        only: Restricts the budget to one tenant, model … of its scope; every one if empty.

    Raises:
        ConfigError: If a field is none of those, or the limit is not positive.
    """

    scope: Scope = "global"
    period: Period = "month"
    limit: float
    action: BudgetAction = "alert"
    only: str = ""

    def __post_init__(self) -> None:
        for name, choices in (("scope", SCOPES), ("period", PERIODS), ("action", _ACTIONS)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} of a budget must be one of {', '.join(choices)}; "
                    f"got {getattr(self, name)!r}"
                )
        if not 0 < self.limit < math.inf:
            raise ConfigError(f"limit of a budget must be a positive amount, got {self.limit}")
        if self.only and self.scope == "global":
            raise ConfigError("a global budget covers everything; drop only= or give a scope")


_ACTIONS = ("alert", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetStatus(ByContent):
    """A budget, the spending so far, and the forecast for the end of the period.

    Attributes:
        budget: The budget.
        key: The tenant, model … that it applies to; empty for a global one.
        start: First day of the period, as `YYYY-MM-DD`.
        spent_usd: Cost so far of calls with a known price.
        forecast_usd: Expected cost at the end of the period, from the mean of the last days.
        forecast_low: Lower end of the 80 % interval of the forecast; at least `spent_usd`.
        forecast_high: Upper end of that interval; `nan` with fewer than three days of data.
        n_unknown: Number of calls of unknown cost, which the amounts do not include.
        n_days_unknown: Number of days of the period that were not counted by the budget's scope.
        unknown_usd: Cost of calls of unknown cost if each were as dear as the dearest known one;
            infinite if one of them has no price, or fewer calls are known than not.
        verdict: `exceeded` if the cost so far is above the limit, `at_risk` if the forecast is;
            else `unknown` if a day of the period is not counted, or if the cost or the forecast may
            be above the limit with `unknown_usd`.
    """

    budget: Budget
    key: str
    start: str
    spent_usd: float
    forecast_usd: float
    forecast_low: float = math.nan
    forecast_high: float = math.nan
    n_unknown: float = 0.0
    n_days_unknown: int = 0
    unknown_usd: float = math.nan
    verdict: BudgetVerdict

    @property
    def share(self) -> float:
        """The share of the limit that is spent, without calls of unknown cost."""
        return self.spent_usd / self.budget.limit

    def measurements(self) -> Iterable[Measurement]:
        """How much of the budget is spent, and will be at the end of the period."""
        whose = (self.budget.period, self.budget.scope, *([self.key] if self.key else []))
        limit = self.budget.limit
        # where no cost is known there is no share; of some it is at least this
        known = math.nan if self.n_unknown and not self.spent_usd else 1.0
        why = f"none of {self.n_unknown:,.0f} calls has a known cost"
        yield number(
            "spent_share", *whose, value=self.share * known, higher_is_better=False, reason=why
        )
        yield number(
            "forecast_share",
            *whose,
            value=self.forecast_usd / limit * known,
            low=self.forecast_low / limit * known,
            high=self.forecast_high / limit * known,
            higher_is_better=False,
            reason=why,
        )
        yield number("n_unpriced", *whose, value=self.n_unknown, higher_is_better=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(ByContent):
    """Totals of a group of calls; estimates if the log is a sample.

    Attributes:
        key: The model, tenant … of the group; empty for all calls.
        n_rows: Number of rows of the log that the totals are based on.
        n_calls: Number of calls, as the sum of the weights of the rows.
        n_errors: Calls that failed after all retries.
        n_attempts: Requests sent for these calls, retries included.
        n_retried: Calls that needed more than one attempt.
        n_rate_limited: Calls that hit a rate limit, even if they succeeded later.
        n_fallback: Calls answered by another model than the one asked first.
        n_truncated: Calls whose answer was cut at its length limit.
        n_no_usage: Answered calls without token counts.
        n_unknown_price: Calls with token counts, failed ones too, but an unknown price; never
            counted as free.
        input_tokens: Input tokens of calls with token counts, cached ones included.
        output_tokens: Output tokens of calls with token counts, reasoning included.
        cached_tokens: Input tokens read from a cache.
        reasoning_tokens: Output tokens used for reasoning.
        cost_usd: Cost of the calls with a known price.
        cost_error: Standard error of the cost due to sampling; 0 for a full log.
    """

    key: str = ""
    n_rows: int = 0
    n_calls: float = 0.0
    n_errors: float = 0.0
    n_attempts: float = 0.0
    n_retried: float = 0.0
    n_rate_limited: float = 0.0
    n_fallback: float = 0.0
    n_truncated: float = 0.0
    n_no_usage: float = 0.0
    n_unknown_price: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    cached_tokens: float = 0.0
    reasoning_tokens: float = 0.0
    cost_usd: float = 0.0
    cost_error: float = 0.0

    def share(self, count: float) -> float:
        """A count over all calls; `nan` without calls."""
        return count / self.n_calls if self.n_calls else math.nan

    @property
    def n_unpriced(self) -> float:
        """Calls that the cost does not cover; calls that failed without token counts are free."""
        return self.n_no_usage + self.n_unknown_price

    @property
    def is_priced(self) -> bool:
        """Whether the cost of any call is known."""
        return self.cost_usd > 0 or self.n_calls - self.n_errors > self.n_unpriced


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpend(ByContent):
    """What one window counted of a day, or several windows that are long past.

    Attributes:
        spans: Times of the first and the last call of each stretch that it counted, in order.
        cost_usd: Cost by `scope=key`, as in `DaySpend`.
        n_unknown: Number of calls of unknown cost, by the same keys.
        n_bounded: Number of these that have a price but no token counts.
        n_known: Number of all calls of known cost.
        dearest_usd: Cost of the dearest of these; 0 without one.
    """

    spans: tuple[tuple[datetime, datetime], ...]
    cost_usd: Mapping[str, float] = field(default_factory=dict)
    n_unknown: Mapping[str, float] = field(default_factory=dict)
    n_bounded: Mapping[str, float] = field(default_factory=dict)
    n_known: float = 0.0
    dearest_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySpend(ByContent):
    """Cost of one day, kept for budgets of longer periods.

    Attributes:
        cost_usd: Cost by `scope=key`, such as `tenant=acme`; `global=` is the total.
        n_unknown: Number of calls of unknown cost, by the same keys.
        n_bounded: Number of these that have a price but no token counts.
        n_known: Number of all calls of known cost.
        dearest_usd: Cost of the dearest of these; 0 without one.
        windows: What each window counted of the day; empty in reports of older versions.
    """

    cost_usd: Mapping[str, float] = field(default_factory=dict)
    n_unknown: Mapping[str, float] = field(default_factory=dict)
    n_bounded: Mapping[str, float] = field(default_factory=dict)
    n_known: float = 0.0
    dearest_usd: float = 0.0
    windows: tuple[WindowSpend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport(Report):
    """Usage and cost of the calls in a window.

    Attributes:
        start_at: Time of the first call; None without calls.
        end_at: Time of the last call.
        total: Totals of all calls.
        groups: Totals of groups by dimension (`model`, `tenant`, …), the most expensive first.
        days: Cost by day, as `YYYY-MM-DD` in UTC; includes days taken over from earlier reports.
        budgets: Status of each budget in the period of the evaluation, the worst first; and in each
            period that ended within the window and was not `ok`.
        models_without_price: Names of models to add to the price table.
        n_undated: Number of calls without a time, or with one before 2000 or more than a day after
            the clock and the evaluation; they count at the time of the call before them.
        n_ahead: Number of calls of a day after that of the evaluation; they count in the budgets of
            its period.
        n_unreadable: Number of calls with a weight, cost or token count that is no number of 0 or
            more, which is as if it were missing.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "usage"
    VOLUMES: ClassVar[tuple[str, ...]] = ("n_calls",)

    start_at: datetime | None
    end_at: datetime | None
    total: Usage
    groups: Mapping[str, tuple[Usage, ...]]
    days: Mapping[str, DaySpend] = field(default_factory=dict)
    budgets: tuple[BudgetStatus, ...] = ()
    models_without_price: tuple[str, ...] = ()
    n_undated: float = 0.0
    n_ahead: float = 0.0
    n_unreadable: float = 0.0
    reason: str

    @property
    def over_budget(self) -> bool:
        """Whether any budget is exceeded, as far as costs are known."""
        return any(status.verdict == "exceeded" for status in self.budgets)

    @property
    def unmeasured(self) -> str:
        """Why nothing is known of the cost, or which budgets limit nobody who ever called."""
        return self.cost_unknown or "; ".join(
            filter(None, dict.fromkeys(map(self._unmet, self.budgets)))
        )

    @property
    def cost_unknown(self) -> str:
        """Why nothing is known of the cost; empty if that of any call is."""
        total = self.total
        if not total.n_calls:
            return "no LLM call in this window"
        if total.is_priced:
            return ""
        n = f"{total.n_calls:,.0f}"
        if not total.n_unpriced:
            return f"all {n} LLM calls failed"
        why = f"the cost of none of {n} LLM calls is known"
        if total.n_unknown_price:
            names = f" of {', '.join(self.models_without_price)}" * bool(self.models_without_price)
            why += f"; {total.n_unknown_price:,.0f} have no known price{names}"
        if total.n_no_usage:
            why += f"; {total.n_no_usage:,.0f} have no token counts"
        return why + (f"; {total.n_errors:,.0f} failed" if total.n_errors else "")

    def _unmet(self, status: BudgetStatus) -> str:
        """That the known days have others of a budget's scope, but not the one it names."""
        scope, only = status.budget.scope, status.budget.only
        prefix = f"{scope}="
        named = {name for day in self.days.values() for name in day.cost_usd}
        known = {name.removeprefix(prefix) for name in named if name.startswith(prefix)}
        if not only or not known or only in known:
            return ""
        close = difflib.get_close_matches(only, sorted(known), n=1)
        hint = f"; did you mean {quoted_name(close[0])}?" if close else ""
        return f"a budget limits the {scope} {quoted_name(only)}, which made no call{hint}"

    def absent(self, name: str) -> Measurement | None:
        """A budget of a tenant, model … that made no call in the days that are known."""
        stem, *whose = name.split(".", 3)
        if stem not in ("spent_share", "forecast_share", "n_unpriced") or len(whose) < 2:  # noqa: PLR2004
            return None
        if whose[0] not in PERIODS or whose[1] not in SCOPES:
            return None
        why = f"no call that a budget of {'.'.join(whose)} limits"
        return number(stem, *whose, value=math.nan, reason=why)

    def _measured(self) -> Iterable[Measurement]:
        total, none = self.total, "no LLM call in this window"
        verdicts = {status.verdict for status in self.budgets}
        is_judged = bool(verdicts) and "unknown" not in verdicts and not self.cost_unknown
        over = self.over_budget if self.over_budget or is_judged else None
        why = self.reason if verdicts else f"no budget was judged: {self.reason}"
        yield gate("over_budget", value=over, reason=why)
        yield number("n_calls", value=total.n_calls, prominence="history")
        yield number(
            "cost_usd",
            value=total.cost_usd if total.is_priced else math.nan,
            higher_is_better=False,
            unit="USD",
            prominence="news",
            reason=self.cost_unknown,
        )
        yield number("n_unpriced", value=total.n_unpriced, higher_is_better=False)
        for name in ("n_undated", "n_ahead", "n_unreadable"):
            yield number(name, value=getattr(self, name), higher_is_better=False)
        has_counts = total.n_no_usage < total.n_calls - total.n_errors or total.input_tokens > 0
        for name in ("input_tokens", "output_tokens"):
            tokens = getattr(total, name) if has_counts else math.nan
            yield number(name, value=tokens, unit="tokens", reason="no call has token counts")
        for name, count in (
            ("error_rate", total.n_errors),
            ("unpriced_rate", total.n_unpriced),
            ("retry_rate", total.n_retried),
            ("rate_limited_rate", total.n_rate_limited),
            ("fallback_rate", total.n_fallback),
            ("truncated_rate", total.n_truncated),
        ):
            yield number(
                name,
                value=total.share(count),
                higher_is_better=False,
                prominence="news" if name == "error_rate" else "chart",
                reason=none,
            )
        # of two periods that a window touches, the budget of the worse one is measured
        by_name: dict[str, Measurement] = {}
        for status in self.budgets:
            for each in status.measurements():
                by_name.setdefault(each.name, each)
        yield from by_name.values()
