"""A request while it is served, and the context variable that holds the current one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextvars import ContextVar
from time import perf_counter, time
from typing import Any, Protocol

from flytekitplugins.wbmon.errors import error_message, error_type
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.monitor.prediction_log.schema import DISCONNECTED, UNMATCHED
from flytekitplugins.wbmon.storage.segments.json_lines import text_of


class Content(Protocol):
    """Content that is turned into columns only if the row is kept."""

    def columns(self) -> dict[str, Any]:
        """The columns by name."""


class Request:
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
        reason: Why the row is kept; empty until the policy has decided.
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
    """

    # class attributes as defaults: an instance is made for every request, and sets little
    route = UNMATCHED
    method = ""
    status = 200
    is_failure = False
    latency_ms = -1.0
    reason = ""
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
        """Set columns of the row; values that are None change nothing."""
        given = {name: value for name, value in columns.items() if value is not None}
        self.columns = given if self.columns is None else {**self.columns, **given}

    def add_features(self, features: Mapping[str, Any]) -> None:
        """Add inputs of the model by name."""
        self.features = {**(self.features or {}), **features}

    def add_stage(self, name: str, milliseconds: float) -> None:
        """Add time to a stage, which may run several times in a request."""
        name = text_of(name)
        stages = self.stages if self.stages is not None else {}
        stages[name] = stages.get(name, 0.0) + milliseconds
        self.stages = stages

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

    def end_with(self, error: BaseException) -> None:
        """Record the exception that ended a block of code as the request's outcome.

        In a generator that is closed early it is `GeneratorExit`: the caller has left. An adapter
        that knows this of another exception has called `abandon` before.
        """
        if isinstance(error, GeneratorExit):
            self.abandon()
        elif self.error_type != DISCONNECTED:
            self.fail(error)


def as_ms(given: Any) -> float:
    """A duration in milliseconds that somebody gave; `nan` if it is unknown or no number."""
    known = given if type(given) is float else fit("float64", given)
    return math.nan if known is None else known


def _id_of(given: Any) -> str:
    return text_of(given) or new_request_id()


CURRENT: ContextVar[Request | None] = ContextVar("wbmon_request", default=None)


def current_request() -> Request | None:
    """The request that the running code serves; None outside of one."""
    return CURRENT.get()
