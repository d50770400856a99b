"""What became of the requests of serving windows: how many failed, and how many were good.

A failed request is bad, however fast it failed. A caller who left before the end is no failure of
the server: whether the answer would have been good is unknown, unless the caller had already waited
for longer than the limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flytekitplugins.wbmon.monitor.prediction_log.schema import DISCONNECTED
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

Row = Mapping[str, Any]
"""The columns of one serving window, of one route, method and tenant."""
Endpoint = tuple[str, str | None]
"""A route and its method."""


class JudgedRequests(NamedTuple):
    """The outcomes of requests, judged by one objective.

    Attributes:
        n: Requests that were good or bad.
        bad: Those that failed or took too long.
        failed: Those that failed.
        bounded: Failed requests whose latency is not known, because their window was written by an
            earlier release. They count as bad beside all slow ones, the worst case.
    """

    n: int = 0
    bad: int = 0
    failed: int = 0
    bounded: int = 0

    def plus(self, other: JudgedRequests) -> JudgedRequests:
        """The outcomes of both together."""
        return JudgedRequests(*map(sum, zip(self, other, strict=True)))


def failed_requests(row: Row) -> int:
    """Number of requests that the server failed.

    Windows of earlier releases say it only by the types of errors and the classes of status: all
    errors count but those of the caller (`http_4…` and `client_disconnect`).
    """
    failed = row.get("failed")
    if failed is not None:
        return int(failed)
    told = sum(n for name, n in _map(row, "errors").items() if not _is_of_caller(name))
    return int(max(told, _map(row, "status").get("5xx", 0)))


def refused_requests(row: Row) -> int:
    """Number of requests that were answered with 4xx, which are no failures of the server."""
    return sum(n for name, n in _map(row, "errors").items() if name.startswith("http_4"))


def merged(rows: Iterable[Row], column: str) -> LogHistogram:
    """The sum of a histogram column over some windows."""
    whole = LogHistogram()
    for row in rows:
        if row.get(column):
            whole.merge(LogHistogram.from_dict(row[column]))
    return whole


def by_success(row: Row) -> JudgedRequests:
    """The outcomes where a request is good if it did not fail."""
    failed = failed_requests(row)
    return JudgedRequests(max(failed, row["requests"] - _n_abandoned(row)), failed, failed)


def by_latency(row: Row, limit_ms: float) -> JudgedRequests:
    """The outcomes where a request is good if it succeeded within a limit.

    Requests that succeeded and have no latency are neither good nor bad.
    """
    failed = failed_requests(row)
    every = merged([row], "latency")
    slow = every.count_above(limit_ms)
    if _is_told(row):
        lost, abandoned = merged([row], "failed_latency"), merged([row], "abandoned")
        given_up = abandoned.count_above(limit_ms)
        succeeded = every.n - lost.n - abandoned.n
        slow -= lost.count_above(limit_ms)
        return JudgedRequests(succeeded + given_up + failed, slow + failed, failed)
    bad = slow + failed
    n = max(failed, min(every.n, bad), every.n - _n_abandoned(row))
    return JudgedRequests(n, min(n, bad), failed, bounded=failed)


def by_first_chunk(row: Row, limit_ms: float, *, streams: bool) -> JudgedRequests:
    """The outcomes where a stream is good if it succeeded and its first chunk was in time.

    Args:
        row: A window.
        limit_ms: The limit in milliseconds.
        streams: Whether a failed request of this endpoint may have been a stream; it then counts
            as one, also if it failed before its first chunk.
    """
    every = merged([row], "time_to_first_chunk")
    if not every.n and not streams:
        return JudgedRequests()
    failed = failed_requests(row)
    slow = every.count_above(limit_ms)
    if _is_told(row):
        broken = merged([row], "failed_time_to_first_chunk")
        given_up = merged([row], "unanswered").count_above(limit_ms)
        bad = slow - broken.count_above(limit_ms) + failed + given_up
        return JudgedRequests(every.n - broken.n + failed + given_up, bad, failed)
    n = max(every.n, failed)
    return JudgedRequests(n, min(n, slow + failed), failed, bounded=failed)


def streaming_endpoints(rows: Iterable[Row]) -> set[Endpoint]:
    """The endpoints whose answers are streams, or may be.

    That is: those with a stream in any window, and those without any complete answer, which nobody
    can tell of.
    """
    streamed: set[Endpoint] = set()
    answered: set[Endpoint] = set()
    seen: set[Endpoint] = set()
    for row in rows:
        endpoint = endpoint_of(row)
        seen.add(endpoint)
        if row.get("time_to_first_chunk"):
            streamed.add(endpoint)
        # an answer to a wrong request is no stream anywhere
        of_caller = sum(n for name, n in _map(row, "errors").items() if _is_of_caller(name))
        if row["requests"] > failed_requests(row) + of_caller:
            answered.add(endpoint)
    return streamed | (seen - answered)


def endpoint_of(row: Row) -> Endpoint:
    """The endpoint of a window."""
    return row["route"], row.get("method")


def _is_told(row: Row) -> bool:
    """Whether a window says which latencies are those of failures and of callers who left."""
    return row.get("failed") is not None


def _n_abandoned(row: Row) -> int:
    return int(_map(row, "errors").get(DISCONNECTED, 0))


def _is_of_caller(error: str) -> bool:
    return error == DISCONNECTED or error.startswith("http_4")


def _map(row: Row, column: str) -> dict[str, int]:
    return dict(row.get(column) or ())
