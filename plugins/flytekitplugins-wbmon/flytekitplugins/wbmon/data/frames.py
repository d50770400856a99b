"""pandas and polars frames as a source: each column is converted when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.nesting import suits_arrow
from flytekitplugins.wbmon.data.objects import as_text, from_objects
from flytekitplugins.wbmon.data.sources import Part, TableSource

# sorts of objects, as pandas names them, that Arrow converts without a loss
_OF_ONE_SORT = (
    "string",
    "integer",
    "floating",
    "boolean",
    "decimal",
    "datetime",
    "timedelta",
    "time",
)

_POLARS_DIGITS = 38  # of its decimals


@dataclass(frozen=True)
class FrameSource:
    """A frame in memory; a column that nobody asks for is never converted.

    Attributes:
        names: Names of the columns, each different.
        n_rows: Rows of the frame.
        convert: Converts the column at a place, with its odd values apart if it has any.
        has_odd: Whether a column of mixed values keeps its odd ones apart, as `objects.split`
            takes it; if not, it is a column of text.
    """

    names: tuple[str, ...]
    n_rows: int
    convert: Callable[[int], pa.Array | pa.ChunkedArray]
    has_odd: bool = False
    partition_names: tuple[()] = ()
    _converted: dict[str, pa.ChunkedArray] = field(default_factory=dict, init=False, repr=False)

    @property
    def schema(self) -> pa.Schema:
        """Names and types; it takes the conversion of every column."""
        return pa.schema([(name, self.type_of(name)) for name in self.names])

    def type_of(self, name: str) -> pa.DataType:
        """Type of a column."""
        return self.column(name).type

    def parts(self) -> list[Part]:
        """Slices of the rows."""
        # of a table without columns: the parts ask for their own
        return [self._reader(part) for part in range(len(self._table(()).parts()))]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """Slices that are spread evenly over the frame."""
        return self._table(columns).sample(columns)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column as a whole."""
        if name not in self._converted:
            array = self.convert(self.names.index(name))
            chunks = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
            self._converted[name] = chunks if self.has_odd else as_text(chunks)
        return self._converted[name]

    def _table(self, columns: Sequence[str]) -> TableSource:
        present = [name for name in columns if name in self.names]
        table = pa.table({name: self.column(name) for name in present})
        return TableSource(table if present else _rows_alone(self.n_rows))

    def _reader(self, part: int) -> Part:
        def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
            yield from self._table(columns).parts()[part](columns)

        return read


def pandas_source(frame: Any, names: tuple[str, ...]) -> FrameSource:
    """A pandas data frame as a source; the names of its columns are given, each different."""
    return FrameSource(names, len(frame), lambda place: _from_series(frame.iloc[:, place]))


def polars_source(frame: Any, names: tuple[str, ...]) -> FrameSource:
    """A polars data frame as a source; the names of its columns are given, each different."""
    return FrameSource(names, len(frame), lambda place: _from_polars(frame.to_series(place)))


def _from_polars(series: Any) -> pa.Array:
    # polars hands over objects as the addresses of their memory
    if str(series.dtype) == "Object" or _is_too_long(series.dtype):
        return from_objects(series.to_list())
    try:
        # under a name of ours: polars ends the process over one that holds a NUL
        return series.alias("").to_arrow()
    # whole numbers of 128 bits
    except pa.ArrowException:
        return from_objects(series.to_list())


def _is_too_long(dtype: Any) -> bool:
    """Whether it has decimals of more digits than polars itself can have.

    A frame made from Arrow or Parquet without rows has such a type. To convert it is a panic of
    polars, which no `except Exception` catches; as the frame has no values, objects will do.
    """
    inner = [field.dtype for field in getattr(dtype, "fields", ())]
    if hasattr(dtype, "inner"):
        inner.append(dtype.inner)
    digits = getattr(dtype, "precision", None) or 0
    return bool(digits > _POLARS_DIGITS) or any(map(_is_too_long, inner))


def _from_series(series: Any) -> pa.Array | pa.ChunkedArray:
    dtype = series.dtype
    if hasattr(dtype, "categories"):
        return _from_categories(series)
    if hasattr(series, "sparse") and type(dtype).__name__ == "SparseDtype":
        series = series.sparse.to_dense()
    if series.dtype == object:
        return _from_object_column(series)
    try:
        return pa.Array.from_pandas(series)
    # long doubles, complex numbers and types of other packages
    except (pa.ArrowException, TypeError, ValueError):
        return from_objects(series.tolist())


def _from_categories(series: Any) -> pa.Array | pa.ChunkedArray:
    try:
        return pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        codes = np.asarray(series.cat.codes)
        places = pa.array(codes, mask=codes < 0)
        return from_objects(list(series.cat.categories)).take(places)


def _from_object_column(series: Any) -> pa.Array:
    from pandas import PeriodIndex
    from pandas.api.types import infer_dtype

    sort = infer_dtype(series, skipna=True)
    if sort == "period":
        try:
            return pa.Array.from_pandas(PeriodIndex(series).to_series())
        # periods of different lengths
        except ValueError:
            pass
    # Arrow cuts the time off where a column has dates and times, and joins text with bytes
    is_date = sort == "date" and not any(isinstance(value, datetime) for value in series)
    # and it cuts off the nanoseconds of objects
    has_more = sort == "datetime" and any(getattr(value, "nanosecond", 0) for value in series)
    if (sort in _OF_ONE_SORT and not has_more) or is_date or _is_nested(series):
        try:
            return pa.Array.from_pandas(series)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass
    return from_objects(series.tolist())


def _is_nested(series: Any) -> bool:
    """Whether it holds lists or mappings that Arrow can be given."""
    # nan is a float, and stands for a missing value here
    first = next((v for v in series if v is not None and not isinstance(v, float)), None)
    return isinstance(first, (list, dict, np.ndarray)) and suits_arrow(series.tolist())


def _rows_alone(n_rows: int) -> pa.Table:
    """A table that has rows and a column that nobody can ask for."""
    return pa.table({"\0": pa.nulls(n_rows)})
