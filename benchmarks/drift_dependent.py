"""False alarms where rows are not independent: with and without past windows.

Thirty columns without any drift; each window is a stretch of an AR(1) series, or has an effect of
its own. Every significant finding counts, however small.

`python -m benchmarks.drift_dependent [simulations]`
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data

N_ROWS = 1000
N_COLUMNS = 30
SENSITIVE = DriftRule(min_effect=1e-9, warn_effect=1e-9)

Window = Callable[[np.random.Generator], NDArray[np.float64]]


def autoregressive(rng: np.random.Generator, *, rho: float) -> NDArray[np.float64]:
    """A stretch of a stationary AR(1) series a column; unit variance."""
    steps = math.sqrt(1 - rho**2) * rng.normal(size=(N_ROWS, N_COLUMNS))
    steps[0] = rng.normal(size=N_COLUMNS)
    for row in range(1, N_ROWS):
        steps[row] += rho * steps[row - 1]
    return steps


def day_effect(rng: np.random.Generator, *, sd: float) -> NDArray[np.float64]:
    """Independent rows around a mean that the window has for itself."""
    return rng.normal(size=(N_ROWS, N_COLUMNS)) + sd * rng.normal(size=N_COLUMNS)


PROCESSES: dict[str, Window] = {
    "independent": partial(day_effect, sd=0.0),
    "AR(1), 0.9": partial(autoregressive, rho=0.9),
    "AR(1), 0.99": partial(autoregressive, rho=0.99),
    "day effect 0.05 sd": partial(day_effect, sd=0.05),
    "day effect 0.2 sd": partial(day_effect, sd=0.2),
}


def table(values: NDArray[np.float64]) -> pa.Table:
    """One column a feature."""
    return pa.table({f"x{i}": values[:, i] for i in range(values.shape[1])})


def alarms(job: tuple[int, str, int]) -> list[bool]:
    """Whether a window without drift alarms: alone, and calibrated; then one that moved by 1 sd."""
    seed, process, n_windows = job
    rng = np.random.default_rng(seed)
    draw = PROCESSES[process]
    first = profile_data(table(draw(rng)))
    past = [profile_data(table(draw(rng)), like=first) for _ in range(n_windows)]
    reference = merge_profiles(past)
    current = draw(rng)
    moved = current.copy()
    moved[:, :4] += 1.0
    quiet = profile_data(table(current), like=first)
    alone = check_drift(reference, quiet, rule=SENSITIVE)
    calibrated = check_drift(reference, quiet, rule=SENSITIVE, past=past)
    shifted = check_drift(
        reference, profile_data(table(moved), like=first), rule=SENSITIVE, past=past
    )
    return [
        alone.drifted,
        calibrated.drifted,
        float(np.mean([shifted.features[f"x{i}"].drifted for i in range(4)])),
    ]


def main(n_sims: int = 200) -> None:
    """Print the table."""
    print("| process | past windows | simulations | plain test | calibrated | power at 1 sd |")
    print("|---|---|---|---|---|---|")
    with ProcessPoolExecutor(2) as pool:
        for process in PROCESSES:
            for n_windows, runs in ((10, n_sims), (30, n_sims), (90, n_sims // 2)):
                jobs = [(seed, process, n_windows) for seed in range(runs)]
                plain, calibrated, power = np.mean(
                    list(pool.map(alarms, jobs, chunksize=4)), axis=0
                )
                print(
                    f"| {process} | {n_windows} | {runs} | {plain:.3f} | {calibrated:.3f} "
                    f"| {power:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
