"""How often `feedback.worse` pages on a healthy service, and how soon it pages after a fall.

A night has a Poisson number of ratings; 85 % of answers are liked, with a mood of the night that
adds a normal number to that share. From night 60 on, a fall takes some points away.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from flytekitplugins.wbmon import AlertRule, PageBudget, evaluate_rules
from flytekitplugins.wbmon.monitor.llm.feedback.analyze import analyse_feedback

LIKED, NIGHTS, FALL_NIGHT, LAST_NIGHT = 0.85, 365, 60, 120
RATED, MOODS, FALLS = (10, 30, 100, 1000), (0.0, 0.03), (0.05, 0.1, 0.2)
RULE = AlertRule(metric="feedback.worse", above=0)
BUDGETS: Mapping[str, PageBudget | None] = {"budget": PageBudget(), "none": None}
START = datetime(2026, 1, 5, tzinfo=timezone.utc)


def pages(
    rng: np.random.Generator, n_rated: int, nights: int, liked: Callable[[int], float]
) -> tuple[dict[str, list[int]], int]:
    """The nights with an open page by budget, and how many nights were worse."""
    states: dict[str, Any] = dict.fromkeys(BUDGETS)
    found: dict[str, list[int]] = {name: [] for name in BUDGETS}
    report, n_worse = None, 0
    for night in range(nights):
        n = int(rng.poisson(n_rated))
        ids = pa.array([str(i) for i in range(n)], pa.string())
        at = START + timedelta(days=night)
        calls = pa.table(
            {"request_id": ids, "timestamp": pa.array([at] * n, pa.timestamp("us", "UTC"))}
        )
        scores = (rng.random(n) < liked(night)).astype(float)
        ratings = pa.table(
            {"request_id": ids, "score": scores, "name": pa.array(["thumbs"] * n, pa.string())}
        )
        report = analyse_feedback(calls, ratings, by=(), previous=report)
        n_worse += report.worse
        for name, budget in BUDGETS.items():
            decided = evaluate_rules([RULE], [report], state=states[name], at=at, budget=budget)
            states[name] = decided.state
            found[name] += [night for each in decided.alerts if each.phase == "firing"]
    return found, n_worse


def night_shares(
    rng: np.random.Generator, mood: float, fall: float = 0.0
) -> Callable[[int], float]:
    shares = LIKED + mood * rng.normal(size=NIGHTS)
    shares[FALL_NIGHT:] -= fall
    return lambda night: float(np.clip(shares[night], 0, 1))


def n_new(nights: list[int]) -> int:
    """Pages that were not open the night before."""
    return len(set(nights) - {night + 1 for night in nights})


def _rate(n: int, years: int) -> str:
    low = stats.chi2.ppf(0.025, 2 * n) / 2 / years if n else 0.0
    return f"{n / years:.2g} [{low:.2g}, {stats.chi2.ppf(0.975, 2 * n + 2) / 2 / years:.2g}]"


def main() -> None:
    """Print pages a year without a fault, and the delay of pages after one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=10)
    years = parser.parse_args().years
    head = " | ".join(f"-{fall:.0%} points: paged in 60 nights, median delay" for fall in FALLS)
    print(f"| ratings a night | mood | worse nights | pages a year | without a budget | {head} |")
    print(f"|--:|--:|--:|--:|--:|{'--:|' * len(FALLS)}")
    for n_rated in RATED:
        for mood in MOODS:
            rng = np.random.default_rng([n_rated, int(100 * mood)])
            healthy = [pages(rng, n_rated, NIGHTS, night_shares(rng, mood)) for _ in range(years)]
            counts = {name: sum(n_new(each[name]) for each, _ in healthy) for name in BUDGETS}
            worse = sum(n for _, n in healthy) / NIGHTS / years
            cells = []
            for fall in FALLS:
                shares = [night_shares(rng, mood, fall) for _ in range(years)]
                paged = [pages(rng, n_rated, LAST_NIGHT, each)[0]["budget"] for each in shares]
                late = [[t - FALL_NIGHT for t in each if t >= FALL_NIGHT] for each in paged]
                delays = [each[0] if each else math.inf for each in late]
                share = np.mean(np.isfinite(delays))
                cells.append(f"{share:.0%}, {np.median(delays) + 1:.0f}")
            row = (f"{n_rated:,}", f"{mood:.0%}", f"{worse:.1%}", _rate(counts["budget"], years))
            print(
                f"| {' | '.join(row)} | {_rate(counts['none'], years)} | {' | '.join(cells)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
