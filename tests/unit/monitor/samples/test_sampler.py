from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.samples.rows import Sample
from flytekitplugins.wbmon.monitor.samples.sampler import RowSampler
from flytekitplugins.wbmon.monitor.scoring.score import score_batches

N = 500
NIGHT = pa.table(
    {
        "id": np.arange(N),
        "word": ["rare" if i % 50 == 0 else "often" for i in range(N)],
        "p": np.linspace(0, 1, N),
        "flag": [i % 3 == 0 for i in range(N)],
    }
)


def sampled(table=NIGHT, predicted=("word",), size=100, **rule):
    sampler = RowSampler(Sample(**{"rows": 40, **rule}))
    for start in range(0, len(table), size):
        sampler.add(table.slice(start, size), predicted)
    return sampler.record()


def column(sample, name):
    place = sample.columns.index(name)
    return [row[place] for row in sample.rows]


def test_a_rare_prediction_has_as_many_rows_as_there_are_up_to_its_share():
    sample = sampled()
    assert Counter(column(sample, "stratum")) == {"rare": 10, "often": 30}
    assert sum(column(sample, "stands_for")) == pytest.approx(N)
    assert all(i % 50 == 0 for i in column(sample, "id")[30:])


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, N), rows=st.integers(1, 60), seed=st.integers(0, 3))
def test_the_sample_does_not_depend_on_how_the_data_are_cut(size, rows, seed):
    rule = {"rows": rows, "seed": seed}
    assert sampled(size=size, **rule) == sampled(size=N, **rule)
    assert len(sampled(size=size, **rule).rows) == rows


def test_another_seed_chooses_other_rows():
    assert column(sampled(seed=1), "id") != column(sampled(), "id")


def test_places_are_chosen_evenly():
    counts = Counter(i // 100 for seed in range(60) for i in column(sampled(seed=seed), "id"))
    assert max(counts.values()) < 1.25 * min(counts.values())


@pytest.mark.parametrize(
    ("by", "strata"), [("p", 5), ("flag", 2), ("word", 2)], ids=["number", "boolean", "text"]
)
def test_numbers_are_cut_into_ranges_and_values_stand_for_themselves(by, strata):
    counts = Counter(column(sampled(by=by, size=N), "stratum"))
    assert len(counts) == strata
    assert sum(counts.values()) == 40


def test_missing_predictions_are_a_stratum():
    table = pa.table({"p": [0.1, None, float("nan"), 0.9], "word": ["a", None, "b", "a"]})
    assert Counter(column(sampled(table, by="word"), "stratum")) == {"a": 2, "b": 1, "(missing)": 1}
    wide = pa.table({"p": [*np.linspace(0, 1, 50), None, float("nan")]})
    assert Counter(column(sampled(wide, ("p",), rows=60), "stratum"))["(missing)"] == 2


def test_many_values_are_put_together():
    table = pa.table({"word": [f"w{i}" for i in range(300)]})
    counts = Counter(column(sampled(table), "stratum"))
    assert len(counts) <= 41
    assert "(other)" in counts


def test_keys_and_personal_data_are_hidden_and_long_text_is_cut():
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    table = pa.table(
        {
            "word": ["x"],
            "note": [f"mail ada@example.com, key {key}"],
            "api_key": ["hunter2hunter2"],
            "card": [4111111111111111],
            "long": ["z" * 1000],
            "nested": [{"mail": "bob@example.org"}],
        }
    )
    (row,) = sampled(table).rows
    text = repr(row)
    for secret in ("ada@", key, "hunter2", "411111", "bob@"):
        assert secret not in text
    assert len(text) < 600


def test_only_named_columns_and_the_predicted_ones_are_shown():
    sample = sampled(columns=("id",))
    assert sample.columns == ("stratum", "row", "stands_for", "id", "word")


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match="'nothing'; the scored data have 'id'"):
        sampled(by="nothing")


def test_rows_that_failed_are_strata_by_their_exception(tmp_path):
    def predict(batch):
        if batch["id"].isin([7, 400]).any():
            raise ValueError("cannot score bob@example.org")
        return {"score": batch["p"] * 2}

    sampler = RowSampler(Sample(rows=20))
    score_batches(
        predict, NIGHT, str(tmp_path), batch_rows=100, max_error_rate=0.1, sampler=sampler
    )
    sample = sampler.record()
    failed = [row for row in sample.rows if row[0] == "error: ValueError"]
    assert [row[1] for row in failed] == [7, 400]
    assert "cannot score [EMAIL]" in failed[0]
    assert len(sample.rows) == 20


def test_a_sample_without_rows_is_refused():
    with pytest.raises(ConfigError, match="1 to 10000 rows"):
        Sample(rows=0)


@pytest.mark.parametrize(
    ("by", "strata"),
    [
        (pa.array([2**53 + i % 3 for i in range(60)]), {str(2**53 + i) for i in range(3)}),
        (pa.array([2**62 + i for i in range(60)]), None),
        (pa.array([True, False] * 30), {"0", "1"}),
        (pa.array(range(60), pa.duration("ms")), None),
        (pa.array([0, 60_000] * 30, pa.duration("ms")), {"0 s", "60 s"}),
        (pa.array([0, 30] * 30, pa.timestamp("s")), {"1970-01-01"}),
        (pa.array([b"a", b"b"] * 30), {"a", "b"}),
        (pa.array([[1]] * 60), {"(any)"}),
        (pa.array(["a", "", "  ", None] * 15), {"a", "(missing)"}),
        # floats that have lost digits are no names, but a quantity
        (pa.array([1.79e18 + i % 4 for i in range(60)]), {"≥ 1.79e+18"}),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_strata_are_of_what_values_are(by, strata):
    found = set(column(sampled(pa.table({"word": by}), size=60), "stratum"))
    if strata is None:
        assert len(found) == 5
    else:
        assert found == strata
    if pa.types.is_duration(by.type) and strata is None:
        assert {"< 0.0118 s", "≥ 0.0472 s"} < found
