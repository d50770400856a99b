"""A request while it is served, and the context variable that holds the current one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextvars import ContextVar
from time import perf_counter, time
from typing import Any, Protocol

from flytekitplugins.wbmon.context import Block, innermost
from flytekitplugins.wbmon.errors import error_message, error_type
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id, unit_share
from flytekitplugins.wbmon.monitor.prediction_log.schema import DISCONNECTED, UNMATCHED
from flytekitplugins.wbmon.monitor.prediction_log.snapshot import snapshots
from flytekitplugins.wbmon.serving.log.covered_time import CoveredTime
from flytekitplugins.wbmon.storage.segments.json_lines import text_of

MAX_FURTHER = 1_000
_ANSWER = {"prediction", "output_text"}


class Content(Protocol):
    """Content that is turned into columns only if the row is kept."""

    def columns(self) -> dict[str, Any]:
        """The columns by name."""


class Request(Block):
    """The data of one request; the row is made from it when the request is finished.

    Attributes:
        request_id: The key that feedback and labels are joined on.
        begin: Start by the monotonic clock; seconds.
        began_at: Start by the wall clock; seconds since 1970, UTC.
        route: Template of the path, such as `/items/{id}`, not the path itself.
        method: HTTP method; empty where there is no HTTP.
        status: HTTP status; 200 or 500 where there is no HTTP.
        is_failure: Whether the server failed: an exception, status 5xx, or a response that broke
            off; not a caller who left.
        latency_ms: Milliseconds from the request to the last byte of the response; `nan` if
            unknown.
        reason: Why the row is kept; None until the policy has decided, empty if it is not kept.
        weight: How many requests the row stands for; `>= 1`.
        tenant: The tenant whose request it is.
        user: The user in clear text; only a keyed hash of it is written.
        session_id: The session.
        trace_id: Id of the distributed trace.
        error_type: Exception class, `http_<status>`, `incomplete_response` or `client_disconnect`;
            None for success.
        error_text: The exception's message; redacted before it is written.
        first_chunk_ms: Milliseconds to the first chunk of a streamed response.
        columns: Other columns of the row by name.
        bodies: Captured bodies; used for columns that the handler gave no value for.
        features: The model's inputs by name.
        stages: Milliseconds by stage.
        covered: The time that stages have covered until now; they may run side by side.
        covered_ms: Milliseconds of the latency that they covered.
        further: The predictions after the first one, as of an endpoint that takes a batch.
        n_further: How many there were; of more than 1000, `further` is a random sample.
        is_over: Whether it was counted; what is added now would not be seen any more.
        is_elsewhere: Whether another process serves it.
        is_alone: Whether its caller is known to have left.
        owner: The log that counts it; a prediction of another log is no part of it.
        around: The request within which it began, of the same log or another one; None when it is
            over.
    """

    # class attributes as defaults: an instance is made for every request, and sets little
    route = UNMATCHED
    method = ""
    status = 200
    is_failure = False
    latency_ms = -1.0
    reason: str | None = None
    weight = 1.0
    tenant: str | None = None
    user: str | None = None
    session_id: str | None = None
    trace_id: str | None = None
    error_type: str | None = None
    error_text: str | None = None
    first_chunk_ms: float | None = None
    columns: dict[str, Any] | None = None
    bodies: Content | None = None
    features: dict[str, Any] | None = None
    stages: dict[str, float] | None = None
    covered: CoveredTime | None = None
    covered_ms = 0.0
    further: list[Prediction] | None = None
    n_further = 0
    is_over = False
    is_elsewhere = False
    is_alone = False
    owner: object = None
    around: Request | None = None
    _n_named = 0

    def __init__(
        self, request_id: str | None = None, *, route: str = UNMATCHED, method: str = ""
    ) -> None:
        self.begin = perf_counter()
        self.began_at = time()
        self.request_id = new_request_id() if request_id is None else _id_of(request_id)
        self.route = text_of(route)
        self.method = method

    def elapsed_ms(self) -> float:
        """Milliseconds since the request began, by the monotonic clock."""
        return (perf_counter() - self.begin) * 1e3

    def set(self, **columns: Any) -> None:
        """Set columns of the row, as they are now; values that are None change nothing."""
        given = snapshots({name: value for name, value in columns.items() if value is not None})
        self.columns = given if self.columns is None else {**self.columns, **given}

    def add_features(self, features: Mapping[str, Any]) -> None:
        """Add inputs of the model by name, as they are now."""
        given = snapshots(features)
        self.features = given if self.features is None else {**self.features, **given}

    def add_stage(self, name: str, milliseconds: float) -> None:
        """Add time to a stage, which may run several times in a request; after its end, nothing."""
        if self.is_over:  # the writer thread reads it
            return
        name = text_of(name)
        stages = self.stages if self.stages is not None else {}
        stages[name] = stages.get(name, 0.0) + milliseconds
        self.stages = stages

    def note_covered(self) -> None:
        """Note how much of the latency stages cover: those after the answer are no part of it."""
        if self.covered is not None:
            self.covered_ms = self.covered.until(self.begin + self.latency_ms / 1e3) * 1e3

    def would_replace(self, columns: Mapping[str, Any]) -> bool:
        """Whether the columns hold an answer where the request has one already."""
        own = self.columns or {}
        return any(own.get(name) is not None and columns.get(name) is not None for name in _ANSWER)

    def next_id(self) -> str:
        """An id for a further prediction: the request's, if it ended without an answer of its own.

        Otherwise, it is `<request id>:2` and so on, and of another process's request a new one.
        """
        if self.is_elsewhere:
            return new_request_id()
        own = self.columns or {}
        self._n_named += 1
        if self._n_named == 1 and self.is_over and not own.keys() & _ANSWER:
            return self.request_id
        return f"{self.request_id}:{self._n_named + 1}"

    def add_prediction(self, prediction: Prediction) -> None:
        """Add a prediction after the first one.

        Of more than `MAX_FURTHER` a random sample is kept (Vitter's algorithm R), and the rows'
        weights make up for the others.
        """
        self.n_further += 1
        further = self.further = self.further if self.further is not None else []
        if len(further) < MAX_FURTHER:
            further.append(prediction)
            return
        place = int(unit_share(prediction.request_id) * self.n_further)
        if place < MAX_FURTHER:
            further[place] = prediction

    def fail(self, error: BaseException) -> None:
        """Record an exception as the request's outcome."""
        self.error_type = error_type(error)
        self.error_text = error_message(error)
        self.is_failure = True
        self.status = 500

    def abandon(self) -> None:
        """Record that the caller left before the end, which is no failure of the server."""
        self.error_type = DISCONNECTED
        self.is_failure = False

    def end_with(self, error: BaseException, *, around: Request | None = None) -> None:
        """Record the exception that ended a block of code as the request's outcome.

        In a generator that is closed early it is `GeneratorExit`: the caller has left. An adapter
        that knows this of another exception has called `abandon` before.

        Args:
            error: The exception.
            around: The request within which this one was served.
        """
        # by name, because asyncio takes longer to import than all of this package's log
        is_cancelled = type(error).__name__ == "CancelledError"
        if isinstance(error, GeneratorExit) or (
            is_cancelled and around is not None and around.is_alone
        ):
            self.abandon()
        elif self.error_type != DISCONNECTED:
            self.fail(error)

    def break_off(self, error: BaseException) -> None:
        """Record what it is now, because the process may end before its block of code does."""
        self.end_with(error)
        self.latency_ms = self.elapsed_ms()


def as_ms(given: Any) -> float:
    """A duration in milliseconds that somebody gave; `nan` if it is unknown or no number."""
    known = given if type(given) is float else fit("float64", given)
    return math.nan if known is None else known


def _id_of(given: Any) -> str:
    return text_of(given) or new_request_id()


class Prediction:
    """A prediction that gets a row beside that of its request.

    Attributes:
        request: The request that it is a part of.
        request_id: The key that feedback and labels of the prediction are joined on.
        made_at: When it was made; seconds since 1970, UTC.
        columns: Columns of the row by name, as they were then.
        features: The model's inputs by name, as they were then.
    """

    __slots__ = ("columns", "features", "made_at", "request", "request_id")

    def __init__(
        self,
        request: Request,
        request_id: str,
        columns: Mapping[str, Any],
        features: Mapping[str, Any] | None,
    ) -> None:
        self.request, self.request_id = request, request_id
        self.made_at = time()
        self.columns = snapshots({n: value for n, value in columns.items() if value is not None})
        self.features = None if features is None else snapshots(features)


CURRENT: ContextVar[Request | None] = ContextVar("wbmon_request", default=None)


def current_request() -> Request | None:
    """The request that the running code serves; None outside of one."""
    return innermost(CURRENT)


def request_within(log: object) -> Request | None:
    """The nearest request of a log that the running code serves; None outside of one."""
    request = current_request()
    while request is not None and (request.is_left or request.owner not in (None, log)):
        request = request.around
    return request
