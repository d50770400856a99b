"""The node that finds slow, failing and looping steps of a chain or agent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from flytekitplugins.wbmon.arguments import moment, require_duration
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.monitor.llm.steps.report import StepReport
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """Settings of `AnalyzeSteps`, where they are described."""

    loop_from: int = 3
    window: timedelta = timedelta(days=1)


class StepsAnalyzed(NamedTuple):
    """A step report, and the number of failed traces."""

    report: StepReport
    n_failed: int


class AnalyzeSteps(Node[StepSettings]):
    """Summarise the steps of traces: latency, tokens, origin of failures, loops and dead ends.

    Args:
        name: The task's name.
        loop_from: Number of identical calls of a step in one trace that count as a loop; `>= 2`.
        window: Length of the window that ends at `at`, such as the time from one run of a schedule
            to the next.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If `loop_from` is smaller than 2, or `window` no positive length of time.
    """

    shared_urls = ("call_log",)

    def __init__(
        self,
        name: str,
        *,
        loop_from: int = 3,
        window: timedelta = timedelta(days=1),
        **task_kwargs: Any,
    ) -> None:
        if loop_from < 2:  # noqa: PLR2004 - once is no loop
            raise ConfigError(f"loop_from must be at least 2, got {loop_from}")
        require_duration("window", window)
        super().__init__(name, StepSettings(loop_from=loop_from, window=window), **task_kwargs)

    def compute(self, call_log: str, at: datetime | None = None) -> StepsAnalyzed:
        """Analyse the steps that traced tasks logged.

        Args:
            call_log: Path or URL, as passed to `weave_init(call_log=…)`.
            at: End of the window, such as the kickoff time of a schedule; traces that began within
                `window` before it are analysed. If not given, all traces of the log are: for a look
                by hand, and not for an alert, as a bad night would be one among all.

        Returns:
            report: Every step, the ones where failures begin first.
            n_failed: Number of traces that failed.
        """
        from flytekitplugins.wbmon.monitor.llm.steps.analyze import analyse_steps
        from flytekitplugins.wbmon.monitor.llm.steps.spans import read_spans

        end = None if at is None else moment("at", at)
        report = analyse_steps(
            read_spans(call_log, filesystem=filesystem_of_task(call_log)),
            loop_from=self.config.loop_from,
            start=None if end is None else end - self.config.window,
            end=end,
        )
        return StepsAnalyzed(report=report, n_failed=report.n_failed)
