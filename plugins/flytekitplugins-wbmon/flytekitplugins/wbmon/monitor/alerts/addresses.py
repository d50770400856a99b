"""What a rule's metric address points at: every number of every report, by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.addresses_llm import llm_observations
from flytekitplugins.wbmon.monitor.alerts.addresses_service import absent_part, serving_observations
from flytekitplugins.wbmon.monitor.alerts.heartbeat import Heartbeat
from flytekitplugins.wbmon.monitor.drift.report import DriftReport, FeatureDrift
from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.monitor.performance.report import Metric, PerformanceReport
from flytekitplugins.wbmon.monitor.scoring.report import ScoringReport, SLOResult
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.monitor.service.report import ServingReport, SLOReport
from flytekitplugins.wbmon.reports.measurement import Observation, gate

LLMReport: TypeAlias = UsageReport | FeedbackReport | RAGReport | EvaluationReport
ServiceReport: TypeAlias = SLOReport | ServingReport | ExperimentReport
Report: TypeAlias = (
    DriftReport | PerformanceReport | ScoringReport | Heartbeat | LLMReport | ServiceReport
)

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
    **dict.fromkeys(("first_chunk_ms", "n_dropped"), False),
}
_SHOWN = 12
_NOT_SCORED = "nothing was scored"


def observations(reports: Iterable[Report | None]) -> dict[str, dict[str, Observation]]:
    """Every number of the reports, by kind of report and name.

    Kinds are `drift`, `performance`, `estimate` (a performance report without labels), `scoring`,
    `serving`, `experiment`, those about LLM calls, and `slo`, which has the objectives of a scoring
    report and those of a service.

    Raises:
        ConfigError: If two reports are of one kind, two objectives have one name, or one is no
            report.
    """
    found: dict[str, dict[str, Observation]] = {}
    for report in reports:
        if report is None:
            continue
        parts = _parts(report)
        objectives = parts.pop("slo", None)
        _require_new(found, parts)
        found |= parts
        if objectives is not None:
            known = found.setdefault("slo", {})
            _require_new(known, objectives)
            known |= objectives
    if found.get("slo"):
        found["slo"] = {"violated": _any_missed(found["slo"].values()), **found["slo"]}
    return found


def _require_new(known: Mapping[str, object], parts: Mapping[str, object]) -> None:
    twice = known.keys() & parts.keys()
    if twice:
        raise ConfigError(
            f"reports must hold one of a kind, got two for {', '.join(sorted(twice))}; "
            "evaluate each window and model on its own"
        )


def _any_missed(objectives: Iterable[Observation]) -> Observation:
    judged = [item for item in objectives if item.is_gate and not math.isnan(item.value)]
    if not judged:
        return gate("violated", None, "no objective could be judged")
    missed = [item for item in judged if item.value]
    if not missed:
        return gate("violated", False, "no objective was missed")
    return gate("violated", True, "; ".join(f"{item.name}: {item.reason}" for item in missed))


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
    absent = absent_part(report, name, known)
    if absent is not None:
        return absent
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
    known = llm_observations(report) or serving_observations(report)
    if known is None:
        raise ConfigError(
            f"reports must be what a node reports, such as DriftReport or PerformanceReport; got "
            f"{type(report).__name__}"
        )
    kind, items = known
    return {kind: _by_name(items)}


def _by_name(items: Iterable[Observation]) -> dict[str, Observation]:
    return {item.name: _directed(item) for item in items}


def _directed(item: Observation) -> Observation:
    stem = item.name.partition(".")[0]
    if item.higher_is_better is not None or stem not in _DIRECTIONS:
        return item
    return replace(item, higher_is_better=_DIRECTIONS[stem])


def _of_drift(report: DriftReport) -> Iterable[Observation]:
    known = report.verdict != "insufficient"
    yield gate("drifted", report.drifted if known else None, report.reason)
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
    yield gate(f"drifted.{feature.name}", feature.drifted if known else None, why)
    numbers = {name: getattr(feature, name) for name in _OF_FEATURE} | feature.distances
    for name, value in numbers.items():
        yield Observation(name=f"{name}.{feature.name}", value=value, reason=why)


def _of_performance(report: PerformanceReport) -> Iterable[Observation]:
    known = report.status == "ok"
    for metric in report.metrics.values():
        yield _of_metric(metric, report)
    compared = known and any(item.verdict != "unknown" for item in report.metrics.values())
    why = report.reason if compared or not known else "no metric has a baseline"
    yield gate("worse", report.worse if compared else None, why)
    for name in ("coverage", "n_rows", "n_labelled", "n_missing_prediction"):
        yield Observation(name=name, value=float(getattr(report, name)))
    if not report.estimated:
        is_known = any(each.held is not None for each in report.estimates)
        why = "its estimate without labels" if is_known else "no estimate to hold against labels"
        yield gate("overestimated", report.overestimated if is_known else None, why)
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
    yield gate(slo.name, failed, what if failed is not None else _NOT_SCORED)
    yield Observation(name=f"{slo.name}.observed", value=result.observed, reason=_NOT_SCORED)


def _of_heartbeat(report: Heartbeat) -> Iterable[Observation]:
    unwatched = "it is not watched"
    yield Observation(name="report_age_h", value=report.report_age_h, reason=unwatched)
    yield Observation(name="data_age_h", value=report.data_age_h, reason=unwatched)
    yield gate("failed", bool(report.failure), report.failure or "it ran to its end")
