"""The reports on a service: its traffic and its objectives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from flytekitplugins.wbmon.arguments import (
    is_number,
    number_meant,
    require_limit,
    require_objective_name,
    require_whole,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

_NO_REQUEST = "no request in this window"
_GROUPS = ("route", "tenant")
_CHARTED_ERRORS = 20
_OF_STREAMS = "time_to_first_chunk_ms"
_LATENCIES = {"latency_ms": "latency_ms", "first_chunk_ms": _OF_STREAMS}
LATENCY_LEVELS = (50, 90, 95, 99)
_LATENCY_PARTS = (*(f"p{level}" for level in LATENCY_LEVELS), "mean", "max")

ServingSLOVerdict = Literal["pass", "fail", "insufficient", "no_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
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
class ServingConfidence:
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
        """That no request came."""
        if self.total.n_requests:
            return ""
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
        return number(stem, part, value=0.0) if stem == "errors" and part else None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSLO:
    """A service level objective: the share of requests that must be good.

    A request is good if it did not fail and, if a limit is given, was not slower. A failed request
    is never good, however fast it failed.

    Attributes:
        name: Name of the result in reports.
        objective: Required share of good requests; in (0, 1).
        latency_ms: Maximum latency of a good request; None for no limit.
        time_to_first_chunk_ms: Maximum time to the first chunk of a good stream; None for no limit.
        route: Only requests of this route; all if empty.
        tenant: Only requests of this tenant; all if empty.
        min_requests: Minimum number of requests for a verdict; at least 1.

    Raises:
        ConfigError: If the name is empty, the objective, a limit or the minimum is out of range or
            no number, or both limits are given.
    """

    name: str
    objective: float = 0.99
    latency_ms: float | None = None
    time_to_first_chunk_ms: float | None = None
    route: str = ""
    tenant: str = ""
    min_requests: int = 100

    def __post_init__(self) -> None:
        require_objective_name(self.name)
        for name in ("route", "tenant"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(
                    f"{name} of {self.name!r} must be a name, or empty for all; got "
                    f"{getattr(self, name)!r}"
                )
        objective: Any = self.objective
        if not is_number(objective) or not 0 < objective < 1:
            raise ConfigError(
                f"objective of {self.name!r} must be a share in (0, 1), got {objective!r}"
                f"{_share_meant(objective)}"
            )
        limits = {name: getattr(self, name) for name in ("latency_ms", "time_to_first_chunk_ms")}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        if len(given) > 1:
            raise ConfigError(
                f"{self.name!r} must have at most one limit, got {given}; make two objectives"
            )
        for name, limit in given.items():
            require_limit(f"{name} of {self.name!r}", limit)
        require_whole(f"min_requests of {self.name!r}", self.min_requests, 1)


def _share_meant(objective: Any) -> str:
    meant = number_meant(objective)
    is_percent = 1 < meant < 100  # noqa: PLR2004 - a share in percent
    if is_percent:
        return f"; did you mean {meant / 100:.10g}?"
    return f"; did you mean {meant:g}?" if 0 < meant < 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSLOResult:
    """The result of one objective.

    Attributes:
        slo: The objective.
        n_requests: Requests to which it applies and that were good or bad. Not those whose caller
            left in time, those without a latency if that is limited, and those that were no
            stream if the first chunk is.
        n_seen: All requests of its route and tenant; 0 in reports of earlier releases.
        n_bad: Requests that were not good.
        n_failed: Those of them that failed.
        good_share: `1 - n_bad / n_requests`, with the ends of Wilson's interval.
        burn_rate: Share of bad requests divided by the share that the objective allows; at 1 the
            error budget is used up exactly.
        worst_hour_burn_rate: Burn rate of the worst hour with enough requests.
        worst_hour_at: Start of that hour.
        verdict: `fail` if the share is below the objective, `insufficient` below `min_requests`,
            `no_data` without any.
        reason: One sentence.
    """

    slo: ServingSLO
    n_requests: int
    n_seen: int = 0
    n_bad: int = 0
    n_failed: int = 0
    good_share: float = math.nan
    good_share_low: float = math.nan
    good_share_high: float = math.nan
    burn_rate: float = math.nan
    worst_hour_burn_rate: float = math.nan
    worst_hour_at: datetime | None = None
    verdict: ServingSLOVerdict
    reason: str

    @property
    def is_judged(self) -> bool:
        """Whether there were requests enough for a verdict."""
        return self.verdict not in ("insufficient", "no_data")

    def measurements(self) -> Iterable[Measurement]:
        """Whether it was missed, and how fast its budget is used up."""
        name, is_known = self.slo.name, self.is_judged
        allowed = 1 - self.slo.objective
        missed = self.verdict == "fail" if is_known else None
        yield gate(name, value=missed, reason=self.reason)
        yield number(
            name,
            "good_share",
            value=self.good_share if is_known else math.nan,
            low=self.good_share_low,
            high=self.good_share_high,
            higher_is_better=True,
            reason=self.reason,
        )
        yield number(
            name,
            "burn_rate",
            value=self.burn_rate if is_known else math.nan,
            low=(1 - self.good_share_high) / allowed,
            high=(1 - self.good_share_low) / allowed,
            higher_is_better=False,
            prominence="news",
            reason=self.reason,
        )
        yield number(
            name,
            "worst_hour_burn_rate",
            value=self.worst_hour_burn_rate,
            higher_is_better=False,
            reason=f"no hour had {self.slo.min_requests} requests",
        )
        yield number(name, "n_requests", value=self.n_requests)
        yield number(name, "n_bad", value=self.n_bad, higher_is_better=False)
        yield number(name, "n_failed", value=self.n_failed, higher_is_better=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SLOReport(Report):
    """The results of the objectives of a service.

    Attributes:
        results: One result per objective, violated ones first.
        reason: One sentence: what was found.
    """

    KIND: ClassVar[str] = "slo"

    results: tuple[ServingSLOResult, ...]
    reason: str

    @property
    def violated(self) -> bool:
        """Whether any objective was missed."""
        return any(result.verdict == "fail" for result in self.results)

    @property
    def unmeasured(self) -> str:
        """That no objective could be judged, and why."""
        if any(result.is_judged for result in self.results):
            return ""
        why = "; ".join(f"{result.slo.name}: {result.reason}" for result in self.results)
        return f"0 of {len(self.results)} objectives could be judged: {why}"

    def _measured(self) -> Iterable[Measurement]:
        for result in self.results:
            yield from result.measurements()
