"""How often the alert node finds a healthy window too small or too large, and which it misses.

Synthetic nights of a year, each compared with the last 60 by the alert node's own function.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np

from flytekitplugins.wbmon.monitor.alerts.history import headlines
from flytekitplugins.wbmon.monitor.alerts.state import WindowSummary
from flytekitplugins.wbmon.monitor.alerts.volume import volume_findings
from flytekitplugins.wbmon.monitor.scoring.report import ScoringReport

START = datetime(2026, 1, 5, tzinfo=timezone.utc)  # a Monday
N_YEARS = 40
NIGHTS = 425
KEPT = 60
FAULTS = (0.1, 0.33, 0.5, 2.0, 3.0)
KINDS = {
    "steady, 3,000 rows ± 10 %": (3000, 0.1, {}),
    "weekends 35 %": (3000, 0.1, {5: 0.35, 6: 0.35}),
    "Sundays 10 %": (3000, 0.1, {6: 0.1}),
    "growing 0.5 % a night": (3000, 0.1, {}),
    "3,000 rows ± 40 %": (3000, 0.4, {}),
    "weekends 35 %, ± 25 %": (3000, 0.25, {5: 0.35, 6: 0.35}),
    "12 rows": (12, 0.1, {}),
}


def nights(rng: np.random.Generator, kind: str) -> np.ndarray:
    """Rows of each night; the spread is that of a log-normal mean, beside Poisson's."""
    rows, spread, weekdays = KINDS[kind]
    days = np.arange(NIGHTS)
    mean = rows * np.array([weekdays.get(day % 7, 1.0) for day in days])
    if kind.startswith("growing"):
        mean = mean * 1.005**days
    return rng.poisson(mean * np.exp(rng.normal(0, spread, NIGHTS))).astype(float)


def judge(rows: float, history: list[WindowSummary], at: datetime) -> bool:
    """Whether a night with so many rows is a finding; it is remembered with the nights before."""
    report = ScoringReport(n_rows=int(rows), n_batches=1, duration_s=1.0, predict_s=1.0)
    numbers = headlines([report])
    unusual = volume_findings([report], numbers, history, at)
    values = {name: each.value for name, each in numbers.items()}
    history.append(
        WindowSummary(at=at, severity="none", reason="", numbers=values, unusual=tuple(unusual))
    )
    del history[:-KEPT]
    return bool(unusual or report.unmeasured)


def main() -> None:
    """Print findings of healthy nights, and the share of faulty ones that are found."""
    print(
        "| nights | findings in the first 60 | a year after | "
        + " | ".join(f"x {fault:g}" for fault in FAULTS)
        + " |"
    )
    print("|--|--|--|" + "--|" * len(FAULTS))
    for kind in KINDS:
        rng = np.random.default_rng(len(kind))
        early, late = [], []
        found: dict[float, list[bool]] = {fault: [] for fault in FAULTS}
        for year in range(N_YEARS):
            history: list[WindowSummary] = []
            for night, rows in enumerate(nights(rng, kind)):
                at = START + timedelta(days=night)
                # each weekday in turn
                if night == KEPT + year % 7:
                    for fault in FAULTS:
                        found[fault].append(judge(rows * fault // 1, list(history), at))
                (early if night < KEPT else late).append(judge(rows, history, at))
        shares = " | ".join(f"{np.mean(each):.0%}" for each in found.values())
        a_year = sum(late) / N_YEARS * 365 / (NIGHTS - KEPT)
        print(f"| {kind} | {sum(early) / N_YEARS:.2f} | {a_year:.2f} | {shares} |")


if __name__ == "__main__":
    main()
