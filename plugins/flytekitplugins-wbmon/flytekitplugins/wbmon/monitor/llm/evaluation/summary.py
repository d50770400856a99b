"""Summary of scores: their mean, its interval, and what failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from flytekitplugins.wbmon.monitor.llm.evaluation.report import ScoreSummary
from flytekitplugins.wbmon.stats.paired import paired_difference

_MIN_ITEMS = 2


def score_summary(
    name: str,
    values: Sequence[float],
    *,
    items: Sequence[int],
    is_answered: Sequence[bool],
    failures: Mapping[str, int],
) -> ScoreSummary:
    """The mean of scores over items, with a 95 % interval from two items on.

    Args:
        name: What the scores are called.
        values: The scores, each from 0 to 1, that of an answer that never came included.
        items: The item of each score; its repeats are averaged first.
        is_answered: For each score, whether it is that of an answer that came.
        failures: Number of answers without a score, by class of the error.
    """
    known, of_item = np.asarray(values, dtype=np.float64), np.asarray(items, dtype=np.int64)
    means = _means(known, of_item)
    n_failed = sum(failures.values())
    n = len(known)
    # the interval of a mean is that of its difference from zero
    found = paired_difference(np.zeros(len(means)), means)
    answered = np.asarray(is_answered, dtype=bool)
    has_interval = len(means) >= _MIN_ITEMS
    return ScoreSummary(
        name=name,
        mean=_mean(means),
        low=max(0.0, found.low) if has_interval else math.nan,
        high=min(1.0, found.high) if has_interval else math.nan,
        n=n,
        n_failed=n_failed,
        mean_if_failed=float(known.sum()) / (n + n_failed) if n + n_failed else math.nan,
        errors=dict(failures),
        mean_answered=_mean(_means(known[answered], of_item[answered])),
    )


def _means(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The mean of each item."""
    _, place = np.unique(items, return_inverse=True)
    n = np.bincount(place)
    means: np.ndarray = np.bincount(place, values, minlength=len(n)) / n
    return means


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
