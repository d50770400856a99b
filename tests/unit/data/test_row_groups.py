"""Rows of Parquet columns that pyarrow cannot make in one piece are read in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon import check_drift, profile_data
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.row_groups import read_batches, read_column
from flytekitplugins.wbmon.errors import DataError

N_ROWS = 400


def words(dtype: pa.DataType) -> pa.Array:
    """Text or bytes; each of four row groups has words of its own."""
    values = pa.array([f"word {i // 100} {i % 7}" if i % 9 else None for i in range(N_ROWS)])
    return values.cast(dtype).dictionary_encode()


def in_list(elements: pa.Array) -> pa.Array:
    ends = pa.array([max(0, i - 5) for i in range(len(elements) + 6)], pa.int32())
    return pa.ListArray.from_arrays(ends, elements).slice(5)


def in_map(items: pa.Array) -> pa.Array:
    ends = pa.array(range(len(items) + 1), pa.int32())
    return pa.MapArray.from_arrays(ends, pa.array(["k"] * len(items)), items)


def in_struct(field: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([field, pa.array(range(len(field)))], ["a", "b"])


HOLDERS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "list": in_list,
    "struct": in_struct,
    "map": in_map,
    "list of structs": lambda values: in_list(in_struct(values)),
    "struct of lists": lambda values: in_struct(in_list(values)),
}


@pytest.fixture(params=HOLDERS)
def holder(request: pytest.FixtureRequest) -> Callable[[pa.Array], pa.Array]:
    return HOLDERS[request.param]


@pytest.mark.parametrize("dtype", [pa.string(), pa.large_string(), pa.binary()])
@pytest.mark.parametrize("group_rows", [7, 100, N_ROWS])
def test_dictionaries_within_others_are_read_from_any_row_groups(
    holder: Callable[[pa.Array], pa.Array], dtype: pa.DataType, group_rows: int, tmp_path: Path
) -> None:
    table = pa.table({"x": holder(words(dtype)), "n": list(range(N_ROWS))})
    path = tmp_path / "data.parquet"
    pq.write_table(table, path, row_group_size=group_rows)
    source = open_source(str(path))

    batches = [batch for part in source.parts() for batch in part(["x", "n"])]
    assert pa.Table.from_batches(batches).to_pylist() == table.to_pylist()
    assert source.column("x").to_pylist() == table["x"].to_pylist()
    assert source.sample(["x"])["x"].to_pylist() == table["x"].to_pylist()


def test_dictionaries_within_others_are_what_they_are_in_memory(
    holder: Callable[[pa.Array], pa.Array], tmp_path: Path
) -> None:
    table = pa.table({"x": holder(words(pa.string()))})
    path = str(tmp_path / "data.parquet")
    pq.write_table(table, path, row_group_size=100)

    for reference, current in ((table, path), (path, table), (profile_data(path), table)):
        report = check_drift(reference, current)
        assert (report.verdict, report.n_tested) == ("ok", 1)


class Refusing:
    """A Parquet file of which pyarrow reads no more than some rows of a column at a time."""

    def __init__(self, table: pa.Table, at_most: int, refused: str = "x") -> None:
        self.table = table
        self.schema_arrow = table.schema
        self.num_row_groups = 1
        self.at_most = at_most
        self.refused = refused
        self.asked: list[int] = []

    def read(self, columns: list[str], **_: Any) -> pa.Table:
        self._refuse(columns, self.table.num_rows)
        return self.table.select(columns)

    def iter_batches(
        self, batch_size: int, *, columns: list[str], **_: Any
    ) -> Iterator[pa.RecordBatch]:
        self.asked.append(batch_size)
        for place, batch in enumerate(self.table.select(columns).to_batches(batch_size)):
            # if any rows can be read, then the first
            if place or not self.at_most:
                self._refuse(columns, batch_size)
            yield batch

    def _refuse(self, columns: Sequence[str], rows: int) -> None:
        if self.refused in columns and rows > self.at_most:
            raise pa.ArrowNotImplementedError("chunked array outputs")


LONG = pa.table({"x": [[str(i)] for i in range(N_ROWS)], "n": list(range(N_ROWS))})


@pytest.mark.parametrize("at_most", [1, 5, 40])
def test_where_texts_are_too_long_fewer_rows_are_read_at_a_time_and_each_once(at_most: int) -> None:
    file = Refusing(LONG, at_most)

    batches = [*read_batches(file, ["x", "n"], [0], 100)]
    assert pa.Table.from_batches(batches).to_pylist() == LONG.to_pylist()
    chunks = read_column(file, "x")
    assert pa.chunked_array(chunks).to_pylist() == LONG["x"].to_pylist()


def test_what_no_row_can_be_read_of_is_refused_by_its_name() -> None:
    file = Refusing(LONG, 0)

    with pytest.raises(DataError, match=r"refuses one of 'x' \(list<.*string>\): chunked array"):
        list(read_batches(file, ["n", "x"], [0], 100))
    with pytest.raises(DataError, match="leave the column out"):
        read_column(file, "x")


def test_a_column_that_nobody_asks_for_does_not_matter() -> None:
    file = Refusing(LONG, 0)

    assert [batch.num_rows for batch in read_batches(file, ["n"], [0], 150)] == [150, 150, 100]
    assert read_column(file, "n") == LONG["n"].chunks
    assert file.asked == [150]
