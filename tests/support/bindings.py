"""What flows between the nodes of a workflow: bindings, conditions, and the lists of arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flyteidl.admin.task_pb2 import TaskSpec
from flyteidl.core.condition_pb2 import BooleanExpression, ConjunctionExpression, Operand
from flyteidl.core.literals_pb2 import Binding, BindingData, Literal, LiteralMap, Scalar, Void
from flyteidl.core.types_pb2 import LiteralType, SimpleType
from flyteidl.core.workflow_pb2 import ArrayNode

_COMPARE: tuple[Callable[[Any, Any], bool], ...] = (
    operator.eq,
    operator.ne,
    operator.gt,
    operator.ge,
    operator.lt,
    operator.le,
)

_NONE = Literal(scalar=Scalar(none_type=Void()))


def bind_all(bindings: Iterable[Binding], results: Mapping[str, LiteralMap]) -> LiteralMap:
    """The values of bindings, given what the nodes returned."""
    bound = LiteralMap()
    for binding in bindings:
        bound.literals[binding.var].CopyFrom(_bind(binding.binding, results))
    return bound


def _bind(data: BindingData, results: Mapping[str, LiteralMap]) -> Literal:
    kind = data.WhichOneof("value")
    bound = Literal()
    if kind == "promise":
        assert not data.promise.attr_path, "fields of outputs are not modelled"
        bound.CopyFrom(results[data.promise.node_id].literals[data.promise.var])
    elif kind == "collection":
        bound.collection.SetInParent()
        for item in data.collection.bindings:
            bound.collection.literals.add().CopyFrom(_bind(item, results))
    elif kind == "map":
        bound.map.SetInParent()
        for name, item in data.map.bindings.items():
            bound.map.literals[name].CopyFrom(_bind(item, results))
    else:
        bound.scalar.CopyFrom(data.scalar)
    return bound


def holds(condition: BooleanExpression, given: LiteralMap) -> bool:
    """Whether a condition is true of the inputs."""
    if condition.HasField("conjunction"):
        conjunction = condition.conjunction
        sides = (conjunction.left_expression, conjunction.right_expression)
        combine = all if conjunction.operator == ConjunctionExpression.AND else any
        return combine(holds(side, given) for side in sides)
    comparison = condition.comparison
    left, right = _value(comparison.left_value, given), _value(comparison.right_value, given)
    return bool(_COMPARE[comparison.operator](left, right))


def _value(operand: Operand, given: LiteralMap) -> object:
    if operand.HasField("primitive"):
        primitive = operand.primitive
    elif operand.HasField("scalar"):
        primitive = operand.scalar.primitive
    else:
        primitive = given.literals[operand.var].scalar.primitive
    return getattr(primitive, primitive.WhichOneof("value"))


def size(spec: TaskSpec, given: LiteralMap) -> int:
    """How many shards: the length of the lists that are not bound by `functools.partial`."""
    arguments = list(spec.template.container.args)
    bound = arguments[arguments.index("vars") + 1].split(",")
    lengths = [
        len(literal.collection.literals)
        for name, literal in given.literals.items()
        if name not in bound
    ]
    return max(lengths)


def successes_needed(array: ArrayNode, size: int) -> int:
    """How many shards of an array must succeed."""
    if array.WhichOneof("success_criteria") == "min_successes":
        return int(array.min_successes)
    if array.WhichOneof("success_criteria") == "min_success_ratio":
        return math.ceil(size * float(array.min_success_ratio))
    return size


def gather(spec: TaskSpec, shards: list[LiteralMap | None]) -> LiteralMap:
    """The shards' outputs as lists; where failures are allowed, each item is a union with None."""
    gathered = LiteralMap()
    for name, variable in spec.template.interface.outputs.variables.items():
        collection = gathered.literals[name].collection
        collection.SetInParent()
        item = variable.type.collection_type
        for shard in shards:
            value = _NONE if shard is None else shard.literals[name]
            if item.HasField("union_type"):
                value = _as_union(value, item.union_type.variants)
            collection.literals.add().CopyFrom(value)
    return gathered


def _as_union(value: Literal, variants: Iterable[LiteralType]) -> Literal:
    union = Literal()
    union.scalar.union.value.CopyFrom(value)
    for variant in variants:
        is_none = variant.WhichOneof("type") == "simple" and variant.simple == SimpleType.NONE
        if is_none == (value == _NONE):
            union.scalar.union.type.CopyFrom(variant)
    return union
