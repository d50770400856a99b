"""Drift over time and by segment: one table, many windows, one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from flytekitplugins.wbmon.arguments import require_whole
from flytekitplugins.wbmon.data.open import Data
from flytekitplugins.wbmon.data.scalars import class_name
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries, WindowDrift
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles
from flytekitplugins.wbmon.monitor.profiles.facets import Embed
from flytekitplugins.wbmon.monitor.profiles.profile import Profile, require_profiles
from flytekitplugins.wbmon.monitor.profiles.windows import (
    TimeSpan,
    TimeWindow,
    end_of,
    profile_windows,
)
from flytekitplugins.wbmon.names import listed_names, quoted_name

Reference = Literal["fixed", "sliding", "same_weekday"]


def drift_series(  # noqa: PLR0913 - how windows are cut, and what they are compared with
    data: Data,
    *,
    like: Profile | Mapping[Any, Profile],
    at: str = "",
    by: TimeSpan = "day",
    segment: str = "",
    reference: Reference = "fixed",
    n_reference: int = 7,
    rule: DriftRule | None = None,
    embed: Mapping[str, Embed] | None = None,
) -> DriftSeries:
    """Cut a table into windows and check each for drift.

    Each window is a separate check: the false discovery rate of the rule holds within a window, not
    over all windows.

    Args:
        data: Data in any form `profile_data` accepts; its rows may be in any order.
        like: The reference profile; or one for each segment, by its value or its name, all made
            `like` the same profile.
        at: The column with the time of a row, UTC; empty to cut by segment only. `at` and `segment`
            may be partition columns, whose values are only in folder names (`day=2026-01-01/…`).
        by: Length of a window: `hour`, `day`, `week` (from Monday) or `month`.
        segment: The column whose values are the segments; empty to cut by time only.
        reference: What a window is compared with: `fixed`, the given profile; `sliding`, the last
            `n_reference` windows before it; `same_weekday`, the last `n_reference` windows before
            it that began on the same day of the week. The last two use only the layout of `like`,
            and from 5 windows on the windows of the reference calibrate the check, as `past` does
            that of `check_drift`; with `same_weekday`, so do those of the other weekdays.
        n_reference: Number of earlier windows in a moving reference.
        rule: What counts as drift; `DriftRule()` by default.
        embed: By column of text, what turns texts into vectors, as for the reference.

    Returns:
        One report for each window that has rows. With a moving reference, windows without an
        earlier window to compare with are left out.

    Raises:
        ConfigError: If a setting has none of the values above, or `like` is no profile.
        DataError: If the data cannot be read or cut, or a segment has no reference.
    """
    at, segment = str(at), str(segment)
    _require_settings(reference, n_reference, at)
    require_profiles("like", like.values() if isinstance(like, Mapping) else [like])
    like = like if isinstance(like, Profile) else {_name(of): each for of, each in like.items()}
    layout = _layout(like)
    found = profile_windows(data, like=layout, at=at, by=by, segment=segment, embed=embed)
    windows = []
    for window, profile in found.profiles.items():
        is_fixed = reference == "fixed"
        past = {} if is_fixed else _before(found.profiles, window, reference, n_reference)
        against = _fixed(like, window.segment) if is_fixed else _merged(past, window, reference)
        if against is not None:
            report = check_drift(
                _without(against, (at, segment)),
                profile,
                rule=rule,
                past=past,
                start=window.start if reference == "same_weekday" else None,
            )
            end = None if window.start is None else end_of(window.start, by)
            windows.append(
                WindowDrift(start=window.start, end=end, segment=window.segment, report=report)
            )
    return DriftSeries(
        windows=tuple(windows),
        n_undated=found.n_undated,
        n_without_segment=found.n_without_segment,
    )


def _require_settings(reference: str, n_reference: int, at: str) -> None:
    if reference not in get_args(Reference):
        raise ConfigError(
            f"reference must be one of {', '.join(get_args(Reference))}; got {reference!r}"
        )
    require_whole("n_reference", n_reference, 1)
    if reference != "fixed" and not at:
        raise ConfigError(f"a {reference} reference needs windows of time; give at=")


def _name(segment: Any) -> str:
    """What a segment is called in a window, by its value."""
    return str(segment).lower() if isinstance(segment, bool) else class_name(segment)


def _layout(like: Profile | Mapping[str, Profile]) -> Profile:
    if isinstance(like, Profile):
        return like
    profiles = list(like.values())
    if not profiles or any(profile.layout != profiles[0].layout for profile in profiles):
        raise DataError(
            "the references of the segments must share a layout; make them all with "
            "profile_data(data, like=common)"
        )
    return profiles[0]


def _fixed(like: Profile | Mapping[str, Profile], segment: str) -> Profile:
    if isinstance(like, Profile):
        return like
    if segment not in like:
        raise DataError(
            f"every segment must have a reference, but {quoted_name(segment)} has none; there are "
            f"{listed_names(like)}"
        )
    return like[segment]


def _without(profile: Profile, names: tuple[str, ...]) -> Profile:
    """The profile without the columns that define the windows: they always differ between them."""
    kept = {name: item for name, item in profile.features.items() if name not in names}
    return replace(profile, features=kept)


def _before(
    profiles: Mapping[TimeWindow, Profile],
    window: TimeWindow,
    reference: Reference,
    n_reference: int,
) -> dict[TimeWindow, Profile]:
    """The last windows before this one; of `same_weekday`, the last of each weekday."""
    earlier: dict[int, list[TimeWindow]] = {}
    for other in profiles:
        if other.segment == window.segment and other.start < window.start:  # type: ignore[operator]
            weekday = other.start.weekday() if reference == "same_weekday" else 0  # type: ignore[union-attr]
            earlier.setdefault(weekday, []).append(other)
    # profiles are in time order within a segment, so the last are the nearest
    last = {other for group in earlier.values() for other in group[-n_reference:]}
    return {other: profile for other, profile in profiles.items() if other in last}


def _merged(
    past: Mapping[TimeWindow, Profile], window: TimeWindow, reference: Reference
) -> Profile | None:
    """The merged profile of those that the window is compared with; None if there are none."""
    against = [
        profile
        for other, profile in past.items()
        if reference == "sliding" or other.start.weekday() == window.start.weekday()  # type: ignore[union-attr]
    ]
    return merge_profiles(against) if against else None
