"""Random tables of anything that users have, good or odd, in any container; a seed makes each.

What a library cannot hold is given to another, so a table has every column that was wanted.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from support.containers import MARKERS, STORAGES, WRAPPERS, data_of

Maker: TypeAlias = Callable[[Random], Any]

SIZES = (0, 0, 1, 2, 7, 40, 150, 400)
NAMES = (
    "x", "y", "label", "score", "id", "amount", "a.b", "a/b", "a b", "", " ", "ä😀", "a\nb", "a\0b",
    "None", "nan", "0", "__index_level_0__", "<b>", "{}", "%s", "'", '"', "\\", "\t", "month=1",
    "*", "n" * 300, "constructor", "\u202e", "x" * 3,
)  # fmt: skip
ODD_NAMES = (0, 1, None, 1.5, ("a", "b"), True, b"x", pd.Timestamp(0), float("nan"))
ZONES = (None, timezone.utc, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-9)))
TEXTS = (
    "", " ", "a", "b", "ä", "😀", "a\0b", "\n", "true", "nan", "None", "1", "1.5", "-0", "1e5",
    "<b>", "2026-01-01", "\u202e", "a" * 1000, "{}", "[1]", "\ufeffx", "inf", "null", "\x7f",
    "e\u0301",
)  # fmt: skip
FLOATS = (
    0.0, -0.0, 1.0, 0.1, -1.5, 1e308, -1e308, 1.8e308, 5e-324, 2.2e-308, math.inf, -math.inf,
    2.0**53, math.nan, 1e-9, 1e16, 3.4e38, 3.5e38,
)  # fmt: skip
INTEGERS = (0, 1, -1, 2, 255, 256, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63))
HUGE = (2**63, 2**64 - 1, 2**64, 10**30, -(10**30), 10**400)


class Colour(enum.Enum):
    """An enumeration of a user's."""

    RED = "red"
    BLUE = 2


class Table(NamedTuple):
    """Data, the names of its columns, and what they are."""

    data: Any
    names: list[Any]
    recipe: str


def any_datetime(rng: Random) -> datetime:
    years = rng.choice([(1, 9999), (1970, 1971), (2026, 2026)])
    at = datetime(rng.randint(*years), rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23))  # noqa: DTZ001
    return at.replace(microsecond=rng.choice([0, 0, 1, 999_999]))


def any_text(rng: Random) -> str:
    if rng.random() < 0.7:
        return rng.choice(TEXTS)
    return "".join(chr(rng.choice([rng.randint(32, 126), 0x4E00, 0x1F600])) for _ in range(5))


def any_decimal(rng: Random) -> Decimal:
    odd = ("0", "-0", "NaN", "Infinity", "-Infinity", "sNaN", "1E+30", "1E-30", "9" * 39)
    return Decimal(rng.choice(odd)) if rng.random() < 0.1 else Decimal(rng.randint(-999, 999)) / 4


def any_nested(rng: Random, depth: int = 2) -> Any:
    shape = rng.choice(["list", "map", "value"]) if depth else "value"
    if shape == "list":
        return [any_nested(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    if shape == "map":
        return {rng.choice("abc"): any_nested(rng, depth - 1) for _ in range(rng.randint(0, 2))}
    return rng.choice([None, 1, 2.5, "x", True])


def any_vector(rng: Random) -> list[Any]:
    length = rng.choice([3, 3, 3, 3, 0, 1, 8])
    return [rng.choice([0.5, 1.0, rng.random(), rng.choice(FLOATS)]) for _ in range(length)]


VALUES: dict[str, Maker] = {
    "small integer": lambda rng: rng.randint(-3, 9),
    "integer": lambda rng: rng.choice(INTEGERS),
    "huge integer": lambda rng: rng.choice(HUGE),
    "running number": lambda rng: rng.getrandbits(60),
    "float": lambda rng: rng.gauss(0, 1),
    "odd float": lambda rng: rng.choice(FLOATS),
    "share": lambda rng: rng.random(),
    "boolean": lambda rng: rng.random() < 0.4,
    "class": lambda rng: rng.choice(["no", "yes"]),
    "text": any_text,
    "half character": lambda rng: rng.choice(["\ud800", "a\udfffb", "x"]),
    "name": lambda rng: f"user {rng.getrandbits(40)}",
    "bytes": lambda rng: rng.choice([b"", b"a", b"\xff\xfe", "ä".encode(), b"\0"]),
    "decimal": any_decimal,
    "uuid": lambda rng: UUID(int=rng.getrandbits(128)),
    "enum": lambda rng: rng.choice([Colour.RED, Colour.BLUE]),
    "date": lambda rng: any_datetime(rng).date(),
    "naive time": any_datetime,
    "utc time": lambda rng: any_datetime(rng).replace(tzinfo=timezone.utc),
    "zoned time": lambda rng: any_datetime(rng).replace(tzinfo=rng.choice(ZONES)),
    "time of day": lambda rng: time(rng.randint(0, 23), rng.randint(0, 59)),
    "duration": lambda rng: timedelta(seconds=rng.choice([0, 1, -1, 10**9, rng.randint(-99, 99)])),
    "vector": any_vector,
    "list": lambda rng: [rng.randint(0, 3) for _ in range(rng.randint(0, 3))],
    "texts": lambda rng: [any_text(rng) for _ in range(rng.randint(0, 3))],
    "struct": lambda rng: {"a": rng.choice([None, 1, 2]), "b": rng.choice(["x", None])},
    "nested": any_nested,
    "array": lambda rng: np.array([rng.random() for _ in range(rng.choice([0, 2, 2]))]),
    "matrix": lambda rng: np.ones((2, rng.randint(1, 2))),
    "complex": lambda rng: complex(rng.random(), 1),
    "object": lambda rng: object(),
    "set": lambda rng: {rng.randint(0, 3)},
    "missing": lambda rng: None,
    "constant": lambda rng: 7,
    "numpy number": lambda rng: rng.choice([np.int8(3), np.float32(0.1), np.uint64(2**63)]),
    "pandas time": lambda rng: pd.Timestamp(rng.randint(0, 10**18)),
    "period": lambda rng: pd.Period(f"{rng.randint(1990, 2030)}-01", "M"),
    "interval": lambda rng: pd.Interval(rng.randint(0, 3), 5),
}
MIXED = ("small integer", "float", "text", "boolean", "decimal", "date", "list", "object", "bytes")

# values that the storages of a kind were made for
KINDS = {
    "integer": "small integer", "unsigned": "small integer", "float": "float", "boolean": "boolean",
    "text": "text", "uuid": "uuid", "timestamp": "utc time", "date": "date", "duration": "duration",
    "time": "time of day", "vector": "vector",
}  # fmt: skip


def random_values(rng: Random, n_rows: int) -> tuple[str, list[Any]]:
    """What the values are, and the values, None where one is missing."""
    name = rng.choice([*VALUES, "mixed"])
    makers = [VALUES[each] for each in (MIXED if name == "mixed" else (name,))]
    missing = rng.choice([0.0, 0.0, 0.1, 0.9])
    values = [None if rng.random() < missing else rng.choice(makers)(rng) for _ in range(n_rows)]
    return name, values


def random_column(rng: Random, n_rows: int) -> tuple[str, str, Any]:
    """What a column is, its library, and the column."""
    for _ in range(20):
        name, values = random_values(rng, n_rows)
        kinds = [kind for kind, of in KINDS.items() if of == name] or list(STORAGES)
        kind = rng.choice(kinds)
        how = rng.choice([*STORAGES[kind], "any Arrow", "any pandas", "any polars", "odd pandas"])
        try:
            storage = STORAGES[kind].get(how)
            column = storage.make(values) if storage else ANY[how](rng, values)
            if isinstance(column, pa.Array | pa.ChunkedArray):
                # of a short set Arrow makes a list of a fixed size that is none
                column.validate(full=True)
            # pandas makes a column of more than one dimension of matrices, and cannot show it
            if getattr(column, "shape", (n_rows,)) == (n_rows,):
                library = storage.library if storage else how.split()[1].lower()
                return f"{name} in {how}", library, column
        except BaseException as error:  # polars panics, which is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
    return "nulls", "arrow", pa.nulls(n_rows)


def _odd_pandas(rng: Random, values: Sequence[Any]) -> pd.Series:
    marks = rng.sample(MARKERS, 2)
    kept = [rng.choice(marks) if value is None else value for value in values]
    column = pd.Series(pd.array(kept, dtype=object), dtype=object)
    return column.astype("category") if rng.random() < 0.3 else column


ANY: dict[str, Callable[[Random, Sequence[Any]], Any]] = {
    "any Arrow": lambda rng, values: pa.array(values),
    "any pandas": lambda rng, values: pd.Series(values),
    "any polars": lambda rng, values: pl.Series(values, strict=rng.random() < 0.5),
    "odd pandas": _odd_pandas,
}


def random_names(rng: Random, number: int) -> list[str]:
    if rng.random() < 0.05:
        return [rng.choice(NAMES) for _ in range(number)]
    return rng.sample(NAMES[:8] if rng.random() < 0.6 else NAMES, number)


def random_table(rng: Random, folder: Path, *, names: Sequence[Any] | None = None) -> Table:
    """A random table in a random container.

    Args:
        rng: Makes the choices; the same state makes the same table.
        folder: Empty, for what is stored in files.
        names: Names of the columns; random ones if None.
    """
    n_rows = rng.choice(SIZES)
    named = list(names) if names is not None else random_names(rng, rng.randint(0, 6))
    columns, about = [], []
    for name in named:
        what, library, column = random_column(rng, n_rows)
        columns.append((library, column))
        about.append(f"{name!r:.40}: {what}")
    libraries = sorted({library for library, _ in columns}) or ["arrow"]
    wanted = rng.choice(libraries)
    if wanted == "polars" and len(set(named)) < len(named):
        wanted = "arrow"
    made = [column for _, column in columns]
    for library in (wanted, "arrow"):
        try:
            data, how = _together(rng, library, named, made, folder)
            break
        except BaseException as error:  # polars panics, which is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
    else:
        data, how = pa.table([pa.nulls(n_rows) for _ in made], names=list(map(str, named))), "nulls"
    return Table(data, named, f"{n_rows} rows in {how}: " + ", ".join(about))


def _together(
    rng: Random, library: str, names: list[Any], columns: list[Any], folder: Path
) -> tuple[Any, str]:
    if library == "pandas":
        frame = pd.concat([pd.Series(_as_pandas(each)) for each in columns], axis=1)
        frame.columns = _odd(rng, names)
        if rng.random() < 0.3:
            frame = frame[::-1]
        return frame, "pandas"
    if library == "polars":
        made = [_as_polars(each) for each in columns]
        return data_of(dict(zip(names, made, strict=True)), "polars"), "polars"
    table = pa.table([_as_arrow(each) for each in columns], names=[str(name) for name in names])
    for how in (rng.choice(list(WRAPPERS)), "table"):
        try:
            return WRAPPERS[how](table, folder), f"Arrow, {how}"
        except BaseException as error:  # noqa: PERF203 - a type that it cannot hold
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
    raise AssertionError("a table can always be given as it is")


def _odd(rng: Random, names: list[Any]) -> list[Any]:
    if rng.random() < 0.9:
        return names
    return [rng.choice(ODD_NAMES) if rng.random() < 0.5 else name for name in names]


def _as_pandas(column: Any) -> Any:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return pd.arrays.ArrowExtensionArray(column)
    return column if isinstance(column, pd.Series) else column.to_list()


def _as_arrow(column: Any) -> Any:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    try:
        return pa.array(column.to_list())
    except BaseException as error:  # polars panics, which is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return pa.nulls(len(column))


def _as_polars(column: Any) -> Any:
    if isinstance(column, pl.Series):
        return column
    try:
        return pl.Series(column.to_pylist() if hasattr(column, "to_pylist") else column.to_list())
    except BaseException as error:  # polars panics, which is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return pl.Series([None] * len(column))
