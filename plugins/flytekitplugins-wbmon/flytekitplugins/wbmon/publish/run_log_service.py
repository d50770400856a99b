"""Reports about a service as metrics of a W&B run; beside those that `run_log` knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.monitor.service.report import ServingReport, SLOReport
from flytekitplugins.wbmon.publish.run_log import log_report

if TYPE_CHECKING:
    import wandb

__all__ = ["log_report"]


@log_report.register(CompactionReport)
def _log_compaction(report: CompactionReport, run: wandb.Run) -> None:
    numbers = report.to_dict()
    run.log({f"prediction_log/{name}": n for name, n in numbers.items() if name.startswith("n_")})


@log_report.register(ServingReport)
def _log_serving(report: ServingReport, run: wandb.Run) -> None:
    import wandb

    total = report.total
    metrics: dict[str, Any] = {
        "serving/requests": total.n_requests,
        "serving/failed": total.n_failed,
        "serving/error_rate": total.error_rate,
        "serving/peak_per_s": report.peak_per_s,
        "serving/in_flight_max": report.in_flight_max,
        "serving/sampled_rows": report.n_sampled,
        "serving/dropped_rows": report.n_dropped,
        "serving/report": wandb.Html(report.to_html()),
    }
    metrics |= {f"serving/latency_ms/{name}": value for name, value in total.latency_ms.items()}
    metrics |= {
        f"serving/time_to_first_chunk_ms/{name}": value
        for name, value in total.first_chunk_ms.items()
    }
    if report.confidence is not None:
        metrics["serving/low_confidence_share"] = report.confidence.low_share
        metrics["serving/top_prediction_share"] = report.confidence.top_share
    run.log(_defined(metrics))


@log_report.register(SLOReport)
def _log_slos(report: SLOReport, run: wandb.Run) -> None:
    metrics: dict[str, Any] = {"slo/violated": int(report.violated)}
    for result in report.results:
        metrics[f"slo/{result.slo.name}/good_share"] = result.good_share
        metrics[f"slo/{result.slo.name}/burn_rate"] = result.burn_rate
    run.log(_defined(metrics))


@log_report.register(ExperimentReport)
def _log_experiment(report: ExperimentReport, run: wandb.Run) -> None:
    whole = f"experiment/{report.experiment}"
    metrics: dict[str, Any] = {f"{whole}/split_p_value": report.split_p_value}
    for each in report.variants:
        place = f"{whole}/{each.variant}"
        metrics[f"{place}/mean"] = each.mean
        metrics[f"{place}/difference"] = each.difference
        metrics[f"{place}/p_value"] = each.p_value
    run.log(_defined(metrics))


def _defined(metrics: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in metrics.items()
        if not (isinstance(value, float) and math.isnan(value))
    }
