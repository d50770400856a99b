"""Logs reports to a W&B run as metrics, tables and HTML panels.

Every number comes from `Report.measurements`. Its W&B name is its name in alert rules with slashes
instead of dots, so that existing charts keep working. Each report is logged as one row, without an
explicit step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries
from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.performance.part import Part
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.report import Report

if TYPE_CHECKING:
    import wandb

_COLUMNS = ("name", "kind", "role", "status", "level", "effect_size", "q_value", "reason")


def log_report(report: Report, run: wandb.Run) -> None:
    """Log a report to an open run.

    Args:
        report: A report of any kind.
        run: The open W&B run of the task.
    """
    import wandb

    for row in _rows(report, run):
        run.log(row)
    # in one call, hence one row; without `step`, because wandb drops rows whose step goes back
    run.log(
        {
            **scalars(report),
            **_extras(report),
            f"{report.kind}/report": wandb.Html(report.to_html()),
        }
    )


def scalars(report: Report) -> dict[str, float]:
    """The charted numbers of a report, by their W&B names.

    Undefined numbers (nan) are left out, so that a chart has a gap where nothing was measured.
    """
    measured = list(report.measurements())
    charted = [each for each in measured if each.is_at_least("chart")]
    # a class that is itself named `low` is meant by that name, here as in a rule
    taken = {each.metric for each in measured}
    ends = [end for each in charted for end in each.derived() if end.metric not in taken]
    return {each.metric: each.value for each in (*charted, *ends) if not math.isnan(each.value)}


@singledispatch
def _rows(report: Report, run: wandb.Run) -> Iterable[dict[str, Any]]:  # noqa: ARG001
    """Additional rows that are logged before the row of the report."""
    return ()


@_rows.register(DriftSeries)
def _windows(series: DriftSeries, run: wandb.Run) -> Iterator[dict[str, Any]]:
    # drawn over the start of each window, because a step would count the rows of other reports too
    run.define_metric("drift_series/window/*", step_metric="drift_series/window/start")
    for window in series.windows:
        numbers = {
            replace(each, kind=series.kind).metric: each.value
            for each in window.measurements()
            # numbers of the whole window, or of its segment; those of single features are too many
            if len(each.path) == (3 if window.segment else 2) and not math.isnan(each.value)
        }
        start = {"drift_series/window/start": window.start.timestamp()} if window.start else {}
        yield {**start, **numbers}


@_rows.register(Decision)
def _define_night(decision: Decision, run: wandb.Run) -> Iterable[dict[str, Any]]:
    # charts use the time of the night as x axis: a run that is resumed every night restarts its
    # steps at 0
    run.define_metric("night", hidden=True)
    groups = {f"{name.partition('/')[0]}/*" for name in decision.numbers}
    for group in ("alerts/*", *sorted(groups)):
        run.define_metric(group, step_metric="night")
    return ()


@singledispatch
def _extras(report: Report) -> dict[str, Any]:  # noqa: ARG001 - most have none
    """The texts and tables of a report."""
    return {}


@_extras.register(Decision)
def _of_decision(decision: Decision) -> dict[str, Any]:
    return {
        **decision.numbers,
        "night": decision.at.timestamp(),
        "alerts/night": f"{decision.at:%Y-%m-%d %H:%M}",
        "alerts/severity": decision.severity,
        "alerts/reason": decision.reason,
    }


@_extras.register(DriftReport)
def _of_drift(report: DriftReport) -> dict[str, Any]:
    rows = [[getattr(each, name) for name in _COLUMNS] for each in report.features.values()]
    return {"drift/verdict": report.verdict, "drift/features": _table(_COLUMNS, rows)}


@_extras.register(PerformanceReport)
def _of_performance(report: PerformanceReport) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    facts = {
        "positive_class": report.positive_class,
        "prediction_is": report.prediction_is,
        "unit": report.unit,
        "unreadable": ", ".join(report.unreadable),
    }
    extras |= {f"{report.kind}/{name}": fact for name, fact in facts.items() if fact}
    if report.segments:
        # the segments are sorted, the worst first
        worst = report.segments[0]
        extras[f"{report.kind}/worst_segment"] = (
            f"{shown_name(worst.by)} {shown_name(worst.value)}: {worst.verdict}"
        )
        extras[f"{report.kind}/segments"] = _parts_table(report.segments)
    if report.chunks:
        extras[f"{report.kind}/chunks"] = _parts_table(report.chunks)
    return extras


def _parts_table(parts: Sequence[Part]) -> wandb.Table:
    names = list(parts[0].metrics)
    # each metric has its interval beside it, in the same order as the values below
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    rows = []
    for part in parts:
        metrics = (part.metrics[name] for name in names)
        values = [end for item in metrics for end in (item.value, item.low, item.high)]
        rows.append([part.by, part.value, part.verdict, part.n_rows, part.n_labelled, *values])
    return _table(["by", "value", "verdict", "n_rows", "n_labelled", *ends], rows)


@_extras.register(UsageReport)
def _of_usage(report: UsageReport) -> dict[str, Any]:
    columns = ("n_calls", "cost_usd", "n_unpriced")
    return {
        f"usage/by_{dimension}": _table(
            [dimension, *columns],
            [[each.key, *(getattr(each, name) for name in columns)] for each in groups],
        )
        for dimension, groups in report.groups.items()
    }


@_extras.register(EvaluationReport)
def _of_evaluation(report: EvaluationReport) -> dict[str, Any]:
    return {"evaluation/verdict": report.verdict, "evaluation/winner": report.winner}


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> wandb.Table:
    import wandb

    return wandb.Table(columns=list(columns), data=[list(row) for row in rows])
