"""Reports as metrics, tables and panels of a W&B run.

Metric names are part of the public contract (`drift/…`, `performance/…`, `scoring/…`, `alerts/…`),
so that charts made once keep working. Each report is one row: `run.log` without a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.records.alert import Decision
from flytekitplugins.wbmon.records.drift import DriftReport, DriftSeries
from flytekitplugins.wbmon.records.performance import PerformanceReport
from flytekitplugins.wbmon.records.scoring import ScoringReport

if TYPE_CHECKING:
    import wandb

_FEATURE_METRICS = 100
_COLUMNS = ("name", "kind", "role", "status", "level", "effect_size", "q_value", "reason")


@singledispatch
def log_report(report: object, run: wandb.Run) -> None:
    """Log a report to an open run; what is not a report is left alone.

    Args:
        report: A drift, performance or scoring report, or a decision.
        run: The run of the task.
    """


@log_report.register(DriftReport)
def _log_drift(report: DriftReport, run: wandb.Run) -> None:
    import wandb

    metrics: dict[str, Any] = {
        "drift/drifted": int(report.drifted),
        "drift/verdict": report.verdict,
        "drift/n_drifted": report.n_drifted,
        "drift/share_drifted": report.share_drifted,
        "drift/n_reference": report.n_reference,
        "drift/n_current": report.n_current,
    }
    features = list(report.features.values())
    for feature in features[:_FEATURE_METRICS]:
        metrics[f"drift/effect_size/{feature.name}"] = feature.effect_size
        metrics[f"drift/missing/{feature.name}"] = feature.missing_current
    rows: list[Iterable[Any]] = [
        [getattr(feature, name) for name in _COLUMNS] for feature in features
    ]
    metrics["drift/features"] = wandb.Table(columns=list(_COLUMNS), data=rows)
    metrics["drift/report"] = wandb.Html(report.to_html())
    run.log(_defined(metrics))


@log_report.register(DriftSeries)
def _log_series(series: DriftSeries, run: wandb.Run) -> None:
    import wandb

    for index, window in enumerate(series.windows):
        report = window.report
        run.log(
            _defined(
                {
                    "drift/window/index": index,
                    "drift/window/start": window.start.timestamp() if window.start else math.nan,
                    "drift/window/segment": window.segment,
                    "drift/window/drifted": int(report.drifted),
                    "drift/window/n_drifted": report.n_drifted,
                }
            )
        )
    run.log({"drift/series": wandb.Html(series.to_html()), "drift/drifted": int(series.drifted)})


@log_report.register(PerformanceReport)
def _log_performance(report: PerformanceReport, run: wandb.Run) -> None:
    import wandb

    metrics: dict[str, Any] = {
        "performance/n_labelled": report.n_labelled,
        "performance/coverage": report.coverage,
        "performance/worse": int(report.worse),
    }
    for metric in report.metrics.values():
        metrics[f"performance/{metric.name}"] = metric.value
        metrics[f"performance/{metric.name}/low"] = metric.low
        metrics[f"performance/{metric.name}/high"] = metric.high
        metrics[f"performance/{metric.name}/baseline"] = metric.baseline
    metrics["performance/report"] = wandb.Html(report.to_html())
    run.log(_defined(metrics))


@log_report.register(ScoringReport)
def _log_scoring(report: ScoringReport, run: wandb.Run) -> None:
    metrics: dict[str, Any] = {
        "scoring/n_rows": report.n_rows,
        "scoring/n_batches": report.n_batches,
        "scoring/duration_s": report.duration_s,
        "scoring/predict_s": report.predict_s,
        "scoring/rows_per_s": report.rows_per_s,
    }
    metrics |= {f"scoring/latency_ms/{name}": value for name, value in report.latency_ms.items()}
    metrics |= {f"slo/{each.slo.name}": each.observed for each in report.slos}
    run.log(_defined(metrics))


@log_report.register(Decision)
def _log_decision(decision: Decision, run: wandb.Run) -> None:
    import wandb

    firing = [alert for alert in decision.alerts if alert.phase == "firing" and not alert.is_silent]
    # one row a night, drawn over the night's time: a run that is continued every night starts
    # its steps anew
    run.define_metric("night", hidden=True)
    for group in (
        "alerts/*",
        *sorted({f"{name.partition('/')[0]}/*" for name in decision.numbers}),
    ):
        run.define_metric(group, step_metric="night")
    run.log(
        {
            **decision.numbers,
            "night": decision.at.timestamp(),
            "alerts/night": f"{decision.at:%Y-%m-%d %H:%M}",
            "alerts/fired": int(decision.fired),
            "alerts/n_firing": len(firing),
            "alerts/n_no_data": sum(alert.phase == "no_data" for alert in decision.alerts),
            "alerts/n_news": len(decision.news),
            "alerts/n_findings": len(decision.findings),
            "alerts/severity": decision.severity,
            "alerts/reason": decision.reason,
            "alerts/report": wandb.Html(decision.to_html()),
        }
    )


def _defined(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics that have a value: a chart should show a gap where nothing was measured."""
    return {
        name: value
        for name, value in metrics.items()
        if not (isinstance(value, float) and math.isnan(value))
    }
