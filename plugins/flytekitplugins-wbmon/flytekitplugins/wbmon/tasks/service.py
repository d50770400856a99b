"""The nodes that summarise a service and check its objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import require_share
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.samples.rows import Sample
from flytekitplugins.wbmon.monitor.service.report import ServingReport
from flytekitplugins.wbmon.monitor.service.slo_report import (
    ServingSLO,
    SLOReport,
    require_objectives,
)
from flytekitplugins.wbmon.run.artifact_lock import making_artifacts
from flytekitplugins.wbmon.run.lifecycle import current_run
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class SummarySettings:
    """Settings of `SummarizeServing`, where they are described."""

    low_confidence: float = 0.5
    sample: Sample | None = None


class SummarizeServing(Node[SummarySettings]):
    """Summarise traffic, errors and latency of all requests of a day from its serving windows.

    Args:
        name: The task's name.
        low_confidence: Predictions with a lower score count as uncertain; in [0, 1].
        sample: Requests to show, redacted, in the table `serving/requests` of the W&B run of the
            task: by default as many failures and slow requests as others. None for no table.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If `low_confidence` is not in [0, 1].
    """

    def __init__(
        self,
        name: str,
        *,
        low_confidence: float = 0.5,
        sample: Sample | None = None,
        **task_kwargs: Any,
    ) -> None:
        require_share("low_confidence", low_confidence)
        settings = SummarySettings(low_confidence=low_confidence, sample=sample)
        super().__init__(name, settings, **task_kwargs)

    def compute(
        self, windows: StructuredDataset, predictions: StructuredDataset | None = None
    ) -> ServingReport:
        """Summarise a day.

        Args:
            windows: The serving windows.
            predictions: The prediction log of the same day, for the confidence of the model and
                the sample of requests.

        Returns:
            report: Summary of all requests, in total, by route and by tenant.
        """
        from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving

        if predictions is not None and self.config.sample is not None:
            self._show(predictions, self.config.sample)
        return summarize_serving(
            open_data(windows),
            predictions=None if predictions is None else open_data(predictions),
            low_confidence=self.config.low_confidence,
        )

    def _show(self, predictions: StructuredDataset, rule: Sample) -> None:
        """Log the sample of requests, which is only shown in a W&B run."""
        from flytekitplugins.wbmon.monitor.service.request_sample import sample_requests
        from flytekitplugins.wbmon.publish.progress import log_sample

        run = current_run()
        if run is not None:
            with making_artifacts():
                sample = sample_requests(open_data(predictions), rule)
                log_sample(sample, run, name="serving/requests")


@dataclass(frozen=True, slots=True, kw_only=True)
class SLOSettings:
    """Settings of `CheckSLO`, where they are described."""

    slos: tuple[ServingSLO, ...]


class SLOChecked(NamedTuple):
    """An SLO report, with a primitive output for a `conditional`."""

    report: SLOReport
    violated: bool


class CheckSLO(Node[SLOSettings]):
    """Check the objectives of a service on its serving windows, which count all requests.

    Args:
        name: The task's name.
        slos: One objective or more, with different names.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there is no objective, or two share a name.
    """

    def __init__(self, name: str, *, slos: Sequence[ServingSLO], **task_kwargs: Any) -> None:
        slos = require_objectives(slos)
        super().__init__(name, SLOSettings(slos=slos), **task_kwargs)

    def compute(self, windows: StructuredDataset) -> SLOChecked:
        """Check the objectives over a day.

        Args:
            windows: The serving windows.

        Returns:
            report: For each objective the observed value and the burn rate of its error budget.
            violated: Whether any was missed.
        """
        from flytekitplugins.wbmon.monitor.service.slo import check_slos

        report = check_slos(open_data(windows), self.config.slos)
        return SLOChecked(report=report, violated=report.violated)
