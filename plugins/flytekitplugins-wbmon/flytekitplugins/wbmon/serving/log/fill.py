"""Puts what a caller gives into the request that is served, or into a row beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from flytekitplugins.wbmon.serving.log.encode import known_columns
from flytekitplugins.wbmon.serving.log.request import Prediction, Request, request_within
from flytekitplugins.wbmon.storage.segments.json_lines import text_of

_COMMON = {"prediction", "score", "input_text", "output_text", "variant"}


class FilledLog(Protocol):
    """What this needs of the prediction log."""

    @property
    def n_in_flight(self) -> int:
        """How many requests are being served."""

    def live_request(self, request_id: str) -> Request | None:
        """The request of that id, if this process is serving it."""

    def add_late(self, prediction: Prediction) -> None:
        """Log a prediction whose request is over, or served by another process."""

    def count_failure(self) -> None:
        """Count an error inside monitoring."""

    def warn_once(self, matter: str, words: str) -> None:
        """Log a warning, once for each matter."""


def request_of(
    log: FilledLog, request_id: str | None, parent_id: str | None, route: str
) -> Request | None:
    """The request that a prediction is a part of; None for one that is a request of its own.

    Args:
        log: The prediction log.
        request_id: The id that the caller gave the prediction.
        parent_id: The id that the caller gave of its request.
        route: The route, where another process serves the request.
    """
    request = request_within(log)
    if parent_id is not None and (request is None or parent_id != request.request_id):
        return log.live_request(parent_id) or _elsewhere(parent_id, route)
    # a task that outlives the request that started it may work for others
    if request_id is not None and (request is None or request.is_over):
        return log.live_request(request_id) or request
    if request is None and log.n_in_flight:
        log.warn_once(
            "apart",
            "a prediction outside of a request counts as a request of its own; if it belongs to "
            "one, start the thread's function by with_context, or give parent_request_id",
        )
    return request


def add_prediction(
    log: FilledLog,
    request: Request,
    request_id: str | None,
    columns: Mapping[str, Any],
    features: Mapping[str, Any] | None,
) -> str:
    """Add a prediction to its request: to its row, or as a row beside it.

    Args:
        log: The prediction log.
        request: The request.
        request_id: The id that the caller gave the prediction.
        columns: Columns by name.
        features: The model's inputs by name.

    Returns:
        The id of the prediction.
    """
    is_own = request_id is None or request_id == request.request_id
    if is_own and not (request.is_over or request.would_replace(columns)):
        fill(log, request, columns, features)
        return request.request_id
    name = request_id if not is_own or request.is_elsewhere else None
    name = name or request.next_id()
    try:
        further = Prediction(request, name, _known(log, request, columns), features)
        if request.is_over:
            log.add_late(further)
        else:
            request.add_prediction(further)
    except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
        log.count_failure()
    return name


def fill(
    log: FilledLog,
    request: Request,
    columns: Mapping[str, Any],
    features: Mapping[str, Any] | None = None,
) -> None:
    """Add columns and features to a request; an error is counted and not raised."""
    try:
        request.set(**_known(log, request, columns))
        if features is not None:
            request.add_features(features)
    except Exception:  # noqa: BLE001 - a monitor never breaks what it monitors
        log.count_failure()


def _elsewhere(request_id: str, route: str) -> Request:
    request = Request(request_id, route=route)
    request.is_over = request.is_elsewhere = True
    return request


def _known(log: FilledLog, request: Request, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the log has, without those that the request holds itself."""
    rest = dict(columns)
    for name in ("tenant", "user", "session_id", "trace_id"):
        value = rest.pop(name, None)
        if value is not None:
            setattr(request, name, text_of(value))
    # most calls give only these, and need no look at the schema
    if not rest.keys() <= _COMMON:
        rest, unknown = known_columns(rest)
        if unknown:
            log.warn_once("columns", f"no such columns: {', '.join(unknown)}")
    return rest
