"""An objective for the latency of batches, and whether it was kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from flytekitplugins.wbmon.arguments import (
    is_number,
    number_meant,
    real_number,
    require_objective_name,
)
from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number

SLOVerdict = Literal["pass", "fail", "no_data"]

_NOT_SCORED = "nothing was scored"


@dataclass(frozen=True, slots=True, kw_only=True)
class SLO(ByContent):
    """A service level objective: an upper limit for a percentile of a latency metric.

    A row that could not be scored was not fast: the share of failed rows counts among the slowest,
    so with 2 % of them no batch can be fast enough for a 99th percentile.

    Attributes:
        name: Name of the result in reports and rules.
        metric: `latency_ms` (of a batch) or `row_latency_ms` (batch time over its rows).
        percentile: In [1, 100]; 99 for the slowest of a hundred, not 0.99.
        value: The largest value that still passes, in the metric's unit.

    Raises:
        ConfigError: If the percentile is out of range, the value no positive number, the name
            empty or the metric unknown.
    """

    name: str
    metric: str = "latency_ms"
    percentile: float = 99.0
    value: float

    def __post_init__(self) -> None:
        require_objective_name(self.name)
        percentile: Any = self.percentile
        # below the first percentile lies no limit that anybody promises, but every share does
        if not is_number(percentile) or not 1 <= percentile <= 100:  # noqa: PLR2004 - a percentile
            raise ConfigError(
                f"SLO {self.name!r}: percentile must be in [1, 100], got {percentile!r}"
                f"{_percentile_meant(percentile)}"
            )
        real_number(f"SLO {self.name!r}: value", self.value, above=0)
        if self.metric not in ("latency_ms", "row_latency_ms"):
            raise ConfigError(
                f"SLO {self.name!r}: metric must be 'latency_ms' or 'row_latency_ms', "
                f"got {self.metric!r}"
            )


def _percentile_meant(percentile: Any) -> str:
    meant = number_meant(percentile) * (100 if 0 < number_meant(percentile) < 1 else 1)
    return f"; did you mean {meant:.10g}?" if 1 <= meant <= 100 else ""  # noqa: PLR2004 - as above


@dataclass(frozen=True, slots=True, kw_only=True)
class SLOResult(ByContent):
    """An objective, the observed value and the verdict.

    Without a scored row they are `nan` and `no_data`; infinite and `fail` if more rows failed than
    the percentile leaves out.
    """

    slo: SLO
    observed: float
    verdict: SLOVerdict

    def measurements(self) -> Iterable[Measurement]:
        """Whether it was missed, and what was observed; of the kind `slo`."""
        slo = self.slo
        failed = None if self.verdict == "no_data" else self.verdict == "fail"
        what = f"{slo.metric} p{slo.percentile:g} was {self.observed:.4g}, allowed {slo.value:g}"
        missed = gate(slo.name, value=failed, reason=_NOT_SCORED if failed is None else what)
        yield replace(missed, kind="slo")
        yield number(
            slo.name,
            "observed",
            kind="slo",
            value=self.observed,
            higher_is_better=False,
            unit="ms",
            reason=_NOT_SCORED,
        )
