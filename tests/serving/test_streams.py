"""Answers that do not come to their end: whose failure it is, in rows, windows and objectives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.service.slo import check_slos
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO
from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving
from flytekitplugins.wbmon.serving import PredictionLogger, PredictionLoggingMiddleware
from flytekitplugins.wbmon.serving.adapters.wandb_sink import window_metrics
from support.prediction_log import read_rows

fastapi = pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")
from starlette.applications import Starlette  # noqa: E402 - after the skip
from starlette.middleware import Middleware  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402
from starlette.middleware.gzip import GZipMiddleware  # noqa: E402
from starlette.requests import ClientDisconnect, Request  # noqa: E402
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

Make = Callable[..., PredictionLogger]
START = {"type": "http.response.start", "status": 200, "headers": []}
CHUNK = {"type": "http.response.body", "body": b"a", "more_body": True}
GONE = {"type": "http.disconnect"}


async def call(app: Any, *, gone_after: int | None = None, cancel: bool = False) -> list[Any]:
    """One request by hand; the caller leaves after so many messages, or the server cancels it."""
    sent: list[Any] = []
    left = asyncio.Event()

    async def receive() -> Any:
        await left.wait()
        return dict(GONE)

    async def send(message: Any) -> None:
        sent.append(message)
        if gone_after is not None and len(sent) >= gone_after:
            left.set()
        await asyncio.sleep(0)

    if gone_after == 0:
        left.set()
    scope = {
        "type": "http", "method": "GET", "path": "/chat", "headers": [], "query_string": b"",
        "asgi": {"spec_version": "2.3"},
    }  # fmt: skip
    task = asyncio.ensure_future(app(scope, receive, send))
    if cancel:
        await asyncio.sleep(0.01)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return sent


async def raises(scope: Any, receive: Any, send: Any) -> None:
    await send(dict(START))
    await send(dict(CHUNK))
    raise ConnectionError("the model died")


async def stops(scope: Any, receive: Any, send: Any) -> None:
    await send(dict(START))
    await send(dict(CHUNK))


async def waits(scope: Any, receive: Any, send: Any) -> None:
    await send(dict(START))
    await send(dict(CHUNK))
    await asyncio.sleep(60)


async def silent(scope: Any, receive: Any, send: Any) -> None:
    pass


async def asks_who_is_there(scope: Any, receive: Any, send: Any) -> None:
    await send(dict(START))
    await send(dict(CHUNK))
    assert (await receive())["type"] == "http.disconnect"


async def reads_the_body(scope: Any, receive: Any, send: Any) -> None:
    """As Starlette does where the caller leaves during the upload."""
    assert (await receive())["type"] == "http.disconnect"
    await send(dict(START) | {"status": 500})
    await send({"type": "http.response.body", "body": b"Internal Server Error"})
    raise ClientDisconnect


FAILED = {
    "raises": (raises, {}, 200, "ConnectionError"),
    "stops": (stops, {}, 200, "incomplete_response"),
    "cancelled": (waits, {"cancel": True}, 200, "CancelledError"),
    "silent": (silent, {}, 500, "incomplete_response"),
}
LEFT: dict[str, tuple[Any, dict[str, Any], int]] = {
    "while it streams": (asks_who_is_there, {"gone_after": 2}, 200),
    "during the upload": (reads_the_body, {"gone_after": 0}, 499),
}


@pytest.mark.parametrize("how", FAILED)
def test_an_answer_without_an_end_is_a_failure_of_the_server(
    make_log: Make, tmp_path: Path, how: str
) -> None:
    app, event, status, error = FAILED[how]
    log = make_log()
    asyncio.run(call(PredictionLoggingMiddleware(app, log), **event))
    log.close()

    (row,) = read_rows(tmp_path / "log")
    assert (row["status_code"], row["error_type"], row["sample_reason"]) == (status, error, "error")
    (window,) = read_rows(tmp_path / "log", "window")
    assert (window["requests"], window["failed"]) == (1, 1)
    assert window["errors"] == {error: 1}
    assert sum(window["failed_latency"]["counts"]) == 1
    assert "abandoned" not in window
    assert log.stats.in_flight == 0


@pytest.mark.parametrize("how", LEFT)
def test_a_caller_who_leaves_is_no_failure_of_the_server(
    make_log: Make, tmp_path: Path, how: str
) -> None:
    app, event, status = LEFT[how]
    log = make_log()
    asyncio.run(call(PredictionLoggingMiddleware(app, log), **event))
    log.close()

    (row,) = read_rows(tmp_path / "log")
    assert (row["status_code"], row["error_type"]) == (status, "client_disconnect")
    assert row["sample_reason"] == "rate"
    (window,) = read_rows(tmp_path / "log", "window")
    assert window["failed"] == 0
    assert sum(window["abandoned"]["counts"]) == 1


def test_a_disconnect_after_the_answer_says_nothing(make_log: Make, tmp_path: Path) -> None:
    async def answers_then_asks(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("whole")(scope, receive, send)
        await receive()

    log = make_log()
    asyncio.run(call(PredictionLoggingMiddleware(answers_then_asks, log), gone_after=2))
    log.close()
    assert read_rows(tmp_path / "log")[0].get("error_type") is None


def chat(wrap: tuple[Middleware, ...] = ()) -> Starlette:
    """Streams of two words; with `?fail=1` the model dies after the first."""

    async def words(fail: bool) -> AsyncIterator[str]:
        yield "one "
        if fail:
            raise ConnectionError("the model died")
        yield "two"

    def blocking_words(fail: bool) -> Iterator[str]:
        yield "one "
        if fail:
            raise ConnectionError("the model died")
        yield "two"

    async def streams(request: Request) -> StreamingResponse:
        fail = "fail" in request.query_params
        blocking = "blocking" in request.query_params
        return StreamingResponse(blocking_words(fail) if blocking else words(fail))

    return Starlette(routes=[Route("/chat", streams)], middleware=wrap)


class Passes(BaseHTTPMiddleware):
    """A middleware that changes nothing, of the kind that runs the app in a task of its own."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        return await call_next(request)


@pytest.mark.parametrize("wrap", [(), (Middleware(Passes),)], ids=["bare", "in a middleware"])
def test_half_of_the_streams_break_and_the_night_says_so(
    make_log: Make, tmp_path: Path, wrap: tuple[Middleware, ...]
) -> None:
    log = make_log()
    app = PredictionLoggingMiddleware(chat(wrap), log)

    async def ask() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as web:
            for i in range(40):
                asked = {"fail": 1} if i % 2 else {}
                await web.get("/chat", params=asked | ({"blocking": 1} if i % 4 > 1 else {}))

    asyncio.run(ask())
    log.close()

    live = window_metrics(read_rows(tmp_path / "log", "window"), seconds=10)
    assert (live["serving/n_failed"], live["serving/error_rate"]) == (20, 0.5)
    assert live["serving/error_rate/route/chat"] == 0.5
    assert live["serving/errors/ConnectionError"] == 20
    service = read_rows(tmp_path / "log")[0]["service"]
    compact_prediction_log(str(tmp_path / "log"), service)
    windows = str(tmp_path / "log" / "serving_window")
    total = summarize_serving(windows).total
    assert (total.n_requests, total.n_failed, total.errors) == (40, 20, {"ConnectionError": 20})
    promised: list[dict[str, Any]] = [
        {},
        {"latency_ms": 1e4},
        {"time_to_first_chunk_ms": 1e4},
    ]
    for limit in promised:
        slo = ServingSLO(name="kept", objective=0.9, min_requests=40, **limit)
        (result,) = check_slos(windows, [slo]).results
        assert (result.verdict, result.n_bad, result.n_failed) == ("fail", 20, 20)
        assert result.burn_rate == pytest.approx(5)


@pytest.mark.parametrize("query", [b"fail=1", b"fail=1&blocking=1", b""])
def test_a_model_that_hangs_up_is_not_taken_for_a_caller_who_does(
    make_log: Make, tmp_path: Path, query: bytes
) -> None:
    """From version 2.4 on servers say by an `OSError` of `send` that the caller has left."""
    log = make_log()
    app = PredictionLoggingMiddleware(chat(), log)

    async def ask() -> None:
        async def send(message: Any) -> None:
            if not query and message.get("body") == b"two":
                raise BrokenPipeError("the caller has left")

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        scope = {
            "type": "http", "method": "GET", "path": "/chat", "headers": [], "query_string": query,
            "asgi": {"spec_version": "2.4"},
        }  # fmt: skip
        with pytest.raises(ClientDisconnect):
            await app(scope, receive, send)

    asyncio.run(ask())
    log.close()
    (row,) = read_rows(tmp_path / "log")
    failed = bool(query)
    assert row["error_type"] == ("ConnectionError" if failed else "client_disconnect")
    assert row.get("error_text") == ("the model died" if failed else None)
    assert row["status_code"] == 200
    assert read_rows(tmp_path / "log", "window")[0]["failed"] == failed


async def ask_paths(app: Any, paths: list[str]) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as web:
        for path in paths:
            await web.get(path)


PASSES, GZIP = Middleware(Passes), Middleware(GZipMiddleware, minimum_size=1)


@pytest.mark.parametrize(
    "wrap",
    [(), (PASSES,), (PASSES, PASSES), (GZIP,), (GZIP, PASSES)],
    ids=["bare", "passes", "twice", "gzip", "gzip of passes"],
)
def test_only_what_comes_in_parts_is_a_stream_whatever_wraps_the_app(
    make_log: Make, tmp_path: Path, wrap: tuple[Middleware, ...]
) -> None:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"ok": True})

    async def once(_: Request) -> StreamingResponse:
        return StreamingResponse(iter(["all of it"]))

    async def event(_: Request) -> StreamingResponse:
        return StreamingResponse(iter(["data: 1\n\n"]), media_type="text/event-stream")

    async def parts(_: Request) -> StreamingResponse:
        return StreamingResponse(iter(["one ", "two ", "three"]))

    paths = {"/health": health, "/once": once, "/event": event, "/parts": parts}
    api = Starlette(routes=[Route(path, to) for path, to in paths.items()], middleware=list(wrap))
    log = make_log()
    asyncio.run(ask_paths(PredictionLoggingMiddleware(api, log), [*paths, "/nope"]))
    log.close()

    streamed = {
        row["route"]: row.get("time_to_first_chunk_ms") is not None
        for row in read_rows(tmp_path / "log")
    }
    assert streamed == {
        "/health": False, "/once": False, "/event": True, "/parts": True, "(unmatched)": False,
    }  # fmt: skip


def test_quick_health_checks_do_not_hide_slow_streams_behind_a_middleware_of_fastapi(
    make_log: Make, tmp_path: Path
) -> None:
    api = fastapi.FastAPI()

    @api.get("/health")
    async def health() -> dict[str, str]:
        return {}

    @api.get("/chat")
    async def slow() -> StreamingResponse:
        async def words() -> AsyncIterator[str]:
            await asyncio.sleep(0.02)
            yield "one "
            yield "two"

        return StreamingResponse(words())

    @api.middleware("http")
    async def passes(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    log = make_log()
    paths = ["/health"] * 95 + ["/nope"] * 5 + ["/chat"] * 5
    asyncio.run(ask_paths(PredictionLoggingMiddleware(api, log), paths))
    log.close()

    compact_prediction_log(str(tmp_path / "log"), read_rows(tmp_path / "log")[0]["service"])
    slo = ServingSLO(name="chunk", objective=0.9, time_to_first_chunk_ms=10, min_requests=5)
    (result,) = check_slos(str(tmp_path / "log" / "serving_window"), [slo]).results
    assert (result.verdict, result.n_requests, result.n_bad) == ("fail", 5, 5)


@pytest.mark.parametrize("wrap", [(), (PASSES,)], ids=["bare", "in a middleware"])
def test_a_stream_that_its_caller_leaves_is_a_disconnect_also_if_a_middleware_ends_it(
    make_log: Make, tmp_path: Path, wrap: tuple[Middleware, ...]
) -> None:
    async def endless(_: Request) -> StreamingResponse:
        async def words() -> AsyncIterator[str]:
            while True:
                yield "more "
                await asyncio.sleep(0.001)

        return StreamingResponse(words())

    log = make_log()
    api = Starlette(routes=[Route("/chat", endless)], middleware=list(wrap))
    asyncio.run(call(PredictionLoggingMiddleware(api, log), gone_after=2))
    log.close()

    (row,) = read_rows(tmp_path / "log")
    assert (row["status_code"], row["error_type"]) == (200, "client_disconnect")
    assert row["time_to_first_chunk_ms"] > 0
    (window,) = read_rows(tmp_path / "log", "window")
    assert (window["failed"], sum(window["abandoned"]["counts"])) == (0, 1)
    assert "unanswered" not in window
    assert log.stats.in_flight == 0


@pytest.mark.parametrize(("status", "error"), [(200, "client_disconnect"), (503, "http_503")])
def test_an_answer_to_nobody_is_a_disconnect_unless_it_says_that_the_server_failed(
    make_log: Make, tmp_path: Path, status: int, error: str
) -> None:
    async def answers_too_late(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        await PlainTextResponse("late", status_code=status)(scope, receive, send)

    log = make_log()
    asyncio.run(call(PredictionLoggingMiddleware(answers_too_late, log), gone_after=0))
    log.close()
    (row,) = read_rows(tmp_path / "log")
    assert (row["status_code"], row["error_type"]) == (status, error)
    assert read_rows(tmp_path / "log", "window")[0]["failed"] == (status >= 500)
