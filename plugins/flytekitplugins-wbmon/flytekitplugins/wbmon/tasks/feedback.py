"""The node that analyses user ratings of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeFeedbackSettings:
    """Settings of `AnalyzeFeedback`, where they are described."""

    by: tuple[str, ...] = ("model", "tenant", "prompt")
    good_from: float = 0.5
    sources: tuple[str, ...] = ("user", "annotator")
    proxy: str = ""


class FeedbackAnalyzed(NamedTuple):
    """A feedback report, a primitive output for a `conditional`, and the low-rated answers."""

    report: FeedbackReport
    worse: bool
    low_rated: StructuredDataset


class AnalyzeFeedback(Node[AnalyzeFeedbackSettings]):
    """Join ratings to their calls; report rates and complaints, and return low-rated answers.

    The data set of low-rated answers has the columns of evaluation items, so that it can be the
    input of an evaluation.

    Args:
        name: The task's name.
        by: Dimensions to group by: `model`, `tenant`, `prompt`, `route`, `variant`.
        good_from: Minimum score of an answer that counts as liked.
        sources: The sources of feedback to use: `user`, `annotator`, `llm_judge`, `code`.
        proxy: The source of scores that stand in for ratings where there are none, such as
            `llm_judge`; the rated answers must be a random sample of all.
        task_kwargs: As for any node.
    """

    def __init__(
        self,
        name: str,
        *,
        by: Sequence[str] = ("model", "tenant", "prompt"),
        good_from: float = 0.5,
        sources: Sequence[str] = ("user", "annotator"),
        proxy: str = "",
        **task_kwargs: Any,
    ) -> None:
        settings = AnalyzeFeedbackSettings(
            by=listed("by", by, "dimensions"),
            good_from=good_from,
            sources=listed("sources", sources, "sources"),
            proxy=proxy,
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
            previous: The report of the previous window.

        Returns:
            report: Ratings by dimension.
            worse: Whether the share of liked answers is significantly lower than before.
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
            proxy=config.proxy,
            previous=previous,
        )
        low_rated = StructuredDataset(dataframe=low_rated_table(report))
        return FeedbackAnalyzed(report=report, worse=report.worse, low_rated=low_rated)
