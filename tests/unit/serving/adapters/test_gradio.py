from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flytekitplugins.wbmon.serving import (
    Experiment,
    PredictionLogger,
    SamplingPolicy,
    gradio_feedback,
    monitor_gradio,
)
from flytekitplugins.wbmon.serving.adapters.summarise import answer_columns, outline
from support.prediction_log import read_rows

gr = pytest.importorskip("gradio")
PAGE = SimpleNamespace(session_hash="s1", username=None)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLogger]:
    made = PredictionLogger("ui", str(tmp_path), sampling=SamplingPolicy(rate=1.0), user_key="k")
    yield made
    made.close()


def rows(log: PredictionLogger, kind: str = "prediction") -> list[dict[str, Any]]:
    log.close()
    return read_rows(Path(log.destination), kind)


def add(a: int, b: int = 1) -> int:
    return a + b


async def add_later(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


def count(n: int) -> Iterator[int]:
    yield from range(n)


async def count_later(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


@pytest.mark.parametrize("fn", [add, add_later, count, count_later])
def test_gradio_sees_the_same_kind_of_function_with_its_inputs(
    log: PredictionLogger, fn: Callable[..., Any]
) -> None:
    wrapped = monitor_gradio(fn, log)
    kinds = (
        inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction,
    )  # fmt: skip

    assert [kind(wrapped) for kind in kinds] == [kind(fn) for kind in kinds]
    assert list(inspect.signature(wrapped).parameters)[1:] == list(inspect.signature(fn).parameters)
    assert wrapped.__name__ == fn.__name__


def test_each_kind_gives_its_values_and_the_id_of_its_one_row(log: PredictionLogger) -> None:
    async def collect(stream: AsyncIterator[Any]) -> list[Any]:
        return [each async for each in stream]

    given = [
        [monitor_gradio(add, log)(PAGE, 1, 2)],
        [asyncio.run(monitor_gradio(add_later, log)(PAGE, 1, 2))],
        list(monitor_gradio(count, log)(PAGE, 3)),
        asyncio.run(collect(monitor_gradio(count_later, log)(PAGE, 3))),
    ]

    values = [[value for value, _ in each] for each in given]
    assert values == [[3], [3], [0, 1, 2], [0, 1, 2]]
    ids = [{name for _, name in each} for each in given]
    found = rows(log)
    assert [{row["request_id"]} for row in found] == ids
    assert [row["prediction"] for row in found] == [3, 3, 2, 2]
    assert {row["session_id"] for row in found} == {"s1"}
    assert "time_to_first_chunk_ms" in found[2]


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator", "async generator"])
def test_an_exception_reaches_gradio_and_is_a_row(log: PredictionLogger, kind: str) -> None:
    def fails(text: str) -> str:
        raise ValueError(f"cannot read {text}")

    async def fails_later(text: str) -> str:
        raise ValueError(f"cannot read {text}")

    def fails_streaming(text: str) -> Iterator[str]:
        yield "well"
        raise ValueError(f"cannot read {text}")

    async def fails_streaming_later(text: str) -> AsyncIterator[str]:
        yield "well"
        raise ValueError(f"cannot read {text}")

    async def read_all(stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            pass

    calls: dict[str, Callable[[], Any]] = {
        "function": lambda: monitor_gradio(fails, log)(PAGE, "me@x.com"),
        "coroutine": lambda: asyncio.run(monitor_gradio(fails_later, log)(PAGE, "me@x.com")),
        "generator": lambda: list(monitor_gradio(fails_streaming, log)(PAGE, "me@x.com")),
        "async generator": lambda: asyncio.run(
            read_all(monitor_gradio(fails_streaming_later, log)(PAGE, "me@x.com"))
        ),
    }
    with pytest.raises(ValueError, match="cannot read"):
        calls[kind]()

    (row,) = rows(log)
    assert row["error_type"] == "ValueError"
    assert row["error_text"] == "cannot read [EMAIL]"
    assert "[EMAIL]" in row["input_text"]
    (window,) = read_rows(Path(log.destination), "window")
    assert window["failed"] == 1
    assert ("failed_time_to_first_chunk" in window) == ("generator" in kind)


@pytest.mark.parametrize("fn", [add, add_later, count, count_later])
def test_a_call_with_wrong_arguments_is_a_failed_request(
    log: PredictionLogger, fn: Callable[..., Any]
) -> None:
    async def run() -> None:
        given = monitor_gradio(fn, log)(PAGE)
        if inspect.isasyncgen(given):
            await anext(given)
        elif inspect.isgenerator(given):
            next(given)
        elif inspect.isawaitable(given):
            await given

    with pytest.raises(TypeError, match="missing"):
        asyncio.run(run())
    assert log.stats.in_flight == 0
    (row,) = rows(log)
    assert row["error_type"] == "TypeError"
    assert read_rows(Path(log.destination), "window")[0]["failed"] == 1


def test_a_user_who_stops_a_stream_is_no_error(log: PredictionLogger) -> None:
    stream = monitor_gradio(count, log)(PAGE, 100)
    next(stream)
    stream.close()

    (row,) = rows(log)
    assert row["error_type"] == "client_disconnect"
    assert row["sample_reason"] == "rate"
    assert read_rows(Path(log.destination), "window")[0]["failed"] == 0


def test_a_user_who_cancels_an_event_is_no_error(log: PredictionLogger) -> None:
    async def slow(n: int) -> int:
        await asyncio.sleep(60)
        return n

    async def cancel() -> None:
        task = asyncio.ensure_future(monitor_gradio(slow, log)(PAGE, 1))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    async def leave() -> None:
        stream = monitor_gradio(count_later, log)(PAGE, 100)
        await anext(stream)
        await stream.aclose()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    asyncio.run(leave())

    assert [row["error_type"] for row in rows(log)] == ["client_disconnect"] * 2
    assert {row["failed"] for row in read_rows(Path(log.destination), "window")} == {0}


def test_what_the_function_says_of_itself_wins(log: PredictionLogger) -> None:
    def predict(text: str) -> str:
        log.log_prediction(prediction="own", score=0.5, features={"n": len(text)})
        return "shown"

    monitor_gradio(predict, log, tenant="acme")(PAGE, "abc")

    (row,) = rows(log)
    assert (row["prediction"], row["features"], row["tenant"]) == ("own", {"n": 3}, "acme")


def test_the_variant_that_the_session_sees_is_beside_its_predictions(
    log: PredictionLogger,
) -> None:
    layout = Experiment(name="layout", variants={"a": 0.5, "b": 0.5})
    predict = monitor_gradio(add, log, experiment=layout, unit=lambda page: "visitor-7")
    predict(PAGE, 1)

    assert rows(log)[0]["variant"] == layout.variant("visitor-7")


def test_feedback_joins_its_prediction_and_the_last_word_counts(
    log: PredictionLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(gr, "Warning", told.append)
    monkeypatch.setattr(gr, "Info", lambda _: None)
    _, name = monitor_gradio(add, log)(PAGE, 1)
    stars = gradio_feedback(log, "stars")
    gradio_feedback(log, score=0.0)(PAGE, name)
    gradio_feedback(log, score=1.0)(PAGE, name)
    stars(PAGE, name, 4, "ring me: +44 20 7946 0958")
    stars(PAGE, name, float("nan"))
    stars(PAGE, None, 4)
    gradio_feedback(log, "reason")(PAGE, name, "too slow")

    said = rows(log, "feedback")
    assert [(row["name"], row.get("score"), row.get("label")) for row in said] == [
        ("thumbs", 0.0, None),
        ("thumbs", 1.0, None),
        ("stars", 4.0, None),
        ("reason", None, "too slow"),
    ]
    assert said[0]["feedback_id"] == said[1]["feedback_id"]
    assert {row["request_id"] for row in said} == {name}
    assert said[2]["comment"] == "ring me: [PHONE]"
    assert len(told) == 2


def test_what_is_large_is_written_as_what_it_is() -> None:
    assert outline(np.zeros((28, 28))) == "[ndarray 28x28]"
    assert outline([1, {"a": b"xy"}, object()]) == [1, {"a": "[bytes 2]"}, "[object]"]
    assert len(outline(list(range(1000)))) == 50
    assert answer_columns({"cat": 0.9, "dog": 0.1}) == {"prediction": "cat", "score": 0.9}
    assert answer_columns("x" * 1000) == {"output_text": "x" * 1000}
    assert answer_columns(True) == {"prediction": True}
