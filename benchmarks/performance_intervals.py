"""How often the 95 % intervals of a performance report cover the truth, and how often it alarms.

Windows are drawn from populations whose metrics are known from 400,000 rows. Cases: balanced and
rare positives, a log that keeps one negative in five (weighted), few and many classes, one class
rare, regression with normal and with skewed or heavy-tailed errors, and rows that come in clusters
of 10 and 20, such as those of one customer.

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


def weighted(sampling: str) -> Draw:
    """The same scores; the log keeps one row in 50 below a score of 0.3, or weights have a tail."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        p = rng.beta(0.3, 3, n if sampling == "tail" else 12 * n)
        y = (rng.random(len(p)) < p).astype(int)
        kept = (p >= 0.3) | (rng.random(len(p)) < 0.02)
        w = np.where(p >= 0.3, 1.0, 50.0)
        if sampling == "tail":
            kept, w = np.ones(n, dtype=bool), 1 + rng.pareto(1.5, n)
        return pa.table({"y": y[kept][:n], "q": p[kept][:n], "w": w[kept][:n]})

    return draw


def classes(weights: list[float]) -> Draw:
    """Calibrated scores from a Dirichlet distribution; the prediction is the likeliest class."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        scores = rng.dirichlet(weights, n)
        y = (scores.cumsum(axis=1) < rng.random(n)[:, None]).sum(axis=1).clip(max=len(weights) - 1)
        columns = {f"p{i}": scores[:, i] for i in range(len(weights))}
        return pa.table({"y": y, "q": scores.argmax(axis=1), "w": np.ones(n), **columns})

    return draw


def clustered(rate: float, size: int) -> Draw:
    """Scores of clusters that share most of their risk, and of what the model does not see."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        k = -(-n // size)
        of = np.repeat(np.arange(k), size)[:n]
        seen, unseen = (0.8 * rng.normal(size=k)[of] + 0.6 * rng.normal(size=n) for _ in range(2))
        logit = np.log(rate / (1 - rate)) + 1.5 * seen
        y = (rng.random(n) < 1 / (1 + np.exp(-logit - unseen))).astype(int)
        q = 1 / (1 + np.exp(-0.9 * logit))
        return pa.table({"y": y, "q": q, "w": np.ones(n), "c": of})

    return draw


def clustered_classes(size: int) -> Draw:
    """Three classes, of which a cluster has mostly one and is mostly taken for one."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        k = -(-n // size)
        of = np.repeat(np.arange(k), size)[:n]
        own = rng.gumbel(size=(k, 3))[of] + [1.0, 0.5, 0.0]
        y = (own + rng.gumbel(size=(n, 3)) / 2).argmax(axis=1)
        logits = own + (rng.normal(size=(k, 3))[of] + rng.normal(size=(n, 3))) / 2
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        columns = {f"p{i}": scores[:, i] for i in range(3)}
        return pa.table({"y": y, "q": scores.argmax(axis=1), "w": np.ones(n), "c": of, **columns})

    return draw


def regression(errors: str) -> Draw:
    """Errors of about half the labels' spread."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        y = rng.uniform(2, 6, n)
        error = {
            "normal": lambda: rng.normal(size=n) / 2,
            "t5": lambda: rng.standard_t(5, n) / 2,
            "t3": lambda: rng.standard_t(3, n) / 2,
            "lognormal": lambda: (rng.lognormal(0, 1.2, n) - np.exp(0.72)) / 2,
            "heteroscedastic": lambda: rng.normal(size=n) * np.exp(y - 4) / 2,
        }[errors]()
        return pa.table({"y": y, "q": y + error, "w": np.ones(n)})

    return draw


def clustered_regression(size: int) -> Draw:
    """Labels and errors that the rows of a cluster share by half."""

    def draw(rng: np.random.Generator, n: int) -> pa.Table:
        k = -(-n // size)
        of = np.repeat(np.arange(k), size)[:n]
        y = rng.uniform(2, 6, k)[of] + rng.uniform(-1, 1, n)
        error = 0.7 * rng.normal(size=k)[of] + 0.7 * rng.normal(size=n)
        return pa.table({"y": y, "q": y + error / 2, "w": np.ones(n), "c": of})

    return draw


def skewed(rng: np.random.Generator, n: int) -> pa.Table:
    """Log-normal labels, whose errors grow with them."""
    y = np.exp(rng.normal(size=n))
    return pa.table({"y": y, "q": y * np.exp(0.3 * rng.normal(size=n)), "w": np.ones(n)})


CASES: dict[str, Draw] = {
    "binary, balanced": binary(1, 1),
    "binary, 9 % positive": binary(0.3, 3),
    "binary, 1 % positive": binary(0.1, 10),
    "binary, 9 %, sampled and weighted": binary(0.3, 3, sampled=True),
    "binary, 9 %, sampled by score and weighted": weighted("score"),
    "binary, 9 %, weighted with a heavy tail": weighted("tail"),
    "3 classes": classes([0.5] * 3),
    "10 classes": classes([0.03] * 10),
    "4 classes, one of 3 %": classes([3, 0.5, 0.3, 0.1]),
    "regression, normal": regression("normal"),
    "regression, t(5)": regression("t5"),
    "regression, t(3)": regression("t3"),
    "regression, log-normal errors": regression("lognormal"),
    "regression, heteroscedastic": regression("heteroscedastic"),
    "regression, log-normal labels": skewed,
    "binary, balanced, clusters of 10": clustered(0.5, 10),
    "binary, 10 %, clusters of 20": clustered(0.1, 20),
    "3 classes, clusters of 10": clustered_classes(10),
    "regression, clusters of 10": clustered_regression(10),
}


def report_of(table: pa.Table, baseline: PerformanceReport | None = None) -> PerformanceReport:
    """The report of one window, of the task its columns tell."""
    names = table.column_names
    scores = {int(name[1:]): name for name in names if name.startswith("p")}
    whole = table["y"].type == pa.int64()
    return check_performance(
        table,
        task="classification" if whole else "regression",
        label="y",
        prediction="q",
        score=scores or None,
        weight="w",
        cluster="c" if "c" in names else None,
        baseline=baseline,
        min_rows=1,
    )


def coverage(draw: Draw, n: int, rounds: int) -> Iterator[str]:
    """Per metric the share of intervals that hold the truth, and of windows without an interval."""
    rng = np.random.default_rng(1)
    truth = report_of(draw(rng, POPULATION)).metrics
    windows = [report_of(draw(rng, n)).metrics for _ in range(rounds)]
    for name, known in truth.items():
        ends = [(w[name].low, w[name].high) for w in windows if not np.isnan(w[name].low)]
        none = 100 * (1 - len(ends) / rounds)
        share = f"{100 * np.mean([low <= known.value <= high for low, high in ends]):.1f}"
        yield f"{name} {share if ends else '-'}" + (f" ({none:.0f} % none)" if none >= 0.5 else "")


def false_alarms(draw: Draw, n: int, rounds: int) -> tuple[float, str]:
    """Shares of windows called worse than a baseline window of the same population.

    Returns:
        The share of reports, and that of the metric that is most often called so.
    """
    rng = np.random.default_rng(2)
    found = [report_of(draw(rng, n), report_of(draw(rng, n))) for _ in range(rounds)]
    by_metric = {
        name: float(np.mean([report.metrics[name].verdict == "worse" for report in found]))
        for name in found[0].metrics
    }
    most = max(by_metric, key=lambda name: by_metric[name])
    worse = float(np.mean([report.worse for report in found]))
    return 100 * worse, f"{most} {100 * by_metric[most]:.1f}"


def main() -> None:
    """Print one line for each case and window size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--only", default="", help="cases whose name has this text")
    args = parser.parse_args()
    print("| population | rows | covered, % | report worse, % | most often a metric, % |")
    print("|---|---|---|---|---|")
    for name, draw in ((name, draw) for name, draw in CASES.items() if args.only in name):
        for n in args.rows:
            covered = ", ".join(coverage(draw, n, args.rounds))
            alarms, most = false_alarms(draw, n, args.rounds)
            print(f"| {name} | {n} | {covered} | {alarms:.1f} | {most} |", flush=True)


if __name__ == "__main__":
    main()
