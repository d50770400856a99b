"""Coverage and width of intervals from few labels and many proxies, against labels alone.

Rows are right or wrong with probability 0.8, or have a log-normal loss. A proxy of quality `r` is
correlated by `r` with what it stands for (for losses, with their logarithm). The biased proxy has
quality 0.9 and calls half of the wrong rows right, or sees losses twice as large and 1 more. The
rarely wrong one tells the truth of 95 % of rows, and of the others the contrary, or a loss four
times as large; the contrary one tells the contrary of the same 95 %.

python -m benchmarks.prediction_powered
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import numpy as np

from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.estimate import Estimate, Share, positive_mean
from flytekitplugins.wbmon.stats.prediction_powered import (
    ProxyRows,
    powered_mean,
    powered_share,
)

OTHERS = 5000
RIGHT, SPREAD = 0.8, 0.7
LABELS = (30, 50, 100, 200, 500)
PROXIES = {"0": (0.0, ""), "0.5": (0.5, ""), "0.9": (0.9, ""), "0.9, biased": (0.9, "biased")}
PROXIES |= {name: (0.95, name) for name in ("rarely wrong", "contrary")}


def verdicts(rng: np.random.Generator, n: int, quality: float, fault: str) -> list[Floats]:
    """Whether rows are right, and a proxy that copies the truth in a share `quality` of rows."""
    hit = rng.random(n) < RIGHT
    other = rng.random(n) < RIGHT if fault in ("", "biased") else ~hit
    proxy = np.where(rng.random(n) < quality, hit, other)
    if fault == "biased":
        proxy |= rng.random(n) < 0.5
    if fault == "contrary":
        proxy = ~proxy
    return [hit.astype(np.float64), proxy.astype(np.float64)]


def losses(rng: np.random.Generator, n: int, quality: float, fault: str) -> list[Floats]:
    """Log-normal losses, and those of a correlated normal variable."""
    log = rng.normal(size=n)
    if fault in ("rarely wrong", "contrary"):
        wrong = 4 * np.exp(SPREAD * rng.normal(size=n))
        proxy = np.where(rng.random(n) < quality, np.exp(SPREAD * log), wrong)
        return [np.exp(SPREAD * log), -proxy if fault == "contrary" else proxy]
    seen = quality * log + math.sqrt(1 - quality**2) * rng.normal(size=n)
    proxy = np.exp(SPREAD * seen)
    return [np.exp(SPREAD * log), 1 + 2 * proxy if fault else proxy]


def intervals(
    kind: str, rng: np.random.Generator, n: int, proxy: tuple[float, str]
) -> tuple[Estimate, Estimate]:
    """The interval of the labels alone, and that of labels and proxies."""
    draw = verdicts if kind == "share" else losses
    values, seen = draw(rng, n + OTHERS, *proxy)
    known = values[:n]
    rows = ProxyRows(seen, np.ones(len(seen)), np.arange(n))
    if kind == "share":
        alone = Share(float(known.mean()), float(n))
        return alone.estimate, powered_share(known > 0, rows, alone).estimate
    return positive_mean(known, np.ones(n)), powered_mean(known, rows).estimate


def lines(kind: str, rounds: int) -> Iterator[str]:
    """One line for each number of labels and proxy."""
    truth = RIGHT if kind == "share" else math.exp(SPREAD**2 / 2)
    for n in LABELS:
        for name, proxy in PROXIES.items():
            rng = np.random.default_rng(1)
            pairs = [intervals(kind, rng, n, proxy) for _ in range(rounds)]
            covered = [
                100 * np.mean([pair[side].low <= truth <= pair[side].high for pair in pairs])
                for side in (0, 1)
            ]
            widths = [
                np.mean([pair[side].high - pair[side].low for pair in pairs]) for side in (0, 1)
            ]
            yield (
                f"| {kind} | {n} | {name} | {covered[0]:.1f} | {covered[1]:.1f} | "
                f"{widths[1] / widths[0]:.2f} |"
            )


def main() -> None:
    """Print the table of docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    args = parser.parse_args()
    print("| mean of | labels | proxy | labels alone cover, % | with proxies, % | width |")
    print("|---|---|---|---|---|---|")
    for kind in ("share", "loss"):
        for line in lines(kind, args.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
