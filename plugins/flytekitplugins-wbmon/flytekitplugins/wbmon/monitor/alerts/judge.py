"""Judges one window from the memory of a monitor, whether or not it is the next one.

Windows do not always come in order. Labels come late, nights are filled in, a clock is wrong. Only
the next window changes what the rules remember; any other is judged from the nights that are kept:

- An older window starts from the nights before it. A fault that is known from the night before or
  after it is not news. Of the others, the first is told at once; those that follow until the next
  window in order are told together, with it.
- A window of the future is judged, is a finding, and does not become the newest one. Else every
  later night would be an old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.monitor.alerts.decision import (
    Alert,
    AlertRule,
    AlertState,
    Decision,
    PageBudget,
    RuleState,
)
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, WindowSummary
from flytekitplugins.wbmon.reports.report import Report

CLOCK_TOLERANCE = timedelta(days=1)
"""How far after the clock a window may be: it may be named by its end, or in local time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedWindow:
    """What was decided about a window, and what is remembered of it.

    Attributes:
        decision: With the rules' states for the next window.
        memory: The memory that it was judged from, with a newest time that has passed, and the
            older windows that have something new.
        in_order: Whether it is the newest window, or the newest one again.
        standing: Titles of the rules of which a later night is known to fire.
    """

    decision: Decision
    memory: AlertMemory
    in_order: bool = True
    standing: frozenset[str] = frozenset()


def is_future(at: datetime, now: datetime) -> bool:
    """Whether a window is dated later than the clock, by more than `CLOCK_TOLERANCE`."""
    return at - now > CLOCK_TOLERANCE


def judge_window(
    memory: AlertMemory,
    rules: Sequence[AlertRule],
    reports: Sequence[Report | None],
    *,
    at: datetime,
    now: datetime,
    budget: PageBudget | None,
    findings: Sequence[str] = (),
) -> JudgedWindow:
    """Judge a window as `evaluate_rules` does, from what the monitor remembers.

    Args:
        memory: From before the window.
        rules: As for `evaluate_rules`.
        reports: As for `evaluate_rules`.
        at: The window's time, UTC.
        now: The clock, UTC.
        budget: As for `evaluate_rules`.
        findings: Problems of the monitor that are known before.
    """
    memory, healed = _healed(memory, now)
    findings = [*findings, *healed]
    newest = memory.state.at
    in_future = is_future(at, now)
    if in_future:
        findings.append(
            f"the window is dated {_day(at)}, and now it is {_day(now)}: it is judged, but the "
            "memory goes on without it; give at= the time of the schedule"
        )
    in_order = not in_future and (newest is None or at >= newest)
    state = memory.state if in_order else AlertState(rules=_states_before(memory, rules, at))
    decision = evaluate_rules(rules, reports, state=state, at=at, budget=budget, findings=findings)
    if in_order:
        return JudgedWindow(decision=decision, memory=memory)
    standing = _standing(memory, rules, at)
    batch = {} if in_future else memory.late
    what = "is dated in the future" if in_future else "is older than the newest one judged"
    alerts = tuple(_told(each, at, standing, batch, what) for each in decision.alerts)
    decision = replace(decision, alerts=alerts, state=memory.state)
    if not in_future:
        memory = replace(memory, late=_late(memory, decision))
    return JudgedWindow(decision=decision, memory=memory, in_order=False, standing=standing)


def _healed(memory: AlertMemory, now: datetime) -> tuple[AlertMemory, list[str]]:
    """The memory with a newest time that has passed: an older release kept any, or a clock ran."""
    if memory.state.at is None:
        return memory, []
    newest = moment("state.at", memory.state.at)
    if not is_future(newest, now):
        return replace(memory, state=replace(memory.state, at=newest)), []
    back = max((night.at for night in memory.history if not is_future(night.at, now)), default=None)
    # what the future window found stays open, so that its end is told
    state = AlertState(rules=memory.state.rules, at=back, before=memory.state.rules)
    finding = (
        f"the newest window of the memory was dated {_day(newest)}, in the future; it goes on "
        f"after {'no window' if back is None else _day(back)}"
    )
    return replace(memory, state=state), [finding]


def _states_before(
    memory: AlertMemory, rules: Sequence[AlertRule], at: datetime
) -> dict[str, RuleState]:
    nights = [night for night in memory.history if night.at < at]
    current = memory.state.rules
    return {
        rule.title: _state_before(rule, nights[::-1], current.get(rule.title)) for rule in rules
    }


def _state_before(
    rule: AlertRule, nights: Sequence[WindowSummary], current: RuleState | None
) -> RuleState:
    """The state of a rule as the nights before tell it, newest first.

    Examples of windows without a fault may as well be later ones.
    """
    current = current or RuleState(phase="ok")
    run = []
    for night in nights:
        phase = _phase(night, rule.title)
        if phase in ("firing", "pending"):
            run.append(night)
        elif phase != "no_data":
            break
    is_open = bool(run) and _phase(run[0], rule.title) == "firing"
    return RuleState(
        phase="firing" if is_open else "pending" if run else "ok",
        n_windows=len(run),
        since=run[-1].at if run else None,
        is_open=is_open,
        is_notified=is_open and not _is_silent(rule, run[0].at),
        values=current.values if rule.beyond_sd is not None else (),
        distances=current.distances,
        is_broken=current.is_broken,
    )


def _standing(memory: AlertMemory, rules: Sequence[AlertRule], at: datetime) -> frozenset[str]:
    later = [night for night in memory.history if night.at > at]
    standing = set()
    for rule in rules:
        known = (night for night in later if _phase(night, rule.title) != "no_data")
        night = next(known, None)
        if night is None or _is_silent(rule, night.at):
            continue
        if _phase(night, rule.title) == "firing":
            standing.add(rule.title)
    return frozenset(standing)


def _told(
    alert: Alert,
    at: datetime,
    standing: frozenset[str],
    batch: Mapping[str, tuple[datetime, ...]],
    what: str,
) -> Alert:
    title = alert.rule.title
    if alert.phase != "firing":
        # the end of a fault is told in order
        return replace(alert, changed=False)
    is_known = title in standing and not alert.is_broken
    is_gathered = any(other != at for other in batch.get(title, ()))
    return replace(
        alert,
        changed=alert.changed and not is_known and not is_gathered,
        reason=f"{alert.reason}; the window {what}",
    )


def _late(memory: AlertMemory, decision: Decision) -> dict[str, tuple[datetime, ...]]:
    late = dict(memory.late)
    for alert in decision.alerts:
        title = alert.rule.title
        others = [at for at in late.pop(title, ()) if at != decision.at]
        fires = alert.phase == "firing" and not alert.is_silent
        if fires and (alert.changed or title in memory.late):
            others.append(decision.at)
        if others:
            late[title] = tuple(sorted(others))
    return late


def _phase(night: WindowSummary, title: str) -> str:
    # of a rule that could not be judged nothing is known
    return "no_data" if title in night.broken else night.phases.get(title, "none")


def _is_silent(rule: AlertRule, at: datetime) -> bool:
    return rule.silent_until is not None and at < rule.silent_until


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
