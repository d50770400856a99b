"""Comparison of one feature in two windows: rates, values and facets, without a verdict.

Both paths of the drift check use it.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from flytekitplugins.wbmon.monitor.drift.collapse import comes_in_batches
from flytekitplugins.wbmon.monitor.drift.compare_values import compare_values
from flytekitplugins.wbmon.monitor.drift.comparison import RATES, SCHEMA_LEVELS, Comparison
from flytekitplugins.wbmon.monitor.drift.distances import ExactDistances
from flytekitplugins.wbmon.monitor.drift.identifiers import are_indistinct, looks_like_identifier
from flytekitplugins.wbmon.monitor.drift.report import Check, Status
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.drift.shares import rate_check
from flytekitplugins.wbmon.monitor.profiles.facets import AGE
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums
from flytekitplugins.wbmon.monitor.profiles.layout import before_new_column
from flytekitplugins.wbmon.stats.distinct import n_clusters, rows_of_most

_OF_A_FACET = ("distribution", "new_categories")
_TOLD_OF_FACETS: tuple[Status, ...] = ("constant", "insufficient", "all_missing", "identifier")
_DAY = 86_400.0
_CYCLES = {"hour": _DAY, "weekday": 7 * _DAY}
_UNEVEN = 0.05  # share of rows that may move only because windows end within a cycle


def compare_feature(
    reference: FeatureProfile,
    current: FeatureProfile,
    rule: DriftRule,
    exact: ExactDistances | None = None,
) -> Comparison:
    """Do every check that the data of the two windows allow.

    Args:
        reference: The feature in the reference window.
        current: The feature in the current window, counted into the layout of the reference.
        rule: Gives the number of rows that a check needs and the level of the confidence bounds.
        exact: Distances computed from the sorted values; None if only counts are available.
    """
    status = _status(reference, current, rule)
    found = Comparison(reference=reference, current=current, status=status)
    if status in SCHEMA_LEVELS:
        return found
    rates = _rate_checks(reference, current, rule)
    if status == "ok":
        found = compare_values(found, rule, exact)
    # a field that was lost is told by few rows, too
    if status in ("ok", "insufficient"):
        found = _with_facets(found, rule)
    if any(SCHEMA_LEVELS[each.status] == "drift" for each in found.changed.values()):
        found = replace(found, status="type_changed")
    elif status == "ok" and not found.checks:
        found = replace(found, status=_status_without_checks(found))
    return replace(found, checks=(*found.checks, *rates))


def _with_facets(found: Comparison, rule: DriftRule) -> Comparison:
    """The comparison with that of each facet, and with the checks of all of them."""
    compared = {}
    for name, facet in found.reference.facets.items():
        if name in found.current.facets and _is_comparable(found, name):
            now = found.current.facets[name]
            if now.status == "missing_column" and _is_chance(found, facet, rule):
                # of objects a field exists only where a row has it: here, it has no value
                now = replace(now, status="ok")
            if clusters := _clusters(found, name):
                # the rows are enough, or the column would not be compared
                pair = _counted_as(facet, clusters[0]), _counted_as(now, clusters[1])
                compared[name] = compare_feature(*pair, replace(rule, min_rows=1))
            else:
                compared[name] = compare_feature(facet, now, rule)
    for name, now in found.current.facets.items():
        if now.status == "new_column" and not _is_chance(found, now, rule):
            before = before_new_column(now, found.reference.n_rows)
            compared[name] = Comparison(reference=before, current=now, status="new_column")
    checks = [
        replace(check, facet=(name, *check.facet))
        for name, each in compared.items()
        for check in each.checks
        if check.facet or check.name in _OF_A_FACET or _is_own(check, found.reference, name)
    ]
    return replace(found, facets=compared, checks=(*found.checks, *checks))


def _is_chance(found: Comparison, only: FeatureProfile, rule: DriftRule) -> bool:
    """Whether a field that `only` one window has may be too rare to be in the other by chance.

    If the rows with a value were spread over both windows, all of them would be in this one with
    the probability `(its share of all rows) ** (rows with a value)`.
    """
    n, m = found.reference.effective_rows, found.current.effective_rows
    own = n if only is found.reference.facets.get(only.name) else m
    with_value = only.effective_rows * (1 - only.missing_share) if only.n_rows else 0.0
    return n + m == 0 or (own / (n + m)) ** with_value > rule.alpha


def _is_own(check: Check, feature: FeatureProfile, facet: str) -> bool:
    """Whether a check says of a facet what no check of its feature says.

    What is missing in the length of a text is missing in the text. A field of a struct is a column
    of its own, and the elements of a list can be missing where the list is not.
    """
    if feature.dtype.startswith("struct"):
        return True
    return feature.kind == "nested" and facet == "elements" and check.name in RATES


def _status_without_checks(found: Comparison) -> Status:
    """Why nothing of the values of a feature could differ."""
    is_counted = _has_test(found.reference) and _has_test(found.current)
    if found.reference.kind == "time" or not is_counted:
        return "untested"
    # of lists that are all empty the length is constant, and there are no elements
    statuses = {facet.status for facet in found.facets.values()}
    told = (status for status in _TOLD_OF_FACETS if status in statuses)
    # of so few rows that no category has enough of them for a test
    return next(told, "untested" if statuses else "insufficient")


def _is_comparable(found: Comparison, facet: str) -> bool:
    """Whether windows cover the cycle of an hour or a weekday evenly; other facets always."""
    if found.reference.kind != "time" or facet not in _CYCLES:
        return True
    return _unevenness(found.reference, facet) + _unevenness(found.current, facet) <= _UNEVEN


def _unevenness(feature: FeatureProfile, facet: str) -> float:
    """Share of rows that a cycle which is not complete displaces, if rows are evenly spread.

    A window of `k + f` cycles holds the first part of the cycle once more than the rest.
    """
    cycles = (feature.maximum - feature.minimum) / _CYCLES[facet]
    if not cycles > 0:
        return 1.0
    part = cycles % 1
    return part * (1 - part) / cycles


def _clusters(found: Comparison, facet: str) -> tuple[float, float] | None:
    """Independent rows that a facet is worth in both windows; None if each row is one.

    Rows that share a text share its format and words, too. The rows of one day are not independent,
    and those of one batch share a time. If the number of rows a day varies by as much as its mean,
    a share `p` of the rows of `d` days has the variance `p (1 - p) / d`; if it varies less, the
    test is conservative. A test of weekdays needs some 36 days on either side. That only the
    current window repeats its times is no reason to doubt it.

    References:
        Kish (1965), Survey sampling, section 5.4, for the design effect of clusters.
    """
    reference, current = found.reference, found.current
    if reference.kind in ("identifier", "text"):
        return _of_repeated(reference, current, facet)
    if reference.kind != "time" or facet == AGE:
        return None
    if facet == "weekday":
        return _days(reference), _days(current)
    before, now = reference.sketch, current.sketch
    if before is None or now is None or not comes_in_batches(reference):
        return None
    return n_clusters(before), n_clusters(now)


def _of_repeated(
    reference: FeatureProfile, current: FeatureProfile, facet: str
) -> tuple[float, float] | None:
    """Rows of a facet of identifiers or texts, divided by the design effect of repeated ones.

    It is the smaller one of both windows: in a window longer than the other an identifier has more
    rows, and one that is in all rows of a window is a finding.
    """
    both = (reference, current)
    effects = []
    for each in both:
        if each.sketch is None or not each.n_values:
            return None
        effect = each.effective_values / n_clusters(each.sketch)
        # a new word is of one identifier, and all its rows must not count as more than one
        effects.append(max(effect, rows_of_most(each.sketch)) if facet == "words" else effect)
    if min(effects) <= 1:
        return None
    one, other = (each.facets[facet].effective_values / min(effects) for each in both)
    return one, other


def _days(times: FeatureProfile) -> float:
    return math.floor((times.maximum - times.minimum) / _DAY) + 1


def _counted_as(facet: FeatureProfile, n_rows: float) -> FeatureProfile:
    """The facet with an effective size of at most as many rows."""
    if facet.effective_values <= n_rows:
        return facet
    sums = facet.weights or WeightSums(rows=float(facet.n_rows), missing=float(facet.n_missing))
    squared = facet.value_weight**2 / n_rows
    return replace(facet, weights=replace(sums, rows_squared=squared, values_squared=squared))


def _has_test(feature: FeatureProfile) -> bool:
    """Whether anything of the values of a feature is counted that windows can differ in."""
    counted = feature.counts is not None or feature.hashes is not None
    return counted or any(_has_test(facet) for facet in feature.facets.values())


def _status(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> Status:
    if current.status != "ok":
        return current.status
    if min(reference.n_rows, current.n_rows) < 1:
        return "insufficient"
    if reference.n_missing == reference.n_rows or current.n_missing == current.n_rows:
        return "all_missing"
    without = [each for each in (reference, current) if not each.n_values]
    if without:
        # what is neither missing nor unreadable is infinite
        return "unreadable" if any(each.n_unreadable for each in without) else "untested"
    if reference.counts is None or current.counts is None:
        return "ok" if _enough_rows(reference, current, rule) else "insufficient"
    return _status_of_values(reference, current, rule)


def _status_of_values(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> Status:
    if min(reference.effective_values, current.effective_values) < rule.min_rows:
        return "insufficient"
    if are_indistinct(reference, current):
        return "untested"
    if reference.kind != "time" and _same_constant(reference, current):
        return "constant"
    if (
        # seconds of events are all different, too
        reference.kind == "number"
        # named in the rule: the user wants it tested, whatever it looks like
        and reference.name not in rule.features
        and looks_like_identifier(reference)
        and looks_like_identifier(current)
    ):
        return "identifier"
    return "ok"


def _same_constant(reference: FeatureProfile, current: FeatureProfile) -> bool:
    if reference.kind == "vector":
        return False
    together = np.asarray(reference.counts) + np.asarray(current.counts)
    in_one_cell = int((together > 0).sum()) == 1
    if reference.edges is not None:
        ends = (reference.minimum, reference.maximum, current.minimum, current.maximum)
        # the ends are floats, which are one for several large whole numbers
        return in_one_cell and len(set(ends)) == 1
    # the last cell is for all other categories, which may be different ones
    return in_one_cell and together[-1] == 0


def _enough_rows(reference: FeatureProfile, current: FeatureProfile, rule: DriftRule) -> bool:
    return min(reference.effective_rows, current.effective_rows) >= rule.min_rows


def _rate_checks(
    reference: FeatureProfile, current: FeatureProfile, rule: DriftRule
) -> list[Check]:
    """Tests of the rates of missing, infinite and unreadable values."""
    if not _enough_rows(reference, current, rule):
        return []
    checks = []
    for name, share in RATES.items():
        before, now = (getattr(each, share) for each in (reference, current))
        n, m = reference.rows_of_rate(before), current.rows_of_rate(now)
        checks.append(rate_check(name, before, n, now, m, rule))
    return [check for check in checks if check is not None]
