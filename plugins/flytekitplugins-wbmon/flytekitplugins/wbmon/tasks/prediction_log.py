"""The nodes that read what serving wrote: segments to Parquet, and labels to predictions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.monitor.prediction_log.schema import day_folder
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionSettings:
    """Which log `CompactPredictionLog` compacts, and which of its days it hands on."""

    destination: str
    service: str
    days_back: int = 1
    feedback_days: int = 8
    orphan_after_s: float = 900.0
    keep_segments: bool = False


class Compacted(NamedTuple):
    """What was compacted, and the tables of a day."""

    report: CompactionReport
    predictions: StructuredDataset
    feedback: StructuredDataset
    windows: StructuredDataset


class CompactPredictionLog(Node[CompactionSettings]):
    """Turn the segments that serving left into Parquet by day, and hand a day on.

    It may be tried again at any time: a segment gives the same parts each time, and is deleted when
    they are all there. Segments of dead processes are sealed, torn lines cut off and counted, rows
    that are there already left out.

    Args:
        name: The task's name.
        destination: Path or URL of the log, as `PredictionLogger` was given it.
        service: The service.
        days_back: Which day is handed on: 1 is the last whole day (UTC) before `at`; 8 is a day
            whose labels had a week to come.
        feedback_days: Days of feedback that are handed on, the last ones before and including
            `at`'s.
        orphan_after_s: Seconds after which an open segment that nobody writes to is taken for that
            of a dead process.
        keep_segments: Move segments to `compacted/` in place of deleting them.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a number is out of range.
    """

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
        """Compact whatever is sealed, and hand a day on.

        Args:
            at: The time of the run, such as the kickoff time of a schedule; now if not given.

        Returns:
            report: What came in, what was written, and what was lost.
            predictions: The prediction log of the day.
            feedback: The feedback of the last days, the last word of each.
            windows: The serving windows of the day.
        """
        from flytekitplugins.wbmon.monitor.prediction_log.compact import (
            compact_prediction_log,
            days_before,
            ensure_day,
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
        moment = at or datetime.now(timezone.utc)
        day = days_before(moment, config.days_back)
        ensure_day(root, service, day, filesystem=files)
        feedback = recent_feedback(
            root,
            service,
            [days_before(moment, back) for back in range(config.feedback_days)],
            filesystem=files,
        )
        return Compacted(
            report=report,
            predictions=_folder(day_folder(root, "prediction", service, day)),
            feedback=StructuredDataset(dataframe=feedback),
            windows=_folder(day_folder(root, "window", service, day)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFeedbackSettings:
    """Which feedback `JoinFeedback` takes for the label, of which requests."""

    feedback: str = "label"
    route: str = ""


class JoinFeedback(Node[JoinFeedbackSettings]):
    """Put what was said of predictions beside them: late labels, ratings.

    Rows of requests that predicted nothing (refused, failed, or of another kind) are left out, so
    what remains is what a profile and a performance check are about.

    This is for what `PredictionLogger.log_feedback` wrote: many names, sources and revisions in one
    log, of which one name is taken. Labels in a table of their own (a warehouse, batch scoring)
    are for `JoinLabels`, which joins any two tables by any key; both use the same join.

    Args:
        name: The task's name.
        feedback: Name of the feedback: `label` for the truth, `thumbs` for ratings.
        route: Requests of this route only; of all if empty.
        task_kwargs: As for any node.
    """

    def __init__(
        self, name: str, *, feedback: str = "label", route: str = "", **task_kwargs: Any
    ) -> None:
        super().__init__(name, JoinFeedbackSettings(feedback=feedback, route=route), **task_kwargs)

    def compute(
        self, predictions: StructuredDataset, feedback: StructuredDataset
    ) -> StructuredDataset:
        """Join by request id.

        Args:
            predictions: The prediction log of a day.
            feedback: The feedback of that day and the days after it.

        Returns:
            data: The predictions with the columns `label` and `feedback_score`; null where nothing
                was said.
        """
        from flytekitplugins.wbmon.monitor.prediction_log.feedback import join_feedback

        joined = join_feedback(
            open_data(predictions),
            open_data(feedback),
            name=self.config.feedback,
            route=self.config.route,
        )
        return StructuredDataset(dataframe=joined)


def _folder(uri: str) -> StructuredDataset:
    return StructuredDataset(uri=uri, file_format="parquet")
