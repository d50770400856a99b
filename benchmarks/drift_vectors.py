"""Vectors: false alarms, and what is found, by dimension and spectrum.

References of 2,000 vectors, windows of 1,000, as profiles. *Flat*: all components vary alike.
*Decaying*: the variance of component `i` is `1 / i`, and the axes are turned at random.
Changes: all components 10 % larger; the mean moved along the main axis by 0.3 standard deviations
of that axis; one component (before the turn the last) moved by 1 of its own; the two first axes
turned by 45 degrees. *Before*: the test of the 32 random directions alone.

`python -m benchmarks.drift_vectors [simulations]`
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from flytekitplugins.wbmon.stats.projections import N_DIRECTIONS, SLICE_CELLS
from flytekitplugins.wbmon.stats.sliced_ks import sliced_ks_test

N_REFERENCE, N_CURRENT = 2000, 1000
DIMENSIONS = (8, 64, 384, 768)
CHANGES = ("none", "scale", "main axis", "one component", "rotation")

Rows = NDArray[np.float64]


def vectors(
    rng: np.random.Generator, n: int, spread: Rows, turn: Rows, change: str = "none"
) -> Rows:
    """Normal vectors, changed before their axes are turned."""
    rows = rng.normal(size=(n, len(spread))) * spread
    if change == "scale":
        rows *= 1.1
    if change == "main axis":
        rows[:, 0] += 0.3 * spread[0]
    if change == "one component":
        rows[:, -1] += spread[-1]
    if change == "rotation":
        first, second = rows[:, 0].copy(), rows[:, 1].copy()
        rows[:, 0], rows[:, 1] = (first - second) / np.sqrt(2), (first + second) / np.sqrt(2)
    return rows @ turn


def table(rows: Rows) -> pa.Table:
    flat = pa.array(rows.astype(np.float32).ravel())
    return pa.table({"e": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])})


def found(job: tuple[int, int, bool, str]) -> list[tuple[bool, bool]]:
    """Whether the change is significant, and whether it is drift: before, and now."""
    seed, dimension, is_flat, change = job
    rng = np.random.default_rng(seed)
    spread = np.ones(dimension) if is_flat else np.arange(1.0, dimension + 1) ** -0.5
    turn = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    reference = profile_data(table(vectors(rng, N_REFERENCE, spread, turn)))
    now = table(vectors(rng, N_CURRENT, spread, turn, change))
    current = profile_data(now, like=reference)
    (check,) = check_drift(reference, current).features["e"].checks
    random = slice(N_DIRECTIONS * SLICE_CELLS)
    before = sliced_ks_test(
        *(np.asarray(each.features["e"].counts)[random] for each in (reference, current))
    )
    return [
        (p_value <= 0.05, p_value <= 0.05 and effect >= 0.1)
        for p_value, effect in (
            (before.p_value, before.value),
            (check.p_value, check.effect_size),
        )
    ]


def main(n_sims: int = 100) -> None:
    """Print the table: share of windows with p <= 0.05, and of those with the verdict drift."""
    print("| dimension | spectrum | change | before: significant / drift | now |")
    print("|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        for dimension in DIMENSIONS:
            for is_flat in (True, False):
                for change in CHANGES:
                    runs = 4 * n_sims if change == "none" else n_sims
                    jobs = [(seed, dimension, is_flat, change) for seed in range(runs)]
                    (before, now) = np.mean(
                        list(pool.map(found, jobs, chunksize=8)), axis=0
                    ).tolist()
                    print(
                        f"| {dimension} | {'flat' if is_flat else 'decaying'} | {change} "
                        f"| {before[0]:.2f} / {before[1]:.2f} | {now[0]:.2f} / {now[1]:.2f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
