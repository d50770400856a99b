"""What a night amounts to, for a person: a table in the log and a page on disk."""

from __future__ import annotations

from pathlib import Path

from flytekit import current_context, task
from flytekit.types.file import FlyteFile
from rich.console import Console
from rich.table import Table

from flytekitplugins.wbmon import Decision, DriftReport, PerformanceReport
from flytekitplugins.wbmon.monitor.alerts.page import decision_section
from flytekitplugins.wbmon.monitor.drift.page import drift_section
from flytekitplugins.wbmon.monitor.performance.page import performance_section
from flytekitplugins.wbmon.reports.html import page

_WORST = 5


@task
def summarise(
    title: str, drift: DriftReport, performance: PerformanceReport, decision: Decision
) -> FlyteFile:
    """Print what drifted, how the model did, and what was decided; write the same as a page.

    Args:
        title: What the window is called.
        drift: The window's drift report.
        performance: The window's performance report.
        decision: What the rules made of both.
    """
    console = Console(width=100, highlight=False)
    console.print()
    console.print(f"[bold]{title}: drift.[/] {drift.reason}")
    console.print(_drift_table(drift))
    console.print(f"[bold]{title}: performance.[/] {performance.reason}")
    console.print(_performance_table(performance))
    console.print(f"[bold]{title}: decision.[/] {decision.reason}")
    for alert in decision.alerts:
        console.print(f"  {alert.phase:>8}  {alert.rule.title}")
    return save_page(
        title, decision_section(decision), drift_section(drift), performance_section(performance)
    )


def save_page(title: str, *sections: str) -> FlyteFile:
    """Write the sections of reports as one page, and hand it over as a file."""
    path = Path(current_context().working_directory) / "report.html"
    path.write_text(page(title, *sections), encoding="utf-8")
    return FlyteFile(str(path))


def _drift_table(drift: DriftReport) -> Table:
    table = Table()
    for name in ("feature", "verdict", "rows moved", "q-value", "what happened"):
        table.add_column(name)
    for feature in list(drift.features.values())[:_WORST]:
        state = feature.level if feature.status == "ok" else feature.status
        check = feature.deciding
        moved = f"{check.effect_size:.1%}" if check else "-"
        table.add_row(
            feature.name, state, moved, f"{check.q_value:.2g}" if check else "-", feature.reason
        )
    left = len(drift.features) - _WORST
    if left > 0:
        table.caption = f"and {left} more features"
    return table


def _performance_table(performance: PerformanceReport) -> Table:
    table = Table()
    for name in ("metric", "value", "95 % interval", "baseline", "verdict"):
        table.add_column(name)
    for metric in performance.metrics.values():
        table.add_row(
            metric.name,
            f"{metric.value:.3f}",
            f"{metric.low:.3f} … {metric.high:.3f}",
            f"{metric.baseline:.3f}",
            metric.verdict,
        )
    return table
