"""Rows as lines of JSON: redacted, cut to length, and with what never changes encoded once."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

from flytekitplugins.wbmon.records.prediction import (
    COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    RowKind,
)
from flytekitplugins.wbmon.serving.redaction import Redactor, redact_value
from flytekitplugins.wbmon.serving.request import Request

_TEXTS = ("input_text", "output_text")
_MAX_CATEGORY = 256
# a secret that begins before the cut may be unrecognisable after it
_RAGGED_END = 48

_encode_plain = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class RowEncoder:
    """Turns requests, feedback and windows into lines of a segment.

    Args:
        static: Columns that are the same in every row.
        redactor: Hides personal data and keys; None keeps texts as they are.
        user_key: Key of the hash that stands for a user.
        max_text: Characters kept of a text.
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

    def prediction(self, request: Request) -> str:
        """The row of a request; its texts are left out if they cannot be redacted."""
        row: dict[str, Any] = {
            "timestamp": self._instants(request.began_at),
            "request_id": request.request_id,
            "route": request.route,
            "method": request.method or None,
            "status_code": request.status,
            "latency_ms": _defined(request.latency_ms),
            "sample_reason": request.reason,
            "sample_weight": request.weight,
            "tenant": request.tenant,
            "session_id": request.session_id,
            "trace_id": request.trace_id,
            "error_type": request.error_type,
            "user_hash": self._user_hash(request.user),
            "time_to_first_chunk_ms": request.first_chunk_ms,
        }
        if request.stages:
            rest = request.latency_ms - math.fsum(request.stages.values())
            row["stage_ms"] = {**request.stages, "other": rest}
        row |= self._content(request)
        return self._line("prediction", row)

    def feedback(self, columns: Mapping[str, Any]) -> str:
        """The row of a rating, label or event."""
        row = {**columns, "timestamp": self._instants(columns["timestamp"])}
        comment = row.pop("comment", None)
        if comment:
            texts, n, _ = self._redacted({"comment": comment})
            row |= {**texts, "redactions": n}
        return self._line("feedback", row)

    def window(self, columns: Mapping[str, Any]) -> str:
        """The row of one key of a window."""
        times = {name: self._instants(columns[name]) for name in ("window_start", "window_end")}
        return self._line("window", {**columns, **times})

    def _content(self, request: Request) -> dict[str, Any]:
        """Everything that a user may have written: redacted, or not kept at all."""
        content = dict(request.columns or ())
        raw_texts = {name: content.pop(name) for name in _TEXTS if name in content}
        if request.error_text:
            raw_texts["error_text"] = request.error_text
        categories: dict[str, str] = {}
        if request.features:
            numbers, categories = _split_features(request.features)
            content["features"] = numbers
        prediction = content.pop("prediction", None)
        if isinstance(prediction, str):
            categories["\0prediction"] = prediction
        elif prediction is not None:
            content["prediction"] = prediction
        was_cut = bool(content.pop("truncated", False))
        if not raw_texts and not categories:
            return content
        texts, n, cut = self._redacted(raw_texts)
        shorts, m, _ = self._redacted(categories)
        content |= texts
        if "\0prediction" in shorts:
            content["prediction"] = shorts.pop("\0prediction")
        if shorts:
            content["cat_features"] = shorts
        return {**content, "redactions": n + m, "truncated": cut or was_cut}

    def _redacted(self, raw: Mapping[str, Any]) -> tuple[dict[str, str], int, bool]:
        """Texts without what must be hidden; how much that was; whether any had to be cut."""
        texts, n, is_cut = {}, 0, False
        for name, value in raw.items():
            if self._redactor is not None:
                value, found = redact_value(self._redactor, value)  # noqa: PLW2901 - from here on
                n += found
            text = value if isinstance(value, str) else _to_json(value)
            if len(text) > self._max_text:
                text, is_cut = text[: self._max_text], True
            texts[name] = text
        return texts, n, is_cut

    def _user_hash(self, user: str | None) -> str | None:
        if user is None or self._user_key is None:
            return None
        return hmac.new(self._user_key, user.encode(), sha256).hexdigest()

    def _line(self, kind: RowKind, row: Mapping[str, Any]) -> str:
        present = {name: value for name, value in row.items() if value is not None}
        return f"{self._heads[kind]}{_to_json(present)[1:]}\n"


def without_ragged_end(text: str) -> str:
    """A text that was cut off at a limit, without the part that a redactor may not recognise."""
    kept = text[:-_RAGGED_END] if len(text) > _RAGGED_END else ""
    head, space, _ = kept.rpartition(" ")
    return head if space else kept


def known_columns(columns: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The columns of the contract, and the names of those that are not in it."""
    known = {name: value for name, value in columns.items() if name in PREDICTION_COLUMNS}
    return known, [name for name in columns if name not in PREDICTION_COLUMNS]


def _defined(latency_ms: float) -> float | None:
    return None if math.isnan(latency_ms) else round(latency_ms, 4)


def _head(kind: RowKind, static: Mapping[str, Any]) -> str:
    known = {
        name: value for name, value in static.items() if value is not None and name in COLUMNS[kind]
    }
    return f"{_encode_plain({'kind': kind, 'schema_version': SCHEMA_VERSION, **known})[:-1]},"


def _split_features(features: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    numbers: dict[str, Any] = {}
    categories: dict[str, str] = {}
    for name, value in features.items():
        plain = value.item() if hasattr(value, "item") and not isinstance(value, str) else value
        if plain is None:
            continue
        if isinstance(plain, bool | int | float):
            if plain == plain:  # noqa: PLR0124 - not nan
                numbers[str(name)] = plain
        else:
            categories[str(name)] = str(plain)[:_MAX_CATEGORY]
    return numbers, categories


def _to_json(value: Any) -> str:
    try:
        return _encode_plain(value)
    except (TypeError, ValueError):
        return _encode_plain(_plain(value))


def _plain(value: Any) -> Any:
    """What JSON can hold: undefined numbers become null, arrays lists, anything else its text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    converted: Callable[[], Any] | None = getattr(value, "tolist", None)
    return _plain(converted()) if converted is not None else str(value)


class _InstantFormat:
    """Instants as ISO 8601 in UTC; the second is formatted once."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def __call__(self, instant: float) -> str:
        second, fraction = divmod(instant, 1.0)
        if second != self._second:
            self._second = int(second)
            moment = datetime.fromtimestamp(self._second, timezone.utc)
            self._text = moment.strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._text}{int(fraction * 1e6):06d}+00:00"
