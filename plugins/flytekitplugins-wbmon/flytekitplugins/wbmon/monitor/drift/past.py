"""The past windows that a check is given: which they are, if they suffice, what is told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from flytekitplugins.wbmon.arguments import listed
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.drift.past_outlier import PastOutlier
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.profile import Profile, require_profiles
from flytekitplugins.wbmon.monitor.profiles.windows import TimeWindow
from flytekitplugins.wbmon.names import shown_name, window_name

MIN_PAST_WINDOWS = 5
"""Past windows that a calibration needs at least."""

MIN_OF_WEEKDAY = 3
"""Past windows of a weekday that are compared with one another, at least."""

_SHOWN = 3
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class PastWindow(NamedTuple):
    """One past window.

    Attributes:
        profile: Its profile, in the layout of the reference.
        name: What it is called in the report.
        weekday: Day of the week that it began on; 0 for all if weekdays are not told apart.
    """

    profile: Profile
    name: str
    weekday: int = 0


class Past(NamedTuple):
    """The past windows of a check.

    Attributes:
        windows: The windows.
        weekday: That of the current window, likewise.
        n_empty: Number of windows that were left out as they have no row.
    """

    windows: tuple[PastWindow, ...]
    weekday: int = 0
    n_empty: int = 0

    @property
    def of_weekday(self) -> int:
        """Number of windows of the same weekday as the current one."""
        return sum(window.weekday == self.weekday for window in self.windows)


def past_of(
    reference: Any, past: Iterable[Profile] | Mapping[TimeWindow, Profile], start: datetime | None
) -> Past:
    """The past windows as they were given to a check, without those that have no row.

    Args:
        reference: What they must have been made like.
        past: Profiles, or profiles by window.
        start: When the current window began; None if weekdays are not told apart.

    Raises:
        ConfigError: If they are no profiles, or `start` is given and they have none.
        DataError: If the reference is no profile, or they were made like another one.
    """
    if isinstance(past, Mapping) and all(isinstance(key, TimeWindow) for key in past):
        keys, profiles = list(past), tuple(past.values())
        names = [window_name(key.start, key.segment) for key in keys]
        starts = [key.start for key in keys]
    else:
        profiles = listed("past", past, "profiles of windows")
        names = [f"past[{place}]" for place in range(len(profiles))]
        starts = [None] * len(profiles)
    require_profiles("past", profiles)
    _require_layout(reference, profiles)
    if start is None:
        return _with_rows(map(PastWindow, profiles, names))
    if None in starts:
        raise ConfigError(
            "start tells the weekday of the window, so past must tell those of its windows; give "
            "it the profiles of profile_windows(data, like=reference, at=…)"
        )
    weekdays = [each.weekday() for each in starts if each is not None]
    return _with_rows(map(PastWindow, profiles, names, weekdays), start.weekday())


def _with_rows(windows: Iterable[PastWindow], weekday: int = 0) -> Past:
    # an empty one tells nothing of how much windows differ
    every = tuple(windows)
    found = tuple(window for window in every if window.profile.n_rows)
    return Past(found, weekday, n_empty=len(every) - len(found))


def n_calibrating(past: Past) -> int:
    """Number of past windows that calibrate a check: none, if they are too few."""
    return 0 if _lacking(past) else len(past.windows)


def explain_past(past: Past, outliers: Sequence[PastOutlier], rule: DriftRule) -> str:
    """What must be known of the past windows, to be added to the reason; empty if nothing."""
    if not past.windows and not past.n_empty:
        return ""
    if lacking := _lacking(past):
        return f"; not calibrated: {lacking}"
    if not outliers:
        return ""
    told = ", ".join(map(_outlier, outliers[:_SHOWN])) + (", …" if len(outliers) > _SHOWN else "")
    counted = f"{len(outliers)} of {len(past.windows)} past windows"
    if rule.fence_past:
        return f"; {counted} left out where unlike the others: {told}"
    return (
        f"; {counted} unlike the others, which can hide drift: {told}; leave such a window out, or "
        "set fence_past=True in the rule"
    )


def _lacking(past: Past) -> str:
    n, of_weekday = len(past.windows), past.of_weekday
    if n < MIN_PAST_WINDOWS:
        empty = f" ({past.n_empty} more have no row)" if past.n_empty else ""
        return f"{n} past window{'s' * (n != 1)}{empty}, {MIN_PAST_WINDOWS} are needed"
    if of_weekday < MIN_OF_WEEKDAY:
        day = _WEEKDAYS[past.weekday]
        return f"{of_weekday} past windows of a {day}, {MIN_OF_WEEKDAY} are needed"
    return ""


def _outlier(outlier: PastOutlier) -> str:
    shown = list(map(shown_name, outlier.features[:_SHOWN]))
    more = [] if len(outlier.features) <= _SHOWN else ["…"]
    return f"{outlier.window} (in {', '.join(shown + more)})"


def _require_layout(reference: Any, profiles: Sequence[Profile]) -> None:
    if profiles and not isinstance(reference, Profile):
        raise DataError(
            "past windows can only be used with the reference profile they were made like; "
            "profile the reference first"
        )
    if any(window.layout != reference.layout for window in profiles if not window.is_nothing):
        raise DataError(
            "every past window must share the layout of the reference; make them with "
            "profile_data(data, like=reference)"
        )
