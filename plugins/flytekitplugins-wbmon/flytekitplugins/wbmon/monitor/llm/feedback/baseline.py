"""What the rate of a window is compared with: that of the windows before it, as they were healthy.

The window before alone would forget: a fall that lasts would be over after one window, and one that
follows a window without ratings would never be found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from flytekitplugins.wbmon.monitor.llm.feedback.report import (
    FEWEST_RATED,
    FeedbackRate,
    FeedbackReport,
    PastRate,
)
from flytekitplugins.wbmon.stats.tail_probabilities import student_t_isf

KEPT = 30
"""Past windows that are remembered, each with at least ten ratings."""

_FEWEST_WINDOWS = 5
_TAIL = 0.025
_MEDIAN = 0.45493642311957283  # of a chi-squared variable with one degree of freedom


def past_rates(previous: FeedbackReport | None) -> tuple[PastRate, ...]:
    """The rates that a window is compared with, oldest first.

    Args:
        previous: The report of the window before; of one of an older version, which remembers
            nothing, the rate of its own window.
    """
    if previous is None:
        return ()
    return previous.history or with_rate((), previous.total)


class PastRates(NamedTuple):
    """What a rate is compared with.

    Attributes:
        n: Number of ratings.
        n_good: How many of them are positive.
        reach: How far, beside the chance of ratings, the rate of a new window may be from that of
            the past ones in 95 % of windows, as windows differ without a fault; 0 if nobody knows.
    """

    n: float
    n_good: float
    reach: float = 0.0


def pooled(history: Sequence[PastRate], recent: Sequence[PastRate] = ()) -> PastRates | None:
    """The healthy past windows as one; None without any.

    Args:
        history: The windows that were not worse.
        recent: The last windows, worse or not, which tell how far windows differ.
    """
    if not history:
        return None
    n, n_good = (math.fsum(each) for each in zip(*((p.n, p.n_good) for p in history), strict=True))
    share = math.fsum(past.n**2 for past in history) / n**2
    variance = between_variance(recent, n_good / n)
    if not variance:
        return PastRates(n, n_good)
    quantile = student_t_isf(_TAIL, degrees=len(recent) - 1)
    return PastRates(n, n_good, quantile * math.sqrt(variance * (1 + share)))


def between_variance(recent: Sequence[PastRate], rate: float) -> float:
    """The variance of the rates of windows beyond that of ratings; 0 of fewer than five windows.

    Half the median of the squared differences of successive windows, over that of a chi-squared
    variable, less the mean variance of ratings. A fall that lasts is one difference of many, which
    moves no median.

    Args:
        recent: The windows, in their order.
        rate: The usual rate.
    """
    if len(recent) < _FEWEST_WINDOWS:
        return 0.0
    steps = [(a.n_good / a.n - b.n_good / b.n) ** 2 for a, b in pairwise(recent)]
    of_ratings = fmean(rate * (1 - rate) / past.n for past in recent)
    return max(0.0, median(steps) / _MEDIAN / 2 - of_ratings)


def with_rate(history: Sequence[PastRate], rate: FeedbackRate) -> tuple[PastRate, ...]:
    """The healthy windows with a new one, unless it is worse than they are."""
    is_fall = bool(history) and rate.verdict == "worse"
    return tuple(history) if is_fall else appended(history, rate)


def appended(windows: Sequence[PastRate], rate: FeedbackRate) -> tuple[PastRate, ...]:
    """The last windows with a new one at the end, unless nothing was rated in it.

    Windows of fewer than ten ratings are taken together, so that many of them do not drive out
    those that knew more.
    """
    n = rate.n_effective
    if not n or math.isnan(rate.rate):
        return tuple(windows)
    known, new = list(windows), PastRate(n=n, n_good=rate.rate * n)
    if known and known[-1].n < FEWEST_RATED:
        last = known.pop()
        new = PastRate(n=last.n + new.n, n_good=last.n_good + new.n_good)
    return (*known, new)[-KEPT:]
