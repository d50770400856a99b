"""False alarms and power of columns of text with 2 to 1,000,000 different values.

`python -m benchmarks.drift_cardinality [windows]`: synthetic windows of one column, whose values
are drawn from Zipf's law with the exponents 0 (all alike) to 1.5. A *finding* is any q-value of at
most 0.05, a change is *found* if it has one, and *told* if it is a warning or drift. In the last
rows of the table the log was sampled: a twentieth of the rows stands for 20 rows each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flytekitplugins.wbmon import DriftReport, check_drift, profile_data

ALPHA = 0.05
CARDINALITIES = (2, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
SLOPES = (0.0, 0.5, 1.0, 1.5)
ROWS = ((2_000, 2_000), (20_000, 20_000), (20_000, 2_000))
NEW = 400
SAMPLED = ((1_000, 1.0), (10_000, 0.5), (10_000, 1.0), (100_000, 0.0), (100_000, 1.0))

Ranks = NDArray[np.int64]
Change = Callable[[np.random.Generator, Ranks, int], Ranks]


def moved(rng: np.random.Generator, ranks: Ranks, share: float, to: Ranks) -> Ranks:
    return np.where(rng.random(len(ranks)) < share, to[rng.integers(0, len(to), len(ranks))], ranks)


CHANGES: dict[str, Change] = {
    "none": lambda _, ranks, __: ranks,
    "15 % of rows in 400 new values": lambda rng, ranks, k: moved(
        rng, ranks, 0.15, k + np.arange(NEW)
    ),
    "half in one value": lambda rng, ranks, k: moved(rng, ranks, 0.5, np.array([k // 2])),
    "15 % in one value": lambda rng, ranks, k: moved(rng, ranks, 0.15, np.array([k // 2])),
    "15 % in five values": lambda rng, ranks, k: moved(
        rng, ranks, 0.15, np.arange(k // 2, min(k, k // 2 + 5))
    ),
}


def drawn(rng: np.random.Generator, n: int, k: int, slope: float) -> Ranks:
    """Ranks in [0, k) of `n` rows."""
    ends = np.cumsum(1.0 / np.arange(1, k + 1) ** slope)
    return np.searchsorted(ends, rng.random(n) * ends[-1])


def frame(rng: np.random.Generator, ranks: Ranks, salt: int) -> pd.DataFrame:
    """Ranks as codes of one form, which do not say what is frequent or new; and their weights."""
    codes = (ranks * 7_368_787 + salt) % 99_999_989
    return pd.DataFrame(
        {
            "code": np.char.add("c", np.char.zfill(codes.astype(str), 8)),
            "weight": np.where(rng.random(len(ranks)) < 0.05, 20.0, 1.0),
        }
    )


def checked(
    rng: np.random.Generator,
    n: int,
    m: int,
    k: int,
    slope: float,
    change: Change,
    weight: str | None,
) -> DriftReport:
    salt = int(rng.integers(10**8))
    columns = ["code"]
    reference = profile_data(
        frame(rng, drawn(rng, n, k, slope), salt), columns=columns, weight=weight
    )
    now = frame(rng, change(rng, drawn(rng, m, k, slope), k), salt)
    return check_drift(reference, profile_data(now, like=reference, columns=columns, weight=weight))


def row(n: int, m: int, k: int, slope: float, windows: int, weight: str | None = None) -> str:
    cells, kinds = [], set()
    for name, change in CHANGES.items():
        rng = np.random.default_rng([n, m, k, int(10 * slope)])
        found = told = 0
        for _ in range(windows):
            feature = checked(rng, n, m, k, slope, change, weight).features["code"]
            kinds.add(feature.kind)
            found += any(check.q_value <= ALPHA for check in feature.checks)
            told += feature.level in ("warning", "drift")
        # a value cannot be five, nor the only other one be gathered in
        cells.append(
            f"{found / windows:.0%}" + ("" if name == "none" else f" / {told / windows:.0%}")
        )
    size = f"{n:,} / {m:,}" + (" sampled" if weight else "")
    return f"| {size} | {k:,} | {slope:g} | {', '.join(sorted(kinds))} | {' | '.join(cells)} |"


def main(windows: int = 60) -> None:
    print(f"| rows | values | exponent | kind | {' | '.join(CHANGES)} |")
    print("|---" * (4 + len(CHANGES)) + "|")
    for n, m in ROWS:
        for k in CARDINALITIES:
            for slope in SLOPES:
                print(row(n, m, k, slope, windows), flush=True)
    for k, slope in SAMPLED:
        print(row(2_000, 2_000, k, slope, windows, weight="weight"), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
