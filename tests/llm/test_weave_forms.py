"""Another weave than the one that was tested: the real one, with its form changed.

Whatever differs, the task runs and returns what it returns without tracing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.llm import (
    CallLog,
    current_trace,
    instrument_openai,
    read_calls,
    weave_init,
)
from flytekitplugins.wbmon.traces import weave_client, weave_parts
from support.openai_server import OpenAIServer
from support.weave_server import WeaveServer, json_digest

weave = pytest.importorskip("weave", reason="the llm extra is not installed")
openai = pytest.importorskip("openai", reason="the llm extra is not installed")

CLIENT = "weave.trace.weave_client.WeaveClient"
CONTEXT = "weave.trace.context.weave_client_context"
SETTINGS = ("replace_settings", "parse_and_apply_settings")
DIGESTS = (
    "weave.trace.serialization.digest",
    "weave.shared.digest",
    "weave.trace_server.trace_server_interface_util",
)

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    """Each test hears for itself what is said once in a process."""
    weave_client.say_once.cache_clear()


@weave.op
def answer(question: str) -> str:
    return question.upper()


def traced(server: WeaveServer, **given: Any) -> weave_init:
    return weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=5, **given)


def without(*places: str) -> Callable[[Patch], None]:
    def change(patch: Patch) -> None:
        for place in places:
            patch.delattr(place, raising=False)

    return change


def without_digests(patch: Patch) -> None:
    for module in DIGESTS:
        patch.setitem(sys.modules, module, None)


def without_digests_of_rows(patch: Patch) -> None:
    digests = weave_parts.find_parts().digests
    is_own = isinstance(digests, weave_parts.DigestsOfOld)
    patch.delattr(weave_parts.DigestsOfOld if is_own else digests, "compute_row_digest")


def instead(place: str, new: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(place, new)


def begin_otherwise(self: Any, op: str, inputs: dict[str, Any], **_: Any) -> Any:
    return self.server.call_begin({"op": op, "inputs": inputs})


def swallow(self: Any, *_: Any, **__: Any) -> None:
    """Nothing reaches the server."""


CHANGES = {
    "no client class": without(CLIENT),
    "a client of other arguments": instead(f"{CLIENT}.__init__", lambda self, *, workspace: None),
    "no create_call": without(f"{CLIENT}.create_call"),
    "create_call of other arguments": instead(
        f"{CLIENT}.create_call", lambda self, *, operation: None
    ),
    "a server that is asked something else": instead(f"{CLIENT}.create_call", begin_otherwise),
    "no finish_call": without(f"{CLIENT}.finish_call"),
    "calls that never reach the server": instead(f"{CLIENT}.finish_call", swallow),
    "no flush": without(f"{CLIENT}.flush"),
    "no settings": without(*(f"weave.trace.settings.{name}" for name in SETTINGS)),
    "settings of other arguments": lambda patch: [
        patch.setattr(f"weave.trace.settings.{name}", lambda: None, raising=False)
        for name in SETTINGS
    ],
    "no context": without(f"{CONTEXT}.set_weave_client_global"),
    "a context of other arguments": instead(
        f"{CONTEXT}.set_weave_client_global", lambda client, token: None
    ),
    "no digests": without_digests,
    "no digests of rows": without_digests_of_rows,
    "no wrapper": without("weave.trace.box.box"),
    "no way out of the wrapper": without("weave.trace.box.unbox"),
    "a wrapper of other arguments": instead("weave.trace.box.unbox", lambda *, boxed: boxed),
    "a weave that is switched off": lambda patch: patch.setenv("WEAVE_DISABLED", "true"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_weave_of_another_form_leaves_the_task_alone_and_says_so_once(
    server: WeaveServer,
    monkeypatch: Patch,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Patch], None],
) -> None:
    change(monkeypatch)

    @traced(server, call_log="calls", patch=["openai"])
    def ask() -> str:
        assert current_trace().client is None
        return answer("hello")

    assert [ask(), ask()] == ["HELLO", "HELLO"]
    told = [text for text in caplog.messages if "works in another way" in text]
    assert len(told) == 1
    assert weave_parts.weave_version() in told[0]
    assert "are not traced, and calls gets no rows" in told[0]
    assert server.requests == []
    assert not Path("wandb").exists()


def test_the_task_s_own_error_is_what_is_raised_whatever_weave_does(
    server: WeaveServer, monkeypatch: Patch
) -> None:
    finish = weave.trace.weave_client.WeaveClient.finish_call

    def broken(self: Any, call: Any, *given: Any, **named: Any) -> None:
        if getattr(self, "attributes", None):  # not in the trial
            raise RuntimeError("another finish_call")
        finish(self, call, *given, **named)

    monkeypatch.setattr(f"{CLIENT}.finish_call", broken)

    @traced(server)
    def ask() -> str:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ask()


@pytest.mark.parametrize("name", ["weave.thread", "weave.attributes"])
def test_a_task_that_cannot_be_a_call_itself_still_runs_with_its_ops_traced(
    server: WeaveServer, monkeypatch: Patch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.delattr(name)

    assert traced(server, id="x")(lambda: answer("hello"))() == "HELLO"

    assert "the task itself is not a call" in caplog.text
    assert [call["output"] for call in server.named("answer")] == ["HELLO"]


def test_what_is_on_the_disk_is_delivered_also_if_the_client_cannot_finish(
    server: WeaveServer, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    flush = weave.trace.weave_client.WeaveClient.flush

    def broken(self: Any) -> None:
        if getattr(self, "attributes", None):  # not in the trial
            raise RuntimeError("another flush")
        flush(self)

    monkeypatch.setattr(f"{CLIENT}.flush", broken)

    assert traced(server)(lambda: answer("hello"))() == "HELLO"

    assert "another flush" in caplog.text
    assert len(server.named("answer")) == 1


def test_a_newer_weave_of_the_same_form_traces_and_is_named_once(
    server: WeaveServer, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(weave_parts, "version", lambda _: "9.9.1")
    ask = traced(server)(lambda: answer("hello"))

    assert [ask(), ask()] == ["HELLO", "HELLO"]

    assert len(server.named("answer")) == 2
    assert len([text for text in caplog.messages if "weave 9.9.1" in text]) == 1


def test_a_weave_that_was_tested_is_not_warned_of(
    server: WeaveServer, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    for release in weave_parts.TESTED:
        text = ".".join(map(str, release))
        monkeypatch.setattr(weave_parts, "version", lambda _, text=text: text)
        traced(server)(lambda: answer("hello"))()

    assert "was tested with" not in caplog.text


def test_calls_that_are_recorded_in_threads_arrive_and_the_missing_promise_is_said(
    server: WeaveServer, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("weave.trace.weave_client.get_parallelism_settings", lambda: (2, 2))

    traced(server)(lambda: [answer(str(number)) for number in range(20)])()

    assert len(server.named("answer")) == 20
    assert "a task that is killed can lose its last calls" in caplog.text


def test_what_only_a_server_knows_is_refused_in_words(server: WeaveServer) -> None:
    told = []

    @traced(server)
    def ask() -> str:
        spool = current_trace().client.server
        assert not hasattr(spool, "get_feedback_processor")
        for name in ("calls_query_stream", "asked_by_weave_in_the_year_2030"):
            with pytest.raises(NotImplementedError, match=f"`{name}` needs the Weave server"):
                getattr(spool, name)({})
            told.append(name)
        return answer("hello")

    assert ask() == "HELLO"
    assert len(told) == 2


def test_a_digest_is_the_server_s_own_whatever_the_keys_and_numbers_are(
    server: WeaveServer,
) -> None:
    odd = {1: "a", 10: "b", 2: "c", "n": float("nan"), "deep": [{3: None, 20: 1.5}]}
    refs = []

    @traced(server)
    def publish() -> None:
        refs.append(weave.publish(odd, name="odd"))
        refs.append(weave.publish(weave.Dataset(name="rows", rows=[{"q": "a"}, {"q": 1}])))

    publish()

    for ref in refs:
        (stored,) = server.objects["loop/demo", ref.name]
        assert ref.digest == stored["digest"] == json_digest(stored["val"])
    (table,) = server.tables
    assert f"/table/{table}" in server.objects["loop/demo", "rows"][0]["val"]["rows"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
        max_leaves=8,
    )
)
def test_releases_that_leave_digests_to_the_server_get_the_same(value: Any) -> None:
    new = weave_parts.find_parts().digests
    old = weave_parts.DigestsOfOld(new.compute_file_digest)

    assert old.compute_object_digest(value) == new.compute_object_digest(value)
    rows = [old.compute_row_digest({"row": value}), old.compute_row_digest({})]
    assert rows == [new.compute_row_digest({"row": value}), new.compute_row_digest({})]
    assert old.compute_table_digest(rows) == new.compute_table_digest(rows)
    assert old.compute_file_digest(b"-_?") == new.compute_file_digest(b"-_?")


def test_the_log_of_calls_goes_on_without_weave(
    server: WeaveServer, monkeypatch: Patch, folder: Path
) -> None:
    monkeypatch.delattr(CLIENT)
    log = CallLog(str(folder / "calls"), "ask")

    with OpenAIServer() as model:
        client = instrument_openai(openai.OpenAI(base_url=model.url, api_key="x"), log)

        @traced(server, patch=["openai"])
        def ask() -> str:
            asked = [{"role": "user", "content": "one two"}]
            done = client.chat.completions.create(model="house", messages=asked)
            return str(done.choices[0].message.content)

        assert ask() == "one two"

    log.close()
    assert len(read_calls(folder / "calls").to_pylist()) == 1
