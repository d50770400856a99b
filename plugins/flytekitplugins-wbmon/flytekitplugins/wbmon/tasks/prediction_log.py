"""The nodes that compact the prediction log of a server and join its feedback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport, LabelReport
from flytekitplugins.wbmon.monitor.prediction_log.schema import SOURCES, day_folder
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.location import is_local
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionSettings:
    """Settings of `CompactPredictionLog`, where they are described."""

    destination: str
    service: str
    days_back: int = 1
    feedback_days: int = 8
    orphan_after_s: float = 900.0
    keep_segments: bool = False


class Compacted(NamedTuple):
    """A compaction report, and the tables of one day."""

    report: CompactionReport
    predictions: StructuredDataset
    feedback: StructuredDataset
    windows: StructuredDataset


class CompactPredictionLog(Node[CompactionSettings]):
    """Convert log segments of a server to Parquet by day, and return the tables of one day.

    The node is idempotent: a segment gives the same parts each time, and is deleted only when all
    of them exist. Segments of dead processes are sealed, lines that cannot be read are put aside in
    `quarantine/` and counted, and rows that exist already are skipped. All parts of a day get one
    schema, so that any reader of Parquet can read the day.

    Args:
        name: The task's name.
        destination: Path or URL of the log, as passed to `PredictionLogger`.
        service: Name of the service.
        days_back: The day to return: 1 is the last whole day (UTC) before `at`; with 8, labels had
            a week to arrive.
        feedback_days: Number of days of feedback to return, up to and including the day of `at`.
        orphan_after_s: Seconds without writes after which an open segment is considered that of a
            dead process.
        keep_segments: Whether to move segments to `compacted/` instead of deleting them.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a number is out of range.
    """

    shared_urls = ("destination",)

    def __init__(
        self,
        name: str,
        *,
        destination: str,
        service: str,
        days_back: int = 1,
        feedback_days: int = 8,
        orphan_after_s: float = 900.0,
        keep_segments: bool = False,
        **task_kwargs: Any,
    ) -> None:
        if days_back < 0 or feedback_days < 1 or orphan_after_s <= 0:
            raise ConfigError(
                f"days_back must be at least 0, feedback_days 1 and orphan_after_s positive; got "
                f"{days_back}, {feedback_days} and {orphan_after_s}"
            )
        settings = CompactionSettings(
            destination=destination,
            service=service,
            days_back=days_back,
            feedback_days=feedback_days,
            orphan_after_s=orphan_after_s,
            keep_segments=keep_segments,
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, at: datetime | None = None) -> Compacted:
        """Compact all sealed segments, and return the tables of one day.

        Args:
            at: The time of the run, such as the kickoff time of a schedule; now if not given.

        Returns:
            report: How many rows were read, written and lost, and how many the day has.
            predictions: The prediction log of the day.
            feedback: The feedback of the last days, with only the last revision of each.
            windows: The serving windows of the day.
        """
        from flytekitplugins.wbmon.monitor.prediction_log.compact import (
            compact_prediction_log,
            days_before,
            with_day,
        )
        from flytekitplugins.wbmon.monitor.prediction_log.feedback import recent_feedback

        config = self.config
        root, service = config.destination, config.service
        files = filesystem_of_task(root)
        report = compact_prediction_log(
            root,
            service,
            orphan_after_s=config.orphan_after_s,
            keep_segments=config.keep_segments,
            filesystem=files,
        )
        at = datetime.now(timezone.utc) if at is None else at
        day = days_before(at, config.days_back)
        days = [days_before(at, back) for back in range(config.feedback_days)]
        # also a day without requests, or the next node has nothing to read
        report = with_day(report, root, day, feedback_days=days, filesystem=files)
        feedback = recent_feedback(root, service, days, filesystem=files)
        return Compacted(
            report=report,
            predictions=_folder(day_folder(root, "prediction", service, day)),
            feedback=StructuredDataset(dataframe=feedback),
            windows=_folder(day_folder(root, "window", service, day)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFeedbackSettings:
    """Settings of `JoinFeedback`, where they are described."""

    feedback: str = "label"
    route: str = ""
    sources: tuple[str, ...] = SOURCES


class FeedbackJoined(NamedTuple):
    """Predictions with their feedback, and a report."""

    data: StructuredDataset
    report: LabelReport


class JoinFeedback(Node[JoinFeedbackSettings]):
    """Join feedback, such as late labels or ratings, to the predictions of a server.

    Requests without a prediction (rejected, failed, or of another kind) are left out, so the result
    can be profiled and measured. Of several rows with one request id the last one has the feedback.

    Use this node for feedback written by `PredictionLogger.log_feedback`: that log has many names,
    sources and revisions, of which one name is selected. For labels in a separate table (from a
    warehouse or for batch scoring) use `JoinLabels`, which joins any two tables by any key. Both
    use the same join.

    Args:
        name: The task's name.
        feedback: Name of the feedback: `label` for the truth, `thumbs` for ratings.
        route: Keep only requests of this route; all if empty.
        sources: The sources of feedback to use; where they disagree about a request the first one
            decides. By default people go before facts of the system (`code`) and judges.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there is no source.
    """

    def __init__(
        self,
        name: str,
        *,
        feedback: str = "label",
        route: str = "",
        sources: Sequence[str] = SOURCES,
        **task_kwargs: Any,
    ) -> None:
        sources = listed("sources", sources, "sources")
        if not sources:
            raise ConfigError("sources must name at least one source of feedback, got none")
        settings = JoinFeedbackSettings(feedback=feedback, route=route, sources=sources)
        super().__init__(name, settings, **task_kwargs)

    def compute(
        self, predictions: StructuredDataset, feedback: StructuredDataset
    ) -> FeedbackJoined:
        """Join by request id.

        Args:
            predictions: The prediction log of a day.
            feedback: The feedback of that day and the days after it.

        Returns:
            data: The predictions with the columns `label` and `feedback_score`; null without
                feedback.
            report: How many have feedback, and what sources disagree about.
        """
        from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback

        joined = join_feedback(
            open_data(predictions),
            open_data(feedback),
            name=self.config.feedback,
            route=self.config.route,
            sources=self.config.sources,
        )
        return FeedbackJoined(data=StructuredDataset(dataframe=joined.table), report=joined.report)


def _folder(uri: str) -> StructuredDataset:
    if is_local(uri):
        # flytekit would look for a file whose name begins with `file://`
        uri = open_filesystem(uri)[1]
    return StructuredDataset(uri=uri, file_format="parquet")
