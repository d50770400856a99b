"""The prediction log's interface for model servers; its calls take microseconds.

Every request is counted; only some leave a row. Rows wait in a bounded queue for one thread, which
appends them to a file, so rows that are written survive the death of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from flytekitplugins.wbmon.context import leave
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor
from flytekitplugins.wbmon.serving.log.buffer import LoggerStats
from flytekitplugins.wbmon.serving.log.feedback_log import FeedbackLog
from flytekitplugins.wbmon.serving.log.fill import add_prediction, fill, request_of
from flytekitplugins.wbmon.serving.log.process import ProcessLog
from flytekitplugins.wbmon.serving.log.request import (
    CURRENT,
    Prediction,
    Request,
    as_ms,
    current_request,
)
from flytekitplugins.wbmon.serving.log.sampling import SamplingPolicy
from flytekitplugins.wbmon.serving.log.settings import LogSettings
from flytekitplugins.wbmon.serving.log.stage import Stage
from flytekitplugins.wbmon.serving.log.thread import Sink
from flytekitplugins.wbmon.serving.log.tracked import tracked
from flytekitplugins.wbmon.storage.lifetime import follow_process
from flytekitplugins.wbmon.storage.segments.json_lines import text_or_none

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

_PATTERNS = PatternRedactor()
_DEFAULT_SAMPLING = SamplingPolicy()


class PredictionLogger(FeedbackLog):
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
        segment_age: Age in seconds at which a segment is sealed. Less than `orphan_after_s` of
            `CompactPredictionLog` (900 s), which takes an older one for that of a dead process.
        max_text: Number of characters kept of a text.
        instance: Name of this copy of the service, at most 128 bytes; by default the host's name.
        spool: Local folder for segments that wait for upload to a URL; by default below the
            system's temporary folder.
        sinks: Further receivers of the windows, such as `WandbSink`.

    Raises:
        ConfigError: If the service is not a valid folder name, a number is not positive, the
            redactor is none, or columns cannot be hashed.
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
        super().__init__(ProcessLog(self._settings), self._settings.user_key)
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
        self.enter(request)
        around = request.around
        token = CURRENT.set(request)
        try:
            yield request
        except BaseException as error:
            request.end_with(error, around=around)
            raise
        finally:
            leave(CURRENT, token, request)
            request.latency_ms = request.elapsed_ms()
            # after the last change: from `finish` on, the writer thread may read the request
            self.leave(request)
            self.finish(request)

    def track(self, route: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A decorator that logs each call of a function as one request.

        That of a coroutine or a future of asyncio ends with it, that of a generator with its last
        value, whatever function gives them; closed early, it has no caller any more.

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

        Containers and arrays are copied as they are now, within the bounds of `snapshot`.

        A request may have several predictions, as of a batch, and some after its end, as of a task
        that it started; each has a row. Start the function of a thread by `with_context`; where
        that cannot be, also in another process, give the request's id as `parent_request_id`.

        Args:
            features: The model's inputs by name: numbers, booleans, and short texts as categories.
            prediction: The model's output: a single value, such as a text, number, boolean, UUID or
                date; lists and mappings are written as JSON.
            score: Probability or confidence of the prediction.
            input_text: The input as a text or nested containers.
            output_text: The answer as a text or nested containers.
            request_id: The id that feedback refers to; that of the request by default, of its
                second prediction `<id>:2`, outside of a request a new one.
            parent_request_id: The id of the request that it is a part of, where that is another one
                than the code belongs to: in a thread, another process, or a task that works for
                several requests.
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
        request_id, parent_request_id = text_or_none(request_id), text_or_none(parent_request_id)
        served = request_of(self, request_id, parent_request_id, route)
        if served is not None:
            return add_prediction(self, served, request_id, given, features)
        alone = Request(request_id, route=route)
        fill(self, alone, given, features)
        self._process.begin()
        # an unknown latency must not count as a fast request in the windows' histograms
        alone.latency_ms = as_ms(latency_ms)
        self.finish(alone)
        return alone.request_id

    def stage(self, name: str) -> Stage:
        """A context manager that measures the block as a stage of the request being served.

        Args:
            name: Name of the stage; time that no stage covers is logged as `other`, which is the
                rest of the latency. Stages side by side have each their own time.
        """
        return Stage(self, name)

    def enter(self, request: Request) -> None:
        """Count a request that begins; for adapters of frameworks."""
        if not self._process.is_begun:
            self._process.begin()
        request.owner = self
        # looked at first, because there is none around nearly all requests
        if CURRENT.get() is not None:
            request.around = current_request()
        self._process.buffer.enter(request)

    def leave(self, request: Request) -> None:
        """Count a request's response as sent, its latency being known; for adapters."""
        if request.covered is not None:
            request.note_covered()
        self._process.buffer.live.discard(request)

    def finish(self, request: Request) -> None:
        """Count a finished request, and keep its row if the policy says so; for adapters."""
        # a forked child comes to the end of its parent's request as well
        if not request.is_over:
            request.is_over = True
            # of requests that start each other, each would keep all those before
            if request.around is not None and not request.is_left:
                request.around = None
            self._process.buffer.record(request)

    def break_off(self, error: BaseException) -> None:
        """Count the requests that are being served as ended by an error; for adapters.

        Args:
            error: Why the process does not let them end.
        """
        for request in list(self._process.buffer.live):
            request.break_off(error)
            self.leave(request)
            self.finish(request)

    def live_request(self, request_id: str) -> Request | None:
        """The request of that id, if this process is serving it."""
        return self._process.buffer.live_request(request_id)

    def add_late(self, prediction: Prediction) -> None:
        """Log a prediction whose request is over, or served by another process."""
        self._process.begin()
        self._process.buffer.add_late(prediction)

    def close(self, timeout: float = 5.0) -> LoggerStats:
        """Write the waiting rows and seal the segment; of later requests no row is written.

        They are counted, in a window that the next call writes, or else the end of the process.

        Args:
            timeout: Seconds; rows that are not written by then, also one whose write hangs, are
                counted as dropped.

        Returns:
            What became of all requests.
        """
        self._is_closed = True
        self._process.close(timeout)
        return self._process.buffer.stats()

    def begin_anew(self) -> None:
        """In a forked child: leave the parent its rows and segment, and begin with new ones."""
        self._process.abandon()
        self._process = ProcessLog(self._settings)
        served = current_request()
        while served is not None:
            served.is_over = served.is_elsewhere = True
            served = served.around
        if self._is_closed:
            self._process.close(0.0)
