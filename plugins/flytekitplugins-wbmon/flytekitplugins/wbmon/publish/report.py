"""Publishes the reports of a task on its Deck and to its W&B run; errors are only logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.flyte.deck import show_report
from flytekitplugins.wbmon.publish.run_log import log_report
from flytekitplugins.wbmon.reports.report import Report

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)


def publish_reports(outputs: Iterable[Any], *, run: wandb.Run | None) -> None:
    """Show each report among a task's outputs on the Deck, and log it to the open run.

    Args:
        outputs: The outputs of the task; those that are not reports are skipped.
        run: The W&B run of the task; None if there is none.
    """
    for report in outputs:
        if not isinstance(report, Report):
            continue
        # one report at a time, so that an error in one does not keep back the others
        try:
            show_report(report)
            if run is not None:
                log_report(report, run)
        except Exception:  # a monitor must never break what it monitors
            logger.warning("%s could not be shown", type(report).__name__, exc_info=True)
