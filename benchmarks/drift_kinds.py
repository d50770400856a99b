"""False alarms and power of the tests of text, identifiers, times, lists, structs and durations.

`python -m benchmarks.drift_kinds [windows rows]`: all data are synthetic. Under no change a window
is drawn as the reference was; a window counts as a false alarm if any check of any column has a
q-value of at most 0.05, and as drift if an effect is also at least 10 % of the rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pandas as pd

from flytekitplugins.wbmon import check_drift, profile_data

TEXT = """the a my your internet phone bill is slow broken late please help cancel refund thanks
today again router speed since monday no answer from support team and it does not work anymore"""
WORDS = TEXT.split()
OTHER_TEXT = "der die das rechnung kaputt bitte hilfe seit montag keine antwort vom dienst"
OTHER_WORDS = OTHER_TEXT.split()
TAGS = ("vip", "late", "new", "gift", "bulk")
CITIES = ("Berlin", "Paris", "Rome", "Oslo")
DAY = 86_400.0
ALPHA = 0.05
SIZES = ((150, 5000), (300, 5000), (1000, 20_000), (600, 600), (5000, 300))
NEW = (0.0, 0.02, 0.05, 0.2)


def window(rng: np.random.Generator, n: int, words: list[str] = WORDS) -> pd.DataFrame:
    """A window of one day: what is in one row depends on no other row."""
    chance = 1 / np.arange(1, len(words) + 1)
    chance /= chance.sum()
    text = [" ".join(rng.choice(words, k, p=chance)) for k in rng.integers(4, 20, n)]
    numbers = rng.integers(0, 10**9, n)
    at = pd.Timestamp("2026-11-02", tz="UTC") + pd.to_timedelta(rng.random(n) * DAY, unit="s")
    places = rng.integers(0, len(CITIES), n)
    return pd.DataFrame(
        {
            "text": [f"{part} {i}" for part, i in zip(text, numbers, strict=True)],
            "order": [f"{a:08x}-{b:04x}" for a, b in rng.integers(0, 2**16, (n, 2)).tolist()],
            "user": [f"u{i}" for i in rng.zipf(1.3, n) % (5 * n)],
            "zip": [f"{i:05d}" for i in rng.integers(0, 99_999, n)],
            "at": at,
            "wait": pd.to_timedelta(rng.gamma(2, 300, n), unit="s"),
            "tags": [list(rng.choice(TAGS, k)) for k in rng.integers(0, 5, n)],
            "basket": [rng.gamma(2, 10, k).round(2).tolist() for k in rng.integers(1, 6, n)],
            "place": [
                {"city": CITIES[i], "lat": float(lat)}
                for i, lat in zip(places, rng.normal(50, 1, n), strict=True)
            ],
        }
    )


Fault = Callable[[np.random.Generator, pd.DataFrame], pd.DataFrame]
FAULTS: dict[str, Fault] = {
    "text emptied": lambda _, d: d.assign(text=""),
    "text in another language": lambda rng, d: d.assign(
        text=window(rng, len(d), OTHER_WORDS)["text"]
    ),
    "a tenth of the texts cut to 20 characters": lambda rng, d: d.assign(
        text=d["text"].where(rng.random(len(d)) > 0.1, d["text"].str.slice(0, 20))
    ),
    "a fifth of the texts cut to 20 characters": lambda rng, d: d.assign(
        text=d["text"].where(rng.random(len(d)) > 0.2, d["text"].str.slice(0, 20))
    ),
    "every row twice": lambda _, d: pd.concat([d.iloc[: len(d) // 2]] * 2, ignore_index=True),
    "one order in all rows": lambda _, d: d.assign(order=d["order"].iloc[0]),
    "orders in upper case": lambda _, d: d.assign(order=d["order"].str.upper()),
    "users with another prefix": lambda _, d: d.assign(user=d["user"].str.replace("u", "guest-")),
    "zip constant": lambda _, d: d.assign(zip="10115"),
    "zip without its zeros": lambda _, d: d.assign(zip=d["zip"].str.lstrip("0")),
    "times all 1970": lambda _, d: d.assign(at=pd.Timestamp(0, tz="UTC")),
    "times cut to the hour": lambda _, d: d.assign(at=d["at"].dt.floor("h")),
    "a fifth of the times at noon": lambda rng, d: d.assign(
        at=d["at"].where(
            rng.random(len(d)) > 0.2,
            d["at"].dt.normalize() + pd.Timedelta(hours=12, milliseconds=7),
        )
    ),
    "durations in minutes": lambda _, d: d.assign(wait=d["wait"] / 60),
    "lists emptied": lambda _, d: d.assign(tags=[[]] * len(d)),
    "one tag renamed": lambda _, d: d.assign(
        tags=[[tag.replace("vip", "VIP") for tag in tags] for tags in d["tags"]]
    ),
    "prices of a basket in cents": lambda _, d: d.assign(
        basket=[[100 * x for x in prices] for prices in d["basket"]]
    ),
    "struct zeroed": lambda _, d: d.assign(place=[{"city": "Berlin", "lat": 0.0}] * len(d)),
    "a field of a struct lost in a fifth": lambda rng, d: d.assign(
        place=[
            {**place, "city": None} if lost else place
            for place, lost in zip(d["place"], rng.random(len(d)) < 0.2, strict=True)
        ]
    ),
}


def measure(n_windows: int, n_rows: int) -> tuple[dict[str, float], dict[str, float]]:
    """False alarms by column, and the share of faults that are found as drift."""
    rng = np.random.default_rng(14)
    alarms = dict.fromkeys([*window(rng, 200).columns, "any column", "drift"], 0)
    found = dict.fromkeys(FAULTS, 0)
    for _ in range(n_windows):
        reference = profile_data(window(rng, n_rows))
        # windows are shorter than their reference
        day = window(rng, n_rows * 3 // 5)
        report = check_drift(reference, day)
        for name, feature in report.features.items():
            alarms[name] += any(check.q_value <= report.rule.alpha for check in feature.checks)
        alarms["any column"] += any(
            check.q_value <= report.rule.alpha
            for feature in report.features.values()
            for check in feature.checks
        )
        alarms["drift"] += report.drifted
        for name, fault in FAULTS.items():
            found[name] += check_drift(reference, fault(rng, day)).drifted
    return (
        {name: count / n_windows for name, count in alarms.items()},
        {name: count / n_windows for name, count in found.items()},
    )


def long_tails(n_windows: int) -> dict[tuple[str, int, int], list[float]]:
    """Findings among categories drawn from Zipf's law: unchanged, and with a new category.

    Returns:
        By form, exponent and rows of both windows the share of windows with a finding, without a
        change and with one new category in 2, 5 and 20 % of the rows.
    """
    rng = np.random.default_rng(15)
    found = {}
    for form in ("values", "lists"):
        for exponent in (1.2, 1.6, 2.0):
            for n, m in SIZES:
                hits = [0] * len(NEW)
                for _ in range(n_windows):
                    reference = tail(rng, n, form, exponent)
                    for i, share in enumerate(NEW):
                        day = tail(rng, m, form, exponent, new=share)
                        checks = check_drift(reference, day).features["k"].checks
                        hits[i] += any(check.q_value <= ALPHA for check in checks)
                found[f"{form}, {exponent}", n, m] = [hit / n_windows for hit in hits]
    return found


def tail(
    rng: np.random.Generator, n: int, form: str, exponent: float, new: float = 0.0
) -> pd.DataFrame:
    """Rows with one name, or a list of two, of which a share `new` is of a new one."""
    names = np.array([f"v{i}" for i in rng.zipf(exponent, n)], dtype=object)
    names[rng.random(n) < new] = "new"
    if form == "values":
        return pd.DataFrame({"k": names})
    others = [f"v{i}" for i in rng.zipf(exponent, n)]
    return pd.DataFrame({"k": list(map(list, zip(names, others, strict=True)))})


def main(n_windows: int = 100, n_rows: int = 4000) -> None:
    """Print both as tables."""
    alarms, found = measure(n_windows, n_rows)
    print(f"{n_windows} windows of {n_rows * 3 // 5:,} rows, references of {n_rows:,}\n")
    print("| without a change | windows with a finding |\n|---|---|")
    for name, share in alarms.items():
        print(f"| {name} | {share:.1%} |")
    print("\n| fault | found as drift |\n|---|---|")
    for name, share in found.items():
        print(f"| {name} | {share:.0%} |")
    print("\n| Zipf's law | rows | no change | 2 % new | 5 % new | 20 % new |")
    print("|---|---|---|---|---|---|")
    for (form, n, m), (alarms_, *power) in long_tails(n_windows).items():
        print(
            f"| {form} | {n:,} / {m:,} | {alarms_:.1%} |",
            " | ".join(f"{p:.0%}" for p in power),
            "|",
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
