"""Stages of a request: one after the other, within each other, side by side, and too late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy, with_context
from flytekitplugins.wbmon.serving.log.covered_time import CoveredTime
from support.prediction_log import read_rows

Work = Callable[[PredictionLogger], Coroutine[Any, Any, None]]
SPANS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), max_size=12)


@given(SPANS, st.integers(0, 100))
def test_the_covered_time_is_the_length_of_the_union(
    spans: list[tuple[int, int]], until: int
) -> None:
    covered = CoveredTime()
    moments = [(begin, 1) for begin, _ in spans] + [(begin + n, 0) for begin, n in spans]
    for now, is_begin in sorted(moments):
        if now <= until:
            (covered.begin if is_begin else covered.end)(float(now))
    union = {second for begin, n in spans for second in range(begin, begin + n) if second < until}

    assert covered.until(float(until)) == len(union)


async def part(log: PredictionLogger, name: str) -> None:
    with log.stage(name):
        await asyncio.sleep(0.03)


async def in_a_row(log: PredictionLogger) -> None:
    with log.stage("a"):
        await part(log, "b")
        await asyncio.sleep(0.01)


async def side_by_side(log: PredictionLogger) -> None:
    await asyncio.gather(*(part(log, name) for name in "abc"))


async def side_by_side_within_one(log: PredictionLogger) -> None:
    with log.stage("around"):
        await asyncio.gather(*(part(log, name) for name in "abc"))
        await asyncio.sleep(0.01)


async def of_one_name(log: PredictionLogger) -> None:
    await asyncio.gather(*(part(log, "a") for _ in range(3)))


async def of_threads(log: PredictionLogger) -> None:
    def work() -> None:
        with log.stage("a"):
            time.sleep(0.03)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(with_context(work))


async def that_outlives_its_outer(log: PredictionLogger) -> None:
    with log.stage("outer"):
        task = asyncio.create_task(part(log, "inner"))
        await asyncio.sleep(0.01)
    await task


@pytest.mark.parametrize(
    "work",
    [
        in_a_row, side_by_side, side_by_side_within_one, of_one_name, of_threads,
        that_outlives_its_outer,
    ],
)  # fmt: skip
def test_other_is_the_time_that_no_stage_covers(work: Work, tmp_path: Path) -> None:
    log = PredictionLogger("s", str(tmp_path), sampling=SamplingPolicy(rate=1.0))

    async def serve() -> float:
        with log.request("r"):
            await asyncio.sleep(0.02)
            begin = time.perf_counter()
            await work(log)
            return (time.perf_counter() - begin) * 1e3

    worked_ms = asyncio.run(serve())
    log.close()
    (row,) = read_rows(tmp_path)

    other_ms = row["stage_ms"].pop("other")
    covered_ms = row["latency_ms"] - other_ms
    assert other_ms >= 19
    assert 29 <= covered_ms <= worked_ms
    # the latency is written with four digits
    assert covered_ms <= sum(row["stage_ms"].values()) + 1e-3
    assert min(row["stage_ms"].values()) >= 0
    if work is in_a_row:
        assert sum(row["stage_ms"].values()) == pytest.approx(covered_ms, abs=1e-3)
    if work is side_by_side_within_one:
        assert row["stage_ms"]["around"] < row["stage_ms"]["a"]


def test_a_stage_after_the_answer_or_beyond_it_takes_nothing_of_the_latency(tmp_path: Path) -> None:
    log = PredictionLogger("s", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    beyond, early = log.stage("beyond"), log.stage("early")
    with log.request("r") as request:
        with early:
            time.sleep(0.01)
        beyond.__enter__()
        time.sleep(0.01)
        request.latency_ms = request.elapsed_ms()
        log.leave(request)
        answered_ms = request.latency_ms
        with log.stage("late"):
            time.sleep(0.1)
        beyond.__exit__(None, None, None)
        covered_ms = request.covered_ms
        row = {**(request.stages or {})}
    log.close()

    assert 19 <= covered_ms <= answered_ms
    assert row["late"] >= 99
