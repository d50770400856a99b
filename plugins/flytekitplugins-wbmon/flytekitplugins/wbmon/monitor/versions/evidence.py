"""The numbers that a decision rests on, as they are put on record."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from flytekitplugins.wbmon.arguments import real_number
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.names import quoted_name


def recorded_evidence(evidence: Any) -> dict[str, float | str]:
    """Evidence as JSON holds it: numbers of numpy become Python's.

    Args:
        evidence: Finite numbers, truths and texts by their names; None for none.

    Raises:
        ConfigError: If it is of another form, or a number is not finite.
    """
    if evidence is None:
        return {}
    if not isinstance(evidence, Mapping) or not all(isinstance(name, str) for name in evidence):
        raise ConfigError(
            "evidence must be numbers by names of text, such as {'auc': 0.9}, got one "
            f"{type(evidence).__name__}"
        )
    return {name: _recorded(name, value) for name, value in evidence.items()}


def _recorded(name: str, value: Any) -> float | str:
    if isinstance(value, str):
        return value
    # numpy's truth has another class, and another name before numpy 2
    if type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    number = real_number(f"evidence {quoted_name(name)}", value)
    return int(value) if isinstance(value, Integral) else number
