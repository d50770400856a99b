"""Rows as lines of JSON: redacted, cut to length, and with what never changes encoded once."""

from __future__ import annotations

import hmac
import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    COLUMNS,
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    RowKind,
)
from flytekitplugins.wbmon.privacy.patterns import Redactor, redact_value
from flytekitplugins.wbmon.serving.log.request import Request

_TEXTS = ("input_text", "output_text")
_MAX_CATEGORY = 256
_MAX_BEGINNINGS = 10_000
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
        self._beginnings: dict[tuple[Any, ...], str] = {}

    def prediction(self, request: Request) -> str:
        """The row of a request; its texts are left out if they cannot be redacted."""
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
        more = f",{_to_json(row)[1:]}" if row else "}"
        return (
            f"{self._beginning(request)},"
            f'"timestamp":"{self._instants(request.began_at)}",'
            f'"request_id":{_encode_plain(request.request_id)},'
            f'"sample_weight":{request.weight!r}{_latency(request.latency_ms)}{more}\n'
        )

    def _beginning(self, request: Request) -> str:
        """The columns that many requests share, encoded once for all of them."""
        shared = (request.route, request.method, request.status, request.reason, request.tenant)
        found = self._beginnings.get(shared)
        if found is None:
            names = ("route", "method", "status_code", "sample_reason", "tenant")
            row = {name: value for name, value in zip(names, shared, strict=True) if value != ""}
            if len(self._beginnings) >= _MAX_BEGINNINGS:
                self._beginnings.clear()
            found = self._line("prediction", row)[:-2]
            self._beginnings[shared] = found
        return found

    def feedback(self, columns: Mapping[str, Any]) -> str:
        """The row of a rating, label or event."""
        row = {**columns, "timestamp": self._instants(columns["timestamp"])}
        comment = row.pop("comment", None)
        if comment:
            texts = {"comment": comment}
            row["redactions"], _ = self._redact(texts)
            row |= texts
        return self._line("feedback", row)

    def window(self, columns: Mapping[str, Any]) -> str:
        """The row of one key of a window."""
        times = {name: self._instants(columns[name]) for name in ("window_start", "window_end")}
        return self._line("window", {**columns, **times})

    def _content(self, request: Request) -> dict[str, Any]:
        """Everything that a user may have written: redacted, or not kept at all."""
        # what the handler said of a text is better than the raw bytes
        content = request.bodies.columns() if request.bodies is not None else {}
        content |= request.columns or {}
        texts = {name: content.pop(name, None) for name in _TEXTS}
        texts["error_text"] = request.error_text or None
        raw = {name: value for name, value in texts.items() if value is not None}
        categories: dict[str, str] = {}
        if request.features:
            content["features"], categories = _split_features(request.features)
        if isinstance(content.get("prediction"), str):
            categories["\0prediction"] = content.pop("prediction")
        was_cut = bool(content.pop("truncated", False))
        if not raw and not categories:
            return content
        n, content["truncated"] = self._redact(raw, was_cut=was_cut)
        content |= raw
        if categories:
            m, _ = self._redact(categories)
            n += m
            if "\0prediction" in categories:
                content["prediction"] = categories.pop("\0prediction")
            if categories:
                content["cat_features"] = categories
        content["redactions"] = n
        return content

    def _redact(self, values: dict[str, Any], *, was_cut: bool = False) -> tuple[int, bool]:
        """Make values short texts, without what must be hidden; how much that was; any cut."""
        n = 0
        for name, value in values.items():
            text = value
            if self._redactor is not None:
                named, found = redact_value(self._redactor, {name: value})
                (text,) = named.values()
                n += found
            if not isinstance(text, str):
                text = _to_json(text)
            if len(text) > self._max_text:
                text, was_cut = text[: self._max_text], True
            values[name] = text
        return n, was_cut

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


def _latency(latency_ms: float) -> str:
    return f',"latency_ms":{latency_ms:.4f}' if math.isfinite(latency_ms) else ""


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
