"""How often the alert node finds a healthy window too small or too large, and which it misses.

Synthetic nights of a year, each compared with the last 60 as the alert node does it: the windows of
the same weekday once there are five, all before that.
"""

from __future__ import annotations

import numpy as np

from flytekitplugins.wbmon.reports.volume import MIN_PAST_VOLUMES, unusual_volume

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


def is_found(volumes: np.ndarray, night: int, rows: float) -> bool:
    """Whether a night with so many rows would be a finding."""
    before = range(max(0, night - KEPT), night)
    alike = [day for day in before if day % 7 == night % 7]
    past = alike if len(alike) >= MIN_PAST_VOLUMES else list(before)
    return bool(unusual_volume(rows, volumes[past].tolist()))


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
        years = [nights(rng, kind) for _ in range(N_YEARS)]
        early, late = (
            sum(is_found(year, t, year[t]) for year in years for t in span) / N_YEARS
            for span in (range(KEPT), range(KEPT, NIGHTS))
        )
        # each weekday in turn
        places = [KEPT + i % 7 for i in range(N_YEARS)]
        found = [
            np.mean([is_found(years[i], t, years[i][t] * fault // 1) for i, t in enumerate(places)])
            for fault in FAULTS
        ]
        shares = " | ".join(f"{share:.0%}" for share in found)
        print(f"| {kind} | {early:.2f} | {late * 365 / (NIGHTS - KEPT):.2f} | {shares} |")


if __name__ == "__main__":
    main()
