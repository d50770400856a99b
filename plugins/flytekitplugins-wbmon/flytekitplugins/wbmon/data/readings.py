"""Readings: a column taken for what it is said to be, with count of what cannot be read so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flytekitplugins.wbmon.data.arrow import (
    bool_array,
    dense_numbers,
    float_array,
    is_valid,
    kind_of,
    seconds,
    text_array,
    whole_array,
    with_elements,
    without_null_names,
)
from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.data.names import has_names, names_of
from flytekitplugins.wbmon.data.objects import split
from flytekitplugins.wbmon.data.unreadable import Unreadable
from flytekitplugins.wbmon.data.uuids import is_uuid, uuid_name, uuid_names
from flytekitplugins.wbmon.data.whole import read_whole

_EXAMPLES, _LOOK, _SHOWN = 3, 100, 40
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
_DIGITS = r"^[+-]?\d{1,76}$"  # of more, Arrow makes other numbers
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
_FIRST_YEAR, _YEAR_10000 = -62_135_596_800, 253_402_300_800  # 0001 and 10000, in seconds
_TIME = (
    r"^(?P<day>\d{4}-\d{2}-\d{2})(?:[Tt ](?P<clock>\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\d*)?"
    r"\s?(?P<zone>[Zz]|[+-]\d{2}:?\d{2})?$"
)
_SPELLINGS = (
    # the basic form, a comma before the fraction of a second, and an offset of hours alone
    (r"^(\d{4})(\d{2})(\d{2})[Tt](\d{2})(\d{2})(\d{2})", r"\1-\2-\3T\4:\5:\6"),
    (r"(:\d{2}),(\d)", r"\1.\2"),
    (r"(:\d{2}(?:\.\d+)?\s?[+-]\d{2})$", r"\1:00"),
)


class Reading(NamedTuple):
    """A column taken as a kind.

    Attributes:
        values: Null where a value is missing or cannot be read. Numbers are integers or floats,
            durations seconds, times seconds since 1970 (UTC), both float64; ordinals are ranks;
            categories, text and identifiers are text; the others are as they were.
        unreadable: Whether a row has a value that cannot be read; shape `(n,)`; None if none has.
        examples: The texts of at most three unreadable values.
    """

    values: pa.Array
    unreadable: NDArray[np.bool_] | None = None
    examples: tuple[str, ...] = ()

    @property
    def n_unreadable(self) -> int:
        """Number of rows with a value that cannot be read."""
        return 0 if self.unreadable is None else int(self.unreadable.sum())

    @property
    def odd(self) -> Unreadable:
        """The values that cannot be read."""
        return Unreadable(self.n_unreadable, self.examples)


def read_as(
    kind: Kind, array: pa.Array, *, missing: Sequence[str] = (), order: Sequence[str] = ()
) -> Reading:
    """Take a column as one of a kind.

    Text that is blank or `nan` is a missing number, time or boolean. Text is read as a number in
    decimal notation, as a time in ISO form with its offset (UTC without one), as a boolean if it is
    `true`, `yes`, `1`, `false`, `no` or `0` in any case. Numbers are read as seconds where times or
    durations are wanted.
    Times beyond the years 1 to 9999 cannot be read, whatever the others are.

    Args:
        kind: What the column is.
        array: An array in its plain form, also with odd values.
        missing: Names of values that stand for none, such as `-999`.
        order: The names of an ordinal, lowest first.
    """
    values, odd = split(array)
    values = _present(without_null_names(values), kind, missing)
    read = _read(kind, values, order)
    if odd is None and read.null_count == values.null_count:
        return Reading(read)
    present = is_valid(values)
    if odd is not None:
        odd = _present(odd, kind, missing)
        of_odd = _read(kind, odd, order)
        if kind in _READERS and of_odd.null_count < len(of_odd):
            read = _together(read, of_odd)
        present |= is_valid(odd)
    unreadable = present & ~is_valid(read)
    if not unreadable.any():
        return Reading(read)
    rows = whole_array(np.flatnonzero(unreadable)[:_LOOK])
    return Reading(read, unreadable, _examples(array.take(rows)))


def _together(read: pa.Array, of_odd: pa.Array) -> pa.Array:
    """Values, and where there is none, what was read from an odd one."""
    if kind_of(read.type) != "number":
        return pc.coalesce(read.cast(of_odd.type), of_odd)
    # not simply as floats: they would round whole numbers of many digits
    for dtype in (read.type, of_odd.type):
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return pc.coalesce(read.cast(dtype), of_odd.cast(dtype))
    a, b = (float_array(_floats(each), is_valid(each)) for each in (read, of_odd))
    return pc.coalesce(a, b)


def _floats(array: pa.Array) -> NDArray[np.float64]:
    return dense_numbers(array).astype(np.float64)


def _read(kind: Kind, values: pa.Array, order: Sequence[str]) -> pa.Array:
    return _READERS[kind](values, order) if kind in _READERS else values


def _present(values: pa.Array, kind: Kind, missing: Sequence[str]) -> pa.Array:
    """The values with null for those that stand for none."""
    stored = kind_of(values.type)
    if stored == "vector" and missing:
        # a vector that lacks a number is missing
        return with_elements(values, lambda numbers: _present(numbers, "number", missing))
    absent = None
    if stored == "text" and kind in _PARSED:
        absent = pc.is_in(
            pc.utf8_lower(pc.utf8_trim_whitespace(_texts(values))), value_set=text_array(_BLANK)
        )
    elif pa.types.is_floating(values.type) and kind not in _QUANTITIES:
        absent = pc.is_nan(values)
    if missing:
        named = _is_declared(values, kind, missing)
        absent = named if absent is None else pc.or_(absent, named)
    if absent is None:
        return values
    return pc.if_else(absent, _null(values.type), values)


def _is_declared(values: pa.Array, kind: Kind, missing: Sequence[str]) -> pa.Array:
    """Whether a value is one of those that are said to stand for none."""
    dtype = values.type
    if pa.types.is_floating(dtype):
        numbers = np.array([number for name in missing if (number := _number(name)) is not None])
        # 0.1 in 32 bits is another number than in 64 bits, and is meant
        narrow = numbers.astype(f"f{dtype.bit_width // 8}").astype(np.float64)
        wanted = float_array(narrow, np.ones(len(narrow), dtype=bool))
        return pc.is_in(values.cast(pa.float64()), value_set=wanted)
    if pa.types.is_integer(dtype):
        sign = "u" if pa.types.is_unsigned_integer(dtype) else "i"
        limits = np.iinfo(f"{sign}{dtype.bit_width // 8}")
        whole = [n for n in read_whole(missing) if n is not None and limits.min <= n <= limits.max]
        return pc.is_in(values, value_set=text_array(list(map(str, whole))).cast(dtype))
    if not has_names(dtype):
        return bool_array(np.zeros(len(values), dtype=bool))
    named = _is_named(_texts(names_of(values)), missing)
    # as what it is stored, or as what its text means
    stored = kind_of(dtype)
    spelled = stored if stored in ("boolean", "time") else kind
    if spelled not in _SPELLED:
        return named
    # one value has many spellings: another zone, a date alone, zeros at the end, `False` and `0`
    read = _READERS[spelled]
    if stored == "text":
        # read together, numbers are of one type
        both = read(pa.concat_arrays([_texts(values), text_array(missing)]), ())
        values, wanted = both[: len(values)], both[len(values) :]
    else:
        values, wanted = read(values, ()), read(text_array(missing), ())
        if kind_of(wanted.type) == "number":
            wanted = float_array(_floats(wanted), is_valid(wanted))
    return pc.or_(named, pc.is_in(values, value_set=wanted.drop_null()))


def _is_named(texts: pa.Array, missing: Sequence[str]) -> pa.Array:
    found = pc.is_in(texts, value_set=text_array(missing))
    # a UUID has several spellings; where none is declared, none is looked for
    uuids = [uuid_name(name) for name in missing if is_uuid(name)]
    return (
        pc.or_(found, pc.is_in(uuid_names(texts), value_set=text_array(uuids))) if uuids else found
    )


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _numbers(values: pa.Array, _: Sequence[str]) -> pa.Array:
    stored = kind_of(values.type)
    if stored == "number":
        return values
    if stored == "boolean":
        return values.cast(pa.uint8())
    return _parsed_numbers(_texts(values)) if stored == "text" else _none(values, pa.float64())


def _parsed_numbers(texts: pa.Array) -> pa.Array:
    trimmed = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), r"^\+", "")
    is_number = pc.match_substring_regex(trimmed, _NUMBER)
    numbers = pc.if_else(is_number, trimmed, _null(trimmed.type))
    if pc.all(pc.match_substring_regex(numbers, _DIGITS)).as_py():
        # floats would round them
        for dtype in (pa.int64(), pa.decimal256(76, 0)):
            with suppress(pa.ArrowInvalid):
                return numbers.cast(dtype)
    return numbers.cast(pa.float64())


def _durations(values: pa.Array, _: Sequence[str]) -> pa.Array:
    stored = kind_of(values.type)
    if stored == "duration":
        return float_array(seconds(values), is_valid(values))
    return (
        values.cast(pa.float64(), safe=False) if stored == "number" else _none(values, pa.float64())
    )


def _times(values: pa.Array, _: Sequence[str]) -> pa.Array:
    stored = kind_of(values.type)
    if stored == "time":
        return _of_calendar(float_array(seconds(values), is_valid(values)))
    if stored == "number":
        return _of_calendar(values.cast(pa.float64(), safe=False))
    if stored != "text":
        return _none(values, pa.float64())
    encoded = _texts(values).dictionary_encode()
    # a time is rarely repeated, but its day and its clock are parsed by Arrow, not row by row
    return _of_calendar(_parsed_times(encoded.dictionary)).take(encoded.indices)


def _of_calendar(numbers: pa.Array) -> pa.Array:
    """Seconds since 1970; null for years that no calendar has, as of milliseconds that are meant.

    Infinite numbers are counted as such.
    """
    valid = is_valid(numbers)
    seconds_since = np.full(len(numbers), np.nan)
    seconds_since[valid] = dense_numbers(numbers)
    beyond = np.isfinite(seconds_since) & ~(
        (seconds_since >= _FIRST_YEAR) & (seconds_since < _YEAR_10000)
    )
    return pc.if_else(bool_array(beyond), _null(numbers.type), numbers) if beyond.any() else numbers


def usual_times(texts: pa.Array) -> pa.Array:
    """ISO times in their extended form, with a point and all of the offset; other text as it is."""
    for spelling, usual in _SPELLINGS:
        texts = pc.replace_substring_regex(texts, spelling, usual)
    return texts


def _parsed_times(texts: pa.Array) -> pa.Array:
    parts = pc.extract_regex(texts, _TIME)
    # nearly all texts are spelled as usual, and are not searched
    if parts.null_count > texts.null_count:
        parts = pc.extract_regex(usual_times(texts), _TIME)
    day, clock, zone = (pc.struct_field(parts, name) for name in ("day", "clock", "zone"))
    clock = pc.if_else(pc.equal(clock, _text("")), _text("00:00"), clock)
    local = _moments(pc.binary_join_element_wise(day, clock, _text("T")))
    # `+02:30` is two hours and a half, and `Z` or no zone is none
    hours = pc.coalesce(_whole(pc.utf8_slice_codeunits(zone, 0, 3)), _whole_number(0))
    minutes = pc.coalesce(_whole(pc.utf8_slice_codeunits(zone, -2)), _whole_number(0))
    is_west = pc.starts_with(pc.coalesce(zone, _text("")), "-")
    minutes = pc.if_else(is_west, pc.negate(minutes), minutes)
    offset = pc.add(
        pc.multiply(hours, _whole_number(3600)), pc.multiply(minutes, _whole_number(60))
    )
    return pc.subtract(local, offset.cast(pa.float64()))


def _whole(texts: pa.Array) -> pa.Array:
    """Digits with a sign as whole numbers; null for anything else."""
    is_whole = pc.match_substring_regex(texts, r"^[+-]?\d{2}$")
    digits = pc.replace_substring_regex(texts, r"^\+", "")
    return pc.if_else(is_whole, digits, _null(texts.type)).cast(pa.int64())


def _moments(texts: pa.Array) -> pa.Array:
    """Times without a zone, in seconds since 1970; null where a day or an hour does not exist."""
    try:
        moments = texts.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        moments = pa.concat_arrays([_moment(text) for text in texts])
    return float_array(seconds(moments), is_valid(moments))


def _moment(text: pa.Scalar) -> pa.Array:
    try:
        return pa.repeat(text.cast(pa.timestamp("us")), 1)
    except pa.ArrowInvalid:
        return pa.nulls(1, pa.timestamp("us"))


def _booleans(values: pa.Array, _: Sequence[str]) -> pa.Array:
    stored = kind_of(values.type)
    if stored == "boolean":
        return values
    if stored not in ("number", "text"):
        return _none(values, pa.bool_())
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(_texts(names_of(values))))
    is_true = pc.is_in(texts, value_set=text_array(_TRUE))
    is_false = pc.is_in(texts, value_set=text_array(_FALSE))
    return pc.if_else(pc.or_(is_true, is_false), is_true, _null(pa.bool_()))


def _named(values: pa.Array, _: Sequence[str]) -> pa.Array:
    return names_of(values) if has_names(values.type) else _none(values, pa.large_string())


def _ranks(values: pa.Array, order: Sequence[str]) -> pa.Array:
    if not order:
        return _numbers(values, order)
    named = _named(values, order)
    return pc.index_in(_texts(named), value_set=text_array(order)).cast(pa.int64())


def _lists(values: pa.Array, _: Sequence[str]) -> pa.Array:
    return values if kind_of(values.type) in ("vector", "nested") else _none(values, pa.null())


def _vectors(values: pa.Array, _: Sequence[str]) -> pa.Array:
    return values if kind_of(values.type) == "vector" else _none(values, pa.null())


def _none(values: pa.Array, dtype: pa.DataType) -> pa.Array:
    return pa.nulls(len(values), dtype)


def _null(dtype: pa.DataType) -> pa.Scalar:
    return pa.nulls(1, dtype)[0]


def _text(value: str) -> pa.Scalar:
    # `pyarrow.scalar` would import pandas
    return text_array([value])[0]


def _whole_number(value: int) -> pa.Scalar:
    return whole_array(np.array([value]))[0]


def _texts(values: pa.Array) -> pa.Array:
    return values.cast(pa.large_string())


def _examples(array: pa.Array) -> tuple[str, ...]:
    values, odd = split(array)
    # Python has no time beyond the year 9999, but such a time has a name
    if has_names(values.type):
        texts = names_of(values).cast(pa.large_string()).to_pylist()
    else:
        texts = list(map(_shown, values))
    told = (
        texts
        if odd is None
        else [b if b is not None else a for a, b in zip(texts, odd.to_pylist(), strict=True)]
    )
    return tuple(dict.fromkeys(text[:_SHOWN] for text in told))[:_EXAMPLES]


def _shown(value: pa.Scalar) -> str:
    try:
        return repr(value.as_py())
    except ValueError:
        # Python has no mapping of two equal names; the items tell no more than the type does
        return str(value.type)


_SPELLED = ("number", "boolean", "time")
_QUANTITIES = ("number", "time", "duration")  # in which nan is counted as missing
_BLANK = ("", "nan")  # text that stands for no number, time or boolean
_PARSED = ("number", "ordinal", "boolean", "time", "duration")
_READERS: dict[Kind, Callable[[pa.Array, Sequence[str]], pa.Array]] = {
    "number": _numbers,
    "ordinal": _ranks,
    "boolean": _booleans,
    "duration": _durations,
    "time": _times,
    "category": _named,
    "text": _named,
    "identifier": _named,
    "vector": _vectors,
    "nested": _lists,
}
