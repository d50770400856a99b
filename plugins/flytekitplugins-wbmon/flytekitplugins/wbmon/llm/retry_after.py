"""The wait that a server requests in its response headers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str] | None) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (a number or an HTTP date).

    Returns:
        Seconds, `>= 0`; None if the header is missing or cannot be parsed.
    """
    if headers is None:
        return None
    with suppress(TypeError, ValueError):
        return (
            max(0.0, float(headers["retry-after-ms"]) / 1e3)
            if "retry-after-ms" in headers
            else (_seconds(headers["retry-after"]) if "retry-after" in headers else None)
        )
    return None


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        at = parsedate_to_datetime(text)
        # HTTP dates are GMT; the parser returns a naive time for the zone `-0000`
        at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
        return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())
