"""Hive partition columns: folders such as `day=2026-01-01/region=eu` give each row these values.

`pyarrow.dataset` can parse them, but like `pyarrow.scalar` and `pyarrow.array` it imports pandas
wherever pandas is installed. This module builds the columns from raw buffers instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

# the folder name that Hive and Spark write for null
_NULL = "__HIVE_DEFAULT_PARTITION__"
# 18 digits always fit int64
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")
_FIRST_DAY = date(1970, 1, 1)
_FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Constant(NamedTuple):
    """The partition value that all rows of one file share.

    Attributes:
        dtype: The Arrow type of the column.
        value: The stored value; times are whole numbers of their unit, None is null.
    """

    dtype: pa.DataType
    value: int | str | None


def partition_values(folders: Sequence[str]) -> dict[str, str | None]:
    """The `column=value` pairs among a file's folders, URL-decoded; None for a null value."""
    pairs = (folder.partition("=") for folder in folders if "=" in folder.lstrip("="))
    return {unquote(name): None if value == _NULL else unquote(value) for name, _, value in pairs}


def typed_partitions(files: Sequence[Mapping[str, str | None]]) -> list[dict[str, Constant]]:
    """Give each partition column one type that fits its values in all files.

    Whole numbers without leading zeros become int64, `2026-01-01` becomes a date and
    `2026-01-01T05:00` a UTC timestamp; everything else stays text. A leading zero marks a code,
    such as a postal code, not a number.

    Args:
        files: For each file, the result of `partition_values`.

    Returns:
        For each file, a value for every column of all files; null where it lies outside the folders
        of that column.
    """
    names = list(dict.fromkeys(name for file in files for name in file))
    columns = {name: _typed([file.get(name) for file in files]) for name in names}
    return [{name: columns[name][i] for name in names} for i in range(len(files))]


def constant_column(constant: Constant, n_rows: int) -> pa.Array:
    """A column of one repeated value; text is dictionary-encoded, as text read from Parquet is."""
    dtype, value = constant
    if isinstance(value, str):
        text = value.encode()
        # a string array of length one: validity bitmap (none), offsets, bytes
        ends = np.array([0, len(text)], dtype=np.int32)
        names = pa.Array.from_buffers(dtype, 1, [None, pa.py_buffer(ends), pa.py_buffer(text)])
        return pa.DictionaryArray.from_arrays(_whole_numbers(pa.int32(), 0, n_rows), names)
    if value is None:
        is_text = pa.types.is_string(dtype)
        return pa.nulls(n_rows, pa.dictionary(pa.int32(), dtype) if is_text else dtype)
    return _whole_numbers(dtype, value, n_rows)


def _whole_numbers(dtype: pa.DataType, value: int, n_rows: int) -> pa.Array:
    numbers = np.full(n_rows, value, dtype=f"i{dtype.bit_width // 8}")
    return pa.Array.from_buffers(dtype, n_rows, [None, pa.py_buffer(numbers)])


def _typed(texts: Sequence[str | None]) -> list[Constant]:
    known = [text for text in texts if text is not None]
    for pattern, stored, dtype in _TYPES:
        if all(pattern.fullmatch(text) for text in known):
            try:
                return [Constant(dtype, None if text is None else stored(text)) for text in texts]
            except ValueError:  # 2026-02-30
                continue
    return [Constant(pa.string(), text) for text in texts]


def _days(text: str) -> int:
    return (date.fromisoformat(text) - _FIRST_DAY).days


def _microseconds(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    return (moment - _FIRST_MOMENT) // timedelta(microseconds=1)


_TYPES: tuple[tuple[re.Pattern[str], Callable[[str], int], pa.DataType], ...] = (
    (_INTEGER, int, pa.int64()),
    (_DATE, _days, pa.date32()),
    (_TIME, _microseconds, pa.timestamp("us", "UTC")),
)
