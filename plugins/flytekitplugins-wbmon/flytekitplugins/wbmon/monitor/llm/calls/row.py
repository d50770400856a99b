"""One call of a language model as a row of the call log.

Rows have the columns of the prediction log (data contract, `gen_ai_*` names of OpenTelemetry) and
some of their own that may be absent (`CALL_COLUMNS`). What the code around a call knows
(tenant, prompt, conversation) is set with `call_attributes`; what retries it is a `CallScope`, so
that one call is one row however many requests it took.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from threading import Lock
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    CALL_COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
)

logger = logging.getLogger(__name__)

Row: TypeAlias = dict[str, Any]


class _Logs(Protocol):
    def log_call(self, row: Row) -> None:
        """Keep a row."""


Sink: TypeAlias = Callable[[Row], None] | _Logs
"""Where rows go: a `CallLog`, or any callable that takes a row."""

_ATTRIBUTES: ContextVar[Mapping[str, Any]] = ContextVar(
    "wbmon_call_attributes", default=MappingProxyType({})
)
_USAGE = "gen_ai_usage_"
_SCOPE: ContextVar[CallScope | None] = ContextVar("wbmon_call_scope", default=None)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One request of a call.

    Attributes:
        model: The model asked.
        status: HTTP status; None if no answer came.
        error_type: Class of the error; empty for success.
        duration_ms: Until the answer, or until it was given up.
        retry_after_s: What the server asked to wait; None if it did not.
        wait_s: What was waited before the request.
    """

    model: str = ""
    status: int | None = None
    error_type: str = ""
    duration_ms: float = 0.0
    retry_after_s: float | None = None
    wait_s: float = 0.0

    def to_row(self) -> Row:
        """What is known, as JSON data."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value not in (None, "", 0.0)}


@dataclass(slots=True, kw_only=True)
class CallScope:
    """A call that may take several requests.

    It lasts as long as its block, and as the last stream that was opened there.

    Attributes:
        sink: What logs the call if no client does.
        rows: What each request would have logged, with the sink that would have got it.
        attempts: Every request, in order.
    """

    sink: Sink | None = None
    rows: list[tuple[Row, Sink]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    _n_open: int = 1
    _lock: Lock = field(default_factory=Lock, repr=False)

    @property
    def is_logged(self) -> bool:
        """Whether a client logs the call, within the block or when a stream ends."""
        return bool(self.rows) or self._n_open > 1

    def begin(self) -> None:
        """Count a request that begins; `emit` ends it."""
        with self._lock:
            self._n_open += 1

    def end(self) -> None:
        """End a request, or the block; the last one to end delivers the row."""
        with self._lock:
            self._n_open -= 1
            is_last = not self._n_open
        if is_last and (found := self.to_row()) is not None:
            deliver(*found)

    def to_row(self) -> tuple[Row, Sink] | None:
        """The row of the whole call; None if no request was logged."""
        if not self.rows:
            return None
        last, sink = self.rows[-1]
        first = self.rows[0][0]
        models = [row.get("gen_ai_request_model") for row, _ in self.rows]
        began, ended = _begin(first), _begin(last) + float(last.get("latency_ms") or 0.0) / 1e3
        n_sent = sum(int(row.get("attempts") or 1) for row, _ in self.rows)
        merged = last | {
            "timestamp": first["timestamp"],
            "latency_ms": (ended - began) * 1e3,
            "attempts": n_sent,
            "retries": n_sent - 1,
            "rate_limited": any(row.get("rate_limited") for row, _ in self.rows),
            "attempt_log": [each for row, _ in self.rows for each in row.get("attempt_log", ())],
            **self._usage(),
        }
        if models[0] != models[-1]:
            merged["fallback_from"] = models[0]
        return merged, sink

    def _usage(self) -> Row:
        """What all requests used: also an answer that was asked for again is paid."""
        counts: Row = {}
        for row, _ in self.rows:
            for name, n in row.items():
                if name.startswith(_USAGE) and n is not None:
                    counts[name] = counts.get(name, 0) + n
        return counts


def _begin(row: Row) -> float:
    return datetime.fromisoformat(row["timestamp"]).timestamp()


@contextmanager
def call_attributes(**columns: Any) -> Iterator[None]:
    """Set columns of every call that the block makes, also in coroutines and tasks it starts.

    Before Python 3.14 a thread inherits nothing, be it one of an executor: give it
    `with_context(function)`. `asyncio.to_thread` needs none.

    Args:
        columns: Of the prediction log: `tenant`, `user_hash`, `route`, `request_id`, `session_id`,
            `conversation_id`, `prompt_name`, `prompt_version`, `variant`, `retrieved_documents` …
            and `purpose`, such as `product` or `judge`.

    Raises:
        ConfigError: If a column is not one of those.
    """
    unknown = [
        name for name in columns if name not in PREDICTION_COLUMNS and name not in CALL_COLUMNS
    ]
    if unknown:
        raise ConfigError(
            f"a call has no column {unknown[0]!r}; see the data contract for their names"
        )
    token = _ATTRIBUTES.set({**_ATTRIBUTES.get(), **columns})
    try:
        yield
    finally:
        _ATTRIBUTES.reset(token)


@contextmanager
def call_scope(sink: Sink | None = None) -> Iterator[CallScope]:
    """Let all requests of the block be one row, written when the last of them has ended.

    Args:
        sink: What logs the call if no client does.
    """
    scope = CallScope(sink=sink)
    token = _SCOPE.set(scope)
    try:
        yield scope
    finally:
        _SCOPE.reset(token)
        scope.end()


def current_scope() -> CallScope | None:
    """The call that the running code is a part of."""
    return _SCOPE.get()


def new_row(**columns: Any) -> Row:
    """A row that begins now, with the attributes of the code around it."""
    attributes = {name: value for name, value in _ATTRIBUTES.get().items() if value is not None}
    return {
        "kind": "prediction",
        "schema_version": SCHEMA_VERSION,
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "request_id": attributes.get("request_id") or new_request_id(),
        "sample_weight": 1.0,
        **attributes,
        **{name: value for name, value in columns.items() if value is not None},
    }


def emit(row: Row, sink: Sink, scope: CallScope | None) -> None:
    """Give a finished row to its sink, or to the call that it is a part of.

    Args:
        row: The row.
        sink: Its sink.
        scope: The call that the request began in, not that in which its stream happens to end.
    """
    if scope is None:
        deliver(row, sink)
        return
    scope.rows.append((row, sink))
    scope.end()


def deliver(row: Row, sink: Sink) -> None:
    """Pass a row to its sink; an exception of the sink is logged and not raised."""
    try:
        if callable(sink):
            sink(row)
        else:
            sink.log_call(row)
    except Exception:  # a monitor must never break what it monitors
        logger.warning("an LLM call could not be logged", exc_info=True)
