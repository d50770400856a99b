from __future__ import annotations

import asyncio
import functools
import inspect
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from flytekitplugins.wbmon.serving import (
    Experiment,
    PredictionLogger,
    SamplingPolicy,
    ShownPredictions,
    gradio_feedback,
    monitor_gradio,
)
from flytekitplugins.wbmon.serving.adapters.summarise import answer_columns, outline
from support import experiment_units
from support.experiment_units import Visit
from support.prediction_log import read_rows
from support.waiting import wait_until

gr = pytest.importorskip("gradio")
from gradio.context import LocalContext  # noqa: E402 - after the skip

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


def test_the_unit_of_who_is_not_known_to_the_app_is_the_user_or_the_session(
    log: PredictionLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gr, "Info", lambda _: None)
    for unit in (None, lambda page: None, lambda page: ""):
        _, name = monitor_gradio(add, log, experiment=SHAPE, unit=unit, tenant="t")(PAGE, 1)
        gradio_feedback(log, score=1.0, unit=unit, tenant="t")(PAGE, name)

    said = rows(log, "feedback")
    assert [row["name"] for row in said] == ["exposure", *["thumbs"] * 3]
    assert len({(row["unit"], row["tenant"]) for row in said}) == 1


def test_an_output_that_changes_nothing_leaves_the_old_answer_to_be_rated(
    log: PredictionLogger,
) -> None:
    skips = monitor_gradio(gr.skip, log)
    assert skips(PAGE) == (gr.skip(), gr.skip())
    assert monitor_gradio(lambda: (gr.skip(), "b"), log)(PAGE)[2] == rows(log)[1]["request_id"]


def test_filling_the_cache_of_examples_is_no_request(
    log: PredictionLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with gr.Blocks():
        text, answer, state = gr.Textbox(), gr.Textbox(), gr.State()
        for outputs, shown in (([answer, state], None), ([answer], ShownPredictions())):
            fn = monitor_gradio(str.upper, log, shown=shown)
            examples = gr.Examples(["a", "b"], text, outputs, fn, cache_examples=True)
            asyncio.run(examples.cache())

    cached = [path.read_text() for path in tmp_path.rglob("log.csv")]
    assert len(cached) == 2
    assert all("A" in each and "B" in each for each in cached)
    assert log.stats.served == 0
    # as the page that shows an example: it has no id to be rated by
    assert fn("c") == "C"
    assert len(rows(log)) == 1


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
    for nothing in (None, "", " "):
        stars(PAGE, name, nothing, "")

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
    assert told[2:] == ["Give a rating first."] * 3


@pytest.mark.parametrize("shown", [None, ShownPredictions()], ids=["by its id", "by its page"])
def test_ratings_of_an_experiment_belong_to_the_user_or_else_to_the_session(
    shown: ShownPredictions | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gr, "Info", lambda _: None)
    log = PredictionLogger("ui", str(tmp_path), user_key=experiment_units.KEY)
    answer = monitor_gradio(str.upper, log, experiment=experiment_units.LAYOUT, shown=shown)
    thumb = gradio_feedback(log, shown=shown)

    def rate(visit: Visit, score: float) -> None:
        page: Any = SimpleNamespace(session_hash=visit.session, username=visit.user)
        if shown is None:
            thumb(page, answer(page, "a")[1], score)
        else:
            context = copy_context()
            context.run(LocalContext.request.set, page)
            context.run(answer, "a")
            thumb(page, score)

    experiment_units.rate_and_recount(log, rate)


@pytest.mark.parametrize(
    ("login", "user"),
    [(None, None), ({"userinfo": {"preferred_username": "ann", "name": "Ann"}}, "ann")],
)
def test_the_user_of_a_login_button_is_the_user(
    log: PredictionLogger, login: dict[str, Any] | None, user: str | None
) -> None:
    session = {"session": {"oauth_info": login}} if login else {}
    page = gr.Request(SimpleNamespace(scope=session), session_hash="s1")
    profile = gr.OAuthProfile(
        {"name": "Ann", "preferred_username": "ann", "profile": "p", "picture": "q"}
    )
    greet = monitor_gradio(lambda text, who: text, log, experiment=SHAPE)
    greet(page, "hi", profile)

    (row,) = rows(log)
    assert row["input_text"] == '{"text":"hi"}'
    assert row["variant"] == SHAPE.variant(user or "s1")
    assert ("user_hash" in row) == (user is not None)


def test_a_unit_that_cannot_be_told_costs_neither_the_answer_nor_the_rating(
    log: PredictionLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(page: Any) -> str:
        raise KeyError("no such header")

    monkeypatch.setattr(gr, "Info", lambda _: None)
    value, name = monitor_gradio(add, log, experiment=SHAPE, unit=nobody)(PAGE, 1)
    gradio_feedback(log, score=1.0, unit=nobody)(PAGE, name)

    assert value == 2
    assert [row["session_id"] for row in rows(log, "feedback")] == ["s1"]
    assert log.stats.failed == 2


def test_what_is_large_is_written_as_what_it_is() -> None:
    assert outline(np.zeros((28, 28))) == "[ndarray 28x28]"
    assert outline([1, {"a": b"xy"}, object()]) == [1, {"a": "[bytes 2]"}, "[object]"]
    assert len(outline(list(range(1000)))) == 50
    assert answer_columns({"cat": 0.9, "dog": 0.1}) == {"prediction": "cat", "score": 0.9}
    assert answer_columns("x" * 1000) == {"output_text": "x" * 1000}
    assert answer_columns(True) == {"prediction": True}


SHAPE = Experiment(name="shape", variants={"a": 0.5, "b": 0.5})
USER = ("ann@corp.com", "pw")


class Answers:
    """A model with every kind of method."""

    def __call__(self, text: str) -> str:
        return f"object {text}"

    def method(self, text: str) -> str:
        return f"method {text}"


class Later:
    async def __call__(self, text: str) -> str:
        await asyncio.sleep(0)
        return f"later {text}"


class Streams:
    def __call__(self, text: str) -> Iterator[str]:
        yield "st"
        yield f"stream {text}"


class StreamsLater:
    async def __call__(self, text: str) -> AsyncIterator[str]:
        yield "st"
        await asyncio.sleep(0)
        yield f"stream later {text}"


def with_keyword(text: str, *, mark: str = "!") -> str:
    return text + mark


def with_page(text: str, request: gr.Request, progress: Any = gr.Progress()) -> str:  # noqa: B008
    progress(0.5)
    return f"{text} {request.username == USER[0]}"


def with_profile(text: str, profile: gr.OAuthProfile | None) -> str:
    return f"{text} {profile}"


def selected(text: str, event: gr.SelectData) -> str:
    return f"{text} {event.value}"


def of_all(*texts: str) -> str:
    return "+".join(texts)


def unwrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*given: Any, **named: Any) -> Any:
        return fn(*given, **named)

    return inner


def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(fn)(unwrapped(fn))


# the function of each event, and what it answers to "hi"
ONE_OUTPUT: dict[str, tuple[Callable[..., Any], str]] = {
    "object": (Answers(), "object hi"),
    "method": (Answers().method, "method hi"),
    "later": (Later(), "later hi"),
    "stream": (Streams(), "stream hi"),
    "stream_later": (StreamsLater(), "stream later hi"),
    "lambda": (lambda text: text.upper(), "HI"),
    "partial": (functools.partial(with_keyword, mark="?"), "hi?"),
    "keyword": (with_keyword, "hi!"),
    "star": (of_all, "hi"),
    "unwrapped": (unwrapped(Answers()), "object hi"),
    "decorated": (decorated(with_keyword), "hi!"),
    "page": (with_page, "hi True"),
    "profile": (with_profile, "hi None"),
}


def chat(message: str, history: list[Any]) -> str:
    return "Sorry." if "no" in message else f"You said\n\n  {message}  "


async def chat_stream(message: str, history: list[Any], tone: str) -> AsyncIterator[Any]:
    for end in range(1, len(message) + 1):
        await asyncio.sleep(0)
        yield {"role": "assistant", "content": message[:end] + tone}


def chat_message(message: str, history: list[Any], request: gr.Request) -> Any:
    return gr.ChatMessage(content=f"{message} {bool(request.session_hash)}"), message.upper()


class App:
    """A running app, its log, and a client who is logged in."""

    def __init__(self, demo: Any, log: PredictionLogger) -> None:
        from gradio_client import Client

        self.demo, self.log = demo, log
        self.client = Client(demo.local_url, auth=USER, verbose=False)

    def call(self, name: str, *inputs: Any) -> Any:
        """What a client of the API gets from an event."""
        return self.client.predict(*inputs, api_name=f"/{name}")

    def click(self, name: str, *inputs: Any, event: dict[str, Any] | None = None) -> None:
        """Fire an event as the page does, with what the component says of it."""
        number = next(i for i, fn in self.demo.fns.items() if fn.api_name == name)
        body = {
            "data": list(inputs),
            "fn_index": number,
            "session_hash": self.client.session_hash,
            "event_data": event,
        }
        queue = f"{self.demo.local_url}gradio_api/queue"
        with httpx.Client(cookies=dict(self.client.cookies)) as page:
            page.post(f"{queue}/join", json=body).raise_for_status()
            session = {"session_hash": self.client.session_hash}
            with page.stream("GET", f"{queue}/data", params=session) as messages:
                told = [json.loads(line[5:]) for line in messages.iter_lines() if line]
        (done,) = (each for each in told if each["msg"] == "process_completed")
        assert done["success"], done

    def rows(self, kind: str = "prediction", **marks: Any) -> list[dict[str, Any]]:
        """The rows of this client that have these values."""
        wait_until(lambda: self.log.stats.feedback == self.log.stats.feedback_logged)
        wait_until(lambda: self.log.stats.served == self.log.stats.logged)
        return [
            row
            for row in read_rows(Path(self.log.destination), kind)
            if row["session_id"] == self.client.session_hash
            and all(row.get(name) == value for name, value in marks.items())
        ]


def build(log: PredictionLogger) -> Any:
    """An app with an event for each function, an interface and several chats."""

    def remembered(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
        return monitor_gradio(fn, log, route=name, shown=shown, experiment=SHAPE)

    with gr.Blocks() as events:
        shown = ShownPredictions()
        text, other, answer = gr.Textbox(label="In"), gr.Textbox(), gr.Textbox(label="Out")
        second, number, state = gr.Textbox(label="Second"), gr.Number(), gr.State()
        for name, (fn, _) in ONE_OUTPUT.items():
            gr.Button().click(remembered(fn, name), text, answer, api_name=name)
        for name, values, outputs in (
            ("by_component", lambda _: {answer: "one", second: "two"}, [answer, second]),
            ("skips", lambda _: (gr.skip(), "two"), [answer, second]),
            ("update", lambda _: (gr.update(value="x"), gr.Textbox(value="y")), [answer, second]),
            ("list", lambda text: [text, "two"], [answer, second]),
            ("nothing", lambda _: None, None),
        ):
            gr.Button().click(remembered(values, name), text, outputs, api_name=name)
        given = remembered(lambda values: values[text] + values[other], "set")
        gr.Button().click(given, {text, other}, answer, api_name="set")
        batch = remembered(lambda texts: [[each + "!" for each in texts]], "batch")
        gr.Button().click(batch, text, answer, api_name="batch", batch=True)
        direct = remembered(lambda text: text + " at once", "direct")
        gr.Button().click(direct, text, answer, api_name="direct", queue=False)
        text.select(remembered(selected, "select"), text, answer, api_name="select")
        gr.Button().click(
            monitor_gradio(with_page, log, route="state"), text, [answer, state], api_name="state"
        )
        up = gradio_feedback(log, score=1.0)
        gr.Button().click(up, state, api_name="up")
        stars = gradio_feedback(log, "stars", shown=shown)
        gr.Button().click(stars, [number, other], api_name="stars")
        summed = monitor_gradio(add, log, shown=ShownPredictions())
        gr.Interface(summed, [gr.Number(), gr.Number(value=1)], "number", api_name="add")
        for fn, more in (
            (chat, {}),
            (chat_stream, {"additional_inputs": [gr.Textbox()]}),
            (chat_message, {"additional_outputs": [gr.Textbox()]}),
        ):
            seen = ShownPredictions()
            name = fn.__name__
            watched = monitor_gradio(fn, log, shown=seen, experiment=SHAPE)
            chatbot = gr.ChatInterface(watched, api_name=name, **more).chatbot
            like = gradio_feedback(log, shown=seen)
            chatbot.like(like, api_name=f"like_{name}")
            chatbot.like(like, chatbot, api_name=f"like_{name}_in_chat")
            if fn is chat:
                gr.Button().click(watched, [text, chatbot], answer, api_name="begin_chat")
    return events


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, PredictionLogger]]:
    home = str(tmp_path_factory.mktemp("log"))
    log = PredictionLogger("ui", home, sampling=SamplingPolicy(rate=1.0), user_key="k")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        demo = build(log)
        demo.launch(prevent_thread_lock=True, quiet=True, auth=USER)
        yield demo, log
        demo.close(verbose=False)
    log.close()


@pytest.fixture
def app(running: tuple[Any, PredictionLogger]) -> App:
    return App(*running)


def test_users_see_what_the_function_answers_and_each_call_is_a_row(app: App) -> None:
    said = {name: app.call(name, "hi") for name in ONE_OUTPUT}
    said["add"] = app.call("add", 1, 2)
    said["direct"] = app.call("direct", "hi")
    said["set"] = app.call("set", "hi", "ho")

    assert said == {
        **{name: answer for name, (_, answer) in ONE_OUTPUT.items()},
        "add": 3,
        "direct": "hi at once",
        "set": "hiho",
    }
    found = {row["route"]: row for row in app.rows()}
    assert {name: row["prediction"] for name, row in found.items()} == said
    assert {row["variant"] for name, row in found.items() if name != "add"} == {
        SHAPE.variant(USER[0])
    }
    assert found["page"]["input_text"] == '{"text":"hi"}'
    assert found["set"]["input_text"] == '{"values":{"In":"hi","Textbox":"ho"}}'
    assert "time_to_first_chunk_ms" in found["stream_later"]


def test_outputs_of_any_number_and_form_reach_the_user_as_they_are(app: App) -> None:
    assert app.call("by_component", "hi") == ("one", "two")
    assert app.call("skips", "hi") == ({"__type__": "update"}, "two")
    assert [each["value"] for each in app.call("update", "hi")] == ["x", "y"]
    assert app.call("list", "hi") == ("hi", "two")
    assert app.call("nothing", "hi") == ()
    assert app.call("batch", "hi") == "hi!"

    found = {row["route"]: row.get("output_text", row.get("prediction")) for row in app.rows()}
    assert found == {
        "by_component": '{"Out":"one","Second":"two"}',
        "skips": "two",
        "update": '["x","y"]',
        "list": '["hi","two"]',
        "nothing": None,
        "batch": '[["hi!"]]',
    }


def test_what_the_page_says_of_an_event_reaches_the_function(app: App) -> None:
    app.click("select", "hi", event={"index": 0, "value": "ho"})

    (row,) = app.rows()
    assert (row["prediction"], row["input_text"]) == ("hi ho", '{"text":"hi"}')


def test_a_rating_is_of_the_last_prediction_that_its_page_was_shown(app: App) -> None:
    other = App(app.demo, app.log)
    app.call("stars", 1, "too early")
    app.call("lambda", "first")
    app.call("lambda", "second")
    other.call("lambda", "third")
    app.call("stars", 4, "well")
    app.call("state", "hi")
    app.call("up")

    (stars, thumb) = app.rows("feedback")
    rated = {row["request_id"]: row["prediction"] for row in app.rows()}
    assert (rated[stars["request_id"]], stars["score"], stars["comment"]) == ("SECOND", 4, "well")
    assert (rated[thumb["request_id"]], thumb["score"]) == ("hi True", 1)


def test_a_thumb_in_a_chat_is_of_the_message_that_it_stands_beside(app: App) -> None:
    asked = ("one", "no", "two", "no way", "no")
    said = [app.call("chat", text) for text in asked]
    for place, liked in ((1, True), (7, False), (3, "Wrong"), (5, ""), (9, True)):
        text = " ".join(said[place // 2].split())
        app.click("like_chat", event={"index": place, "value": [{"text": text}], "liked": liked})
    app.click("like_chat", event={"index": 1, "value": "of another visit", "liked": True})

    rows = app.rows()
    assert [json.loads(row["input_text"])["message"] for row in rows] == [*asked]
    ids = [row["request_id"] for row in rows]
    found = app.rows("feedback", source="user")
    assert [(row["request_id"], row.get("score"), row.get("label")) for row in found] == [
        (ids[0], 1, None),
        (ids[3], 0, None),
        (ids[1], None, "Wrong"),
        (ids[4], 1, None),
    ]


def test_a_thumb_that_is_given_with_the_chat_finds_its_conversation(app: App) -> None:
    def rate(first: str, liked: bool, name: str) -> None:
        chat = [
            {"role": role, "content": [{"type": "text", "text": text}]}
            for role, text in (("user", first), ("assistant", "Sorry."))
        ]
        inputs = [chat] if name.endswith("in_chat") else []
        app.click(name, *inputs, event={"index": 1, "value": ["Sorry."], "liked": liked})

    for text in ("no one", "no two"):
        app.call("begin_chat", text, [])
    for first, liked in (("no one", True), ("no two", False), ("no three", True)):
        rate(first, liked, "like_chat_in_chat")
    rate("no one", False, "like_chat")

    first, second = app.rows()
    found = app.rows("feedback", source="user")
    assert [(row["request_id"], row["score"]) for row in found] == [
        (first["request_id"], 1),
        (second["request_id"], 0),
    ]


def test_chats_may_stream_and_have_further_inputs_and_outputs(app: App) -> None:
    assert app.call("chat_stream", "one", "!") == {"role": "assistant", "content": "one!"}
    answer, further = app.call("chat_message", "two")
    assert (answer["content"], further) == ("two True", "TWO")
    for name, text in (("chat_stream", "one!"), ("chat_message", "two True")):
        app.click(f"like_{name}", event={"index": 1, "value": [text], "liked": True})

    rows = app.rows()
    assert [row.get("prediction", row.get("output_text")) for row in rows] == [
        "one!",
        '["two True","TWO"]',
    ]
    assert [row["request_id"] for row in app.rows("feedback", source="user")] == [
        row["request_id"] for row in rows
    ]


CHATBOT, TEXTBOX = gr.Chatbot(render=False), gr.Textbox(render=False)
ANSWERS = {
    "texts": lambda said, _: said,
    "messages": lambda said, _: [gr.ChatMessage(content=each) for each in said],
    "plain messages": lambda said, _: said_by("assistant", *said),
    "the whole chat": lambda said, history: [*history, *said_by("assistant", *said)],
    "an emptied input too": lambda said, history: ("", [*history, *said_by("assistant", *said)]),
    "by component": lambda said, history: {
        TEXTBOX: "",
        CHATBOT: [*history, *said_by("assistant", *said)],
    },
    "a component": lambda said, history: gr.Chatbot(
        [*history, *said_by("assistant", *said)], render=False
    ),
    "an update": lambda said, history: gr.update(value=[*history, *said_by("assistant", *said)]),
}


def said_by(role: str, *texts: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": [{"type": "text", "text": each}]} for each in texts]


@pytest.mark.parametrize("form", ANSWERS)
def test_a_thumb_at_any_message_of_an_answer_finds_it_whatever_form_it_was_given_in(
    log: PredictionLogger, form: str
) -> None:
    shown, history = ShownPredictions(), said_by("user", "x" * 3000, "capital?")
    answer = monitor_gradio(ANSWERS[form], log, shown=shown)
    cities = ("Paris", "Lyon", "Nice")
    context = copy_context()
    context.run(LocalContext.request.set, PAGE)
    for city in cities:
        context.run(answer, ["Here it is", city, "Was this helpful?"], history)

    found = []
    for city in cities:
        chat = [*history, *said_by("assistant", "Here it is", city, "Was this helpful?")]
        for place in (2, 3, 4):
            about = shown.message("s1", place, chat[place]["content"], chat)
            found.append(about and about.request_id)
    assert found == [row["request_id"] for row in rows(log) for _ in range(3)]


def test_exposures_and_ratings_of_a_user_have_one_unit_and_no_name(app: App) -> None:
    app.call("lambda", "hi")
    app.call("stars", 4, "")
    second = App(app.demo, app.log)
    second.call("lambda", "hi")
    second.call("stars", 2, "")

    (first,), (later,) = app.rows("feedback", name="stars"), second.rows("feedback", name="stars")
    (row,) = app.rows()
    assert first["unit"] == later["unit"] == row["user_hash"]
    rows = read_rows(Path(app.log.destination), "feedback")
    (exposure,) = (each for each in rows if each["name"] == "exposure")
    assert exposure["unit"] == first["unit"]
    assert "ann@" not in json.dumps(rows)
