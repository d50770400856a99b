from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.proto.wandb_internal_pb2 import Record

from flytekitplugins.wbmon.delivery.runs.oversized import MAX_BYTES, Oversized

# wandb skips a longer line; `core/internal/filestream/filestream.go`
WANDB_BYTES = 10 * 1024 * 1024 - 100 * 1024
MEGABYTE = 1_000_000


def row(**values: Any) -> Record:
    made = Record()
    for key, value in values.items():
        made.history.item.add(nested_key=key.split("."), value_json=json.dumps(value))
    return made


def summary(**values: Any) -> Record:
    made = Record()
    for key, value in values.items():
        made.summary.update.add(nested_key=[key], value_json=json.dumps(value))
    return made


def keys(record: Record) -> list[str]:
    items = record.history.item or record.summary.update
    return [".".join(item.nested_key) for item in items]


def line(record: Record) -> str:
    """The line that wandb makes of a row or a summary."""
    tree: dict[str, Any] = {}
    for item in record.history.item or record.summary.update:
        place = tree
        for label in item.nested_key[:-1]:
            place = place.setdefault(label, {})
        place[item.nested_key[-1]] = json.loads(item.value_json)
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.sampled_from([10, *range(MEGABYTE, 12 * MEGABYTE, MEGABYTE)]), max_size=5))
def test_of_a_row_everything_that_fits_stays(sizes: list[int]) -> None:
    record = row(**{f"v{number}.x": "x" * size for number, size in enumerate(sizes)}, a=1)
    before = keys(record)
    oversized = Oversized()
    oversized.remove_from(record)
    assert len(line(record).encode()) <= WANDB_BYTES
    assert "a" in keys(record)
    removed = [name for name in before if name not in keys(record)]
    assert oversized.n_rows == bool(removed)
    assert bool(oversized.in_words()) == bool(removed)
    if sum(sizes) < MAX_BYTES - 1000:
        assert not removed


def test_a_row_keeps_its_small_values_and_loses_the_largest_first() -> None:
    record = row(_step=3, big="x" * 6 * MEGABYTE, bigger="x" * 7 * MEGABYTE, loss=0.5)
    oversized = Oversized()
    oversized.remove_from(record)
    assert keys(record) == ["_step", "big", "loss"]
    assert oversized.in_words() == "'bigger' of 1 row (W&B takes no row of more than 10 MB)"


def test_many_names_are_not_all_listed() -> None:
    oversized = Oversized()
    for number in range(5):
        oversized.remove_from(row(**{f"v{number}": "x" * 11 * MEGABYTE}))
    assert oversized.in_words().startswith("'v0', 'v1', 'v2' and 2 more values of 5 rows (")


def test_the_summary_is_measured_as_a_whole_and_small_values_always_fit() -> None:
    oversized = Oversized()
    first, second = summary(a="x" * 6 * MEGABYTE), summary(b="x" * 6 * MEGABYTE, c=1)
    for record in (first, second):
        oversized.remove_from(record)
    assert (keys(first), keys(second)) == (["a"], ["c"])
    assert oversized.in_words() == "'b' of the summary (W&B takes no summary of more than 10 MB)"


def test_a_value_of_the_summary_that_is_replaced_or_removed_makes_room() -> None:
    oversized = Oversized()
    gone = Record()
    gone.summary.remove.add(nested_key=["b"])
    fits = [
        summary(a="x" * 6 * MEGABYTE),
        summary(a="y" * 7 * MEGABYTE),
        summary(a="small"),
        summary(b="x" * 8 * MEGABYTE),
        gone,
        summary(a="x" * 9 * MEGABYTE),
    ]
    for record in fits:
        before = keys(record)
        oversized.remove_from(record)
        assert keys(record) == before
    assert oversized.in_words() == ""


@pytest.mark.parametrize("later", ["a small value", "none"])
def test_a_value_of_the_summary_that_did_not_stay_is_not_missed(later: str) -> None:
    oversized = Oversized()
    oversized.remove_from(summary(a="x" * 11 * MEGABYTE))
    assert "'a' of the summary" in oversized.in_words()
    record = Record()
    record.summary.remove.add(key="a")
    oversized.remove_from(record if later == "none" else summary(a=1))
    assert oversized.in_words() == ""


def test_other_records_stay_as_they_are() -> None:
    record = Record()
    record.config.update.add(key="a", value_json="x" * 11 * MEGABYTE)
    before = record.SerializeToString()
    Oversized().remove_from(record)
    assert record.SerializeToString() == before
