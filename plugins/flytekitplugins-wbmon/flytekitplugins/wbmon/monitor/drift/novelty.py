"""Values of a window that the reference does not have: new categories, and replaced identifiers.

Of many values a profile knows a sample, those with the lowest hashes. What two windows have below
the lower one of their largest hashes is known of both, and can be compared as if there were no
other values.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flytekitplugins.wbmon.monitor.drift.distances import sample_factor, scaled_counts
from flytekitplugins.wbmon.monitor.drift.report import Check
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.turnover import are_turned_over
from flytekitplugins.wbmon.monitor.profiles.feature import UNSEEN_LIMIT, FeatureProfile, name_hash
from flytekitplugins.wbmon.stats.arrays import Floats
from flytekitplugins.wbmon.stats.distinct import shared_sample
from flytekitplugins.wbmon.stats.evidence import normal_distance
from flytekitplugins.wbmon.stats.unseen import unseen_category_test, unseen_mass_test

_HASHES = 2**64


def unseen_check(a: Floats, b: Floats, rule: DriftRule, name: str) -> Check | None:
    """Test for rows in values that the reference does not have; None if there are none.

    Args:
        a: Rows of each value in the reference; shape `(k,)`.
        b: Rows of each in the current window; shape `(k,)`.
        rule: Gives the level of the lower bound.
        name: Name of the check.
    """
    n_new, p_value, effect = unseen_category_test(a, b)
    if not n_new > 0:
        return None
    # Hoeffding's one-sided bound for a share of the current window
    margin = math.sqrt(math.log(1 / rule.alpha) / 2 / float(b.sum()))
    return Check(
        name=name,
        test="unseen",
        statistic=n_new,
        p_value=p_value,
        effect_size=effect,
        effect_low=max(0.0, effect - margin),
    )


def unseen_mass_check(
    a: Floats, b: Floats, rule: DriftRule, name: str, *, rows: NDArray[np.int64] | None = None
) -> Check:
    """Test as `unseen_check`, where the last count is of several values that the reference lacks.

    Args:
        a: Rows of each value in the reference; shape `(k,)`.
        b: Rows of each in the current window; shape `(k,)`.
        rule: Gives the level of the lower bound.
        name: Name of the check.
        rows: Rows of each value in the reference, if `a` is of weighted ones; shape `(k,)`.
    """
    found = unseen_mass_test(a, b, rows)
    margin = max(0.0, normal_distance(rule.alpha)) * found.error
    return Check(
        name=name,
        test="unseen",
        statistic=found.n_new,
        p_value=found.p_value,
        effect_size=found.effect,
        effect_low=max(0.0, found.effect - margin),
    )


def new_categories_check(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Check | None:
    """Test for rows in categories that the reference does not have; None if there are none.

    Where both windows have more names outside the table than they remember, the names that both
    would remember are compared, and stand for all names outside the table.
    """
    if are_all_named(reference, current):
        return unseen_check(*category_counts(reference, current), rule, "new_categories")
    if not np.asarray(reference.counts)[-1]:
        # every name outside the table is new
        a, b = category_counts(reference, current)
        return unseen_mass_check(a, b, rule, "new_categories", rows=_rows(reference, len(a)))
    found = unseen_check(*_remembered(reference, current), rule, "new_categories")
    if found is None:
        return None
    counts = np.asarray(current.counts)
    outside = float(counts[-1] / counts.sum())
    return replace(
        found, effect_size=outside * found.effect_size, effect_low=outside * found.effect_low
    )


def new_identifiers_check(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Check | None:
    """Test for rows in new identifiers, where those of the reference should recur; None without.

    How many should, the rows of the reference say that are alone with theirs. Customers come and
    go, and orders are new in every window: whether so many new ones are usual, past windows decide.
    Categories may be such identifiers, too, if nearly all were replaced.
    """
    if reference.kind == "category":
        if not are_turned_over(reference, current):
            return None
        found = new_categories_check(reference, current, rule)
        return None if found is None else replace(found, name="new_identifiers")
    a, b = _sampled(reference, current)
    if reference.kind != "identifier" or not b.any():
        return None
    found = unseen_check(a, b, rule, "new_identifiers")
    # where nearly all are alone in the reference, nearly all may be new
    return found if found is not None and found.effect_size >= rule.warn_effect else None


def known_rows(check: Check, reference: FeatureProfile, current: FeatureProfile) -> Floats | None:
    """Rows of a window in values that a check knows and in others; None if it has no sample.

    Args:
        check: A check of this module.
        reference: The values of the reference window.
        current: Those of the window; the rows are scaled to effective ones.
    """
    if check.name == "new_identifiers" and reference.kind == "category":
        a, b = category_counts(reference, current)
    elif check.name == "new_identifiers" and reference.kind == "identifier":
        a, b = _sampled(reference, current)
    elif check.name == "new_categories" and np.asarray(reference.counts)[-1]:
        a, b = _remembered(reference, current)
    else:
        return None
    return np.array([b[a > 0].sum(), b[a == 0].sum()])


def category_counts(reference: FeatureProfile, current: FeatureProfile) -> tuple[Floats, Floats]:
    """Counts of both windows over the same categories: the table, then the names outside it.

    If a window has reached the limit of remembered names outside the table, its list of them is
    incomplete, and the last count is of all others.
    """
    a, b = scaled_counts(reference), scaled_counts(current)
    more_a, more_b = _remembered(reference, current)
    if not are_all_named(reference, current):
        more_a = np.append(more_a, max(0.0, a[-1] - more_a.sum()))
        more_b = np.append(more_b, max(0.0, b[-1] - more_b.sum()))
    return np.append(a[:-1], more_a), np.append(b[:-1], more_b)


def are_all_named(reference: FeatureProfile, current: FeatureProfile) -> bool:
    """Whether both windows remember every name outside the table."""
    return max(len(reference.unseen), len(current.unseen)) < UNSEEN_LIMIT


def new_categories(reference: FeatureProfile, current: FeatureProfile) -> tuple[str, ...]:
    """Names that the reference certainly does not have, most frequent first."""
    new = set(_names(reference, current)) - set(reference.unseen)
    return tuple(sorted(new, key=lambda name: (-current.unseen.get(name, 0.0), name)))


def _names(reference: FeatureProfile, current: FeatureProfile) -> list[str]:
    """Names outside the table that each window remembers if it has them."""
    limited = [each for each in (reference, current) if len(each.unseen) >= UNSEEN_LIMIT]
    limit = min((max(map(name_hash, each.unseen)) for each in limited), default=_HASHES)
    names = dict.fromkeys([*reference.unseen, *current.unseen])
    return [name for name in names if name_hash(name) < limit]


def _remembered(reference: FeatureProfile, current: FeatureProfile) -> tuple[Floats, Floats]:
    names = _names(reference, current)
    a, b = (
        sample_factor(each) * np.array([each.unseen.get(name, 0.0) for name in names])
        for each in (reference, current)
    )
    return a, b


def _sampled(reference: FeatureProfile, current: FeatureProfile) -> tuple[Floats, Floats]:
    if reference.sketch is None or current.sketch is None:
        return np.empty(0), np.empty(0)
    sample = shared_sample(reference.sketch, current.sketch)
    return sample.one.astype(np.float64), sample.other.astype(np.float64)


def _rows(reference: FeatureProfile, n_categories: int) -> NDArray[np.int64] | None:
    """Rows of each category of a weighted reference without a name outside its table."""
    if reference.cell_rows is None:
        return None
    rows = np.zeros(n_categories, dtype=np.int64)
    rows[: len(reference.categories)] = reference.cell_rows[:-1]
    return rows
