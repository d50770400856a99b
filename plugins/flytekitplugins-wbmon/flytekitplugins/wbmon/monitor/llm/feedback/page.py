"""The page of a feedback report."""

from __future__ import annotations

from collections.abc import Sequence

from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackRate, FeedbackReport
from flytekitplugins.wbmon.reports.html import (
    cell,
    facts,
    heading,
    interval,
    name_cell,
    page,
    section,
    share,
    state_cell,
    table,
    verdict,
    warning,
)

_SHOWN = 20


def feedback_section(report: FeedbackReport) -> str:
    """The section of a feedback report."""
    total = report.total
    words = {
        "worse": "Answers are liked less than before",
        "better": "Answers are liked more than before",
    }.get(total.verdict, f"{share(total.rate)} of rated answers are liked")
    if report.unmeasured:
        words = "It is not known how answers are liked"
    body = [
        verdict(total.verdict, words, report.reason),
        facts(
            f"{total.n_rated:,} rated of {total.n_calls:,.0f}",
            f"{report.n_unmatched:,} ratings of unknown answers",
            f"{report.n_disputed:,} rated differently by sources",
            f"{report.n_repeated:,} rows of repeated requests",
            "intervals cover 95 %",
        ),
    ]
    if report.n_unreadable:
        body.append(warning(report.unreadable))
    if report.issues:
        rows = (
            (
                name_cell(issue.label),
                cell(f"{issue.n:,}"),
                cell(share(issue.share)),
                cell(share(issue.before)),
                state_cell(issue.verdict),
            )
            for issue in report.issues[:_SHOWN]
        )
        body.append(table(("complaint", "ratings", "share", "before", "change"), rows))
    for dimension, groups in report.groups.items():
        body.append(heading(f"By {dimension}"))
        head = ("", "rated", "liked", "95 % interval", "before", "change")
        body.append(table(head, map(_rate_row, groups[:_SHOWN])))
    return section("Feedback report", body)


def _rate_row(rate: FeedbackRate) -> Sequence[str]:
    return (
        name_cell(rate.key),
        cell(f"{rate.n_rated:,}"),
        cell(share(rate.rate)),
        cell(interval(rate.low, rate.high, share)),
        cell(share(rate.before)),
        state_cell(rate.verdict),
    )


def page_of(report: FeedbackReport) -> str:
    """The page of a report of this package."""
    return page("Feedback report", feedback_section(report))
