"""The search for the highest rate that holds: which rate is next, and what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workflows.llm_promises import Load


@dataclass
class Search:
    """Where to look.

    Attributes:
        first_rate: Requests a second to begin with; an eighth of it is the lowest that is tried.
        most_rate: The highest that is tried.
        precision: The gap that is small enough, as a share of the rate that does not hold.
        n: Requests at each rate, at least.
        seconds: Of load at each rate, at least: a queue needs time to grow.
        p99_s: Promised longest time to the first chunk, of 99 in 100 requests.
        error_rate: Promised largest share of requests that fail; in (0, 1).
        seed: Of the arrivals.
    """

    first_rate: float = 10.0
    most_rate: float = 320.0
    precision: float = 0.15
    n: int = 2000
    seconds: float = 10.0
    p99_s: float = 0.5
    error_rate: float = 0.01
    seed: int = 1

    def next_rate(self, loads: Sequence[Load]) -> float | None:
        """The rate to try after these, None if the search is over: doubled, then between."""
        if not loads:
            return self.first_rate
        good = best_rate(loads)
        bad = min((load.rate for load in loads if load.rate > good), default=None)
        if bad is None:
            return min(2 * good, self.most_rate) if good < self.most_rate else None
        if not good:
            return bad / 2 if bad >= self.first_rate / 4 else None
        is_close = bad - good <= self.precision * bad
        return None if is_close else float(f"{math.sqrt(good * bad):.3g}")


def best_rate(loads: Sequence[Load]) -> float:
    """The highest rate that holds; 0 if none does."""
    return max((load.rate for load in loads if load.verdict == "holds"), default=0.0)


def conclude(loads: Sequence[Load]) -> str:
    """What was found, in words."""
    good = best_rate(loads)
    above = [load for load in loads if load.rate > good]
    if not above:
        return f"{good:g} a second hold, and nothing higher was tried"
    next_one = min(above, key=lambda load: load.rate)
    word = "are undecided" if next_one.verdict == "undecided" else "break"
    held = f"{good:g} a second hold" if good else "no rate holds"
    return f"{held}, {next_one.rate:g} {word}: {next_one.reason}"
