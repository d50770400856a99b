"""Predictions that are not the first of their request, or come when it is over."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy, with_context
from flytekitplugins.wbmon.serving.log.request import MAX_FURTHER
from support.prediction_log import read_rows, total

Make = Callable[..., PredictionLogger]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[PredictionLogger] = []

    def build(**settings: Any) -> PredictionLogger:
        made.append(
            PredictionLogger(
                "s", str(tmp_path), **{"sampling": SamplingPolicy(rate=1.0), **settings}
            )
        )
        return made[-1]

    yield build
    for each in made:
        each.close()


def told(tmp_path: Path) -> list[tuple[Any, ...]]:
    rows = read_rows(tmp_path)
    return [
        (row["request_id"], row.get("parent_request_id"), row.get("prediction")) for row in rows
    ]


def test_each_prediction_of_a_batch_has_a_row_and_an_id_of_its_own(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    with log.request("/batch", request_id="r", tenant="acme", session_id="7") as request:
        with log.stage("model"):
            ids = [
                log.log_prediction(features={"i": i}, prediction=i * 10, score=i / 10)
                for i in range(4)
            ]
        request.set(variant="b")
    stats = log.close()
    rows = read_rows(tmp_path)

    assert ids == ["r", "r:2", "r:3", "r:4"] == [row["request_id"] for row in rows]
    assert [row.get("parent_request_id") for row in rows] == [None, "r", "r", "r"]
    assert [(row["prediction"], row["features"], row["score"]) for row in rows] == [
        (i * 10, {"i": i}, i / 10) for i in range(4)
    ]
    for name in ("route", "tenant", "session_id", "variant", "status_code", "sample_weight"):
        assert len({row[name] for row in rows}) == 1
    # measured once for the whole request, so sums over rows stay right
    assert ["latency_ms" in row for row in rows] == [True, False, False, False]
    assert ["stage_ms" in row for row in rows] == [True, False, False, False]
    assert total(tmp_path, "requests") == stats.served == stats.logged == 1
    assert (stats.further_logged, stats.further_dropped) == (3, 0)
    assert compact_prediction_log(str(tmp_path), "s").n_predictions == 4


def test_calls_without_a_second_answer_add_to_the_row_of_the_request(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    with log.request("/one", request_id="r"):
        log.log_prediction(features={"a": 1})
        log.log_prediction(prediction="yes")
        log.log_prediction(score=0.5, features={"b": 2})
    log.close()
    (row,) = read_rows(tmp_path)

    assert (row["prediction"], row["score"], row["features"]) == ("yes", 0.5, {"a": 1, "b": 2})


def test_an_id_that_the_handler_gives_is_that_of_the_prediction(make: Make, tmp_path: Path) -> None:
    log = make()
    with log.request("/batch", request_id="r"):
        assert log.log_prediction(request_id="first", prediction=1) == "first"
        assert log.log_prediction(request_id="r", prediction=2) == "r"
    log.close()

    assert told(tmp_path) == [("r", None, 2), ("first", "r", 1)]


def test_a_task_that_outlives_its_request_keeps_the_id_of_it(make: Make, tmp_path: Path) -> None:
    log = make()

    async def late(prediction: int, gate: asyncio.Event) -> str:
        await gate.wait()
        return log.log_prediction(prediction=prediction)

    async def serve() -> list[str]:
        gate = asyncio.Event()
        with log.request("/a", request_id="a"):
            tasks = [asyncio.create_task(late(1, gate)), asyncio.create_task(late(2, gate))]
        with log.request("/b", request_id="b"):
            log.log_prediction(prediction=3)
            tasks.append(asyncio.create_task(late(4, gate)))
        gate.set()
        return await asyncio.gather(*tasks)

    ids = asyncio.run(serve())
    stats = log.close()

    # a label for the request's id finds the first prediction, since the request had none itself
    assert ids == ["a", "a:3", "b:2"]
    assert sorted(told(tmp_path), key=str) == [
        ("a", "a", 1), ("a", None, None), ("a:3", "a", 2), ("b", None, 3), ("b:2", "b", 4),
    ]  # fmt: skip
    assert (stats.served, stats.further_logged) == (2, 3)
    assert total(tmp_path, "requests") == 2


def test_the_predictions_of_a_request_that_is_not_kept_are_not_kept(
    make: Make, tmp_path: Path
) -> None:
    log = make(sampling=SamplingPolicy(rate=0.5))

    async def late() -> None:
        await asyncio.sleep(0)
        log.log_prediction(prediction="late")

    async def serve() -> None:
        for _ in range(200):
            with log.request("/r"):
                log.log_prediction(prediction="one")
                log.log_prediction(prediction="two")
                task = asyncio.create_task(late())
            await task

    asyncio.run(serve())
    stats = log.close()
    per_request = Counter(
        row.get("parent_request_id", row["request_id"]) for row in read_rows(tmp_path)
    )

    assert set(per_request.values()) == {3}
    assert len(per_request) == stats.logged
    assert 60 < stats.logged < 140
    assert {row["sample_weight"] for row in read_rows(tmp_path)} == {2.0}


def test_a_thread_keeps_the_request_by_its_context_or_its_id(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make()
    with ThreadPoolExecutor(1) as pool, log.request("/r", request_id="r"):
        pool.submit(with_context(lambda: log.log_prediction(prediction=1))).result()
        assert (
            pool.submit(lambda: log.log_prediction(request_id="r", prediction=2)).result() == "r:2"
        )
        assert "outside of a request" not in caplog.text
        alone = pool.submit(lambda: log.log_prediction(prediction=3)).result()
    log.close()

    assert told(tmp_path)[1:] == [("r", None, 1), ("r:2", "r", 2)]
    assert told(tmp_path)[0] == (alone, None, 3)
    assert (
        caplog.text.count("a prediction outside of a request counts as a request of its own") == 1
    )


def test_another_process_gives_the_id_of_the_request_and_does_not_count_it_again(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    name = log.log_prediction(parent_request_id="r", route="/r", prediction=1)
    log.close()

    assert told(tmp_path) == [(name, "r", 1)]
    assert name != "r"
    assert read_rows(tmp_path, "window") == []


def test_a_child_that_is_forked_within_a_request_logs_for_it_and_counts_it_once(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    with log.request("/r", request_id="r"):
        child = os.fork()
        if child == 0:
            log.log_prediction(prediction="of the child")
            log.close()
            os._exit(0)
        os.waitpid(child, 0)
        log.log_prediction(prediction="of the parent")
    log.close()
    rows = {row["prediction"]: row for row in read_rows(tmp_path)}

    assert rows["of the parent"]["request_id"] == "r"
    assert rows["of the child"]["parent_request_id"] == "r"
    assert total(tmp_path, "requests") == 1


def test_of_very_many_predictions_a_sample_stands_for_all(make: Make, tmp_path: Path) -> None:
    log = make()
    n = 5 * MAX_FURTHER
    with log.request("/batch"):
        for i in range(n + 1):
            log.log_prediction(prediction=i)
    log.close()
    first, *rows = read_rows(tmp_path)

    assert first["prediction"] == 0
    assert len(rows) == MAX_FURTHER
    assert sum(row["sample_weight"] for row in rows) == pytest.approx(n)
    # 1000 of them, at random: their mean has a standard error of 41
    mean = sum(row["prediction"] for row in rows) / MAX_FURTHER
    assert abs(mean - (n + 1) / 2) < 200


def test_predictions_that_do_not_fit_into_the_queue_are_counted(make: Make, tmp_path: Path) -> None:
    log = make(max_queue=5, flush_interval=3600)
    with log.request("/r", request_id="r"):
        late = with_context(lambda: log.log_prediction(prediction=1))
    for _ in range(20):
        late()
    stats = log.close()
    n_written = sum("parent_request_id" in row for row in read_rows(tmp_path))

    assert stats.further_logged == n_written
    assert stats.further_logged + stats.further_dropped == 20
    assert stats.further_dropped > 0


def test_a_prediction_within_a_request_of_another_log_is_a_request_of_its_own(
    make: Make, tmp_path: Path
) -> None:
    ours = make()
    theirs = PredictionLogger("other", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    with theirs.request("/r", request_id="r"):
        ours.log_prediction(prediction="ours")
    ours.close()
    theirs.close()
    rows = {row["service"]: row for row in read_rows(tmp_path)}

    assert rows["s"]["prediction"] == "ours"
    assert rows["s"]["route"] == "predict"
    assert "prediction" not in rows["other"]


@pytest.mark.parametrize("is_live", [True, False])
def test_a_thread_that_may_outlive_its_request_gives_the_id_of_it(
    make: Make, tmp_path: Path, *, is_live: bool
) -> None:
    log = make()

    def work() -> str:
        return log.log_prediction(parent_request_id="r", prediction=1)

    with ThreadPoolExecutor(1) as pool:
        with log.request("/r", request_id="r"):
            name = pool.submit(work).result() if is_live else ""
        name = name or pool.submit(work).result()
    stats = log.close()
    rows = {row["request_id"]: row for row in read_rows(tmp_path)}

    assert stats.served == total(tmp_path, "requests") == 1
    assert rows[name]["prediction"] == 1
    assert rows[name].get("parent_request_id") == (None if is_live else "r")


@pytest.mark.parametrize("by", ["parent_request_id", "request_id"])
def test_a_worker_that_the_first_request_starts_logs_for_whom_it_works(
    make: Make, tmp_path: Path, by: str
) -> None:
    log = make()

    async def work(queue: asyncio.Queue[Any]) -> None:
        while True:
            name, done = await queue.get()
            log.log_prediction(prediction=f"of {name}", **{by: name})
            done.set_result(None)

    async def serve() -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        workers: list[asyncio.Task[None]] = []

        async def handle(name: str) -> None:
            with log.request("/r", request_id=name):
                if not workers:
                    workers.append(asyncio.create_task(work(queue)))
                done = asyncio.get_running_loop().create_future()
                queue.put_nowait((name, done))
                await done

        for name in "abc":
            await handle(name)
        await asyncio.gather(handle("d"), handle("e"))
        workers[0].cancel()

    asyncio.run(serve())
    stats = log.close()

    assert sorted(told(tmp_path)) == [(name, None, f"of {name}") for name in "abcde"]
    assert (stats.served, stats.further_logged) == (5, 0)


def test_a_parent_that_is_named_is_believed_more_than_the_code_around(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    with log.request("/outer", request_id="outer"), log.request("/inner", request_id="inner"):
        log.log_prediction(prediction=1, parent_request_id="outer")
        log.log_prediction(prediction=2, parent_request_id="inner")
        log.log_prediction(prediction=3, parent_request_id="elsewhere", request_id="x")
    log.close()

    assert sorted(told(tmp_path), key=str) == [
        ("inner", None, 2), ("outer", None, 1), ("x", "elsewhere", 3),
    ]  # fmt: skip


def test_a_prediction_belongs_to_the_nearest_request_of_its_log(make: Make, tmp_path: Path) -> None:
    ours = make()
    theirs = PredictionLogger("other", str(tmp_path), sampling=SamplingPolicy(rate=1.0))

    @theirs.track("tracked")
    def inner() -> Iterator[None]:
        ours.log_prediction(prediction="ours")
        theirs.log_prediction(prediction="theirs")
        yield

    with ours.request("/far", request_id="far"), ours.request("/near", request_id="near"):
        with theirs.request("/between"):
            list(inner())
        with theirs.request("/r"), ours.stage("ours"), theirs.stage("theirs"):
            pass
    ours.close()
    theirs.close()
    rows = {row["route"]: row for row in read_rows(tmp_path)}

    assert {route: row.get("prediction") for route, row in rows.items()} == {
        "/far": None, "/near": "ours", "/between": None, "tracked": "theirs", "/r": None,
    }  # fmt: skip
    assert set(rows["/near"]["stage_ms"]) == {"ours", "other"}
    assert set(rows["/r"]["stage_ms"]) == {"theirs", "other"}


def test_a_child_that_is_forked_within_several_requests_counts_none_of_them(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    with log.request("/outer", request_id="outer"), log.request("/inner", request_id="inner"):
        child = os.fork()
        if child == 0:
            log.log_prediction(prediction="of the child", parent_request_id="outer")
            log.close()
            os._exit(0)
        os.waitpid(child, 0)
    log.close()

    assert total(tmp_path, "requests") == 2
    assert sorted(row.get("parent_request_id", "") for row in read_rows(tmp_path)) == [
        "",
        "",
        "outer",
    ]


def test_requests_that_start_each_other_do_not_keep_those_before(make: Make) -> None:
    log = make(sampling=SamplingPolicy(rate=0.0))
    begun: list[weakref.ref[Any]] = []
    n_alive: list[int] = []

    async def poll(n_left: int, done: asyncio.Event) -> None:
        """As a timer that sets itself again: nobody waits for the one before."""
        with log.request("poll") as request:
            begun.append(weakref.ref(request))
            if n_left:
                asyncio.ensure_future(poll(n_left - 1, done))  # noqa: RUF006 - as below
                return
            assert log.stats.in_flight == 1  # and what is over is counted
            gc.collect()
            n_alive.append(sum(each() is not None for each in begun))
            done.set()

    async def start() -> None:
        done = asyncio.Event()
        asyncio.ensure_future(poll(50, done))  # noqa: RUF006 - the loop has it until it is done
        await done.wait()

    asyncio.run(start())
    assert n_alive[0] <= 3
