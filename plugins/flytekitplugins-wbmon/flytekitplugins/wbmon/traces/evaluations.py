"""Publishing of evaluation reports to Weave: each variant as an evaluation, each item as a row."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.traces.session import current_trace

logger = logging.getLogger(__name__)


def publish_evaluations(outputs: Iterable[Any]) -> None:
    """Publish each evaluation report among the outputs; does nothing outside a traced task."""
    session = current_trace()
    if session is None or session.client is None:
        return
    for report in outputs:
        if isinstance(report, EvaluationReport):
            try:
                _publish(report)
            except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
                logger.warning(
                    "the evaluation is not in Weave (%s: %s)", type(error).__name__, error
                )


def _publish(report: EvaluationReport) -> None:
    import weave

    for result in report.variants:
        name = result.variant.name
        log = weave.EvaluationLogger(
            name=f"{report.name}-{name}", model=name, dataset=f"{report.name}-items"
        )
        for item in report.items:
            if item.variant != name:
                continue
            row = log.log_prediction(
                inputs={"item": item.item_id, "question": item.question},
                # a failed item has no answer, its error tells the reader why
                output=item.answer or item.error,
            )
            for scorer, value in item.scores.items():
                row.log_score(scorer=scorer, score=value)
            row.finish()
        means = {each.name: each.mean for each in result.scores.values()}
        summary = {n: v for n, v in means.items() if not math.isnan(v)}
        log.log_summary(
            {"scores": summary, "n_failed": result.n_failed, "cost_usd": result.cost_usd}
        )
