"""A request is counted once, however often it meets a middleware, and has its caller's id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.serving import PredictionLogger, PredictionLoggingMiddleware
from support.prediction_log import read_rows, total

pytest.importorskip("httpx")
pytest.importorskip("starlette")
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route
from starlette.testclient import TestClient

Make = Callable[..., PredictionLogger]
Wrap = Callable[[Any, PredictionLogger], Any]
FILES = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}


def app(log: PredictionLogger, *middleware: Middleware) -> Starlette:
    async def predict(request: Any) -> PlainTextResponse:
        return PlainTextResponse(log.log_prediction(prediction="one"))

    async def fail(request: Any) -> None:
        raise KeyError("boom")

    async def stream(request: Any) -> StreamingResponse:
        async def parts() -> Any:
            yield "first"
            yield log.log_prediction(prediction="late")

        return StreamingResponse(parts())

    routes = [Route("/p/{i}", predict), Route("/fail", fail), Route("/stream", stream)]
    return Starlette(routes=routes, middleware=middleware)


class Passes(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


def copying(inner: Any) -> Any:
    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope}, receive, send)

    return gateway


TWICE: dict[str, Wrap] = {
    "around itself": PredictionLoggingMiddleware,
    "mounted": lambda app, log: Starlette(routes=[Mount("/", app=app)]),
    "of a host": lambda app, log: Starlette(routes=[Host("testserver", app=app)]),
    "in a task": lambda app, log: Starlette(
        routes=[Mount("/", app=app)], middleware=[Middleware(Passes)]
    ),
    "of a gateway": lambda app, log: copying(app),
}


@pytest.mark.parametrize("between", TWICE.values(), ids=TWICE)
def test_two_middlewares_of_one_log_count_a_request_once(
    between: Wrap, make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    inner = PredictionLoggingMiddleware(app(log), log)
    web = TestClient(PredictionLoggingMiddleware(between(inner, log), log))
    ids = [web.get("/p/1").text, web.get("/p/2").text]
    with suppress(KeyError):
        web.get("/fail")
    stats = log.close()
    rows = read_rows(tmp_path / "log")

    assert stats.served == total(tmp_path / "log", "requests") == 3
    assert [row["request_id"] for row in rows[:2]] == ids
    assert [row.get("prediction") for row in rows] == ["one", "one", None]
    assert rows[2]["error_type"] == "KeyError"


def test_each_log_counts_its_own_requests(make_log: Make, tmp_path: Path) -> None:
    outer, inner = make_log(), make_log()
    wrapped = PredictionLoggingMiddleware(app(inner), inner)

    async def gateway(scope: Any, receive: Any, send: Any) -> None:
        await wrapped(scope, receive, send)
        outer.log_prediction(prediction="of the gateway")

    web = TestClient(PredictionLoggingMiddleware(gateway, outer))
    assert len({web.get("/p/1").text, web.get("/p/1").headers["x-request-id"]}) == 2
    assert [log.close().served for log in (outer, inner)] == [2, 2]
    predictions = sorted(row["prediction"] for row in read_rows(tmp_path / "log"))
    assert predictions == ["of the gateway", "of the gateway", "one", "one"]


def test_a_request_that_a_handler_makes_of_another_app_is_another_request(
    make_log: Make, tmp_path: Path
) -> None:
    httpx = pytest.importorskip("httpx")
    log = make_log()
    inner = PredictionLoggingMiddleware(app(log), log)

    async def ask(request: Any) -> PlainTextResponse:
        transport = httpx.ASGITransport(app=inner)
        async with httpx.AsyncClient(transport=transport, base_url="http://inner") as client:
            return PlainTextResponse((await client.get("/p/1")).text)

    outer = PredictionLoggingMiddleware(Starlette(routes=[Route("/ask", ask)]), log)
    asked = TestClient(outer).get("/ask")

    assert log.close().served == 2
    assert asked.text != asked.headers["x-request-id"]
    assert sorted(row["route"] for row in read_rows(tmp_path / "log")) == ["/ask", "/p/{i}"]


def naming(request_id: str) -> Middleware:
    class Correlates(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            answer = await call_next(request)
            answer.headers["x-request-id"] = request_id
            return answer

    return Middleware(Correlates)


@pytest.mark.parametrize(
    ("sent", "named", "expected"),
    [
        ("", "corr-7", "corr-7"),  # the caller has nothing but the answer
        ("a b<script>", "corr-7", "corr-7"),
        ("mine", "corr-7", "mine"),  # the caller knows its own
    ],
)
def test_a_row_has_the_id_that_the_caller_gets_of_the_app(
    sent: str, named: str, expected: str, make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    web = TestClient(PredictionLoggingMiddleware(app(log, naming(named)), log))
    headers = {"x-request-id": sent} if sent else {}
    answer = web.get("/p/1", headers=headers)
    streamed = web.get("/stream", headers=headers)
    log.log_feedback(answer.headers["x-request-id"], "thumbs", score=1.0)
    log.close()
    rows = read_rows(tmp_path / "log")

    assert answer.headers.get_list("x-request-id") == [named]
    assert [row["request_id"] for row in rows] == [expected, expected]
    assert streamed.text == f"first{expected}"


@pytest.mark.parametrize("named", ["", "a b", "x" * 200])
def test_an_id_of_the_app_that_cannot_be_stored_is_not_taken(
    named: str, make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    web = TestClient(PredictionLoggingMiddleware(app(log, naming(named)), log))
    answer = web.get("/p/1")
    log.close()

    assert answer.headers.get_list("x-request-id") == [named]
    assert read_rows(tmp_path / "log")[0]["request_id"] == answer.text


def test_further_predictions_stay_with_a_request_that_takes_the_id_of_its_app(
    make_log: Make, tmp_path: Path
) -> None:
    log = make_log()

    async def batch(request: Any) -> PlainTextResponse:
        ids = [log.log_prediction(prediction=i) for i in range(2)]
        return PlainTextResponse(
            " ".join([*ids, log.log_prediction(request_id="own", prediction=2)])
        )

    def get(named: str) -> list[str]:
        inner = Starlette(routes=[Route("/b", batch)], middleware=[naming(named)])
        return TestClient(PredictionLoggingMiddleware(inner, log)).get("/b").text.split()

    taken, kept = get("corr-7"), get("own")
    log.close()
    found = [
        (row["request_id"], row.get("parent_request_id")) for row in read_rows(tmp_path / "log")
    ]

    assert found[:3] == [("corr-7", None), (taken[1], "corr-7"), ("own", "corr-7")]
    # two rows of one id would share their feedback
    assert found[3:] == [(kept[0], None), (kept[1], kept[0]), ("own", kept[0])]


async def file(scope: Any, receive: Any, send: Any) -> None:
    await FileResponse(__file__)(scope, receive, send)


async def zero_copy(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.zerocopysend", "file": 1, "more_body": True})
    await asyncio.sleep(0.01)
    await send({"type": "http.response.zerocopysend", "file": 1})


async def half_a_file(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.zerocopysend", "file": 1, "more_body": True})


@pytest.mark.parametrize("capture", ["metadata", "bodies"])
@pytest.mark.parametrize(
    ("sends", "n_failed"), [(file, 0), (zero_copy, 0), (half_a_file, 1)]
)  # fmt: skip
def test_a_file_that_the_server_sends_for_the_app_is_an_answer(
    sends: Any, n_failed: int, capture: Any, make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {
        "type": "http", "method": "GET", "path": "/file", "headers": [], "extensions": FILES,
    }  # fmt: skip
    asyncio.run(PredictionLoggingMiddleware(sends, log, capture=capture)(scope, receive, send))
    log.close()
    (row,) = read_rows(tmp_path / "log")

    assert set(sent[1:]) < set(FILES)
    assert total(tmp_path / "log", "failed") == n_failed
    assert row.get("error_type") == ("incomplete_response" if n_failed else None)
    assert row["latency_ms"] >= (10 if sends is zero_copy else 0)
