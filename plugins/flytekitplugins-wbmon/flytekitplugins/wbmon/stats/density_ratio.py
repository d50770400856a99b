"""How much more often rows like those of a reference occur in another window.

References:
    Qin (1998), Inferences for case-control and semiparametric two-sample density ratio models.
    Sugiyama, Suzuki & Kanamori (2012), Density ratio estimation in machine learning. Donoho &
    Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage, for the threshold.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from flytekitplugins.wbmon.stats.influence import effective_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FEW = 20  # distinct values that are told apart, each by itself
_TAIL = 0.001  # values further out count as its quantile
_FAR = 1e6  # quartile ranges; of heavier tails the squares would be all that counts
_NO_SPREAD = 1e-12  # of a constant, but for rounding
_STEPS = 300


def density_ratio(
    reference: Floats, current: Floats, weight: Floats, current_weight: Floats
) -> Floats:
    """Density of the current window over that of the reference, at the rows of the reference.

    A logistic regression tells the windows apart by the value and the square of each feature, by
    whether it is missing, and by each of its values if there are at most 20; its odds are the
    ratio, up to a constant factor. It is exact for normal features that shift or spread and for
    shares of categories that change, one by one; what changes only jointly is not followed.

    Features whose means differ no more than those of `p` terms do by chance, `sqrt(2 log p)`
    standard errors, are left out: where nothing changed the ratio is 1, however many features.

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
    sizes = effective_rows(weight), effective_rows(current_weight)
    shares = weight / weight.sum(), current_weight / current_weight.sum()
    terms = _differing(_terms(reference, np.concatenate([reference, current])), shares, sizes)
    if not terms.shape[1]:
        return np.ones(n)
    # both windows weigh alike, together four times what the difference of two means has
    information = 4 * sizes[0] * sizes[1] / sum(sizes)
    with threadpool_limits(1):
        model = LogisticRegression(max_iter=_STEPS).fit(
            terms,
            np.arange(len(terms)) >= n,
            sample_weight=np.concatenate(shares) * information / 2,
        )
        odds: Floats = model.decision_function(terms[:n])
    ratio: Floats = np.exp(odds - odds.max())
    return ratio


def share_outside(reference: Floats, current: Floats, current_weight: Floats) -> float:
    """Share of the current window whose rows no row of the reference can stand for.

    Of the feature for which it is largest: rows beyond the range of the reference, of a value it
    does not have among at most 20, missing where it has all, or present where it has none.

    Args:
        reference: Features; `nan` where missing; shape `(n, d)`, `n >= 1`.
        current: The same features in the other window; shape `(m, d)`, `m >= 1`.
        current_weight: Row weights of the other window, `> 0`; shape `(m,)`.

    Returns:
        In [0, 1].
    """
    found = [_are_outside(*columns) for columns in zip(reference.T, current.T, strict=True)]
    return max(float(np.average(outside, weights=current_weight)) for outside in found)


def _are_outside(reference: Floats, current: Floats) -> NDArray[np.bool_]:
    is_missing = np.isnan(current)
    known = reference[~np.isnan(reference)]
    levels = np.unique(known)
    if not len(levels):
        return ~is_missing
    if len(levels) <= _FEW:
        among = np.isin(current, levels)
    else:
        among = (current >= levels[0]) & (current <= levels[-1])
    return np.where(is_missing, len(known) == len(reference), ~among)


def _differing(
    features: list[Floats], shares: tuple[Floats, Floats], sizes: tuple[float, float]
) -> Floats:
    """The terms of the features that differ between the windows, of standard deviation 1.

    Args:
        features: Terms of each feature, rows of the reference first; shapes `(n + m, k)`.
        shares: Weight of each row of the two windows; each sums to 1.
        sizes: Effective number of rows of the two windows.
    """
    n = len(shares[0])
    limit = math.sqrt(2 * math.log(max(2, sum(each.shape[1] for each in features))))
    kept = []
    for terms in features:
        windows = terms[:n], terms[n:]
        means = [share @ each for share, each in zip(shares, windows, strict=True)]
        spreads = [
            share @ (each - mean) ** 2
            for share, each, mean in zip(shares, windows, means, strict=True)
        ]
        # what does not vary in the reference cannot weigh its rows
        varies = spreads[0] > _NO_SPREAD
        # the spread of the larger: that of few rows can be 0 by chance
        error = np.maximum(*spreads) * (1 / sizes[0] + 1 / sizes[1])
        if (np.abs(means[1] - means[0])[varies] > limit * np.sqrt(error[varies])).any():
            kept.append(terms[:, varies] / np.sqrt(spreads[0][varies]))
    return np.concatenate(kept, axis=1) if kept else np.empty((n + len(shares[1]), 0))


def _terms(reference: Floats, rows: Floats) -> list[Floats]:
    """What the regression may be fitted on, by feature; shapes `(n + m, k)`."""
    return [
        np.column_stack(_terms_of(reference[:, column], rows[:, column]))
        for column in range(reference.shape[1])
    ]


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
