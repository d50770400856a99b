"""Two windows of Parquet for the drift benchmarks: 80 % numbers of eight shapes, 20 % strings.

The current window has a fifth of its columns shifted by a tenth of a standard deviation, and is two
in a hundred rows shorter: windows are never of equal length, and equal ones would be a shortcut.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROW_GROUP = 131_072
LEVELS = (3, 10, 50, 1000)
_BLOCK = 1_000_000

Shape = Callable[[np.random.Generator, int], NDArray[np.float64]]
SHAPES: dict[str, Shape] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "gamma": lambda rng, n: rng.gamma(2, 1, n),
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "t3": lambda rng, n: rng.standard_t(3, n),
    "rounded": lambda rng, n: np.round(rng.normal(size=n), 1),
    "counts": lambda rng, n: rng.poisson(3, n).astype(np.float64),
}


def make_windows(folder: Path, *, n_rows: int, n_columns: int) -> tuple[Path, Path]:
    """Write `reference.parquet` and `current.parquet`, unless they are there already."""
    folder = folder / f"{n_columns}x{n_rows}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "reference.parquet", folder / "current.parquet"
    for window, path in enumerate(paths):
        if not path.exists():
            _write(path, window, n_rows - window * n_rows // 50, n_columns)
    return paths


def _write(path: Path, window: int, n_rows: int, n_columns: int) -> None:
    rng = np.random.default_rng(window)
    partial = path.with_suffix(".partial")
    writer = None
    for start in range(0, n_rows, _BLOCK):
        table = make_table(rng, min(_BLOCK, n_rows - start), n_columns, shifted=window == 1)
        writer = writer or pq.ParquetWriter(partial, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP)
    if writer is not None:
        writer.close()
    partial.rename(path)


def make_table(
    rng: np.random.Generator, n_rows: int, n_columns: int, *, shifted: bool = False
) -> pa.Table:
    """Numbers first, then strings; every fifth column is shifted if asked."""
    columns: dict[str, pa.Array] = {}
    shapes = list(SHAPES.items())
    for i in range(n_columns):
        move = 0.1 if shifted and i % 5 == 0 else 0.0
        if i < round(0.8 * n_columns):
            name, shape = shapes[i % len(shapes)]
            values = shape(rng, n_rows)
            columns[f"n{i:03}_{name}"] = pa.array(values + move * values.std())
        else:
            levels = LEVELS[i % len(LEVELS)]
            share = 1 / np.arange(1, levels + 1)
            share[0] *= 1 - move
            codes = rng.choice(levels, n_rows, p=share / share.sum()).astype(np.int32)
            names = pa.array([f"category {level}" for level in range(levels)])
            columns[f"c{i:03}_{levels}"] = pa.DictionaryArray.from_arrays(codes, names).cast(
                pa.string()
            )
    return pa.table(columns)
