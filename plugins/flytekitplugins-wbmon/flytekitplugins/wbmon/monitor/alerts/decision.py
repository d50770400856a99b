"""Alert rules, the alerts of a window, the states of rules, and the decision about a window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal, get_args

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

Severity = Literal["info", "warn", "error"]
Phase = Literal["ok", "pending", "firing", "resolved", "no_data"]

KINDS = (
    "drift",
    "drift_series",
    "joint_drift",
    "performance",
    "estimate",
    "scoring",
    "slo",
    "serving",
    "experiment",
    "prediction_log",
    "usage",
    "feedback",
    "rag",
    "evaluation",
    "steps",
    "heartbeat",
    "alerts",
)
"""The first word of every metric: the kinds of report that there are."""
_SHORTEST_TREND = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """One condition on one metric.

    Exactly one condition is given: `below`, `above`, `drop`, `worse_than_baseline`, `beyond_sd` or
    `trend`.

    Attributes:
        metric: `<report>.<name>[.<feature>]`: `drift.drifted`, `drift.share_drifted`,
            `drift.effect_size.amount`, `performance.accuracy`, `performance.recall.fraud` (of one
            class), `scoring.rows_per_s`, `scoring.latency_ms.p99`, `slo.fast` (1 if the objective
            of that name was missed), `slo.fast.burn_rate`, `slo.violated` (1 if any was missed).
        below: Breached when the value is smaller.
        above: Breached when the value is larger; a gate such as `drift.drifted` is 0 or 1.
        drop: Breached when the metric is worse than its baseline by more than this share (0.05
            is 5 %); the direction is the metric's own.
        worse_than_baseline: Breached when the whole confidence interval is worse than the baseline.
        beyond_sd: Breached when the value is worse than the mean of past windows by more than so
            many of their standard deviations (either side where no side is the worse one). Windows
            that breached are not among the past ones; five are needed.
        trend: Breached when the metric became worse over so many windows, this one included, beyond
            chance (Mann-Kendall, 5 %); at least 4.
        for_windows: Consecutive breaches before the alert fires.
        resolve_after: Consecutive windows without a breach before a firing alert is over, so that
            a value around its limit does not fire and end every other night.
        on_no_data: `keep` leaves the rule as it was; `breach` counts a window without a report or
            a value as a breach.
        silent_until: Nobody is notified before this time, and no gate opens; what happens is kept
            and shown.
        severity: `info`, `warn` or `error`.
        name: How the alert is called; the metric and condition if empty.
        owner: Who is to act; shown in the alert.
        runbook: Where it is written what to do; shown in the alert.

    Raises:
        ConfigError: If no or several conditions are given, the metric's address does not start
            with a report, or a number is out of range.
    """

    metric: str
    below: float | None = None
    above: float | None = None
    drop: float | None = None
    worse_than_baseline: bool = False
    beyond_sd: float | None = None
    trend: int | None = None
    for_windows: int = 1
    resolve_after: int = 1
    on_no_data: Literal["keep", "breach"] = "keep"
    silent_until: datetime | None = None
    severity: Severity = "warn"
    name: str = ""
    owner: str = ""
    runbook: str = ""

    def __post_init__(self) -> None:
        numbers = (self.below, self.above, self.drop, self.beyond_sd, self.trend)
        n_given = sum(number is not None for number in numbers) + self.worse_than_baseline
        if n_given != 1:
            raise ConfigError(
                f"rule on {self.metric!r} must have exactly one of below, above, drop, "
                f"worse_than_baseline, beyond_sd, trend; got {n_given}"
            )
        report, _, name = self.metric.partition(".")
        if report not in KINDS or not name:
            raise ConfigError(
                f"metric must read <report>.<name>[.<feature>] with a report of "
                f"{', '.join(KINDS)}; got {self.metric!r}"
            )
        self._require_numbers()

    def _require_numbers(self) -> None:
        if self.drop is not None and not self.drop > 0:
            raise ConfigError(f"drop must be a positive share of the baseline, got {self.drop}")
        if self.beyond_sd is not None and not self.beyond_sd > 0:
            raise ConfigError(f"beyond_sd must be positive, 3 is usual; got {self.beyond_sd}")
        if self.trend is not None and self.trend < _SHORTEST_TREND:
            raise ConfigError(
                f"trend must be at least {_SHORTEST_TREND} windows, fewer cannot show one; "
                f"got {self.trend}"
            )
        if self.for_windows < 1 or self.resolve_after < 1:
            raise ConfigError(
                "for_windows and resolve_after must be at least 1, "
                f"got {self.for_windows} and {self.resolve_after}"
            )
        if self.severity not in get_args(Severity):
            raise ConfigError(f"severity must be info, warn or error; got {self.severity!r}")
        if self.on_no_data not in ("keep", "breach"):
            raise ConfigError(f"on_no_data must be keep or breach, got {self.on_no_data!r}")

    @property
    def condition(self) -> str:
        """The condition in words: `< 0.8`, `> 0.1`, `drop > 5%`, `worse than baseline`."""
        if self.below is not None:
            return f"< {self.below:g}"
        if self.above is not None:
            return f"> {self.above:g}"
        if self.drop is not None:
            return f"drop > {self.drop:.0%}"
        if self.beyond_sd is not None:
            return f"beyond {self.beyond_sd:g} sd of past windows"
        if self.trend is not None:
            return f"worse over {self.trend} windows"
        return "worse than baseline"

    @property
    def title(self) -> str:
        """The rule's name, or its metric and condition."""
        return self.name or f"{self.metric} {self.condition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The result of one rule in one window.

    Attributes:
        rule: The rule.
        phase: `pending` while fewer than `for_windows` windows breached in a row.
        breached: Whether this window alone breaches the rule.
        value: The metric's value; `nan` with phase `no_data`.
        threshold: What it was held against, in the metric's unit.
        n_windows: Consecutive breaches, this window included.
        since: When the run of breaches began; None without one.
        changed: Whether somebody is to be notified: the alert just fired, or is just resolved.
        is_silent: Whether the rule is to be silent at this window's time.
        reason: One sentence for the person on call.
    """

    rule: AlertRule
    phase: Phase
    breached: bool
    value: float = math.nan
    threshold: float = math.nan
    n_windows: int = 0
    since: datetime | None = None
    changed: bool = False
    is_silent: bool = False
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """The state of a rule that is kept from window to window.

    Attributes:
        phase: What it said last.
        n_windows: Consecutive breaches; windows without data neither count nor interrupt.
        since: When the run of breaches began.
        is_open: Whether an alert fired and is not resolved yet.
        is_notified: Whether somebody was notified of it.
        n_fine: Consecutive windows without a breach since it fired.
        values: Of past windows, oldest first, as far as the rule compares with them.
    """

    phase: Phase
    n_windows: int = 0
    since: datetime | None = None
    is_open: bool = False
    is_notified: bool = False
    n_fine: int = 0
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """What all rules of a monitor remember.

    Attributes:
        rules: By the rule's title.
        at: The time of the last window that was judged.
        before: What the rules remembered before that window, so that judging it again (a retry,
            labels that came late) does not count it twice.
    """

    rules: Mapping[str, RuleState] = field(default_factory=dict)
    at: datetime | None = None
    before: Mapping[str, RuleState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Report):
    """What was decided about one window, and why.

    Attributes:
        at: The window's time.
        alerts: One a rule, worst first.
        state: What the rules remember for the next window.
        reason: The decision in one sentence.
        findings: What was wrong with the monitor itself: a report that is missing, a memory that
            could not be read, a channel that did not answer.
        changes: What is different from the window before, in words.
        numbers: Headline metrics of the window by their W&B names.
        links: Pages about the window, by what they are called.
    """

    KIND: ClassVar[str] = "alerts"

    at: datetime
    alerts: tuple[Alert, ...]
    state: AlertState
    reason: str
    findings: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def fired(self) -> bool:
        """Whether any alert is firing that is not silent."""
        return any(alert.phase == "firing" and not alert.is_silent for alert in self.alerts)

    @property
    def news(self) -> tuple[Alert, ...]:
        """The alerts that somebody is to be notified of: just fired or just resolved."""
        return tuple(alert for alert in self.alerts if alert.changed)

    @property
    def severity(self) -> Severity | Literal["none"]:
        """The worst severity that fires and is not silent; `none` if nothing does."""
        firing = {
            alert.rule.severity
            for alert in self.alerts
            if alert.phase == "firing" and not alert.is_silent
        }
        return next((level for level in ("error", "warn", "info") if level in firing), "none")

    @property
    def artifact_name(self) -> str:
        """What a decision is called in the lineage."""
        return "decision"

    def _measured(self) -> Iterable[Measurement]:
        firing = [each for each in self.alerts if each.phase == "firing" and not each.is_silent]
        yield gate("fired", value=self.fired, reason=self.reason)
        yield number("n_firing", value=len(firing), higher_is_better=False)
        n_no_data = sum(alert.phase == "no_data" for alert in self.alerts)
        yield number("n_no_data", value=n_no_data, higher_is_better=False)
        yield number("n_news", value=len(self.news))
        yield number("n_findings", value=len(self.findings), higher_is_better=False)
