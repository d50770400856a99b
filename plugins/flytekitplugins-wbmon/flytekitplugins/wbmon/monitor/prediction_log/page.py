"""HTML page of a compaction report."""

from __future__ import annotations

from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.reports.html import facts, page, section, verdict


def compaction_section(report: CompactionReport) -> str:
    """The section of a compaction report."""
    lost = report.n_torn + report.n_dropped
    words = f"{report.n_predictions:,} predictions from {report.n_segments:,} segments"
    body = [
        verdict("warning" if lost else "ok", words, report.reason),
        facts(
            f"{report.n_feedback:,} feedback rows",
            f"{report.n_windows:,} windows",
            f"{report.n_duplicates:,} duplicates left out",
            f"{report.n_torn:,} torn lines",
            f"{report.n_dropped:,} rows dropped by serving",
            f"{report.n_orphans:,} orphaned segments",
        ),
        facts("days " + (", ".join(report.days) or "none")),
    ]
    return section("Prediction log", body)


def page_of(report: CompactionReport) -> str:
    """The page of a report of this package."""
    return page("Prediction log", compaction_section(report))
