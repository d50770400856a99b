"""Which requests are good: counted through windows, and one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.schema import WINDOW_COLUMNS
from flytekitplugins.wbmon.monitor.service.slo import check_slos
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO, ServingSLOResult
from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving
from flytekitplugins.wbmon.serving.log.request import Request
from flytekitplugins.wbmon.serving.log.window_counts import WindowCounts
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LIMIT = 500.0
# windows of earlier releases have none of these
NEW = ("failed", "failed_latency", "abandoned", "failed_time_to_first_chunk", "unanswered")


class Served(NamedTuple):
    """A request to an endpoint, how it ended, and when; milliseconds."""

    route: str
    end: str  # ok, failed or left
    latency: float
    first_chunk: float | None = None

    @property
    def is_good(self) -> bool:
        return self.end == "ok" and self.latency <= LIMIT


def request(served: Served) -> Request:
    made = Request(route=served.route, method="GET")
    made.latency_ms, made.first_chunk_ms = served.latency, served.first_chunk
    if served.end == "failed":
        made.fail(RuntimeError())
        # of a stream the status is sent before it breaks
        made.status = 200 if served.first_chunk is not None else 500
    elif served.end == "left":
        made.abandon()
        made.status = 200 if served.first_chunk is not None else 499
    return made


def rows_of(parts: Sequence[Sequence[Served]]) -> list[dict[str, Any]]:
    """A window of ten seconds of each part."""
    rows = []
    for place, part in enumerate(parts):
        window = WindowCounts(0.0)
        for served in part:
            window.counts((served.route, "GET", None)).add(request(served))
        begin = NOON + timedelta(seconds=10 * place)
        times = {"window_start": begin, "window_end": begin + timedelta(seconds=10)}
        marks = {"instance": "i"} | {name: at.isoformat() for name, at in times.items()}
        rows += [row | marks for row in window.rows(0.0)]
    return rows


def judged(rows: Sequence[dict[str, Any]], **slo: Any) -> ServingSLOResult:
    asked = ServingSLO(name="it", **({"objective": 0.9, "min_requests": 1} | slo))
    return check_slos(log_table("window", rows), [asked]).results[0]


# the bucket that the limit is in reaches 2.2 % beyond it
times = st.floats(0.01, 1e5).filter(lambda ms: not LIMIT < ms <= LIMIT * 1.022)
ends = st.sampled_from(["ok", "ok", "failed", "left"])
plain = st.builds(Served, st.just("/plain"), ends, times, st.none())
streams = st.builds(
    lambda end, first, rest: Served("/stream", end, (first or 0) + rest, first),
    ends,
    st.none() | times,
    times.filter(lambda ms: ms > LIMIT * 1.1),
)
traffic = st.lists(st.lists(plain | streams, max_size=20), max_size=6)


@settings(max_examples=60, deadline=None)
@given(traffic)
def test_windows_count_good_requests_as_one_by_one_however_they_are_split(
    parts: list[list[Served]],
) -> None:
    every = [each for part in parts for each in part]
    lasted = [each for each in every if each.end != "left" or each.latency > LIMIT]
    for rows in (rows_of(parts), rows_of([every])):
        found = judged(rows, latency_ms=LIMIT)
        assert found.n_requests == len(lasted)
        assert found.n_bad == sum(not each.is_good for each in lasted)
        assert found.n_failed == sum(each.end == "failed" for each in every)
        assert found.n_seen == len(every)
        up = judged(rows)
        assert up.n_requests == sum(each.end != "left" for each in every)
        assert up.n_bad == up.n_failed == found.n_failed
        total = summarize_serving(log_table("window", rows)).total
        assert total.n_failed == found.n_failed


@settings(max_examples=60, deadline=None)
@given(traffic)
def test_a_stream_is_good_if_it_succeeded_and_its_first_chunk_was_in_time(
    parts: list[list[Served]],
) -> None:
    every = [each for part in parts for each in part]
    # so that it is known which endpoint streams
    every += [Served("/stream", "ok", 900.0, 1.0), Served("/plain", "ok", 1.0)]
    good = [
        each
        for each in every
        if each.end != "failed" and each.first_chunk is not None and each.first_chunk <= LIMIT
    ]
    late = [each for each in every if (each.first_chunk or 0) > LIMIT and each.end != "failed"]
    failed = [each for each in every if each.route == "/stream" and each.end == "failed"]
    waited = [
        each
        for each in every
        if each.route == "/stream" and each.end == "left" and each.first_chunk is None
    ]
    n_bad = len(late) + len(failed) + sum(each.latency > LIMIT for each in waited)
    for rows in (rows_of([*parts, every[-2:]]), rows_of([every])):
        found = judged(rows, time_to_first_chunk_ms=LIMIT)
        assert (found.n_requests, found.n_bad) == (len(good) + n_bad, n_bad)
        assert found.n_failed == len(failed)


@settings(max_examples=60, deadline=None)
@given(traffic, st.sampled_from([{}, {"latency_ms": LIMIT}, {"time_to_first_chunk_ms": LIMIT}]))
def test_windows_of_an_earlier_release_are_never_judged_better_than_they_were(
    parts: list[list[Served]], limit: dict[str, float]
) -> None:
    rows = rows_of(parts)
    old = [{name: value for name, value in row.items() if name not in NEW} for row in rows]
    exact, bound = judged(rows, **limit), judged(old, **limit)
    assert bound.n_failed == exact.n_failed
    # left out are only callers who left after the limit, of which old windows know nothing
    if exact.n_requests and not any(each.end == "left" for part in parts for each in part):
        assert bound.n_bad / bound.n_requests >= exact.n_bad / exact.n_requests - 1e-12


def test_half_of_all_requests_refused_is_no_promise_kept() -> None:
    served = [Served("/chat", "ok", 3.0, 1.0), Served("/chat", "failed", 0.1)] * 200
    for limit in ({"time_to_first_chunk_ms": 500}, {"latency_ms": 500}, {}):
        found = judged(rows_of([served]), objective=0.99, **limit)
        assert (found.verdict, found.n_bad, found.n_failed) == ("fail", 200, 200)
        assert found.burn_rate == pytest.approx(50)
        assert "200 failed" in found.reason


def test_failures_that_are_fast_and_successes_that_are_slow_are_both_bad() -> None:
    part = [Served("/p", "failed", 20.0), Served("/p", "ok", 900.0)]
    served = part * 400 + [Served("/p", "ok", 20.0)] * 9200
    found = judged(rows_of([served]), objective=0.95, latency_ms=500)
    assert found.good_share == pytest.approx(0.92)
    assert found.burn_rate == pytest.approx(0.08 / 0.05)


def test_old_windows_take_failures_for_none_of_the_slow_ones_and_say_so() -> None:
    served = [Served("/p", "failed", 900.0), Served("/p", "ok", 900.0)] * 10
    rows = rows_of([served + [Served("/p", "ok", 20.0)] * 80])
    assert judged(rows, latency_ms=500).n_bad == 20
    old = [{name: value for name, value in row.items() if name not in NEW} for row in rows]
    found = judged(old, latency_ms=500)
    assert (found.n_requests, found.n_bad, found.n_failed) == (100, 30, 10)
    assert "10 failures are of windows that do not say how fast they were" in found.reason
    # old and new windows add up
    both = judged([*old, *rows], latency_ms=500)
    assert (both.n_requests, both.n_bad, both.n_failed) == (200, 50, 20)


def test_old_windows_tell_broken_streams_by_their_errors() -> None:
    served = [Served("/s", "failed", 9.0, 1.0)] * 3 + [Served("/s", "ok", 9.0, 1.0)] * 7
    rows = rows_of([[*served, Served("/s", "left", 9.0, 1.0)]])
    (row,) = rows
    row["errors"]["http_404"] = 2
    assert row["status"] == {"2xx": 11}
    old = log_table("window", [{name: row[name] for name in row if name not in NEW}])
    assert summarize_serving(old).total.n_failed == 3


def test_a_service_that_only_fails_may_have_streamed_and_one_that_answers_whole_does_not() -> None:
    down = [Served("/chat", "failed", 1.0)] * 5
    whole = [Served("/predict", "failed", 1.0), Served("/predict", "ok", 1.0)] * 5
    limit = {"time_to_first_chunk_ms": 500}
    assert judged(rows_of([down]), **limit).n_bad == 5
    nothing = judged(rows_of([whole]), **limit)
    assert nothing.verdict == "no_data"
    assert nothing.reason == "none of 10 requests was a stream with a first chunk"
    both = judged(rows_of([down, whole]), **limit)
    assert (both.n_requests, both.n_bad) == (5, 5)
    # it streamed an hour before
    healthy = [Served("/chat", "ok", 9.0, 1.0)] * 5
    assert judged(rows_of([healthy, down]), **limit).good_share == 0.5


def test_callers_who_give_up_waiting_are_bad_after_the_limit_and_unknown_before() -> None:
    served = [Served("/chat", "ok", 900.0, 1.0)] * 6
    gone = [Served("/chat", "left", 30_000.0)] * 3 + [Served("/chat", "left", 100.0)] * 2
    rows = rows_of([served + gone])
    first = judged(rows, time_to_first_chunk_ms=500)
    assert (first.n_requests, first.n_bad, first.n_failed) == (9, 3, 0)
    whole = judged(rows, latency_ms=1000)
    assert (whole.n_requests, whole.n_bad, whole.n_seen) == (9, 3, 11)
    up = judged(rows)
    assert (up.n_requests, up.n_bad) == (6, 0)
    alone = judged(rows_of([gone[3:]]))
    assert (alone.verdict, alone.reason) == (
        "no_data",
        "the callers of all 2 requests left before the answer",
    )


def test_requests_without_a_latency_are_not_taken_for_fast_ones() -> None:
    unknown = [Served("/p", "ok", float("nan"))] * 90
    found = judged(rows_of([unknown]), latency_ms=500)
    assert found.verdict == "no_data"
    assert found.reason == "none of 90 requests has a latency that can be judged"
    failed = [Served("/p", "failed", float("nan"))] * 5
    some = judged(rows_of([[*unknown, *failed, Served("/p", "ok", 1.0)]]), latency_ms=500)
    assert (some.n_requests, some.n_bad) == (6, 5)


def test_every_count_of_a_window_is_a_column_of_the_contract() -> None:
    served = [
        Served("/s", "ok", 9.0, 1.0), Served("/s", "failed", 9.0, 2.0),
        Served("/s", "left", 9.0, 3.0), Served("/s", "left", 4.0),
    ]  # fmt: skip
    (row,) = rows_of([served])
    assert row.keys() <= WINDOW_COLUMNS.keys()
    assert row["failed"] == 1
    kept = {
        name: LogHistogram.from_dict(row[name]).n
        for name in row
        if isinstance(row[name], dict) and "counts" in row[name]
    }
    assert kept == {
        "latency": 4, "time_to_first_chunk": 3, "failed_latency": 1,
        "failed_time_to_first_chunk": 1, "abandoned": 2, "unanswered": 1,
    }  # fmt: skip
