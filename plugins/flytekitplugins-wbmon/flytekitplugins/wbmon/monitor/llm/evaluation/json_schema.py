"""JSON Schemas: one that cannot work is refused before any answer is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator


def schema_validator(schema: Mapping[str, Any]) -> Validator:
    """A validator by the draft that the schema names in `$schema`, or by the newest.

    Nothing is fetched: a `$ref` must point into the schema itself.

    Raises:
        MissingExtraError: If `jsonschema` is not installed.
        ConfigError: If it is no JSON Schema, or a `$ref` points nowhere or leads back to itself.
    """
    try:
        import jsonschema
        from referencing import Registry, Resource
        from referencing.jsonschema import DRAFT202012
    except ImportError as error:
        raise MissingExtraError.for_feature("IsJson", extra="llm") from error
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ConfigError(
            f"a schema must be a JSON Schema; at {error.json_path}: {error.message}"
        ) from error
    root = Resource.from_contents(schema, default_specification=DRAFT202012)
    registry: Any = Registry()
    for resolver, reference in _references(root, registry.resolver_with_root(root)):
        _require(resolver, reference)
    kind = jsonschema.validators.extend(kind, {"multipleOf": _multiple_of})
    validator = kind(schema, registry=registry, format_checker=kind.FORMAT_CHECKER)
    try:
        validator.is_valid(None)
    except RecursionError as error:
        raise ConfigError(
            "a $ref of a schema must not lead back to itself without a property or an item between"
        ) from error
    return validator


def _multiple_of(
    validator: Any,
    divisor: Any,
    instance: Any,
    schema: Any,  # noqa: ARG001 - of jsonschema
) -> Iterator[Exception]:
    """`multipleOf` of the numbers as they are written: 0.07 is a multiple of 0.01."""
    from jsonschema import ValidationError

    if not validator.is_type(instance, "number"):
        return
    if math.isinf(instance) or Fraction(str(instance)) % Fraction(str(divisor)):
        yield ValidationError(f"{instance!r} is not a multiple of {divisor}")


def _require(resolver: Any, reference: str) -> None:
    from referencing.exceptions import Unresolvable

    try:
        resolver.lookup(reference)
    except Unresolvable as error:
        raise ConfigError(
            f"a $ref must point into the schema itself, got {reference!r}; put what it means "
            "under $defs"
        ) from error


def _references(resource: Any, resolver: Any) -> Iterator[tuple[Any, str]]:
    """Every `$ref` of a schema with what resolves it, but not what only looks like one."""
    if isinstance(resource.contents, Mapping):
        for keyword in {"$ref", "$dynamicRef"} & set(resource.contents):
            yield resolver, resource.contents[keyword]
    for inner in resource.subresources():
        yield from _references(inner, resolver.in_subresource(inner))
