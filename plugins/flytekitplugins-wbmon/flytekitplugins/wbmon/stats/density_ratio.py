"""How much more often rows like those of a reference occur in another window.

References:
    Qin (1998), Inferences for case-control and semiparametric two-sample density ratio models.
    Sugiyama, Suzuki & Kanamori (2012), Density ratio estimation in machine learning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FEW = 20  # distinct values that are told apart, each by itself
_TAIL = 0.001  # values further out count as its quantile
_FAR = 1e6  # quartile ranges; of heavier tails the squares would be all that counts
_STEPS = 300


def density_ratio(
    reference: Floats, current: Floats, weight: Floats, current_weight: Floats
) -> Floats:
    """Density of the current window over that of the reference, at the rows of the reference.

    A logistic regression tells the windows apart by the value and the square of each feature, by
    whether it is missing, and by each of its values if there are at most 20; its odds are the
    ratio, up to a constant factor. It is exact for normal features that shift or spread and for
    shares of categories that change, one by one; what changes only jointly is not followed.

    Args:
        reference: Features; `nan` where missing; shape `(n, d)`, `n >= 1`.
        current: The same features in the other window; shape `(m, d)`, `m >= 1`.
        weight: Row weights of the reference, `> 0`; shape `(n,)`.
        current_weight: Row weights of the other window, `> 0`; shape `(m,)`.

    Returns:
        In (0, 1], the largest is 1; shape `(n,)`.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    n = len(reference)
    terms = _terms(reference, np.concatenate([reference, current]))
    if not terms.shape[1]:
        return np.ones(n)
    is_current = np.arange(len(terms)) >= n
    # both windows weigh as much as all rows do by half, so their sizes do not change the shrinkage
    share = np.concatenate([weight / weight.sum(), current_weight / current_weight.sum()])
    with threadpool_limits(1):
        model = LogisticRegression(max_iter=_STEPS).fit(
            terms, is_current, sample_weight=share * len(terms) / 2
        )
        odds: Floats = model.decision_function(terms[:n])
    ratio: Floats = np.exp(odds - odds.max())
    return ratio


def _terms(reference: Floats, rows: Floats) -> Floats:
    """What the regression is fitted on, of standard deviation 1 in the reference."""
    terms = [
        term
        for column in range(reference.shape[1])
        for term in _terms_of(reference[:, column], rows[:, column])
    ]
    spread = [float(term[: len(reference)].std()) for term in terms]
    # what does not vary in the reference cannot weigh its rows
    kept = [term / sd for term, sd in zip(terms, spread, strict=True) if sd > 0]
    return np.column_stack(kept) if kept else np.empty((len(rows), 0))


def _terms_of(reference: Floats, rows: Floats) -> list[Floats]:
    missing = np.isnan(rows)
    known = reference[~np.isnan(reference)]
    terms = [missing.astype(np.float64)]
    levels = np.unique(known)
    if len(levels) <= _FEW:
        # the last is where no other is
        return terms + [(rows == level).astype(np.float64) for level in levels[:-1]]
    # halves: the difference of two very large numbers would have no end
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]) / 2
    scale = (high - low) or float(np.abs(known / 2 - middle).max())
    inside = np.clip(rows, *np.quantile(known, [_TAIL, 1 - _TAIL])) / 2
    z = np.where(missing, 0.0, np.clip((inside - middle) / scale, -_FAR, _FAR))
    return [*terms, z, z * z]
