"""What predictions and classes mean: as is said, as a baseline remembers, or as values tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import is_text, text_array
from flytekitplugins.wbmon.data.class_codes import CodedColumn, class_order
from flytekitplugins.wbmon.data.columns import read_numbers
from flytekitplugins.wbmon.data.names import plain_names
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.report import PositiveFrom, PredictionIs
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.stats.arrays import Floats

# names of two classes of which everybody calls the second the positive one
_CONVENTIONS = ({"0", "1"}, {"false", "true"}, {"False", "True"})
_MOST_CODES = 20  # classes that a model of two classes predicts, before it is asked what they are


class Meaning(NamedTuple):
    """What is known of the classes of a model before a window is read.

    Attributes:
        classes: Classes that are known to exist.
        prediction_is: What the prediction column holds; empty to learn it from the window.
        positive: The positive class of two; empty if nobody says it.
        positive_from: Who says it.
        is_closed: Whether there are no other classes, so that any other is unreadable. A single
            label of a new class would else make other metrics of the window than of its baseline.
    """

    classes: tuple[str, ...] = ()
    prediction_is: PredictionIs = ""
    positive: str = ""
    positive_from: PositiveFrom = ""
    is_closed: bool = False


NOTHING_KNOWN = Meaning()


def prediction_is(
    table: pa.Table,
    prediction: str,
    truth: CodedColumn,
    known: Sequence[str],
    meaning: Meaning,
) -> PredictionIs:
    """What the prediction column holds: as it is known, else as its values tell."""
    if meaning.prediction_is:
        return meaning.prediction_is
    values = _numbers(table[prediction], prediction, {*truth.names, *known})
    if values is None:
        return "class"
    if (values != np.floor(values)).any():
        return "probability"
    names = class_order(all_classes(truth, known, meaning), is_numeric=truth.is_numeric)
    if len(names) > 2:  # noqa: PLR2004 - of more than two, one column is no probability
        return "class"
    if not len(values) or truth.kind not in ("number", "empty"):
        return "probability"
    # whole numbers became floats because one of them is missing
    is_outside = bool(((values < 0) | (values > 1)).any())
    is_known = {class_name(value) for value in np.unique(values).tolist()} <= set(names)
    return "class" if is_outside or is_known else "probability"


def _numbers(column: pa.ChunkedArray, name: str, classes: set[str]) -> Floats | None:
    """The finite numbers of a column that could hold probabilities; None if it holds none."""
    dtype = value_type(column.type)
    if not (is_text(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)):
        return None
    try:
        read = read_numbers(column, name)
    except DataError:  # no text of it is a number
        return None
    values = read.values[np.isfinite(read.values)]
    if not is_text(dtype):
        return values
    # texts of whole numbers are names, and so are those that labels have, too
    are_classes = pc.is_in(plain_names(column), value_set=text_array(sorted(classes)))
    n_others = len(values) - 2 * (pc.sum(are_classes).as_py() or 0)
    are_numbers = len(values) > read.unreadable.n and n_others > 0
    return values if are_numbers and (values % 1).any() else None


def require_classes(
    prediction: str, truth: CodedColumn, predicted: CodedColumn, meaning: Meaning
) -> None:
    """Refuse a column of whole numbers that are no classes, such as probabilities in percent.

    Raises:
        DataError: If nobody says that it holds classes, there are two classes of labels, and it has
            many others.
    """
    others = sorted({*predicted.names} - {*truth.names, *meaning.classes})
    is_said = bool(meaning.prediction_is or meaning.classes)
    if is_said or len(truth.names) != 2 or len(others) <= _MOST_CODES:  # noqa: PLR2004
        return
    raise DataError(
        f"prediction {quoted_name(prediction)} must hold the classes of the label, "
        f"{listed_names(truth.names)}; it holds {len(others)} others, such as "
        f"{quoted_name(others[0])}. Probabilities must be fractions in [0, 1], with "
        "prediction_is='probability' where they do not look like that; for classes, pass "
        "prediction_is='class'"
    )


def complete(meaning: Meaning, in_order: tuple[str, ...]) -> Meaning:
    """The meaning with all classes, of two the positive one last, and which one that is."""
    if len(in_order) != 2:  # noqa: PLR2004 - the positive class is one of two
        return meaning._replace(classes=in_order, positive="", positive_from="")
    if meaning.positive:
        return meaning._replace(classes=tuple(sorted(in_order, key=meaning.positive.__eq__)))
    by: PositiveFrom = "convention" if set(in_order) in _CONVENTIONS else "order"
    return meaning._replace(classes=in_order, positive=in_order[-1], positive_from=by)


def require_positive(truth: CodedColumn, known: Sequence[str], meaning: Meaning) -> None:
    """Refuse a positive class that is none of several.

    Raises:
        DataError: If it is none; the message names the classes.
    """
    names = class_order([*truth.names, *known], is_numeric=truth.is_numeric)
    is_none = meaning.positive_from == "setting" and meaning.positive not in names
    # of one class in the window the other may be the positive one
    if is_none and len({*truth.names, *known}) > 1:
        raise DataError(
            f"positive must be one of the classes {listed_names(names)}; "
            f"got {quoted_name(meaning.positive)}"
        )


def all_classes(truth: CodedColumn, known: Sequence[str], meaning: Meaning) -> list[str]:
    """All classes, each as often as it is known."""
    return [*truth.names, *known, *([meaning.positive] if meaning.positive else [])]
