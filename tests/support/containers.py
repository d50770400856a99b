"""The same values in every container that can hold them: columns of pandas, polars and Arrow.

A *storage* makes a column of Python values, with None where one is missing; a *wrapper* makes data
of Arrow columns that the package can open. A storage raises what its library raises if it cannot
hold the values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

Values: TypeAlias = Sequence[Any]
Column: TypeAlias = Any

MARKERS = (None, float("nan"), pd.NaT, pd.NA)
"""What pandas users write for a missing value."""


class Storage(NamedTuple):
    """A way to hold a column, and the library it is of."""

    library: str
    make: Callable[[Values], Column]


class Tagged(pa.ExtensionType):
    """An extension type that nobody has registered."""

    def __init__(self, storage: pa.DataType) -> None:
        super().__init__(storage, "tests.tagged")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Tagged:
        return cls(storage)


def arrow(dtype: pa.DataType, convert: Callable[[Any], Any] | None = None) -> Storage:
    return Storage("arrow", lambda values: pa.array(mapped(values, convert), dtype))


def encoded(dtype: pa.DataType, index: pa.DataType | None = None) -> Storage:
    """Dictionary-encoded."""

    def make(values: Values) -> pa.Array:
        plain = pa.array(values, dtype)
        return plain.dictionary_encode().cast(pa.dictionary(index or pa.int32(), dtype))

    return Storage("arrow", make)


def run_end(dtype: pa.DataType) -> Storage:
    return Storage("arrow", lambda values: pc.run_end_encode(pa.array(values, dtype)))


def extension(dtype: pa.DataType) -> Storage:
    tagged = Tagged(dtype)
    return Storage(
        "arrow", lambda values: pa.ExtensionArray.from_storage(tagged, pa.array(values, dtype))
    )


def sliced(dtype: pa.DataType) -> Storage:
    """The middle of a longer array, whose buffers begin elsewhere."""
    return Storage("arrow", lambda values: pa.array([*values, *values], dtype)[len(values) :])


def chunked(dtype: pa.DataType) -> Storage:
    """In several chunks, one of them empty."""

    def make(values: Values) -> pa.ChunkedArray:
        half = len(values) // 2
        parts = [values[:half], [], values[half:]]
        return pa.chunked_array([pa.array(part, dtype) for part in parts], dtype)

    return Storage("arrow", make)


def viewed(stored: pa.DataType, dtype: pa.DataType) -> Storage:
    """Bytes that are said to be text, which nobody checks."""
    return Storage("arrow", lambda values: pa.array(values, stored).view(dtype))


def viewed_dictionary(values: Values) -> pa.Array:
    """A dictionary whose names are said to be text."""
    codes = pa.array(values, pa.binary()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(codes.indices, codes.dictionary.view(pa.string()))


def list_of(storage: Storage) -> Storage:
    """Lists, whose elements are in a storage of Arrow."""
    return Storage(
        "arrow",
        lambda values: pa.ListArray.from_arrays(_ends(values), storage.make(_elements(values))),
    )


def views_of_lists(storage: Storage) -> Storage:
    """Lists whose elements are stored from the last list to the first."""

    def make(values: Values) -> pa.Array:
        lists = list_of(storage).make(values[::-1])
        places = (lists.offsets[:-1], pc.fill_null(pc.list_value_length(lists), 0))
        starts, lengths = (place[::-1].cast(pa.int32()) for place in places)
        missing = pa.array([value is None for value in values], pa.bool_())
        return pa.ListViewArray.from_arrays(starts, lengths, lists.values, mask=missing)

    return Storage("arrow", make)


def map_of(keys: Storage, items: Storage) -> Storage:
    """Maps of lists of pairs, whose keys and items are in storages of Arrow."""

    def make(values: Values) -> pa.Array:
        pairs = _elements(values)
        halves = (
            storage.make([pair[half] for pair in pairs])
            for half, storage in (("key", keys), ("value", items))
        )
        return pa.MapArray.from_arrays(_ends(values), *halves)

    return Storage("arrow", make)


def struct_of(**storages: Storage) -> Storage:
    """Structs, each of whose fields is in a storage of Arrow."""

    def make(values: Values) -> pa.Array:
        fields = [
            storage.make([None if value is None else value[name] for value in values])
            for name, storage in storages.items()
        ]
        missing = pa.array([value is None for value in values], pa.bool_())
        return pa.StructArray.from_arrays(fields, list(storages), mask=missing)

    return Storage("arrow", make)


def _elements(values: Values) -> list[Any]:
    return [element for value in values for element in value or []]


def _ends(values: Values) -> pa.Array:
    lengths = [0 if value is None else len(value) for value in values]
    starts = np.cumsum([0, *lengths]).tolist()
    # a null says that the list which starts there is one
    nulls = [value is None for value in values]
    return pa.array(
        [None if null else start for start, null in zip(starts, [*nulls, False], strict=True)],
        pa.int32(),
    )


def pandas(dtype: Any, convert: Callable[[Any], Any] | None = None) -> Storage:
    return Storage("pandas", lambda values: pd.Series(mapped(values, convert), dtype=dtype))


def pandas_of(storage: Storage) -> Storage:
    """The Arrow column in a pandas column."""

    def make(values: Values) -> pd.Series:
        return pd.Series(pd.arrays.ArrowExtensionArray(storage.make(values)))

    return Storage("pandas", make)


def marked(convert: Callable[[Any], Any] | None = None) -> Storage:
    """Of type object, in which every kind of missing value occurs."""

    def make(values: Values) -> pd.Series:
        plain = mapped(values, convert)
        kept = [MARKERS[i % 4] if value is None else value for i, value in enumerate(plain)]
        return pd.Series(pd.array(kept, dtype=object), dtype=object)

    return Storage("pandas", make)


def polars(dtype: Any, convert: Callable[[Any], Any] | None = None) -> Storage:
    return Storage("polars", lambda values: pl.Series(mapped(values, convert), dtype=dtype))


def of_uuid(value: UUID) -> bytes:
    return value.bytes


def mapped(values: Values, convert: Callable[[Any], Any] | None) -> list[Any]:
    if convert is None:
        return list(values)
    return [None if value is None else convert(value) for value in values]


def sparse(values: Values) -> pd.Series:
    numbers = [np.nan if value is None else float(value) for value in values]
    return pd.Series(pd.arrays.SparseArray(numbers))


def of_categories(values: Values) -> pd.Series:
    return pd.Series(pd.Categorical(values))


def of_bools(values: Values) -> pd.Series:
    if None in values:
        # pandas would take it for False
        raise TypeError("a column of type bool cannot miss a value")
    return pd.Series(values, dtype=bool)


def of_vectors(values: Values) -> pd.Series:
    return pd.Series([None if v is None else np.array(v) for v in values], dtype=object)


def naive(at: datetime) -> datetime:
    """In UTC, without saying so."""
    return at.astimezone(timezone.utc).replace(tzinfo=None)


def in_some_zone(at: datetime) -> datetime:
    zones = (ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"), timezone.utc)
    return at.astimezone(zones[at.second % 3])


def of_intervals(values: Values) -> Any:
    return pd.arrays.IntervalArray(pd.array(values, dtype=object), dtype="interval[float64]")


def decimals(values: Sequence[float]) -> list[Decimal]:
    return list(map(in_text, values))


def in_text(value: Any) -> Decimal:
    return Decimal(str(value))


def _numbers(numpy_types: Sequence[str], nullable: Sequence[str]) -> dict[str, Storage]:
    return {
        **{f"pandas {dtype}": pandas(dtype) for dtype in (*numpy_types, *nullable)},
        "pandas category": Storage("pandas", of_categories),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "pandas Sparse": Storage("pandas", sparse),
    }


def _encodings(dtype: pa.DataType) -> dict[str, Storage]:
    """Ways of Arrow to hold values of one type."""
    return {
        f"arrow {dtype}": arrow(dtype),
        f"arrow dictionary of {dtype}": encoded(dtype),
        f"arrow run ends of {dtype}": run_end(dtype),
        f"arrow extension of {dtype}": extension(dtype),
        f"arrow slice of {dtype}": sliced(dtype),
        f"arrow chunks of {dtype}": chunked(dtype),
        f"pandas {dtype}[pyarrow]": pandas_of(chunked(dtype)),
        f"pandas dictionary of {dtype}[pyarrow]": pandas_of(encoded(dtype)),
    }


def _decimals(digits: int, scale: int) -> dict[str, Storage]:
    of_arrow = {
        f"arrow decimal{bits}": arrow(make(min(digits, limit), scale), in_text)
        for bits, make, limit in (
            (32, pa.decimal32, 9),
            (64, pa.decimal64, 18),
            (128, pa.decimal128, 38),
            (256, pa.decimal256, 76),
        )
    }
    return {
        **of_arrow,
        "pandas Decimal": pandas(object, in_text),
        "pandas Decimal, marked": marked(in_text),
        "polars Decimal": polars(pl.Decimal(digits, scale), in_text),
    }


def _times(unit_types: Mapping[str, pa.DataType]) -> dict[str, Storage]:
    return {f"arrow {name}": arrow(dtype) for name, dtype in unit_types.items()}


TEXTS: Mapping[str, Storage] = {
    "string": arrow(pa.string()),
    "string_view": arrow(pa.string_view()),
    "binary": arrow(pa.binary(), str.encode),
    "binary_view": arrow(pa.binary_view(), str.encode),
    "dictionary": encoded(pa.string()),
    "run ends": run_end(pa.string()),
}
"""Text by Arrow, as it may be within others."""

NUMBERS = (
    arrow(pa.int64()),
    encoded(pa.int64()),
    run_end(pa.int64()),
    extension(pa.int64()),
)
"""Whole numbers by Arrow, as they may be within others."""

STORAGES: Mapping[str, Mapping[str, Storage]] = {
    "integer": {
        **_encodings(pa.int64()),
        **{f"arrow int{bits}": arrow(getattr(pa, f"int{bits}")()) for bits in (16, 32)},
        "arrow float64": arrow(pa.float64()),
        "arrow int8 dictionary": encoded(pa.int64(), pa.int8()),
        **_numbers(("int64", "int32", "float64"), ("Int64", "Int16", "Float64")),
        **_decimals(9, 0),
        "polars Int64": polars(pl.Int64),
        "polars Int16": polars(pl.Int16),
        "polars Float64": polars(pl.Float64),
    },
    "unsigned": {
        **_encodings(pa.uint64()),
        "arrow int64": arrow(pa.int64()),
        **_numbers(("uint64", "uint8", "int64"), ("UInt64", "UInt8")),
        "polars UInt64": polars(pl.UInt64),
        "polars UInt8": polars(pl.UInt8),
    },
    "many digits": {
        **_encodings(pa.int64()),
        **{name: storage for name, storage in _encodings(pa.uint64()).items() if "of" not in name},
        "arrow dictionary of uint64": encoded(pa.uint64()),
        "arrow decimal128": arrow(pa.decimal128(38, 0), in_text),
        "arrow decimal128 with places": arrow(pa.decimal128(38, 4), in_text),
        "arrow decimal256": arrow(pa.decimal256(76, 0), in_text),
        **{f"pandas {dtype}": pandas(dtype) for dtype in ("int64", "uint64", "Int64", "UInt64")},
        "pandas category": Storage("pandas", of_categories),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "pandas Decimal": pandas(object, in_text),
        "pandas Decimal, marked": marked(in_text),
        "polars Int64": polars(pl.Int64),
        "polars UInt64": polars(pl.UInt64),
        "polars Int128": polars(pl.Int128),
        "polars Decimal": polars(pl.Decimal(38, 0), in_text),
    },
    "float": {
        **_encodings(pa.float64()),
        "arrow float32": arrow(pa.float32()),
        **_numbers(("float64", "float32"), ("Float64", "Float32")),
        **_decimals(9, 2),
        "polars Float64": polars(pl.Float64),
        "polars Float32": polars(pl.Float32),
    },
    "boolean": {
        **_encodings(pa.bool_()),
        "arrow bool8": Storage(
            "arrow",
            lambda values: pa.ExtensionArray.from_storage(
                pa.bool8(), pa.array(mapped(values, int), pa.int8())
            ),
        ),
        "pandas bool": Storage("pandas", of_bools),
        "pandas boolean": pandas("boolean"),
        "pandas category": Storage("pandas", of_categories),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "polars Boolean": polars(pl.Boolean),
    },
    "text": {
        **_encodings(pa.string()),
        "arrow large_string": arrow(pa.large_string()),
        "arrow string_view": arrow(pa.string_view()),
        "arrow dictionary of large_string": encoded(pa.large_string()),
        **{
            f"arrow {name}": arrow(dtype, str.encode)
            for name, dtype in (
                ("binary", pa.binary()),
                ("large_binary", pa.large_binary()),
                ("binary_view", pa.binary_view()),
            )
        },
        **{
            f"pandas {dtype}": pandas(dtype)
            for dtype in ("str", "string[python]", "string[pyarrow]")
        },
        "pandas category": Storage("pandas", of_categories),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "pandas bytes": pandas(object, str.encode),
        "polars String": polars(pl.String),
        "polars Categorical": polars(pl.Categorical),
        "polars Enum": Storage(
            "polars",
            lambda values: pl.Series(
                values, dtype=pl.Enum(sorted({value for value in values if value is not None}))
            ),
        ),
        "polars Binary": polars(pl.Binary, str.encode),
    },
    "uuid": {
        "arrow string": arrow(pa.string(), str),
        "arrow large_string": arrow(pa.large_string(), str),
        "arrow uuid": arrow(pa.uuid(), of_uuid),
        **{
            f"arrow {dtype}": arrow(dtype, of_uuid)
            for dtype in (pa.binary(16), pa.binary(), pa.large_binary(), pa.binary_view())
        },
        "pandas UUID": pandas(object),
        "pandas UUID, marked": marked(),
        "pandas text": pandas("str", str),
        "pandas bytes": pandas(object, of_uuid),
        "pandas bytearrays": pandas(object, lambda value: bytearray(value.bytes)),
        "polars String": polars(pl.String, str),
        "polars Binary": polars(pl.Binary, of_uuid),
    },
    "timestamp": {
        "arrow timestamp[us, UTC]": arrow(pa.timestamp("us", "UTC")),
        **_times(
            {f"timestamp[{u}, Berlin]": pa.timestamp(u, "Europe/Berlin") for u in ("s", "ns")}
        ),
        **{
            f"arrow timestamp[{unit}]": arrow(pa.timestamp(unit), naive)
            for unit in ("s", "ms", "us", "ns")
        },
        "arrow dictionary": encoded(pa.timestamp("us", "UTC")),
        "arrow run ends": run_end(pa.timestamp("us", "UTC")),
        "arrow slice": sliced(pa.timestamp("us", "UTC")),
        **{
            f"pandas datetime64[{unit}]": pandas(f"datetime64[{unit}]", naive)
            for unit in ("s", "ms", "us", "ns")
        },
        "pandas datetime64[us, UTC]": pandas("datetime64[us, UTC]"),
        "pandas datetime64[ns, Berlin]": pandas("datetime64[ns, Europe/Berlin]"),
        "pandas timestamp[us][pyarrow]": pandas_of(arrow(pa.timestamp("us"), naive)),
        "pandas object, naive": pandas(object, naive),
        "pandas object, aware": pandas(object),
        "pandas object, zones": pandas(object, in_some_zone),
        "pandas object, marked": marked(),
        "pandas category": Storage("pandas", of_categories),
        **{f"polars Datetime[{u}]": polars(pl.Datetime(u), naive) for u in ("ms", "us", "ns")},
        "polars Datetime[us, UTC]": polars(pl.Datetime("us", "UTC")),
    },
    "date": {
        "arrow date32": arrow(pa.date32()),
        "arrow date64": arrow(pa.date64()),
        "arrow dictionary": encoded(pa.date32()),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "pandas date32[pyarrow]": pandas_of(arrow(pa.date32())),
        "polars Date": polars(pl.Date),
    },
    "duration": {
        "arrow duration[us]": arrow(pa.duration("us")),
        **_times({f"duration[{unit}]": pa.duration(unit) for unit in ("s", "ms", "ns")}),
        "arrow dictionary": encoded(pa.duration("us")),
        "arrow run ends": run_end(pa.duration("us")),
        **{f"pandas timedelta64[{u}]": pandas(f"timedelta64[{u}]") for u in ("s", "us", "ns")},
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "pandas duration[ms][pyarrow]": pandas_of(arrow(pa.duration("ms"))),
        **{f"polars Duration[{unit}]": polars(pl.Duration(unit)) for unit in ("ms", "us", "ns")},
    },
    "time": {
        "arrow time64[us]": arrow(pa.time64("us")),
        "arrow time32[s]": arrow(pa.time32("s")),
        "arrow time32[ms]": arrow(pa.time32("ms")),
        "arrow time64[ns]": arrow(pa.time64("ns")),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "polars Time": polars(pl.Time),
    },
    "vector": {
        "arrow list of float64": arrow(pa.list_(pa.float64())),
        "arrow list of float32": arrow(pa.list_(pa.float32())),
        "arrow large_list": arrow(pa.large_list(pa.float64())),
        "arrow fixed_size_list": arrow(pa.list_(pa.float64(), 3)),
        "arrow list_view": arrow(pa.list_view(pa.float64())),
        "arrow slice": sliced(pa.list_(pa.float64())),
        "pandas arrays": Storage("pandas", of_vectors),
        "pandas lists": pandas(object),
        "pandas lists, marked": marked(),
        "polars List": polars(pl.List(pl.Float64)),
        "polars Array": polars(pl.Array(pl.Float64, 3)),
    },
    "whole vector": {
        **{
            f"arrow list of {dtype}": arrow(pa.list_(dtype))
            for dtype in (pa.int64(), pa.int8(), pa.float64(), pa.float32())
        },
        "arrow list of decimal": arrow(pa.list_(pa.decimal128(9, 2)), decimals),
        "arrow fixed_size_list": arrow(pa.list_(pa.int16(), 3)),
        "arrow list of dictionary": list_of(encoded(pa.int64())),
        "arrow list_view": arrow(pa.list_view(pa.int64())),
        "pandas arrays": Storage("pandas", of_vectors),
        "pandas lists": pandas(object),
        "pandas tuples": pandas(object, tuple),
        "pandas Series": pandas(object, pd.Series),
        "pandas Decimals": pandas(object, decimals),
        "pandas lists, marked": marked(),
        "polars List": polars(pl.List(pl.Int64)),
        "polars Array": polars(pl.Array(pl.Int8, 3)),
    },
    "interval": {
        "arrow string": arrow(pa.string(), str),
        "arrow interval": Storage("arrow", lambda values: pa.array(of_intervals(values))),
        "pandas interval": Storage("pandas", lambda values: pd.Series(of_intervals(values))),
        "pandas category": Storage("pandas", lambda values: pd.Series(pd.Categorical(values))),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "pandas text": pandas("str", str),
        "polars String": polars(pl.String, str),
    },
    # no text, and said to be
    "bytes": {
        "arrow binary": arrow(pa.binary()),
        "arrow large_binary": arrow(pa.large_binary()),
        "arrow string": viewed(pa.binary(), pa.string()),
        "arrow large_string": viewed(pa.large_binary(), pa.large_string()),
        "arrow string_view": viewed(pa.binary_view(), pa.string_view()),
        "arrow dictionary of string": Storage("arrow", viewed_dictionary),
        "pandas object": pandas(object),
        "pandas object, marked": marked(),
        "pandas string[pyarrow]": pandas_of(viewed(pa.binary(), pa.string())),
        "polars Binary": polars(pl.Binary),
    },
    "texts": {
        **{f"arrow list of {name}": list_of(storage) for name, storage in TEXTS.items()},
        **{
            f"arrow list_view of {name}": views_of_lists(storage) for name, storage in TEXTS.items()
        },
        "arrow large_list": arrow(pa.large_list(pa.string_view())),
        "pandas lists": pandas(object),
        "pandas lists, marked": marked(),
        "pandas lists[pyarrow]": pandas_of(list_of(TEXTS["string_view"])),
        "polars List": polars(pl.List(pl.String)),
        "polars List of Categorical": polars(pl.List(pl.Categorical)),
    },
    "record": {
        **{
            f"arrow struct of {name}": struct_of(n=number, t=TEXTS[name])
            for name, number in zip(TEXTS, NUMBERS * 2, strict=False)
        },
        "arrow extension": struct_of(n=extension(pa.int64()), t=extension(pa.string_view())),
        "pandas dicts": pandas(object),
        "pandas dicts, marked": marked(),
        "polars Struct": polars(pl.Struct({"n": pl.Int64, "t": pl.String})),
    },
    "pairs": {
        "arrow list of structs": list_of(struct_of(key=TEXTS["string"], value=NUMBERS[0])),
        **{
            f"arrow map of {name}": map_of(storage, number)
            for (name, storage), number in zip(TEXTS.items(), NUMBERS * 2, strict=False)
        },
        "polars List": polars(pl.List(pl.Struct({"key": pl.String, "value": pl.Int64}))),
    },
}
"""Storages by kind of values and by name; the first of each kind is the plain one."""


def data_of(columns: Mapping[str, Column], library: str) -> Any:
    """A table of columns that storages of one library made."""
    if library == "pandas":
        return pd.DataFrame(dict(columns))
    if library == "polars":
        return pl.DataFrame([column.alias(name) for name, column in columns.items()])
    return pa.table(dict(columns))


def _batches(table: pa.Table) -> list[pa.RecordBatch]:
    return table.to_batches(max_chunksize=max(1, table.num_rows // 3))


def _in_file(table: pa.Table, folder: Path) -> str:
    pq.write_table(table, folder / "data.parquet", row_group_size=max(1, table.num_rows // 2))
    return str(folder / "data.parquet")


def _in_folder(table: pa.Table, folder: Path) -> str:
    half = table.num_rows // 2
    pq.write_table(table.slice(0, half), folder / "a.parquet")
    pq.write_table(table.slice(half), folder / "b.parquet")
    return str(folder)


def _in_pandas(table: pa.Table, folder: Path) -> pd.DataFrame:
    # pyarrow 26 ends the process over run ends of times
    if any(pa.types.is_run_end_encoded(dtype) for dtype in table.schema.types):
        raise TypeError("pandas has no run ends")
    return table.to_pandas()


WRAPPERS: Mapping[str, Callable[[pa.Table, Path], Any]] = {
    "table": lambda table, folder: table,
    "record batch": lambda table, folder: table.combine_chunks().to_batches()[0],
    "reader": lambda table, folder: pa.RecordBatchReader.from_batches(
        table.schema, _batches(table)
    ),
    "dataset": lambda table, folder: ds.dataset(table),
    "dataset of files": lambda table, folder: ds.dataset(_in_folder(table, folder)),
    "parquet": _in_file,
    "folder": _in_folder,
    "polars": lambda table, folder: pl.from_arrow(table),
    "pandas": _in_pandas,
    "pandas of Arrow": lambda table, folder: table.to_pandas(types_mapper=pd.ArrowDtype),
}
"""Ways to hand over an Arrow table; each gets an empty folder of its own."""


def folders() -> Iterator[Path]:
    """Empty folders, removed together when the iterator is closed."""
    with tempfile.TemporaryDirectory() as root:
        number = 0
        while True:
            folder = Path(root, str(number))
            folder.mkdir()
            yield folder
            number += 1
