"""The middleware around real apps of each framework, called in this process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.serving import (
    PredictionLogger,
    PredictionLoggingMiddleware,
    SamplingPolicy,
    with_context,
)
from support import experiment_units
from support.experiment_units import Visit
from support.prediction_log import read_rows, total

fastapi = pytest.importorskip("fastapi")
from starlette.applications import Starlette  # noqa: E402 - after the skip
from starlette.background import BackgroundTask  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse  # noqa: E402
from starlette.routing import Mount, Route, WebSocketRoute  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402
from starlette.websockets import WebSocket  # noqa: E402

Make = Callable[..., PredictionLogger]


def fastapi_app(log: PredictionLogger) -> Any:
    app = fastapi.FastAPI()

    @app.get("/items/{item}")
    async def get_item(item: int) -> dict[str, int]:
        if item == 0:
            raise ValueError("no item for me@x.com")
        if item == 1:
            raise fastapi.HTTPException(403)
        log.log_prediction(features={"item": item}, prediction=str(item))
        return {"item": item}

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @app.get("/threaded")
    def threaded() -> str:
        with log.stage("model"):
            return log.log_prediction(prediction="sync")

    return app


def starlette_app(log: PredictionLogger) -> Starlette:
    async def stream(_: Request) -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for i in range(3):
                await asyncio.sleep(0.02)
                yield f"chunk {i}\n".encode()

        return StreamingResponse(chunks(), media_type="text/plain")

    async def background(_: Request) -> PlainTextResponse:
        async def later() -> None:
            began = time.perf_counter()
            await asyncio.sleep(0.1)
            log.log_prediction(features={"late_ms": 1_000 * (time.perf_counter() - began)})

        return PlainTextResponse("now", background=BackgroundTask(later))

    async def image(_: Request) -> PlainTextResponse:
        return PlainTextResponse(b"\x89PNG" * 10, media_type="image/png")

    async def hello(_: Request) -> JSONResponse:
        return JSONResponse({"hello": 1})

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hi")
        await socket.close()

    inner = Starlette(routes=[Route("/items/{item}", hello)])

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("raw")(scope, receive, send)

    return Starlette(
        routes=[
            Route("/stream", stream),
            Route("/background", background),
            Route("/image", image),
            Mount("/v1/{tenant}", app=inner),
            Mount("/raw", app=raw),
            WebSocketRoute("/talk", talk),
        ]
    )


def client(app: Any, log: PredictionLogger, **settings: Any) -> AbstractContextManager[Any]:
    wrapped = PredictionLoggingMiddleware(app, log, **settings)
    return TestClient(wrapped, raise_server_exceptions=False)


def test_every_outcome_is_one_row_with_its_route_template(make_log: Make, tmp_path: Path) -> None:
    log = make_log()
    with client(fastapi_app(log), log) as web:
        for path in ("/items/5", "/items/0", "/items/1", "/items/abc", "/nope", "/threaded"):
            web.get(path)

    rows = read_rows(tmp_path / "log")
    assert [(row["route"], row["status_code"], row.get("error_type")) for row in rows] == [
        ("/items/{item}", 200, None),
        ("/items/{item}", 500, "ValueError"),
        ("/items/{item}", 403, "http_403"),
        ("/items/{item}", 422, "http_422"),
        ("(unmatched)", 404, "http_404"),
        ("/threaded", 200, None),
    ]
    assert rows[0]["prediction"] == "5"
    assert rows[0]["features"] == {"item": 5}
    assert rows[1]["error_text"] == "no item for [EMAIL]"
    assert rows[5]["prediction"] == "sync"
    assert rows[5]["stage_ms"].keys() == {"model", "other"}
    assert total(tmp_path / "log", "requests") == 6


def test_an_id_is_taken_if_acceptable_made_if_not_and_sent_back(
    make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    with client(fastapi_app(log), log) as web:
        given = web.get("/items/5", headers={"x-request-id": "abc-123"})
        made = web.get("/items/5")
        hostile = web.get("/items/5", headers={"x-request-id": "a b<script>"})

    ids = [answer.headers["x-request-id"] for answer in (given, made, hostile)]
    assert ids[0] == "abc-123"
    assert "<" not in ids[2]
    assert [row["request_id"] for row in read_rows(tmp_path / "log")] == ids


def test_tenant_user_and_session_come_from_headers_or_functions(
    make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    app = starlette_app(log)
    settings = {
        "tenant": lambda scope: scope["path_params"].get("tenant"),
        "user": "x-user",
        "session": "x-session",
    }
    with client(app, log, **settings) as web:
        web.get("/v1/acme/items/7", headers={"x-user": "bob", "x-session": "s1"})
        web.get("/v1/acme/items/8", headers={"x-user": "bob"})

    first, second = read_rows(tmp_path / "log")
    assert (first["route"], first["tenant"]) == ("/v1/{tenant}/items/{item}", "acme")
    assert first["session_id"] == "s1"
    assert first["user_hash"] == second["user_hash"] != "bob"


def test_an_extractor_that_fails_reaches_no_caller(make_log: Make) -> None:
    def broken(scope: Any) -> str:
        raise KeyError("tenant")

    log = make_log()
    with client(fastapi_app(log), log, tenant=broken) as web:
        assert web.get("/items/5").status_code == 200
    assert log.stats.failed == 1
    assert log.stats.logged == 1


def test_users_need_a_key(make_log: Make) -> None:
    log = make_log(user_key=None)
    with pytest.raises(ConfigError, match="user_key"):
        PredictionLoggingMiddleware(fastapi_app(log), log, user="x-user")


def test_bodies_are_kept_redacted_and_bounded(make_log: Make, tmp_path: Path) -> None:
    log = make_log()
    with client(fastapi_app(log), log, capture="bodies", max_body=200) as web:
        web.post("/echo", json={"mail": "me@x.com", "nested": [{"card": "4111 1111 1111 1111"}]})
        web.post("/echo", json={"text": "word " * 1000})

    short, long = read_rows(tmp_path / "log")
    for text in (short["input_text"], short["output_text"]):
        assert "[EMAIL]" in text
        assert "[CARD]" in text
        assert "me@x" not in text
    assert short["redactions"] == 4
    assert len(long["input_text"]) < 200
    assert long["truncated"] is True


def test_a_body_that_is_no_text_is_named_only(make_log: Make, tmp_path: Path) -> None:
    log = make_log()
    with client(starlette_app(log), log, capture="bodies") as web:
        web.get("/image")

    assert read_rows(tmp_path / "log")[0]["output_text"] == "[image/png, 40 bytes]"


def test_a_stream_has_a_time_to_its_first_chunk(make_log: Make, tmp_path: Path) -> None:
    log = make_log()
    with client(starlette_app(log), log, capture="bodies") as web:
        answer = web.get("/stream")

    assert answer.text == "chunk 0\nchunk 1\nchunk 2\n"
    (row,) = read_rows(tmp_path / "log")
    assert 0 < row["time_to_first_chunk_ms"] < row["latency_ms"]
    assert row["output_text"] == answer.text
    assert read_rows(tmp_path / "log", "window")[0]["time_to_first_chunk"]["counts"] == [1]


def test_a_background_task_is_not_part_of_the_latency_and_may_add_to_the_row(
    make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    with client(starlette_app(log), log) as web:
        began = time.perf_counter()
        web.get("/background")  # the test client waits for the background task too
        all_ms = 1_000 * (time.perf_counter() - began)

    (row,) = read_rows(tmp_path / "log")
    assert row["latency_ms"] <= all_ms - row["features"]["late_ms"]


def test_a_mounted_app_that_does_not_route_has_the_route_of_its_mount(
    make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    with client(starlette_app(log), log) as web:
        assert web.get("/raw/any/thing").text == "raw"

    assert read_rows(tmp_path / "log")[0]["route"] == "/raw"


def test_websockets_and_excluded_paths_pass_through(make_log: Make, tmp_path: Path) -> None:
    log = make_log()
    with client(starlette_app(log), log, exclude=("/image",)) as web:
        with web.websocket_connect("/talk") as socket:
            assert socket.receive_text() == "hi"
        assert web.get("/image").status_code == 200

    assert read_rows(tmp_path / "log") == []


def test_it_works_added_to_the_app_as_well(make_log: Make, tmp_path: Path) -> None:
    log = make_log()
    app = fastapi_app(log)
    app.add_middleware(PredictionLoggingMiddleware, logger=log)
    with TestClient(app, raise_server_exceptions=False) as web:
        web.get("/items/0")
        web.get("/items/3")

    assert [row["status_code"] for row in read_rows(tmp_path / "log")] == [500, 200]


def test_litestar_is_logged_alike(make_log: Make, tmp_path: Path) -> None:
    litestar = pytest.importorskip("litestar")
    log = make_log()

    @litestar.get("/items/{item:int}")  # type: ignore[misc]
    async def get_item(request: Any) -> dict[str, int]:
        item = request.path_params["item"]
        if item == 0:
            raise ValueError("none")
        return {"item": item}

    app = litestar.Litestar([get_item])
    with client(app, log, capture="bodies") as web:
        assert web.get("/items/5").json() == {"item": 5}
        assert web.get("/items/0").status_code == 500
        assert web.get("/nope").status_code == 404

    rows = read_rows(tmp_path / "log")
    assert [(row["route"], row["status_code"]) for row in rows] == [
        ("/items/{item}", 200),
        ("/items/{item}", 500),
        ("(unmatched)", 404),
    ]
    assert json.loads(rows[0]["output_text"]) == {"item": 5}


async def call(app: Any, messages: list[dict[str, Any]], sent: list[Any]) -> None:
    """One request by hand, with the messages that a server would give."""

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
    await app(scope, receive, send)


def test_a_caller_who_goes_away_is_not_an_error_of_the_server(
    make_log: Make, tmp_path: Path
) -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise asyncio.CancelledError

    log = make_log()
    app = PredictionLoggingMiddleware(waits, log)
    messages = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(call(app, messages, []))
    log.close()

    (row,) = read_rows(tmp_path / "log")
    assert (row["status_code"], row["error_type"]) == (499, "client_disconnect")
    assert row["sample_reason"] == "rate"
    assert log.stats.in_flight == 0


def test_an_error_in_the_middle_of_a_response_is_kept_with_its_status(
    make_log: Make, tmp_path: Path
) -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half-way")

    log = make_log()
    with pytest.raises(RuntimeError, match="half-way"):
        asyncio.run(call(PredictionLoggingMiddleware(breaks, log), [], []))
    log.close()

    (row,) = read_rows(tmp_path / "log")
    assert (row["status_code"], row["error_type"]) == (200, "RuntimeError")
    assert row["sample_reason"] == "error"


def test_an_app_without_lifespan_is_served_as_it_was(make_log: Make) -> None:
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    log = make_log()
    app = PredictionLoggingMiddleware(refuses, log)
    with pytest.raises(AssertionError):
        asyncio.run(app({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    sent: list[Any] = []
    asyncio.run(call(app, [], sent))

    assert sent[0]["status"] == 204
    assert dict(sent[0]["headers"])[b"x-request-id"]


def test_ratings_of_an_experiment_belong_to_the_user_or_else_to_the_session(
    make_log: Make,
) -> None:
    log = make_log(user_key=experiment_units.KEY)
    app = fastapi.FastAPI()

    def who(request: Request) -> str:
        return request.headers.get("x-user") or request.headers["x-session"]

    @app.post("/answer")
    async def answer(request: Request) -> str:
        return log.assign(experiment_units.LAYOUT, who(request))

    @app.post("/rate")
    async def rated(request: Request, about: str, score: float) -> None:
        session = request.headers["x-session"]
        log.log_feedback(about, "thumbs", score=score, session_id=session, unit=who(request))

    watched = PredictionLoggingMiddleware(app, log, user="x-user", session="x-session")

    async def use(visit: Visit, score: float) -> None:
        headers = {"x-session": visit.session} | ({"x-user": visit.user} if visit.user else {})
        transport = httpx.ASGITransport(watched)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            given = await client.post("/answer", headers=headers)
            about = given.headers["x-request-id"]
            await client.post("/rate", params={"about": about, "score": score}, headers=headers)

    loop = asyncio.new_event_loop()
    experiment_units.rate_and_recount(
        log, lambda visit, score: loop.run_until_complete(use(visit, score))
    )
    loop.close()


@pytest.mark.parametrize("headers", [{}, {"x-tenant": "victim", "x-user": "eve", "x-session": "0"}])
def test_what_the_handler_knows_is_believed_more_than_a_header(
    make_log: Make, tmp_path: Path, headers: dict[str, str]
) -> None:
    log = make_log(sampling=SamplingPolicy(rate=0.0, tenants={"acme": SamplingPolicy(rate=1.0)}))
    app = fastapi.FastAPI()

    @app.get("/mine")
    def mine() -> str:
        log.log_prediction(prediction=1, tenant="acme", user="ann", session_id="7")
        return "done"

    @app.get("/anybody")
    def anybody() -> str:
        return "done"

    served = PredictionLoggingMiddleware(
        app, log, tenant="x-tenant", user="x-user", session="x-session"
    )
    with TestClient(served) as client:
        for path in ("/mine", "/mine", "/anybody"):
            client.get(path, headers=headers)
    counted = {
        (row["route"], row.get("tenant")): row["requests"]
        for row in read_rows(tmp_path / "log", "window")
    }

    # the policy of the tenant that was verified decides about the rows, and it has the counts
    rows = read_rows(tmp_path / "log")
    assert [(row["tenant"], row["session_id"]) for row in rows] == [("acme", "7")] * 2
    assert len({row["user_hash"] for row in rows}) == 1
    assert counted == {("/mine", "acme"): 2, ("/anybody", headers.get("x-tenant")): 1}


@pytest.mark.parametrize(
    ("sent", "read"), [("Jürgen".encode(), "Jürgen"), (b"J\xfcrgen", "Jürgen")]
)
def test_a_header_is_read_in_utf_8_or_else_in_latin_1(
    make_log: Make, tmp_path: Path, sent: bytes, read: str
) -> None:
    log = make_log(sampling=SamplingPolicy(rate=1.0))
    served = PredictionLoggingMiddleware(fastapi.FastAPI(), log, tenant="x-tenant")
    with TestClient(served) as client:
        client.get("/nowhere", headers={"x-tenant": sent})
    assert [row["tenant"] for row in read_rows(tmp_path / "log")] == [read]


def test_one_extractor_that_fails_takes_nothing_from_the_others(
    make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    app = PredictionLoggingMiddleware(
        fastapi_app(log), log, tenant=lambda scope: scope["nothing"], session="x-session"
    )
    with TestClient(app) as client:
        client.get("/items/7", headers={"x-session": "s"})
    (row,) = read_rows(tmp_path / "log")

    assert (row["session_id"], row.get("tenant")) == ("s", None)


def test_predictions_of_a_batch_of_tasks_and_of_threads_belong_to_their_request(
    make_log: Make, tmp_path: Path
) -> None:
    log = make_log()
    app = fastapi.FastAPI()
    pool = ThreadPoolExecutor(1)
    late: list[asyncio.Task[None]] = []

    @app.post("/batch")
    async def batch(rows: list[int]) -> list[str]:
        return [log.log_prediction(features={"i": i}, prediction=i) for i in rows]

    @app.post("/late")
    async def begin() -> str:
        async def work() -> None:
            await asyncio.sleep(0.05)
            log.log_prediction(prediction="late")

        late.append(asyncio.create_task(work()))
        return "begun"

    @app.get("/late")
    async def wait() -> str:
        await asyncio.gather(*late)
        return "done"

    @app.post("/executor")
    async def executor() -> str:
        loop = asyncio.get_running_loop()
        named = log.log_prediction
        return await loop.run_in_executor(pool, with_context(lambda: named(prediction="there")))

    @app.post("/after")
    async def after() -> JSONResponse:
        task = BackgroundTask(lambda: log.log_prediction(prediction="after"))
        return JSONResponse("sent", background=task)

    with TestClient(PredictionLoggingMiddleware(app, log)) as client:
        batched = client.post("/batch", json=list(range(10)))
        begun = client.post("/late")
        client.get("/late")
        there = client.post("/executor")
        client.post("/after")
    rows = {row["request_id"]: row for row in read_rows(tmp_path / "log")}
    predictions = [rows[name]["prediction"] for name in batched.json()]

    assert predictions == list(range(10))
    assert batched.json()[0] == batched.headers["x-request-id"]
    assert rows[there.json()]["route"] == "/executor"
    assert there.json() == there.headers["x-request-id"]
    # of the two rows with the id of the request that ended first, one is its prediction
    late_rows = [row for row in read_rows(tmp_path / "log") if row["route"] == "/late"]
    assert {row.get("prediction") for row in late_rows} == {None, "late"}
    assert [row["request_id"] for row in late_rows if "prediction" in row] == [
        begun.headers["x-request-id"]
    ]
    assert {row["prediction"] for row in rows.values() if row["route"] == "/after"} == {"after"}
    assert total(tmp_path / "log", "requests") == 5
