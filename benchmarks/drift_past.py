"""Past windows: one bad among them, and moving references of a series.

Ten columns, windows of 1,000 rows, a reference of 28 windows of 500 rows; each window has a mean of
its own (*mood*). *Quiet* is the share of windows without a change that have a finding, *power* the
share of three columns that are drift after one standard deviation. Bad past windows have these
three 2 standard deviations off; *named*: all of them are in the report, *wrongly*: any other is.

Series: ten weeks of days of 1,000 rows, weekends 0.6 standard deviations higher or not; shares of
the days from the eighth week on.

`python -m benchmarks.drift_past [simulations]`
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.series import drift_series
from flytekitplugins.wbmon.monitor.profiles.build import profile_data

N_ROWS, N_COLUMNS, N_MOVED = 1000, 10, 3
COLUMNS = [f"x{i}" for i in range(N_COLUMNS)]
START = pd.Timestamp("2026-01-05", tz="UTC")
DAYS, SINCE = 70, 49

Rows = NDArray[np.float64]


def window(rng: np.random.Generator, mood: float, *, n: int = N_ROWS, shift: float = 0.0) -> Rows:
    """Normal columns around means that the window has for itself; the first three are shifted."""
    rows = rng.normal(size=(n, N_COLUMNS)) + mood * rng.normal(size=N_COLUMNS)
    rows[:, :N_MOVED] += shift
    return rows


def frame(rows: Rows) -> pd.DataFrame:
    """One column a feature."""
    return pd.DataFrame(rows, columns=COLUMNS)


def with_bad_windows(job: tuple[int, float, int, int]) -> list[float]:
    """Quiet finding and power, without a fence and with it; bad windows named, and others."""
    seed, mood, n_past, n_bad = job
    rng = np.random.default_rng(seed)
    reference = profile_data(frame(np.vstack([window(rng, mood, n=500) for _ in range(28)])))
    bad = {f"past[{place}]" for place in range(n_past // 2, n_past // 2 + n_bad)}
    past = [
        profile_data(
            frame(window(rng, mood, shift=2.0 * (f"past[{place}]" in bad))), like=reference
        )
        for place in range(n_past)
    ]
    quiet, moved = (
        profile_data(frame(window(rng, mood, shift=shift)), like=reference) for shift in (0.0, 1.0)
    )
    found, named = [], set[str]()
    for fence in (False, True):
        rule = DriftRule(fence_past=fence)
        healthy, drifted = (
            check_drift(reference, each, past=past, rule=rule) for each in (quiet, moved)
        )
        found.append(any(each.level != "none" for each in healthy.features.values()))
        found.append(np.mean([drifted.features[name].drifted for name in COLUMNS[:N_MOVED]]))
        named |= {each.window for each in healthy.past_outliers}
    return [*found, bad <= named, bool(named - bad)]


def series(job: tuple[int, float, float, str]) -> list[float]:
    """Share of healthy days with drift, and whether a step of one standard deviation is found."""
    seed, mood, weekend, how = job
    rng = np.random.default_rng(seed)
    found = []
    for step in (DAYS, DAYS - 7):
        days = []
        for day in range(DAYS):
            rows = window(rng, mood, shift=1.0 * (day >= step)) + weekend * (day % 7 >= 5)
            at = START + pd.to_timedelta(day * 86_400 + np.arange(N_ROWS), unit="s")
            days.append(frame(rows).assign(at=at))
        table = pd.concat(days, ignore_index=True)
        reference = profile_data(table[table["at"] < START + pd.Timedelta(28, "D")][COLUMNS])
        checked = drift_series(table, like=reference, at="at", reference=how)
        drifted = {each.start: each.report.drifted for each in checked.windows}
        found.append([is_drift for at, is_drift in drifted.items() if at >= _day(SINCE)])
        on_the_day = drifted[_day(DAYS - 7)]
    return [float(np.mean(found[0])), float(on_the_day)]


def _day(day: int) -> pd.Timestamp:
    return START + pd.Timedelta(day, "D")


def _mean(pool: ProcessPoolExecutor, work: object, jobs: Sequence[object]) -> list[float]:
    values = list(pool.map(work, jobs, chunksize=2))
    return np.mean(values, axis=0).tolist()


def main(n_sims: int = 100) -> None:
    """Print both tables."""
    with ProcessPoolExecutor(2) as pool:
        print("| mood (sd) | past windows | bad | quiet / power | with a fence | named | wrongly |")
        print("|---|---|---|---|---|---|---|")
        for mood in (0.0, 0.1, 0.3):
            for n_past, n_bad in ((7, 0), (7, 1), (28, 0), (28, 3)):
                jobs = [(seed, mood, n_past, n_bad) for seed in range(n_sims)]
                a, b, c, d, named, wrongly = _mean(pool, with_bad_windows, jobs)
                print(
                    f"| {mood} | {n_past} | {n_bad} | {a:.2f} / {b:.2f} | {c:.2f} / {d:.2f} "
                    f"| {named:.2f} | {wrongly:.2f} |",
                    flush=True,
                )
        print("\n| mood (sd) | weekend | reference | days with drift | step of 1 sd found |")
        print("|---|---|---|---|---|")
        for mood, weekend in ((0.0, 0.0), (0.1, 0.0), (0.2, 0.0), (0.1, 0.6)):
            for how in ("fixed", "sliding", "same_weekday"):
                jobs = [(seed, mood, weekend, how) for seed in range(max(2, n_sims // 10))]
                alarms, power = _mean(pool, series, jobs)
                print(f"| {mood} | {weekend} | {how} | {alarms:.2f} | {power:.2f} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
