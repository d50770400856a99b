"""The prediction log as a model server sees it: calls that cost microseconds and never raise.

Counts are taken of every request; a row is kept of some. Rows wait in a bounded queue for one
thread, which writes them to an append-only file: what is written survives the process.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
import socket
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any, ParamSpec, TypeVar, cast
from uuid import uuid4

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor
from flytekitplugins.wbmon.serving.log.assignment import Experiment
from flytekitplugins.wbmon.serving.log.buffer import Buffer, LoggerStats
from flytekitplugins.wbmon.serving.log.encode import RowEncoder, known_columns
from flytekitplugins.wbmon.serving.log.feedback import FeedbackSource, exposure_row, feedback_row
from flytekitplugins.wbmon.serving.log.identifiers import new_request_id
from flytekitplugins.wbmon.serving.log.request import CURRENT, Request, current_request
from flytekitplugins.wbmon.serving.log.sampling import SamplingPolicy
from flytekitplugins.wbmon.serving.log.segments import SegmentWriter
from flytekitplugins.wbmon.serving.log.shutdown import close_at_exit
from flytekitplugins.wbmon.serving.log.stage import Stage
from flytekitplugins.wbmon.serving.log.thread import Sink, Writer
from flytekitplugins.wbmon.serving.log.upload import ORPHAN_AFTER_S, Uploader, local_root

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

_PATTERNS = PatternRedactor()
_DEFAULT_SAMPLING = SamplingPolicy()
_MAX_EXPOSURES = 100_000


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
        _require_folder_name(service)
        numbers = {
            "max_queue": max_queue,
            "flush_interval": flush_interval,
            "window": window,
            "segment_bytes": segment_bytes,
            "segment_age": segment_age,
            "max_text": max_text,
        }
        for name, number in numbers.items():
            if not number > 0:
                raise ConfigError(f"{name} must be positive, got {number}")
        self.service = service
        self.destination = str(destination)
        self.sampling = sampling
        self._instance = instance or socket.gethostname()
        self._model = {"model": model, "model_version": model_version, "deployment": deployment}
        self._redactor = redactor
        self._user_key = user_key.encode() if isinstance(user_key, str) else user_key
        self._max_queue, self._max_text = max_queue, max_text
        self._flush_interval, self._window = flush_interval, window
        self._segment_bytes, self._segment_age = segment_bytes, segment_age
        self._spool, self._sinks = spool, sinks
        self._exposed: dict[tuple[str, str], None] = {}
        self._warned = False
        self._is_closed = False
        self._prepare()
        os.register_at_fork(after_in_child=_weakly(self._prepare))
        close_at_exit(self)

    @property
    def stats(self) -> LoggerStats:
        """Where every request went until now."""
        return self._buffer.stats()

    @property
    def has_user_key(self) -> bool:
        """Whether users can be told apart in the log."""
        return self._user_key is not None

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

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def tracked(*args: P.args, **kwargs: P.kwargs) -> Any:
                    with self.request(route):
                        return await function(*args, **kwargs)

                return cast("Callable[P, R]", tracked)

            @functools.wraps(function)
            def called(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.request(route):
                    return function(*args, **kwargs)

            return called

        return decorate

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
        self._start()
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
        self._start()
        self._buffer.add_feedback(row)
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
        key = (experiment.name, unit)
        if key not in self._exposed:
            if len(self._exposed) >= _MAX_EXPOSURES:
                self._exposed.clear()
            self._exposed[key] = None
            self._start()
            self._buffer.add_feedback(exposure_row(experiment.name, unit, variant, tenant=tenant))
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
        if self._writer is None:
            self._start()
        self._buffer.enter(request)

    def leave(self, request: Request) -> None:
        """Count a request's response as sent; for adapters of frameworks."""
        self._buffer.live.discard(request)

    def finish(self, request: Request) -> None:
        """Count a request that is done and keep its row by the policy; for adapters."""
        self._buffer.record(request)

    def count_failure(self) -> None:
        """Count an error of monitoring that was kept from the caller; the first one is logged."""
        self._buffer.count_failure()
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
            if self._writer is not None:
                self._writer.close(timeout)
            self._buffer.is_closed = True
        return self._buffer.stats()

    def _prepare(self) -> None:
        """Everything that belongs to one process; a forked child begins anew."""
        self._buffer = Buffer(self.sampling, max_queue=self._max_queue, now=time())
        self._writer: Writer | None = None

    def _start(self) -> None:
        if self._writer is not None or self._is_closed:
            return
        # the name of a segment must never come again, also not in a container that restarts
        instance = f"{self._instance}-{uuid4().hex[:8]}"
        local = local_root(self.destination)
        root = local or Path(self._spool or Path(tempfile.gettempdir()) / "wbmon-spool")
        segments = SegmentWriter(
            root,
            self.service,
            instance,
            max_bytes=self._segment_bytes,
            max_age_s=self._segment_age,
        )
        uploader = None
        if local is None:
            # what another process may still write to is younger than that
            orphan_after_s = max(ORPHAN_AFTER_S, 2 * self._segment_age)
            uploader = Uploader(
                segments.sealed_folder,
                self.destination,
                self.service,
                orphan_after_s=orphan_after_s,
            )
        static = {"service": self.service, "instance": instance, **self._model}
        encoder = RowEncoder(
            static, redactor=self._redactor, user_key=self._user_key, max_text=self._max_text
        )
        self._writer = Writer(
            self._buffer,
            encoder,
            segments,
            uploader=uploader,
            sinks=self._sinks,
            flush_interval_s=self._flush_interval,
            window_s=self._window,
        )
        self._writer.start()

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


def _require_folder_name(service: str) -> None:
    if not service or "/" in service or service.startswith("."):
        raise ConfigError(
            f"service must be the name of a folder, without a slash or a dot in front; "
            f"got {service!r}"
        )


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """A call of a method that does not keep its object alive."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    return call
