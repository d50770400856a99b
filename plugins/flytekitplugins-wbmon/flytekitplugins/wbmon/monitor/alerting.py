"""From reports to a decision: each rule judged on this window, and remembered to the next.

A rule is `ok`, then `pending` until it was breached in enough windows in a row, then `firing` until
a window is fine, which is `resolved`. A window without data changes none of that and says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.address import Observation, Report, observations, resolve
from flytekitplugins.wbmon.records.alert import (
    Alert,
    AlertRule,
    AlertState,
    Decision,
    Phase,
    RuleState,
)

_PHASES: tuple[Phase, ...] = ("firing", "pending", "no_data", "resolved", "ok")
_SEVERITIES = ("error", "warn", "info")
_FRESH = RuleState(phase="ok")


def evaluate_rules(
    rules: Sequence[AlertRule],
    reports: Iterable[Report | None],
    *,
    state: AlertState | None = None,
    at: datetime | None = None,
) -> Decision:
    """Judge a window's reports by rules, given what the rules remember.

    Nothing is written or sent: keep `decision.state` for the next window, and tell people of
    `decision.news`. Judging the same `at` again starts from what was remembered before it; a window
    older than the last one is judged alone and leaves the memory as it is.

    Args:
        rules: Each with a title of its own.
        reports: Of drift, performance and scoring, at most one of a kind; None for one that is
            missing, whose rules then have `no_data`.
        state: The `state` of the previous decision.
        at: The window's time; now if None, UTC if it has no zone.

    Raises:
        ConfigError: If two rules have one title, a rule names a metric that its report does not
            have, or asks of it what it cannot say (a baseline of a drift statistic).
    """
    twice = [title for title, n in Counter(rule.title for rule in rules).items() if n > 1]
    if twice:
        raise ConfigError(
            f"rules must have different titles, found {', '.join(map(repr, twice))} more than "
            "once; set name="
        )
    at = _utc(at or datetime.now(timezone.utc))
    state = state or AlertState()
    found = observations(reports)
    late = state.at is not None and at < _utc(state.at)
    again = state.at is not None and at == _utc(state.at)
    memory: Mapping[str, RuleState] = {} if late else (state.before if again else state.rules)
    judged = [_alert(rule, found, memory.get(rule.title, _FRESH), at) for rule in rules]
    remembered = {alert.rule.title: kept for alert, kept in judged}
    alerts = sorted((alert for alert, _ in judged), key=_rank)
    return Decision(
        at=at,
        alerts=tuple(alerts),
        state=state if late else AlertState(rules=remembered, at=at, before=dict(memory)),
        reason=_summary(alerts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """What this window alone says of a rule; `breached` is None where nothing can be said."""

    breached: bool | None
    reason: str
    value: float = math.nan
    threshold: float = math.nan


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)


def _rank(alert: Alert) -> tuple[int, int]:
    return _PHASES.index(alert.phase), _SEVERITIES.index(alert.rule.severity)


def _alert(
    rule: AlertRule,
    found: Mapping[str, Mapping[str, Observation]],
    memory: RuleState,
    at: datetime,
) -> tuple[Alert, RuleState]:
    finding = _finding(rule, resolve(rule.metric, found), found)
    kept = _advance(rule, memory, finding.breached, at)
    alert = Alert(
        rule=rule,
        phase=kept.phase,
        breached=bool(finding.breached),
        value=finding.value,
        threshold=finding.threshold,
        n_windows=kept.n_windows,
        since=kept.since,
        changed=kept.is_open != memory.is_open,
        reason=finding.reason + _history(rule, memory, kept),
    )
    return alert, kept


def _advance(rule: AlertRule, memory: RuleState, breached: bool | None, at: datetime) -> RuleState:
    if breached is None:
        return RuleState(
            phase="no_data",
            n_windows=memory.n_windows,
            since=memory.since,
            is_open=memory.is_open,
        )
    if not breached:
        return RuleState(phase="resolved" if memory.is_open else "ok")
    n_windows = memory.n_windows + 1
    firing = memory.is_open or n_windows >= rule.for_windows
    return RuleState(
        phase="firing" if firing else "pending",
        n_windows=n_windows,
        since=memory.since or at,
        is_open=firing,
    )


def _history(rule: AlertRule, memory: RuleState, kept: RuleState) -> str:
    if kept.phase == "pending":
        return f"; {kept.n_windows} of {rule.for_windows} windows in a row before it fires"
    if kept.phase == "firing" and kept.n_windows > 1:
        return f"; {kept.n_windows} windows in a row since {_day(kept.since)}"
    if kept.phase == "resolved":
        return f"; over after {memory.n_windows} windows, since {_day(memory.since)}"
    if kept.phase == "no_data" and kept.is_open:
        return f"; still open since {_day(kept.since)}"
    return ""


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "an unknown time"


def _finding(
    rule: AlertRule,
    seen: Observation | None,
    found: Mapping[str, Mapping[str, Observation]],
) -> _Finding:
    if seen is None:
        report = rule.metric.partition(".")[0]
        return _Finding(breached=None, reason=f"{rule.metric} is unknown: no {report} report")
    if rule.drop is not None or rule.worse_than_baseline:
        return _against_baseline(rule, seen, found)
    if seen.is_gate:
        return _against_gate(rule, seen)
    return _against_limit(rule, seen)


def _unknown(seen: Observation, why: str, threshold: float = math.nan) -> _Finding:
    reason = f"{seen.name} is unknown: {why or 'undefined in this window'}"
    return _Finding(breached=None, reason=reason, threshold=threshold)


def _against_gate(rule: AlertRule, seen: Observation) -> _Finding:
    if rule.above is None or not 0 <= rule.above < 1:
        raise ConfigError(
            f"{rule.metric} is 0 or 1, so its condition must be above=0; got {rule.condition!r}"
        )
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason, rule.above)
    breached = seen.value > rule.above
    said = f"{seen.name}: {seen.reason}" if breached else f"not {seen.name}: {seen.reason}"
    return _Finding(
        breached=breached,
        reason=said if seen.reason else said.rstrip(": "),
        value=seen.value,
        threshold=rule.above,
    )


def _against_limit(rule: AlertRule, seen: Observation) -> _Finding:
    if rule.below is not None:
        limit, side, breached = rule.below, "below", seen.value < rule.below
    else:
        limit = rule.above if rule.above is not None else math.nan
        side, breached = "above", seen.value > limit
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason, limit)
    is_not = "is" if breached else "is not"
    return _Finding(
        breached=breached,
        reason=f"{_shown(seen)} {is_not} {side} {limit:.4g}",
        value=seen.value,
        threshold=limit,
    )


def _against_baseline(
    rule: AlertRule, seen: Observation, found: Mapping[str, Mapping[str, Observation]]
) -> _Finding:
    if seen.verdict is None:
        raise ConfigError(
            f"{rule.metric} has no baseline, so its condition must be below= or above=; "
            f"got {rule.condition!r}. Metrics of a performance report have one"
        )
    if all(math.isnan(item.baseline) for item in found["performance"].values()):
        raise ConfigError(
            f"rule {rule.title!r} needs a baseline and the performance report has none; "
            "pass baseline= to the performance check"
        )
    threshold = _worst_allowed(rule, seen)
    if math.isnan(seen.value):
        return _unknown(seen, seen.reason, threshold)
    if math.isnan(seen.baseline):
        return _unknown(seen, "the baseline has no value for it")
    shown = f"{_shown(seen)} is {_compared(seen)} baseline {seen.baseline:.4g}"
    if rule.drop is None:
        if seen.verdict == "unknown":
            return _unknown(seen, "it has no interval to hold against the baseline", threshold)
        breached = seen.verdict == "worse"
        why = "more than chance explains" if breached else "not clearly worse"
    else:
        if seen.baseline == 0:
            return _unknown(seen, "its baseline is 0, of which no share can be lost")
        loss = seen.baseline - seen.value if seen.higher_is_better else seen.value - seen.baseline
        breached = loss > rule.drop * abs(seen.baseline)
        why = f"{rule.drop:.3%} is allowed".replace(".000%", "%")
    return _Finding(
        breached=breached, reason=f"{shown}, {why}", value=seen.value, threshold=threshold
    )


def _worst_allowed(rule: AlertRule, seen: Observation) -> float:
    allowed = (rule.drop or 0.0) * abs(seen.baseline)
    return seen.baseline - allowed if seen.higher_is_better else seen.baseline + allowed


def _shown(seen: Observation) -> str:
    if math.isnan(seen.low) or math.isnan(seen.high):
        return f"{seen.name} {seen.value:.4g}"
    return f"{seen.name} {seen.value:.4g} [{seen.low:.4g}, {seen.high:.4g}]"


def _compared(seen: Observation) -> str:
    change = seen.value - seen.baseline
    if change == 0:
        return "equal to"
    side = "above" if change > 0 else "below"
    if seen.baseline == 0:
        return f"{abs(change):.4g} {side}"
    return f"{abs(change / seen.baseline):.1%} {side}"


def _summary(alerts: Sequence[Alert]) -> str:
    firing = [alert for alert in alerts if alert.phase == "firing"]
    silent = sum(alert.phase == "no_data" for alert in alerts)
    tail = f"; {silent} without data" if silent else ""
    if not firing:
        return f"none of {len(alerts)} rules fires{tail}"
    return f"{len(firing)} of {len(alerts)} rules fire{tail}: {firing[0].reason}"
