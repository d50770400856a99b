"""Encodes rows as lines of JSON: texts redacted and cut, constant columns encoded only once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.fit import fit, fit_row, scalar
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    COLUMNS,
    FEEDBACK_COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    RowKind,
)
from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.privacy.secret_names import is_secret
from flytekitplugins.wbmon.serving.log.request import Prediction, Request
from flytekitplugins.wbmon.storage.segments.json_lines import text_of, to_json

_TEXTS = ("input_text", "output_text", "error_text")
# made once: a union of types is an object of its own in every call
_NUMBERS = (bool, int, float)
_IN_FEEDBACK_ID = ("request_id", "session_id", "name")
_MAX_CATEGORY = 256
_READ_OF_CATEGORY = 4096  # no secret of usual length begins in what is kept and ends behind this
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
            rest = request.latency_ms - math.fsum(request.stages.values())
            row["stage_ms"] = {**request.stages, "other": rest}
        # a value that the handler gave is better than the captured body, so it comes second
        given = request.bodies.columns() if request.bodies is not None else {}
        given |= request.columns or {}
        if request.error_text:
            given["error_text"] = request.error_text
        if given or request.features:
            row |= self._content(given, request.features or {})
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
        variant = {"variant": (request.columns or {}).get("variant")}
        row = self._identity(request) | {"parent_request_id": request.request_id}
        return self._joined(
            request,
            row | self._content(variant | prediction.columns, prediction.features or {}),
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

    def _content(self, given: dict[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
        """The columns that may hold what a user wrote, redacted."""
        raw = {name: given.pop(name) for name in _TEXTS if given.get(name) is not None}
        numbers, categories, n = self._split_features(features) if features else ({}, {}, 0)
        prediction = given.pop("prediction", None)
        prediction = None if prediction is None else scalar(prediction)
        # a prediction that is text may hold personal data: it is redacted like the other texts
        if prediction is not None and not isinstance(prediction, _NUMBERS):
            raw["prediction"] = prediction
            prediction = None
        was_cut = fit("bool", given.pop("truncated", False)) or False
        content = fit_row(_GIVEN, given)
        if prediction is not None:
            fitting = fit("any", prediction)
            content["prediction"] = fitting if isinstance(fitting, str) else self._number(fitting)
            n += fitting is not None and content["prediction"] is None
        if numbers:
            content["features"] = numbers
        if not (raw or categories or n):
            return content
        found, content["truncated"] = self._screen.texts(raw, was_cut=was_cut)
        content |= raw
        if categories:
            more, _ = self._screen.texts(categories, as_text=str)
            n += more
            content["cat_features"] = {
                self._screen.entry(name): text[:_MAX_CATEGORY] for name, text in categories.items()
            }
        content["redactions"] = n + found
        return content

    def _number(self, value: Any) -> Any:
        return value if value is None else self._screen.number(value)

    def _split_features(
        self, features: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], int]:
        """Numbers and texts by the names of features, and how many numbers were hidden."""
        numbers: dict[str, Any] = {}
        categories: dict[str, Any] = {}
        n_hidden = 0
        for given, value in features.items():
            name = text_of(given)
            plain = _quantity(value)
            # a whole number may be a password, which is hidden as the texts are
            is_number = isinstance(plain, _NUMBERS)
            if is_number and not (self._screen.hides and is_secret(name, plain)):
                fitting = fit("any", plain)
                number = fitting if isinstance(fitting, str) else self._number(fitting)
                n_hidden += fitting is not None and number is None
                if number is not None:
                    numbers[self._screen.entry(name)] = number
            elif plain is not None:
                # cut again after redaction, which half of a secret would escape
                cut = plain[:_READ_OF_CATEGORY] if isinstance(plain, str) else plain
                categories[name] = cut
        return numbers, categories, n_hidden

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


def _quantity(value: Any) -> Any:
    """As `scalar` has it, but a fraction of more digits than a float holds is rounded."""
    plain = scalar(value)
    is_fraction = isinstance(value, Decimal | Real) and not isinstance(value, Integral)
    if not isinstance(plain, str) or not is_fraction:
        return plain
    rounded = float(value)
    # beyond all floats it keeps its text
    return rounded if math.isfinite(rounded) else plain


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
