"""The page of a usage report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flytekitplugins.wbmon.monitor.llm.cost.report import BudgetStatus, Usage, UsageReport
from flytekitplugins.wbmon.reports.html import (
    cell,
    facts,
    heading,
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


def usage_section(report: UsageReport) -> str:
    """The section of a usage report."""
    worst = report.budgets[0].verdict if report.budgets else "ok"
    total = report.total
    if report.cost_unknown and worst == "ok":
        worst = "unknown"
    words = {
        "ok": f"${total.cost_usd:,.2f} for {total.n_calls:,.0f} calls",
        "unknown": "No cost is known" if report.cost_unknown else "A budget cannot be judged",
        "at_risk": "A budget will be exceeded",
        "exceeded": "A budget is exceeded",
    }
    body = [
        verdict(worst, words[worst], report.reason),
        facts(
            f"{total.input_tokens:,.0f} tokens in",
            f"{total.output_tokens:,.0f} tokens out",
            f"{share(total.share(total.n_errors))} failed",
            f"{share(total.share(total.n_rate_limited))} rate limited",
            f"{share(total.share(total.n_fallback))} answered by a fallback",
        ),
    ]
    if report.models_without_price:
        names = ", ".join(report.models_without_price)
        body.append(warning(f"No price is known for {names}: give it in prices="))
    if total.n_no_usage:
        body.append(warning(f"{total.n_no_usage:,.0f} answered calls have no token counts"))
    if report.budgets:
        head = ("budget", "of", "spent", "expected", "allowed", "unknown calls", "verdict")
        body.append(table(head, map(_budget_row, report.budgets[:_SHOWN])))
    measures = ("", "calls", "cost", "tokens in", "tokens out", "failed", "retried", "unknown cost")
    for dimension, groups in report.groups.items():
        body.append(heading(f"By {dimension}"))
        body.append(table(measures, map(_usage_row, groups[:_SHOWN])))
    return section("Usage report", body)


def _budget_row(status: BudgetStatus) -> Sequence[str]:
    budget = status.budget
    likely = f"${status.forecast_usd:,.2f}"
    if not math.isnan(status.forecast_low):
        likely += f" ({status.forecast_low:,.2f} … {status.forecast_high:,.2f})"
    return (
        cell(f"{budget.period} from {status.start}"),
        name_cell(f"{budget.scope} {status.key}".strip()),
        cell(f"${status.spent_usd:,.2f}"),
        cell(likely),
        cell(f"${budget.limit:,.2f}"),
        cell(f"{status.n_unknown:,.0f}"),
        state_cell(status.verdict),
    )


def _usage_row(usage: Usage) -> Sequence[str]:
    return (
        name_cell(usage.key),
        cell(f"{usage.n_calls:,.0f}"),
        cell(f"${usage.cost_usd:,.4g}"),
        cell(f"{usage.input_tokens:,.0f}"),
        cell(f"{usage.output_tokens:,.0f}"),
        cell(share(usage.share(usage.n_errors))),
        cell(share(usage.share(usage.n_retried))),
        cell(f"{usage.n_unpriced:,.0f}"),
    )


def page_of(report: UsageReport) -> str:
    """The page of a report of this package."""
    return page("Usage report", usage_section(report))
