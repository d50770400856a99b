"""Counts of all requests within one short window of time, by route, method and tenant."""

from __future__ import annotations

from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.schema import DISCONNECTED
from flytekitplugins.wbmon.serving.log.request import Request
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

# both bound the memory of a window, whatever clients send
MAX_KEYS = 1_000
MAX_ERROR_TYPES = 50
OTHER = "(other)"

Key = tuple[str, str, str | None]


class Counts:
    """Counts and latencies of the requests of one route, method and tenant.

    Besides the latency, a histogram is made when it has its first value.
    """

    __slots__ = ("dropped", "errors", "failed", "kept", "latency", "rare", "requests", "status")

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.kept = 0
        self.dropped = 0
        self.status: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self.latency = LogHistogram()
        self.rare: dict[str, LogHistogram] = {}

    def add(self, request: Request) -> None:
        """Count a finished request."""
        self.requests += 1
        status = self.status
        status[request.status] = status.get(request.status, 0) + 1
        self.latency.add(request.latency_ms)
        if request.first_chunk_ms is not None:
            self._add_to("time_to_first_chunk", request.first_chunk_ms)
        # a failure without a type is none of the adapters', but is one
        if request.error_type is not None or request.is_failure:
            self._add_error(request)

    def _add_error(self, request: Request) -> None:
        error = request.error_type or OTHER
        waited_ms, first_chunk_ms = request.latency_ms, request.first_chunk_ms
        if request.is_failure:
            self.failed += 1
            self._add_to("failed_latency", waited_ms)
            if first_chunk_ms is not None:
                self._add_to("failed_time_to_first_chunk", first_chunk_ms)
        elif error == DISCONNECTED:
            self._add_to("abandoned", waited_ms)
            if first_chunk_ms is None:
                self._add_to("unanswered", waited_ms)
        if error not in self.errors and len(self.errors) >= MAX_ERROR_TYPES:
            error = OTHER
        self.errors[error] = self.errors.get(error, 0) + 1

    def _add_to(self, histogram: str, value: float) -> None:
        found = self.rare.get(histogram)
        if found is None:
            found = self.rare[histogram] = LogHistogram()
        found.add(value)

    def columns(self) -> dict[str, Any]:
        """The counts as columns of a row of the table `serving_window`."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            # a copy: the window may go on while the row is written
            "errors": dict(self.errors),
            "status": self._classes(),
            "latency": self.latency.to_dict(),
            "sampled_rows": self.kept,
            "dropped_rows": self.dropped,
            **{name: histogram.to_dict() for name, histogram in self.rare.items()},
        }

    def _classes(self) -> dict[str, int]:
        classes: dict[str, int] = {}
        for status, count in sorted(self.status.items()):
            name = f"{status // 100}xx"
            classes[name] = classes.get(name, 0) + count
        return classes


class WindowCounts:
    """The counts of one window of time.

    There are at most `MAX_KEYS` keys; requests of further ones are counted together as `(other)`.
    """

    __slots__ = ("by_key", "depth_max", "in_flight_max", "start")

    def __init__(self, start: float) -> None:
        self.start = start
        self.by_key: dict[Key, Counts] = {}
        self.in_flight_max = 0
        self.depth_max = 0

    def counts(self, key: Key) -> Counts:
        """The counts of a key; made at its first request."""
        found = self.by_key.get(key)
        if found is not None:
            return found
        if len(self.by_key) >= MAX_KEYS:
            # requests without a tenant stay apart, so that they are not taken for a tenant's
            key = (OTHER, "", None if key[2] is None else OTHER)
            found = self.by_key.get(key)
            if found is not None:
                return found
        made = self.by_key[key] = Counts()
        return made

    def rows(self, end: float) -> list[dict[str, Any]]:
        """One row for each key, with times as seconds since 1970.

        Args:
            end: When the window ended; of a clock that was put back a little, not before its start.
        """
        return [
            {
                "window_start": self.start,
                "window_end": max(end, self.start),
                "route": route,
                "method": method,
                "tenant": tenant,
                "in_flight_max": self.in_flight_max,
                "queue_depth_max": self.depth_max,
                **counts.columns(),
            }
            for (route, method, tenant), counts in self.by_key.items()
        ]
