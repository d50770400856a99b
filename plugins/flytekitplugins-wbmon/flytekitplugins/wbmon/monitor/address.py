"""What a rule's metric address points at: every number of every report, by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm_address import llm_observations
from flytekitplugins.wbmon.records.drift import DriftReport, FeatureDrift
from flytekitplugins.wbmon.records.evaluation import EvaluationReport
from flytekitplugins.wbmon.records.feedback import FeedbackReport
from flytekitplugins.wbmon.records.heartbeat import Heartbeat
from flytekitplugins.wbmon.records.performance import Metric, MetricVerdict, PerformanceReport
from flytekitplugins.wbmon.records.rag import RAGReport
from flytekitplugins.wbmon.records.scoring import ScoringReport, SLOResult
from flytekitplugins.wbmon.records.usage import UsageReport

LLMReport: TypeAlias = UsageReport | FeedbackReport | RAGReport | EvaluationReport
Report: TypeAlias = DriftReport | PerformanceReport | ScoringReport | Heartbeat | LLMReport

_OF_FEATURE = (
    "effect_size",
    "effect_low",
    "statistic",
    "p_value",
    "q_value",
    "missing_reference",
    "missing_current",
)
_DIRECTIONS = {
    **dict.fromkeys(("coverage", "precision", "recall", "f1", "rows_per_s", "confidence"), True),
    **dict.fromkeys(("p_value", "q_value"), True),
    **dict.fromkeys(("effect_size", "effect_low", "statistic", "missing_current"), False),
    **dict.fromkeys(("share_drifted", "n_drifted", "n_missing_prediction"), False),
    **dict.fromkeys(("latency_ms", "error_rate", "n_failed", "low_confidence_share"), False),
}
_SHOWN = 12
_NOT_SCORED = "nothing was scored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One number of a report, with what a rule needs to judge it.

    Attributes:
        name: The address without the report's name.
        value: The number; 0 or 1 for a gate, `nan` where undefined.
        low: Lower end of its interval; `nan` without one.
        high: Upper end of its interval.
        baseline: Of a metric; `nan` without one.
        higher_is_better: The direction; None where neither side is the worse one.
        verdict: Of a metric against its baseline.
        is_gate: Whether the number is a yes (1) or no (0).
        reason: Why the value is undefined; for a gate, what it says.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    baseline: float = math.nan
    higher_is_better: bool | None = None
    verdict: MetricVerdict | None = None
    is_gate: bool = False
    reason: str = ""


def observations(reports: Iterable[Report | None]) -> dict[str, dict[str, Observation]]:
    """Every number of the reports, by kind of report and name.

    Kinds are `drift`, `performance`, `estimate` (a performance report without labels), `scoring`
    and `slo`.

    Raises:
        ConfigError: If two reports are of one kind, or one is no report.
    """
    found: dict[str, dict[str, Observation]] = {}
    for report in reports:
        if report is None:
            continue
        parts = _parts(report)
        twice = found.keys() & parts.keys()
        if twice:
            raise ConfigError(
                f"reports must hold one of a kind, got two for {', '.join(sorted(twice))}; "
                "evaluate each window and model on its own"
            )
        found |= parts
    return found


def resolve(address: str, found: Mapping[str, Mapping[str, Observation]]) -> Observation | None:
    """The number at an address; None if its report is not there.

    Raises:
        ConfigError: If the report is there and has no such number.
    """
    report, _, name = address.partition(".")
    if report not in found:
        return None
    known = found[report]
    if name in known:
        return known[name]
    whole = known.get(name.partition(".")[0])
    if report == "performance" and whole is not None and math.isnan(whole.value):
        return Observation(name=name, value=math.nan, reason=whole.reason)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {report}.{close[0]}?" if close else f"it has {_some(known)}"
    raise ConfigError(f"metric {address!r} is not in the {report} report; {hint}")


def _some(known: Mapping[str, Observation]) -> str:
    names = list(known)
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "") or "no metrics"


def _parts(report: Report) -> dict[str, dict[str, Observation]]:
    if isinstance(report, DriftReport):
        return {"drift": _by_name(_of_drift(report))}
    if isinstance(report, PerformanceReport):
        kind = "estimate" if report.estimated else "performance"
        return {kind: _by_name(_of_performance(report))}
    if isinstance(report, ScoringReport):
        return {
            "scoring": _by_name(_of_scoring(report)),
            "slo": _by_name(item for result in report.slos for item in _of_slo(result)),
        }
    if isinstance(report, Heartbeat):
        return {"heartbeat": _by_name(_of_heartbeat(report))}
    of_llm = llm_observations(report)
    if of_llm is not None:
        kind, items = of_llm
        return {kind: _by_name(items)}
    raise ConfigError(
        "reports must be DriftReport, PerformanceReport or ScoringReport; "
        f"got {type(report).__name__}"
    )


def _by_name(items: Iterable[Observation]) -> dict[str, Observation]:
    return {item.name: _directed(item) for item in items}


def _directed(item: Observation) -> Observation:
    stem = item.name.partition(".")[0]
    if item.higher_is_better is not None or stem not in _DIRECTIONS:
        return item
    return replace(item, higher_is_better=_DIRECTIONS[stem])


def _gate(name: str, value: bool | None, reason: str) -> Observation:
    number = math.nan if value is None else float(value)
    return Observation(name=name, value=number, is_gate=True, reason=reason)


def _of_drift(report: DriftReport) -> Iterable[Observation]:
    known = report.verdict != "insufficient"
    yield _gate("drifted", report.drifted if known else None, report.reason)
    for name in ("share_drifted", "n_drifted"):
        value = float(getattr(report, name)) if known else math.nan
        yield Observation(name=name, value=value, reason=report.reason)
    for name in ("n_reference", "n_current"):
        yield Observation(name=name, value=float(getattr(report, name)))
    for feature in report.features.values():
        yield from _of_feature(feature)


def _of_feature(feature: FeatureDrift) -> Iterable[Observation]:
    why = feature.reason or f"status {feature.status}"
    known = feature.status != "insufficient"
    yield _gate(f"drifted.{feature.name}", feature.drifted if known else None, why)
    numbers = {name: getattr(feature, name) for name in _OF_FEATURE} | feature.distances
    for name, value in numbers.items():
        yield Observation(name=f"{name}.{feature.name}", value=value, reason=why)


def _of_performance(report: PerformanceReport) -> Iterable[Observation]:
    known = report.status == "ok"
    for metric in report.metrics.values():
        yield _of_metric(metric, report)
    compared = known and any(item.verdict != "unknown" for item in report.metrics.values())
    why = report.reason if compared or not known else "no metric has a baseline"
    yield _gate("worse", report.worse if compared else None, why)
    for name in ("coverage", "n_rows", "n_labelled", "n_missing_prediction"):
        yield Observation(name=name, value=float(getattr(report, name)))
    if not report.estimated:
        is_known = any(each.held is not None for each in report.foretold)
        why = "its estimate without labels" if is_known else "no estimate to hold against labels"
        yield _gate("overrated", report.overrated if is_known else None, why)
    if report.calibration is not None:
        for name in ("error", "p_value"):
            value = getattr(report.calibration, name) if known else math.nan
            yield Observation(name=f"calibration.{name}", value=value, reason=report.reason)
    for label, values in report.per_class.items():
        for name, value in values.items():
            yield Observation(
                name=f"{name}.{label}",
                value=value if known else math.nan,
                reason=report.reason,
            )


def _of_metric(metric: Metric, report: PerformanceReport) -> Observation:
    known = report.status == "ok"
    return Observation(
        name=metric.name,
        value=metric.value if known else math.nan,
        low=metric.low,
        high=metric.high,
        baseline=metric.baseline,
        higher_is_better=metric.higher_is_better,
        verdict=metric.verdict,
        reason=metric.reason if known else report.reason,
    )


def _of_scoring(report: ScoringReport) -> Iterable[Observation]:
    numbers: dict[str, float] = {
        name: getattr(report, name)
        for name in (
            "n_rows",
            "n_batches",
            "n_failed",
            "error_rate",
            "duration_s",
            "predict_s",
            "rows_per_s",
        )
    }
    numbers |= {f"latency_ms.{name}": value for name, value in report.latency_ms.items()}
    if report.classes:
        numbers["n_effective_classes"] = report.classes.n_effective
        numbers["top_share"] = report.classes.top_share
    for name, value in numbers.items():
        yield Observation(name=name, value=float(value), reason=_NOT_SCORED)
    if report.confidence:
        sure = report.confidence
        yield Observation(name="confidence", value=sure.mean, reason=_NOT_SCORED)
        yield Observation(
            name="low_confidence_share",
            value=sure.low_share,
            low=sure.low_share_low,
            high=sure.low_share_high,
            reason=_NOT_SCORED,
        )


def _of_slo(result: SLOResult) -> Iterable[Observation]:
    slo = result.slo
    failed = None if result.verdict == "no_data" else result.verdict == "fail"
    what = f"{slo.metric} p{slo.percentile:g} was {result.observed:.4g}, allowed {slo.value:g}"
    yield _gate(slo.name, failed, what if failed is not None else _NOT_SCORED)
    yield Observation(name=f"{slo.name}.observed", value=result.observed, reason=_NOT_SCORED)


def _of_heartbeat(report: Heartbeat) -> Iterable[Observation]:
    unwatched = "it is not watched"
    yield Observation(name="report_age_h", value=report.report_age_h, reason=unwatched)
    yield Observation(name="data_age_h", value=report.data_age_h, reason=unwatched)
    yield _gate("failed", bool(report.failure), report.failure or "it ran to its end")
