"""How often the window verdict is wrong: false alarms without drift, and power with it.

Every simulation draws two windows, runs `check_drift` on them as a user would, and looks at the
verdict. Errors are those of a binomial share. Half an hour on two cores, most of it for the windows
of 100,000 rows and more.

`python -m benchmarks.drift_false_alarms [simulations]`
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa

from benchmarks.drift_data import SHAPES
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule

SENSITIVE = DriftRule(min_effect=1e-9, warn_effect=1e-9, min_rows=50)
"""Every significant finding counts: the harder promise, Benjamini-Hochberg alone."""

DEFAULT = DriftRule(min_rows=50)
_LEVELS = (2, 3, 10, 50, 50, 200)


def window(
    rng: np.random.Generator, n_rows: int, n_features: int, *, shift: float = 0.0
) -> pa.Table:
    """Four fifths numbers of eight shapes, one fifth categories; missing values in every tenth.

    The shift, in standard deviations, goes to the first, second and third number and, as a share of
    rows moved to the first level, times 0.4, to the first category of ten levels or fewer.
    """
    columns: dict[str, pa.Array] = {}
    shapes = list(SHAPES.items())
    n_numbers = round(0.8 * n_features)
    for i in range(n_features):
        if i < n_numbers:
            name, shape = shapes[i % len(shapes)]
            values = shape(rng, n_rows)
            if i < 3:
                values = values + shift * _SPREAD[name]
            missing = rng.random(n_rows) < (0.05 if i % 10 == 0 else 0.0)
            columns[f"{i}_{name}"] = pa.array(values, mask=missing)
        else:
            levels = _LEVELS[(i - n_numbers) % len(_LEVELS)]
            codes = rng.choice(levels, n_rows, p=_zipf(levels)).astype(np.int32)
            if i == n_numbers:
                codes[rng.random(n_rows) < 0.4 * shift] = 0
            names = pa.array([f"level {level}" for level in range(levels)])
            columns[f"{i}_{levels} levels"] = pa.DictionaryArray.from_arrays(codes, names)
    return pa.table(columns)


def _zipf(levels: int) -> np.ndarray:
    share = 1 / np.arange(1, levels + 1)
    return share / share.sum()


_SPREAD = {
    name: float(shape(np.random.default_rng(0), 10**5).std()) for name, shape in SHAPES.items()
}


def report_of(
    seed: int, n: int, m: int, n_features: int, shift: float, rule: DriftRule
) -> DriftReport:
    """One simulation."""
    rng = np.random.default_rng(seed)
    reference = window(rng, n, n_features)
    current = window(rng, m, n_features, shift=shift)
    return check_drift(reference, current, rule=rule)


def false_alarm(job: tuple[int, int, int, int]) -> tuple[bool, bool]:
    """Whether anything was significant, and whether the default rule says drift."""
    seed, n, m, n_features = job
    report = report_of(seed, n, m, n_features, 0.0, SENSITIVE)
    checks = [check for feature in report.features.values() for check in feature.checks]
    by_default = any(
        check.q_value <= DEFAULT.alpha and check.effect_size >= DEFAULT.min_effect
        for check in checks
    )
    return report.drifted, by_default


def power(job: tuple[int, int, int, float]) -> tuple[float, float]:
    """Share of the four shifted features that are significant, and that the default rule flags."""
    seed, n, m, shift = job
    report = report_of(seed, n, m, 30, shift, SENSITIVE)
    moved = [report.features[name] for name in report.features if name.split("_")[0] in _MOVED]
    significant = [feature.q_value <= DEFAULT.alpha for feature in moved]
    flagged = [
        feature.q_value <= DEFAULT.alpha and feature.effect_size >= DEFAULT.min_effect
        for feature in moved
    ]
    return float(np.mean(significant)), float(np.mean(flagged))


_MOVED = ("0", "1", "2", "24")
ALARM_CASES = [(n, n, n_features) for n_features in (10, 30, 100) for n in (100, 1000, 10_000)] + [
    (100_000, 1000, 30),
    (100_000, 100_000, 30),
    (1_000_000, 1_000_000, 10),
]
POWER_CASES = [(n, n, shift) for n in (1000, 10_000) for shift in (0.1, 0.2, 0.5)]


def simulate(
    pool: ProcessPoolExecutor, work: Callable[..., tuple[float, float]], case: tuple, n_sims: int
) -> np.ndarray:
    """Means over simulations of both answers."""
    jobs = [(seed, *case) for seed in range(n_sims)]
    return np.mean(list(pool.map(work, jobs, chunksize=8)), axis=0)


def main(n_sims: int = 500) -> None:
    """Print both tables."""
    started = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        print(
            "No drift: share of windows with any finding (nominal 5 %), and with the verdict drift"
        )
        print("\n| features | rows | simulations | any significant | verdict drift |")
        print("|---|---|---|---|---|")
        for n, m, n_features in ALARM_CASES:
            found, drifted = simulate(pool, false_alarm, (n, m, n_features), n_sims)
            error = math.sqrt(0.05 * 0.95 / n_sims)
            print(
                f"| {n_features} | {n:,} / {m:,} | {n_sims} | {found:.3f} (± {error:.3f}) "
                f"| {drifted:.3f} |",
                flush=True,
            )
        print("\nDrift in 4 of 30 features: share of the four found\n")
        print("| rows | shift (sd) | simulations | significant | verdict drift |")
        print("|---|---|---|---|---|")
        for case in POWER_CASES:
            runs = min(n_sims, 200)
            found, drifted = simulate(pool, power, case, runs)
            print(f"| {case[0]:,} | {case[2]} | {runs} | {found:.2f} | {drifted:.2f} |", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
