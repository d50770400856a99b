"""Records to JSON and back, so that a report is the same thing in a task, a file and a notebook.

Undefined numbers are `nan` in Python; JSON has no such number, so a file holds `null` for `nan` and
the strings `"Infinity"` and `"-Infinity"` for the infinities, and reading turns them back.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from typing import Any, TypeVar

from mashumaro.codecs.basic import BasicDecoder, BasicEncoder
from mashumaro.dialect import Dialect
from mashumaro.exceptions import InvalidFieldValue, MissingField
from mashumaro.types import SerializationStrategy

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.json_text import read_json

R = TypeVar("R")


class _FloatAsJson(SerializationStrategy):
    def serialize(self, value: float) -> float | str | None:
        if math.isfinite(value):
            return float(value)
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")

    def deserialize(self, value: float | str | None) -> float:
        return math.nan if value is None else float(value)


class _JsonDialect(Dialect):
    serialization_strategy = {float: _FloatAsJson()}  # noqa: RUF012 - mashumaro reads a plain dict


@functools.cache
def _encoder(kind: type) -> BasicEncoder[Any]:
    return BasicEncoder(kind, default_dialect=_JsonDialect)


@functools.cache
def _decoder(kind: type) -> BasicDecoder[Any]:
    return BasicDecoder(kind, default_dialect=_JsonDialect)


def record_to_dict(record: Any) -> dict[str, Any]:
    """The record as plain dictionaries, lists, strings and numbers (`nan` stays `nan`)."""
    return dataclasses.asdict(record)


def record_to_json(record: Any) -> str:
    """The record as standard JSON, in the order of its fields."""
    return json.dumps(record_to_plain(record), allow_nan=False)


def record_to_plain(record: Any) -> Any:
    """The record as what JSON can hold, in the order of its fields."""
    return _encoder(type(record)).encode(record)  # type: ignore[arg-type]  # a class is hashable


def record_from_json(kind: type[R], text: str | bytes) -> R:
    """The record that `record_to_json` wrote.

    Raises:
        DataError: If the text is not JSON, or not of a `kind` record.
    """
    try:
        plain = read_json(text)
    except DataError as error:
        raise _not_of(kind, error) from error
    return record_from_plain(kind, plain)


def record_from_plain(kind: type[R], plain: Any) -> R:
    """The record that `record_to_plain` made plain.

    Raises:
        DataError: If it is not of a `kind` record.
    """
    decoder: BasicDecoder[R] = _decoder(kind)  # type: ignore[arg-type]  # a class is hashable
    try:
        return decoder.decode(plain)
    except (
        ArithmeticError, AttributeError, InvalidFieldValue, LookupError, MissingField, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise _not_of(kind, error) from error


def _not_of(kind: type[Any], error: Exception) -> DataError:
    return DataError(
        f"the text must be JSON of class {kind.__name__}; could not read it: {error!s:.500}. "
        "Write it with the same version of flytekitplugins-wbmon that reads it."
    )
