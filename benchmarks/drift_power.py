"""What kind of change is found: one feature of thirty changes, by ours and by the usual rules.

Beside the check's own answers stand Kolmogorov-Smirnov with Benjamini-Hochberg alone (chi-squared
for categories), and the fixed thresholds that peers use by default: Wasserstein distance over the
reference's standard deviation, or Jensen-Shannon distance of categories, of at least 0.1; and a
population stability index over deciles of at least 0.1.

`python -m benchmarks.drift_power [simulations rows]`
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.report import FeatureDrift

N_FEATURES = 30
_LEVELS = np.array(["a", "b", "c", "d", "e"])
_SHARES = (0.4, 0.3, 0.15, 0.1, 0.05)

Draw = Callable[[np.random.Generator, int, float], pa.Array]


def mean(rng: np.random.Generator, n: int, size: float) -> pa.Array:
    """A normal feature whose mean moves by `size` standard deviations."""
    return pa.array(rng.normal(size, 1, n))


def variance(rng: np.random.Generator, n: int, size: float) -> pa.Array:
    """A normal feature whose standard deviation grows by the share `size`."""
    return pa.array(rng.normal(0, 1 + size, n))


def tail(rng: np.random.Generator, n: int, size: float) -> pa.Array:
    """A lognormal feature in which the share `size` of rows becomes five times as large."""
    values = rng.lognormal(0, 1, n)
    return pa.array(np.where(rng.random(n) < size, 5 * values, values))


def missing(rng: np.random.Generator, n: int, size: float) -> pa.Array:
    """A normal feature that loses the share `size` of its values."""
    return pa.array(rng.normal(0, 1, n), mask=rng.random(n) < size)


def category(rng: np.random.Generator, n: int, size: float) -> pa.Array:
    """Five categories; the share `size` of rows moves to the rarest."""
    values = rng.choice(_LEVELS, n, p=_SHARES)
    return pa.array(np.where(rng.random(n) < size, "e", values))


def new_category(rng: np.random.Generator, n: int, size: float) -> pa.Array:
    """Five categories; the share `size` of rows moves to one never seen."""
    values = rng.choice(_LEVELS, n, p=_SHARES)
    return pa.array(np.where(rng.random(n) < size, "new", values))


CHANGES: dict[Draw, tuple[float, ...]] = {
    mean: (0.1, 0.2, 0.5),
    variance: (0.1, 0.3, 1.0),
    tail: (0.05, 0.15, 0.3),
    missing: (0.02, 0.05, 0.2),
    category: (0.05, 0.1, 0.2),
    new_category: (0.02, 0.05, 0.2),
}


def found_by(draw: Draw, size: float, n_rows: int, seed: int) -> tuple[bool, ...]:
    """One simulation: significant, warning, drift; KS alone; distance >= 0.1; PSI >= 0.1."""
    rng = np.random.default_rng(seed)
    still = {f"still {i}": pa.array(rng.normal(0, 1, n_rows)) for i in range(N_FEATURES - 1)}
    reference = pa.table({**still, "changed": draw(rng, n_rows, 0.0)})
    moved = {name: pa.array(rng.normal(0, 1, n_rows)) for name in still}
    current = pa.table({**moved, "changed": draw(rng, n_rows, size)})
    feature = check_drift(reference, current).features["changed"]
    distance = feature.distances.get("wasserstein_normed", feature.distances["jensen_shannon"])
    return (
        feature.level != "none",
        feature.level in ("warning", "drift"),
        feature.drifted,
        _distribution_alone(feature),
        distance >= 0.1,
        feature.distances["psi"] >= 0.1,
    )


def _distribution_alone(feature: FeatureDrift) -> bool:
    # with one of thirty columns changed, Benjamini-Hochberg asks for p <= 0.05 / 30
    return feature.p_value <= 0.05 / N_FEATURES


def main(n_sims: int = 200, n_rows: int = 2000) -> None:
    """Print one row a change and size."""
    print(f"{n_sims} simulations, {n_rows:,} rows a window; share of simulations that notice\n")
    print("| change | size | significant | warning | drift | KS alone | distance | PSI |")
    print("|---|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        for draw, sizes in CHANGES.items():
            for size in (0.0, *sizes):
                work = partial(found_by, draw, size, n_rows)
                shares = np.mean(list(pool.map(work, range(n_sims), chunksize=10)), axis=0)
                cells = " | ".join(f"{share:.2f}" for share in shares)
                print(f"| {draw.__name__.replace('_', ' ')} | {size:g} | {cells} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
