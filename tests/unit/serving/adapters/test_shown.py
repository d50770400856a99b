from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flytekitplugins.wbmon.serving.adapters import shown as adapter
from flytekitplugins.wbmon.serving.adapters.shown import (
    Asked,
    Shown,
    ShownPredictions,
    answer_text,
    asked,
)


def remembered(*answers: tuple[int | None, Any]) -> ShownPredictions:
    """One page, whose answers at some places are called 0, 1 …"""
    shown = ShownPredictions()
    for number, (place, value) in enumerate(answers):
        before = None if place is None else Asked(place, 0, "")
        note = Shown(request_id=str(number), asked=before, text=answer_text(value))
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


def test_memory_is_bounded_and_the_oldest_is_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "_MAX_PAGES", 100)
    shown = remembered(*[(2 * i, str(i)) for i in range(150)])
    assert rated(shown, 1, ["0"]) is None
    assert shown.last("page") == Shown(request_id="149", asked=Asked(298, 0, ""), text="149")
    for i in range(100):
        shown.add(f"page {i}", Shown(request_id="r"))
    assert shown.last("page") is None
    assert shown.last("page 0") is not None
    assert shown.last(None) is None


def test_the_place_of_a_chat_is_the_length_of_its_history() -> None:
    turn = {"role": "user", "content": "hi"}

    def place(*inputs: Any) -> int | None:
        found = asked(inputs)
        return found.place if found else None

    assert place("hi", []) == 0
    assert place("hi", [turn, SimpleNamespace(role="assistant", content="ho")]) == 2
    assert place("hi", [("hi", "ho")], "more") == 1
    assert place([("hi", "ho"), ("well", None)]) == 1
    assert place("hi", ["one", "two"]) is None
