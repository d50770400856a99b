"""Integer codes for columns of classes, whether text, whole numbers or booleans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.arrow import dense_numbers, is_valid, large_strings
from flytekitplugins.wbmon.data.columns import float_values, is_class_name, is_number
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import quoted_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

# more distinct labels than this are values of something else than a class
_MAX_CLASSES = 1000


class CodedColumn(NamedTuple):
    """A column of classes as integer codes.

    Attributes:
        names: The classes, sorted by number if the column is numeric, else as text.
        codes: Index into `names` for each row, -1 where missing; shape `(n_rows,)`.
        is_numeric: Whether the column held numbers or booleans.
    """

    names: tuple[str, ...]
    codes: Codes
    is_numeric: bool


def class_name(value: Any) -> str:
    """The name of a class as text; `True`, `1` and `1.0` are all named `1`."""
    if isinstance(value, (bool, int, float, np.bool_, np.integer)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def code_column(table: pa.Table, name: str) -> CodedColumn:
    """Encode one column of a table as class codes.

    Raises:
        DataError: If the column is neither text nor numeric, holds fractions or infinities, or has
            more than 1000 distinct values.
    """
    kind = table.schema.field(name).type
    if is_class_name(kind):
        return _coded_text(table[name], name)
    if not is_number(kind):
        raise DataError(
            f"column {quoted_name(name)} must hold classes (text, whole numbers), found {kind}"
        )
    values = float_values(table[name])
    present = ~np.isnan(values)
    distinct, place = _distinct(values[present])
    wrong = distinct[~np.isfinite(distinct) | (distinct != np.floor(distinct))]
    if len(wrong):
        raise DataError(
            f"column {quoted_name(name)} must hold classes (text, whole numbers), found "
            f"{wrong[0]:g}; give "
            'probabilities as `score`, or measure a regression with task="regression"'
        )
    codes = np.full(len(values), -1)
    codes[present] = place
    return CodedColumn(_names(map(class_name, distinct.tolist()), name), codes, is_numeric=True)


def _distinct(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Codes]:
    """The distinct values in ascending order, and the index of each row's value among them."""
    if len(values) and np.isfinite(values).all():
        low, high = values.min(), values.max()
        # counting is linear in the rows, `np.unique` has to sort them
        if high - low <= _MAX_CLASSES and (values == np.floor(values)).all():
            offset = (values - low).astype(np.int64)
            filled = np.bincount(offset) > 0
            return np.flatnonzero(filled) + low, (np.cumsum(filled) - 1)[offset]
    distinct, place = np.unique(values, return_inverse=True)
    return distinct, place


def _coded_text(column: pa.ChunkedArray, name: str) -> CodedColumn:
    encoded = large_strings(column).combine_chunks().dictionary_encode()
    # Arrow orders a dictionary by first occurrence; sorted codes do not depend on row order
    words = encoded.dictionary.to_pylist()
    order = sorted(range(len(words)), key=words.__getitem__)
    place = np.empty(len(words), dtype=np.int64)
    place[order] = np.arange(len(words))
    codes = np.full(len(encoded), -1)
    codes[is_valid(encoded.indices)] = place[dense_numbers(encoded.indices)]
    return CodedColumn(_names((words[i] for i in order), name), codes, is_numeric=False)


def _names(names: Any, column: str) -> tuple[str, ...]:
    found = tuple(names)
    if len(found) > _MAX_CLASSES:
        raise DataError(
            f"column {quoted_name(column)} must hold at most {_MAX_CLASSES} classes, found "
            f"{len(found)} "
            'different values; measure a regression with task="regression"'
        )
    return found


def recode(column: CodedColumn, names: tuple[str, ...]) -> Codes:
    """The codes of a column with respect to `names`, which must contain all its classes."""
    # the last entry maps the code -1, missing, to itself
    place = np.array([*(names.index(name) for name in column.names), -1])
    return place[column.codes]


def class_order(truth: CodedColumn, known: Sequence[str], positive: Any) -> tuple[str, ...]:
    """All classes in a fixed order; of two classes, the positive one comes last.

    Args:
        truth: The labels; if they are numeric, classes are sorted as numbers.
        known: Further classes, for instance those that were predicted.
        positive: The positive class of a binary problem; None for the sorted order alone.

    Returns:
        Class names. Labels that are only 0 or only 1 still give the two classes `0` and `1`.
    """
    names = {*truth.names, *known}
    if positive is not None:
        names.add(class_name(positive))
    if names.issubset(("0", "1")):
        names = {"0", "1"}
    order = sorted(names, key=_number_first if truth.is_numeric else None)
    if positive is not None and len(order) == 2:  # noqa: PLR2004 - binary
        order.sort(key=lambda name: name == class_name(positive))
    return tuple(order)


def _number_first(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
