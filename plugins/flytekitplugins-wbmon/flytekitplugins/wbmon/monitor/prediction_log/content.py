"""The columns of a row that may hold what a user wrote: texts, the prediction, and features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.fit import fit, fit_row, scalar
from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.privacy.secret_names import is_secret
from flytekitplugins.wbmon.storage.segments.json_lines import text_of

_TEXTS = ("input_text", "output_text", "error_text")
# made once: a union of types is an object of its own in every call
_NUMBERS = (bool, int, float)
_MAX_CATEGORY = 256
_READ_OF_CATEGORY = 4096  # no secret of usual length begins in what is kept and ends behind this


def content_of(
    screen: Screen, types: Mapping[str, str], given: dict[str, Any], features: Mapping[Any, Any]
) -> dict[str, Any]:
    """Columns converted to their types, with what must be hidden replaced.

    Names and keys are left to `Screen.row`.

    Args:
        screen: What every text passes.
        types: Types of the columns by name; others are left out.
        given: Columns by name; those that are texts are taken out of it.
        features: The model's inputs by name: numbers, and texts as categories.
    """
    raw = {name: given.pop(name) for name in _TEXTS if given.get(name) is not None}
    numbers, categories, n = _parted(screen, features) if features else ({}, {}, 0)
    prediction = given.pop("prediction", None)
    prediction = None if prediction is None else scalar(prediction)
    # a prediction that is text may hold personal data: it is redacted like the other texts
    if prediction is not None and not isinstance(prediction, _NUMBERS):
        raw["prediction"] = prediction
        prediction = None
    content = fit_row(types, given)
    if prediction is not None:
        content["prediction"] = _shown(screen, fitting := fit("any", prediction))
        n += fitting is not None and content["prediction"] is None
    if numbers:
        content["features"] = numbers
    if not (raw or categories or n):
        return content
    was_cut = content.get("truncated", False)
    found, content["truncated"] = screen.texts(raw, was_cut=was_cut)
    content |= raw
    if categories:
        more, _ = screen.texts(categories, as_text=str)
        n += more
        content["cat_features"] = {
            screen.entry(name): text[:_MAX_CATEGORY] for name, text in categories.items()
        }
    content["redactions"] = n + found + content.get("redactions", 0)
    return content


def _parted(
    screen: Screen, features: Mapping[Any, Any]
) -> tuple[dict[str, Any], dict[str, Any], int]:
    """Numbers and texts by the names of features, and how many numbers were hidden."""
    numbers: dict[str, Any] = {}
    categories: dict[str, Any] = {}
    n_hidden = 0
    for given, value in features.items():
        name = text_of(given)
        plain = _quantity(value)
        # a whole number may be a password, which is hidden as the texts are
        is_number = isinstance(plain, _NUMBERS)
        if is_number and not (screen.hides and is_secret(name, plain)):
            number = _shown(screen, fitting := fit("any", plain))
            n_hidden += fitting is not None and number is None
            if number is not None:
                numbers[screen.entry(name)] = number
        elif plain is not None:
            # cut again after redaction, which half of a secret would escape
            categories[name] = plain[:_READ_OF_CATEGORY] if isinstance(plain, str) else plain
    return numbers, categories, n_hidden


def _shown(screen: Screen, fitting: Any) -> Any:
    """A number that fits, or None where it is a card's; what no number holds is a text."""
    return fitting if fitting is None or isinstance(fitting, str) else screen.number(fitting)


def _quantity(value: Any) -> Any:
    """As `scalar` has it, but a fraction of more digits than a float holds is rounded."""
    plain = scalar(value)
    is_fraction = isinstance(value, Decimal | Real) and not isinstance(value, Integral)
    if not isinstance(plain, str) or not is_fraction:
        return plain
    rounded = float(value)
    # beyond all floats it keeps its text
    return rounded if math.isfinite(rounded) else plain
