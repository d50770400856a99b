"""HTML pages of a decision (verdict, findings, then each rule) and of a heartbeat report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from flytekitplugins.wbmon.monitor.alerts.decision import Alert, Decision
from flytekitplugins.wbmon.monitor.alerts.heartbeat import Heartbeat
from flytekitplugins.wbmon.reports.html import (
    cell,
    facts,
    links,
    name_cell,
    notes,
    number,
    page,
    section,
    state_cell,
    table,
    verdict,
)


def decision_section(decision: Decision) -> str:
    """The section of a page that shows a decision."""
    body = [
        verdict(*_verdict(decision)),
        facts(decision.at.isoformat(timespec="minutes"), f"{len(decision.alerts)} rules"),
        links(decision.links),
        notes("The monitor itself", decision.findings, "warn"),
        notes("Since last night", decision.changes, ""),
        table(
            ("rule", "state", "severity", "value", "threshold", "why"),
            map(_alert_row, decision.alerts),
        ),
    ]
    return section("Decision", body)


def _verdict(decision: Decision) -> tuple[str, str, str]:
    """State, words and reason; a night that was not seen is not a good one."""
    if decision.fired:
        return decision.severity, f"Alert: {decision.severity}", decision.reason
    if decision.findings:
        return "warn", f"Nothing fires, with {len(decision.findings)} findings", decision.reason
    if decision.alerts and all(alert.phase == "no_data" for alert in decision.alerts):
        return "no_data", "No data", decision.reason
    return "ok", "Nothing to do", decision.reason


def _alert_row(alert: Alert) -> Sequence[str]:
    rule = alert.rule
    runbook = links({"what to do": rule.runbook}) if rule.runbook else ""
    return (
        name_cell(rule.title, below=rule.owner),
        state_cell(alert.phase),
        cell(rule.severity),
        cell(number(alert.value)),
        cell(number(alert.threshold)),
        f"<td>{escape(alert.reason)}{runbook}</td>",
    )


def heartbeat_section(report: Heartbeat) -> str:
    """The section of a page that shows how old a monitor's last report and newest data are."""
    ages = {"last report": report.report_age_h, "newest data": report.data_age_h}
    is_gone = math.inf in ages.values()
    state = "fail" if report.failure else "warn" if report.problem or is_gone else "ok"
    words = "The monitor failed" if report.failure else "Signs of life"
    if state == "warn":
        words = "Could not look" if report.problem else "No sign of life"
    body = [
        verdict(state, words, report.failure or report.problem),
        facts(*(f"{name}: {number(age)} hours ago" for name, age in ages.items())),
    ]
    return section("Heartbeat", body)


def page_of(report: Decision | Heartbeat) -> str:
    """The page of a decision or a heartbeat report."""
    if isinstance(report, Heartbeat):
        return page("Heartbeat", heartbeat_section(report))
    return page("Decision", decision_section(report))
