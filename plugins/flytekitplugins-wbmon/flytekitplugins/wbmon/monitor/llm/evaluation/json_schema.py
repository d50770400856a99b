"""Whether a value is what a JSON schema says; the part of the standard that answers need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "minimum",
    "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "title", "description",
}  # fmt: skip


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that uses what is not understood here.

    Raises:
        ConfigError: If it does.
    """
    unknown = set(schema) - _KNOWN
    if unknown:
        raise ConfigError(
            f"a schema may use {', '.join(sorted(_KNOWN))}; got {', '.join(sorted(unknown))}"
        )
    for name in _as_list(schema.get("type")):
        if name not in _TYPES:
            raise ConfigError(f"a schema's type must be of {', '.join(_TYPES)}; got {name!r}")
    for inner in (*schema.get("properties", {}).values(), *_as_list(schema.get("items"))):
        check_schema(inner)


def schema_errors(value: Any, schema: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """What is wrong with a value, one sentence each; nothing if it is as the schema says."""
    types = _as_list(schema.get("type"))
    if types and not any(_is_a(value, name) for name in types):
        yield f"{at} must be {' or '.join(types)}, got {type(value).__name__}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} must be one of {schema['enum']}, got {value!r}"
    if "const" in schema and value != schema["const"]:
        yield f"{at} must be {schema['const']!r}, got {value!r}"
    yield from _limit_errors(value, schema, at)
    if isinstance(value, dict):
        yield from _object_errors(value, schema, at)
    if isinstance(value, list) and "items" in schema:
        for place, each in enumerate(value):
            yield from schema_errors(each, schema["items"], f"{at}[{place}]")


def _limit_errors(value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    size: Any = None
    low, high = "minimum", "maximum"
    if isinstance(value, str):
        size, low, high = len(value), "minLength", "maxLength"
    elif isinstance(value, list):
        size, low, high = len(value), "minItems", "maxItems"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        size = value
    if size is not None and size < schema.get(low, size):
        yield f"{at} must have {low} {schema[low]}, got {size}"
    if size is not None and size > schema.get(high, size):
        yield f"{at} must have {high} {schema[high]}, got {size}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at} must match {schema['pattern']!r}"


def _object_errors(value: dict[str, Any], schema: Mapping[str, Any], at: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name} is missing"
    for name, each in value.items():
        if name in properties:
            yield from schema_errors(each, properties[name], f"{at}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{at}.{name} is not allowed"


def _is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
