"""Decides which requests leave a row, and how many requests each row stands for.

A request is kept with a probability `p` that depends on the kind of request and on earlier traffic,
but not on which earlier requests were kept. The row carries the weight `1 / p`, so sums of weights
are unbiased estimates of counts of all requests (the Horvitz-Thompson estimator). The random number
behind the decision is computed from the request's id, so services that see the same id and use the
same `p` keep the same requests.
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
# bounds the memory of a sampler: tenants may come from a header that anybody can set
_MAX_STRATA = 1_000
_SECOND = 1.0
_MINUTE = 60.0
# with fewer, one or two failures would look like an incident
_MIN_REQUESTS = 20
# share of the ceiling that ordinary requests keep while failures use up the rest
_ORDINARY_SHARE = 0.1


class Sampled(NamedTuple):
    """The reason that a row is kept for, and its weight."""

    reason: str
    weight: float


# made once, not for every request
_CERTAIN = {reason: Sampled(reason, 1.0) for reason in ("rate", "error", "slow")}


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPolicy:
    """Which requests leave a row in the prediction log.

    Attributes:
        rate: Share of ordinary requests that are kept; in [0, 1]. 1 % by default.
        error_rate: Share of failures (exceptions and status 5xx) that are kept.
        slow_threshold_ms: Requests that take at least so long are kept at `error_rate`; None for
            no such rule.
        stratify_by: Any of `route`, `method`, `tenant`, `status_class`. Each combination of their
            values is a stratum, of which about `min_rows_per_minute` rows or more are kept.
        min_rows_per_minute: Expected minimum of rows for each stratum; requires `stratify_by`.
        max_rows_per_second: Ceiling on the rows of one process; None for no ceiling. It holds on
            average; in the first second of a burst of `k` times the usual traffic, up to
            `1 + log(k)` times as many rows are kept.
        max_rows_per_second_per_tenant: The same ceiling for each tenant, so that one tenant cannot
            use up the rows of the others.
        incident_error_share: Share of failures within the last one to two minutes (in the stratum,
            if there are strata) above which `incident_rate` applies. Needs at least 20 requests.
        incident_rate: Share of ordinary requests that are kept during an incident; None to ignore
            incidents.
        tenants: Policies of single tenants, used in place of this one.

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
    """Applies a policy, with bounded counts of the last minutes. It is not thread-safe.

    Args:
        policy: The policy.
        clock: Monotonic clock; seconds.
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
        """The reason and weight if a finished request is to be kept; None if it is not."""
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
        # failures and slow requests: their rate is neither raised by strata nor by incidents
        special = reason != "rate"
        traffic = self._traffic(request)
        # before this request is counted: `p` must not depend on its own outcome
        share = traffic.error_share(now)
        expected = traffic.count(now, failed=request.is_failure)
        if not special:
            if policy.incident_rate is not None and share > policy.incident_error_share:
                p, reason = max(p, policy.incident_rate), "incident"
            # `expected` counts this request too, so it is at least 1
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
            # further strata share one meter
            key = ()
            found = self._strata.get(key)
        if found is None:
            found = self._strata[key] = Meter(_MINUTE)
        return found

    def _tenant_limit(self, tenant: str | None) -> _Limit:
        if tenant not in self._limits and len(self._limits) >= _MAX_STRATA:
            # further tenants share the ceiling of requests without a tenant
            tenant = None
        if tenant not in self._limits:
            self._limits[tenant] = _Limit(self._policy.max_rows_per_second_per_tenant)
        return self._limits[tenant]


class Meter:
    """Counts of the previous and of the current span of time; constant memory.

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
        """Add a request, and return the larger of the previous and the current span's amount.

        Args:
            now: Time of the monotonic clock in seconds.
            amount: How much to add, such as the probability that a row is kept.
            failed: Whether the request failed.

        Returns:
            An estimate of the amount in a whole span, the new request included.
        """
        self._turn(now)
        self._n += amount
        self._failed += failed
        # early in a span the current count is too small, in a burst the previous one is
        return max(self._n_before, self._n)

    def recent(self, now: float) -> float:
        """The amount of the previous span."""
        self._turn(now)
        return self._n_before

    def error_share(self, now: float) -> float:
        """Share of failures in the previous and current span; 0 below 20 requests."""
        self._turn(now)
        n = self._n + self._n_before
        return (self._failed + self._failed_before) / n if n >= _MIN_REQUESTS else 0.0

    def _turn(self, now: float) -> None:
        if now - self._start < self._span:
            return
        # after a longer silence the counts are not those of the span before this one
        is_next = now - self._start < 2 * self._span
        self._n_before = self._n if is_next else 0.0
        self._failed_before = self._failed if is_next else 0
        self._n, self._failed = 0.0, 0
        self._start = self._start + self._span if is_next else now


class _Limit:
    """A ceiling on rows per second.

    It lowers `p` as the traffic of a second grows, rather than dropping rows above the ceiling, so
    the weights `1 / p` stay correct.
    """

    __slots__ = ("_ordinary", "_rows", "_special", "_special_rows")

    def __init__(self, rows_per_second: float | None) -> None:
        self._rows = rows_per_second or math.inf
        self._ordinary, self._special = Meter(_SECOND), Meter(_SECOND)
        self._special_rows = Meter(_SECOND)

    def allow(self, now: float, p: float, *, special: bool) -> float:
        """The probability `p`, lowered so that the expected number of rows meets the ceiling.

        Args:
            now: Time of the monotonic clock in seconds.
            p: Probability that the policy asks for.
            special: Whether the request failed or was slow; such requests come first.

        Returns:
            A probability in [0, `p`].
        """
        # expected rows (`p`) are counted, not kept ones: `p` must not depend on earlier luck
        if special:
            wanted = self._special.count(now, amount=p)
            allowed = p * min(1.0, self._rows / wanted) if wanted else p
            self._special_rows.count(now, amount=allowed)
            return allowed
        left = self._rows - self._special_rows.recent(now)
        budget = max(left, _ORDINARY_SHARE * self._rows)
        wanted = self._ordinary.count(now, amount=p)
        return p * min(1.0, budget / wanted) if wanted else p
