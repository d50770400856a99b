from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.join_labels import join_labels
from flytekitplugins.wbmon.errors import ConfigError, DataError

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
MADE = pa.table({"request_id": ["a", "b", "c", "d"], "p": [0.1, 0.2, 0.3, 0.4]})


def join(made, came, **given):
    return join_labels(made, came, label="fraud", **given)


def test_labels_find_their_predictions_in_any_order():
    joined = join(MADE, pa.table({"fraud": [1, 0, 1], "request_id": ["c", "a", "x"]}))
    assert joined.table["request_id"] == MADE["request_id"]
    assert joined.table["fraud"].to_pylist() == [0, None, 1, None]
    assert (joined.n_rows, joined.n_labelled, joined.n_unmatched) == (4, 2, 1)
    assert joined.coverage == 0.5


def test_the_last_label_of_a_key_wins_and_revisions_are_counted():
    came = pa.table({"request_id": ["a", "b", "a", "b"], "fraud": [1, 0, 0, 0]})
    joined = join(MADE, came)
    assert joined.table["fraud"].to_pylist()[:2] == [0, 0]
    assert (joined.n_repeated, joined.n_revised) == (2, 1)


def test_a_time_tells_the_last_label_whatever_the_order_of_rows():
    at = [START + timedelta(days=day) if day else None for day in (5, 1, 0)]
    came = pa.table({"request_id": ["a", "a", "a"], "fraud": [1, 0, 0], "at": at})
    assert join(MADE, came, latest_by="at").table["fraud"][0].as_py() == 1


def test_a_window_can_be_joined_again_when_more_labels_come():
    first = join(MADE, pa.table({"request_id": ["a", "b"], "fraud": [1, 0]}))
    second = join(first.table, pa.table({"request_id": ["b", "c"], "fraud": [1, 1]}))
    assert second.table["fraud"].to_pylist() == [1, 1, 1, None]
    assert second.table.column_names == first.table.column_names
    assert second.n_labelled == 3


def test_rows_without_key_or_label_are_never_joined():
    made = pa.table({"request_id": ["a", None]})
    came = pa.table({"request_id": ["a", None, "a"], "fraud": [1, 1, None]})
    joined = join(made, came)
    assert joined.table["fraud"].to_pylist() == [1, None]
    assert (joined.n_unmatched, joined.n_repeated) == (0, 0)


def test_files_and_frames_are_joined(tmp_path):
    pq.write_table(MADE, tmp_path / "made.parquet")
    came = pd.DataFrame({"request_id": ["d"], "fraud": [True]})
    assert join(tmp_path / "made.parquet", came).table["fraud"][3].as_py() is True


@pytest.mark.parametrize("made", [MADE, MADE.slice(0, 0)])
def test_no_labels_yet_gives_a_window_without_labels(made):
    none = pa.table({"request_id": pa.array([], pa.string()), "fraud": pa.array([], pa.int64())})
    joined = join(made, none)
    assert joined.n_labelled == 0
    assert joined.table["fraud"].null_count == len(made)
    assert math.isnan(joined.coverage) == (len(made) == 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
def test_joining_is_what_a_dictionary_does(rows):
    made = pa.table({"request_id": np.arange(12)})
    keys, said = ([row[i] for row in rows] for i in (0, 1))
    came = pa.table({"request_id": pa.array(keys, pa.int32()), "fraud": pa.array(said, pa.bool_())})
    joined = join(made, came)
    assert joined.table["fraud"].to_pylist() == [dict(rows).get(key) for key in range(12)]
    assert joined.n_repeated == len(rows) - len(dict(rows))


@pytest.mark.parametrize(
    ("came", "error", "message"),
    [
        ({"request_id": ["a"]}, DataError, "'fraud'"),
        ({"request_id": [1], "fraud": [1]}, DataError, "of one kind.*string and int64"),
        ({"request_id": [1.5], "fraud": [1]}, DataError, "text or whole numbers, found double"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(came, error, message):
    with pytest.raises(error, match=message):
        join(MADE, pa.table(came))


def test_a_key_must_be_there_and_be_another_column():
    came = pa.table({"id": ["a"], "fraud": [1]})
    with pytest.raises(DataError, match="must have the key 'id'; found 'request_id', 'p'"):
        join(MADE, came, on="id")
    with pytest.raises(ConfigError, match="different columns"):
        join(MADE, came, on="fraud")


def test_labels_of_another_kind_than_the_known_ones_are_refused():
    made = MADE.append_column("fraud", pa.array(["yes", None, None, None]))
    with pytest.raises(DataError, match="string and int64"):
        join(made, pa.table({"request_id": ["b"], "fraud": [1]}))
