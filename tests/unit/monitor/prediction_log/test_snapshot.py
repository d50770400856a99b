"""Values that are changed after they were given."""

from __future__ import annotations

import copy
import time
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.monitor.prediction_log.snapshot import snapshot, snapshots


class Pair(NamedTuple):
    left: Any
    right: Any


class Tensor:
    """As those of torch: no `copy`, and a hash."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.nbytes = values, 8 * len(values)

    def __iter__(self) -> Any:
        return iter(self.values)

    def __setitem__(self, place: int, value: float) -> None:
        self.values[place] = value

    def clone(self) -> Tensor:
        return Tensor([*self.values])


class Broken(dict[str, Any]):
    def __len__(self) -> int:
        raise RuntimeError("no length")


def put(container: Any) -> None:
    container[0] = 1


CHANGES: list[tuple[Any, Callable[[Any], Any]]] = [
    ([1.5], put),
    ([[0]], lambda value: put(value[0])),
    ({0: [0]}, lambda value: put(value[0])),
    ({"a": {"b": {"c": 1}}}, lambda value: value["a"]["b"].clear()),
    (([0],), lambda value: put(value[0])),
    (Pair([0], 2), lambda value: put(value.left)),
    ({1, 2}, lambda value: value.add(3)),
    (deque([0]), put),
    (OrderedDict({0: 0}), put),
    (defaultdict(list, {0: 0}), put),
    (bytearray(b"ab"), put),
    (array("d", [0.0]), put),
    (np.zeros(3), put),
    (np.zeros((2, 2), dtype="int8")[1:], put),
    (np.array(0.0), lambda value: value.fill(1)),
    ([np.zeros(2)], lambda value: put(value[0])),
    (pd.Series([0, 0]), put),
    (Tensor([0.0]), put),
]


@pytest.mark.parametrize(("value", "change"), CHANGES, ids=lambda each: type(each).__name__)
def test_a_value_that_is_changed_later_stays_as_it_was_given(
    value: Any, change: Callable[[Any], Any]
) -> None:
    value = copy.deepcopy(value)
    kept, (named,) = snapshot(value), snapshots({"x": value}).values()
    before = told(kept)
    change(value)

    assert told(kept) == told(named) == before != told(value)


def told(value: Any) -> str:
    return repr(list(value)) if isinstance(value, Tensor) else repr(value)


FIXED = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
NESTED = st.recursive(
    FIXED | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=20,
)


@given(NESTED)
def test_a_copy_is_equal_and_of_the_same_classes(value: Any) -> None:
    assert repr(snapshot(value)) == repr(value)


@given(FIXED)
def test_what_cannot_change_is_not_copied(value: Any) -> None:
    assert snapshot(value) is value


@pytest.mark.parametrize(
    "value", [np.float32(1), np.int64(1), object(), range(3), iter("abc"), int]
)
def test_other_objects_are_the_same_object(value: Any) -> None:
    assert snapshot(value) is value


def test_what_holds_itself_or_fails_is_no_matter() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    broken = Broken(a=1)

    assert snapshot(loop)[0] == 1
    assert snapshots({"a": broken, "b": [1]}) == {"a": broken, "b": [1]}


@pytest.mark.parametrize(
    "large", [[0.0] * 20_000, [[0.0]] * 20_000, bytearray(100_000), np.zeros(10_000)],
)  # fmt: skip
def test_the_work_is_bounded(large: Any) -> None:
    assert snapshot(large) is large
    assert snapshot({"large": large})["large"] is large


def test_the_first_values_of_a_large_one_are_copied_and_the_rest_is_not() -> None:
    value = [[0.0] for _ in range(9_000)]
    kept = snapshot(value)

    assert kept[0] is not value[0]
    assert kept[8_999] is value[8_999]


def test_a_chat_costs_little_more_than_a_copy_by_hand() -> None:
    chat = [{"role": "user", "content": "how are you?"} for _ in range(1_000)]

    def seconds(copied: Callable[[], Any]) -> float:
        begin = time.perf_counter()
        copied()
        return time.perf_counter() - begin

    by_hand = min(seconds(lambda: [{**each} for each in chat]) for _ in range(50))
    assert min(seconds(lambda: snapshot(chat)) for _ in range(50)) < 20 * by_hand
