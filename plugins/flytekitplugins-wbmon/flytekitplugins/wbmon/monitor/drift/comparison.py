"""The comparison of one feature in two windows: what was tested, without a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flytekitplugins.wbmon.monitor.drift.report import Check, Level, Shift, Status
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile

RATES = {
    "missing_rate": "missing_share",
    "infinite_rate": "infinite_share",
    "unreadable_rate": "unreadable_share",
}
"""Checks of a share of the rows, and the property of a feature that has it."""

SCHEMA_LEVELS: dict[Status, Level] = {
    "missing_column": "drift",
    "type_changed": "drift",
    "new_column": "warning",
}
"""What a change of the schema counts as, whatever the values are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Results of the tests of one feature.

    Verdicts are made later, because the correction for multiple testing needs all features.

    Attributes:
        reference: The feature in the reference window.
        current: The feature in the current window.
        status: Whether the feature could be tested, and why not; `type_changed` also if a field of
            it was lost or has another type.
        checks: The tests that were done, still without q-value and level.
        bound: Largest error of the Kolmogorov-Smirnov distance due to the grid; 0 if it is exact.
        distances: Distances by name, for explanation only.
        mean_shift: Difference of the means; None for features without a mean.
        spread_ratio: Ratio of the standard deviations; None for features without one.
        new_categories: Names outside the table that the profile of the current window lists and
            that of the reference does not, most frequent first; none if that list is incomplete,
            which it is at `UNSEEN_LIMIT` names.
        vanished_categories: Names of the table that have rows only in the reference.
        facets: The facets of the feature, compared each for itself; their checks are also in
            `checks`.
    """

    reference: FeatureProfile
    current: FeatureProfile
    status: Status
    checks: tuple[Check, ...] = ()
    bound: float = 0.0
    distances: dict[str, float] = field(default_factory=dict)
    mean_shift: Shift | None = None
    spread_ratio: Shift | None = None
    new_categories: tuple[str, ...] = ()
    vanished_categories: tuple[str, ...] = ()
    facets: Mapping[str, Comparison] = field(default_factory=dict)

    def of(self, facet: Sequence[str]) -> Comparison:
        """The comparison of a facet, given its path; of the feature itself for an empty one."""
        return self.facets[facet[0]].of(facet[1:]) if facet else self

    @property
    def changed(self) -> dict[tuple[str, ...], Comparison]:
        """The facets that one window lacks, or has in another type, by path."""
        found: dict[tuple[str, ...], Comparison] = {}
        for name, facet in self.facets.items():
            inner = {(name, *path): each for path, each in facet.changed.items()}
            found |= inner or ({(name,): facet} if facet.status in SCHEMA_LEVELS else {})
        return found

    @property
    def schema_level(self) -> Level:
        """The level of what changed in the schema of the feature."""
        statuses = {self.status, *(each.status for each in self.changed.values())}
        levels = {SCHEMA_LEVELS[status] for status in statuses if status in SCHEMA_LEVELS}
        return "drift" if "drift" in levels else "warning" if levels else "none"
