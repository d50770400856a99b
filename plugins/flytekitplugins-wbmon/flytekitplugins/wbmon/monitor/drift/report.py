"""The records of the results of a drift check."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import ClassVar, Literal

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.monitor.drift.past_outlier import PastOutlier
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.volume import MIN_PAST_VOLUMES

Status = Literal[
    "ok",
    "insufficient",
    "missing_column",
    "new_column",
    "type_changed",
    "constant",
    "identifier",
    "all_missing",
    "unreadable",
    "untested",
]
Level = Literal["none", "negligible", "warning", "drift"]
Verdict = Literal["ok", "warning", "drift", "insufficient"]
Role = Literal["feature", "prediction", "label"]

_NOT_TESTED = ("untested", "unreadable", "insufficient")
# lines of one W&B run that a person can still tell apart; rules reach the features beyond
_CHARTED_FEATURES = 100


DISTANCES = (
    "psi",
    "psi_corrected",
    "jensen_shannon",
    "hellinger",
    "total_variation",
    "cramer_von_mises",
    "wasserstein",
    "wasserstein_normed",
    "wasserstein_winsorised",
    "wasserstein_winsorised_normed",
)
"""Distances of two windows, of which a column has those of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(ByContent):
    """One statistical test of one feature; all checks of a run are corrected as one family.

    Attributes:
        name: `distribution`, `missing_rate`, `infinite_rate`, `unreadable_rate` (values that are
            not what their column is), `new_categories`, `new_values` (whole numbers that the
            reference does not have), `new_identifiers` (where known ones should recur),
            `uncounted_values` (of very many, by their hashes), `tails` (rows of the most extreme
            values), `earlier` (times before the first of the reference), `one_time` (rows that
            share a time, where those of the reference do not) or `repeats` (rows that share an
            identifier).
        facet: The facet that was tested, such as `("length",)` of a text, as a path; empty for the
            values themselves.
        test: `ks`, `chi_squared`, `two_proportion`, `sliced_ks` (vectors), `unseen` (rows in
            categories that the reference does not have, beyond what chance explains), or
            `rarefaction` (distinct values among as many rows of both windows).
        statistic: The test statistic; its meaning depends on the test.
        p_value: p-value under no drift and independent rows; in [0, 1], `nan` if not testable.
        q_value: The p-value after the Benjamini-Hochberg correction over the whole run.
        effect_size: Share of rows that moved; in [0, 1].
        effect_low: Lower confidence bound of the effect size at the rule's alpha; in [0, 1].
        odds_ratio: Of `tails`, the odds of a row to be in it, current window over reference; `nan`
            for other checks.
        window_p_value: Probability that a window without drift is at least this far from the past
            windows; `nan` without enough past windows.
        window_q_value: `window_p_value` after the Benjamini-Hochberg correction over the whole run.
        level: The result, from significance and effect size; with past windows, the window-level
            test must be significant, too.
    """

    name: str
    test: str
    statistic: float
    p_value: float
    q_value: float = math.nan
    effect_size: float
    effect_low: float = math.nan
    odds_ratio: float = math.nan
    window_p_value: float = math.nan
    window_q_value: float = math.nan
    level: Level = "none"
    facet: tuple[str, ...] = ()

    @property
    def least_chance(self) -> float:
        """The q-value, of rows and (where known) of windows the larger one."""
        # max keeps its first argument if the second is nan
        return max(self.q_value, self.window_q_value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin(ByContent):
    """One bar of the picture: shares of rows in a range of values or in a category, in [0, 1]."""

    label: str
    reference: float
    current: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift(ByContent):
    """An estimate with its confidence interval, at the rule's alpha."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift(ByContent):
    """The results for one feature.

    `statistic`, `p_value`, `q_value` and `effect_size` are those of the distribution check;
    `level` is the worst level of all checks of the feature, and `drifted` is `level == "drift"`.
    `bound` is the largest possible error of the effect size from counting into the grid of the
    reference (0 on the exact path). `distances`, `mean_shift` (in the feature's unit) and
    `spread_ratio` (standard deviation of the current window over that of the reference) explain the
    change; the verdict does not use them. Of a feature that is tested by its facets, such as text,
    the numbers are those of the facet that moved most. `unreadable_…` are shares of rows whose
    value is not what the column is, of which `examples` shows at most three.
    """

    name: str
    kind: str
    role: Role = "feature"
    status: Status
    n_reference: int
    n_current: int
    missing_reference: float
    missing_current: float
    unreadable_reference: float = math.nan
    unreadable_current: float = math.nan
    examples: tuple[str, ...] = ()
    test: str = ""
    statistic: float = math.nan
    p_value: float = math.nan
    q_value: float = math.nan
    effect_size: float = math.nan
    effect_low: float = math.nan
    bound: float = 0.0
    level: Level = "none"
    importance: float = 1.0
    checks: tuple[Check, ...] = ()
    distances: dict[str, float] = field(default_factory=dict)
    mean_reference: float = math.nan
    mean_current: float = math.nan
    mean_shift: Shift | None = None
    spread_ratio: Shift | None = None
    new_categories: tuple[str, ...] = ()
    vanished_categories: tuple[str, ...] = ()
    bins: tuple[Bin, ...] = ()
    reason: str = ""

    @property
    def drifted(self) -> bool:
        """Whether the feature counts as drifted under the rule."""
        return self.level == "drift"

    @property
    def p_value_of_drift(self) -> float:
        """Probability that chance alone makes a feature of this run drift as this one does.

        The least q-value of the checks that found drift, with past windows the larger one of rows
        and windows; 0 if the schema changed; `nan` if the feature did not drift.
        """
        if not self.drifted:
            return math.nan
        found = [check.least_chance for check in self.checks if check.level == "drift"]
        return min(found, default=0.0)

    @property
    def moved(self) -> float:
        """Largest share of rows that moved by a significant check; 1 if the schema changed."""
        found = [check.effect_size for check in self.checks if check.level != "none"]
        is_schema = self.drifted and not any(check.level == "drift" for check in self.checks)
        return 1.0 if is_schema else max(found, default=0.0)

    @property
    def tested(self) -> bool:
        """Whether anything is known about it but, perhaps, its missing values."""
        if self.status == "all_missing":
            return bool(self.checks)
        return self.level != "none" or self.status not in _NOT_TESTED

    @property
    def deciding(self) -> Check | None:
        """The check with the feature's level, and of several the one with the largest effect.

        None if no check has this level, for example if the level comes from the schema.
        """
        checks = [check for check in self.checks if check.level == self.level]
        return max(checks, key=lambda check: check.effect_size, default=None)

    def _least_chance(self) -> float:
        return min((check.least_chance for check in self.checks), default=math.nan)

    def measurements(self, *, is_charted: bool) -> Iterable[Measurement]:
        """The numbers of the feature, each named after it.

        Args:
            is_charted: Whether the main ones go to W&B.
        """
        why = self.reason or f"status {self.status}"
        is_known = self.status != "insufficient"
        yield gate(
            "drifted",
            self.name,
            value=self.drifted if is_known else None,
            reason=why,
            prominence="rule",
            p_value=self.p_value_of_drift if self.drifted else self._least_chance(),
            distance=self.moved,
        )
        for name in ("effect_size", "missing_current"):
            yield number(
                name,
                self.name,
                value=getattr(self, name),
                higher_is_better=False,
                prominence="chart" if is_charted else "rule",
                reason=why,
            )
        directions = {
            "effect_low": False,
            "statistic": False,
            "p_value": True,
            "q_value": True,
            "unreadable_current": False,
        }
        plain = ("missing_reference", "unreadable_reference")
        others = {name: getattr(self, name) for name in (*directions, *plain)}
        for name, value in (others | self.distances).items():
            yield number(
                name,
                self.name,
                value=value,
                higher_is_better=directions.get(name),
                prominence="rule",
                reason=why,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport(Report):
    """The results of a drift check of one window.

    Attributes:
        rule: When a feature counts as drifted.
        n_reference: Number of rows of the reference window.
        n_current: Number of rows of the current window.
        verdict: The worst verdict over the features and the schema.
        reason: The verdict, explained in one sentence.
        n_past: Number of past windows that were used to calibrate the verdict; 0 if there were too
            few of them.
        past_outliers: Past windows that are unlike the others.
        past_rows: Number of rows of each past window that has any.
        features: Results by name of the feature, worst first.
    """

    KIND: ClassVar[str] = "drift"
    VOLUMES: ClassVar[tuple[str, ...]] = ("n_current",)

    rule: DriftRule
    n_reference: int
    n_current: int
    verdict: Verdict
    reason: str
    n_past: int = 0
    past_outliers: tuple[PastOutlier, ...] = ()
    past_rows: tuple[int, ...] = ()
    features: Mapping[str, FeatureDrift]

    @property
    def drifted(self) -> bool:
        """Whether any feature, or the schema, drifted."""
        return self.verdict == "drift"

    @property
    def answered(self) -> bool:
        """Whether it is known if the window drifted: it did, or a feature was compared.

        A column that is new was compared with nothing.
        """
        compared = (each for each in self.features.values() if each.status != "new_column")
        is_tested = any(each.tested for each in compared)
        return self.drifted or (is_tested and self.verdict != "insufficient")

    @property
    def n_drifted(self) -> int:
        """Number of features that drifted."""
        return sum(feature.drifted for feature in self.features.values())

    @property
    def n_tested(self) -> int:
        """Number of features of which something is known; the others count as no feature."""
        return sum(feature.tested for feature in self.features.values())

    @property
    def share_drifted(self) -> float:
        """Share of the tested features that drifted, in [0, 1]; `nan` if none was tested."""
        return self.n_drifted / self.n_tested if self.n_tested else math.nan

    @property
    def p_value(self) -> float:
        """Probability that chance alone makes any feature drift as this window's do.

        Without a drifted feature, the least q-value of all checks, which is the p-value of the
        whole family by Simes; `nan` without a test.
        """
        features = self.features.values()
        found = [each.p_value_of_drift for each in features if each.drifted] or [
            check.least_chance for each in features for check in each.checks
        ]
        return min((each for each in found if not math.isnan(each)), default=math.nan)

    @property
    def moved(self) -> float:
        """Largest share of rows that moved in one feature, by a significant check."""
        return max((each.moved for each in self.features.values()), default=0.0)

    @property
    def unmeasured(self) -> str:
        """Why nothing is known, or which columns that the rule names were not compared."""
        rule = self.rule
        if not self.answered and self.verdict != "insufficient":
            n = f"the window has {self.n_current:,}, the reference {self.n_reference:,}"
            return f"too few rows for any answer: {n}; {self.reason}"
        if not self.answered:
            return self.reason
        asked = {*rule.features, *rule.predictions, *rule.labels}
        return "; ".join(
            f"{quoted_name(name)} could not be tested: {feature.reason}"
            for name, feature in self.features.items()
            if name in asked and not feature.tested
        )

    @property
    def usual_volumes(self) -> tuple[float, ...]:
        """Number of rows of each past window."""
        return self.past_rows

    @property
    def volume_ratio(self) -> float:
        """Rows over the median of those of past windows; `nan` of fewer than five of them."""
        past = self.past_rows
        return self.n_current / median(past) if len(past) >= MIN_PAST_VOLUMES else math.nan

    def absent(self, name: str) -> Measurement | None:
        """A distance of a column that has none tonight, such as one without values."""
        what, _, whose = name.partition(".")
        feature = self.features.get(whose)
        if what not in DISTANCES or feature is None or feature.distances:
            return None
        return number(what, whose, value=math.nan, reason=feature.reason)

    def _measured(self) -> Iterable[Measurement]:
        yield from self.headline()
        for index, feature in enumerate(self.features.values()):
            yield from feature.measurements(is_charted=index < _CHARTED_FEATURES)

    def headline(self) -> Iterable[Measurement]:
        """The numbers of the whole window."""
        is_known = self.answered
        chance = {"p_value": self.p_value, "distance": self.moved}
        yield gate(
            "drifted", value=self.drifted if is_known else None, reason=self.reason, **chance
        )
        for name in ("share_drifted", "n_drifted"):
            yield number(
                name,
                value=getattr(self, name) if is_known else math.nan,
                higher_is_better=False,
                prominence="news",
                reason=self.reason,
                **chance,
            )
        yield number("n_tested", value=self.n_tested, reason=self.reason)
        yield number("n_reference", value=self.n_reference)
        yield number("n_current", value=self.n_current, prominence="news")
        yield number(
            "volume_ratio",
            value=self.volume_ratio,
            prominence="news",
            reason=f"fewer than {MIN_PAST_VOLUMES} past windows (past=) have rows",
        )
