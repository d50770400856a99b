"""Odd values: those that cannot be read as what most of their column is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flytekitplugins.wbmon.names import quoted_name

MOST = 0.95
"""Share of the values that decide what the others are."""

_EXAMPLES = 3


class Unreadable(NamedTuple):
    """Values that cannot be read as what their column is; they count as missing.

    Attributes:
        n: How many there are.
        examples: The texts of at most three of them.
    """

    n: int = 0
    examples: tuple[str, ...] = ()

    def and_(self, other: Unreadable) -> Unreadable:
        """Those of two columns together."""
        examples = dict.fromkeys((*self.examples, *other.examples))
        return Unreadable(self.n + other.n, tuple(examples)[:_EXAMPLES])


def total_of(parts: Iterable[Unreadable]) -> Unreadable:
    """Those of all parts of a column together."""
    total = Unreadable()
    for part in parts:
        total = total.and_(part)
    return total


def unreadable_of(found: Mapping[str, Unreadable]) -> Unreadable:
    """What could not be read in several columns, with the column of each example."""
    return total_of(
        Unreadable(
            each.n, tuple(f"{quoted_name(text)} in {quoted_name(column)}" for text in each.examples)
        )
        for column, each in found.items()
    )


def are_few(n_odd: int, n_values: int) -> bool:
    """Whether odd values cost themselves alone: one, or no more than one in twenty, and not all.

    Args:
        n_odd: Number of odd values.
        n_values: Number of all values that are not missing.
    """
    return n_odd < n_values and n_odd <= max(1.0, (1 - MOST) * n_values)
