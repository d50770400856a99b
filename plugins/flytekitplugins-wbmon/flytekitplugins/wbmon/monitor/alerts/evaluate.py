"""Evaluates all rules on the reports of one window, and updates their states.

A rule is `ok` until it is breached, then `pending` until it was breached in `for_windows` windows
in a row and the budget of false pages admits it, then `firing` until `resolve_after` windows in a
row were not breached, which makes it `resolved`. A window without data (`no_data`) does not change
the counts. A rule that cannot be judged fires, alone: the others go on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

from flytekitplugins.wbmon.arguments import listed, moment
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.addresses import Measurements, require_reports
from flytekitplugins.wbmon.monitor.alerts.budget import Admission, admissions
from flytekitplugins.wbmon.monitor.alerts.conditions import MIN_PAST, Finding, finding_of
from flytekitplugins.wbmon.monitor.alerts.decision import (
    Alert,
    AlertRule,
    AlertState,
    Decision,
    PageBudget,
    Phase,
    RuleState,
    finding_numbers,
    listed_rules,
)
from flytekitplugins.wbmon.names import on_one_line
from flytekitplugins.wbmon.reports.report import Report

logger = logging.getLogger(__name__)

_PHASES: tuple[Phase, ...] = ("firing", "pending", "no_data", "resolved", "ok")
_SEVERITIES = ("error", "warn", "info")
_FRESH = RuleState(phase="ok")
_LONGEST_PAST = 60


def evaluate_rules(
    rules: Sequence[AlertRule],
    reports: Iterable[Report | None],
    *,
    state: AlertState | None = None,
    at: datetime | None = None,
    budget: PageBudget | None = PageBudget(),  # noqa: B008 - it is frozen
    findings: Sequence[str] = (),
) -> Decision:
    """Judge a window's reports by rules, given what the rules remember.

    Nothing is written or sent: keep `decision.state` for the next window, and tell people of
    `decision.news`. Judging the same `at` again starts from what was remembered before it; a window
    older than the last one is judged alone and leaves the memory as it is.

    A rule that cannot be judged (its report has no such metric, or a drift statistic no baseline)
    fires as an alert with `is_broken`, and is a finding; the other rules are judged.

    Args:
        rules: Each with a title of its own.
        reports: What nodes report, at most one of a kind; None for one that is missing, whose
            rules then have `no_data`.
        state: The `state` of the previous decision.
        at: The window's time; now if None, UTC if it has no zone.
        budget: How often chance may page; a breach beyond it is `pending`. None for no limit.
        findings: Problems of the monitor that are known before; with those of the reports they are
            what rules on `alerts.n_findings` judge.

    Raises:
        ConfigError: If `rules` or `reports` are no sequences of such, `at` is no moment (NaT is
            none), two reports are of one kind, or two rules have one title.
    """
    rules, reports = listed_rules(rules), listed("reports", reports, "reports")
    at = datetime.now(timezone.utc) if at is None else moment("at", at)
    state = state or AlertState()
    require_reports(reports)
    known = (*unmeasured_reports(reports), *listed("findings", findings, "sentences"))
    kinds = _unmeasured_kinds(rules, reports)
    measurements = Measurements(reports, finding_numbers(known, kinds))
    late = state.at is not None and at < moment("state.at", state.at)
    again = state.at is not None and at == moment("state.at", state.at)
    memory: Mapping[str, RuleState] = {} if late else (state.before if again else state.rules)
    before = [memory.get(rule.title, _FRESH) for rule in rules]
    found = [_finding(rule, measurements, kept) for rule, kept in zip(rules, before, strict=True)]
    if again:
        # what was known of this window stays known when it is judged again and cannot be
        before = [
            state.rules.get(rule.title, kept) if _is_unknown(rule, each) else kept
            for rule, each, kept in zip(rules, found, before, strict=True)
        ]
    admitted = admissions(found, [kept.evidence for kept in before], budget)
    judged = [_alert(*each, at) for each in zip(rules, found, admitted, before, strict=True)]
    remembered = {alert.rule.title: kept for alert, kept in judged}
    alerts = sorted((alert for alert, _ in judged), key=_rank)
    return Decision(
        at=at,
        alerts=tuple(alerts),
        state=state if late else AlertState(rules=remembered, at=at, before=dict(memory)),
        reason=_summary(alerts),
        findings=known + tuple(map(broken_rule, (each for each in alerts if each.is_broken))),
        unmeasured_kinds=kinds,
    )


def broken_rule(alert: Alert) -> str:
    """The finding about a rule that cannot be judged."""
    return f"{on_one_line(alert.rule.title)}: {alert.reason}"


def unmeasured_reports(reports: Iterable[Report | None]) -> tuple[str, ...]:
    """A sentence for each report whose window could not be judged."""
    return tuple(
        f"{report.kind} could not be judged: {report.unmeasured}"
        for report in reports
        if report is not None and report.unmeasured
    )


def _unmeasured_kinds(
    rules: Iterable[AlertRule], reports: Sequence[Report | None]
) -> tuple[str, ...]:
    given = [report for report in reports if report is not None]
    there = {kind for report in given for kind in (report.kind, *report.OTHER_KINDS)}
    asked = dict.fromkeys(rule.metric.partition(".")[0] for rule in rules)
    missing = [kind for kind in asked if kind not in (*there, Decision.KIND)]
    nothing = () if given or missing else ("every report",)
    return (*missing, *nothing, *(report.kind for report in given if report.unmeasured))


def _finding(rule: AlertRule, measurements: Measurements, memory: RuleState) -> Finding:
    try:
        return finding_of(rule, measurements, memory.values, memory.distances, _run(memory))
    except ConfigError as error:
        why = str(error)
    except Exception as error:  # a fault of one rule must not cost the others
        logger.exception("the rule %s could not be judged", on_one_line(rule.title))
        why = f"{type(error).__name__}: {error}"
    return Finding(breached=None, is_broken=True, reason=f"the rule cannot be judged: {why}")


def _is_missing(finding: Finding) -> bool:
    # a value that cannot be judged yet (too few past windows) is not missing data
    return math.isnan(finding.value)


def _is_unknown(rule: AlertRule, finding: Finding) -> bool:
    counts = rule.on_no_data == "breach" and not finding.is_broken
    return finding.breached is None and _is_missing(finding) and not counts


def _rank(alert: Alert) -> tuple[int, int]:
    return _PHASES.index(alert.phase), _SEVERITIES.index(alert.rule.severity)


def _alert(
    rule: AlertRule,
    finding: Finding,
    admission: Admission,
    memory: RuleState,
    at: datetime,
) -> tuple[Alert, RuleState]:
    is_silent = rule.silent_until is not None and at < rule.silent_until
    if finding.is_broken:
        return _broken(rule, finding, memory, is_silent=is_silent)
    breached = finding.breached
    if breached is None and _is_missing(finding) and rule.on_no_data == "breach":
        breached = True
    kept = _advance(rule, memory, breached, at, admitted=admission.admitted)
    kept = replace(
        kept,
        is_notified=kept.is_open and (memory.is_notified or not is_silent),
        values=_values(rule, memory, finding, kept.phase),
        distances=_past(memory.distances, finding.distance, _run(memory), kept.phase),
        evidence=() if kept.is_open else admission.evidence,
        is_broken=memory.is_broken and kept.phase in ("pending", "no_data"),
    )
    is_mended = memory.is_broken and kept.phase in ("ok", "resolved")
    if is_mended:
        kept = replace(kept, phase="resolved")
    alert = Alert(
        rule=rule,
        phase=kept.phase,
        breached=bool(breached),
        value=finding.value,
        threshold=finding.threshold,
        n_windows=kept.n_windows,
        since=kept.since,
        changed=is_mended or kept.is_notified != memory.is_notified,
        is_silent=is_silent,
        reason=finding.reason + _history(rule, memory, kept, admission),
        p_value=finding.p_value,
    )
    return alert, kept


def _broken(
    rule: AlertRule, finding: Finding, memory: RuleState, *, is_silent: bool
) -> tuple[Alert, RuleState]:
    # all else stays, so that a fault that is open or pending goes on when the rule is mended
    kept = replace(memory, phase="firing", is_broken=memory.is_broken or not is_silent)
    alert = Alert(
        rule=rule,
        phase="firing",
        breached=False,
        n_windows=kept.n_windows,
        since=kept.since,
        changed=kept.is_broken != memory.is_broken,
        is_silent=is_silent,
        reason=finding.reason,
        is_broken=True,
    )
    return alert, kept


def _advance(
    rule: AlertRule, memory: RuleState, breached: bool | None, at: datetime, *, admitted: bool
) -> RuleState:
    if breached is None:
        return replace(memory, phase="no_data")
    if not breached:
        n_fine = memory.n_fine + 1
        if memory.is_open and n_fine < rule.resolve_after:
            return replace(memory, phase="firing", n_fine=n_fine)
        return RuleState(phase="resolved" if memory.is_open else "ok")
    n_windows = memory.n_windows + 1
    firing = memory.is_open or (n_windows >= rule.for_windows and admitted)
    return RuleState(
        phase="firing" if firing else "pending",
        n_windows=n_windows,
        since=memory.since or at,
        is_open=firing,
    )


def _run(memory: RuleState) -> int:
    """Number of windows that breached in a row and have not fired: they are remembered last."""
    return 0 if memory.is_open else memory.n_windows


def _values(
    rule: AlertRule, memory: RuleState, finding: Finding, phase: Phase
) -> tuple[float, ...]:
    if rule.trend is not None:
        known = math.isfinite(finding.value)
        values = (*memory.values, finding.value) if known else memory.values
        # one less: the window to be judged is the last value of a trend
        return values[-max(_LONGEST_PAST, rule.trend - 1) :]
    if rule.beyond_sd is None:
        return ()
    return _past(memory.values, finding.value, _run(memory), phase)


def _past(past: tuple[float, ...], value: float, run: int, phase: Phase) -> tuple[float, ...]:
    """The past of the next window: what fires is no example of a window without a fault."""
    if math.isnan(value):
        return past
    before = past[: max(0, len(past) - run)]
    if phase != "firing":
        return (*past, value)[-_LONGEST_PAST:]
    # without any example, moods of nights would fire for ever, and only examples can say so
    return before if len(before) >= MIN_PAST else (*before, value)


def _history(rule: AlertRule, memory: RuleState, kept: RuleState, admission: Admission) -> str:
    if kept.phase == "pending":
        few = f"{kept.n_windows} of {rule.for_windows} windows in a row before it fires"
        return f"; {few if kept.n_windows < rule.for_windows else admission.why_not}"
    if kept.phase == "firing":
        return _history_of_firing(rule, kept)
    if kept.phase == "resolved":
        over = f"over after {memory.n_windows} windows, since {_day(memory.since)}"
        return f"; {'the rule can be judged again' if memory.is_broken else over}"
    if kept.phase == "no_data" and kept.is_open:
        return f"; still open since {_day(kept.since)}"
    return ""


def _history_of_firing(rule: AlertRule, kept: RuleState) -> str:
    if kept.n_fine:
        return f"; fine for {kept.n_fine} of {rule.resolve_after} windows before it is over"
    if kept.n_windows > 1:
        return f"; {kept.n_windows} windows in a row since {_day(kept.since)}"
    return ""


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "an unknown time"


def _summary(alerts: Sequence[Alert]) -> str:
    firing = [alert for alert in alerts if alert.phase == "firing" and not alert.is_silent]
    unknown = sum(alert.phase == "no_data" for alert in alerts)
    tail = f"; {unknown} without data" if unknown else ""
    if not firing:
        return f"none of {len(alerts)} rules fires{tail}"
    return f"{len(firing)} of {len(alerts)} rules fire{tail}: {firing[0].reason}"
