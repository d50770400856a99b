"""The day of what a test logs: asked when it runs, for a run of all tests may go over midnight."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def today() -> str:
    """The day in UTC, as ISO text."""
    return datetime.now(timezone.utc).date().isoformat()


def tomorrow() -> datetime:
    """A day from now, when the day of today is over."""
    return datetime.now(timezone.utc) + timedelta(days=1)
