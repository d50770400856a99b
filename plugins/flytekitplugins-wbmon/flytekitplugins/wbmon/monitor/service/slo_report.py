"""The report on the objectives of a service, and the objectives."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from flytekitplugins.wbmon.arguments import (
    is_number,
    listed,
    number_meant,
    real_number,
    require_objective_name,
    require_whole,
)
from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

ServingSLOVerdict = Literal["pass", "fail", "insufficient", "no_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSLO(ByContent):
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
        min_requests: Minimum number of requests for a verdict; without any there is none.

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
            real_number(f"{name} of {self.name!r}", limit, above=0)
        require_whole(f"min_requests of {self.name!r}", self.min_requests, 0)


def require_objectives(slos: Any) -> tuple[ServingSLO, ...]:
    """The objectives of a service, as they are given.

    Raises:
        ConfigError: If they are no sequence of `ServingSLO`, or none, or two share a name.
    """
    given = listed("slos", slos, "objectives")
    for each in given:
        if not isinstance(each, ServingSLO):
            raise ConfigError(
                f"slos must be objectives of a service, got one {type(each).__name__}; make them "
                "with ServingSLO"
            )
    names = [slo.name for slo in given]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"slos must be objectives, each of another name; got {', '.join(names) or 'none'}"
        )
    return given


def _share_meant(objective: Any) -> str:
    meant = number_meant(objective)
    is_percent = 1 < meant < 100  # noqa: PLR2004 - a share in percent
    if is_percent:
        return f"; did you mean {meant / 100:.10g}?"
    return f"; did you mean {meant:g}?" if 0 < meant < 1 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSLOResult(ByContent):
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
            `no_data` without any, and where none was good but those that were refused with 4xx.
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

    @property
    def is_lost(self) -> bool:
        """Whether it found nothing: no request at all, or none of enough that it is about."""
        return self.verdict == "no_data" and (
            not self.n_seen or self.n_seen >= self.slo.min_requests
        )

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
        """That no objective could be judged, or which ones found nothing in others' traffic.

        An objective that had too few requests is none of these: its route was quiet.
        """
        told = self.results
        if any(result.is_judged for result in self.results):
            told = tuple(result for result in self.results if result.is_lost)
        if not told or (len(told) < len(self.results) and not self._has_traffic):
            return ""
        why = "; ".join(f"{result.slo.name}: {result.reason}" for result in told)
        if len(told) == len(self.results):
            return f"0 of {len(self.results)} objectives could be judged: {why}"
        return f"{len(told)} of {len(self.results)} objectives had nothing to judge: {why}"

    @property
    def _has_traffic(self) -> bool:
        # reports of earlier releases do not say what objectives have seen
        return any(result.n_seen for result in self.results)

    def _measured(self) -> Iterable[Measurement]:
        for result in self.results:
            yield from result.measurements()
