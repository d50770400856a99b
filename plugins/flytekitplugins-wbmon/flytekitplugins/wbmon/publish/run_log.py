"""Reports as metrics, tables and panels of a W&B run.

Metric names are part of the public contract (`drift/…`, `performance/…`, `scoring/…`, `alerts/…`),
so that charts made once keep working. Each report is one row: `run.log` without a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.drift.report import DriftReport, DriftSeries
from flytekitplugins.wbmon.monitor.performance.report import Part, PerformanceReport
from flytekitplugins.wbmon.monitor.scoring.report import Confidence, PredictedClasses, ScoringReport

if TYPE_CHECKING:
    import wandb

_FEATURE_METRICS = 100
_CLASS_METRICS = 20
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

    # an estimate and the truth that comes later are two lines of one chart
    name = "estimate" if report.estimated else "performance"
    metrics: dict[str, Any] = {
        f"{name}/n_labelled": report.n_labelled,
        f"{name}/coverage": report.coverage,
        f"{name}/worse": int(report.worse),
    }
    for metric in report.metrics.values():
        metrics[f"{name}/{metric.name}"] = metric.value
        metrics[f"{name}/{metric.name}/low"] = metric.low
        metrics[f"{name}/{metric.name}/high"] = metric.high
        metrics[f"{name}/{metric.name}/baseline"] = metric.baseline
    if report.calibration is not None:
        metrics[f"{name}/calibration_error"] = report.calibration.error
        metrics[f"{name}/calibration_error/by_chance"] = report.calibration.error_by_chance
        metrics[f"{name}/calibration_p_value"] = report.calibration.p_value
    if report.estimates:
        metrics[f"{name}/overestimated"] = int(report.overestimated)
    if report.segments:
        worst = report.segments[0]
        metrics[f"{name}/worst_segment"] = f"{worst.by} {worst.value}: {worst.verdict}"
        metrics[f"{name}/n_worse_segments"] = sum(
            part.verdict == "worse" for part in report.segments
        )
        metrics[f"{name}/segments"] = _parts_table(report.segments)
    if report.chunks:
        metrics[f"{name}/chunks"] = _parts_table(report.chunks)
    metrics[f"{name}/report"] = wandb.Html(report.to_html())
    run.log(_defined(metrics))


def _parts_table(parts: Sequence[Part]) -> wandb.Table:
    import wandb

    names = list(parts[0].metrics)
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    rows: list[Iterable[Any]] = []
    for part in parts:
        metrics = (part.metrics[name] for name in names)
        values = [end for item in metrics for end in (item.value, item.low, item.high)]
        rows.append([part.by, part.value, part.verdict, part.n_rows, part.n_labelled, *values])
    head = ["by", "value", "verdict", "n_rows", "n_labelled"]
    return wandb.Table(columns=[*head, *ends], data=rows)


@log_report.register(ScoringReport)
def _log_scoring(report: ScoringReport, run: wandb.Run) -> None:
    metrics: dict[str, Any] = {
        "scoring/n_rows": report.n_rows,
        "scoring/n_batches": report.n_batches,
        "scoring/duration_s": report.duration_s,
        "scoring/predict_s": report.predict_s,
        "scoring/rows_per_s": report.rows_per_s,
        "scoring/n_failed": report.n_failed,
        "scoring/n_resumed": report.n_resumed,
        "scoring/error_rate": report.error_rate,
    }
    metrics |= {f"scoring/latency_ms/{name}": value for name, value in report.latency_ms.items()}
    metrics |= {f"scoring/errors/{name}": count for name, count in report.errors.items()}
    metrics |= {f"slo/{each.slo.name}": each.observed for each in report.slos}
    metrics |= {f"slo/{each.slo.name}/verdict": each.verdict for each in report.slos}
    if report.confidence is not None:
        metrics |= _confidence(report.confidence)
    if report.classes is not None:
        metrics |= _classes(report.classes)
    run.log(_defined(metrics))


def _confidence(confidence: Confidence) -> dict[str, Any]:
    return {
        "scoring/confidence/mean": confidence.mean,
        "scoring/confidence/sd": confidence.sd,
        **{f"scoring/confidence/{name}": q for name, q in confidence.quantiles.items()},
        "scoring/low_confidence_share": confidence.low_share,
        "scoring/low_confidence_share/low": confidence.low_share_low,
        "scoring/low_confidence_share/high": confidence.low_share_high,
    }


def _classes(classes: PredictedClasses) -> dict[str, Any]:
    shown = list(classes.counts.items())[:_CLASS_METRICS]
    return {
        "scoring/n_effective_classes": classes.n_effective,
        "scoring/n_missing_predictions": classes.n_missing,
        **{f"scoring/class_share/{name}": count / classes.n for name, count in shown},
    }


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
