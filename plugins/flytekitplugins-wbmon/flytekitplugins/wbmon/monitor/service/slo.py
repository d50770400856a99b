"""Check of service level objectives, and burn rates of their error budgets."""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from datetime import datetime
from functools import reduce
from typing import Any

from flytekitplugins.wbmon.monitor.service.outcomes import (
    Endpoint,
    JudgedRequests,
    by_first_chunk,
    by_latency,
    by_success,
    endpoint_of,
    refused_requests,
    streaming_endpoints,
)
from flytekitplugins.wbmon.monitor.service.slo_report import (
    ServingSLO,
    ServingSLOResult,
    SLOReport,
    require_objectives,
)
from flytekitplugins.wbmon.monitor.service.summarize import window_rows
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.stats.interval import wilson_interval

_ORDER = ("fail", "insufficient", "no_data", "pass")


def check_slos(windows: Any, slos: Sequence[ServingSLO]) -> SLOReport:
    """Check the objectives of a service on its serving windows.

    A request is bad if it failed or was slower than the limit of the objective; a failure is bad
    however fast it was. One that was refused with 4xx did not fail, but where no other request was
    good there is no verdict. Latencies come from histograms, so limits are exact up to the width of
    one bucket (2.2 %), in favour of the service. Requests of unknown outcome are not judged: those
    without a latency where there is a limit, and those whose caller left before the end, unless
    the limit was over by then.

    A failed request counts as a stream if its endpoint has streamed in these windows, or has
    answered nothing at all; a stream that failed before its first chunk is bad.

    Windows of earlier releases do not tell the latencies of failures: there the worst case is
    taken, that no failure is one of the slow requests.

    Args:
        windows: The serving windows; any data that `open_source` accepts.
        slos: One objective or more, with different names.

    Returns:
        The results, violated objectives first.

    Raises:
        ConfigError: If `slos` is no sequence of `ServingSLO`, is empty, or two share a name.
        DataError: If the windows are not those of a prediction log.
    """
    slos = require_objectives(slos)
    rows, n_unreadable, unreadable = window_rows(windows)
    streams = streaming_endpoints(rows)
    is_known = n_unreadable <= len(rows)
    results = sorted(
        (_believed(_judge(slo, rows, streams), is_known) for slo in slos),
        key=lambda result: _ORDER.index(result.verdict),
    )
    return SLOReport(results=tuple(results), reason=_reason(results) + unreadable)


def _reason(results: Sequence[ServingSLOResult]) -> str:
    missed = [result.slo.name for result in results if result.verdict == "fail"]
    unknown = [result.slo.name for result in results if not result.is_judged]
    if len(unknown) == len(results):
        return f"no objective could be judged: {', '.join(unknown)}"
    said = f"missed: {', '.join(missed)}" if missed else "no objective was missed"
    return f"{said}; not judged: {', '.join(unknown)}" if unknown else said


def _is_about(slo: ServingSLO, row: dict[str, Any]) -> bool:
    is_route = not slo.route or row["route"] == slo.route
    return is_route and (not slo.tenant or row.get("tenant") == slo.tenant)


def _judge(
    slo: ServingSLO, every: list[dict[str, Any]], streams: Set[Endpoint]
) -> ServingSLOResult:
    rows = [row for row in every if _is_about(slo, row)]
    outcomes = [_outcomes(slo, row, streams) for row in rows]
    n, bad, failed, bounded = _sum(outcomes)
    n_seen = sum(row["requests"] for row in rows)
    result = ServingSLOResult(
        slo=slo, n_requests=n, n_seen=n_seen, verdict="no_data", reason="no request to judge"
    )
    if n == 0:
        return replace(result, reason=_nothing_of(slo, n_seen) if n_seen else _no_one(slo, every))
    low, high = wilson_interval(n - bad, n)
    good = 1 - bad / n
    hour, hour_burn = _worst_hour(slo, rows, outcomes)
    verdict = "pass" if good >= slo.objective else "fail"
    failures = f", {failed} failed" if failed else ""
    # what is refused is no stream
    is_whole = slo.time_to_first_chunk_ms is None
    refused = sum(refused_requests(row) for row in rows) if is_whole else 0
    reason = f"{good:.4%} of {n} requests were good{failures}; {slo.objective:.4%} is promised"
    if verdict == "pass" and n - bad <= refused:
        verdict = "no_data"
        reason = f"no request was good but {refused} that were refused (status 4xx){failures}"
    if n < slo.min_requests:
        verdict, reason = "insufficient", f"{n} requests{failures}; {slo.min_requests} are needed"
    if bounded:
        reason += (
            f"; {bounded} failures are of windows that do not say how fast they were, and count "
            "beside all slow requests"
        )
    return replace(
        result,
        n_bad=bad,
        n_failed=failed,
        good_share=good,
        good_share_low=low,
        good_share_high=high,
        burn_rate=_burn(slo, n, bad),
        worst_hour_burn_rate=hour_burn,
        worst_hour_at=hour,
        verdict=verdict,  # type: ignore[arg-type]  # one of the literals above
        reason=reason,
    )


def _believed(result: ServingSLOResult, is_known: bool) -> ServingSLOResult:
    """A result, which is no success where most requests may have been bad."""
    if result.verdict != "pass":
        return result
    unknown = "" if is_known else "most windows could not be read"
    # beside a limit of first chunks most requests may be no streams
    if result.slo.latency_ms is not None and result.n_requests * 2 < result.n_seen:
        unknown = f"the other {result.n_seen - result.n_requests} requests have no latency"
    if not unknown:
        return result
    return replace(result, verdict="insufficient", reason=f"{result.reason}; {unknown}")


def _no_one(slo: ServingSLO, every: list[dict[str, Any]]) -> str:
    """Why no request is of an objective's route and tenant."""
    asked = {name: getattr(slo, name) for name in ("route", "tenant") if getattr(slo, name)}
    if not every or not asked:
        return "no request to judge"
    meant = []
    for name, given in asked.items():
        known = {str(row.get(name)) for row in every} - {"None"}
        close = difflib.get_close_matches(given, sorted(known - {given}), n=1)
        if given not in known and close:
            meant.append(f"{name} {quoted_name(close[0])}")
    words = " and ".join(f"{name} {quoted_name(given)}" for name, given in asked.items())
    hint = f"; did you mean {' and '.join(meant)}?" if meant else ""
    return f"no request of {words}{hint}"


def _nothing_of(slo: ServingSLO, n_seen: int) -> str:
    if slo.time_to_first_chunk_ms is not None:
        return f"none of {n_seen} requests was a stream with a first chunk"
    if slo.latency_ms is not None:
        return f"none of {n_seen} requests has a latency that can be judged"
    return f"the callers of all {n_seen} requests left before the answer"


def _outcomes(slo: ServingSLO, row: dict[str, Any], streams: Set[Endpoint]) -> JudgedRequests:
    """Of the requests to which the objective applies."""
    if slo.time_to_first_chunk_ms is not None:
        is_stream = endpoint_of(row) in streams
        return by_first_chunk(row, slo.time_to_first_chunk_ms, streams=is_stream)
    return by_success(row) if slo.latency_ms is None else by_latency(row, slo.latency_ms)


def _sum(outcomes: Iterable[JudgedRequests]) -> JudgedRequests:
    return reduce(JudgedRequests.plus, outcomes, JudgedRequests())


def _worst_hour(
    slo: ServingSLO, rows: Iterable[dict[str, Any]], outcomes: Iterable[JudgedRequests]
) -> tuple[datetime | None, float]:
    by_hour: dict[datetime, list[JudgedRequests]] = defaultdict(list)
    for row, each in zip(rows, outcomes, strict=True):
        by_hour[row["window_start"].replace(minute=0, second=0, microsecond=0)].append(each)
    worst: tuple[datetime | None, float] = (None, math.nan)
    for hour, group in sorted(by_hour.items()):
        n, bad, *_ = _sum(group)
        # `not <=` instead of `>`: the first hour is compared with nan
        if n >= slo.min_requests and not _burn(slo, n, bad) <= worst[1]:
            worst = (hour, _burn(slo, n, bad))
    return worst


def _burn(slo: ServingSLO, n: int, bad: int) -> float:
    return bad / n / (1 - slo.objective)
