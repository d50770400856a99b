"""Encodes rows as lines of JSON: texts redacted and cut, constant columns encoded only once."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from hashlib import sha256
from numbers import Real
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.fit import fit, fit_row, scalar
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    COLUMNS,
    FEEDBACK_COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    RowKind,
)
from flytekitplugins.wbmon.privacy.patterns import Redactor, redact_value
from flytekitplugins.wbmon.privacy.secret_names import is_secret
from flytekitplugins.wbmon.serving.log.request import Request
from flytekitplugins.wbmon.storage.segments.json_lines import to_json, to_text

_TEXTS = ("input_text", "output_text")
_MAX_CATEGORY = 256
_READ_OF_CATEGORY = 4096  # no secret of usual length begins in what is kept and ends behind this
# bounds the cache: tenants and routes may be many
_MAX_BEGINNINGS = 10_000
# a secret that the cut goes through may no longer match its pattern
_RAGGED_END = 48
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
        redactor: Hides personal data and keys; None keeps texts as they are.
        user_key: Key of the HMAC that is written in place of a user; None writes no user.
        max_text: Number of characters kept of a text.
    """

    def __init__(
        self,
        static: Mapping[str, Any],
        *,
        redactor: Redactor | None,
        user_key: bytes | None,
        max_text: int,
    ) -> None:
        self._redactor, self._user_key, self._max_text = redactor, user_key, max_text
        self._heads = {kind: _head(kind, static) for kind in COLUMNS}
        self._instants = _InstantFormat()
        self._beginnings: dict[tuple[Any, ...], str] = {}

    def prediction(self, request: Request) -> str:
        """The line of a finished request, redacted.

        Raises:
            Exception: Whatever the redactor raises; the caller then encodes the row without texts.
        """
        known: dict[str, Any] = {
            "session_id": request.session_id,
            "trace_id": request.trace_id,
            "error_type": request.error_type,
            "user_hash": self._user_hash(request.user),
            "time_to_first_chunk_ms": request.first_chunk_ms,
        }
        if request.stages:
            rest = request.latency_ms - math.fsum(request.stages.values())
            known["stage_ms"] = {**request.stages, "other": rest}
        row = {name: value for name, value in known.items() if value is not None}
        row |= self._content(request)
        more = f",{to_json(row)[1:]}" if row else "}"
        # the line is put together from encoded parts: encoding a dict of all columns costs more,
        # and this is done once for each kept request
        return (
            f"{self._beginning(request)},"
            f'"timestamp":"{self._instants(request.began_at)}",'
            f'"request_id":{to_json(request.request_id)},'
            f'"sample_weight":{request.weight!r}{_latency(request.latency_ms)}{more}\n'
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
            found = self._line("prediction", row)[:-2]
            self._beginnings[shared] = found
        return found

    def feedback(self, columns: Mapping[str, Any]) -> str:
        """The line of a rating, a label or an event."""
        at = {"timestamp": self._instants(columns["timestamp"])}
        row = fit_row(FEEDBACK_COLUMNS, {**columns, **at})
        comment = row.pop("comment", None)
        if comment:
            texts = {"comment": comment}
            row["redactions"], _ = self._redact(texts)
            row |= texts
        return self._line("feedback", row)

    def window(self, columns: Mapping[str, Any]) -> str:
        """The line of one window and one key (route, method and tenant)."""
        times = {name: self._instants(columns[name]) for name in ("window_start", "window_end")}
        return self._line("window", {**columns, **times})

    def _content(self, request: Request) -> dict[str, Any]:
        """The columns that may hold what a user wrote, redacted."""
        # a value that the handler gave is better than the captured body, so it comes second
        given = request.bodies.columns() if request.bodies is not None else {}
        given |= request.columns or {}
        raw = {name: given.pop(name, None) for name in _TEXTS}
        raw["error_text"] = request.error_text or given.pop("error_text", None)
        raw = {name: value for name, value in raw.items() if value is not None}
        numbers, categories = _split_features(
            request.features or {}, hides=self._redactor is not None
        )
        prediction = scalar(given.pop("prediction", None))
        # a prediction that is text may hold personal data: it is redacted like the other texts
        if prediction is not None and not isinstance(prediction, bool | int | float):
            raw["prediction"] = prediction
            prediction = None
        was_cut = bool(given.pop("truncated", False))
        content = fit_row(_GIVEN, given)
        if prediction is not None:
            content["prediction"] = fit("any", prediction)
        if numbers:
            content["features"] = numbers
        if not raw and not categories:
            return content
        n, content["truncated"] = self._redact(raw, was_cut=was_cut)
        m, _ = self._redact(categories, as_text=str)
        content |= raw
        if categories:
            content["cat_features"] = {
                name: text[:_MAX_CATEGORY] for name, text in categories.items()
            }
        content["redactions"] = n + m
        return content

    def _redact(
        self,
        values: dict[str, Any],
        *,
        was_cut: bool = False,
        as_text: Callable[[Any], str] = to_text,
    ) -> tuple[int, bool]:
        """Replace each value by its redacted text of at most `max_text` characters, in place.

        Returns:
            How many things were hidden, and whether any text was cut, now or before (`was_cut`).
        """
        n = 0
        for name, value in values.items():
            text = value
            if self._redactor is not None:
                # with its name, because a value under a secret's name is hidden whatever it is
                named, found = redact_value(self._redactor, {name: value})
                (text,) = named.values()
                n += found
            if not isinstance(text, str):
                text = as_text(text)
            # cut after redaction: half of a secret would not be recognised
            if len(text) > self._max_text:
                text, was_cut = text[: self._max_text], True
            values[name] = text
        return n, was_cut

    def _user_hash(self, user: str | None) -> str | None:
        if user is None or self._user_key is None:
            return None
        # keyed, because user names are few enough to try all of them against a plain hash
        return hmac.new(self._user_key, user.encode("utf-8", "surrogatepass"), sha256).hexdigest()

    def _line(self, kind: RowKind, row: Mapping[str, Any]) -> str:
        present = {name: value for name, value in row.items() if value is not None}
        return f"{self._heads[kind]}{to_json(present)[1:]}\n"


def without_ragged_end(text: str) -> str:
    """A text that was cut at a limit, shortened further by the end a redactor may not recognise."""
    kept = text[:-_RAGGED_END] if len(text) > _RAGGED_END else ""
    head, space, _ = kept.rpartition(" ")
    return head if space else kept


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


def _split_features(
    features: Mapping[str, Any], *, hides: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    numbers: dict[str, Any] = {}
    categories: dict[str, Any] = {}
    for name, value in features.items():
        plain = _quantity(value)
        is_number = isinstance(plain, bool | int | float)
        # a whole number may be a password, which is hidden as the texts are
        if is_number and not (hides and is_secret(str(name), plain)):
            number = fit("any", plain)
            if number is not None:
                numbers[str(name)] = number
        elif plain is not None:
            # cut again after redaction, which half of a secret would escape
            categories[str(name)] = plain[:_READ_OF_CATEGORY] if isinstance(plain, str) else plain
    return numbers, categories


def _quantity(value: Any) -> Any:
    """As `scalar` has it, but a fraction of more digits than a float holds is rounded."""
    plain = scalar(value)
    if not isinstance(plain, str) or not isinstance(value, Decimal | Real):
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
