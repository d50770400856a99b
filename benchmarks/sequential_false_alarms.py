"""How long the detectors of single values run without a false alarm, by the kind of the values.

For streams in control: the mean number of values until the first (false) alarm. For a shift by one
standard deviation: the mean number until the alarm. Values have the mean and standard deviation
that the detector is told. Five minutes.

`python -m benchmarks.sequential_false_alarms [streams]`
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from flytekitplugins.wbmon.stats.sequential import Cusum, PageHinkley

LONGEST = 5000
Stream = Callable[[np.random.Generator, int], np.ndarray]


def autoregressive(rho: float) -> Stream:
    """Normal values, each with correlation `rho` to the one before."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        steps = rng.normal(0, math.sqrt(1 - rho * rho), n)
        values = np.empty(n)
        last = rng.normal()
        for i, step in enumerate(steps):
            values[i] = last = rho * last + step
        return values

    return draw


def lognormal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Lognormal with sigma 1, standardised."""
    mean, std = math.exp(0.5), math.sqrt((math.e - 1) * math.e)
    return (rng.lognormal(0, 1, n) - mean) / std


STREAMS: dict[str, Stream] = {
    "normal, independent": lambda rng, n: rng.normal(size=n),
    "lognormal(1), independent": lognormal,
    "Student t(3), independent": lambda rng, n: rng.standard_t(3, n) / math.sqrt(3),
    "normal, AR(1) 0.5": autoregressive(0.5),
    "normal, AR(1) 0.9": autoregressive(0.9),
}
DETECTORS: dict[str, Callable[[], Cusum | PageHinkley]] = {
    "Cusum, threshold 5": lambda: Cusum(mean=0, std=1),
    "Cusum, threshold 10": lambda: Cusum(mean=0, std=1, threshold=10),
    "PageHinkley, 0.5 and 15": lambda: PageHinkley(tolerance=0.5, threshold=15),
}


def first_alarm(detector: Cusum | PageHinkley, values: np.ndarray) -> int:
    """Values until the first alarm; all of them if there is none."""
    found = (i for i, value in enumerate(values.tolist(), start=1) if detector.update(value))
    return next(found, len(values))


def delay(make: Callable[[], Cusum | PageHinkley], draw: Stream, rng: np.random.Generator) -> float:
    """Values from a shift until the alarm; `nan` if there was one before."""
    values = draw(rng, 400)
    values[100:] += 1
    first = first_alarm(make(), values)
    return first - 100 if first > 100 else math.nan


def main(n_streams: int = 1000) -> None:
    """Print the table."""
    print(f"{n_streams} streams a cell, of at most {LONGEST} values: mean until a false alarm; of")
    print("those without one in 100 values, mean delay of a shift by one standard deviation:\n")
    print("| values | " + " | ".join(f"{name}: false | delay" for name in DETECTORS) + " |")
    print("|---|" + "---:|---:|" * len(DETECTORS))
    for kind, draw in STREAMS.items():
        cells = []
        for make in DETECTORS.values():
            rng = np.random.default_rng(1)
            lengths = [first_alarm(make(), draw(rng, LONGEST)) for _ in range(n_streams)]
            waited = np.nanmean([delay(make, draw, rng) for _ in range(n_streams)])
            mean = np.mean(lengths)
            # a mean of streams of which many were cut short is a lower bound
            cut = np.mean(np.array(lengths) == LONGEST) > 0.05
            cells += [f"{'over ' if cut else ''}{mean:,.0f}", f"{waited:.0f}"]
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
