"""How often the 95 % intervals of a performance report cover the truth, and how often it alarms.

Windows are drawn from populations whose metrics are known from 400,000 rows. Cases: balanced and
rare positives, a log that keeps one negative in five (weighted), few and many classes, one class
rare, regression with normal and with heavy-tailed errors.

python -m benchmarks.performance_intervals
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport

Draw = Callable[[np.random.Generator, int], pa.Table]
POPULATION = 400_000


def binary(a: float, b: float, *, sampled: bool = False) -> Draw:
    """Calibrated scores from a beta distribution; a sampled log keeps one negative in five."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        p = rng.beta(a, b, n)
        y = (rng.random(n) < p).astype(int)
        kept = (y == 1) | (rng.random(n) < 0.2) if sampled else np.ones(n, dtype=bool)
        w = np.where(y == 1, 1.0, 5.0) if sampled else np.ones(n)
        return pa.table({"y": y[kept], "q": p[kept], "w": w[kept]})

    return draw


def classes(weights: list[float]) -> Draw:
    """Calibrated scores from a Dirichlet distribution; the prediction is the likeliest class."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        scores = rng.dirichlet(weights, n)
        y = (scores.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=len(weights) - 1)
        columns = {f"p{i}": scores[:, i] for i in range(len(weights))}
        return pa.table({"y": y, "q": scores.argmax(axis=1), "w": np.ones(n), **columns})

    return draw


def regression(*, heavy: bool) -> Draw:
    """Errors of half the labels' spread."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        y = rng.normal(size=n)
        error = rng.standard_t(5, n) if heavy else rng.normal(size=n)
        return pa.table({"y": y, "q": y + error / 2, "w": np.ones(n)})

    return draw


CASES: dict[str, Draw] = {
    "binary, balanced": binary(1, 1),
    "binary, 9 % positive": binary(0.3, 3),
    "binary, 9 %, sampled and weighted": binary(0.3, 3, sampled=True),
    "3 classes": classes([0.5] * 3),
    "10 classes": classes([0.03] * 10),
    "4 classes, one of 3 %": classes([3, 0.5, 0.3, 0.1]),
    "regression, normal": regression(heavy=False),
    "regression, t(5)": regression(heavy=True),
}


def report_of(table: pa.Table, baseline: PerformanceReport | None = None) -> PerformanceReport:
    """The report of one window, of the task its columns tell."""
    scores = {int(name[1:]): name for name in table.column_names if name.startswith("p")}
    whole = table["y"].type == pa.int64()
    return check_performance(
        table,
        task="classification" if whole else "regression",
        label="y",
        prediction="q",
        score=scores or None,
        weight="w",
        baseline=baseline,
        min_rows=1,
    )


def coverage(draw: Draw, n: int, rounds: int) -> Iterator[str]:
    """Per metric the share of windows whose interval holds the truth."""
    rng = np.random.default_rng(1)
    truth = report_of(draw(rng, POPULATION)).metrics
    windows = [report_of(draw(rng, n)).metrics for _ in range(rounds)]
    for name, known in truth.items():
        inside = [w[name].low <= known.value <= w[name].high for w in windows if w[name].n]
        yield f"{name} {100 * np.mean(inside):.1f}"


def false_alarms(draw: Draw, n: int, rounds: int) -> float:
    """Share of windows called worse than a baseline window of the same population."""
    rng = np.random.default_rng(2)
    return float(
        np.mean([report_of(draw(rng, n), report_of(draw(rng, n))).worse for _ in range(rounds)])
    )


def main() -> None:
    """Print one line for each case and window size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 200, 1000])
    args = parser.parse_args()
    print("| population | rows | covered, % | called worse, % |")
    print("|---|---|---|---|")
    for name, draw in CASES.items():
        for n in args.rows:
            covered = ", ".join(coverage(draw, n, args.rounds))
            alarms = 100 * false_alarms(draw, n, args.rounds)
            print(f"| {name} | {n} | {covered} | {alarms:.1f} |", flush=True)


if __name__ == "__main__":
    main()
