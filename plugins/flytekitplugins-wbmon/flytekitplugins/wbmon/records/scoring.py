"""How a batch scoring run went, and the service levels it promised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flytekitplugins.wbmon.errors import ConfigError

SLOVerdict = Literal["pass", "fail", "no_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SLO:
    """A service level objective: a percentile of a metric that must not be exceeded.

    Attributes:
        name: How the result is called in reports and rules.
        metric: `latency_ms` (of a batch) or `row_latency_ms` (batch time over its rows).
        percentile: In (0, 100].
        value: The largest value that still passes, in the metric's unit.

    Raises:
        ConfigError: If the percentile or the metric is not one of those.
    """

    name: str
    metric: str = "latency_ms"
    percentile: float = 99.0
    value: float

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:  # noqa: PLR2004 - a percentile
            raise ConfigError(
                f"SLO {self.name!r}: percentile must be in (0, 100], got {self.percentile}"
            )
        if self.metric not in ("latency_ms", "row_latency_ms"):
            raise ConfigError(
                f"SLO {self.name!r}: metric must be 'latency_ms' or 'row_latency_ms', "
                f"got {self.metric!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SLOResult:
    """An objective, what was observed, and whether that passes; `nan` observed is `no_data`."""

    slo: SLO
    observed: float
    verdict: SLOVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringReport:
    """What a batch scoring run did; times in seconds or milliseconds as named."""

    n_rows: int
    n_batches: int
    duration_s: float
    predict_s: float
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    slos: tuple[SLOResult, ...] = ()

    @property
    def rows_per_s(self) -> float:
        """Rows over the whole duration, reading and writing included; `nan` if none was spent."""
        return self.n_rows / self.duration_s if self.duration_s > 0 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain Python containers and numbers."""
        from flytekitplugins.wbmon.records.json import record_to_dict

        return record_to_dict(self)

    def to_html(self) -> str:
        """A self-contained page: rows, time, latency and objectives."""
        from flytekitplugins.wbmon.records.html import scoring_section, page

        return page("Scoring report", scoring_section(self))
