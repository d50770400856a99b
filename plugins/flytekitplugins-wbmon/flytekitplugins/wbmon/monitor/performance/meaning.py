"""What predictions and classes mean: as is said, as a baseline remembers, or as values tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.data.class_codes import CodedColumn, class_order
from flytekitplugins.wbmon.data.columns import read_numbers
from flytekitplugins.wbmon.data.objects import value_type
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.report import PositiveFrom, PredictionIs
from flytekitplugins.wbmon.names import listed_names, quoted_name

# names of two classes of which everybody calls the second the positive one
_CONVENTIONS = ({"0", "1"}, {"-1", "1"}, {"false", "true"}, {"False", "True"})


class Meaning(NamedTuple):
    """What is known of the classes of a model before a window is read.

    Attributes:
        classes: Classes that are known to exist.
        prediction_is: What the prediction column holds; empty to learn it from the window.
        positive: The positive class of two; empty if nobody says it.
        positive_from: Who says it.
    """

    classes: tuple[str, ...] = ()
    prediction_is: PredictionIs = ""
    positive: str = ""
    positive_from: PositiveFrom = ""


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
    dtype = value_type(table.schema.field(prediction).type)
    if not (pa.types.is_floating(dtype) or pa.types.is_decimal(dtype)):
        return "class"
    values = read_numbers(table[prediction], prediction).values
    values = values[np.isfinite(values)]
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
