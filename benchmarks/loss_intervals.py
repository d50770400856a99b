"""How often the interval of an error that is estimated without labels holds the error that comes.

    python -m benchmarks.loss_intervals [references]

Eight features: seven normal ones and six categories, 2 % of the values missing. The error of the
monitored model grows with the first, depends on the sign of the second, and doubles for the two
rarest categories. In a window of 1,000 rows nothing moves; or one feature that matters, one that
does not, the shares of the categories, the correlation of two features, or the first by 1.5 or 2
standard deviations. The bias is that of the values, as a share of the error that comes; widths are
medians, as a share of the value. *None* is the share of estimates that say they have no interval.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from flytekitplugins.wbmon import LossModel, estimate_loss, fit_loss_model

ROWS = 1000
FEATURES = tuple(f"x{i}" for i in range(8))
SHARES = (0.4, 0.3, 0.1, 0.1, 0.05, 0.05)
TURNED = (0.1, 0.1, 0.1, 0.1, 0.3, 0.3)
Move = Callable[[np.random.Generator, np.ndarray], None]


def shifted(feature: int, by: float) -> Move:
    """Move one feature by so many standard deviations."""

    def move(_: np.random.Generator, rows: np.ndarray) -> None:
        rows[:, feature] += by

    return move


def categories(rng: np.random.Generator, rows: np.ndarray) -> None:
    """Turn the shares of the categories around."""
    rows[:, 3] = rng.choice(6, size=len(rows), p=TURNED)


def correlated(_: np.random.Generator, rows: np.ndarray) -> None:
    """Let the two features that matter move together, each as before."""
    rows[:, 1] = 0.8 * rows[:, 0] + 0.6 * rows[:, 1]


MOVES: dict[str, Move | None] = {
    "nothing": None,
    "one that matters, 1 sd": shifted(0, 1.0),
    "another, 1 sd": shifted(5, 1.0),
    "categories": categories,
    "correlation .8": correlated,
    "one that matters, 1.5 sd": shifted(0, 1.5),
    "one that matters, 2 sd": shifted(0, 2.0),
}


class Found(NamedTuple):
    """One window: what was estimated, and what came."""

    holds: bool
    width: float
    bias: float
    has_none: bool


def draw(rng: np.random.Generator, n: int, move: Move | None) -> pd.DataFrame:
    """Rows with their prediction and label."""
    rows = rng.normal(size=(n, 8))
    rows[:, 3] = rng.choice(6, size=n, p=SHARES)
    if move:
        move(rng, rows)
    spread = np.exp(0.4 * rows[:, 0]) * (0.5 + 0.5 * (rows[:, 1] > 0))
    error = rng.normal(size=n) * spread * np.where(rows[:, 3] >= 4, 2, 1)
    predicted = rows[:, 2] + rows[:, 4]
    rows[rng.random(rows.shape) < 0.02] = np.nan
    frame = pd.DataFrame(rows, columns=list(FEATURES))
    return frame.assign(p=predicted, y=predicted + error)


def judge(model: LossModel, window: pd.DataFrame) -> Found:
    """Estimate a window and hold it against its labels."""
    metric = estimate_loss(window.drop(columns="y"), model=model).metrics["mae"]
    truth = float((window["y"] - window["p"]).abs().mean())
    return Found(
        metric.low <= truth <= metric.high,
        (metric.high - metric.low) / metric.value,
        metric.value / truth - 1,
        bool(np.isnan(metric.low)),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("references", nargs="?", type=int, default=50)
    n_references = parser.parse_args().references
    print("| reference | moved | held % | bias % | width | none % |")
    print("|--:|--|--:|--:|--:|--:|")
    for n in (500, 2000, 10_000):
        rng = np.random.default_rng(11)
        found: dict[str, list[Found]] = {name: [] for name in MOVES}
        spent = {"fit": 0.0, "estimate": 0.0}
        for _ in range(n_references):
            begin = time.perf_counter()
            model = fit_loss_model(draw(rng, n, None), label="y", prediction="p", features=FEATURES)
            spent["fit"] += time.perf_counter() - begin
            for name, move in MOVES.items():
                windows = [draw(rng, ROWS, move) for _ in range(4)]
                begin = time.perf_counter()
                found[name] += [judge(model, window) for window in windows]
                spent["estimate"] += time.perf_counter() - begin
        for name, each in found.items():
            holds, width, bias, none = np.array(each, dtype=float).T
            with warnings.catch_warnings():
                # no interval in any window
                warnings.simplefilter("ignore", RuntimeWarning)
                held = 100 * holds[none == 0].mean()
            print(
                f"| {n:,} | {name} | {held:.1f} | {100 * bias.mean():+.1f} | "
                f"{np.nanmedian(width) if none.mean() < 1 else np.nan:.2f} | "
                f"{100 * none.mean():.0f} |"
            )
        per_window = spent["estimate"] / (4 * len(MOVES) * n_references)
        print(
            f"| {n:,} | seconds: fit {spent['fit'] / n_references:.2f}, window {per_window:.3f} |"
        )


if __name__ == "__main__":
    main()
