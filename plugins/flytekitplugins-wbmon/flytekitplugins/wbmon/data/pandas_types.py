"""Types of pandas in Arrow: periods and intervals, in files and tables, too.

Arrow knows them only once pandas has told it of them. Until then a period is a whole number to
Arrow, and an interval a struct of its ends, and a column would be another one in a process that has
not used them yet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import bitmap, dense_numbers, is_valid, text_array
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names

_NAME = b"ARROW:extension:name"
_PERIOD, _INTERVAL = "pandas.period", "pandas.interval"


def is_period(dtype: pa.BaseExtensionType) -> bool:
    """Whether it is the type of periods; `period_starts` makes times of them."""
    return str(dtype.extension_name) == _PERIOD


def is_interval(dtype: pa.BaseExtensionType) -> bool:
    """Whether it is the type of intervals, as of `pandas.cut`; `interval_names` has their text."""
    return str(dtype.extension_name) == _INTERVAL


def period_starts(array: pa.ExtensionArray) -> pa.Array:
    """The time at which each period starts; a period is stored as a count of its lengths."""
    # the type is one of pandas, which is there, then
    from pandas import PeriodDtype, PeriodIndex
    from pandas.arrays import PeriodArray

    valid = is_valid(array.storage)
    counts = np.zeros(len(array), dtype=np.int64)
    counts[valid] = dense_numbers(array.storage)
    periods = PeriodIndex(PeriodArray(counts, dtype=PeriodDtype(array.type.freq)))
    # not `to_timestamp`: its nanoseconds end in the year 2262
    starts = periods.asfreq("us", how="START").asi8
    buffers = [bitmap(valid), pa.py_buffer(starts)]
    return pa.Array.from_buffers(pa.timestamp("us"), len(array), buffers)


def interval_names(array: pa.ExtensionArray) -> pa.Array:
    """The name of each interval, such as `(0.0, 1.5]`, as pandas writes it."""
    from pandas import Interval

    names: dict[tuple[Any, Any], str] = {}
    texts: list[str | None] = []
    for ends in array.storage.to_pylist():
        # pandas may have the ends of a missing one as nan, or as none
        if ends is None or ends["left"] is None or ends["left"] != ends["left"]:
            texts.append(None)
            continue
        key = (ends["left"], ends["right"])
        if key not in names:
            names[key] = str(Interval(*key, closed=array.type.closed))
        texts.append(names[key])
    return text_array(texts)


def told_of_pandas_types(schema: pa.Schema) -> bool:
    """Whether Arrow took a type of pandas for what stores it, and knows better from now on.

    Args:
        schema: As it was read; read it again if the answer is yes.

    Raises:
        DataError: If pandas, which alone knows what is stored, is not installed.
    """
    types = (_PERIOD.encode(), _INTERVAL.encode())
    unknown = [
        field.name for field in schema if field.metadata and field.metadata.get(_NAME) in types
    ]
    if not unknown:
        return False
    try:
        from pandas import IntervalIndex, PeriodIndex
    except ImportError as error:
        raise DataError(
            "periods and intervals of pandas must be read where pandas is installed, found some in "
            f"{listed_names(unknown)}; install pandas, or store timestamps and text"
        ) from error
    # pandas makes its types known to Arrow with the first that it converts
    pa.array(PeriodIndex([], freq="D"))
    pa.array(IntervalIndex([]))
    return True


def with_pandas_types(data: Any) -> Any:
    """A table or a reader with the types of pandas that Arrow did not know when it was made."""
    if not told_of_pandas_types(data.schema):
        return data
    # what comes from elsewhere is taken for what it says it is, without a copy
    reader = pa.RecordBatchReader.from_stream(data)
    return reader.read_all() if isinstance(data, pa.Table) else reader


def require_known_pandas_types(schema: pa.Schema) -> None:
    """Refuse a dataset that took a type of pandas for what stores it, which it does for good.

    Raises:
        DataError: If it did.
    """
    if told_of_pandas_types(schema):
        raise DataError(
            "a dataset with periods or intervals of pandas must be made when Arrow knows them, "
            "this one was made before and has what stores them; give its path, or make it again"
        )
