"""Alert rules, the alerts of a window, the states of rules, and the decision about a window."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import ClassVar, Literal

from flytekitplugins.wbmon.arguments import listed, real_number
from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.rule_values import rule_value
from flytekitplugins.wbmon.names import listed_names, quoted_name
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
    "labels",
    "usage",
    "feedback",
    "rag",
    "evaluation",
    "steps",
    "heartbeat",
    "alerts",
)
"""The kinds of report; the address of every metric starts with one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule(ByContent):
    """One condition on one metric.

    Exactly one condition is given: `below`, `above`, `drop`, `worse_than_baseline`, `beyond_sd` or
    `trend`.

    Attributes:
        metric: `<report>.<name>[.<feature>]`: `drift.drifted`, `drift.share_drifted`,
            `drift.effect_size.amount`, `performance.accuracy`, `performance.recall.fraud` (of one
            class), `scoring.rows_per_s`, `scoring.latency_ms.p99`, `slo.fast` (1 if the objective
            of that name was missed), `slo.fast.burn_rate`, `slo.violated` (1 if any was missed).
        below: Breached if the value is smaller, in the metric's unit.
        above: Breached if the value is larger; a gate such as `drift.drifted` is 0 or 1.
        drop: Breached if the metric is worse than its baseline by more than this share of the
            baseline (0.05 is 5 %) and worse beyond chance; the metric defines which direction is
            worse. A metric without an interval need only be worse by that share.
        worse_than_baseline: Breached if the whole confidence interval is worse than the baseline.
        beyond_sd: Breached if the value is worse than the mean of past windows by more than chance
            makes a normal variable differ by this number of standard deviations (in either
            direction for a metric of which neither is worse): 3 is 0.13 % to each side, which for
            few past windows takes more of their standard deviations (Student's quantile). Needs
            five past windows; those that fired, and those that breached right before this one, are
            not among them.
        trend: Breached if the metric became significantly worse over this number of windows, the
            current one included (Mann-Kendall test, level 1 %); at least 5, and 6 for a metric of
            which neither direction is worse.
        for_windows: Number of consecutive breaches before the alert fires.
        resolve_after: Number of consecutive windows without a breach before a firing alert is
            resolved. A value above 1 prevents an alert on a metric near its threshold from firing
            and being resolved in turn.
        on_no_data: `keep` leaves the rule's state unchanged; `breach` counts a window without a
            report or without a value as a breach.
        silent_until: Before this time nobody is notified and the alert does not count as fired; its
            phase is still computed, kept and shown.
        severity: `info`, `warn` or `error`.
        name: Title of the alert; the metric and condition if empty.
        owner: Person or team responsible; shown in the alert.
        runbook: URL of the instructions for the person on call; shown in the alert.

    Raises:
        ConfigError: If not exactly one condition is given, the metric's address does not start with
            a kind of report, or a value is of another type or out of range: a number as text or
            `Decimal`, `nan`, a title that is no text.
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
        for field_ in fields(self):
            value = rule_value(field_.name, getattr(self, field_.name))
            object.__setattr__(self, field_.name, value)
        numbers = (self.below, self.above, self.drop, self.beyond_sd, self.trend)
        # `is not None`, as 0 is a condition too
        n_given = sum(number is not None for number in numbers) + self.worse_than_baseline
        if n_given != 1:
            raise ConfigError(
                f"rule on {quoted_name(self.metric)} must have exactly one of below, above, drop, "
                f"worse_than_baseline, beyond_sd, trend; got {n_given}"
            )
        report, _, name = self.metric.partition(".")
        if report not in KINDS or not name:
            raise ConfigError(
                f"metric must read <report>.<name>[.<feature>] with a report of "
                f"{', '.join(KINDS)}; got {quoted_name(self.metric)}"
            )

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


def listed_rules(rules: Sequence[AlertRule]) -> tuple[AlertRule, ...]:
    """The rules of one monitor.

    Raises:
        ConfigError: If it is no sequence of rules, or two have one title.
    """
    rules = listed("rules", rules, "rules")
    wrong = [rule for rule in rules if not isinstance(rule, AlertRule)]
    if wrong:
        raise ConfigError(f"rules must hold AlertRules, got one {type(wrong[0]).__name__}")
    twice = [title for title, n in Counter(rule.title for rule in rules).items() if n > 1]
    if twice:
        raise ConfigError(
            f"rules must have different titles, found {listed_names(twice)} more than "
            "once; set name="
        )
    return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class PageBudget:
    """How often a monitor may page by chance, all its rules together.

    Attributes:
        false_pages_per_year: False pages a year; `> 0`.
        windows_per_year: Windows a year: 365 for a nightly monitor, 8760 for an hourly one.

    Raises:
        ConfigError: If a value is no positive, finite number, or the budget is of two pages a
            window or more.
    """

    false_pages_per_year: float = 1.0
    windows_per_year: float = 365.0

    def __post_init__(self) -> None:
        for name in ("false_pages_per_year", "windows_per_year"):
            object.__setattr__(self, name, real_number(name, getattr(self, name), above=0))
        if self.level >= 1:
            raise ConfigError(
                f"a budget must be below two false pages a window, got {self.false_pages_per_year} "
                f"a year of {self.windows_per_year} windows; pass budget=None for no budget"
            )

    @property
    def level(self) -> float:
        """Probability that chance pages at all in one window, by what this window shows."""
        return self.false_pages_per_year / self.windows_per_year / 2

    def evidence_needed(self, n_rules: int) -> float:
        """Accumulated evidence at which one of `n_rules` rules may page."""
        return n_rules / self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(ByContent):
    """The result of one rule in one window.

    Attributes:
        rule: The rule.
        phase: `pending` if fewer than `for_windows` consecutive windows breached so far, or chance
            is too likely for the budget of false pages.
        breached: Whether this window alone breaches the rule.
        value: The metric's value; `nan` with phase `no_data`.
        threshold: The value it was compared with, in the metric's unit.
        n_windows: Number of consecutive breaches, this window included.
        since: Time of the first of these windows; None if there is no breach.
        changed: Whether people must be notified: the alert has just fired or was just resolved.
        is_silent: Whether the window's time is before the rule's `silent_until`.
        reason: One sentence for the person on call.
        p_value: Probability that chance alone makes the metric at least this bad in one window, by
            its rows and by past windows; `nan` where nobody says, as of a plain limit.
        is_broken: Whether the rule could not be judged, such as one on a metric that its report
            does not have. It fires until it can be judged again; `reason` says what to mend.
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
    p_value: float = math.nan
    is_broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState(ByContent):
    """The state of a rule that is kept from window to window.

    Attributes:
        phase: Phase in the last window.
        n_windows: Number of consecutive breaches; windows without data neither count nor interrupt.
        since: Time of the first of these windows; None if there is no breach.
        is_open: Whether an alert has fired and is not resolved yet.
        is_notified: Whether people were notified of it.
        n_fine: Number of consecutive windows without a breach since it fired.
        values: Values of the past windows that the rule compares with, oldest first.
        distances: How bad the metric was in past windows in which the alert did not fire, in its
            own unit (standard errors, share of rows), oldest first.
        evidence: Accumulated evidence of the windows since the last alert that something changed
            (`accumulated_evidence`); empty while an alert is open.
        is_broken: Whether people were notified that the rule cannot be judged, and it has not been
            judged since. All else is as it was before.
    """

    phase: Phase
    n_windows: int = 0
    since: datetime | None = None
    is_open: bool = False
    is_notified: bool = False
    n_fine: int = 0
    values: tuple[float, ...] = ()
    distances: tuple[float, ...] = ()
    evidence: tuple[float, ...] = ()
    is_broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState(ByContent):
    """States of all rules of a monitor.

    Attributes:
        rules: State of each rule after the last window, by the rule's title.
        at: Time of the last window that was evaluated; None before the first.
        before: States before that window. A second evaluation of the same window (after a retry, or
            with late labels) starts from these, so that no window counts twice.
    """

    rules: Mapping[str, RuleState] = field(default_factory=dict)
    at: datetime | None = None
    before: Mapping[str, RuleState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Report):
    """The decision about one window, with its reasons.

    Attributes:
        at: The window's time.
        alerts: One alert per rule, worst first.
        state: States of the rules, for the next window.
        reason: The decision in one sentence.
        findings: Problems of the monitor itself: a report that is missing or could not judge its
            window, a rule that cannot be judged, an unreadable state file, a channel that did not
            answer.
        unmeasured_kinds: Kinds of the reports that rules ask for and that are missing, and of those
            that could not judge their window.
        changes: Differences from the previous window, in words.
        numbers: Headline metrics of the window by their W&B names.
        links: URLs of pages about the window, by their link texts.
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
    unmeasured_kinds: tuple[str, ...] = ()

    @property
    def fired(self) -> bool:
        """Whether any alert is firing that is not silent."""
        return any(alert.phase == "firing" and not alert.is_silent for alert in self.alerts)

    @property
    def news(self) -> tuple[Alert, ...]:
        """The alerts that people must be notified of: just fired or just resolved."""
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
        """Name of a decision in the lineage."""
        return "decision"

    def _measured(self) -> Iterable[Measurement]:
        firing = [each for each in self.alerts if each.phase == "firing" and not each.is_silent]
        yield gate("fired", value=self.fired, reason=self.reason)
        yield number("n_firing", value=len(firing), higher_is_better=False)
        n_no_data = sum(alert.phase == "no_data" for alert in self.alerts)
        yield number("n_no_data", value=n_no_data, higher_is_better=False)
        yield number("n_news", value=len(self.news))
        yield from finding_numbers(self.findings, self.unmeasured_kinds)


def finding_numbers(findings: Sequence[str], kinds: Sequence[str]) -> tuple[Measurement, ...]:
    """What rules can ask about the monitor itself: `alerts.n_findings` and `alerts.unmeasured`.

    Args:
        findings: Its problems.
        kinds: Kinds of the reports that are missing or could not judge their window.
    """
    why = f"no verdict on {', '.join(kinds)}" if kinds else "every report has a verdict"
    return (
        number("n_findings", value=len(findings), kind="alerts", higher_is_better=False),
        gate("unmeasured", value=bool(kinds), reason=why, kind="alerts"),
    )
