"""Promoting a record to the reference of its model, unless the evidence speaks against it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.monitor.references.files import ReferenceFiles
from flytekitplugins.wbmon.monitor.versions.history import PRODUCTION, decided_otherwise
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.storage.record_file import RecordFile

_MOST_NUMBERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """What became of a record that was to be promoted.

    Attributes:
        promoted: Whether the alias points at it since.
        reason: Why it does, or why not.
        version: Digest of the record, which is saved in any case.
        before: Digest of the version that the alias pointed at; empty if at none.
    """

    promoted: bool
    reason: str
    version: str
    before: str


def promote_reference(
    files: ReferenceFiles[Any],
    name: str,
    record: RecordFile,
    *,
    alias: str = PRODUCTION,
    reason: str,
    by: str = "",
    evidence: Sequence[Report] = (),
) -> Promotion:
    """Save a record and point an alias at it, unless the evidence speaks against it.

    A report speaks against it if one of its gates says so (`drift.drifted`, `performance.worse`,
    `alerts.fired` …) or is unknown as nothing was measured. A decision does so too unless it has
    rules, and each of them was judged and is not breached: neither pending nor in silence. A record
    that is a report is evidence too, and a profile without values is none. Neither is a version
    promoted that was rolled back, nor again on evidence that did so before (equal numbers, of a
    decision on the same window): a task that is run again undoes no newer decision.

    Raises:
        ConfigError: If no reason is given, the record is of another class than the files, or the
            name or the alias cannot be one.
        DataError: If the record is too large, or the history is damaged.
        StorageError: If the store fails, or others keep writing.
    """
    version = files.save(name, record)
    history = files.history(name)
    before = history.aliases.get(alias, "")
    reports = [*([record] if isinstance(record, Report) else []), *evidence]
    numbers = _numbers(reports)
    against = _objection(record, reports)
    if not against and before == version.digest:
        against = f"it is what {alias} points at"
    elif not against:
        against = decided_otherwise(history, version.digest, alias=alias, evidence=numbers)
    if against:
        return Promotion(promoted=False, reason=against, version=version.digest, before=before)
    try:
        files.promote(
            name,
            version.digest,
            alias=alias,
            reason=reason,
            by=by,
            evidence=numbers,
            replaces=before,
        )
    except DataError as error:
        # what was decided since the history was read stands
        now = files.history(name).aliases.get(alias, "")
        if now == before:
            raise
        return Promotion(promoted=False, reason=str(error), version=version.digest, before=now)
    return Promotion(promoted=True, reason=reason, version=version.digest, before=before)


def _objection(record: RecordFile, reports: Sequence[Report]) -> str:
    """Why the record must not be promoted; empty if nothing speaks against it."""
    if isinstance(record, Profile) and not any(each.n_values for each in record.features.values()):
        return "the profile has no row with a value"
    return next((against for report in reports if (against := _against(report))), "")


def _against(report: Report) -> str:
    gates = _gates(report)
    for gate in gates:
        if gate.value != 0:
            what = "is unknown" if math.isnan(gate.value) else "holds"
            return f"{gate.address} {what}: {gate.reason}"
    if isinstance(report, Decision):
        return _unsettled(report)
    # a first baseline is compared with nothing and has no gate
    return "" if gates or not report.unmeasured else f"{report.kind}: {report.unmeasured}"


def _unsettled(decision: Decision) -> str:
    """Which rule of a decision that did not fire is no all-clear; empty if all are."""
    if not decision.alerts:
        return "alerts: nothing was judged, as there are no rules"
    for alert in decision.alerts:
        if alert.phase not in ("ok", "resolved"):
            phase = alert.phase.replace("_", " ")
            return f"alerts: {shown_name(alert.rule.title)} is {phase}: {alert.reason}"
    return ""


def _gates(report: Report) -> list[Measurement]:
    """The answers about the whole window, and not about one feature or segment."""
    return [each for each in report.measurements() if each.is_gate and len(each.path) == 1]


def _numbers(reports: Sequence[Report]) -> dict[str, float | str]:
    """Gates, headline numbers and the windows of decisions, as they are put on record."""
    # two quiet nights have the same numbers, and the second is new evidence
    windows: dict[str, float | str] = {
        f"{report.kind}.at": report.at.isoformat()
        for report in reports
        if isinstance(report, Decision)
    }
    found = {
        each.address: each.value
        for report in reports
        for each in report.measurements()
        if math.isfinite(each.value) and (each.is_gate or each.is_at_least("history"))
    }
    return windows | dict(list(found.items())[:_MOST_NUMBERS])
