from __future__ import annotations

from typing import Any

from flytekitplugins.wbmon.serving.log.buffer import Buffer
from flytekitplugins.wbmon.serving.log.request import Request
from flytekitplugins.wbmon.serving.log.sampling import SamplingPolicy


def test_a_row_that_is_lost_after_its_window_corrects_the_sums_of_the_windows() -> None:
    buffer = Buffer(SamplingPolicy(rate=1.0), max_queue=10, now=0.0)
    for name in ("a", "b", "c"):
        buffer.record(Request(name, route="/r"))
    first = buffer.turn_window(10.0).rows(10.0)
    written, lost, waiting = buffer.take(3)
    buffer.written([written])
    buffer.lost([lost])
    second = buffer.turn_window(20.0).rows(20.0)

    names = ("requests", "sampled_rows", "dropped_rows")
    assert isinstance(waiting, Request)
    assert waiting.request_id == "c"
    assert [[row[name] for name in names] for row in first] == [[3, 3, 0]]
    assert [[row[name] for name in names] for row in second] == [[0, -1, 1]]
    stats = buffer.stats()
    assert (stats.served, stats.logged, stats.queued, stats.dropped) == (3, 1, 1, 1)


def test_feedback_that_is_lost_is_no_lost_request() -> None:
    buffer = Buffer(SamplingPolicy(rate=1.0), max_queue=1, now=0.0)
    row: dict[str, Any] = {"feedback_id": "f"}

    assert [buffer.add_feedback(row) for _ in range(2)] == [True, False]
    buffer.lost(buffer.take(1))
    stats = buffer.stats()
    assert (stats.feedback, stats.feedback_logged, stats.feedback_dropped) == (2, 0, 2)
    assert (stats.served, stats.dropped) == (0, 0)


def test_a_window_never_ends_before_it_begins_whatever_the_clock_says() -> None:
    buffer = Buffer(SamplingPolicy(), max_queue=10, now=100.0)
    buffer.record(Request("r"))
    buffer.fold(1)
    (so_far,) = buffer.window_so_far(99.5)
    (ended,) = buffer.turn_window(100.0).rows(99.5)

    # readers put a window aside that ends before its beginning
    assert (so_far["window_start"], so_far["window_end"]) == (100.0, 100.0)
    assert ended["window_end"] == 100.0
