"""What is tracked and goes on after the call: the request lasts until its end."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import time
import warnings
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


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """As a decorator that is no coroutine function itself."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return called


def as_object(function: Callable[..., Any]) -> Any:
    class Model:
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    return Model()


def as_object_of_its_kind(function: Callable[..., Any]) -> Any:
    if inspect.iscoroutinefunction(function):

        class Coroutines:
            async def __call__(self, *args: Any, **kwargs: Any) -> Any:
                return await function(*args, **kwargs)

        return Coroutines()
    return functools.partial(function)


def in_a_task(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        given = function(*args, **kwargs)
        return asyncio.ensure_future(given) if inspect.iscoroutine(given) else given

    return called


async def answer(log: PredictionLogger, *, fail: bool = False) -> str:
    await asyncio.sleep(0.02)
    log.log_prediction(prediction="two")
    if fail:
        raise ConnectionError("the model died")
    return "answer"


def result_of(tracked: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function gives in the end, as a list if it is a stream."""

    async def result() -> Any:
        given = tracked(*args, **kwargs)
        if inspect.isasyncgen(given):
            return [each async for each in given]
        return list(given) if inspect.isgenerator(given) else await given

    return asyncio.run(result())


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("function", [answer, words, later_words])
@pytest.mark.parametrize("wrap", [plainly, as_object, as_object_of_its_kind, in_a_task])
def test_what_a_function_of_any_kind_begins_is_followed_to_its_end(
    wrap: Callable[..., Any], function: Callable[..., Any], log: PredictionLogger, *, fail: bool
) -> None:
    tracked = log.track("r")(wrap(function))
    if fail:
        with pytest.raises(ConnectionError, match="the model died"):
            result_of(tracked, log, fail=True)
    else:
        assert result_of(tracked, log) in ("answer", ["one", "two"])

    (row,) = rows(log)
    assert (row["route"], row["prediction"]) == ("r", "two")
    assert row.get("error_type") == ("ConnectionError" if fail else None)
    assert row["latency_ms"] >= 9
    assert (log.stats.served, log.stats.in_flight) == (1, 0)


def test_an_object_of_coroutines_stays_a_coroutine_function(log: PredictionLogger) -> None:
    tracked = log.track("r")(as_object_of_its_kind(answer))

    assert inspect.iscoroutinefunction(tracked)


@pytest.mark.parametrize("function", [answer, words, later_words])
def test_what_nobody_awaits_or_reads_has_no_caller(
    function: Callable[..., Any], log: PredictionLogger
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it was never awaited
        log.track("r")(plainly(function))(log)
        gc.collect()

    assert (log.stats.served, log.stats.in_flight) == (1, 0)
    (row,) = rows(log)
    assert row["error_type"] == "client_disconnect"
    assert rows(log, "window")[0]["failed"] == 0


def test_a_task_that_is_cancelled_is_a_failure(log: PredictionLogger) -> None:
    async def cancel() -> None:
        task = log.track("r")(in_a_task(answer))(log)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancel())
    assert rows(log)[0]["error_type"] == "CancelledError"


def test_what_is_followed_is_the_current_request_only_while_it_runs(log: PredictionLogger) -> None:
    async def serve() -> None:
        with log.request("outer") as outer:
            begun = log.track("inner")(plainly(answer))(log)
            assert current_request() is outer
            await begun
            assert current_request() is outer
            log.log_prediction(prediction="of outer")

    asyncio.run(serve())
    assert {row["route"]: row["prediction"] for row in rows(log)} == {
        "inner": "two", "outer": "of outer",
    }  # fmt: skip
