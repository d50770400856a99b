"""The plain form of an Arrow array: the same values, in one of a few types.

Dictionaries of anything but text, run-end encoding, views, extension types, maps and binary data
are ways to store values. Whoever asks what a value means asks the plain form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import (
    bitmap,
    dense_numbers,
    is_list,
    is_text,
    is_valid,
    whole_array,
    with_elements,
)
from flytekitplugins.wbmon.data.objects import UuidText, from_objects
from flytekitplugins.wbmon.data.pandas_types import (
    interval_names,
    is_interval,
    is_period,
    period_starts,
)
from flytekitplugins.wbmon.data.scalars import UUID_BYTES
from flytekitplugins.wbmon.data.sources import Part, Source, StreamSource, different_names
from flytekitplugins.wbmon.data.utf8 import bytes_as_text, is_bytes, readable


def plain(array: pa.Array) -> pa.Array:
    """The array in its plain form; itself if it is plain.

    Text stays as it is, also dictionary-encoded, but string views become `large_string`. Binary
    data become text: UTF-8 as itself, 16 other bytes as a UUID, and others as `0x…`; so do bytes
    that are said to be text and are not UTF-8. Times of day become durations since midnight,
    periods of pandas the time of their start and intervals their text. Maps become lists of
    structs. Fields of a struct that have one name become `a`, `a.1` and so on, as columns do. Any
    other extension type becomes its storage. The values inside lists and structs are in their plain
    form, too.
    """
    while convert := _conversion(array.type):
        array = convert(array)
    if is_list(array.type):
        return with_elements(array, plain)
    if pa.types.is_struct(array.type):
        return _with_plain_fields(array)
    return readable(array) if _is_any_text(array.type) else array


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """The type of the plain form of an array of this type."""
    return dtype if _is_plain(dtype) else plain(pa.nulls(0, dtype)).type


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The plain form of every chunk."""
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


def _is_plain(dtype: pa.DataType) -> bool:
    if _conversion(dtype):
        return False
    if is_list(dtype):
        return _is_plain(dtype.value_type)
    return not pa.types.is_struct(dtype) or all(_is_plain(field.type) for field in dtype)


def _is_any_text(dtype: pa.DataType) -> bool:
    return is_text(dtype) or bool(pa.types.is_dictionary(dtype))


def _is_code(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(dtype) and not is_text(dtype.value_type))


def _is_coded_view(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(dtype) and pa.types.is_string_view(dtype.value_type))


def _is_extension(dtype: pa.DataType) -> bool:
    return isinstance(dtype, pa.BaseExtensionType)


def _is_view_of_lists(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(dtype) or pa.types.is_large_list_view(dtype))


def _repeats_names(dtype: pa.DataType) -> bool:
    if not pa.types.is_struct(dtype):
        return False
    return len({field.name for field in dtype}) < int(dtype.num_fields)


def _decoded(array: pa.DictionaryArray) -> pa.Array:
    # not `dictionary_decode`, which knows no views
    return plain(array.dictionary).take(array.indices)


def _repeated(array: pa.RunEndEncodedArray) -> pa.Array:
    # not `run_end_decode`, which knows neither views nor dictionaries nor extension types; the
    # ends count from the first row of the array that this may be a slice of
    ends = np.clip(dense_numbers(array.run_ends).astype(np.int64) - array.offset, 0, len(array))
    places = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    return plain(array.values).take(whole_array(places))


def _storage(array: pa.ExtensionArray) -> pa.Array:
    if array.type.extension_name == "arrow.bool8":
        return array.storage.cast(pa.bool_())
    if is_period(array.type):
        return period_starts(array)
    return interval_names(array) if is_interval(array.type) else array.storage


def _fixed_bytes(array: pa.FixedSizeBinaryArray) -> pa.Array:
    return array.cast(pa.large_binary())


def _since_midnight(array: pa.Array) -> pa.Array:
    whole = array.cast(pa.int32() if pa.types.is_time32(array.type) else pa.int64())
    return whole.cast(pa.int64()).view(pa.duration(array.type.unit))


def _entries(array: pa.MapArray) -> pa.Array:
    # not `cast`, which cannot follow every key and item into the list
    entries = pa.StructArray.from_arrays([plain(array.keys), plain(array.items)], ["key", "value"])
    buffers = [bitmap(is_valid(array)), pa.py_buffer(dense_numbers(array.offsets))]
    return pa.Array.from_buffers(pa.list_(entries.type), len(array), buffers, children=[entries])


def _gathered(array: pa.Array) -> pa.Array:
    """A view of lists as lists: the elements of a view may be in any order, and shared."""
    valid = is_valid(array)
    sizes = np.where(valid, dense_numbers(array.sizes), 0)
    ends = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    places = np.repeat(dense_numbers(array.offsets) - ends[:-1], sizes) + np.arange(ends[-1])
    # not all of Arrow's own forms can be taken from
    elements = plain(array.values).take(whole_array(places))
    buffers = [bitmap(valid), pa.py_buffer(ends)]
    dtype = pa.large_list(elements.type)
    return pa.Array.from_buffers(dtype, len(array), buffers, children=[elements])


def _renamed(array: pa.StructArray) -> pa.Array:
    fields = [array.type.field(place) for place in range(array.type.num_fields)]
    names = different_names(field.name for field in fields)
    dtype = pa.struct([(name, field.type) for name, field in zip(names, fields, strict=True)])
    children = [array.field(place) for place in range(array.type.num_fields)]
    return pa.Array.from_buffers(dtype, len(array), [bitmap(is_valid(array))], children=children)


def _with_plain_fields(array: pa.StructArray) -> pa.Array:
    found = [array.field(place) for place in range(array.type.num_fields)]
    fields = [plain(field) for field in found]
    if all(one is other for one, other in zip(fields, found, strict=True)):
        return array
    names = [field.name for field in array.type]
    dtype = pa.struct(list(zip(names, (field.type for field in fields), strict=True)))
    valid = bitmap(is_valid(array))
    return pa.Array.from_buffers(dtype, len(array), [valid], children=fields)


def _objects(array: pa.Array) -> pa.Array:
    return from_objects(array.to_pylist())


_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_extension, _storage),
    (pa.types.is_run_end_encoded, _repeated),
    (_is_code, _decoded),
    (_is_coded_view, _decoded),
    (pa.types.is_string_view, readable),
    (pa.types.is_fixed_size_binary, _fixed_bytes),
    (is_bytes, bytes_as_text),
    (pa.types.is_time, _since_midnight),
    (pa.types.is_map, _entries),
    (_repeats_names, _renamed),
    (_is_view_of_lists, _gathered),
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
