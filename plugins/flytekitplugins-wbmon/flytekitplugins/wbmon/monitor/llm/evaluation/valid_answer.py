"""What the function of a user answered, as the rest of an evaluation may rely on it.

It is asked for and paid before it is looked at, so an impossible value is the failure of one answer
and not the end of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from flytekitplugins.wbmon.arguments import is_number
from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer


def valid_answer(answer: Answer) -> Answer:
    """An answer of which every field has its type; a failed one that says which field has not.

    None in a field that has another default is that default: a model that calls a tool or refuses
    gives no text. Numbers must be finite and not negative. What an answer that is not valid
    cost stays known; where the cost is what is not valid, it is unknown (`nan`), and no budget can
    be kept.

    Args:
        answer: What a function returned.
    """
    found: dict[str, Any] = {}
    invalid = []
    for name, valid in _VALID.items():
        value = getattr(answer, name)
        try:
            found[name] = getattr(_UNSAID, name) if value is None else valid(value)
        except (TypeError, ValueError):
            invalid.append(name)
    # no number stands for a cost that is unknown
    if is_missing(found.get("cost_usd")):
        found["cost_usd"] = None
    if invalid:
        error = found.get("error") or f"invalid {', '.join(invalid)}"
        cost_usd = math.nan if "cost_usd" in invalid else found["cost_usd"]
        return Answer(error=error, cost_usd=cost_usd)
    # it may be of a class of the user, with more than scorers of ours know
    changed = {name: value for name, value in found.items() if value is not getattr(answer, name)}
    return replace(answer, **changed) if changed else answer


def valid_cost(cost_usd: Any) -> float | None:
    """A cost in US dollars; None if it is unknown.

    Raises:
        ValueError: If it is no number from 0 on.
    """
    return None if is_missing(cost_usd) else _amount(cost_usd)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _amount(value: Any) -> float:
    """A number from 0 on; `nan` if there is none."""
    if is_missing(value):
        return math.nan
    if not is_number(value) or value < 0:
        raise ValueError("no number from 0 on")
    return float(value)


def _count(value: Any) -> int:
    amount = _amount(value)
    return 1 if math.isnan(amount) else int(amount)


def _amounts(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise TypeError("no mapping")
    found = {_text(name): _amount(amount) for name, amount in value.items()}
    return {name: amount for name, amount in found.items() if not math.isnan(amount)}


def _listed(value: Any, valid: Callable[[Any], Any]) -> tuple[Any, ...]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError("no sequence")
    return tuple(map(valid, value))


def _ids(value: Any) -> tuple[Any, ...]:
    return _listed(value, _id)


def _id(value: Any) -> Any:
    if is_missing(value) or isinstance(value, Mapping | list | tuple | set):
        raise TypeError("no id")
    return value


def _scores(value: Any) -> tuple[float, ...]:
    return _listed(value, _score)


def _score(value: Any) -> float:
    if is_missing(value):
        return math.nan
    if not is_number(value):
        raise TypeError("no number")
    return float(value)


def _texts(value: Any) -> tuple[str, ...]:
    return _listed(value, _text)


_UNSAID = Answer()
_VALID: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("text", "model", "finish_reason", "error"), _text),
    **dict.fromkeys(("input_tokens", "output_tokens"), _amount),
    **dict.fromkeys(("cached_tokens", "reasoning_tokens"), _amount),
    **dict.fromkeys(("cost_usd", "latency_ms", "time_to_first_chunk_ms"), _amount),
    "stage_ms": _amounts,
    "retrieved": _ids,
    "scores": _scores,
    "contexts": _texts,
    "attempts": _count,
}
