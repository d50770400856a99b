"""What a column is, however its values are stored, and what the user says about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import ConfigError

Kind = Literal[
    "number",
    "category",
    "ordinal",
    "boolean",
    "time",
    "duration",
    "text",
    "identifier",
    "vector",
    "nested",
    "empty",
    "other",
]
"""What the values of a column are.

`number` is a quantity, whole or not; `category` a name, also where names are numbers; `ordinal` a
name with a place in an order; `time` a moment; `duration` a length of time or a time of day, in
seconds; `text` words; `identifier` a name of its own in most rows; `vector` floats of one length;
`nested` lists and structs; `empty` a column without any value; `other` what nothing is known about.
"""

Kinds: TypeAlias = Mapping[str, str]
"""What columns are, by name: a kind, or the names of an ordinal in their order, `S < M < L`."""

MissingValues: TypeAlias = Mapping[str, Sequence[Any]]
"""Values that stand for none, by column, such as `{"age": (-999,)}`."""

_SAYABLE = tuple(
    kind for kind in get_args(Kind) if kind not in ("empty", "other", "vector", "nested")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the user says about a column.

    Attributes:
        kind: What it is; None to learn it from its values.
        order: The names of an ordinal, lowest first.
        missing_values: Names of values that stand for none.
    """

    kind: Kind | None = None
    order: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ()


NOTHING_DECLARED = Declared()


def declarations(kinds: Kinds, missing_values: MissingValues) -> dict[str, Declared]:
    """What is said about each column.

    Raises:
        ConfigError: If a kind does not exist, or missing values are not in a sequence.
    """
    for what, given in (("kinds", kinds), ("missing_values", missing_values)):
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"{what} must be a mapping from columns, such as {{'store': …}}; got {given!r}"
            )
    found = {}
    # a frame may have columns named by numbers, and its owner gives these names
    said = {str(name): kind for name, kind in kinds.items()}
    none = {str(name): values for name, values in missing_values.items()}
    for name in dict.fromkeys([*said, *none]):
        kind, order = _kind(name, said[name]) if name in said else (None, ())
        absent = none.get(name, ())
        if isinstance(absent, str) or not isinstance(absent, Sequence):
            raise ConfigError(
                f"the missing values of {name!r} must be a list of values, got {absent!r}"
            )
        found[name] = Declared(
            kind=kind, order=order, missing_values=tuple(map(class_name, absent))
        )
    return found


def _kind(name: str, said: str) -> tuple[Kind, tuple[str, ...]]:
    order = tuple(part.strip() for part in str(said).split("<"))
    if len(order) > 1:
        if len(set(order)) < len(order) or "" in order:
            raise ConfigError(
                f"the order of {name!r} must be of different names, such as 'S < M < L'; "
                f"got {said!r}"
            )
        return "ordinal", order
    if said not in _SAYABLE:
        raise ConfigError(
            f"the kind of {name!r} must be one of {', '.join(_SAYABLE)}, or the names of an "
            f"ordinal in their order, such as 'S < M < L'; got {said!r}"
        )
    return said, ()  # type: ignore[return-value]  # it is among the words of `Kind`
