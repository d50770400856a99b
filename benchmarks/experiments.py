"""How often the comparison of an experiment's variants is wrong, looked at once or every night.

Without a difference: the share of experiments with a verdict, at one look or at any of 30 nightly
looks. With a difference: the share in which it is found by the last night. Beside them what Welch's
t-test at the 5 % level does every night, and on the last night only. An hour.

`python -m benchmarks.experiments [simulations] [outcome …]`
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator

import numpy as np

from flytekitplugins.wbmon.monitor.service.experiment import Arm, ComparisonRule, compare_arms
from flytekitplugins.wbmon.stats.repeated_looks import Look
from flytekitplugins.wbmon.stats.split import measured_share_p_value, split_p_value
from flytekitplugins.wbmon.stats.tail_probabilities import (
    chi_squared_sf,
    normal_sf,
    student_t_sf,
)
from flytekitplugins.wbmon.stats.unpaired import unpaired_difference

N_LOOKS = 30
Draw = Callable[[np.random.Generator, int, float], np.ndarray]


def share(p: float) -> Draw:
    """Successes with probability `p` and an effect on it."""
    return lambda rng, n, effect: (rng.random(n) < p + effect).astype(float)


def revenue(rng: np.random.Generator, n: int, effect: float) -> np.ndarray:
    """Lognormal with sigma 1.5: its skewness is 33."""
    return rng.lognormal(0, 1.5, n) * (1 + effect)


def purchases(rng: np.random.Generator, n: int, effect: float) -> np.ndarray:
    """Nine of ten spend nothing, the others a lognormal amount."""
    return (rng.random(n) < 0.1 * (1 + effect)) * rng.lognormal(0, 1, n)


def stars(rng: np.random.Generator, n: int, effect: float) -> np.ndarray:
    """Ratings from 1 to 5, most of them 5."""
    return np.clip(np.rint(rng.normal(4.6 + effect, 1.2, n)), 1, 5)


OUTCOMES: dict[str, tuple[Draw, float, int]] = {
    # with an effect that the t-test finds in four of five experiments of two equal arms, and the
    # divisor of the number of simulations: permutations take time
    "share 1 %": (share(0.01), 0.012, 1),
    "share 5 %": (share(0.05), 0.0243, 1),
    "share 20 %": (share(0.2), 0.043, 1),
    "share 50 %": (share(0.5), 0.051, 1),
    "stars": (stars, 0.21, 5),
    "purchases": (purchases, 0.9, 5),
    "revenue": (revenue, 0.55, 5),
}
ARMS = {"50 + 50": (50, 50), "300 + 10": (300, 10)}
FEWER_ARMS = {"20 + 20": (20, 20), "100 + 3": (100, 3)}


def welch(a: np.ndarray, b: np.ndarray) -> float:
    """The ratio of the difference to its error."""
    error = math.hypot(a.std() / math.sqrt(len(a)), b.std() / math.sqrt(len(b)))
    return abs(b.mean() - a.mean()) / error if error else 0.0


def is_decided(a: np.ndarray, others: list[np.ndarray], planned: int | None) -> bool:
    """Whether `compare_arms` finds any variant better or worse than the first."""
    n = len(a) + sum(map(len, others))
    k = 4 * len(a) * len(others[0]) / (len(a) + len(others[0]))
    level = Look(n=k if planned is None else n, planned=planned).level(0.05)
    # permutations take time, and none of these distributions is decided that far from the boundary
    reach = 1.25 if len(a) == len(others[0]) else 1.7
    if all(2 * normal_sf(reach * welch(a, b)) > level for b in others):
        return False
    arms = {"a": Arm(len(a), a)} | {f"b{i}": Arm(len(b), b) for i, b in enumerate(others)}
    found = compare_arms(arms, "a", ComparisonRule(planned_units=planned))
    return any(each.verdict in ("better", "worse") for each in found)


def nightly(
    draw: Draw, per_night: tuple[int, ...], effect: float, seed: int
) -> tuple[bool, bool, bool, bool]:
    """Decided by Welch any night, by Welch the last night, with a plan, and without one."""
    rng = np.random.default_rng(seed)
    samples = [draw(rng, n * N_LOOKS, effect * (i > 0)) for i, n in enumerate(per_night)]
    planned = sum(per_night) * N_LOOKS
    limit = {1: 1.96, 2: 2.241}[len(per_night) - 1]
    by_welch, with_plan, without = [], False, False
    for night in range(1, N_LOOKS + 1):
        a, *others = (sample[: n * night] for sample, n in zip(samples, per_night, strict=True))
        by_welch.append(max(welch(a, b) for b in others) > limit and len(a) >= 30)
        with_plan = with_plan or is_decided(a, others, planned)
        without = without or is_decided(a, others, None)
    return any(by_welch), by_welch[-1], with_plan, without


def one_look(draw: Draw, n: int, m: int, seed: int) -> tuple[bool, bool, bool, bool]:
    """The smaller arm called worse or better at one look, by Welch's t-test and as here."""
    rng = np.random.default_rng(seed)
    a, b = draw(rng, n, 0.0), draw(rng, m, 0.0)
    found = unpaired_difference(a, b, n_permutations=1000)
    side = b.mean() - a.mean()
    differs = 2 * student_t_sf(welch(a, b), degrees=min(n, m) - 1) <= 0.05
    return differs and side < 0, differs and side > 0, found.high < 0, found.low > 0


def splits(share_of_second: float, seed: int) -> tuple[bool, bool]:
    """Whether a planned half is refused on any of 30 nights, by chi-squared and sequentially."""
    rng = np.random.default_rng(seed)
    second = np.cumsum(rng.binomial(1000, share_of_second, N_LOOKS))
    naive = anytime = False
    for night, count in enumerate(second.tolist(), start=1):
        n = 1000 * night
        naive = naive or chi_squared_sf((2 * count - n) ** 2 / n, degrees=1) < 0.001
        anytime = anytime or split_p_value([n - count, count], [0.5, 0.5]) < 0.001
    return naive, anytime


def unmeasured(share: float, arms: tuple[int, ...], lost: float, seed: int) -> tuple[bool]:
    """Whether 30 nights are refused since the last variant loses a part of its measured units."""
    rng = np.random.default_rng(seed)
    shares = np.array([share] * (len(arms) - 1) + [share * (1 - lost)])
    exposed = np.cumsum(rng.poisson(arms, (N_LOOKS, len(arms))), axis=0)
    steps = np.diff(exposed, axis=0, prepend=0)
    measured = np.cumsum(rng.binomial(steps, shares), axis=0)
    looks = zip(measured.tolist(), exposed.tolist(), strict=True)
    return (any(measured_share_p_value(part, whole) < 0.001 for part, whole in looks),)


def rates(work: Callable[..., tuple[bool, ...]], *given: object, n_sims: int) -> Iterator[str]:
    """Shares of simulations, in per cent."""
    found = np.mean([work(*given, seed) for seed in range(n_sims)], axis=0)
    return (f"{each:.1%}" for each in found)


def row(*cells: str) -> None:
    """A row of a table, at once."""
    print("| " + " | ".join(cells) + " |", flush=True)


def main(n_sims: int = 1000, *names: str) -> None:
    """Print the tables, of all outcomes or of those that are named."""
    print("Nothing differs (n experiments), or something does (n / 3 experiments):\n")
    head = ("t-test every night", "with a plan", "without")
    row("outcome", "units a night", "n", *head, "t-test, last night", *head[1:])
    row("---", "---", *["---:"] * 7)
    for name, (draw, effect, divisor) in OUTCOMES.items():
        if names and name not in names:
            continue
        n_same = n_sims // divisor
        for arms, (n, m) in (ARMS if divisor == 1 else FEWER_ARMS).items():
            any_night, _, plan, free = rates(nightly, draw, (n, m), 0.0, n_sims=n_same)
            cells = [str(n_same), any_night, plan, free]
            # unequal arms tell of larger effects only
            larger = effect * (1 if n == m else 1.6)
            _, last, plan, free = rates(nightly, draw, (n, m), larger, n_sims=max(1, n_same // 3))
            row(name, arms, *cells, last, plan, free)
    if names:
        return
    any_night, _, plan, free = rates(nightly, share(0.2), (50, 50, 50), 0.0, n_sims=n_sims)
    row(
        "share 20 %, two candidates", "50 + 50 + 50", str(n_sims), any_night, plan, free, *["-"] * 3
    )
    print("\nOne look at 5 %, no difference; the smaller arm is called worse or better:\n")
    row("outcome", "arms", "t-test: worse", "better", "here: worse", "better")
    row("---", "---", *["---:"] * 4)
    for name in ("share 5 %", "revenue"):
        draw, _, divisor = OUTCOMES[name]
        for n, m in ((1000, 30), (1000, 100), (10_000, 300)):
            found = rates(one_look, draw, n, m, n_sims=n_sims // divisor)
            row(name, f"{n:,} and {m}", *found)
    print("\nSplits of 1000 units a night that are refused:\n")
    row("share of the second, planned 50 %", "chi-squared, any night", "sequential")
    row("---:", "---:", "---:")
    for second in (0.5, 0.505, 0.51, 0.52):
        row(f"{second:.1%}", *rates(splits, second, n_sims=n_sims))
    print("\nRefused since another share of units is measured:\n")
    row("measured", "units a night", "no difference", "a twentieth lost", "a fifth lost")
    row("---:", "---", *["---:"] * 3)
    for share_measured in (0.1, 0.5, 0.9, 0.99):
        for arms in ((50, 50), (300, 10)):
            given = ((share_measured, arms, lost) for lost in (0.0, 0.05, 0.2))
            found = [next(iter(rates(unmeasured, *each, n_sims=n_sims))) for each in given]
            row(f"{share_measured:.0%}", " + ".join(map(str, arms)), *found)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
