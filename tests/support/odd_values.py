"""Values and names that no one should give to a log, and that somebody does."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd


class Raises:
    """An object of which nothing can be asked."""

    def _refuse(self, *_: Any) -> Any:
        raise ValueError("ask me nothing")

    __str__ = __repr__ = __float__ = __int__ = __bool__ = __len__ = __iter__ = _refuse
    __eq__ = __hash__ = __lt__ = __getitem__ = __format__ = __index__ = _refuse

    @property
    def dtype(self) -> Any:
        """As an array has it."""
        raise RuntimeError("no array either")


class LiesAboutItself:
    """An object whose methods return what they must not."""

    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307 - that is what is wrong with it

    __float__ = __int__ = __len__ = __repr__ = __hash__ = __str__  # type: ignore[assignment]


class Exits:
    """An object whose text is a deep recursion."""

    def __str__(self) -> str:
        return str(self)

    __repr__ = __str__


class Text(str):
    """A text of its own class, whose text is another."""

    def __str__(self) -> str:
        return "another"


class Whole(int):
    """A number of its own class, whose text is none."""

    def __repr__(self) -> str:
        raise ValueError

    __str__ = __repr__


class Real(float):
    """A float of its own class, whose text is none."""

    def __repr__(self) -> str:
        raise ValueError

    __str__ = __repr__


class Dictionary(dict[Any, Any]):
    """A dictionary whose items cannot be had."""

    def items(self) -> Any:
        raise KeyError("items")


class Colour(enum.Enum):
    """An enum of which one value is no value."""

    RED = "red"
    LIST = ("a", 1)
    ODD = Raises


class NotHashed(Mapping[Any, Any]):
    """A mapping that breaks while it is read."""

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Any:
        yield "a"
        raise OSError("gone")

    def __len__(self) -> int:
        return 1


def _endless() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


def _endless_mapping() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = found
    return found


def _deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(5000):
        found = [found]
    return found


PLAIN: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**70, 10**76,
    10**400, 0.0, -0.0, 0.5, 1e308, -1e-308, float("nan"), float("inf"), -float("inf"), "", "a",
    "\0", "\ud83d", "\udc00\ud83d", "\ud83d\ude00", "\u2028\r\n", "x" * 1000, "nan", "None",
)  # fmt: skip
ODD: tuple[Callable[[], Any], ...] = (
    Raises, LiesAboutItself, Exits, Dictionary, NotHashed, object, _endless, _endless_mapping,
    _deep, lambda: Text("text"), lambda: Whole(7), lambda: Real(0.5), lambda: Dictionary(a=1),
    lambda: 10**5000, lambda: Decimal("0.1"), lambda: Decimal("NaN"), lambda: Decimal("sNaN"),
    lambda: Decimal("Infinity"), lambda: Decimal("1E+999999"), lambda: Fraction(1, 3),
    lambda: complex(1, 2), lambda: b"\xff", lambda: bytearray(b"a"), lambda: memoryview(b"a"),
    lambda: Colour.RED, lambda: Colour.LIST, lambda: Colour.ODD, lambda: uuid.UUID(int=5),
    lambda: date(1, 1, 1), lambda: datetime.max,  # noqa: DTZ901 - without a zone
    lambda: datetime.now(timezone.utc),
    lambda: time(1), lambda: timedelta.max, lambda: {1, 2}, frozenset, lambda: range(3),
    lambda: (each for each in "ab"), lambda: print, lambda: int, lambda: Path("/a"),
    lambda: MappingProxyType({"a": 1}), lambda: [[1, "a"], {"b": None}], lambda: {1: 2, None: 3},
    lambda: {Raises: 1}, lambda: [Raises()], lambda: {"a": Raises()}, lambda: ("a", float("nan")),
    lambda: {"\ud800": "\udfff"}, lambda: np.int64(3), lambda: np.uint64(2**64 - 1),
    lambda: np.float32(0.1), lambda: np.float64("nan"), lambda: np.longdouble(1) / 3,
    lambda: np.bool_(True), lambda: np.str_("a\ud800"), lambda: np.bytes_(b"\xff"),
    lambda: np.datetime64("NaT"), lambda: np.datetime64(1, "ns"), lambda: np.timedelta64(1, "Y"),
    lambda: np.array([1.0, np.nan]), lambda: np.array(5),
    lambda: np.array([Raises()], dtype=object),
    lambda: np.zeros((2, 2)), lambda: np.void(b"a"),
    lambda: np.complex128(1), lambda: pd.NA, lambda: pd.NaT, lambda: pd.Timestamp(1),
    lambda: pd.Timedelta(1), lambda: pd.Period("2026-01"), lambda: pd.Interval(0, 1),
    lambda: pd.Series([1, None]), lambda: pd.DataFrame({"a": [1]}), lambda: pd.Categorical(["a"]),
    lambda: pd.Series([Raises()]), lambda: ValueError("\ud800"), lambda: ...,
    lambda: NotImplemented, type("Empty", (), {"__slots__": ()}),
)  # fmt: skip


def odd_value(rng: Random) -> Any:
    """A value of any sort, sometimes in containers."""
    choice = rng.random()
    if choice < 0.4:
        return rng.choice(PLAIN)
    if choice < 0.85:
        return rng.choice(ODD)()
    if choice < 0.93:
        return [odd_value(rng) for _ in range(rng.randrange(3))]
    return {odd_name(rng): odd_value(rng) for _ in range(rng.randrange(3))}


def odd_name(rng: Random) -> Any:
    """A key of a mapping."""
    if rng.random() < 0.7:
        return rng.choice(["a", "b", "", "\0", "\ud800", "a.b", "feature.a", "é", "x" * 300])
    return rng.choice([1, None, True, 0.5, ("a",), b"a", Colour.RED, Text("t"), uuid.UUID(int=1)])
