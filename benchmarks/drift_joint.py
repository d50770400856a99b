"""The joint test where rows are alike: false alarms, and power.

Eight columns, two windows of 1,000 rows of one distribution; in `trend` the means go through a day.
Power: the correlation of two columns rises from 0, in all rows or in the last ones of the window.
*Every second row* is what the test did before: trained on every second row, tested on the others,
all taken for independent.

`python -m benchmarks.drift_joint [simulations]`
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift import joint
from flytekitplugins.wbmon.monitor.drift.joint_report import JointDrift
from flytekitplugins.wbmon.monitor.drift.joint_split import Split

N_ROWS = 1000
COLUMNS = list("abcdefgh")

Rows = NDArray[np.float64]


def independent(
    rng: np.random.Generator, n: int = N_ROWS, *, correlation: float = 0.0, since: float = 0.0
) -> Rows:
    """Normal columns; two of them are correlated from a share of the window on."""
    rows = rng.normal(size=(n, len(COLUMNS)))
    late = slice(int(since * n), None)
    rows[late, 1] *= math.sqrt(1 - correlation**2)
    rows[late, 1] += correlation * rows[late, 0]
    return rows


def repeated(rng: np.random.Generator, *, times: int, noise: float) -> Rows:
    """Sessions of successive rows that differ by noise only."""
    rows = np.repeat(independent(rng, N_ROWS // times), times, axis=0)
    return rows + noise * rng.normal(size=rows.shape)


def autoregressive(rng: np.random.Generator, *, rho: float) -> Rows:
    """A stationary AR(1) series a column."""
    steps = math.sqrt(1 - rho**2) * independent(rng)
    steps[0] = independent(rng, 1)
    for row in range(1, N_ROWS):
        steps[row] += rho * steps[row - 1]
    return steps


def trend(rng: np.random.Generator) -> Rows:
    """The same course of a day in both windows."""
    return independent(rng) + 2 * np.sin(np.linspace(0, 2 * np.pi, N_ROWS))[:, None]


WINDOWS: dict[str, Callable[[np.random.Generator], Rows]] = {
    "independent rows": independent,
    "every row twice in succession": partial(repeated, times=2, noise=0.0),
    "sessions of 5 successive rows": partial(repeated, times=5, noise=0.1),
    "sessions of 25 successive rows": partial(repeated, times=25, noise=0.1),
    "AR(1), 0.9": partial(autoregressive, rho=0.9),
    "trend": trend,
}


def frame(rows: Rows) -> pd.DataFrame:
    """One column a feature."""
    return pd.DataFrame(rows, columns=COLUMNS)


def shuffled_sessions(rng: np.random.Generator, *, correlation: float = 0.0) -> pd.DataFrame:
    """Sessions of 5 rows that take turns, with the column that says whose a row is."""
    session = rng.permutation(np.repeat(np.arange(N_ROWS // 5), 5))
    rows = independent(rng, N_ROWS // 5, correlation=correlation)[session]
    noisy = frame(rows + 0.1 * rng.normal(size=rows.shape))
    return noisy.assign(session=rng.integers(2**40) + session)


def every_second_row(is_current: NDArray[np.bool_]) -> Split:
    """The division of the test before, each row for itself."""
    rows = np.arange(len(is_current))
    return Split(trained=rows[::2], tested=rows[1::2], cluster=rows[1::2])


def found(job: tuple[int, str, str]) -> tuple[float, float]:
    """p-value and AUC of one pair of windows."""
    seed, what, how = job
    rng = np.random.default_rng(seed)
    if how == "before":
        joint.split_by_blocks = every_second_row
    return _values(_check(rng, what, how))


def _check(rng: np.random.Generator, what: str, how: str) -> JointDrift:
    group = "session" if how == "group=" else ""
    if what.startswith("correlation"):
        _, size, since = what.split()
        rho, start = float(size), float(since)
        if group:
            changed = shuffled_sessions(rng, correlation=rho)
            return joint.check_joint_drift(shuffled_sessions(rng), changed, group=group)
        changed = frame(independent(rng, correlation=rho, since=start))
        return joint.check_joint_drift(frame(independent(rng)), changed)
    if what == "shuffled":
        pair = [shuffled_sessions(rng) for _ in range(2)]
        pair = pair if group else [each[COLUMNS] for each in pair]
        return joint.check_joint_drift(*pair, group=group)
    return joint.check_joint_drift(*(frame(WINDOWS[what](rng)) for _ in range(2)))


def _values(report: JointDrift) -> tuple[float, float]:
    return report.p_value, report.auc


def measure(what: str, how: str, n_sims: int) -> str:
    """A cell of the table: how often p <= 0.05, and the mean AUC."""
    # a process of its own for each, because the test is changed in it
    with ProcessPoolExecutor(1) as pool:
        jobs = [(seed, what, how) for seed in range(n_sims)]
        p_values, aucs = np.array(list(pool.map(found, jobs, chunksize=8))).T
    return f"{np.mean(p_values <= 0.05):.3f} ({aucs.mean():.3f})"


def main(n_sims: int = 300) -> None:
    """Print the tables: share of p-values of at most 0.05, in brackets the mean AUC."""
    print("| no change | every second row | blocks | group= |\n|---|---|---|---|")
    for what in WINDOWS:
        cells = (measure(what, how, n_sims) for how in ("before", "now"))
        print(f"| {what} | {' | '.join(cells)} | |", flush=True)
    cells = (measure("shuffled", how, n_sims) for how in ("before", "now", "group="))
    print(f"| sessions of 5 rows, shuffled | {' | '.join(cells)} |", flush=True)
    print("\n| correlation 0 to | since | every second row | blocks |\n|---|---|---|---|")
    for size, since in ((0.3, 0.0), (0.4, 0.0), (0.5, 0.0), (0.8, 0.5), (0.95, 0.7), (0.95, 0.8)):
        what = f"correlation {size} {since}"
        cells = (measure(what, how, n_sims) for how in ("before", "now"))
        print(f"| {size} | {since:.0%} of the window | {' | '.join(cells)} |", flush=True)
    cell = measure("correlation 0.7 0", "group=", n_sims)
    print(f"\nCorrelation 0 to 0.7 in 200 shuffled sessions of 5 rows, with group=: {cell}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
