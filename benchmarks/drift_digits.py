"""Real data: do later digits of scikit-learn's file differ from earlier ones?

The verdict beside a plain permutation test of the same statistic, pixel by pixel, and as a check on
both, random halves, which cannot differ.

`python -m benchmarks.drift_digits [permutations]`
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.stats.multiplicity import benjamini_hochberg
from flytekitplugins.wbmon.stats.two_sample import ks_statistic

Pixels = NDArray[np.float64]


def table(pixels: Pixels) -> pa.Table:
    """One column a pixel, named by row and column."""
    return pa.table({f"pixel_{i // 8}_{i % 8}": pixels[:, i] for i in range(pixels.shape[1])})


def permutation_p_values(
    pixels: Pixels, is_late: NDArray[np.bool_], n_permutations: int, rng: np.random.Generator
) -> Pixels:
    """Share of random splits whose distance is at least as large, by pixel."""
    order = np.argsort(pixels, axis=0, kind="stable")
    ends = np.diff(np.take_along_axis(pixels, order, axis=0), axis=0) > 0

    def distances(late: NDArray[np.bool_]) -> Pixels:
        steps = np.where(late, 1 / late.sum(), -1 / (~late).sum())
        gaps = np.abs(np.cumsum(steps[order], axis=0))[:-1]
        return np.asarray(np.where(ends, gaps, 0.0).max(axis=0))

    observed = distances(is_late)
    example = [ks_statistic(*(np.sort(pixels[late, 20]) for late in (~is_late, is_late)))]
    np.testing.assert_allclose(observed[20], example[0])
    reached = sum(
        distances(rng.permutation(is_late)) >= observed - 1e-12 for _ in range(n_permutations)
    )
    return np.asarray((1 + reached) / (1 + n_permutations))


def main(n_permutations: int = 2000) -> None:
    """Print both comparisons, and how often random halves alarm."""
    pixels = np.asarray(load_digits().data, dtype=np.float64)
    n = len(pixels)
    is_late = np.arange(n) >= n // 2
    rng = np.random.default_rng(0)
    p_values = permutation_p_values(pixels, is_late, n_permutations, rng)
    significant = benjamini_hochberg(p_values) <= 0.05
    report = check_drift(table(pixels[~is_late]), table(pixels[is_late]))
    ours = {name for name, item in report.features.items() if item.q_value <= report.rule.alpha}
    theirs = {
        name for name, yes in zip(table(pixels).column_names, significant, strict=True) if yes
    }
    print(f"early against late half: {report.verdict}; {report.n_drifted} of 64 pixels drifted")
    print(
        f"significant pixels: ours {len(ours)}, permutation {len(theirs)}, "
        f"both {len(ours & theirs)}"
    )
    worst = list(report.features.values())[:5]
    print("most moved:", ", ".join(f"{item.name} ({item.effect_size:.0%})" for item in worst))
    alarms = []
    for _ in range(200):
        half = rng.permutation(n) < n // 2
        alarms.append(check_drift(table(pixels[half]), table(pixels[~half])).verdict != "ok")
    print(f"random halves with a warning or drift: {np.mean(alarms):.3f} of 200")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
