"""The reports on a service: its traffic and its objectives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

_NO_REQUEST = "no request in this window"
_GROUPS = ("route", "tenant")
_CHARTED_ERRORS = 20
_LATENCIES = {"latency_ms": "latency_ms", "first_chunk_ms": "time_to_first_chunk_ms"}

ServingSLOVerdict = Literal["pass", "fail", "insufficient", "no_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Traffic of one group; counts cover all requests, not only the sampled ones.

    Attributes:
        name: The group: a route, a tenant, or `all`.
        n_requests: Requests served.
        n_failed: Those with status 5xx.
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
        mean: Weighted mean score.
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
        confidence: Confidence from the sampled rows; None without any.
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

    def absent(self, name: str) -> Measurement | None:
        """A number of a route or tenant that nobody called, or an error that did not happen."""
        known = {each.name for each in self.total.measurements()}
        for group in _GROUPS:
            stem, found, whose = name.partition(f".{group}.")
            if found and stem in known:
                why = f"no request of {group} {whose!r} in this window"
                return number(*stem.split("."), group, whose, value=math.nan, reason=why)
        stem, _, error = name.partition(".")
        return number(stem, error, value=0.0) if stem == "errors" and error else None

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

    A request is good if it did not fail and, if a limit is given, was not slower.

    Attributes:
        name: Name of the result in reports.
        objective: Required share of good requests; in (0, 1).
        latency_ms: Maximum latency of a good request; None for no limit.
        time_to_first_chunk_ms: Maximum time to the first chunk of a good stream; None for no limit.
        route: Only requests of this route; all if empty.
        tenant: Only requests of this tenant; all if empty.
        min_requests: Minimum number of requests for a verdict.

    Raises:
        ConfigError: If the objective or a limit is out of range, or both limits are given.
    """

    name: str
    objective: float = 0.99
    latency_ms: float | None = None
    time_to_first_chunk_ms: float | None = None
    route: str = ""
    tenant: str = ""
    min_requests: int = 100

    def __post_init__(self) -> None:
        if self.name == "violated":
            raise ConfigError(
                "an objective must have another name than 'violated', by which rules ask whether "
                "any was missed"
            )
        if not 0 < self.objective < 1:
            raise ConfigError(
                f"objective of {self.name!r} must be a share in (0, 1), got {self.objective}"
            )
        limits = [x for x in (self.latency_ms, self.time_to_first_chunk_ms) if x is not None]
        if len(limits) > 1 or any(limit <= 0 for limit in limits):
            raise ConfigError(
                f"{self.name!r} must have at most one limit, and a positive one; got {limits}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSLOResult:
    """The result of one objective.

    Attributes:
        slo: The objective.
        n_requests: Requests to which it applies.
        n_bad: Requests that were not good.
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
    n_bad: int = 0
    good_share: float = math.nan
    good_share_low: float = math.nan
    good_share_high: float = math.nan
    burn_rate: float = math.nan
    worst_hour_burn_rate: float = math.nan
    worst_hour_at: datetime | None = None
    verdict: ServingSLOVerdict
    reason: str

    def measurements(self) -> Iterable[Measurement]:
        """Whether it was missed, and how fast its budget is used up."""
        name, is_known = self.slo.name, self.verdict not in ("insufficient", "no_data")
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

    def _measured(self) -> Iterable[Measurement]:
        for result in self.results:
            yield from result.measurements()
