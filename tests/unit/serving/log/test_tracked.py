"""Generators that are tracked: the request lasts until the last value."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.serving.log.request import current_request
from support.prediction_log import read_rows


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLogger]:
    made = PredictionLogger("s", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    yield made
    made.close()


def rows(log: PredictionLogger, kind: str = "prediction") -> list[dict[str, Any]]:
    log.close()
    return read_rows(Path(log.destination), kind)


def words(log: PredictionLogger, *, fail: bool = False) -> Iterator[str]:
    with log.stage("model"):
        time.sleep(0.01)
    yield "one"
    log.log_prediction(prediction="two")
    if fail:
        raise ConnectionError("the model died")
    yield "two"


async def later_words(log: PredictionLogger, *, fail: bool = False) -> AsyncIterator[str]:
    await asyncio.sleep(0.01)
    for word in words(log, fail=fail):
        yield word


def read(stream: Any, *, at_most: int | None = None) -> list[str]:
    """What a stream of either kind gives; it is closed after `at_most` values."""

    async def read_later() -> list[str]:
        found = []
        async for each in stream:
            found.append(each)
            if len(found) == at_most:
                await stream.aclose()
        return found

    if inspect.isasyncgen(stream):
        return asyncio.run(read_later())
    found = []
    for each in stream:
        found.append(each)
        if len(found) == at_most:
            stream.close()
    return found


BOTH = pytest.mark.parametrize("function", [words, later_words])


@BOTH
def test_a_stream_is_one_request_that_lasts_until_its_end(
    log: PredictionLogger, function: Callable[..., Any]
) -> None:
    tracked = log.track("chat")(function)
    assert inspect.isgeneratorfunction(tracked) == inspect.isgeneratorfunction(function)
    assert inspect.isasyncgenfunction(tracked) == inspect.isasyncgenfunction(function)
    assert read(tracked(log)) == ["one", "two"]

    (row,) = rows(log)
    assert (row["route"], row["prediction"]) == ("chat", "two")
    assert 10 <= row["time_to_first_chunk_ms"] <= row["latency_ms"]
    assert row["stage_ms"]["model"] >= 10
    assert "error_type" not in row


@BOTH
def test_a_stream_that_breaks_is_a_failure(
    log: PredictionLogger, function: Callable[..., Any]
) -> None:
    with pytest.raises(ConnectionError, match="the model died"):
        read(log.track("chat")(function)(log, fail=True))

    (row,) = rows(log)
    assert (row["error_type"], row["sample_reason"]) == ("ConnectionError", "error")
    (window,) = rows(log, "window")
    assert (window["requests"], window["failed"]) == (1, 1)


@BOTH
def test_a_stream_that_is_called_with_wrong_arguments_is_a_failure(
    log: PredictionLogger, function: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match="missing"):
        read(log.track("chat")(function)())

    assert log.stats.in_flight == 0
    (row,) = rows(log)
    assert (row["error_type"], row["sample_reason"]) == ("TypeError", "error")
    assert rows(log, "window")[0]["failed"] == 1


@BOTH
def test_a_stream_that_is_closed_early_has_no_caller_any_more(
    log: PredictionLogger, function: Callable[..., Any]
) -> None:
    assert read(log.track("chat")(function)(log), at_most=1) == ["one"]

    (row,) = rows(log)
    assert (row["error_type"], row["sample_reason"]) == ("client_disconnect", "rate")
    assert rows(log, "window")[0]["failed"] == 0


def test_a_request_around_a_closed_generator_has_no_caller_any_more(log: PredictionLogger) -> None:
    def stream() -> Iterator[int]:
        with log.request("chat"):
            yield 1
            yield 2

    steps = stream()
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert rows(log)[0]["error_type"] == "client_disconnect"


def test_what_a_reader_sends_throws_and_gets_in_the_end_passes_through(
    log: PredictionLogger,
) -> None:
    @log.track("talk")
    def talk() -> Generator[str, str, str]:
        said = yield "hello"
        try:
            yield said.upper()
        except KeyError:
            yield "caught"
        return "bye"

    steps = talk()
    assert [next(steps), steps.send("you"), steps.throw(KeyError("x"))] == [
        "hello", "YOU", "caught",
    ]  # fmt: skip
    with pytest.raises(StopIteration, match="bye"):
        next(steps)
    assert "error_type" not in rows(log)[0]


def test_between_two_values_the_request_of_the_reader_is_the_current_one(
    log: PredictionLogger,
) -> None:
    @log.track("inner")
    def inner() -> Iterator[str]:
        for _ in range(2):
            request = current_request()
            assert request is not None
            yield request.route

    with log.request("outer") as outer:
        for route in inner():
            assert route == "inner"
            assert current_request() is outer
    assert [row["route"] for row in rows(log)] == ["inner", "outer"]


def test_what_a_generator_logs_as_it_is_closed_early_belongs_to_its_request(
    log: PredictionLogger,
) -> None:
    @log.track("gen")
    def numbers() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            log.log_prediction(prediction="of gen")

    @log.track("agen")
    async def later() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            log.log_prediction(prediction="of agen")

    async def read_one() -> None:
        steps = later()
        await steps.__anext__()
        await steps.aclose()  # type: ignore[attr-defined]  # of a generator

    for _ in numbers():
        break
    asyncio.run(read_one())
    found = {row["route"]: row for row in rows(log)}

    assert log.stats.served == 2
    assert {name: row["prediction"] for name, row in found.items()} == {
        "gen": "of gen", "agen": "of agen",
    }  # fmt: skip
    assert {row["error_type"] for row in found.values()} == {"client_disconnect"}


@pytest.mark.parametrize("wrapper", [staticmethod, classmethod])
def test_what_is_no_function_is_refused_where_it_is_decorated(
    wrapper: Any, log: PredictionLogger
) -> None:
    with pytest.raises(ConfigError, match=f"put @log.track below @{wrapper.__name__}"):
        log.track("r")(wrapper(len))
