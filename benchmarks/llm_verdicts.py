"""How often a comparison of prompts is wrong, and how often it finds what is there.

For each kind of score: the share of experiments in which a candidate that is no better is shipped
(at most 2.5 % are promised) or held as worse, and in which a better one is shipped. Beside it, what
a comparison by eye does: ship whatever has the larger mean. A second table adds items twenty at a
time and looks each time. Half an hour.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from flytekitplugins.wbmon.monitor.llm.evaluation.compare import compare_paired

N_EXPERIMENTS = 1000
N_LOOKED_AT = 300
LAST = 400
SIZES = (20, 60, 200)


def draw(kind: str, n: int, gain: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a baseline and a candidate on the same items, of which some are hard."""
    hard = rng.random(n)
    if kind == "right or wrong":
        skill = 0.9 - 0.5 * hard
        return rng.random(n) < skill, rng.random(n) < np.minimum(skill + gain, 1)
    if kind == "graded, skewed":
        base = hard**3
        return tuple(np.clip(base + rng.exponential(0.1, n) + up, 0, 9) for up in (0.0, gain))
    base = np.where(hard < 0.8, 1.0, rng.random(n))
    changed = rng.random(n) < 0.25
    return base, np.clip(base + changed * (rng.normal(0, 0.3, n) + gain * 4), -9, 9)


def shares(kind: str, n: int, gain: float, seed: int) -> tuple[float, float, float]:
    """Shares of experiments that ship, that hold, and that ship when compared by eye."""
    rng = np.random.default_rng(seed)
    shipped = held = by_eye = 0
    for _ in range(N_EXPERIMENTS):
        a, b = draw(kind, n, gain, rng)
        verdict = compare_paired(a.astype(float), b.astype(float), planned_items="all").verdict
        shipped += verdict == "ship"
        held += verdict == "hold"
        by_eye += bool(b.mean() > a.mean())
    return shipped / N_EXPERIMENTS, held / N_EXPERIMENTS, by_eye / N_EXPERIMENTS


def looked_at(kind: str, gain: float, seed: int) -> list[float]:
    """Shares of experiments that ship at any look: at one level, with a plan, and without."""
    rng = np.random.default_rng(seed)
    shipped = dict.fromkeys(PLANS, 0)
    for _ in range(N_LOOKED_AT):
        a, b = (np.asarray(each, dtype=float) for each in draw(kind, LAST, gain, rng))
        for plan in PLANS:
            shipped[plan] += any(
                compare_paired(a[:n], b[:n], planned_items=plan).verdict == "ship"
                for n in range(20, LAST + 1, 20)
            )
    return [each / N_LOOKED_AT for each in shipped.values()]


PLANS: tuple[int | Literal["all"] | None, ...] = ("all", LAST, None)


def main() -> None:
    """Print the table."""
    print(f"{N_EXPERIMENTS} experiments a row; chance alone moves 2.5 % by ± 1 %.\n")
    print("| score | items | no gain: ship | hold | ship by eye | gain 0.1: ship | hold |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind in ("right or wrong", "graded, skewed", "mostly equal"):
        for n in SIZES:
            same, better = shares(kind, n, 0.0, 1), shares(kind, n, 0.1, 2)
            cells = (same[0], same[1], same[2], better[0], better[1])
            print(f"| {kind} | {n} | " + " | ".join(f"{each:.1%}" for each in cells) + " |")
    print(f"\nLooked at every 20 items up to {LAST}, {N_LOOKED_AT} experiments a row:\n")
    columns = "one level for every look | with a plan | without"
    print(f"| score | no gain: {columns} | gain 0.1: {columns} |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for kind in ("right or wrong", "graded, skewed", "mostly equal"):
        each_gain = (*looked_at(kind, 0.0, 1), *looked_at(kind, 0.1, 2))
        print(f"| {kind} | " + " | ".join(f"{each:.1%}" for each in each_gain) + " |", flush=True)


if __name__ == "__main__":
    main()
