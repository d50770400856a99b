"""How often a healthy monitor pages in a year, with the budget of false pages and without.

    python -m benchmarks.pages_per_year --write         # into docs/false-pages.md
    python -m benchmarks.pages_per_year --years 1       # a look, to the terminal

A year is 365 nights with one reference and one baseline, drawn anew for each year: 30 features (24
numbers, 6 categories), 5 % positive labels, scores that are the true probabilities. A night may
have a mood (every feature is shifted by a normal number of that many standard deviations, so labels
and scores move with it) and a weekend (8 features are shifted by 0.1 on two nights of seven).
Nothing is broken, so every page is a false one; the reports and decisions are the library's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from flytekitplugins.wbmon import (
    AlertRule,
    PageBudget,
    PerformanceReport,
    Profile,
    check_drift,
    check_performance,
    evaluate_rules,
    profile_data,
)
from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.reports.report import Report

PAGE = Path(__file__).resolve().parent.parent / "docs" / "false-pages.md"
MARK = "<!-- written by python -m benchmarks.pages_per_year -->"
NIGHTS = 365
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier")
SHARES = np.array([0.3, 0.2, 0.15, 0.1, 0.08, 0.07, 0.05, 0.03, 0.015, 0.005])
LETTERS = np.array(list("abcdefghij"))
WEEKEND, _INTERCEPT = 0.1, -3.76
START = datetime(2026, 1, 5, tzinfo=timezone.utc)
BUDGETS: Mapping[str, PageBudget | None] = {"budget": PageBudget(), "none": None}


def _each(**condition: Any) -> tuple[AlertRule, ...]:
    return tuple(AlertRule(metric=f"performance.{name}", **condition) for name in METRICS)


DRIFT = AlertRule(metric="drift.drifted", above=0)
RULES: Mapping[str, tuple[AlertRule, ...]] = {
    "README: `drift.drifted`, `roc_auc` worse": (
        DRIFT,
        AlertRule(metric="performance.roc_auc", worse_than_baseline=True),
    ),
    "gates: `drift.drifted`, `performance.worse`": (
        DRIFT,
        AlertRule(metric="performance.worse", above=0),
    ),
    "7 metrics `worse_than_baseline`": _each(worse_than_baseline=True),
    "7 metrics `drop=0.05`": _each(drop=0.05),
    "7 metrics `beyond_sd=3`": _each(beyond_sd=3),
    "7 metrics `trend=7`": _each(trend=7),
}

ADDRESSES = {rule.metric for rules in RULES.values() for rule in rules}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A monitor that is watched: rows of a night and of the baseline, and what nights share."""

    n_rows: int
    n_baseline: int
    mood: float = 0.0
    weekly: bool = False

    @property
    def mood_title(self) -> str:
        mood = f"mood {self.mood:g} sd" if self.mood else "no mood"
        return f"{mood}, weekends" if self.weekly else mood

    @property
    def title(self) -> str:
        return f"{self.n_rows:,} | {self.n_baseline:,} | {self.mood_title}"


SETTINGS = (
    Setting(n_rows=300, n_baseline=20_000),
    Setting(n_rows=300, n_baseline=1_200),
    Setting(n_rows=300, n_baseline=20_000, mood=0.1, weekly=True),
    Setting(n_rows=300, n_baseline=20_000, mood=0.2, weekly=True),
    Setting(n_rows=5_000, n_baseline=20_000),
    Setting(n_rows=5_000, n_baseline=20_000, mood=0.1, weekly=True),
    Setting(n_rows=5_000, n_baseline=20_000, mood=0.2, weekly=True),
)


@dataclass
class Counted:
    """New pages of one set of rules in so many years, and those of the first weeks of monitors."""

    years: int = 0

    pages: int = 0
    first_week: int = 0


@dataclass(frozen=True)
class Reference:
    profile: Profile
    baseline: PerformanceReport


class Told(Report):
    """The numbers of a report that the rules here are about, found once for all of them."""

    KIND = "told"

    def __init__(self, report: Report) -> None:
        self._kind = report.kind
        self._numbers = [each for each in report.measurements() if each.address in ADDRESSES]

    @property
    def kind(self) -> str:
        return self._kind

    def _measured(self) -> list[Measurement]:
        return self._numbers


@dataclass
class Monitor:
    """The memory of one set of rules."""

    rules: tuple[AlertRule, ...]
    budget: PageBudget | None
    state: Any = None
    paged: list[int] = field(default_factory=list)

    @property
    def is_firing(self) -> bool:
        return self.state is not None and any(each.is_open for each in self.state.rules.values())

    def judge(self, night: int, reports: Sequence[Any]) -> None:
        at = START + timedelta(days=night)
        found = evaluate_rules(self.rules, reports, state=self.state, at=at, budget=self.budget)
        self.state = found.state
        self.paged += [night for each in found.news if each.phase == "firing"]


def make_night(
    rng: np.random.Generator, n: int, *, mood: float = 0.0, weekend: bool = False
) -> dict[str, Any]:
    """The columns of a night, of numpy arrays."""
    values = rng.normal(size=(n, 24)) + mood * rng.normal(size=24)
    if weekend:
        values[:, 2:10] += WEEKEND
    chance = 1 / (1 + np.exp(-(_INTERCEPT + 1.5 * values[:, :3].sum(axis=1) / np.sqrt(3))))
    label = (rng.random(n) < chance).astype(np.int64)
    values[:, 6:12] = np.exp(values[:, 6:12])
    values[:, 12:16] = np.round(values[:, 12:16] * 2)
    columns: dict[str, Any] = {f"x{j}": values[:, j] for j in range(24)}
    for j in range(6):
        columns[f"c{j}"] = LETTERS[rng.choice(10, n, p=SHARES)]
    return columns | {"p": chance, "y": label}


def refer(rng: np.random.Generator, n: int) -> Reference:
    columns = make_night(rng, n)
    return Reference(profile_data(_features(columns)), measured(columns, None))


def reports_of(columns: Mapping[str, Any], reference: Reference) -> list[Told]:
    current = profile_data(_features(columns), like=reference.profile)
    performance = measured(columns, reference.baseline)
    return [Told(check_drift(reference.profile, current)), Told(performance)]


def measured(columns: Mapping[str, Any], baseline: PerformanceReport | None) -> PerformanceReport:
    return check_performance(
        pa.table({name: columns[name] for name in ("y", "p")}),
        task="classification",
        label="y",
        prediction="p",
        positive=1,
        threshold=0.2,
        baseline=baseline,
    )


def _features(columns: Mapping[str, Any]) -> pa.Table:
    return pa.table({name: values for name, values in columns.items() if name != "y"})


def count_year(setting: Setting, year: int, counted: Mapping[tuple[str, str], Counted]) -> None:
    """Add the pages of each set of rules with each budget in one year of healthy nights."""
    # weekends differ from none by the seed, too
    seed = [year, setting.n_rows, setting.n_baseline, int(10 * setting.mood), setting.weekly]
    rng = np.random.default_rng(seed)
    monitors = {key: Monitor(RULES[key[0]], BUDGETS[key[1]]) for key in counted}
    reference = refer(rng, setting.n_baseline)
    for night in range(NIGHTS):
        weekend = setting.weekly and night % 7 >= 5
        columns = make_night(rng, setting.n_rows, mood=setting.mood, weekend=weekend)
        reports = reports_of(columns, reference)
        for monitor in monitors.values():
            monitor.judge(night, reports)
    for key, monitor in monitors.items():
        counted[key].years += 1
        counted[key].pages += len(monitor.paged)
        counted[key].first_week += sum(night < 7 for night in monitor.paged)


def interval(pages: int, years: float) -> str:
    """Pages a year with the exact 95 % interval of a Poisson rate."""
    low = stats.chi2.ppf(0.025, 2 * pages) / 2 / years if pages else 0.0
    high = stats.chi2.ppf(0.975, 2 * pages + 2) / 2 / years
    return f"{pages / years:.2g} [{low:.2g}, {high:.2g}]"


def table(counted: Mapping[Setting, Mapping[tuple[str, str], Counted]]) -> list[str]:
    """Pages a year as Markdown: with the budget and its interval, without it in brackets."""
    lines = [
        "In each cell the false pages a year with the budget, their exact 95 % Poisson interval, "
        "how many of all came in the first week of a monitor, and in brackets the false pages a "
        "year without a budget.",
        "",
        f"| rows a night | of the baseline | nights | years | {' | '.join(RULES)} |",
        f"|--:|--:|--|--:|{'--|' * len(RULES)}",
    ]
    for setting, found in counted.items():
        cells = [_cell(found[name, "budget"], found[name, "none"]) for name in RULES]
        years = max(each.years for each in found.values())
        lines.append(f"| {setting.title} | {years} | {' | '.join(cells)} |")
    return lines


def _cell(held: Counted, free: Counted) -> str:
    first = f", {held.first_week} in the first week" if held.first_week else ""
    return f"{interval(held.pages, held.years)}{first} ({free.pages / free.years:.3g})"


def write(lines: Sequence[str]) -> None:
    """Put the table into the page, between its marks."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    _, _, tail = rest.partition(MARK)
    text = "\n".join([head + MARK, "", *lines, "", MARK + tail])
    PAGE.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="into docs/false-pages.md")
    asked = parser.parse_args()
    keys = [(name, budget) for name in RULES for budget in BUDGETS]
    counted = {setting: {key: Counted() for key in keys} for setting in SETTINGS}
    for year in range(asked.years):
        for setting in SETTINGS:
            count_year(setting, year, counted[setting])
        print(f"{year + 1} of {asked.years} years", file=sys.stderr, flush=True)
    lines = table(counted)
    print("\n".join(lines))
    if asked.write:
        write(lines)


if __name__ == "__main__":
    main()
