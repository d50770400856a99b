"""Builds and checks the feedback rows that a service writes.

`monitor.prediction_log.feedback` reads the feedback of any log; `monitor.llm.feedback` analyses
what users think of the answers of a language model.
"""

from __future__ import annotations

import math
from time import time
from typing import Any, Literal, get_args

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.fit import scalar
from flytekitplugins.wbmon.storage.segments.json_lines import text_of

FeedbackSource = Literal["user", "annotator", "llm_judge", "code"]

_MAX_LABEL = 200
# of what was given, in the text of an error
_MAX_TOLD = 80


def feedback_row(
    *,
    request_id: str | None,
    session_id: str | None,
    source: FeedbackSource,
    name: str,
    score: float | None,
    label: Any,
    feedback_id: str | None,
    **columns: Any,
) -> dict[str, Any]:
    """The columns of a rating or label, checked.

    Args:
        request_id: The rated request; None for feedback on a whole session or unit.
        session_id: The rated session.
        source: Who or what gave the feedback.
        name: What is rated, such as `thumbs`.
        score: A finite number.
        label: A single value of any class, of which at most 200 characters tell it.
        feedback_id: Rows with the same id replace each other; by default one id for each
            combination of subject, source and name.
        columns: Further columns of the row, such as `unit`, already hashed.

    Raises:
        DataError: If the name is empty, the score no finite number, the label a text that is too
            long, the source unknown, or there is no request, session or unit.
        TypeError: If the label is no single value.
        ValueError: If the label is a value that takes more than 200 characters to tell.
    """
    unit = columns.get("unit")
    if not (request_id or session_id or unit):
        raise DataError("feedback must have a request_id, a session_id or a unit, got none")
    if not name:
        raise DataError('feedback must have a name, such as "thumbs"; got none')
    number = None if score is None else _number(score)
    if isinstance(label, str) and len(label) > _MAX_LABEL:
        raise DataError(f"a label must have at most {_MAX_LABEL} characters, got {len(label)}")
    if source not in get_args(FeedbackSource):
        raise DataError(
            f"source must be one of {', '.join(get_args(FeedbackSource))}; got {_short(source)!r}"
        )
    return {
        "timestamp": time(),
        "feedback_id": feedback_id
        or feedback_id_of(request_id or session_id or unit, source, name),
        "request_id": request_id,
        "session_id": session_id,
        "source": source,
        "name": name,
        "score": number,
        "label": _told(label),
        **columns,
    }


def feedback_id_of(subject: str | None, source: str, name: str) -> str:
    """The id of what a source says of a request, session or unit under a name."""
    return f"{subject}:{text_of(source)}:{name}"


def _number(score: Any) -> float:
    try:
        number = float(score)
    except OverflowError:  # of a whole number or a fraction with more digits than a float has
        number = math.inf
    except Exception:  # noqa: BLE001 - whatever its class does
        raise DataError(f"the score of feedback must be a number, got {_short(score)}") from None
    if not math.isfinite(number):
        raise DataError(
            "the score of feedback must be finite and have a float's size, at most 1.8e308, "
            f"got {_short(score)}"
        )
    return number


def _short(value: Any) -> str:
    """The text of a value, cut, as it may be of any length."""
    text = text_of(value)
    return text if len(text) <= _MAX_TOLD else f"{text[:_MAX_TOLD]}… of {len(text)} characters"


def _told(label: Any) -> str | None:
    """A label as text; None of what is no prediction either, such as an infinite one."""
    value = scalar(label)
    if value is None or (isinstance(value, float) and math.isinf(value)):
        return None
    if not isinstance(value, str | int | float | complex):
        raise TypeError(f"a label must be a single value, got {type(label).__name__}")
    text = str(value)
    if len(text) > _MAX_LABEL:
        raise ValueError(f"a label must have at most {_MAX_LABEL} characters, got {len(text)}")
    return text


def exposure_row(
    experiment: str,
    unit: str,
    variant: str,
    *,
    tenant: str | None,
    session_id: str | None = None,
    subject: str | None = None,
) -> dict[str, Any]:
    """The columns of a unit's first exposure to a variant.

    The id depends on the experiment, the unit and the variant, so of repeated rows readers keep
    one, and a unit that was shown two variants has two.

    Args:
        experiment: Name of the experiment.
        unit: The unit, already hashed: neither it nor the id may be a name in clear.
        variant: Its variant.
        tenant: The tenant of the unit.
        session_id: The session in which the unit was seen.
        subject: What the id says in place of the unit and its tenant, hashed; by default the unit.
    """
    return {
        "timestamp": time(),
        "feedback_id": f"exposure:{experiment}:{subject or unit}:{variant}",
        "session_id": session_id,
        "unit": unit,
        "tenant": tenant,
        "source": "code",
        "name": "exposure",
        "experiment": experiment,
        "variant": variant,
    }
