"""Reports about LLM calls as metrics of a W&B run; beside those that `run_log` knows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.monitor.llm.steps.report import StepReport
from flytekitplugins.wbmon.publish.run_log import log_report

if TYPE_CHECKING:
    import wandb

_SHOWN = 50


@log_report.register(UsageReport)
def _log_usage(report: UsageReport, run: wandb.Run) -> None:
    import wandb

    total = report.total
    metrics: dict[str, Any] = {
        "usage/calls": total.n_calls,
        "usage/cost_usd": total.cost_usd,
        "usage/unpriced_calls": total.n_unpriced,
        "usage/input_tokens": total.input_tokens,
        "usage/output_tokens": total.output_tokens,
        "usage/error_rate": total.share(total.n_errors),
        "usage/retry_rate": total.share(total.n_retried),
        "usage/rate_limited_rate": total.share(total.n_rate_limited),
        "usage/fallback_rate": total.share(total.n_fallback),
        "usage/truncated_rate": total.share(total.n_truncated),
        "usage/over_budget": int(report.over_budget),
        "usage/report": wandb.Html(report.to_html()),
    }
    for dimension, groups in report.groups.items():
        rows: list[Iterable[Any]] = [
            [each.key, each.n_calls, each.cost_usd, each.n_unpriced] for each in groups
        ]
        columns: list[str | int] = [dimension, "calls", "cost_usd", "unpriced_calls"]
        metrics[f"usage/by_{dimension}"] = wandb.Table(columns=columns, data=rows)
    _log(run, metrics)


@log_report.register(EvaluationReport)
def _log_evaluation(report: EvaluationReport, run: wandb.Run) -> None:
    import wandb

    metrics: dict[str, Any] = {
        "evaluation/ship": int(report.ship),
        "evaluation/verdict": report.verdict,
        "evaluation/winner": report.winner,
        "evaluation/spent_usd": report.spent_usd,
        "evaluation/report": wandb.Html(report.to_html()),
    }
    for result in report.variants:
        name = result.variant.name
        metrics |= {f"evaluation/{s.name}/{name}": s.mean for s in result.scores.values()}
        metrics[f"evaluation/cost_per_call_usd/{name}"] = result.cost_per_call_usd
        metrics[f"evaluation/latency_ms/{name}"] = result.latency_ms.get("mean", math.nan)
    for found in report.comparisons:
        metrics[f"evaluation/difference/{found.metric}/{found.candidate}"] = found.difference
    _log(run, metrics)


@log_report.register(RAGReport)
def _log_rag(report: RAGReport, run: wandb.Run) -> None:
    import wandb

    summaries = {**report.retrieval, **report.judged}
    metrics: dict[str, Any] = {f"rag/{name}": each.mean for name, each in summaries.items()}
    metrics |= {f"rag/stage_ms/{name}": value for name, value in report.stage_ms.items()}
    metrics |= {
        "rag/degraded": int(report.degraded),
        "rag/empty_rate": report.share(report.n_empty),
        "rag/stale_rate": report.share(report.n_with_stale),
        "rag/score_drift": report.score_drift,
        "rag/report": wandb.Html(report.to_html()),
    }
    _log(run, metrics)


@log_report.register(FeedbackReport)
def _log_feedback(report: FeedbackReport, run: wandb.Run) -> None:
    import wandb

    metrics: dict[str, Any] = {
        "feedback/rate": report.total.rate,
        "feedback/rated": report.total.n_rated,
        "feedback/worse": int(report.worse),
        "feedback/report": wandb.Html(report.to_html()),
    }
    for issue in report.issues[:_SHOWN]:
        metrics[f"feedback/issue/{issue.label}"] = issue.share
    _log(run, metrics)


@log_report.register(StepReport)
def _log_steps(report: StepReport, run: wandb.Run) -> None:
    metrics: dict[str, Any] = {
        "steps/traces": report.n_traces,
        "steps/failed": report.n_failed,
        "steps/looping": report.n_looping,
        "steps/dead_ends": report.n_dead_ends,
    }
    for step in report.steps[:_SHOWN]:
        metrics[f"steps/p95_ms/{step.name}"] = step.latency_ms.get("p95", math.nan)
    _log(run, metrics)


def _log(run: wandb.Run, metrics: dict[str, Any]) -> None:
    """A chart should show a gap where nothing was measured."""
    undefined = [n for n, v in metrics.items() if isinstance(v, float) and math.isnan(v)]
    run.log({name: value for name, value in metrics.items() if name not in undefined})
