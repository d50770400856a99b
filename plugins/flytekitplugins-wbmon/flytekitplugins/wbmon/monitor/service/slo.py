"""Check of service level objectives, and burn rates of their error budgets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.service.report import ServingSLO, ServingSLOResult, SLOReport
from flytekitplugins.wbmon.monitor.service.summarize import failed_requests, window_rows
from flytekitplugins.wbmon.stats.interval import wilson_interval
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

_ORDER = ("fail", "insufficient", "no_data", "pass")


def check_slos(windows: Any, slos: Sequence[ServingSLO]) -> SLOReport:
    """Check the objectives of a service on its serving windows.

    A request is bad if it failed or was slower than the limit of the objective. Latencies come from
    histograms, so limits are exact up to the width of one bucket (2.2 %), in favour of the service.

    Args:
        windows: The serving windows; any data that `open_source` accepts.
        slos: One objective or more, with different names.

    Returns:
        The results, violated objectives first.

    Raises:
        ConfigError: If `slos` is no sequence, there is no objective, or two share a name.
        DataError: If the windows are not those of a prediction log.
    """
    slos = listed("slos", slos, "objectives")
    names = [slo.name for slo in slos]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"there must be objectives, each of another name; got {', '.join(names) or 'none'}"
        )
    rows = list(window_rows(windows))
    results = sorted(
        (_judge(slo, [row for row in rows if _is_about(slo, row)]) for slo in slos),
        key=lambda result: _ORDER.index(result.verdict),
    )
    missed = [result.slo.name for result in results if result.verdict == "fail"]
    reason = f"missed: {', '.join(missed)}" if missed else "no objective was missed"
    return SLOReport(results=tuple(results), reason=reason)


def _is_about(slo: ServingSLO, row: dict[str, Any]) -> bool:
    is_route = not slo.route or row["route"] == slo.route
    return is_route and (not slo.tenant or row.get("tenant") == slo.tenant)


def _judge(slo: ServingSLO, rows: list[dict[str, Any]]) -> ServingSLOResult:
    n, bad = _count(slo, rows)
    if n == 0:
        return ServingSLOResult(
            slo=slo, n_requests=0, verdict="no_data", reason="no request to judge"
        )
    low, high = wilson_interval(n - bad, n)
    good = 1 - bad / n
    hour, hour_burn = _worst_hour(slo, rows)
    verdict = "pass" if good >= slo.objective else "fail"
    reason = f"{good:.4%} of {n} requests were good; {slo.objective:.4%} is promised"
    if n < slo.min_requests:
        verdict, reason = "insufficient", f"{n} requests; {slo.min_requests} are needed"
    return ServingSLOResult(
        slo=slo,
        n_requests=n,
        n_bad=bad,
        good_share=good,
        good_share_low=low,
        good_share_high=high,
        burn_rate=_burn(slo, n, bad),
        worst_hour_burn_rate=hour_burn,
        worst_hour_at=hour,
        verdict=verdict,  # type: ignore[arg-type]  # one of the literals above
        reason=reason,
    )


def _count(slo: ServingSLO, rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """The number of requests to which the objective applies, and of the bad ones."""
    n = bad = 0
    for row in rows:
        if slo.time_to_first_chunk_ms is not None:
            streams = row.get("time_to_first_chunk")
            # requests that were not streamed have no first chunk and do not count
            if streams:
                histogram = LogHistogram.from_dict(streams)
                n += histogram.n
                bad += histogram.count_above(slo.time_to_first_chunk_ms)
            continue
        failed = failed_requests(row)
        n += row["requests"]
        if slo.latency_ms is None:
            bad += failed
        else:
            slow = LogHistogram.from_dict(row["latency"]).count_above(slo.latency_ms)
            # a request may be both slow and failed; the overlap is unknown, so take its maximum
            bad += min(row["requests"], max(slow, failed))
    return n, bad


def _worst_hour(slo: ServingSLO, rows: Iterable[dict[str, Any]]) -> tuple[datetime | None, float]:
    by_hour: dict[datetime, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_hour[row["window_start"].replace(minute=0, second=0, microsecond=0)].append(row)
    worst: tuple[datetime | None, float] = (None, math.nan)
    for hour, group in sorted(by_hour.items()):
        n, bad = _count(slo, group)
        # `not <=` instead of `>`: the first hour is compared with nan
        if n >= slo.min_requests and not _burn(slo, n, bad) <= worst[1]:
            worst = (hour, _burn(slo, n, bad))
    return worst


def _burn(slo: ServingSLO, n: int, bad: int) -> float:
    return bad / n / (1 - slo.objective)
