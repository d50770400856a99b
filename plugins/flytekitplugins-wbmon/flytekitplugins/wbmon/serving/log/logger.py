"""The prediction log's interface for model servers; its calls take microseconds.

Every request is counted; only some leave a row. Rows wait in a bounded queue for one thread, which
appends them to a file, so rows that are written survive the death of the process.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor
from flytekitplugins.wbmon.serving.log.assignment import Experiment, Exposures
from flytekitplugins.wbmon.serving.log.buffer import LoggerStats
from flytekitplugins.wbmon.serving.log.feedback import (
    FeedbackSource,
    exposure_row,
    feedback_id_of,
    feedback_row,
)
from flytekitplugins.wbmon.serving.log.fill import add_prediction, fill, request_of
from flytekitplugins.wbmon.serving.log.process import ProcessLog
from flytekitplugins.wbmon.serving.log.request import CURRENT, Prediction, Request, current_request
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
    """Logs the predictions of a service for later monitoring; one logger per process.

    Args:
        service: Name of the service; also the name of its folder in the log.
        destination: Path or fsspec URL of the log. For a URL, sealed segments are uploaded from
            `spool` and deleted there after the size of the copy was checked.
        model: Name of the model.
        model_version: Version of the model.
        deployment: Release tag.
        sampling: Decides which requests leave a row; by default 1 % and all failures.
        redactor: Hides personal data and keys in every text; None keeps texts as they are.
        user_key: Secret key of the HMAC that is written in place of a user; without it no user is
            written.
        hashed: Further columns to write as such a hash: any of `tenant`, `session_id`,
            `conversation_id`. Whatever these hold, the log then does not say.
        max_queue: How many rows may wait for the writer; further rows are dropped and counted.
        flush_interval: Seconds between writes; a killed process loses the rows of that time.
        window: Length of a serving window in seconds; should divide a day (86400 s) evenly, so
            that every day consists of whole windows.
        segment_bytes: Size in bytes at which a segment is sealed; 64 MiB by default.
        segment_age: Age in seconds at which a segment is sealed.
        max_text: Number of characters kept of a text.
        instance: Name of this copy of the service; the host's name by default.
        spool: Local folder for segments that wait for upload to a URL; by default below the
            system's temporary folder.
        sinks: Further receivers of the windows, such as `WandbSink`.

    Raises:
        ConfigError: If the service is not a valid folder name, a number is not positive, or
            columns cannot be hashed.
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
        hashed: Sequence[str] = (),
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
            hashed=tuple(hashed),
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
        self._warned: set[str] = set()
        self._is_closed = False
        follow_process(self)

    @property
    def stats(self) -> LoggerStats:
        """What became of all requests until now."""
        return self._process.buffer.stats()

    @property
    def has_user_key(self) -> bool:
        """Whether the log can hold users, as keyed hashes."""
        return self._settings.user_key is not None

    @property
    def n_in_flight(self) -> int:
        """How many requests are being served."""
        return len(self._process.buffer.live)

    @contextmanager
    def request(
        self, route: str, *, request_id: str | None = None, **columns: Any
    ) -> Iterator[Request]:
        """Log the block as one request; an exception is recorded and raised again.

        Args:
            route: Name of the route or function that is called.
            request_id: The id that feedback and labels refer to; a new one by default.
            columns: `tenant`, `user`, `session_id`, or columns of the prediction log.
        """
        request = Request(request_id, route=route)
        fill(self, request, columns)
        token = CURRENT.set(request)
        self.enter(request)
        try:
            yield request
        except BaseException as error:
            request.end_with(error)
            raise
        finally:
            CURRENT.reset(token)
            request.latency_ms = request.elapsed_ms()
            # after the last change: from `finish` on, the writer thread may read the request
            self.leave(request)
            self.finish(request)

    def track(self, route: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator that logs each call of a function as one request.

        That of a generator ends with its last value; closed early, it has no caller any more.

        Args:
            route: Name of the function in the log.
        """
        return partial(tracked, self, route)

    def log_prediction(  # noqa: PLR0913 - one keyword a column
        self,
        *,
        features: Mapping[str, Any] | None = None,
        prediction: Any = None,
        score: float | None = None,
        input_text: Any = None,
        output_text: Any = None,
        request_id: str | None = None,
        parent_request_id: str | None = None,
        route: str = "predict",
        latency_ms: float | None = None,
        **columns: Any,
    ) -> str:
        """Log one prediction, as part of the request being served or as a request of its own.

        A request may have several predictions, as of a batch, and some after its end, as of a task
        that it started; each has a row. In a thread without the request's context, give the
        request's id, or start the thread's function by `with_context`. In another process, give it
        as `parent_request_id`.

        Args:
            features: The model's inputs by name: numbers, booleans, and short texts as categories.
            prediction: The model's output: a single value, such as a text, number, boolean, UUID or
                date; lists and mappings are written as JSON.
            score: Probability or confidence of the prediction.
            input_text: The input as a text or nested containers.
            output_text: The answer as a text or nested containers.
            request_id: The id that feedback refers to; that of the request by default, of its
                second prediction `<id>:2`, outside of a request a new one.
            parent_request_id: Outside of a request: the id of the request that it is a part of.
            route: Outside of a request: name of the route or function.
            latency_ms: Outside of a request: duration in milliseconds; unknown by default.
            columns: `tenant`, `user`, `session_id`, `variant`, or other columns of the log.

        Returns:
            The request id, to be used for feedback and labels.
        """
        given = {
            "prediction": prediction,
            "score": score,
            "input_text": input_text,
            "output_text": output_text,
            **columns,
        }
        served = request_of(self, request_id, parent_request_id, route)
        if served is not None:
            return add_prediction(self, served, request_id, given, features)
        alone = Request(request_id, route=route)
        fill(self, alone, given, features)
        self._process.begin()
        # an unknown latency must not count as a fast request in the windows' histograms
        alone.latency_ms = latency_ms if latency_ms is not None else math.nan
        self.finish(alone)
        return alone.request_id

    def log_feedback(  # noqa: PLR0913 - one keyword a column
        self,
        request_id: str | None,
        name: str,
        *,
        score: float | None = None,
        label: Any = None,
        comment: str | None = None,
        source: FeedbackSource = "user",
        session_id: str | None = None,
        tenant: str | None = None,
        feedback_id: str | None = None,
    ) -> str:
        """Log a rating of a prediction, or its true label.

        Args:
            request_id: The prediction's id; None for feedback on a session.
            name: Kind of feedback, such as `thumbs`, `stars` or `label`.
            score: A finite number.
            label: The true class or value, as `prediction` takes it; at most 200 characters long.
            comment: Free text; redacted.
            source: `user`, `annotator`, `llm_judge` or `code`.
            session_id: The session.
            tenant: The tenant.
            feedback_id: Feedback with the same id replaces earlier feedback; by default one id for
                each combination of prediction (or session), source and name.

        Returns:
            The feedback's id.

        Raises:
            DataError: If the name is empty, the score no finite number, the label a text that is
                too long, the source unknown, or there is neither a request nor a session. With
                any other label that cannot be one, the feedback is counted as lost.
        """
        self._process.begin()
        feedback_id = feedback_id or feedback_id_of(request_id or session_id, source, name)
        try:
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
        except DataError:
            raise
        except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
            self._process.buffer.lose_feedback()
            self.count_failure()
        else:
            self._process.buffer.add_feedback(row)
        return feedback_id

    def log_event(
        self, name: str, *, session_id: str, label: str | None = None, tenant: str | None = None
    ) -> None:
        """Log an event of a session, such as an opened page or a pressed button.

        Args:
            name: Kind of event, such as `page_view` or `interaction`.
            session_id: The session.
            label: The page or button.
            tenant: The tenant.
        """
        self.log_feedback(
            None,
            name,
            label=label,
            source="code",
            session_id=session_id,
            tenant=tenant,
            # an id of its own, so that a repeated event does not replace the one before
            feedback_id=new_request_id(),
        )

    def assign(self, experiment: Experiment, unit: str, *, tenant: str | None = None) -> str:
        """The variant of a unit; its first exposure in this process is logged.

        Args:
            experiment: The experiment.
            unit: A session or user id that stays the same for the whole experiment.
            tenant: The tenant of the unit.
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
        """A context manager that measures the block as a stage of the request being served.

        Args:
            name: Name of the stage; time that no stage covers is logged as `other`.
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
        """Count a finished request, and keep its row if the policy says so; for adapters."""
        # a forked child comes to the end of its parent's request as well
        if not request.is_over:
            request.is_over = True
            self._process.buffer.record(request)

    def live_request(self, request_id: str) -> Request | None:
        """The request of that id, if this process is serving it."""
        return self._process.buffer.live_request(request_id)

    def add_late(self, prediction: Prediction) -> None:
        """Log a prediction whose request is over, or served by another process."""
        self._process.begin()
        self._process.buffer.add_late(prediction)

    def count_failure(self) -> None:
        """Count an error inside monitoring that the caller does not see; the first one is logged.

        Must be called while the exception is handled.
        """
        self._process.buffer.count_failure()
        self.warn_once("failed", f"an error of its own ({sys.exc_info()[0]}); serving goes on")

    def warn_once(self, matter: str, words: str) -> None:
        """Log a warning, once for each matter."""
        if matter not in self._warned:
            self._warned.add(matter)
            logger.warning("prediction log: %s", words)

    def close(self, timeout: float = 5.0) -> LoggerStats:
        """Write the waiting rows and seal the segment; later requests are counted, not written.

        Args:
            timeout: Seconds; rows that are not written by then are counted as dropped.

        Returns:
            What became of all requests.
        """
        if not self._is_closed:
            self._is_closed = True
            self._process.close(timeout)
        return self._process.buffer.stats()

    def begin_anew(self) -> None:
        """In a forked child: leave the parent its rows and segment, and begin with new ones."""
        self._process.abandon()
        self._process = ProcessLog(self._settings)
        served = current_request()
        if served is not None:
            served.is_over = served.is_elsewhere = True
        if self._is_closed:
            self._process.close(0.0)
