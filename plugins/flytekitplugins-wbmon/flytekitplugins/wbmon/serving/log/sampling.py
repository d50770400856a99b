"""Which requests leave a row, and how many requests each row stands for.

A request is kept with a probability `p` that depends on what happened before it and on what kind of
request it is, never on its neighbours' luck; the row carries the weight `1 / p`. Sums of weights
are then unbiased estimates of counts of all requests. Whether a request is kept is a function of
its id and `p`, so services that see the same id keep the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import id_share
from flytekitplugins.wbmon.serving.log.request import Request

_STRATA = ("route", "method", "tenant", "status_class")
_MAX_STRATA = 1_000
_SECOND = 1.0
_MINUTE = 60.0
_MIN_REQUESTS = 20
# what ordinary requests get of the ceiling while errors use it up
_ORDINARY_SHARE = 0.1


class Sampled(NamedTuple):
    """Why a row is kept, and how many requests it stands for."""

    reason: str
    weight: float


_CERTAIN = {reason: Sampled(reason, 1.0) for reason in ("rate", "error", "slow")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPolicy:
    """Which requests leave a row in the prediction log.

    Attributes:
        rate: Share of ordinary requests that are kept; in [0, 1].
        error_rate: Share of failures (exceptions and status 5xx) that are kept.
        slow_threshold_ms: Requests at least as slow are kept like failures; None for no such rule.
        stratify_by: Of `route`, `method`, `tenant`, `status_class`: each combination is a stratum
            of its own, of which at least about `min_rows_per_minute` rows are kept.
        min_rows_per_minute: For each stratum; requires `stratify_by`.
        max_rows_per_second: Ceiling of rows of one process; None for none. It holds on average: in
            the first second of a burst of `k` times the traffic, `1 + log(k)` times as many rows.
        max_rows_per_second_per_tenant: The same for each tenant, so that none crowds out others.
        incident_error_share: Share of failures within the last minute or two, of the stratum if
            there are strata, above which `incident_rate` applies; judged from 20 requests on.
        incident_rate: The rate during an incident.
        tenants: Policies of single tenants in place of this one.

    Raises:
        ConfigError: If a share is not in [0, 1], a limit is not positive, or a stratum is unknown.
    """

    rate: float = 0.01
    error_rate: float = 1.0
    slow_threshold_ms: float | None = None
    stratify_by: tuple[str, ...] = ()
    min_rows_per_minute: float = 0.0
    max_rows_per_second: float | None = None
    max_rows_per_second_per_tenant: float | None = None
    incident_error_share: float = 0.05
    incident_rate: float | None = None
    tenants: Mapping[str, SamplingPolicy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("rate", "error_rate", "incident_error_share", "incident_rate"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"{name} must be a share in [0, 1], got {share}")
        for name in ("max_rows_per_second", "max_rows_per_second_per_tenant"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name} must be positive or None, got {limit}")
        unknown = [name for name in self.stratify_by if name not in _STRATA]
        if unknown:
            raise ConfigError(f"stratify_by must be of {', '.join(_STRATA)}; got {unknown[0]!r}")
        if self.min_rows_per_minute and not self.stratify_by:
            raise ConfigError(
                "min_rows_per_minute is for each stratum; say by what with stratify_by, "
                'for example ("route", "tenant")'
            )


class Sampler:
    """A policy at work: its memory of the last minutes, bounded. The caller locks it.

    Args:
        policy: What to keep.
        clock: Seconds that never go back.
    """

    def __init__(self, policy: SamplingPolicy, clock: Callable[[], float] = monotonic) -> None:
        self._policy, self._clock = policy, clock
        self._tenants = {name: Sampler(own, clock) for name, own in policy.tenants.items()}
        self._is_simple = not (
            policy.stratify_by
            or policy.max_rows_per_second
            or policy.max_rows_per_second_per_tenant
            or policy.incident_rate
        )
        self._strata: dict[tuple[object, ...], Meter] = {}
        self._limits: dict[str | None, _Limit] = {}
        self._total = _Limit(policy.max_rows_per_second)

    def decide(self, request: Request) -> Sampled | None:
        """Whether to keep a request that is done; None if not."""
        if self._tenants and request.tenant in self._tenants:
            return self._tenants[request.tenant].decide(request)
        policy = self._policy
        if request.is_failure:
            p, reason = policy.error_rate, "error"
        elif (
            policy.slow_threshold_ms is not None and request.latency_ms >= policy.slow_threshold_ms
        ):
            p, reason = policy.error_rate, "slow"
        else:
            p, reason = policy.rate, "rate"
        if not self._is_simple:
            p, reason = self._adapt(request, p, reason)
        if p >= 1:
            return _CERTAIN.get(reason) or Sampled(reason, 1.0)
        if p <= 0 or id_share(request.request_id) >= p:
            return None
        return Sampled(reason, 1.0 / p)

    def _adapt(self, request: Request, p: float, reason: str) -> tuple[float, str]:
        now = self._clock()
        policy = self._policy
        special = reason != "rate"
        traffic = self._traffic(request)
        # the share is that of the requests before this one
        share = traffic.error_share(now)
        expected = traffic.count(now, failed=request.is_failure)
        if not special:
            if policy.incident_rate is not None and share > policy.incident_error_share:
                p, reason = max(p, policy.incident_rate), "incident"
            floor = min(1.0, policy.min_rows_per_minute / expected)
            if floor > p:
                p, reason = floor, "stratum"
        if policy.max_rows_per_second is not None:
            p = self._total.allow(now, p, special=special)
        if policy.max_rows_per_second_per_tenant is not None:
            p = self._tenant_limit(request.tenant).allow(now, p, special=special)
        return p, reason

    def _traffic(self, request: Request) -> Meter:
        key: tuple[object, ...] = tuple(
            request.status // 100 if name == "status_class" else getattr(request, name)
            for name in self._policy.stratify_by
        )
        found = self._strata.get(key)
        if found is None and len(self._strata) >= _MAX_STRATA:
            key = ()
            found = self._strata.get(key)
        if found is None:
            found = self._strata[key] = Meter(_MINUTE)
        return found

    def _tenant_limit(self, tenant: str | None) -> _Limit:
        if tenant not in self._limits and len(self._limits) >= _MAX_STRATA:
            tenant = None
        if tenant not in self._limits:
            self._limits[tenant] = _Limit(self._policy.max_rows_per_second_per_tenant)
        return self._limits[tenant]


class Meter:
    """How much there was lately: the span of time before, and this one so far.

    Args:
        span_s: Length of a span in seconds.
    """

    __slots__ = ("_failed", "_failed_before", "_n", "_n_before", "_span", "_start")

    def __init__(self, span_s: float) -> None:
        self._span = span_s
        self._start = -math.inf
        self._n = self._n_before = 0.0
        self._failed = self._failed_before = 0

    def count(self, now: float, *, amount: float = 1.0, failed: bool = False) -> float:
        """Count one; the larger of the last span and this one so far, this one included."""
        self._turn(now)
        self._n += amount
        self._failed += failed
        return max(self._n_before, self._n)

    def recent(self, now: float) -> float:
        """The amount of the last span."""
        self._turn(now)
        return self._n_before

    def error_share(self, now: float) -> float:
        """Failures over all, of the last span and this one so far; 0 below 20 requests."""
        self._turn(now)
        n = self._n + self._n_before
        return (self._failed + self._failed_before) / n if n >= _MIN_REQUESTS else 0.0

    def _turn(self, now: float) -> None:
        if now - self._start < self._span:
            return
        is_next = now - self._start < 2 * self._span
        self._n_before = self._n if is_next else 0.0
        self._failed_before = self._failed if is_next else 0
        self._n, self._failed = 0.0, 0
        self._start = self._start + self._span if is_next else now


class _Limit:
    """A ceiling on rows a second: lowers `p` as a second's traffic grows, so weights stay right."""

    __slots__ = ("_ordinary", "_rows", "_special", "_special_rows")

    def __init__(self, rows_per_second: float | None) -> None:
        self._rows = rows_per_second or math.inf
        self._ordinary, self._special = Meter(_SECOND), Meter(_SECOND)
        self._special_rows = Meter(_SECOND)

    def allow(self, now: float, p: float, *, special: bool) -> float:
        """The probability that keeps to the ceiling: expected rows, not requests, are counted."""
        if special:
            wanted = self._special.count(now, amount=p)
            allowed = p * min(1.0, self._rows / wanted) if wanted else p
            self._special_rows.count(now, amount=allowed)
            return allowed
        left = self._rows - self._special_rows.recent(now)
        budget = max(left, _ORDINARY_SHARE * self._rows)
        wanted = self._ordinary.count(now, amount=p)
        return p * min(1.0, budget / wanted) if wanted else p
