"""What rules can ask of the reports about a service.

Addresses begin with `slo`, `serving` or `experiment`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport, VariantOutcome
from flytekitplugins.wbmon.monitor.service.report import (
    ServingConfidence,
    ServingReport,
    ServingSLOResult,
    SLOReport,
    Traffic,
)
from flytekitplugins.wbmon.reports.measurement import Observation, gate, number

_GROUPS = ("route", "tenant")
_OF_VARIANT = ("worse.", "difference.", "mean.", "n_exposed.")
_NO_REQUEST = "no request in this window"
_UNKNOWN = ("insufficient", "no_data")


def serving_observations(report: object) -> tuple[str, list[Observation]] | None:
    """The report's kind and its numbers; None for a report of another kind."""
    if isinstance(report, SLOReport):
        return "slo", [item for result in report.results for item in _of_slo(result)]
    if isinstance(report, ServingReport):
        return "serving", list(_of_serving(report))
    if isinstance(report, ExperimentReport):
        return "experiment", list(_of_experiment(report))
    return None


def absent_part(report: str, name: str, known: Iterable[str]) -> Observation | None:
    """The number of a route, tenant or variant that nobody called; None for anything else.

    Args:
        report: The kind of report.
        name: The address without it.
        known: The names that the report has.
    """
    names = set(known)
    if report == "serving":
        for group in _GROUPS:
            stem, found, whose = name.partition(f".{group}.")
            if found and stem in names:
                why = f"no request of {group} {whose!r} in this window"
                return number(name, math.nan, why)
    nobody = not any(each.startswith("n_exposed.") for each in names)
    if report == "experiment" and nobody and name.startswith(_OF_VARIANT):
        return number(name, math.nan, "no unit was exposed")
    return None


def _of_slo(result: ServingSLOResult) -> Iterable[Observation]:
    name, why = result.slo.name, result.reason
    known = result.verdict not in _UNKNOWN
    allowed = 1 - result.slo.objective
    yield gate(name, result.verdict == "fail" if known else None, why)
    yield Observation(
        name=f"{name}.good_share",
        value=result.good_share if known else math.nan,
        low=result.good_share_low,
        high=result.good_share_high,
        higher_is_better=True,
        reason=why,
    )
    yield Observation(
        name=f"{name}.burn_rate",
        value=result.burn_rate if known else math.nan,
        low=(1 - result.good_share_high) / allowed,
        high=(1 - result.good_share_low) / allowed,
        higher_is_better=False,
        reason=why,
    )
    yield Observation(
        name=f"{name}.worst_hour_burn_rate",
        value=result.worst_hour_burn_rate,
        higher_is_better=False,
        reason=f"no hour had {result.slo.min_requests} requests",
    )
    yield number(f"{name}.n_requests", result.n_requests)
    yield number(f"{name}.n_bad", result.n_bad)


def _of_serving(report: ServingReport) -> Iterable[Observation]:
    yield from _of_traffic(report.total, "")
    for group, parts in zip(_GROUPS, (report.routes, report.tenants), strict=True):
        for traffic in parts:
            yield from _of_traffic(traffic, f".{group}.{traffic.name}")
    yield number("peak_per_s", report.peak_per_s, _NO_REQUEST)
    for name in ("in_flight_max", "n_instances", "n_sampled", "n_dropped"):
        yield number(name, getattr(report, name))
    if report.confidence is not None:
        yield from _of_confidence(report.confidence)


def _of_traffic(traffic: Traffic, whose: str) -> Iterable[Observation]:
    yield number(f"n_requests{whose}", traffic.n_requests)
    yield number(f"n_failed{whose}", traffic.n_failed)
    yield Observation(
        name=f"error_rate{whose}",
        value=traffic.error_rate,
        low=traffic.error_rate_low,
        high=traffic.error_rate_high,
        higher_is_better=False,
        reason=_NO_REQUEST,
    )
    for kind in ("latency_ms", "first_chunk_ms"):
        for name, value in getattr(traffic, kind).items():
            yield number(f"{kind}.{name}{whose}", value, _NO_REQUEST)


def _of_confidence(sure: ServingConfidence) -> Iterable[Observation]:
    none = "no kept row has a score"
    yield number("confidence", sure.mean, none)
    yield Observation(
        name="low_confidence_share",
        value=sure.low_share,
        low=sure.low_share_low,
        high=sure.low_share_high,
        reason=none,
    )
    yield number("top_share", sure.top_share, "no kept row has an answer")
    yield number("entropy_bits", sure.entropy_bits, "no kept row has an answer")


def _of_experiment(report: ExperimentReport) -> Iterable[Observation]:
    compared = [each for each in report.variants if each.variant != report.control]
    known = any(each.verdict not in ("insufficient", "invalid") for each in compared)
    is_worse = any(each.verdict == "worse" for each in compared)
    yield gate("decided", report.decided if known else None, report.reason)
    yield gate("worse", is_worse if known else None, report.reason)
    yield gate("invalid", any(each.verdict == "invalid" for each in compared), report.reason)
    yield number("split_p_value", report.split_p_value, "no shares were planned")
    for each in report.variants:
        yield number(f"n_exposed.{each.variant}", each.n_exposed)
        yield Observation(
            name=f"mean.{each.variant}",
            value=each.mean,
            low=each.low,
            high=each.high,
            reason="no unit was measured",
        )
    for each in compared:
        yield from _of_variant(each)


def _of_variant(each: VariantOutcome) -> Iterable[Observation]:
    known = each.verdict not in ("insufficient", "invalid")
    yield gate(f"worse.{each.variant}", each.verdict == "worse" if known else None, each.reason)
    yield Observation(
        name=f"difference.{each.variant}",
        value=each.difference if known else math.nan,
        low=each.difference_low,
        high=each.difference_high,
        reason=each.reason,
    )
