"""Encodes rows as lines of JSON: texts redacted and cut, constant columns encoded only once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.content import content_of
from flytekitplugins.wbmon.monitor.prediction_log.fit import fit_row
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    COLUMNS,
    FEEDBACK_COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    RowKind,
)
from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.serving.log.request import Prediction, Request
from flytekitplugins.wbmon.storage.segments.json_lines import to_json

_IN_FEEDBACK_ID = ("request_id", "session_id", "name")
# bounds the cache: tenants and routes may be many
_MAX_BEGINNINGS = 10_000
# columns that the log itself writes: a caller's value would be a second key of the same name in the
# JSON object, and readers would take the later of the two
_OWN = {
    "schema_version", "timestamp", "request_id", "service", "instance", "sample_reason",
    "sample_weight", "redactions",
}  # fmt: skip
_GIVEN = {name: of for name, of in PREDICTION_COLUMNS.items() if name not in _OWN}


class RowEncoder:
    """Encodes requests, feedback rows and window rows as lines of a segment.

    Args:
        static: Columns that are the same in every row.
        screen: What every other text passes.
    """

    def __init__(self, static: Mapping[str, Any], screen: Screen) -> None:
        self._screen = screen
        self._heads = {kind: _head(kind, static) for kind in COLUMNS}
        self._instants = _InstantFormat()
        self._beginnings: dict[tuple[Any, ...], str] = {}

    def prediction(self, request: Request) -> str:
        """The line of a finished request, and those of its further predictions."""
        row = self._identity(request)
        if request.first_chunk_ms is not None:
            row["time_to_first_chunk_ms"] = request.first_chunk_ms
        if request.stages:
            rest = max(0.0, request.latency_ms - request.covered_ms)
            row["stage_ms"] = {**request.stages, "other": rest}
        # a value that the handler gave is better than the captured body, so it comes second
        given = request.bodies.columns() if request.bodies is not None else {}
        given |= request.columns or {}
        if request.error_text:
            given["error_text"] = request.error_text
        if given or request.features:
            row |= content_of(self._screen, _GIVEN, given, request.features or {})
        line = self._joined(
            request,
            row,
            at=request.began_at,
            request_id=request.request_id,
            measured=f'"sample_weight":{request.weight!r}{_latency(request.latency_ms)}',
        )
        return line + "".join(map(self.further, request.further)) if request.further else line

    def further(self, prediction: Prediction) -> str:
        """The line of a prediction after the first one of its request.

        What is measured of the request as a whole, such as its latency, is in the first line only.
        """
        request = prediction.request
        weight = request.weight
        if request.further:
            # a sample of them stands for all
            weight *= max(1.0, request.n_further / len(request.further))
        given = {"variant": (request.columns or {}).get("variant"), **prediction.columns}
        row = self._identity(request) | {"parent_request_id": request.request_id}
        return self._joined(
            request,
            row | content_of(self._screen, _GIVEN, given, prediction.features or {}),
            at=prediction.made_at,
            request_id=prediction.request_id,
            measured=f'"sample_weight":{weight!r}',
        )

    def _identity(self, request: Request) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if request.session_id is not None:
            row["session_id"] = request.session_id
        if request.trace_id is not None:
            row["trace_id"] = request.trace_id
        if request.error_type is not None:
            row["error_type"] = request.error_type
        if request.user is not None and (hashed := self._screen.user(request.user)):
            row["user_hash"] = hashed
        return row

    def _joined(
        self,
        request: Request,
        row: dict[str, Any],
        *,
        at: float,
        request_id: str,
        measured: str,
    ) -> str:
        """The line, put together from encoded parts: encoding a dict of all columns costs more."""
        more = f",{to_json(self._screen.row('prediction', row))[1:]}" if row else "}"
        return (
            f"{self._beginning(request)},"
            f'"timestamp":"{self._instants(at)}",'
            f'"request_id":{to_json(self._screen.key("request_id", request_id))},'
            f"{measured}{more}\n"
        )

    def _beginning(self, request: Request) -> str:
        """The start of the line, with the columns that many requests share; encoded once."""
        shared = (request.route, request.method, request.status, request.reason, request.tenant)
        found = self._beginnings.get(shared)
        if found is None:
            names = ("route", "method", "status_code", "sample_reason", "tenant")
            row = {name: value for name, value in zip(names, shared, strict=True) if value != ""}
            if len(self._beginnings) >= _MAX_BEGINNINGS:
                self._beginnings.clear()
            # without the closing brace and the newline: further columns follow
            found = self._line("prediction", self._screen.row("prediction", row))[:-2]
            self._beginnings[shared] = found
        return found

    def feedback(self, columns: Mapping[str, Any]) -> str:
        """The line of a rating, a label or an event."""
        at = {"timestamp": self._instants(columns["timestamp"])}
        row = fit_row(FEEDBACK_COLUMNS, {**columns, **at})
        comment = row.pop("comment", None)
        if comment:
            texts = {"comment": comment}
            row["redactions"], _ = self._screen.texts(texts)
            row |= texts
        said = [row.get(name) for name in _IN_FEEDBACK_ID]
        feedback_id = row.get("feedback_id")
        row = self._screen.row("feedback", row)
        if feedback_id and said != [row.get(name) for name in _IN_FEEDBACK_ID]:
            # it is made of these, and would say what was hidden in them
            row["feedback_id"] = self._screen.hash(feedback_id)
        return self._line("feedback", row)

    def screened(self, window: dict[str, Any]) -> dict[str, Any]:
        """The columns of a window with what must be hidden replaced, in place."""
        return self._screen.row("window", window)

    def window(self, screened: Mapping[str, Any]) -> str:
        """The line of one window and one key (route, method and tenant), screened already."""
        times = {name: self._instants(screened[name]) for name in ("window_start", "window_end")}
        return self._line("window", {**screened, **times})

    def _line(self, kind: RowKind, row: Mapping[str, Any]) -> str:
        present = {name: value for name, value in row.items() if value is not None}
        return f"{self._heads[kind]}{to_json(present)[1:]}\n"


def known_columns(columns: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Split columns into those that a caller may give and the names of the unknown ones."""
    known = {name: value for name, value in columns.items() if name in _GIVEN}
    return known, [name for name in columns if name not in _GIVEN]


def _latency(latency_ms: float) -> str:
    # JSON has no NaN, which stands for an unknown latency
    return f',"latency_ms":{latency_ms:.4f}' if math.isfinite(latency_ms) else ""


def _head(kind: RowKind, static: Mapping[str, Any]) -> str:
    known = {
        name: value for name, value in static.items() if value is not None and name in COLUMNS[kind]
    }
    return f"{to_json({'kind': kind, 'schema_version': SCHEMA_VERSION, **known})[:-1]},"


class _InstantFormat:
    """Formats seconds since 1970 as ISO 8601 in UTC; the text of the last second is cached."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def __call__(self, instant: float) -> str:
        second, fraction = divmod(instant, 1.0)
        if second != self._second:
            self._second = int(second)
            moment = datetime.fromtimestamp(self._second, timezone.utc)
            self._text = moment.strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._text}{int(fraction * 1e6):06d}+00:00"
