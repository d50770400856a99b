"""The plain form of an Arrow array: the same values, in one of a few types.

Dictionaries of anything but text, run-end encoding, views, extension types, maps and binary data
are ways to store values. Whoever asks what a value means asks the plain form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    dense_numbers,
    is_text,
    is_valid,
    large_strings,
    text_array,
    whole_array,
)
from flytekitplugins.wbmon.data.objects import UuidText, from_objects
from flytekitplugins.wbmon.data.scalars import CONTROLS, UUID_BYTES, bytes_text
from flytekitplugins.wbmon.data.sources import Part, Source, StreamSource, different_names


def plain(array: pa.Array) -> pa.Array:
    """The array in its plain form; itself if it is plain.

    Text stays as it is, also dictionary-encoded, but string views become `large_string`. Binary
    data become text: UTF-8 as itself, 16 other bytes as a UUID, and others as `0x…`.
    Times of day become durations since midnight, periods of pandas the time of their start. Maps
    become lists of structs. Fields of a struct that have one name become `a`, `a.1` and so on, as
    columns do. Any other extension type becomes its storage. The values inside lists and structs
    are left alone.
    """
    while convert := _conversion(array.type):
        array = convert(array)
    return array


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """The type of the plain form of an array of this type."""
    return plain(pa.nulls(0, dtype)).type if _conversion(dtype) else dtype


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The plain form of every chunk."""
    if not _conversion(column.type):
        return column
    chunks = [plain(chunk) for chunk in column.chunks]
    # objects of a union can be of one type in one chunk and of another in the next
    if len({chunk.type for chunk in chunks}) > 1:
        chunks = [plain(from_objects(column.to_pylist()))]
    return pa.chunked_array(chunks, None if chunks else plain_type(column.type))


def holds_uuids(dtype: pa.DataType) -> bool:
    """Whether a column may hold UUIDs, by its type; its plain form has them as text."""
    while pa.types.is_dictionary(dtype) or pa.types.is_run_end_encoded(dtype):
        dtype = dtype.value_type
    if isinstance(dtype, UuidText):
        return True
    stored = dtype.storage_type if _is_extension(dtype) else dtype
    return bool(pa.types.is_fixed_size_binary(stored) and stored.byte_width == UUID_BYTES)


def _conversion(dtype: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    """The next step towards the plain form; None if the type is plain."""
    return next((convert for is_, convert in _CONVERSIONS if is_(dtype)), None)


def _is_stored_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(dtype))


def _is_code(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(dtype) and not is_text(dtype.value_type))


def _is_coded_view(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(dtype) and pa.types.is_string_view(dtype.value_type))


def _is_extension(dtype: pa.DataType) -> bool:
    return isinstance(dtype, pa.BaseExtensionType)


def _is_bytes(dtype: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(dtype) or types.is_large_binary(dtype) or types.is_binary_view(dtype)
    )


def _is_view_of_lists(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(dtype) or pa.types.is_large_list_view(dtype))


def _repeats_names(dtype: pa.DataType) -> bool:
    if not pa.types.is_struct(dtype):
        return False
    return len({field.name for field in dtype}) < int(dtype.num_fields)


def _decoded(array: pa.DictionaryArray) -> pa.Array:
    return array.dictionary_decode()


def _storage(array: pa.ExtensionArray) -> pa.Array:
    if array.type.extension_name == "arrow.bool8":
        return array.storage.cast(pa.bool_())
    if array.type.extension_name == "pandas.period":
        return _starts(array)
    return array.storage


def _starts(array: pa.ExtensionArray) -> pa.Array:
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


def _fixed_bytes(array: pa.FixedSizeBinaryArray) -> pa.Array:
    return array.cast(pa.large_binary())


def _bytes(array: pa.Array) -> pa.Array:
    with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = array.cast(pa.large_string())
        if not pc.any(_may_be_uuids(texts)).as_py():
            return texts
    return text_array([None if value is None else bytes_text(value) for value in _items(array)])


def _may_be_uuids(texts: pa.Array) -> pa.Array:
    lengths = pc.binary_length(texts)
    of_length = pc.equal(lengths, whole_array(np.full(1, UUID_BYTES))[0])
    return pc.and_(of_length, pc.match_substring_regex(texts, CONTROLS))


def _items(array: pa.Array) -> list[bytes | None]:
    items: list[bytes | None] = array.to_pylist()
    return items


def _since_midnight(array: pa.Array) -> pa.Array:
    whole = array.cast(pa.int32() if pa.types.is_time32(array.type) else pa.int64())
    return whole.cast(pa.int64()).view(pa.duration(array.type.unit))


def _entries(array: pa.MapArray) -> pa.Array:
    entry = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    return array.cast(pa.list_(entry))


def _lists(array: pa.Array) -> pa.Array:
    # not `cast`: pyarrow 26 returns offsets that go backwards where a list is null
    try:
        return pa.array(array.to_pylist(), pa.large_list(array.type.value_type))
    except ValueError:
        # Python has no mapping of two equal names
        return _gathered(array)


def _gathered(array: pa.Array) -> pa.Array:
    """A view of lists as lists: the elements of a view may be in any order, and shared."""
    valid = is_valid(array)
    sizes = np.where(valid, dense_numbers(array.sizes), 0)
    ends = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    places = np.repeat(dense_numbers(array.offsets) - ends[:-1], sizes) + np.arange(ends[-1])
    elements = array.values.take(whole_array(places))
    buffers = [bitmap(valid), pa.py_buffer(ends)]
    dtype = pa.large_list(array.type.value_type)
    return pa.Array.from_buffers(dtype, len(array), buffers, children=[elements])


def _renamed(array: pa.StructArray) -> pa.Array:
    fields = [array.type.field(place) for place in range(array.type.num_fields)]
    names = different_names(field.name for field in fields)
    dtype = pa.struct([(name, field.type) for name, field in zip(names, fields, strict=True)])
    children = array.flatten()
    return pa.Array.from_buffers(dtype, len(array), [bitmap(is_valid(array))], children=children)


def _objects(array: pa.Array) -> pa.Array:
    return from_objects(array.to_pylist())


_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_extension, _storage),
    (pa.types.is_run_end_encoded, pc.run_end_decode),
    (_is_code, _decoded),
    (_is_coded_view, _decoded),
    (_is_stored_text, large_strings),
    (pa.types.is_fixed_size_binary, _fixed_bytes),
    (_is_bytes, _bytes),
    (pa.types.is_time, _since_midnight),
    (pa.types.is_map, _entries),
    (_repeats_names, _renamed),
    (_is_view_of_lists, _lists),
    (pa.types.is_union, _objects),
)


class PlainSource:
    """A source whose columns are in their plain form.

    Args:
        source: The source.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.is_stream = isinstance(source, StreamSource)
        self._types: dict[str, pa.DataType] = {}

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""
        return self.source.names

    @property
    def partition_names(self) -> tuple[str, ...]:
        """Partition columns, given by folder names."""
        return self.source.partition_names

    @property
    def schema(self) -> pa.Schema:
        """Names and types; it takes the conversion of every column."""
        return pa.schema([(name, self.type_of(name)) for name in self.names])

    @property
    def n_rows(self) -> int | None:
        """Number of rows; None if it is unknown until everything has been read."""
        return self.source.n_rows

    def type_of(self, name: str) -> pa.DataType:
        """Type of the plain form of a column."""
        if name not in self._types:
            self._types[name] = plain_type(self.source.type_of(name))
        return self._types[name]

    def parts(self) -> list[Part]:
        """Disjoint parts of the rows, in order."""
        return [_plain_part(part) for part in self.source.parts()]

    def sample(self, columns: Sequence[str]) -> pa.Table:
        """Rows that are spread over the data if possible."""
        table = self.source.sample(columns)
        return pa.table({name: plain_column(table.column(name)) for name in columns})

    def column(self, name: str) -> pa.ChunkedArray:
        """One column as a whole."""
        return plain_column(self.source.column(name))


def _plain_part(part: Part) -> Part:
    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in part(columns):
            arrays = [plain(array) for array in batch.columns]
            yield pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)

    return read
