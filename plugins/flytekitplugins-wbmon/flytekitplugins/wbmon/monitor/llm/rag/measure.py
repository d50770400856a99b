"""What is measured over all queries, and what is missing in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flytekitplugins.wbmon.monitor.llm.evaluation.report import ScoreSummary
from flytekitplugins.wbmon.monitor.llm.evaluation.summary import score_summary
from flytekitplugins.wbmon.stats.tail_probabilities import kolmogorov_sf

ALPHA = 0.05
"""Level at which a distance of retrieval scores is beyond chance."""


class Measure(NamedTuple):
    """A measure over the queries that should have it.

    Attributes:
        summary: Over those that have it; one that failed has 0.
        answered: Over those that have it and were answered.
        worst: Over all, with 0 for those that have none.
        n_missing: Number of answered queries without it.
    """

    summary: ScoreSummary
    answered: ScoreSummary
    worst: ScoreSummary
    n_missing: int

    @property
    def is_known(self) -> bool:
        """Whether it was measured, if only by the failure of all queries."""
        return self.answered.n > 0 or (self.summary.n > 0 and not self.n_missing)


class ScoreDrift(NamedTuple):
    """How far retrieval scores are from those of the reference; `nan` where nothing is known.

    Attributes:
        distance: Two-sample Kolmogorov-Smirnov distance.
        p_value: Of no difference, asymptotic.
        is_asked: Whether there are reference scores.
        is_known: Whether there are enough scores for any distance to be beyond chance.
    """

    distance: float
    p_value: float
    is_asked: bool
    is_known: bool


def measure_of(
    name: str,
    values: Sequence[float | None],
    *,
    is_failed: Sequence[bool],
    failures: Mapping[str, int] | None = None,
) -> Measure:
    """Summarise a measure over the queries that should have it.

    Args:
        name: The measure.
        values: Its value for each query, from 0 to 1; None without one.
        is_failed: For each query, whether it was not answered.
        failures: Number of failed judgements by class of the error.
    """
    answered = [value for value in values if value is not None]
    n_failed = sum(is_failed)
    n_missing = len(values) - n_failed - len(answered)

    def summary(n_zeros: int, n_answered_zeros: int = 0) -> ScoreSummary:
        n_answered = len(answered) + n_answered_zeros
        return score_summary(
            name,
            [*answered, *[0.0] * (n_answered_zeros + n_zeros)],
            items=range(n_answered + n_zeros),
            is_answered=[True] * n_answered + [False] * n_zeros,
            failures=failures or {},
        )

    return Measure(
        summary=summary(n_failed),
        answered=summary(0),
        worst=summary(n_failed, n_missing),
        n_missing=n_missing,
    )


def score_drift(reference: Sequence[float], current: Sequence[float]) -> ScoreDrift:
    """Compare retrieval scores with those of the reference.

    Args:
        reference: Scores of a period in which retrieval was good; may be empty.
        current: Scores of the window; may be empty.
    """
    if not len(reference) or not len(current):
        return ScoreDrift(math.nan, math.nan, is_asked=len(reference) > 0, is_known=False)
    a, b = np.sort(np.asarray(reference, float)), np.sort(np.asarray(current, float))
    places = np.concatenate([a, b])
    shares = [np.searchsorted(side, places, side="right") / len(side) for side in (a, b)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    # effective sample size of the two-sample statistic
    size = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    is_known = kolmogorov_sf(size) < ALPHA
    return ScoreDrift(distance, kolmogorov_sf(distance * size), is_asked=True, is_known=is_known)
