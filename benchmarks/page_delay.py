"""How many nights ten faults wait for their page, with the budget of false pages and without.

    python -m benchmarks.page_delay

The monitor of `benchmarks.pages_per_year` with the rules of the README has seen 30 healthy nights
when a fault begins that stays for 14. The delay is the number of nights from the first night with
the fault to the first on which a rule fires; 0 is the same night.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.pages_per_year import (
    BUDGETS,
    RULES,
    Monitor,
    Reference,
    Setting,
    make_night,
    refer,
    reports_of,
)

HEALTHY, FAULTY = 30, 14
SETTINGS = (
    (Setting(n_rows=300, n_baseline=20_000), 10),
    (Setting(n_rows=5_000, n_baseline=20_000), 6),
    (Setting(n_rows=5_000, n_baseline=20_000, mood=0.1, weekly=True), 6),
)
_README = next(iter(RULES.values()))
Columns = dict[str, Any]
Fault = Callable[[Columns, np.random.Generator, int], None]


def _unit(columns: Columns, _rng: np.random.Generator, _night: int) -> None:
    columns["x6"] = columns["x6"] * 100


def _constant(columns: Columns, _rng: np.random.Generator, _night: int) -> None:
    columns["x5"] = np.zeros(len(columns["x5"]))


def _missing(columns: Columns, rng: np.random.Generator, _night: int) -> None:
    values = columns["x7"]
    columns["x7"] = np.where(rng.random(len(values)) < 0.3, np.nan, values)


def _category(columns: Columns, rng: np.random.Generator, _night: int) -> None:
    values = columns["c1"]
    columns["c1"] = np.where(rng.random(len(values)) < 0.25, "new", values.astype("U3"))


def _shift(columns: Columns, _rng: np.random.Generator, _night: int) -> None:
    columns["x4"] = columns["x4"] + 0.5


def _spread(columns: Columns, _rng: np.random.Generator, _night: int) -> None:
    columns["x16"] = columns["x16"] * 2.5


def _labels(columns: Columns, rng: np.random.Generator, _night: int) -> None:
    flipped = rng.random(len(columns["y"])) < 0.1
    columns["y"] = np.where(flipped, 1 - columns["y"], columns["y"])


def _concept(columns: Columns, rng: np.random.Generator, _night: int) -> None:
    _mixed_scores(columns, rng, 0.5)


def _decay(columns: Columns, rng: np.random.Generator, night: int) -> None:
    _mixed_scores(columns, rng, 0.05 * (night + 1))


def _creeping(columns: Columns, _rng: np.random.Generator, night: int) -> None:
    columns["x17"] = columns["x17"] + 0.08 * (night + 1)


def _mixed_scores(columns: Columns, rng: np.random.Generator, share: float) -> None:
    """The labels of a share of the rows no longer have to do with their scores."""
    chosen = np.flatnonzero(rng.random(len(columns["y"])) < share)
    columns["y"] = columns["y"].copy()
    columns["y"][chosen] = columns["y"][rng.permutation(chosen)]


FAULTS: dict[str, Fault] = {
    "unit change of a number": _unit,
    "sensor stuck at 0": _constant,
    "30 % of a column missing": _missing,
    "a new category in 25 % of rows": _category,
    "shift by 0.5 sd": _shift,
    "spread 2.5 times as wide": _spread,
    "10 % of labels flipped": _labels,
    "concept drift: half of the labels random": _concept,
    "decay: 5 % more random labels a night": _decay,
    "a feature creeps by 0.08 sd a night": _creeping,
}


def delays(setting: Setting, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Nights until the page of each fault, with each budget; infinite if it never came."""
    found: dict[str, dict[str, list[float]]] = {
        fault: {budget: [] for budget in BUDGETS} for fault in FAULTS
    }
    for repeat in range(repeats):
        rng = np.random.default_rng([77, repeat, setting.n_rows])
        reference = refer(rng, setting.n_baseline)
        healthy = {name: Monitor(_README, budget) for name, budget in BUDGETS.items()}
        for night in range(HEALTHY):
            reports = reports_of(_night(rng, setting, night), reference)
            for monitor in healthy.values():
                monitor.judge(night, reports)
        for name, fault in FAULTS.items():
            waited = _waited(rng, setting, reference, healthy, fault)
            for budget, nights in waited.items():
                found[name][budget].append(nights)
        print(f"{setting.title}: {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
    return found


def _waited(
    rng: np.random.Generator,
    setting: Setting,
    reference: Reference,
    healthy: dict[str, Monitor],
    fault: Fault,
) -> dict[str, float]:
    monitors = {name: Monitor(_README, each.budget, each.state) for name, each in healthy.items()}
    waited: dict[str, float] = {}
    for night in range(FAULTY):
        columns = _night(rng, setting, HEALTHY + night)
        fault(columns, rng, night)
        reports = reports_of(columns, reference)
        for name, monitor in monitors.items():
            monitor.judge(HEALTHY + night, reports)
            if monitor.is_firing:
                waited.setdefault(name, night)
        if len(waited) == len(monitors):
            break
    return {name: waited.get(name, np.inf) for name in monitors}


def _night(rng: np.random.Generator, setting: Setting, night: int) -> Columns:
    weekend = setting.weekly and night % 7 >= 5
    return make_night(rng, setting.n_rows, mood=setting.mood, weekend=weekend)


def _shown(waited: list[float]) -> str:
    never = sum(np.isinf(waited))
    median = f"{np.quantile(waited, 0.5, method='lower'):g}".replace("inf", "never")
    worst = f"{max(waited):g}" if not never else f"never in {never} of {len(waited)}"
    return median if worst == median else f"{median} (at most {worst})"


def table() -> list[str]:
    """The delays as a Markdown table."""
    measured = [(setting, delays(setting, repeats)) for setting, repeats in SETTINGS]
    heads = [f"{setting.n_rows:,} rows, {setting.mood_title}" for setting, _ in measured]
    lines = [
        f"| fault | {' | '.join(f'{head}: no budget | budget' for head in heads)} |",
        f"|--|{'--:|--:|' * len(heads)}",
    ]
    for fault in FAULTS:
        cells = [
            _shown(found[fault][budget]) for _, found in measured for budget in ("none", "budget")
        ]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
