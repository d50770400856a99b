"""Columns of classes: which values of a label or a prediction are classes, and which are none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import kind_of
from flytekitplugins.wbmon.data.class_codes import (
    CodedColumn,
    class_names,
    code_as_numbers,
    code_as_text,
    code_column,
    known_alone,
)
from flytekitplugins.wbmon.data.names import plain_names
from flytekitplugins.wbmon.data.objects import has_odd, value_type
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.data.unreadable import are_few
from flytekitplugins.wbmon.data.uuids import uuid_names
from flytekitplugins.wbmon.data.whole import read_whole
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.meaning import Meaning
from flytekitplugins.wbmon.names import quoted_name

_OF_NUMBERS = ("number", "boolean")
_CLASSES = ("number", "boolean", "text")
_TRUTHS, _ANSWERS = {"true": "1", "false": "0"}, {"yes": "1", "no": "0"}
_EXPONENT = re.compile(r"-?\d(\.\d+)?e[+-][12]?\d{2}", re.ASCII)
_MIXED = ("number", "text")  # kinds whose classes may be numbers and text together


def read_classes(table: pa.Table, name: str, beside: str, meaning: Meaning) -> CodedColumn:
    """A column of the classes that there can be; others are unreadable.

    Args:
        table: Columns in their plain form.
        name: The column.
        beside: The column that it is compared with; itself if there is none.
        meaning: What is known before the window is read.

    Raises:
        DataError: If the column holds no classes, or more than 1000.
    """
    coded = _of_truths(table, name, beside) or code_column(table[name], name)
    if coded.kind in _MIXED and has_odd(table[name].type):
        coded = _of_mixed(table, name, beside, coded, meaning)
    if coded.kind == "text":
        coded = _as_meant(coded, table[beside], meaning)
    return known_alone(coded, meaning.classes) if meaning.is_closed else coded


def _of_truths(table: pa.Table, name: str, beside: str) -> CodedColumn | None:
    """Text beside booleans as booleans; None if it is something else, or more than few rows are."""
    column = table[name]
    if kind_of(value_type(table[beside].type)) != "boolean" or kind_of(column.type) != "text":
        return None
    reading = read_as("boolean", column.combine_chunks())
    n_read = len(column) - reading.values.null_count
    if not n_read or (reading.n_unreadable and not are_few(reading.n_unreadable, n_read)):
        return None
    coded = code_column(pa.chunked_array([reading.values]), name)
    return coded._replace(unreadable=reading.odd)


def _of_mixed(
    table: pa.Table, name: str, beside: str, coded: CodedColumn, meaning: Meaning
) -> CodedColumn:
    """The classes of a column of numbers and text.

    The text is what was written for labels that have not come, such as `n/a`, or a class like the
    numbers. It is one if a baseline has classes of text, if the other column predicts it, or if
    there are several of them and they are not few.
    """
    words = _words(_names(table[name]))
    if meaning.is_closed:
        has_words = any(word in meaning.classes for word in words)
    elif beside != name and not {*words}.isdisjoint(_names(table[beside])):
        has_words = True
    elif coded.kind == "number":
        n_odd = coded.unreadable.n
        is_few = are_few(n_odd, n_odd + int((coded.codes >= 0).sum()))
        has_words = len(words) > 1 and not is_few
    else:
        has_words = len(words) > 1 or kind_of(value_type(table[beside].type)) not in _OF_NUMBERS
    if has_words:
        return code_as_text(table[name], name)
    return coded if coded.kind == "number" else code_as_numbers(table[name], name)


def _as_meant(coded: CodedColumn, beside: pa.ChunkedArray, meaning: Meaning) -> CodedColumn:
    """A column of text with one name for `True`, `true`, `yes`, `1` and `1.0`, if it needs one.

    It does if the other column, or a baseline, has a class in another spelling: a log of several
    models has booleans and numbers as text, and labels are written by people.
    """
    dtype = value_type(beside.type)
    # floats may be probabilities, and no classes
    others = _names(beside) if kind_of(dtype) in _CLASSES and not _is_fraction(dtype) else []
    known = meaning.classes if meaning.is_closed else ()
    is_answered = _are_booleans(coded.names, [*others, *known])
    truths = _TRUTHS | (_ANSWERS if is_answered else {})
    if not any(_differ(coded.names, names, truths) for names in (others, known)):
        return coded
    means = [_meant(name, truths) for name in coded.names]
    # words that a baseline does not have are left out later
    is_numeric = not _words([name for name in means if not known or name in known])
    names = class_names({*means}, is_numeric=is_numeric)
    place = np.array([*(names.index(each) for each in means), -1])
    return coded._replace(
        names=names, codes=place[coded.codes], kind="number" if is_numeric else "text"
    )


def _are_booleans(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether `yes` and `no` are booleans: beside `true`, or in a text column beside `1` or `0`.

    The log writes booleans so where there is text, too. Beside answers of its own `1` is a number.
    """
    one, other = ({_meant(name, {}).strip().lower() for name in names} for names in (ours, theirs))
    if not (one | other).isdisjoint(_TRUTHS):
        return True
    if not _words([*one]) or not _words([*other]):
        return False
    answered, spelled = (one, other) if other.isdisjoint(_ANSWERS) else (other, one)
    has_both = not answered.isdisjoint(_ANSWERS) and not spelled.isdisjoint(_ANSWERS.values())
    return has_both and spelled.isdisjoint(_ANSWERS)


def _differ(ours: Sequence[str], theirs: Sequence[str], truths: Mapping[str, str]) -> bool:
    """Whether a class that only one of both has is in the other by another name."""
    meant = [{_meant(name, truths) for name in names} for names in (ours, theirs)]
    return any(_meant(name, truths) in meant[0] & meant[1] for name in set(ours) ^ set(theirs))


def _meant(name: str, truths: Mapping[str, str]) -> str:
    """The name of a boolean or a number in any spelling; others are as they are."""
    text = name.strip()
    (number,) = read_whole([text])
    if number is not None:
        return str(number)
    # of other numbers only those that Python writes with an exponent have two spellings
    return class_name(float(text)) if _EXPONENT.fullmatch(text) else truths.get(text.lower(), name)


def _is_fraction(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_floating(dtype) or pa.types.is_decimal(dtype))


def _names(column: pa.ChunkedArray) -> list[str]:
    """The different names in a column, of which there may be more than there can be classes."""
    names: list[str] = pc.unique(uuid_names(plain_names(column))).drop_null().to_pylist()
    return names


def _words(names: list[str]) -> list[str]:
    """Names that are neither blank nor whole numbers."""
    numbers = read_whole(names)
    return [name for name, n in zip(names, numbers, strict=True) if n is None and name.strip()]


def require_same_kind(
    table: pa.Table, label: str, prediction: str, truth: CodedColumn, predicted: CodedColumn
) -> None:
    """Refuse labels and predictions of which one holds numbers and the other text alone.

    Raises:
        DataError: If they do; the message has a class of each.
    """
    if "empty" in (truth.kind, predicted.kind) or not (truth.names and predicted.names):
        return
    both = (truth, predicted)
    are_mixed = all(coded.kind in _MIXED for coded in both) and any(map(_has_numbers, both))
    if truth.kind == predicted.kind or are_mixed:
        return
    kinds = [value_type(table[name].type) for name in (label, prediction)]
    raise DataError(
        f"label {quoted_name(label)} and prediction {quoted_name(prediction)} must hold "
        f"the same classes; found {kinds[0]} such as {quoted_name(truth.names[0])} "
        f"against {kinds[1]} such as {quoted_name(predicted.names[0])}"
    )


def _has_numbers(coded: CodedColumn) -> bool:
    """Whether more than a few rows of text have whole numbers, and others words."""
    words = set(_words(list(coded.names)))
    if not words:
        return False
    rows = np.bincount(coded.codes[coded.codes >= 0], minlength=len(coded.names))
    n_numbers = sum(int(n) for name, n in zip(coded.names, rows, strict=True) if name not in words)
    return not are_few(n_numbers, int(rows.sum()))
