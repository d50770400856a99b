from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flytekitplugins.wbmon.data.batches import (
    append_columns,
    batch_for,
    batch_kind,
    predicted_columns,
)
from flytekitplugins.wbmon.errors import ConfigError, DataError

BATCH = pa.table({"id": ["a", "b", "c"], "x": [1.0, None, 3.0], "n": [1, 2, None]})


def on_pandas(batch: pd.DataFrame) -> pd.DataFrame: ...
def on_arrow(batch: pa.Table, model: str) -> pa.Table: ...
def on_numpy(batch: np.ndarray) -> np.ndarray: ...
def on_typed_numpy(batch: npt.NDArray[np.float64]) -> None: ...
def on_anything(batch): ...
def on_unknown_array(batch: NDArray[np.float64], model: NotImported) -> None: ...  # noqa: F821
def on_unknown_names(batch: pd.DataFrame, model: NotImported) -> None: ...  # noqa: F821


@pytest.mark.parametrize(
    ("predict", "kind"),
    [
        (on_pandas, "pandas"),
        (on_arrow, "arrow"),
        (on_numpy, "numpy"),
        (on_typed_numpy, "numpy"),
        (on_anything, "pandas"),
        (on_unknown_array, "numpy"),
        (on_unknown_names, "pandas"),
        (functools.partial(on_anything), "pandas"),
    ],
)
def test_the_annotation_tells_what_a_function_takes(predict, kind):
    assert batch_kind(predict) == kind


def test_an_annotation_of_another_type_is_refused():
    def on_dict(batch: dict) -> None: ...

    with pytest.raises(ConfigError, match=r"found builtins\.dict"):
        batch_kind(on_dict)


def test_a_batch_comes_in_the_form_asked_for():
    assert batch_for(BATCH, "arrow") is BATCH
    assert list(batch_for(BATCH, "pandas").columns) == ["id", "x", "n"]
    matrix = batch_for(BATCH.select(["x", "n"]), "numpy")
    np.testing.assert_array_equal(matrix, [[1, 1], [np.nan, 2], [3, np.nan]])


def test_numpy_needs_numeric_columns_and_a_kind_must_be_known():
    with pytest.raises(DataError, match=r"found 'id' \(string\)"):
        batch_for(BATCH, "numpy")
    with pytest.raises(ConfigError, match="got 'polars'"):
        batch_for(BATCH, "polars")


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (pd.DataFrame({"p": [1, 2, 3]}), ["p"]),
        (pl.DataFrame({"p": [1, 2, 3]}), ["p"]),
        (pa.table({"p": [1, 2, 3]}), ["p"]),
        (pa.record_batch({"p": [1, 2, 3]}), ["p"]),
        (pd.Series([1, 2, 3], name="p"), ["p"]),
        (pd.Series([1, 2, 3]), ["prediction"]),
        (pd.Series([1, 2, 3], name="x"), ["prediction"]),
        (pl.Series([1, 2, 3]), ["prediction"]),
        (pa.array([1, 2, 3]), ["prediction"]),
        (pa.chunked_array([[1, 2], [3]]), ["prediction"]),
        (np.arange(3), ["prediction"]),
        (np.ones((3, 2)), ["prediction_0", "prediction_1"]),
        ({"p": np.arange(3), "q": ["a", "b", None]}, ["p", "q"]),
    ],
)
def test_every_form_of_output_becomes_columns(output, names):
    columns = predicted_columns(output, BATCH)
    assert columns.column_names == names
    assert columns.num_rows == 3


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.arange(2), "must return 3 rows.*returned 2"),
        (np.ones((3, 1, 1)), "one or two dimensions, got 3"),
        ([1, 2, 3], "returned builtins.list"),
        (None, "returned builtins.NoneType"),
        ({"p": [1, 2], "q": [1]}, "Arrow says"),
        (pd.DataFrame({"p": [1, "a", None]}), "Arrow says"),
        (pd.Series([1, 2, 3], index=[2, 0, 1]), "in the order of the batch"),
    ],
)
def test_output_that_does_not_fit_the_batch_is_refused(output, message):
    with pytest.raises(DataError, match=message):
        predicted_columns(output, BATCH)


@pytest.mark.parametrize("index", [["a", "b", "c"], [7, 3, 9], [0, 1, 2]])
def test_an_index_that_is_no_reordering_is_taken_by_place(index):
    assert predicted_columns(pd.Series([1, 2, 3], index=index), BATCH).num_rows == 3


def test_a_frame_may_carry_the_batch_along():
    frame = BATCH.to_pandas().assign(p=0.5)
    joined = append_columns(BATCH, predicted_columns(frame, BATCH))
    assert joined.column_names == ["id", "x", "n", "p"]
    assert joined.schema.field("n").type == pa.int64()


@pytest.mark.parametrize(
    "output",
    [
        pd.Index([1, 2, 3]),
        pd.TimedeltaIndex([1, 2, 3], name="x"),
        pd.CategoricalIndex(["a", "b", "a"], name=""),
        pd.Categorical(["a", "b", "a"]),
        pd.array([1, 2, None]),
    ],
)
def test_an_index_or_an_array_of_pandas_is_one_prediction(output):
    found = predicted_columns(output, BATCH)
    assert found.column_names == ["prediction"]
    assert found["prediction"].to_pylist() == pa.array(pd.Series(output)).to_pylist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1.0, 2.0, 3.0], "p": [1, 2, 3]}, "'x', which the data already have"),
        ({"id": [1, 2, 3], "p": [1, 2, 3]}, "'id', which the data already have"),
        ({"x": ["a", "b", "c"]}, "'x', which the data already have"),
        ({"x": [1.0, None, 3.0]}, "at least one column"),
    ],
)
def test_a_column_that_the_data_have_with_other_values_is_refused(columns, message):
    with pytest.raises(DataError, match=message):
        append_columns(BATCH, pa.table(columns))


def test_two_predicted_columns_of_one_name_are_refused():
    twice = pa.Table.from_arrays([pa.array([1, 2, 3])] * 2, names=["p", "p"])
    with pytest.raises(DataError, match="'p' came twice"):
        append_columns(BATCH, twice)
