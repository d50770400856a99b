"""One request while it is served: what is known of it, and which one the running code serves."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from time import perf_counter, time
from typing import Any, Protocol

from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.monitor.prediction_log.schema import UNMATCHED


class Content(Protocol):
    """Something that can be written as columns, and is so only for a row that is kept."""

    def columns(self) -> dict[str, Any]:
        """The columns by name."""


class Request:
    """What is known of a request; it becomes a row when it is done.

    Attributes:
        request_id: The key that feedback and labels are joined on.
        begin: When it began, by a clock that never goes back; in seconds.
        began_at: Seconds since 1970, UTC.
        route: Template of the path, not the path.
        tenant: Whose request it is.
        user: Who sent it, in clear; only a keyed hash of it is ever written.
        status: HTTP status, or 200 and 500 where there is no HTTP.
        error_type: Exception class or `http_<status>`; None if all went well.
        error_text: The exception's message; redacted before it is written.
        is_failure: Whether the server is to blame.
        latency_ms: From the request to the last byte of the response.
        columns: Other columns of the row by name.
        bodies: What was kept of the bodies, for columns that nobody gave a better value.
        features: The model's inputs by name.
        stages: Milliseconds by stage.
        reason: Why the row is kept; empty until decided.
        weight: How many requests the row stands for.
    """

    # defaults live in the class: making a request is on the path of every request
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
        self.request_id = request_id or new_request_id()
        self.route = route
        self.method = method

    def elapsed_ms(self) -> float:
        """Milliseconds since the request began, by a clock that never goes back."""
        return (perf_counter() - self.begin) * 1e3

    def set(self, **columns: Any) -> None:
        """Give the row further columns; those that are None change nothing."""
        given = {name: value for name, value in columns.items() if value is not None}
        self.columns = given if self.columns is None else {**self.columns, **given}

    def add_features(self, features: Mapping[str, Any]) -> None:
        """Add inputs of the model."""
        self.features = {**(self.features or {}), **features}

    def add_stage(self, name: str, milliseconds: float) -> None:
        """Add time to a stage."""
        stages = self.stages if self.stages is not None else {}
        stages[name] = stages.get(name, 0.0) + milliseconds
        self.stages = stages

    def fail(self, error: BaseException) -> None:
        """Note an exception as the request's outcome."""
        self.error_type = type(error).__name__
        self.error_text = str(error)
        self.is_failure = True
        self.status = 500


CURRENT: ContextVar[Request | None] = ContextVar("wbmon_request", default=None)


def current_request() -> Request | None:
    """The request that the running code serves; None outside of one."""
    return CURRENT.get()
