"""Gives all parts of a day one schema, so that any reader of Parquet can read the day as a whole.

A part has the types of what its segment held: whole numbers here, text there, a feature that others
lack. Our own reader makes one column of them, other readers refuse. So the parts that deviate are
written again, with the columns of all and the types that our reader gives them. What a column was
before is noted in the part (`wbmon.types`): the types of a day depend on what was logged, and not
on how often the day was levelled while parts came.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pyarrow as pa

from flytekitplugins.wbmon.data.alike import converted
from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.plain import plain_type
from flytekitplugins.wbmon.data.stack import logged
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import empty_log_table, log_types
from flytekitplugins.wbmon.monitor.prediction_log.files import (
    EMPTY_PART,
    LogFiles,
    LogPart,
)
from flytekitplugins.wbmon.monitor.prediction_log.schema import COLUMNS, FEATURE_PREFIX, RowKind
from flytekitplugins.wbmon.monitor.prediction_log.segments import EVENT_TIME

_TYPES = b"wbmon.types"
_THREADS = 8


def level_day(log: LogFiles, kind: RowKind, day: str) -> int:
    """Give all parts of a day of a table one schema; a second call changes nothing.

    Only the footers are read, unless parts deviate. A part that cannot be read is put aside.

    Args:
        log: The files of the log.
        kind: The kind of the table's rows.
        day: `YYYY-MM-DD`, UTC.

    Returns:
        Number of rows of the day.
    """
    log.clear(kind, day)
    found = log.parts(kind, day)
    # reading a footer is mostly waiting for the store
    with ThreadPoolExecutor(_THREADS) as pool:
        read = list(pool.map(lambda each: log.part(*each), found))
    parts = [part for part in read if part is not None and _is_of(kind, part)]
    for (path, _), part in zip(found, read, strict=True):
        if part not in parts:
            log.put_aside_part(kind, day, path)
    columns = _Columns(log, kind, parts)
    n_rows = 0
    for part in parts:
        if columns.deviates(part):
            table = log.read_part(part.path)
            if table is None or table.num_rows != part.n_rows:
                log.put_aside_part(kind, day, part.path)
                continue
            name = part.path.rpartition("/")[2]
            log.write_part(kind, day, name, columns.levelled(part, table))
        n_rows += part.n_rows
    return n_rows


def schema_before(log: LogFiles, kind: RowKind, day: str) -> pa.Schema:
    """The columns of the last earlier day with rows; those of the contract if there is none."""
    for earlier in reversed([each for each in log.days(kind) if each < day]):
        for found in log.parts(kind, earlier):
            part = None if found[0].endswith(EMPTY_PART) else log.part(*found)
            if part is not None and part.n_rows:
                # what its types were made of says nothing of a day without rows
                return _Columns(log, kind, [part]).schema
    return empty_log_table(kind).schema


def _is_of(kind: RowKind, part: LogPart) -> bool:
    """Whether a part is one of a table: with event times, and each column of its kind of values.

    Those that may hold anything hold what a log writes: numbers, booleans or text.
    """
    types, contract = _original_types(part.schema), log_types(kind)
    if not pa.types.is_timestamp(types.get(EVENT_TIME[kind], pa.null())):
        return False
    return all(
        kind_of(plain_type(dtype)) in ("empty", *_kinds_of(kind, name, contract))
        for name, dtype in types.items()
        if name in contract or name.startswith(FEATURE_PREFIX)
    )


def _kinds_of(kind: RowKind, name: str, contract: Mapping[str, pa.DataType]) -> tuple[str, ...]:
    is_any = name not in contract or COLUMNS[kind].get(name) == "any"
    return ("number", "boolean", "text") if is_any else (kind_of(plain_type(contract[name])),)


class _Columns:
    """The columns that all parts of a day get."""

    def __init__(self, log: LogFiles, kind: RowKind, parts: Sequence[LogPart]) -> None:
        self._log = log
        self._original = {part.path: _original_types(part.schema) for part in parts}
        self._voters = [part for part in parts if part.n_rows]
        # columns whose values decide: what each part has of them
        self._values: dict[str, dict[str, pa.ChunkedArray]] = {}
        contract = log_types(kind)
        names = dict.fromkeys(name for part in parts for name in part.schema.names)
        known = [name for name in contract if name in names or name in COLUMNS[kind]]
        others = sorted(name for name in names if name not in contract)
        self._types: dict[str, pa.DataType] = {}
        for name in (*known, *others):
            dtype = self._type_of(name, contract.get(name, pa.string()))
            if dtype is not None:
                self._types[name] = dtype
        # a column of which nothing can be made stays in each part as it is
        self._refused = [name for name in names if name not in self._types]

    @property
    def schema(self) -> pa.Schema:
        """Names and types."""
        return pa.schema([*self._types.items()])

    def deviates(self, part: LogPart) -> bool:
        """Whether the part is not stored with these columns."""
        stored = [(field.name, field.type) for field in part.schema]
        return [each for each in stored if each[0] not in self._refused] != [*self._types.items()]

    def levelled(self, part: LogPart, table: pa.Table) -> pa.Table:
        """The rows of a part with these columns."""
        arrays = {name: self._array(part, table, name) for name in self._types}
        kept = {name: table[name] for name in self._refused if name in table.column_names}
        before = self._original[part.path]
        was = {name: before.get(name, pa.null()) for name in self._types}
        noted = [(name, dtype) for name, dtype in was.items() if dtype != self._types[name]]
        metadata = {_TYPES: b64encode(pa.schema(noted).serialize().to_pybytes())}
        schema = pa.schema([*self._types.items(), *((n, a.type) for n, a in kept.items())])
        columns = [*arrays.values(), *kept.values()]
        return pa.table(columns, schema=schema.with_metadata(metadata if noted else None))

    def _array(self, part: LogPart, table: pa.Table, name: str) -> pa.ChunkedArray:
        dtype = self._types[name]
        if part.path in self._values.get(name, {}):
            return self._values[name][part.path]
        if name in table.column_names and table[name].type == dtype:
            return table[name]
        # a part that has values of the column has them in this type, or in `_values`
        return pa.chunked_array([pa.nulls(part.n_rows, dtype)])

    def _type_of(self, name: str, otherwise: pa.DataType) -> pa.DataType | None:
        """The type of a column; None if its values are of kinds that nothing holds together."""
        voters = [part for part in self._voters if name in part.schema.names]
        types = {self._original[part.path][name] for part in voters} - {pa.null()}
        if not types:
            return otherwise
        stored = {part.schema.field(name).type for part in voters if self._has(part, name)}
        if len(types | stored) == 1:
            return types.pop()
        return self._decided(name, voters, otherwise)

    def _has(self, part: LogPart, name: str) -> bool:
        return not pa.types.is_null(self._original[part.path][name])

    def _decided(
        self, name: str, voters: Sequence[LogPart], wanted: pa.DataType
    ) -> pa.DataType | None:
        """The type that holds the values of all parts as our reader has them."""
        arrays = {}
        for part in filter(lambda part: self._has(part, name), voters):
            table = self._log.read_part(part.path, [name])
            if table is not None:
                array = table[name].combine_chunks()
                arrays[part.path] = _restored(array, self._original[part.path][name])
        whole = None
        with suppress(pa.ArrowException, DataError, TypeError, ArithmeticError):
            whole = logged([*arrays.values()])
        if whole is None:
            return None
        with suppress(pa.ArrowException):
            if pa.types.is_large_string(whole.type):
                # as the parts of other segments have their texts
                whole = whole.cast(pa.string())
            elif pa.types.is_nested(whole.type):
                # a struct or a list in the layout of the contract
                whole = whole.cast(wanted)
        begin, values = 0, {}
        for path, array in arrays.items():
            values[path] = whole.slice(begin, len(array))
            begin += len(array)
        self._values[name] = values
        return whole.type


def _original_types(schema: pa.Schema) -> Mapping[str, pa.DataType]:
    """What the columns of a part were before it was levelled."""
    found = {field.name: field.type for field in schema}
    noted = (schema.metadata or {}).get(_TYPES)
    with suppress(ValueError, pa.ArrowException):
        if noted is not None:
            before = pa.ipc.read_schema(pa.BufferReader(b64decode(noted)))
            found |= {field.name: field.type for field in before}
    return found


def _restored(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    """The values of a levelled column as they were before; as they are if that cannot be."""
    if array.type == dtype:
        return array
    with suppress(pa.ArrowException):
        if pa.types.is_null(dtype):
            return pa.nulls(len(array))
        if pa.types.is_boolean(dtype) and not pa.types.is_string(array.type):
            return converted(array, pa.int64()).cast(dtype)
        return array.cast(dtype) if pa.types.is_string(array.type) else converted(array, dtype)
    return array
