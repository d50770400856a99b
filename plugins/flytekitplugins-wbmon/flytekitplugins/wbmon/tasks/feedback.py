"""The node that says what users think of the answers they got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeFeedbackSettings:
    """How `AnalyzeFeedback` reads ratings."""

    by: tuple[str, ...] = ("model", "tenant", "prompt")
    good_from: float = 0.5
    sources: tuple[str, ...] = ("user", "annotator")


class FeedbackAnalyzed(NamedTuple):
    """A feedback report, its gate, and the answers to look at."""

    report: FeedbackReport
    worse: bool
    low_rated: StructuredDataset


class AnalyzeFeedback(Node[AnalyzeFeedbackSettings]):
    """Join ratings to the calls they are about: rates, complaints, and the answers to look at.

    The low-rated answers come as a data set whose columns are those of an evaluation's items, so
    that the next evaluation can ask them.

    Args:
        name: The task's name.
        by: Dimensions to group by: `model`, `tenant`, `prompt`, `route`, `variant`.
        good_from: Score from which an answer counts as liked.
        sources: Whose feedback counts: `user`, `annotator`, `llm_judge`, `code`.
        task_kwargs: As for any node.
    """

    def __init__(
        self,
        name: str,
        *,
        by: Sequence[str] = ("model", "tenant", "prompt"),
        good_from: float = 0.5,
        sources: Sequence[str] = ("user", "annotator"),
        **task_kwargs: Any,
    ) -> None:
        settings = AnalyzeFeedbackSettings(
            by=tuple(by), good_from=good_from, sources=tuple(sources)
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(
        self,
        calls: StructuredDataset,
        feedback: StructuredDataset,
        previous: FeedbackReport | None = None,
    ) -> FeedbackAnalyzed:
        """Analyse the feedback of a window.

        Args:
            calls: Rows of the call log or prediction log.
            feedback: Rows of the feedback log.
            previous: The report of the window before.

        Returns:
            report: Who is content with what.
            worse: Whether answers are liked less than before, beyond chance.
            low_rated: Answers that were not liked, with their questions.
        """
        from flytekitplugins.wbmon.monitor.llm.feedback.analyze import (
            analyse_feedback,
            low_rated_table,
        )

        config = self.config
        report = analyse_feedback(
            open_data(calls),
            open_data(feedback),
            by=config.by,
            good_from=config.good_from,
            sources=config.sources,
            previous=previous,
        )
        low_rated = StructuredDataset(dataframe=low_rated_table(report))
        return FeedbackAnalyzed(report=report, worse=report.worse, low_rated=low_rated)
