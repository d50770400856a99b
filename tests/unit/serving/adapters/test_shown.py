from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.serving.adapters import shown as adapter
from flytekitplugins.wbmon.serving.adapters.shown import (
    ChatBefore,
    Shown,
    ShownPredictions,
    answer_text,
    chat_before,
)


def remembered(*answers: tuple[int | None, Any]) -> ShownPredictions:
    """One page, whose answers at some places are called 0, 1 …"""
    shown = ShownPredictions()
    for number, (place, value) in enumerate(answers):
        before = None if place is None else ChatBefore(place, 0, "")
        note = Shown(request_id=str(number), before=before, text=answer_text(value))
        shown.add("page", note)
    return shown


def rated(shown: ShownPredictions, index: Any, content: Any) -> str | None:
    found = shown.message("page", index, content)
    return found.request_id if found else None


@pytest.mark.parametrize(
    ("answers", "index", "content", "expected"),
    [
        pytest.param([(0, "yes"), (2, "no"), (4, "no")], 3, ["no"], "1", id="equal answers"),
        pytest.param([(0, "a"), (2, "b"), (2, "c")], 3, ["c"], "2", id="a retry"),
        pytest.param([(0, "a"), (2, "b"), (2, "b")], 3, ["b"], "2", id="a retry with no change"),
        pytest.param([(0, "a"), (2, "b"), (0, "c")], 3, ["b"], "1", id="an older conversation"),
        pytest.param([(0, "a"), (0, "c"), (2, "d")], 1, ["a"], "0", id="its first message"),
        pytest.param([(0, "a")], 1, ["of an earlier visit"], None, id="an earlier visit"),
        pytest.param([(0, "a\n\n  b ")], 1, [{"type": "text", "text": "a b"}], "0", id="blanks"),
        pytest.param([(0, ["a", "b"])], 1, ["a", "b"], "0", id="several messages"),
        pytest.param([(0, object()), (2, "b")], 1, [{"path": "x"}], "0", id="a picture"),
        pytest.param([(0, "<think>x</think>y")], 1, ["x", "y"], "0", id="a split answer"),
        pytest.param([(0, "a"), (1, "b")], [1, 1], "b", "1", id="pairs of messages"),
        pytest.param([(0, "10"), (2, "b")], 3, ["0"], None, id="a part of another answer"),
        pytest.param([(0, "a" * 3000)], 1, ["a" * 3000], "0", id="a long answer"),
        pytest.param([(None, "a")], 1, ["a"], "0", id="a function without a history"),
        pytest.param([], 1, ["a"], None, id="nothing shown"),
    ],
)
def test_a_message_is_found_by_what_it_says_and_by_its_place(
    answers: list[tuple[int | None, Any]], index: Any, content: Any, expected: str | None
) -> None:
    assert rated(remembered(*answers), index, content) == expected


def said(*texts: str) -> list[dict[str, str]]:
    """A chat of a user and an assistant."""
    return [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)]


def pairs(chat: list[dict[str, str]]) -> list[Any]:
    texts = [each["content"] for each in chat]
    return [[*texts[i : i + 2], None][:2] for i in range(0, len(texts), 2)]


FIRST, SECOND = said("one", "ok", "two", "ok"), said("three", "ok", "two", "ok")
RETRIED = said("one", "ok", "two", "ok")
VISIT = said("one", "ok", "two", "ok", "of an earlier visit", "ok")


@pytest.mark.parametrize("form", [list, pairs], ids=["messages", "pairs"])
@pytest.mark.parametrize("takes", ["the question apart", "all in one"])
def test_equal_answers_of_several_conversations_are_told_apart_by_the_chat(
    form: Any, takes: str
) -> None:
    shown = ShownPredictions()
    for number, (chat, n) in enumerate(
        [(FIRST, 0), (FIRST, 2), (SECOND, 0), (SECOND, 2), (RETRIED, 2)]
    ):
        inputs = (
            [chat[n]["content"], form(chat[:n])]
            if takes == "the question apart"
            else [form(chat[: n + 1])]
        )
        shown.add("page", Shown(request_id=str(number), before=chat_before(inputs), text="ok"))

    def found(index: int, chat: list[dict[str, str]] | None) -> str | None:
        at = index if form is list else [index // 2, 1]
        about = shown.message("page", at, ["ok"], None if chat is None else form(chat))
        return about.request_id if about else None

    assert [found(1, FIRST), found(3, FIRST), found(1, SECOND), found(3, SECOND)] == [
        "0", "4", "2", "3",
    ]  # fmt: skip
    assert [found(5, VISIT), found(1, said("new", "ok"))] == [None, None]
    # without the chat nobody can tell, nor what an earlier visit asked
    assert [found(1, None), found(3, None), found(5, None)] == [None, None, None]


def chats(questions: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, list[str]]]]:
    """Conversations: questions, each with the messages that answer it."""
    texts = st.sampled_from(["a", "ab", "b", "Was this helpful?", "x" * 300, "x" * 300 + "y"])
    return st.lists(st.tuples(questions, st.lists(texts, min_size=1, max_size=3)), max_size=3)


def shown_chat(turns: list[tuple[str, list[str]]]) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text}
        for question, answer in turns
        for role, text in [("user", question), *(("assistant", each) for each in answer)]
    ]


@given(st.lists(chats(st.sampled_from(["one", "two"])), min_size=2, max_size=4), st.data())
def test_a_thumb_is_of_an_answer_that_says_all_that_the_chat_shows_of_it(
    conversations: list[list[tuple[str, list[str]]]], data: st.DataObject
) -> None:
    shown, said_by = ShownPredictions(), {}
    *remembered, of_an_earlier_visit = conversations
    for turns in remembered:
        for number, (question, answer) in enumerate(turns):
            name = str(len(said_by))
            said_by[name] = shown_chat(turns[: number + 1])
            before = chat_before([question, shown_chat(turns[:number])])
            note = Shown(request_id=name, before=before, text=answer_text(answer))
            note.n_messages = len(answer)
            shown.add("page", note)

    for turns in conversations:
        chat = shown_chat(turns)
        for place, message in enumerate(chat):
            if message["role"] == "user":
                continue
            found = shown.message("page", place, [message["content"]], chat)
            end = next((i for i in range(place, len(chat)) if chat[i]["role"] == "user"), None)
            if turns is not of_an_earlier_visit:
                assert found is not None
            # where nobody remembers the answer, one in which its messages are found is the nearest
            if chat[:end] in said_by.values():
                assert found is not None
                assert said_by[found.request_id] == chat[:end]


HEADED = ["Here it is", "Paris", "Was this helpful?"]


@pytest.mark.parametrize("rated_message", HEADED)
@pytest.mark.parametrize(
    ("other", "is_found"),
    [
        pytest.param(["Here it is", "Lyon", "Was this helpful?"], False, id="another answer"),
        pytest.param([*HEADED, "Sources: 2"], True, id="and a message of another event"),
        pytest.param(HEADED[:2], True, id="as far as it has come"),
        pytest.param(["Here it is", {"path": "x.png"}, "Was this helpful?"], True, id="a picture"),
        pytest.param(
            ["Here it is", {"component": "html", "value": "<b>"}, "Was this helpful?"],
            True,
            id="a component",
        ),
    ],
)
def test_all_messages_of_an_answer_are_compared(
    rated_message: str, other: list[Any], is_found: bool
) -> None:
    question = {"role": "user", "content": "capital?"}
    chat = [question, *({"role": "assistant", "content": [each]} for each in other)]
    shown = ShownPredictions()
    note = Shown(request_id="r", before=chat_before(["capital?", []]), text=answer_text(HEADED))
    note.n_messages = len(HEADED)
    shown.add("page", note)
    places = [place for place, each in enumerate(other, 1) if each == rated_message]
    for place in places:
        found = shown.message("page", place, other[place - 1], chat)
        assert (found is not None) == is_found


def test_of_an_answer_too_long_to_be_kept_its_beginning_is_compared() -> None:
    question = {"role": "user", "content": "capital?"}
    answer = ["x" * 3000, "y", {"path": "x.png"}]
    chat = [question, *({"role": "assistant", "content": [each]} for each in answer)]
    shown = ShownPredictions()
    note = Shown(request_id="r", before=chat_before(["capital?", []]), text=answer_text(answer))
    note.n_messages = len(answer)
    shown.add("page", note)
    assert shown.message("page", 1, answer[0], chat) is note
    assert shown.message("page", 3, answer[2], chat) is note


def test_memory_is_bounded_and_the_oldest_is_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "_MAX_PAGES", 100)
    shown = remembered(*[(2 * i, str(i)) for i in range(150)])
    assert rated(shown, 1, ["0"]) is None
    assert shown.last("page") == Shown(request_id="149", before=ChatBefore(298, 0, ""), text="149")
    for i in range(100):
        shown.add(f"page {i}", Shown(request_id="r"))
    assert shown.last("page") is None
    assert shown.last("page 0") is not None
    assert shown.last(None) is None


def test_the_place_of_a_chat_is_the_length_of_its_history() -> None:
    turn = {"role": "user", "content": "hi"}

    def place(*inputs: Any) -> int | None:
        found = chat_before(inputs)
        return found.place if found else None

    assert place("hi", []) == 0
    assert place("hi", [turn, SimpleNamespace(role="assistant", content="ho")]) == 2
    assert place("hi", [("hi", "ho")], "more") == 1
    assert place([("hi", "ho"), ("well", None)]) == 1
    assert place("hi", ["one", "two"]) is None
