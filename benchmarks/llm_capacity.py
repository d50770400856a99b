"""How often the verdict about a load is wrong, where slow requests come in bursts.

A queue with one server makes them: the busier, the longer the bursts. In some experiments the p99
is the promise, where neither verdict may be frequent (5 % each at most); in others the promise is
three times the p99, or half of it.

Runs in the environment of the LLM tests: `.venv-llm/bin/python -m benchmarks.llm_capacity`.
"""

from __future__ import annotations

import numpy as np

from workflows.llm_load import Reply
from workflows.llm_promises import judge

N_EXPERIMENTS = 300
SIZES = (1000, 2000)


def times(share_busy: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Times of requests in the order of their arrival; one takes 1 s on average by itself."""
    gaps, services = rng.exponential(1 / share_busy, n), rng.gamma(4, 0.25, n)
    found, waiting = np.empty(n), 0.0
    for i, (gap, service) in enumerate(zip(gaps, services, strict=True)):
        waiting = max(0.0, waiting - gap)
        found[i] = waiting + service
        waiting += service
    return found


def verdicts(share_busy: float, n: int, p99_s: float, rng: np.random.Generator) -> list[str]:
    """The verdict of each experiment."""
    experiments = (times(share_busy, n, rng) for _ in range(N_EXPERIMENTS))
    replies = ([Reply(0.0, float(each)) for each in one] for one in experiments)
    return [judge(1.0, one, p99_s=p99_s, error_rate=0.01).verdict for one in replies]


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(1)
    print(f"{N_EXPERIMENTS} experiments a cell.\n")
    print(
        "| busy | requests | at the limit: holds | breaks | promise 3 p99: holds | ½ p99: breaks |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for share_busy in (0.3, 0.5, 0.7, 0.85, 0.95):
        p99 = float(np.quantile(times(share_busy, 1_000_000, rng), 0.99))
        for n in SIZES:
            at, easy, hard = (verdicts(share_busy, n, p99 * k, rng) for k in (1, 3, 0.5))
            counts = (at.count("holds"), at.count("breaks"), easy.count("holds"))
            cells = (*counts, hard.count("breaks"))
            shares = " | ".join(f"{each / N_EXPERIMENTS:.1%}" for each in cells)
            print(f"| {share_busy:.0%} | {n} | {shares} |")


if __name__ == "__main__":
    main()
