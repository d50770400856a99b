"""Integer codes for columns of classes, whether text, whole numbers, booleans or dates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import (
    count_missing,
    dense_numbers,
    is_valid,
    kind_of,
    large_strings,
    whole_array,
)
from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.data.names import names_of
from flytekitplugins.wbmon.data.objects import has_odd, split, value_type
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.data.times import are_days, day_names
from flytekitplugins.wbmon.data.unreadable import MOST, Unreadable
from flytekitplugins.wbmon.data.uuids import uuid_name
from flytekitplugins.wbmon.data.whole import (
    are_fractions,
    have_lost_digits,
    read_whole,
    whole,
    without,
)
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

# more distinct labels than this are values of something else than a class
_MAX_CLASSES = 1000
_EXAMPLES, _LOOK = 3, 100
_SHOWN = 40
_TRUTHS = {"true": 1, "false": 0}
_HINT = '; give probabilities as `score`, or measure a regression with task="regression"'


class CodedColumn(NamedTuple):
    """A column of classes as integer codes.

    Attributes:
        names: The classes, sorted by number if the column is numeric, else as text.
        codes: Index into `names` for each row, -1 where missing; shape `(n_rows,)`.
        kind: `number` (booleans are numbers), `text`, `time` of dates, or `empty`.
        unreadable: Values that are no class, such as `n/a` among numbers; they count as missing.
    """

    names: tuple[str, ...]
    codes: Codes
    kind: Kind
    unreadable: Unreadable = Unreadable()

    @property
    def is_numeric(self) -> bool:
        """Whether the column held numbers or booleans."""
        return self.kind == "number"


def code_column(column: pa.ChunkedArray, name: str) -> CodedColumn:
    """Encode a column as class codes: by identity, so no digit of a whole number is lost.

    Missing, `nan` and blank text are no class. A whole number is the same class in every type.

    Args:
        column: The column in its plain form, also with odd values.
        name: Its name, for the message of an error.

    Raises:
        DataError: If the column holds neither text, numbers, booleans nor dates, if more than one
            in twenty of its numbers is a fraction or infinite, if it holds floats that have lost
            digits, or has more than 1000 distinct values.
    """
    dtype = value_type(column.type)
    kind = kind_of(dtype)
    if kind == "empty":
        _require_none(column, name)
        return CodedColumn((), np.full(len(column), -1), "empty")
    if kind in ("number", "boolean"):
        return _coded_numbers(column.combine_chunks(), name, kind)
    if kind == "text":
        return _coded_text(_texts(column), name, "text")
    if kind == "time":
        values, odd = split(column.combine_chunks())
        if are_days(values):
            return _coded_dates(values, odd, name)
    raise DataError(
        f"column {quoted_name(name)} must hold classes (text, whole numbers), found {dtype}"
    )


def code_as_text(column: pa.ChunkedArray, name: str) -> CodedColumn:
    """Encode a column of mixed values by the name of each, numbers among them.

    Args:
        column: The column in its plain form, also with odd values.
        name: Its name, for the message of an error.

    Raises:
        DataError: If it has more than 1000 distinct values.
    """
    return _coded_text(_texts(column), name, "text")


def code_as_numbers(column: pa.ChunkedArray, name: str) -> CodedColumn:
    """Encode a column of text as codes of whole numbers; text that is none is unreadable.

    Args:
        column: The column in its plain form, also with odd values.
        name: Its name, for the message of an error.

    Raises:
        DataError: If it has more than 1000 distinct values.
    """
    none = CodedColumn((), np.full(len(column), -1), "number")
    return _with_odd(none, _texts(column), name, _TRUTHS)


def known_alone(coded: CodedColumn, names: Sequence[str]) -> CodedColumn:
    """The column with only these classes; any other is unreadable."""
    kept = tuple(name for name in coded.names if name in names)
    strange = [name for name in coded.names if name not in names]
    if not strange:
        return coded
    place = np.array([*(kept.index(n) if n in kept else -1 for n in coded.names), -1])
    codes = place[coded.codes]
    n_lost = int((codes < 0).sum() - (coded.codes < 0).sum())
    examples = tuple(f"new class {name[:_SHOWN]}" for name in strange[:_EXAMPLES])
    lost = Unreadable(n_lost, examples)
    return coded._replace(names=kept, codes=codes, unreadable=coded.unreadable.and_(lost))


def _require_none(column: pa.ChunkedArray, name: str) -> None:
    """Refuse a column of nothing but objects that nobody knows."""
    _, odd = split(column.combine_chunks())
    for found in [] if odd is None else odd.to_pylist():
        if found is not None:
            raise DataError(f"{_must(name)}, found {quoted_name(found)}")


def _must(name: str) -> str:
    return f"column {quoted_name(name)} must hold classes (text, whole numbers)"


def _texts(column: pa.ChunkedArray) -> pa.Array:
    if has_odd(column.type):
        parts = [names_of(chunk).cast(pa.large_string()) for chunk in column.chunks]
        return pa.concat_arrays(parts) if parts else pa.nulls(0, pa.large_string())
    return large_strings(column).combine_chunks()


def _coded_text(texts: pa.Array, name: str, kind: Kind) -> CodedColumn:
    encoded = texts.dictionary_encode()
    # Arrow orders a dictionary by first occurrence; sorted codes do not depend on row order
    words = [uuid_name(word) for word in encoded.dictionary.to_pylist()]
    names = sorted({word for word in words if word.strip()})
    at = {word: i for i, word in enumerate(names)}
    place = np.array([at.get(word, -1) for word in words], dtype=np.int64)
    codes = np.full(len(encoded), -1)
    codes[is_valid(encoded.indices)] = place[dense_numbers(encoded.indices)]
    return CodedColumn(_few(tuple(names), name), codes, kind)


def _coded_dates(values: pa.Array, odd: pa.Array | None, name: str) -> CodedColumn:
    coded = _coded_text(day_names(values), name, "time")
    return coded if odd is None else _with_odd(coded, odd, name, {})


def _coded_numbers(array: pa.Array, name: str, kind: Kind) -> CodedColumn:
    values, odd = split(array)
    values, fractions = _without_fractions(values)
    numbers = whole(values, _must(name), _HINT)
    distinct, place = _distinct(numbers, name)
    codes = place
    if numbers.null_count:
        codes = np.full(len(numbers), -1)
        codes[is_valid(numbers)] = place
    coded = CodedColumn(_few(tuple(map(str, distinct)), name), codes, "number", fractions)
    return (
        coded if odd is None else _with_odd(coded, odd, name, _TRUTHS if kind != "number" else {})
    )


def _without_fractions(values: pa.Array) -> tuple[pa.Array, Unreadable]:
    """Numbers without the few that are no whole ones, or so large that floats have lost digits.

    Many of them are refused later.
    """
    odd = are_fractions(values) | have_lost_digits(values)
    n_odd = int(odd.sum())
    if not n_odd or n_odd > (1 - MOST) * (len(values) - count_missing(values)):
        return values, Unreadable()
    rows = whole_array(np.flatnonzero(odd)[:_LOOK])
    examples = dict.fromkeys(map(class_name, values.take(rows).to_pylist()))
    return without(values, odd), Unreadable(n_odd, tuple(examples)[:_EXAMPLES])


def _distinct(numbers: pa.Array, name: str) -> tuple[list[int], Codes]:
    """The distinct numbers in ascending order, and the index of each row's number among them."""
    if numbers.null_count:
        numbers = numbers.drop_null()
    if not len(numbers):
        return [], np.empty(0, dtype=np.int64)
    if pa.types.is_int64(numbers.type):
        values = dense_numbers(numbers)
        low = values.min()
        # counting is linear in the rows and needs no table of hashes
        if int(values.max()) - int(low) <= _MAX_CLASSES:
            offset = values - low
            filled = np.bincount(offset) > 0
            place = (np.cumsum(filled) - 1)[offset]
            return [int(low) + i for i in np.flatnonzero(filled).tolist()], place
    encoded = numbers.dictionary_encode()
    _few(range(len(encoded.dictionary)), name)
    found = [int(value) for value in encoded.dictionary.to_pylist()]
    ranks = np.empty(len(found), dtype=np.int64)
    order = sorted(range(len(found)), key=found.__getitem__)
    ranks[order] = np.arange(len(found))
    return [found[i] for i in order], ranks[dense_numbers(encoded.indices)]


def _with_odd(coded: CodedColumn, odd: pa.Array, name: str, words: dict[str, int]) -> CodedColumn:
    """With the odd texts among numbers or dates: digits are the number, others are no class."""
    encoded = odd.dictionary_encode()
    texts = [text.strip() for text in encoded.dictionary.to_pylist()]
    read = [
        words.get(text.lower(), number)
        for text, number in zip(texts, read_whole(texts), strict=True)
    ]
    known = [None if each is None or not coded.is_numeric else str(each) for each in read]
    names = class_names({*coded.names, *filter(None, known)}, is_numeric=coded.is_numeric)
    codes = recode(coded, names)
    place = dense_numbers(encoded.indices)
    of_text = [-1 if each is None else names.index(each) for each in known]
    codes[is_valid(encoded.indices)] = np.array(of_text, dtype=np.int64)[place]
    bad = [each is None and text != "" for each, text in zip(known, texts, strict=True)]
    examples = [text[:_SHOWN] for text, is_bad in zip(texts, bad, strict=True) if is_bad]
    unreadable = Unreadable(int(np.array(bad)[place].sum()), tuple(examples[:_EXAMPLES]))
    return CodedColumn(_few(names, name), codes, coded.kind, coded.unreadable.and_(unreadable))


def _few(names: Any, column: str) -> Any:
    if len(names) > _MAX_CLASSES:
        raise DataError(
            f"column {quoted_name(column)} must hold at most {_MAX_CLASSES} classes, found "
            f"{len(names)} different values; "
            'measure a regression with task="regression"'
        )
    return names


def recode(column: CodedColumn, names: tuple[str, ...]) -> Codes:
    """The codes of a column with respect to `names`, which must contain all its classes."""
    # the last entry maps the code -1, missing, to itself
    place = np.array([*(names.index(name) for name in column.names), -1])
    return place[column.codes]


def class_order(names: Iterable[str], *, is_numeric: bool) -> tuple[str, ...]:
    """All classes in their sorted order.

    Args:
        names: The classes, each as often as you like.
        is_numeric: Whether they are numbers.

    Returns:
        Class names. Labels that are only 0 or only 1 still give the two classes `0` and `1`.
    """
    found = set(names)
    if found.issubset(("0", "1")):
        found = {"0", "1"}
    return class_names(found, is_numeric=is_numeric)


def class_names(names: Iterable[str], *, is_numeric: bool) -> tuple[str, ...]:
    """Different names in their order: as numbers of any size, or as text."""
    return tuple(sorted(names, key=_number_first if is_numeric else None))


def _number_first(name: str) -> tuple[int, float, str]:
    # an int of any size: Python compares it with a float exactly
    try:
        return 0, int(name), name
    except ValueError:
        pass
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
