"""What a drift check asks and what it answers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import ClassVar, Literal

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.reports.measurement import Measurement, gate, number
from flytekitplugins.wbmon.reports.report import Report

Status = Literal[
    "ok",
    "insufficient",
    "missing_column",
    "new_column",
    "type_changed",
    "constant",
    "identifier",
    "all_missing",
]
Level = Literal["none", "negligible", "warning", "drift"]
Verdict = Literal["ok", "warning", "drift", "insufficient"]
Role = Literal["feature", "prediction", "label"]

# lines of one W&B run that a person can still tell apart; rules reach the features beyond
_CHARTED_FEATURES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule:
    """When a feature counts as drifted: significant AND large enough to matter.

    Attributes:
        alpha: False discovery rate over all checks of one run (Benjamini-Hochberg); in (0, 1).
        min_effect: Share of rows that must have moved for *drift*; in (0, 1].
        warn_effect: Share of rows that must have moved for a *warning*; in (0, min_effect].
        min_rows: Rows with a value that either window needs; below it a feature is `insufficient`.
        features: The columns to check; empty means every column of either window but those that
            only folders tell. A column named here is tested although it looks like a running number
            (`identifier`).
        predictions: Columns that hold model output; they are marked as prediction drift.
        labels: Columns that hold the truth; they are marked as label drift.
        importance: Weight of a feature in the ranking, by name; 1 where not given.

    Raises:
        ConfigError: If a number is outside its range.
    """

    alpha: float = 0.05
    min_effect: float = 0.1
    warn_effect: float = 0.05
    min_rows: int = 100
    features: tuple[str, ...] = ()
    predictions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    importance: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha must be between 0 and 1, got {self.alpha}; 0.05 is usual")
        if not 0 < self.warn_effect <= self.min_effect <= 1:
            raise ConfigError(
                "effects must hold 0 < warn_effect <= min_effect <= 1, got "
                f"warn_effect={self.warn_effect}, min_effect={self.min_effect}; "
                "both are shares of rows that moved"
            )
        if self.min_rows < 1:
            raise ConfigError(f"min_rows must be at least 1, got {self.min_rows}")
        for name, weight in self.importance.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(
                    f"importance must be a finite number >= 0, got {weight} for {name!r}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One statistical question about one feature; all checks of a run are one family.

    Attributes:
        name: `distribution`, `missing_rate`, `new_categories`, `infinite_rate`.
        test: `ks`, `chi_squared`, `two_proportion`, `sliced_ks` (vectors), or `unseen` (rows in
            categories that the reference never had, beyond what chance explains).
        statistic: Of the test; its unit is the test's.
        p_value: Under no drift, rows independent; in [0, 1], `nan` if not testable.
        q_value: The p-value after Benjamini-Hochberg over the whole run.
        effect_size: Share of rows that moved; in [0, 1].
        effect_low: Lower confidence bound of the effect at the rule's alpha; in [0, 1].
        window_p_value: Chance that a window like the past ones lies this far from them; `nan`
            without enough past windows.
        window_q_value: The same after Benjamini-Hochberg over the whole run.
        level: What significance and effect together say; with past windows, theirs as well.
    """

    name: str
    test: str
    statistic: float
    p_value: float
    q_value: float = math.nan
    effect_size: float
    effect_low: float = math.nan
    window_p_value: float = math.nan
    window_q_value: float = math.nan
    level: Level = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bar of the picture: the share of rows in a value range or category, in [0, 1]."""

    label: str
    reference: float
    current: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """An estimate with its confidence interval, at the rule's alpha."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """What was found about one feature.

    `statistic`, `p_value`, `q_value` and `effect_size` are those of the distribution check;
    `level` is the worst over all checks of the feature, and `drifted` is `level == "drift"`.
    `bound` is the largest error that counting into the reference's grid can have put on the
    effect (0 on the exact path). Distances explain and never decide, and so do `mean_shift`, in
    the feature's unit, and `spread_ratio`, the current standard deviation over the reference's.
    """

    name: str
    kind: str
    role: Role = "feature"
    status: Status
    n_reference: int
    n_current: int
    missing_reference: float
    missing_current: float
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
    def deciding(self) -> Check | None:
        """The check that the level comes from, the strongest if several do; None without one."""
        checks = [check for check in self.checks if check.level == self.level]
        return max(checks, key=lambda check: check.effect_size, default=None)

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
        directions = {"effect_low": False, "statistic": False, "p_value": True, "q_value": True}
        others = {name: getattr(self, name) for name in (*directions, "missing_reference")}
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
    """What a drift check found over one window.

    Attributes:
        rule: When a feature counts as drifted.
        n_reference: Rows of the reference window.
        n_current: Rows of the current window.
        verdict: The worst of the features' verdicts and the schema's.
        reason: The verdict in one sentence.
        n_past: How many past windows the verdict was calibrated against.
        features: What was found of each feature, ranked, worst first.
    """

    KIND: ClassVar[str] = "drift"

    rule: DriftRule
    n_reference: int
    n_current: int
    verdict: Verdict
    reason: str
    n_past: int = 0
    features: Mapping[str, FeatureDrift]

    @property
    def drifted(self) -> bool:
        """Whether any feature, or the schema, drifted."""
        return self.verdict == "drift"

    @property
    def n_drifted(self) -> int:
        """How many features drifted."""
        return sum(feature.drifted for feature in self.features.values())

    @property
    def share_drifted(self) -> float:
        """Drifted features over all features of the report; `nan` without features."""
        return self.n_drifted / len(self.features) if self.features else math.nan

    def _measured(self) -> Iterable[Measurement]:
        yield from self.headline()
        for index, feature in enumerate(self.features.values()):
            yield from feature.measurements(is_charted=index < _CHARTED_FEATURES)

    def headline(self) -> Iterable[Measurement]:
        """The numbers of the whole window."""
        is_known = self.verdict != "insufficient"
        yield gate("drifted", value=self.drifted if is_known else None, reason=self.reason)
        for name in ("share_drifted", "n_drifted"):
            yield number(
                name,
                value=getattr(self, name) if is_known else math.nan,
                higher_is_better=False,
                prominence="news",
                reason=self.reason,
            )
        yield number("n_reference", value=self.n_reference)
        yield number("n_current", value=self.n_current, prominence="news")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDrift:
    """One window of a series: rows of a span of time, of a segment, or of both.

    Attributes:
        start: First moment of the span, UTC; None if the series is not cut by time.
        end: First moment after the span.
        segment: The value of the segment column; empty if the series is not cut by one.
        report: What was found in the window.
    """

    start: datetime | None
    end: datetime | None
    segment: str
    report: DriftReport

    def measurements(self) -> Iterable[Measurement]:
        """Its numbers: `window.<name>`, then the segment if there is one, then the feature."""
        place = (self.segment,) if self.segment else ()
        for each in self.report.headline():
            path = ("window", *each.path, *place)
            yield replace(each, path=path, prominence="rule")
        for feature in self.report.features.values():
            for each in feature.measurements(is_charted=False):
                name, *whose = each.path
                yield replace(each, path=("window", name, *place, *whose))


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSeries(Report):
    """Windows of one table, each checked for drift; by segment, then by time.

    Attributes:
        windows: One entry a span and segment that has rows.
        n_undated: Rows that are in no window, because their time or segment is missing.
    """

    KIND: ClassVar[str] = "drift_series"

    windows: tuple[WindowDrift, ...]
    n_undated: int = 0

    @property
    def drifted(self) -> bool:
        """Whether any window drifted."""
        return any(window.report.drifted for window in self.windows)

    @property
    def n_drifted(self) -> int:
        """How many windows drifted."""
        return sum(window.report.drifted for window in self.windows)

    def effect_sizes(self, feature: str) -> tuple[float, ...]:
        """The effect on one feature, window by window; `nan` where it was not tested."""
        return tuple(
            window.report.features[feature].effect_size
            if feature in window.report.features
            else math.nan
            for window in self.windows
        )

    @property
    def newest(self) -> tuple[WindowDrift, ...]:
        """The last window of each segment."""
        return tuple({window.segment: window for window in self.windows}.values())

    def _measured(self) -> Iterable[Measurement]:
        known = [window for window in self.windows if window.report.verdict != "insufficient"]
        share = self.n_drifted / len(known) if known else math.nan
        none = "no window has enough rows"
        yield gate("drifted", value=self.drifted if known else None, reason=none)
        yield number("n_windows", value=len(self.windows))
        yield number("n_undated", value=self.n_undated)
        for name, value in (("n_drifted", self.n_drifted), ("share_drifted", share)):
            yield number(
                name,
                value=value if known else math.nan,
                higher_is_better=False,
                prominence="history",
                reason=none,
            )
        for window in self.newest:
            yield from window.measurements()


@dataclass(frozen=True, slots=True, kw_only=True)
class JointDrift(Report):
    """Whether all columns together tell the windows apart, also where no single one does.

    Attributes:
        n_reference: Rows of the reference that were used.
        n_current: Rows of the current window that were used.
        auc: How well a classifier, trained on other rows, tells the windows apart: 0.5 not at all,
            1 perfectly; `nan` with too few rows.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        p_value: Of the hypothesis that it cannot; in [0, 1].
        effect_size: `2 * auc - 1`, not below 0.
        level: What significance and effect together say.
        contributions: How much of the AUC is lost when a column is shuffled, largest first.
        reason: One sentence.
    """

    KIND: ClassVar[str] = "joint_drift"

    n_reference: int
    n_current: int
    auc: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    effect_size: float = math.nan
    level: Level = "none"
    contributions: Mapping[str, float] = field(default_factory=dict)
    reason: str

    @property
    def drifted(self) -> bool:
        """Whether the windows differ enough to count as drift under the rule."""
        return self.level == "drift"

    def _measured(self) -> Iterable[Measurement]:
        is_known = not math.isnan(self.auc)
        yield gate("drifted", value=self.drifted if is_known else None, reason=self.reason)
        yield number(
            "auc",
            value=self.auc,
            low=self.low,
            high=self.high,
            higher_is_better=False,
            prominence="news",
            reason=self.reason,
        )
        for name, better in (("effect_size", False), ("p_value", True)):
            yield number(
                name, value=getattr(self, name), higher_is_better=better, reason=self.reason
            )
        for name, lost in self.contributions.items():
            yield number("contribution", name, value=lost)
