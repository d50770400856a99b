"""The nodes that check windows for drift from a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import require_whole
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.function_reference import load_references, references_of
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.tasks._node import Node

TimeSpan = Literal["hour", "day", "week", "month"]
MovingReference = Literal["fixed", "sliding", "same_weekday"]


class DriftChecked(NamedTuple):
    """A drift report, with a primitive output for a `conditional`."""

    report: DriftReport
    drifted: bool


class DriftCheck(Node[DriftRule]):
    """Compare the profile of a window with the reference profile, feature by feature.

    Args:
        name: The task's name.
        rule: The conditions under which a feature counts as drifted.
        task_kwargs: As for any node.
    """

    def __init__(self, name: str, *, rule: DriftRule | None = None, **task_kwargs: Any) -> None:
        super().__init__(name, rule or DriftRule(), **task_kwargs)

    def compute(
        self,
        reference: Profile,
        current: Profile,
        past: list[Profile] | None = None,
        importance: dict[str, float] | None = None,
    ) -> DriftChecked:
        """Check a window for drift.

        Args:
            reference: The profile that `ProfileData` made of the reference window.
            current: The profile of the window to check, made with `like=reference`.
            past: Profiles of earlier normal windows, at least 5. With them, a drifted feature must
                also differ more from these windows than they differ from each other; those that
                are unlike the others are named, and left out if the rule has `fence_past`.
            importance: Weights of features for the ranking, such as those of `FeatureImportance`;
                they override those of the rule.

        Returns:
            report: The result for each feature, largest effect first.
            drifted: Whether any feature drifted under the rule.
        """
        from flytekitplugins.wbmon.monitor.drift.check import check_drift

        weights = {**self.config.importance, **(importance or {})}
        rule = replace(self.config, importance=weights)
        report = check_drift(reference, current, rule=rule, past=past or ())
        return DriftChecked(report=report, drifted=report.drifted)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSettings:
    """Settings of `DriftSeriesCheck`, where they are described."""

    at: str = ""
    by: TimeSpan = "day"
    segment: str = ""
    reference: MovingReference = "fixed"
    n_reference: int = 7
    rule: DriftRule = field(default_factory=DriftRule)
    embed: dict[str, str] = field(default_factory=dict)


class SeriesChecked(NamedTuple):
    """A series of drift reports, with a primitive output for a `conditional`."""

    series: DriftSeries
    drifted: bool


class DriftSeriesCheck(Node[SeriesSettings]):
    """Split a table into windows by time, by segment or by both, and check each for drift.

    Args:
        name: The task's name.
        at: Column with the time of each row, UTC; empty to split by segment only.
        by: Length of a window: `hour`, `day`, `week` (from Monday) or `month`.
        segment: Column whose values are the segments (a tenant, a route); empty for none.
        reference: What each window is compared with: the `fixed` reference profile, the
            `n_reference` windows before it (`sliding`), or those of the `same_weekday`; from 5 on
            these also calibrate the check.
        n_reference: Number of earlier windows in a moving reference.
        rule: The conditions under which a feature counts as drifted.
        embed: By column of text, the function that made vectors of the texts of the reference, as
            `ProfileData` takes it.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If neither `at` nor `segment` is given, or a function has no name that a pod
            could find.
    """

    def __init__(
        self,
        name: str,
        *,
        at: str = "",
        by: TimeSpan = "day",
        segment: str = "",
        reference: MovingReference = "fixed",
        n_reference: int = 7,
        rule: DriftRule | None = None,
        embed: Mapping[str, Callable[..., Any] | str] | None = None,
        **task_kwargs: Any,
    ) -> None:
        if not at and not segment:
            raise ConfigError(
                f"DriftSeriesCheck {name!r} must cut its table by time (at=) or by segment "
                "(segment=), got neither; for one window use DriftCheck"
            )
        require_whole("n_reference", n_reference, 1)
        settings = SeriesSettings(
            at=at,
            by=by,
            segment=segment,
            reference=reference,
            n_reference=n_reference,
            rule=rule or DriftRule(),
            embed=references_of(embed),
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, reference: Profile) -> SeriesChecked:
        """Check every window of a table.

        Args:
            data: Parquet (a file or a folder) or a data frame of another task.
            reference: The profile whose bins are used to count each window.

        Returns:
            series: One report for each window, ordered by segment and time.
            drifted: Whether any window drifted.
        """
        from flytekitplugins.wbmon.monitor.drift.series import drift_series

        config = self.config
        series = drift_series(
            open_data(data),
            like=reference,
            at=config.at,
            by=config.by,
            segment=config.segment,
            reference=config.reference,
            n_reference=config.n_reference,
            rule=config.rule,
            embed=load_references(config.embed),
        )
        return SeriesChecked(series=series, drifted=series.drifted)
