"""The node that analyses user ratings of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.monitor.llm.feedback.scale import RatingScale, scales_of
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeFeedbackSettings:
    """Settings of `AnalyzeFeedback`, where they are described."""

    by: tuple[str, ...] = ("model", "tenant", "prompt")
    good_from: float = 0.5
    scales: Mapping[str, RatingScale] = field(default_factory=dict)
    sources: tuple[str, ...] = ("annotator", "user")
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
        good_from: Minimum score of an answer that counts as liked, on the scale from 0 to 1.
        scales: Scales by the name of the feedback, where scores are not from 0 to 1, such as
            `{"stars": RatingScale(low=1, high=5, good_from=4)}`. `thumbs` are from -1 or 0 to 1;
            stars and the like are not read without a scale, and scores off it are counted.
        sources: The sources of feedback to use: `annotator`, `user`, `code`, `llm_judge`; where
            they disagree about an answer the first one decides.
        proxy: The source of scores that stand in for ratings where there are none, such as
            `llm_judge`; the rated answers must be a random sample of all.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a scale is none, or `good_from` not on the scale from 0 to 1.
    """

    def __init__(
        self,
        name: str,
        *,
        by: Sequence[str] = ("model", "tenant", "prompt"),
        good_from: float = 0.5,
        scales: Mapping[str, RatingScale] | None = None,
        sources: Sequence[str] = ("annotator", "user"),
        proxy: str = "",
        **task_kwargs: Any,
    ) -> None:
        scales_of(scales, good_from)
        settings = AnalyzeFeedbackSettings(
            by=listed("by", by, "dimensions"),
            good_from=good_from,
            scales=dict(scales or {}),
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
            previous: The report of the previous window, which remembers the rates of those before
                it; without one the comparison begins anew.

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
            scales=config.scales,
            sources=config.sources,
            proxy=config.proxy,
            previous=previous,
        )
        low_rated = StructuredDataset(dataframe=low_rated_table(report))
        return FeedbackAnalyzed(report=report, worse=report.worse, low_rated=low_rated)
