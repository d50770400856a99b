"""Spending by day over many windows, in which each call counts once.

A window need not be a day: it may begin at any hour, cover minutes or weeks, overlap the one before
or be judged again. So a day keeps what each window counted of it, with the time from its first to
its last call there. A window that covers that time replaces it, as it has the newer rows; of one
that covers a part of it, the calls within that time are left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flytekitplugins.wbmon.monitor.llm.cost.report import DaySpend, UsageReport, WindowSpend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_DAY_US = _DAY // _MICROSECOND
# windows of a day are kept apart while they may be judged again, or if they are few
_RECENT_DAYS = 2
_FEW_WINDOWS = 4


class _Span(NamedTuple):
    """Times of the first and the last call of an earlier window within a day, in microseconds."""

    first: int
    last: int
    day: str
    window: int


class CallCosts(NamedTuple):
    """What calls cost.

    Attributes:
        cost_usd: Cost by call, weighted, 0 where it is unknown; shape `(n,)`.
        n_unknown: How many calls of unknown cost each stands for.
        n_bounded: How many of these lack token counts alone, and not a price.
        n_known: How many calls of known cost each stands for.
        dearest_usd: Cost of each without its weight.
    """

    cost_usd: Floats
    n_unknown: Floats
    n_bounded: Floats
    n_known: Floats
    dearest_usd: Floats


@dataclass(slots=True)
class _Slot:
    """Calls of the new window on one day, within one earlier span or between two."""

    first: int
    last: int
    cost_usd: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    n_unknown: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    n_bounded: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    n_known: float = 0.0
    dearest_usd: float = 0.0


class Spending:
    """The spending of earlier windows, to which that of a new window is added.

    Args:
        previous: The report of the window before; None for none.
    """

    def __init__(self, previous: UsageReport | None = None) -> None:
        before = _windows(previous) if previous is not None else {}
        self._before: dict[str, tuple[WindowSpend, ...]] = before
        self._spans = sorted(
            _Span(_us(first), _us(last), day, place)
            for day, windows in before.items()
            for place, window in enumerate(windows)
            for first, last in window.spans
        )
        self._firsts = np.array([span.first for span in self._spans], dtype=np.int64)
        # the last one is that of calls before the first span, which are in none
        self._lasts = np.array([*(span.last for span in self._spans), -1], dtype=np.int64)
        self._slots: dict[tuple[str, int], _Slot] = {}

    def add(
        self,
        times: Sequence[datetime],
        keys: Mapping[str, Sequence[str]],
        costs: CallCosts,
    ) -> None:
        """Add calls of the new window.

        Args:
            times: Their times, UTC.
            keys: For each scope, the key of each call.
            costs: What they cost.
        """
        moments = np.array([_us(at) for at in times], dtype=np.int64)
        place = np.searchsorted(self._firsts, moments, side="right") - 1
        # odd within a span, even between two
        number = 2 * place + np.where(moments <= self._lasts[place], 1, 2)
        n_numbers = 2 * len(self._spans) + 1
        codes, index = np.unique(moments // _DAY_US * n_numbers + number, return_inverse=True)
        slots = [self._slot(divmod(int(code), n_numbers)) for code in codes]
        for slot, (first, last) in zip(slots, _ends(moments, index, len(slots)), strict=True):
            slot.first, slot.last = min(slot.first, first), max(slot.last, last)
        dearest, known = np.zeros(len(slots)), np.bincount(index, costs.n_known)
        np.maximum.at(dearest, index, costs.dearest_usd)
        for slot, usd, n in zip(slots, dearest.tolist(), known.tolist(), strict=True):
            slot.dearest_usd = max(slot.dearest_usd, usd)
            slot.n_known += n
        for scope, names in keys.items():
            labels, label = encoded(names)
            pairs, pair = np.unique(index * len(labels) + label, return_inverse=True)
            sums = zip(
                pairs.tolist(),
                np.bincount(pair, costs.cost_usd).tolist(),
                np.bincount(pair, costs.n_unknown).tolist(),
                np.bincount(pair, costs.n_bounded).tolist(),
                strict=True,
            )
            for code, usd, unknown, bounded in sums:
                where, which = divmod(code, len(labels))
                name = f"{scope}={labels[which]}"
                slots[where].cost_usd[name] += usd
                slots[where].n_unknown[name] += unknown
                slots[where].n_bounded[name] += bounded

    @property
    def last_at(self) -> datetime | None:
        """Time of the last call that any window counted."""
        ends = [slot.last for slot in self._slots.values()] or self._lasts[:-1].tolist()
        return _at(max(ends)) if ends else None

    def after(self, day: date) -> DaySpend:
        """What the calls of the new window cost whose day is later than `day`."""
        return DaySpend(**_totals(s for (d, _), s in self._slots.items() if d > day.isoformat()))

    def days(self) -> dict[str, DaySpend]:
        """Spending by day and scope, in the order of the days."""
        if not self._slots:
            return {day: _day(windows) for day, windows in sorted(self._before.items())}
        begin = min(slot.first for slot in self._slots.values())
        end = max(slot.last for slot in self._slots.values())
        kept = {
            day: [w for w in windows if not all(_is_within(s, begin, end) for s in w.spans)]
            for day, windows in self._before.items()
        }
        names = sorted({*kept, *(day for day, _ in self._slots)})
        newest = date.fromisoformat(names[-1])
        found = {}
        for day in names:
            windows = [*kept.get(day, ()), *self._new(day, kept.get(day, ()))]
            age = (newest - date.fromisoformat(day)).days
            if age > _RECENT_DAYS and len(windows) > _FEW_WINDOWS:
                windows = [_sum(windows)]
            if windows:
                found[day] = _day(windows)
        return found

    def _slot(self, code: tuple[int, int]) -> _Slot:
        day, number = code
        name = (_EPOCH + day * _DAY).date().isoformat()
        # as a first call, later than any; as a last one, earlier than any
        fresh = _Slot((day + 1) * _DAY_US, day * _DAY_US)
        return self._slots.setdefault((name, number), fresh)

    def _new(self, day: str, kept: Sequence[WindowSpend]) -> list[WindowSpend]:
        """What the new window counts of a day, if anything."""
        counted = [
            slot
            for (name, number), slot in self._slots.items()
            if name == day and not (number % 2 and self._is_kept(number // 2, kept))
        ]
        if not counted:
            return []
        between = np.array(sorted(_us(first) for each in kept for first, _ in each.spans))
        spans: dict[int, tuple[int, int]] = {}
        for slot in counted:
            gap = int(np.searchsorted(between, slot.first))
            first, last = spans.get(gap, (slot.first, slot.last))
            spans[gap] = min(first, slot.first), max(last, slot.last)
        return [
            WindowSpend(
                spans=tuple((_at(first), _at(last)) for first, last in sorted(spans.values())),
                **_totals(counted),
            )
        ]

    def _is_kept(self, place: int, kept: Sequence[WindowSpend]) -> bool:
        span = self._spans[place]
        owner = self._before[span.day][span.window]
        return any(each is owner for each in kept)


def encoded(keys: Iterable[str]) -> tuple[list[str], Integers]:
    """The distinct keys by first occurrence, and the place of each key among them."""
    codes: dict[str, int] = {}
    # numbers the keys in one pass
    index = [codes.setdefault(key, len(codes)) for key in keys]
    return list(codes), np.array(index, dtype=np.int64)


def _windows(report: UsageReport) -> dict[str, tuple[WindowSpend, ...]]:
    return {
        day: spend.windows or (_window_of_old(day, spend, report),)
        for day, spend in report.days.items()
    }


def _window_of_old(day: str, spend: DaySpend, report: UsageReport) -> WindowSpend:
    """The window of a day in a report that does not say what its windows were."""
    first = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
    last = first + _DAY - _MICROSECOND
    # the days of its own window are of that alone, of earlier ones the hours are unknown
    if report.start_at is not None and report.end_at is not None and last >= report.start_at:
        first, last = max(first, report.start_at), min(last, report.end_at)
    return WindowSpend(spans=((first, last),), cost_usd=spend.cost_usd, n_unknown=spend.n_unknown)


def _ends(moments: Integers, index: Integers, n: int) -> list[tuple[int, int]]:
    first = np.full(n, np.iinfo(np.int64).max)
    last = np.full(n, np.iinfo(np.int64).min)
    np.minimum.at(first, index, moments)
    np.maximum.at(last, index, moments)
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _is_within(span: tuple[datetime, datetime], begin: int, end: int) -> bool:
    return begin <= _us(span[0]) and _us(span[1]) <= end


def _sum(windows: Sequence[WindowSpend]) -> WindowSpend:
    return WindowSpend(
        spans=tuple(sorted(span for window in windows for span in window.spans)),
        **_totals(windows),
    )


def _day(windows: Sequence[WindowSpend]) -> DaySpend:
    return DaySpend(**_totals(windows), windows=tuple(windows))


def _totals(parts: Iterable[_Slot | WindowSpend]) -> dict[str, Any]:
    """The sums that spending is made of, and the dearest call."""
    known = list(parts)
    return {
        "cost_usd": _added(part.cost_usd for part in known),
        "n_unknown": _added(part.n_unknown for part in known),
        "n_bounded": _added(part.n_bounded for part in known),
        "n_known": math.fsum(part.n_known for part in known),
        "dearest_usd": max((part.dearest_usd for part in known), default=0.0),
    }


def _added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for part in parts:
        for key, value in part.items():
            found[key].append(value)
    return {key: math.fsum(values) for key, values in found.items()}


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _at(us: int) -> datetime:
    return _EPOCH + us * _MICROSECOND
