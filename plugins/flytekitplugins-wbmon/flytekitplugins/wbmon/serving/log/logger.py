"""The prediction log as a model server sees it: calls that cost microseconds and never raise.

Counts are taken of every request; a row is kept of some. Rows wait in a bounded queue for one
thread, which writes them to an append-only file: what is written survives the process.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor
from flytekitplugins.wbmon.serving.log.assignment import Experiment, Exposures
from flytekitplugins.wbmon.serving.log.buffer import LoggerStats
from flytekitplugins.wbmon.serving.log.encode import known_columns
from flytekitplugins.wbmon.serving.log.feedback import FeedbackSource, exposure_row, feedback_row
from flytekitplugins.wbmon.serving.log.process import ProcessLog
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request, current_request
from flytekitplugins.wbmon.serving.log.sampling import SamplingPolicy
from flytekitplugins.wbmon.serving.log.settings import LogSettings
from flytekitplugins.wbmon.serving.log.stage import Stage
from flytekitplugins.wbmon.serving.log.thread import Sink
from flytekitplugins.wbmon.serving.log.tracked import tracked
from flytekitplugins.wbmon.storage.lifetime import follow_process

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

_PATTERNS = PatternRedactor()
_DEFAULT_SAMPLING = SamplingPolicy()


class PredictionLogger:
    """Writes down what a service predicted, for nightly checks; one for each process.

    Args:
        service: What is served; a folder name.
        destination: Path or fsspec URL of the log. To a URL, whole segments are sent from `spool`
            and kept there until the copy is seen.
        model: Name of the model.
        model_version: Its version.
        deployment: Release tag.
        sampling: Which requests leave a row.
        redactor: Hides personal data and keys in every text; None keeps texts as they are.
        user_key: Secret key of the hash that stands for a user; without it no user is written.
        max_queue: Rows that may wait for the writer; more are dropped and counted.
        flush_interval: Seconds between writes: what is lost if the process is killed.
        window: Seconds of a serving window; a divisor of a day.
        segment_bytes: Size at which a segment is sealed.
        segment_age: Age in seconds at which it is.
        max_text: Characters kept of a text.
        instance: Which copy of the service this is; the host's name by default.
        spool: Folder for segments on their way to a URL.
        sinks: Further takers of windows, such as `WandbSink`.

    Raises:
        ConfigError: If the service cannot be a folder, or a number is out of range.
    """

    def __init__(  # noqa: PLR0913 - one keyword a matter
        self,
        service: str,
        destination: str,
        *,
        model: str | None = None,
        model_version: str | None = None,
        deployment: str | None = None,
        sampling: SamplingPolicy = _DEFAULT_SAMPLING,
        redactor: Redactor | None = _PATTERNS,
        user_key: bytes | str | None = None,
        max_queue: int = 10_000,
        flush_interval: float = 0.05,
        window: float = 10.0,
        segment_bytes: int = 64 << 20,
        segment_age: float = 300.0,
        max_text: int = 8_192,
        instance: str | None = None,
        spool: str | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.service = service
        self.destination = str(destination)
        self.sampling = sampling
        self._settings = LogSettings(
            service=service,
            destination=self.destination,
            model=model,
            model_version=model_version,
            deployment=deployment,
            sampling=sampling,
            redactor=redactor,
            user_key=user_key.encode() if isinstance(user_key, str) else user_key,
            max_queue=max_queue,
            flush_interval=flush_interval,
            window=window,
            segment_bytes=segment_bytes,
            segment_age=segment_age,
            max_text=max_text,
            instance=instance,
            spool=spool,
            sinks=sinks,
        )
        self._process = ProcessLog(self._settings)
        self._exposures = Exposures()
        self._warned = False
        self._is_closed = False
        follow_process(self)

    @property
    def stats(self) -> LoggerStats:
        """Where every request went until now."""
        return self._process.buffer.stats()

    @property
    def has_user_key(self) -> bool:
        """Whether users can be told apart in the log."""
        return self._settings.user_key is not None

    @contextmanager
    def request(
        self, route: str, *, request_id: str | None = None, **columns: Any
    ) -> Iterator[Request]:
        """Log what happens in the block as one request; an exception is noted and goes on.

        Args:
            route: What is asked for.
            request_id: The key for feedback and labels; a new one by default.
            columns: `tenant`, `user`, `session_id`, or columns of the prediction log.
        """
        request = Request(request_id, route=route)
        self._fill(request, columns)
        token = CURRENT.set(request)
        self.enter(request)
        try:
            yield request
        except BaseException as error:
            request.fail(error)
            raise
        finally:
            CURRENT.reset(token)
            request.latency_ms = request.elapsed_ms()
            self.leave(request)
            self.finish(request)

    def track(self, route: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator: each call of a function or coroutine function is one request.

        Args:
            route: What the function is called in the log.
        """
        return partial(tracked, partial(self.request, route))

    def log_prediction(
        self,
        *,
        features: Mapping[str, Any] | None = None,
        prediction: Any = None,
        score: float | None = None,
        input_text: Any = None,
        output_text: Any = None,
        request_id: str | None = None,
        route: str = "predict",
        latency_ms: float | None = None,
        **columns: Any,
    ) -> str:
        """Write down one prediction: of the request being served, or as a request of its own.

        Args:
            features: The model's inputs by name: numbers, booleans, and short texts as categories.
            prediction: The model's output: a text, number or boolean.
            score: Its probability or confidence.
            input_text: What was asked; a text, or nested containers.
            output_text: What was answered.
            request_id: Outside of a request: the key for feedback; a new one by default.
            route: Outside of a request: what was asked for.
            latency_ms: Outside of a request: how long it took.
            columns: `tenant`, `user`, `session_id`, `variant`, or other columns of the log.

        Returns:
            The id that feedback and labels are to be given for.
        """
        request = current_request()
        given = {
            "prediction": prediction,
            "score": score,
            "input_text": input_text,
            "output_text": output_text,
            **columns,
        }
        if request is not None:
            self._fill(request, given, features)
            return request.request_id
        alone = Request(request_id, route=route)
        self._fill(alone, given, features)
        self._process.begin()
        alone.latency_ms = latency_ms if latency_ms is not None else math.nan
        self.finish(alone)
        return alone.request_id

    def log_feedback(  # noqa: PLR0913 - one keyword a column
        self,
        request_id: str | None,
        name: str,
        *,
        score: float | None = None,
        label: str | None = None,
        comment: str | None = None,
        source: FeedbackSource = "user",
        session_id: str | None = None,
        tenant: str | None = None,
        feedback_id: str | None = None,
    ) -> str:
        """Write down what somebody thinks of a prediction, or what turned out to be true.

        Args:
            request_id: The prediction's id; None for feedback on a session.
            name: What is said: `thumbs`, `stars`, `label`.
            score: A finite number.
            label: A short text, such as the true class; at most 200 characters.
            comment: Free text; redacted.
            source: `user`, `annotator`, `llm_judge` or `code`.
            session_id: Whose session.
            tenant: Whose tenant.
            feedback_id: The same id again replaces what was said; by default each source has one
                say a name and prediction.

        Returns:
            The feedback's id.

        Raises:
            DataError: If the name is empty, the score not finite, the label too long, the source
                unknown, or there is neither a request nor a session.
        """
        row = feedback_row(
            request_id=request_id,
            session_id=session_id,
            tenant=tenant,
            feedback_id=feedback_id,
            source=source,
            name=name,
            score=score,
            label=label,
            comment=comment,
        )
        self._process.begin()
        self._process.buffer.add_feedback(row)
        return str(row["feedback_id"])

    def log_event(
        self, name: str, *, session_id: str, label: str | None = None, tenant: str | None = None
    ) -> None:
        """Write down that something happened in a session: a page was opened, a button pressed.

        Args:
            name: What happened: `page_view`, `interaction`.
            session_id: Where.
            label: Which page or button.
            tenant: Whose.
        """
        self.log_feedback(
            None,
            name,
            label=label,
            source="code",
            session_id=session_id,
            tenant=tenant,
            feedback_id=new_request_id(),
        )

    def assign(self, experiment: Experiment, unit: str, *, tenant: str | None = None) -> str:
        """The variant that a unit sees; its first exposure in this process is written down.

        Args:
            experiment: The experiment.
            unit: What is assigned: a session or user id that lasts as long as the experiment.
            tenant: Whose unit it is.
        """
        variant = experiment.variant(unit)
        if self._exposures.is_first(experiment.name, unit):
            row = exposure_row(experiment.name, unit, variant, tenant=tenant)
            self._process.begin()
            self._process.buffer.add_feedback(row)
        request = current_request()
        if request is not None:
            request.set(variant=variant)
        return variant

    def stage(self, name: str) -> Stage:
        """A context manager: its time is a stage of the request being served.

        Args:
            name: How the stage is called; what no stage covers is `other`.
        """
        return Stage(name)

    def enter(self, request: Request) -> None:
        """Count a request that begins; for adapters of frameworks."""
        if not self._process.is_begun:
            self._process.begin()
        self._process.buffer.enter(request)

    def leave(self, request: Request) -> None:
        """Count a request's response as sent; for adapters of frameworks."""
        self._process.buffer.live.discard(request)

    def finish(self, request: Request) -> None:
        """Count a request that is done and keep its row by the policy; for adapters."""
        self._process.buffer.record(request)

    def count_failure(self) -> None:
        """Count an error of monitoring that was kept from the caller; the first one is logged."""
        self._process.buffer.count_failure()
        if not self._warned:
            self._warned = True
            logger.warning(
                "prediction log: an error of its own (%s); serving goes on", sys.exc_info()[0]
            )

    def close(self, timeout: float = 5.0) -> LoggerStats:
        """Write what is left and seal the segment; later requests are counted and not kept.

        Args:
            timeout: Seconds; rows that are not written by then are counted as dropped.

        Returns:
            Where every request went.
        """
        if not self._is_closed:
            self._is_closed = True
            self._process.close(timeout)
        return self._process.buffer.stats()

    def begin_anew(self) -> None:
        """Leave the rows and the segment of the parent to it; for a forked child."""
        self._process.abandon()
        self._process = ProcessLog(self._settings)
        if self._is_closed:
            self._process.close(0.0)

    def _fill(
        self,
        request: Request,
        columns: Mapping[str, Any],
        features: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            rest = dict(columns)
            for name in ("tenant", "user", "session_id", "trace_id"):
                value = rest.pop(name, None)
                if value is not None:
                    setattr(request, name, str(value))
            if not rest.keys() <= _COMMON:
                rest, unknown = known_columns(rest)
                if unknown and not self._warned:
                    self._warned = True
                    logger.warning("prediction log: no such columns: %s", ", ".join(unknown))
            request.set(**rest)
            if features is not None:
                request.add_features(features)
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self.count_failure()


_COMMON = {"prediction", "score", "input_text", "output_text", "variant"}
