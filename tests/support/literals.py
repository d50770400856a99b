"""Python values to Flyte literals and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flyteidl.core.literals_pb2 import LiteralMap
from flytekit import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import LiteralMap as LiteralMapModel


def to_literals(values: Mapping[str, Any], types: Mapping[str, type] | None = None) -> LiteralMap:
    """The values as literals; a value's own type is used where `types` has none."""
    declared = {name: (types or {}).get(name, type(value)) for name, value in values.items()}
    context = FlyteContextManager.current_context()
    return TypeEngine.dict_to_literal_map(context, dict(values), declared).to_flyte_idl()


def from_literals(literals: LiteralMap, types: Mapping[str, type]) -> dict[str, Any]:
    """The literals that `types` names, as values of these types."""
    chosen = LiteralMapModel.from_flyte_idl(literals)
    context = FlyteContextManager.current_context()
    return {
        name: TypeEngine.to_python_value(context, chosen.literals[name], kind)
        for name, kind in types.items()
    }
