"""The report on the traffic of a service."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.reports.measurement import Measurement, number
from flytekitplugins.wbmon.reports.report import Report

_NO_REQUEST = "no request in this window"
_GROUPS = ("route", "tenant")
_CHARTED_ERRORS = 20
_OF_STREAMS = "time_to_first_chunk_ms"
_LATENCIES = {"latency_ms": "latency_ms", "first_chunk_ms": _OF_STREAMS}
LATENCY_LEVELS = (50, 90, 95, 99)
_LATENCY_PARTS = (*(f"p{level}" for level in LATENCY_LEVELS), "mean", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic(ByContent):
    """Traffic of one group; counts cover all requests, not only the sampled ones.

    Attributes:
        name: The group: a route, a tenant, or `all`.
        n_requests: Requests served.
        n_failed: Those that the server failed: an exception, status 5xx, or a response that broke
            off, whatever status was sent before.
        error_rate: `n_failed / n_requests`, with the ends of Wilson's interval.
        errors: Requests by exception class or `http_<status>`, the most frequent first.
        latency_ms: By percentile: `p50`, `p90`, `p95`, `p99`, and `mean`, `max`.
        first_chunk_ms: The same for the time to the first chunk; empty without streams.
    """

    name: str
    n_requests: int
    n_failed: int = 0
    error_rate: float = math.nan
    error_rate_low: float = math.nan
    error_rate_high: float = math.nan
    errors: Mapping[str, int] = field(default_factory=dict)
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    first_chunk_ms: Mapping[str, float] = field(default_factory=dict)

    def measurements(self, group: str = "") -> Iterable[Measurement]:
        """Its numbers; those of a route or tenant are named after it.

        Args:
            group: `route` or `tenant`; empty for all requests.
        """
        whose = (group, self.name) if group else ()
        yield number(
            "n_requests", *whose, value=self.n_requests, prominence="rule" if group else "history"
        )
        yield number(
            "n_failed",
            *whose,
            value=self.n_failed,
            higher_is_better=False,
            prominence="rule" if group else "chart",
        )
        yield number(
            "error_rate",
            *whose,
            value=self.error_rate,
            low=self.error_rate_low,
            high=self.error_rate_high,
            higher_is_better=False,
            prominence="rule" if group else "news",
            reason=_NO_REQUEST,
        )
        for field_name, name in _LATENCIES.items():
            for part, value in getattr(self, field_name).items():
                yield number(
                    name,
                    part,
                    *whose,
                    value=value,
                    higher_is_better=False,
                    unit="ms",
                    prominence="rule" if group else "history",
                    reason=_NO_REQUEST,
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfidence(ByContent):
    """Confidence of the model and diversity of its answers, from weighted sampled rows.

    Attributes:
        n_rows: Rows with a score.
        mean: Weighted mean score; `nan` without rows, as are the other numbers.
        low_share: Weighted share of scores below the threshold, with the ends of its interval.
        threshold: Rows with a lower score count as uncertain.
        histogram: Weighted share of the scores in ten equal parts of [0, 1].
        top_share: Weighted share of the most frequent answer; `nan` without answers.
        entropy_bits: Entropy of the answers.
    """

    n_rows: int
    mean: float = math.nan
    low_share: float = math.nan
    low_share_low: float = math.nan
    low_share_high: float = math.nan
    threshold: float = 0.5
    histogram: tuple[float, ...] = ()
    top_share: float = math.nan
    entropy_bits: float = math.nan

    def measurements(self) -> Iterable[Measurement]:
        """How sure the model was, and how varied its answers were."""
        yield number(
            "confidence", value=self.mean, higher_is_better=True, reason="no kept row has a score"
        )
        yield number(
            "low_confidence_share",
            value=self.low_share,
            low=self.low_share_low,
            high=self.low_share_high,
            higher_is_better=False,
            reason="no kept row has a score",
        )
        none = "no kept row has an answer"
        yield number("top_prediction_share", value=self.top_share, reason=none)
        yield number("entropy_bits", value=self.entropy_bits, unit="bits", reason=none)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingReport(Report):
    """Traffic of a service in a period.

    Attributes:
        start_at: Start of the first window; None without windows.
        end_at: End of the last window.
        total: All requests.
        routes: Traffic by route, busiest first.
        tenants: Traffic by tenant, busiest first.
        peak_per_s: Requests per second in the busiest minute, over all instances.
        in_flight_max: Maximum number of simultaneous requests in one instance.
        n_instances: Processes that served.
        n_sampled: Requests whose row was sampled and written.
        n_dropped: Requests whose row was sampled but lost.
        confidence: Confidence from the sampled rows; None if there was no column of scores to read.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "serving"
    VOLUMES: ClassVar[tuple[str, ...]] = ("n_requests",)

    start_at: datetime | None
    end_at: datetime | None
    total: Traffic
    routes: tuple[Traffic, ...] = ()
    tenants: tuple[Traffic, ...] = ()
    peak_per_s: float = math.nan
    in_flight_max: int = 0
    n_instances: int = 0
    n_sampled: int = 0
    n_dropped: int = 0
    confidence: ServingConfidence | None = None
    reason: str

    @property
    def unmeasured(self) -> str:
        """That no request came, or that none was served."""
        if self.total.n_requests:
            refused = sum(n for name, n in self.total.errors.items() if name.startswith("http_4"))
            if refused < self.total.n_requests:
                return ""
            worst = next(iter(self.total.errors))
            return f"all {refused:,} requests were refused, most frequently with {worst}"
        if self.start_at is None or self.end_at is None:
            return "there is no serving window"
        return f"0 requests in the serving windows from {self.start_at} to {self.end_at}"

    def absent(self, name: str) -> Measurement | None:
        """A number of a route or tenant that nobody called, or an error that did not happen.

        Also a latency where no request had one, such as the first chunk in a night without streams.
        """
        known = {each.name for each in self.total.measurements()}
        for group in _GROUPS:
            stem, found, whose = name.partition(f".{group}.")
            if found and stem in known:
                why = f"no request of {group} {whose!r} in this window"
                return number(*stem.split("."), group, whose, value=math.nan, reason=why)
        stem, _, part = name.partition(".")
        if stem in _LATENCIES.values() and part in _LATENCY_PARTS:
            why = "no stream in this window" if stem == _OF_STREAMS else _NO_REQUEST
            return number(stem, part, value=math.nan, reason=why)
        if stem != "errors" or not part:
            return None
        value = 0.0 if self.total.n_requests else math.nan
        return number(stem, part, value=value, reason=_NO_REQUEST)

    def _measured(self) -> Iterable[Measurement]:
        yield from self.total.measurements()
        for index, (name, n) in enumerate(self.total.errors.items()):
            yield number(
                "errors",
                name,
                value=n,
                higher_is_better=False,
                prominence="chart" if index < _CHARTED_ERRORS else "rule",
            )
        for group, parts in zip(_GROUPS, (self.routes, self.tenants), strict=True):
            for traffic in parts:
                yield from traffic.measurements(group)
        yield number("peak_per_s", value=self.peak_per_s, unit="requests/s", reason=_NO_REQUEST)
        for name in ("in_flight_max", "n_instances", "n_sampled"):
            yield number(name, value=getattr(self, name))
        yield number("n_dropped", value=self.n_dropped, higher_is_better=False)
        if self.confidence is not None:
            yield from self.confidence.measurements()
