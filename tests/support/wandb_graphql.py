"""What a GraphQL server refuses, and how much of what it knows it answers.

A field that no type has, a variable of the wrong type, or one that is missing or declared in vain
is an error of the request; only the fields that were asked for are answered. That takes
graphql-core, which is not there when old releases of wandb are tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from support.wandb_records import Json, RefusedError

try:
    from graphql import DocumentNode, GraphQLError, parse, print_ast
    from graphql import language as ast
except ModuleNotFoundError:
    IS_STRICT = False
else:
    IS_STRICT = True


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# what a variable's type takes; of another type anything
_TAKES: Mapping[str, Callable[[Any], bool]] = {
    "AlertSeverity": lambda value: value in ("INFO", "WARN", "ERROR"),
    "Boolean": lambda value: isinstance(value, bool),
    "Duration": _is_int,
    "Float": lambda value: _is_int(value) or isinstance(value, float),
    "ID": lambda value: _is_int(value) or isinstance(value, str),
    "Int": lambda value: _is_int(value) and -(2**31) <= value < 2**31,
    "Int64": _is_int,
    "JSONString": lambda value: isinstance(value, str),
    "String": lambda value: isinstance(value, str),
}
# the two that stand in one place
_EITHER = ("ArtifactSequence", "ArtifactPortfolio")


def check_variables(query: str, variables: Json) -> None:
    """Refuse a query whose variables are not those that it declares.

    Raises:
        RefusedError: If it is refused.
    """
    document = _parsed(query)
    declared = {
        definition.variable.name.value: definition
        for operation in _operations(document)
        for definition in operation.variable_definitions or ()
    }
    used = {name for operation in document.definitions for name in _used(operation)}
    for name in declared.keys() - used:
        raise RefusedError(f'Variable "${name}" is never used.')
    for name in used - declared.keys():
        raise RefusedError(f'Variable "${name}" is not defined.')
    for name, definition in declared.items():
        value = variables.get(name)
        if definition.default_value is not None and name not in variables:
            continue
        if not _fits(definition.type, value):
            kind = print_ast(definition.type)
            raise RefusedError(f'Variable "${name}" got invalid value {value!r}; expected {kind}.')


def select_fields(query: str, variables: Json, answer: Json) -> Json:
    """The part of an answer that was asked for.

    Raises:
        RefusedError: If something was asked for that the answer does not have.
    """
    document = _parsed(query)
    selection = _Selection(
        variables,
        {
            node.name.value: node
            for node in document.definitions
            if isinstance(node, ast.FragmentDefinitionNode)
        },
    )
    selected: Json = {}
    for operation in _operations(document):
        selected |= selection.of(operation.selection_set, answer, operation.operation.value)
    return selected


class _Selection:
    def __init__(self, variables: Json, fragments: Mapping[str, Any]) -> None:
        self._variables = variables
        self._fragments = fragments

    def of(self, wanted: Any, value: Any, of: str) -> Any:
        if wanted is None or value is None:
            return value
        if isinstance(value, list):
            return [self.of(wanted, item, of) for item in value]
        selected: Json = {}
        for node in wanted.selections:
            if not self._is_included(node):
                continue
            if isinstance(node, ast.FieldNode):
                key = node.alias.value if node.alias else node.name.value
                field = self._field(node, value, of)
                selected[key] = self.of(node.selection_set, field, node.name.value)
                continue
            part = (
                node
                if isinstance(node, ast.InlineFragmentNode)
                else self._fragments[node.name.value]
            )
            if _is_of_type(value, part):
                inner = self.of(part.selection_set, value, of)
                selected = {**selected, **inner}
        return selected

    @staticmethod
    def _field(node: Any, value: Json, of: str) -> Any:
        name = node.name.value
        # some answers are made under the name that wandb asks for
        for known in (name, node.alias.value if node.alias else name):
            if known in value:
                return value[known]
        if name != "__typename":
            raise RefusedError(f'Cannot query field "{name}" on "{of}".')
        return None

    def _is_included(self, node: Any) -> bool:
        for directive in node.directives or ():
            (condition,) = (argument.value for argument in directive.arguments or ())
            if isinstance(condition, ast.VariableNode):
                holds = bool(self._variables.get(condition.name.value))
            else:
                holds = condition.value
            if holds != (directive.name.value == "include"):
                return False
        return True


@lru_cache(maxsize=256)
def _parsed(query: str) -> DocumentNode:
    try:
        return parse(query)
    except GraphQLError as error:
        raise RefusedError(f"Syntax Error: {error}") from None


def _operations(document: DocumentNode) -> list[Any]:
    return [node for node in document.definitions if isinstance(node, ast.OperationDefinitionNode)]


def _used(node: Any) -> Iterator[str]:
    """Names of the variables that are used below a node."""
    if isinstance(node, ast.VariableDefinitionNode):
        return
    if isinstance(node, ast.VariableNode):
        yield node.name.value
        return
    for key in node.keys:
        inner = getattr(node, key, None)
        for item in inner if isinstance(inner, (list, tuple)) else [inner]:
            if isinstance(item, ast.Node):
                yield from _used(item)


def _fits(kind: Any, value: Any) -> bool:
    if isinstance(kind, ast.NonNullTypeNode):
        return value is not None and _fits(kind.type, value)
    if value is None:
        return True
    if isinstance(kind, ast.ListTypeNode):
        # a single value stands for a list of one
        return all(
            _fits(kind.type, item) for item in (value if isinstance(value, list) else [value])
        )
    takes = _TAKES.get(kind.name.value)
    return takes is None or takes(value)


def _is_of_type(value: Json, part: Any) -> bool:
    condition = part.type_condition.name.value if part.type_condition else ""
    return condition not in _EITHER or value.get("__typename", condition) == condition
