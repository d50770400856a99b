"""HTML pages of the reports on a prediction log."""

from __future__ import annotations

from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport, LabelReport
from flytekitplugins.wbmon.reports.html import facts, page, section, verdict


def compaction_section(report: CompactionReport) -> str:
    """The section of a compaction report."""
    words = f"{report.n_predictions:,} predictions from {report.n_segments:,} segments"
    body = [
        verdict(_verdict_of(report), words, report.reason),
        facts(
            f"{report.n_feedback:,} feedback rows",
            f"{report.n_windows:,} windows",
            f"{report.n_duplicates:,} duplicates left out",
            f"{report.n_conflicts:,} of them windows that differ",
            f"{report.n_torn:,} lines in quarantine",
            f"{report.n_dropped:,} rows dropped by serving",
            f"{report.n_orphans:,} orphaned segments",
            f"{report.n_left:,} segments not compacted",
            f"{report.n_damaged:,} parts or manifests put aside",
        ),
        facts("days " + (", ".join(report.days) or "none")),
    ]
    if report.day:
        body.append(
            facts(
                f"handed on: {report.day}",
                f"{report.n_day_predictions:,} predictions",
                f"{report.n_day_feedback:,} feedback rows",
                f"{report.n_day_windows:,} windows",
            )
        )
    return section("Prediction log", body)


def _verdict_of(report: CompactionReport) -> str:
    if report.losses and (report.n_predictions or report.n_day_predictions):
        return "warning"
    return "unknown" if report.unmeasured else "ok"


def label_section(report: LabelReport) -> str:
    """The section of a report of labels."""
    words = f"{report.n_labelled:,} of {report.n_predictions:,} predictions have feedback"
    body = [
        verdict("unknown" if report.unmeasured else "ok", words, report.reason),
        facts(
            f"{report.n_disputed:,} disputed by sources",
            f"{report.n_repeated:,} of repeated requests",
            f"{report.n_unmatched:,} requests not in the log",
            f"{report.n_left_out:,} rows of sources not used",
        ),
    ]
    return section("Labels", body)


def page_of(report: CompactionReport | LabelReport) -> str:
    """The page of a report of this package."""
    if isinstance(report, LabelReport):
        return page("Labels", label_section(report))
    return page("Prediction log", compaction_section(report))
