"""Test of the ends of a distribution: a few rows that became much larger or smaller, or were cut.

A unit error in one row of a hundred, or a cap, moves so few rows that no share of moved rows is
large. What it changes is how often such values occur at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from flytekitplugins.wbmon.monitor.drift.distances import scaled_counts
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.shares import rate_check
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.stats.arrays import Floats

_SHARES = (0.005, 0.01, 0.02)  # of the rows of both windows, in a tail
_MOST = 0.1  # more rows are no tail
_LEAST_EDGES = 50  # fewer different numbers may be codes, and a rare code is no tail


class Tail(NamedTuple):
    """One end of a distribution.

    Attributes:
        where: The values in it, such as `above 12.5`.
        reference: Share of the rows of the reference in it, in [0, 1].
        current: Share of those of the current window.
        check: The test of the two shares.
    """

    where: str
    reference: float
    current: float
    check: Check

    @property
    def odds_ratio(self) -> float:
        """Odds of a row to be in it, current window over reference; in [0, inf]."""
        before, now = self.reference, self.current
        if before in (0.0, 1.0) or now == 1:
            return math.inf if now > before else 0.0
        return now * (1 - before) / (before * (1 - now))


def tails_check(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Check | None:
    """Test of the tail that changed most; None if there is none to test.

    The p-value of the test of two shares is multiplied by the number of tails. The effect size is
    the share of rows by which the tail grew or shrank; whether that is much for a tail, the ratio
    of the odds says.
    """
    tails = list(_tails(reference, current, rule))
    if not tails:
        return None
    tail = _most_changed(tails)
    return replace(
        tail.check,
        p_value=min(1.0, len(tails) * tail.check.p_value),
        odds_ratio=tail.odds_ratio,
    )


def most_changed_tail(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> Tail:
    """The tail of which `tails_check` tells."""
    return _most_changed(list(_tails(reference, current, rule)))


def tail_rows(feature: FeatureProfile, reference: FeatureProfile) -> Floats:
    """Rows of a window in the lower tail of the reference, between its tails, and in the upper."""
    ends = scaled_counts(reference), scaled_counts(reference)[::-1]
    counts = scaled_counts(feature)
    low, high = (max(_lengths(each), default=0) for each in ends)
    tails = counts[:low].sum(), counts[len(counts) - high :].sum()
    return np.array([tails[0], counts.sum() - sum(tails), tails[1]])


def _most_changed(tails: list[Tail]) -> Tail:
    return min(tails, key=lambda tail: tail.check.p_value)


def _tails(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> Iterator[Tail]:
    edges = np.asarray(reference.edges)
    if len(edges) <= _LEAST_EDGES:
        return
    a, b = scaled_counts(reference), scaled_counts(current)
    n, m = float(a.sum()), float(b.sum())
    for is_upper in (False, True):
        x, y = (a[::-1], b[::-1]) if is_upper else (a, b)
        for length in _lengths(x + y):
            shares = float(x[:length].sum()) / n, float(y[:length].sum()) / m
            check = rate_check("tails", shares[0], n, shares[1], m, rule)
            if check is not None:
                yield Tail(_where(edges, length, is_upper=is_upper), *shares, check)


def _lengths(counts: Floats) -> list[int]:
    """How many cells, from the first, have at most the share of rows of a tail; none twice.

    If the first that has rows has more, as a default value may, it is a tail by itself. All that
    depends only on the counts of both windows together, so the choice does not bias the test.
    """
    shares = np.cumsum(counts) / max(float(counts.sum()), 1.0)
    first = np.searchsorted(shares, 0.0, "right")
    if first == len(shares) or shares[first] > _MOST:
        return []
    # rounding: a share that is 2 % may be a little more
    ends = np.searchsorted(shares, np.array(_SHARES) + 1e-9, "right")
    return sorted({max(int(end), int(first) + 1) for end in ends})


def _where(edges: Floats, length: int, *, is_upper: bool) -> str:
    # open cells and edges alternate, and the first is open
    place, is_open = divmod(length, 2)
    edge = (edges[::-1] if is_upper else edges)[place if is_open else place - 1]
    side = "above" if is_upper else "below"
    return f"{side if is_open else f'at or {side}'} {float(edge):.4g}"
