"""One call of a language model as a row of the call log.

Rows have the columns of the prediction log (data contract, `gen_ai_*` names of OpenTelemetry) and
some of their own that may be absent (`CALL_COLUMNS`). What the code around a call knows
(tenant, prompt, conversation) is set with `call_attributes`; what retries it is a `CallScope`, so
that one call is one row however many requests failed before its answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timezone
from threading import RLock
from typing import Any, Protocol, TypeAlias

from flytekitplugins.wbmon.context import Block, innermost, leave, restore
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    CALL_COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
)
from flytekitplugins.wbmon.monitor.prediction_log.snapshot import snapshots
from flytekitplugins.wbmon.warn import warn

logger = logging.getLogger(__name__)

Row: TypeAlias = dict[str, Any]


class _Logs(Protocol):
    def log_call(self, row: Row) -> None:
        """Keep a row."""


Sink: TypeAlias = Callable[[Row], None] | _Logs
"""Where rows go: a `CallLog`, or any callable that takes a row."""


class _Attributes(Block):
    """Columns of the calls of a block, with those of the blocks around it."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = columns


_ATTRIBUTES: ContextVar[_Attributes | None] = ContextVar("wbmon_call_attributes", default=None)
_USAGE = "gen_ai_usage_"
_CANCELLED = "CancelledError"
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


Chain: TypeAlias = list[tuple[Row, Sink]]
"""The requests of one call in order, each with its sink; all but the last had no answer."""


@dataclass(slots=True, kw_only=True)
class CallScope:
    """A block of code that may repeat a request until it has an answer.

    A request repeats one of the same operation that failed before it began; one that was answered
    is a call of its own. The scope lasts as long as its block, and as the last request, stream or
    inner scope that began there.

    Attributes:
        sink: What logs the call if no client does.
        parent: The scope around this one.
        is_logged: Whether a client, or an inner scope, logs what the block asks for.
    """

    sink: Sink | None = None
    parent: CallScope | None = None
    is_logged: bool = False
    _failed: list[Chain] = field(default_factory=list)
    _n_open: int = 1
    _lock: Any = field(default_factory=RLock, repr=False)

    def lineage(self) -> Iterator[CallScope]:
        """This scope and those around it, from within."""
        scope: CallScope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def enter(self) -> None:
        """Keep the scope open until the matching `end`."""
        with self._lock:
            self._n_open += 1

    def begin(self, operation: Any) -> Chain:
        """Begin a request; `emit` ends it.

        Args:
            operation: What it asks for, as in `gen_ai_operation_name`.

        Returns:
            The failed requests that it repeats.
        """
        self.enter()
        repeated: Chain = []
        for scope in self.lineage():
            scope.is_logged = True
            repeated = repeated or scope._taken(operation)  # noqa: SLF001 - of its own class
        return repeated

    def add_failed(self, chain: Chain) -> None:
        """Keep requests without an answer, for the one that repeats them."""
        with self._lock:
            self._failed.append(chain)

    def note_deadline(self) -> None:
        """Record that requests that were cancelled ran out of time."""
        with self._lock:
            rows = [row for chain in self._failed for row, _ in chain]
        for row in rows:
            for each in (row, *row.get("attempt_log", ())):
                if each.get("error_type") == _CANCELLED:
                    each["error_type"] = "TimeoutError"

    def end(self) -> None:
        """End what was entered; the last to end delivers the calls that nothing answered."""
        with self._lock:
            self._n_open -= 1
            if self._n_open:
                return
            failed, self._failed = self._failed, []
        for chain in failed:
            if self.parent is None:
                deliver(*_merged(chain))
            else:
                self.parent.add_failed(chain)
        if self.parent is not None:
            self.parent.end()

    def _taken(self, operation: Any) -> Chain:
        with self._lock:
            for index, chain in enumerate(self._failed):
                if chain[-1][0].get("gen_ai_operation_name") == operation:
                    return self._failed.pop(index)
        return []


def _merged(chain: Chain) -> tuple[Row, Sink]:
    """The requests of one call as one row, that of the last with what those before it add."""
    last, sink = chain[-1]
    if len(chain) == 1:
        return last, sink
    rows = [row for row, _ in chain]
    began, ended = _begin(rows[0]), _begin(last) + float(last.get("latency_ms") or 0.0) / 1e3
    n_sent = sum(int(row.get("attempts") or 1) for row in rows)
    merged = last | {
        "timestamp": rows[0]["timestamp"],
        "latency_ms": (ended - began) * 1e3,
        "attempts": n_sent,
        "retries": n_sent - 1,
        "rate_limited": any(row.get("rate_limited") for row in rows),
        "attempt_log": [each for row in rows for each in row.get("attempt_log", ())],
    }
    asked = rows[0].get("fallback_from") or rows[0].get("gen_ai_request_model")
    if asked != last.get("gen_ai_request_model"):
        merged["fallback_from"] = asked
    return merged, sink


def _is_answered(row: Row) -> bool:
    """Whether a request has an answer, which is paid, be it refused by its reader or not."""
    return not row.get("error_type") or any(
        name == "finish_reason" or name.startswith(_USAGE) for name in row
    )


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
    attributes = _Attributes({**_columns_around(), **columns})
    token = _ATTRIBUTES.set(attributes)
    try:
        yield
    finally:
        leave(_ATTRIBUTES, token, attributes)


def _columns_around() -> Mapping[str, Any]:
    around = innermost(_ATTRIBUTES)
    return {} if around is None else around.columns


@contextmanager
def call_scope(sink: Sink | None = None) -> Iterator[CallScope]:
    """Let a request of the block that repeats failed ones be one row with them.

    Args:
        sink: What logs the call if no client does.
    """
    scope = CallScope(sink=sink, parent=_SCOPE.get())
    if scope.parent is not None:
        scope.parent.enter()
    token = _SCOPE.set(scope)
    try:
        yield scope
    finally:
        restore(_SCOPE, token)
        scope.end()


def require_sink(sink: Any) -> None:
    """Refuse what cannot take rows.

    Raises:
        ConfigError: If it is neither a log nor callable, or a class.
    """
    takes_rows = callable(sink) or callable(getattr(sink, "log_call", None))
    if isinstance(sink, type) or not takes_rows:
        raise ConfigError(
            f"log must be a CallLog or a function that takes a row, got {sink!r}; "
            "open one with CallLog(destination, service)"
        )


def current_scope() -> CallScope | None:
    """The call that the running code is a part of."""
    return _SCOPE.get()


def new_row(**columns: Any) -> Row:
    """A row that begins now, with the attributes of the code around it, as they are now."""
    attributes = {name: value for name, value in _columns_around().items() if value is not None}
    return {
        "kind": "prediction",
        "schema_version": SCHEMA_VERSION,
        "timestamp": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
        "request_id": attributes.get("request_id") or new_request_id(),
        "sample_weight": 1.0,
        **snapshots(attributes),
        **snapshots({name: value for name, value in columns.items() if value is not None}),
    }


def emit(row: Row, sink: Sink, scope: CallScope | None, repeated: Chain | None = None) -> None:
    """Give a finished row to its sink, or to the call that it is a part of.

    Args:
        row: The row.
        sink: Its sink.
        scope: The scope that the request began in, not that in which its stream happens to end.
        repeated: The failed requests that it repeats, from the scope's `begin`.
    """
    chain = [*(repeated or ()), (row, sink)]
    if scope is None or _is_answered(row):
        deliver(*_merged(chain))
    else:
        scope.add_failed(chain)
    if scope is not None:
        scope.end()


def deliver(row: Row, sink: Sink) -> None:
    """Pass a row to its sink; an exception of the sink is logged and not raised."""
    try:
        if callable(sink):
            sink(row)
        else:
            sink.log_call(row)
    except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
        warn(logger, "an LLM call could not be logged", exc_info=True)
