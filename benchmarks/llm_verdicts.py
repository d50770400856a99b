"""How often a comparison of prompts is wrong, and how often it finds what is there.

For each kind of score: the share of experiments in which a candidate that is no better is shipped
(at most 2.5 % are promised) or held as worse, and in which a better one is shipped. Beside it, what
a comparison by eye does: ship whatever has the larger mean.
"""

from __future__ import annotations

import numpy as np

from flytekitplugins.wbmon.monitor.llm.evaluation.compare import compare_paired

N_EXPERIMENTS = 1000
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
        verdict = compare_paired(a.astype(float), b.astype(float)).verdict
        shipped += verdict == "ship"
        held += verdict == "hold"
        by_eye += bool(b.mean() > a.mean())
    return shipped / N_EXPERIMENTS, held / N_EXPERIMENTS, by_eye / N_EXPERIMENTS


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


if __name__ == "__main__":
    main()
