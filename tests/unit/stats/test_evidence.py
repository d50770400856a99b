from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from flytekitplugins.wbmon.stats.evidence import (
    SHIFTS,
    accumulated_evidence,
    cautious_p_value,
    e_value,
    holm,
    normal_distance,
    simes_p_value,
)
from flytekitplugins.wbmon.stats.multiplicity import benjamini_hochberg

chances = st.lists(st.floats(1e-12, 1), min_size=1, max_size=12)


@given(chances)
def test_the_p_value_of_all_is_the_least_corrected_for_the_false_discovery_rate(p_values):
    assert simes_p_value(p_values) == pytest.approx(benjamini_hochberg(p_values).min())


def test_of_equal_p_values_simes_returns_that_one_and_of_none_nan():
    assert simes_p_value([0.03] * 7) == pytest.approx(0.03)
    assert simes_p_value([math.nan, 0.2]) == 0.2
    assert math.isnan(simes_p_value([math.nan]))


def test_holm_reproduces_a_worked_example():
    # Holm (1979) steps down: 4 * 0.01, 3 * 0.02 > 2 * 0.022, then 0.08
    assert holm([0.022, 0.01, 0.08, 0.02]) == pytest.approx([0.06, 0.04, 0.08, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    found = holm([math.nan, 0.03])
    assert math.isnan(found[0])
    assert found[1] == 0.03


@given(chances, st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    rejected = set()
    for step, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] > alpha / (len(p_values) - step):
            break
        rejected.add(int(place))
    # rounding may differ at the limit itself
    sure = {i for i, p in enumerate(holm(p_values)) if p <= alpha * (1 - 1e-9)}
    maybe = {i for i, p in enumerate(holm(p_values)) if p <= alpha * (1 + 1e-9)}
    assert sure <= rejected <= maybe


def students_p_value(past, value):
    """Of the next value, if the past ones are normal."""
    t = (value - np.mean(past)) / (np.std(past, ddof=1) * math.sqrt(1 + 1 / len(past)))
    return stats.t.sf(t, len(past) - 1)


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=40), st.floats(-99, 99))
def test_a_cautious_p_value_is_that_of_students_t_or_above_it(past, value):
    if np.std(past) == 0 or value < max(np.median(past), np.mean(past)):
        return
    assert cautious_p_value(past, value) >= students_p_value(past, value) - 1e-9


def test_a_cautious_p_value_allows_for_skewed_values_and_for_heavy_tails():
    # median 1; above it 2 and 5; n - 1 = 4 degrees of freedom
    spread = math.sqrt(2 * (1 + 16) / 4)
    expected = stats.t.sf(8 / (spread * math.sqrt(1.2)), 4)
    assert cautious_p_value([0.0, 0.5, 1.0, 2.0, 5.0], 9.0) == pytest.approx(expected)
    even = [-1.0, 1.0] * 20 + [0.0]  # mean and median 0, both spreads 1
    expected = stats.t.sf(4 / math.sqrt(1 + 1 / 41), 12)
    assert cautious_p_value(even, 4.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("moods", "times"),
    [(stats.norm(), 1), (stats.t(5), 4), (stats.gumbel_r(), 4), (stats.lognorm(0.5), 7)],
)
def test_a_cautious_p_value_is_rare_for_moods_of_many_shapes(moods, times):
    rng = np.random.default_rng(5)
    rows = moods.rvs(size=(6000, 41), random_state=rng).tolist()
    hits = sum(cautious_p_value(row[:-1], row[-1]) <= 0.001 for row in rows)
    # where the tail is heavier than Student's, so many times as often as it says
    assert hits <= times * 6000 * 0.001
    if times > 1:
        plain = sum(students_p_value(row[:-1], row[-1]) <= 0.001 for row in rows)
        assert hits <= 0.7 * plain


def test_a_past_without_spread_allows_rounding_alone():
    past = [0.3, 0.3, 0.3]
    assert cautious_p_value(past, 0.3 * (1 + 1e-12)) == 0.5
    assert cautious_p_value(past, 0.31) == 0
    assert cautious_p_value(past, 0.29) == 1


def test_a_normal_distance_is_the_quantile_and_finite():
    for p in (0.5, 0.01, 1e-20):
        assert normal_distance(p) == pytest.approx(stats.norm.isf(p))
    assert 30 < normal_distance(0.0) < 40
    assert -10 < normal_distance(1.0) < -8


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_evidence_of_a_p_value_is_one_on_average_if_nothing_changed(shift):
    # over z, as half of the mean comes from very small p-values
    def mean(z):
        return e_value(float(stats.norm.sf(z)), shift) * stats.norm.pdf(z)

    assert integrate.quad(mean, -8, 20, limit=500)[0] == pytest.approx(1, abs=1e-3)


@given(st.floats(1e-300, 1), st.floats(1e-300, 1), st.sampled_from(SHIFTS))
def test_a_smaller_p_value_is_more_evidence(p, other, shift):
    low, high = sorted((p, other))
    assert e_value(low, shift) >= e_value(high, shift) * (1 - 1e-9)


@pytest.mark.parametrize("p", [0.9, 0.05, 0.001])
def test_the_evidence_is_the_likelihood_ratio_of_a_shift(p):
    z = stats.norm.isf(p)
    assert e_value(p, 2.0) == pytest.approx(stats.norm.pdf(z, 2) / stats.norm.pdf(z))


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=6))
def test_the_evidence_is_a_sum_over_all_windows_at_which_a_change_may_have_begun(p_values):
    found: tuple[float, ...] = ()
    for p in p_values:
        found = accumulated_evidence(found, p)
    products = [
        math.prod(e_value(p, SHIFTS[1]) for p in p_values[begin:]) for begin in range(len(p_values))
    ]
    assert found[1] == pytest.approx(sum(products))


def test_false_alarms_of_the_accumulated_evidence_are_as_rare_as_their_limit_says():
    rng = np.random.default_rng(0)
    limit, n_windows, n_alarms = 50.0, 40_000, 0
    evidence: tuple[float, ...] = ()
    for p in rng.random(n_windows).tolist():
        evidence = accumulated_evidence(evidence, p)
        if np.mean(evidence) >= limit:
            n_alarms, evidence = n_alarms + 1, ()
    assert 0 < n_alarms <= n_windows / limit


def test_a_small_lasting_change_is_found_that_no_single_window_shows():
    evidence: tuple[float, ...] = ()
    n_windows = 0
    while not evidence or np.mean(evidence) < 1460:
        evidence, n_windows = accumulated_evidence(evidence, 0.01), n_windows + 1
    # a shift of 2 gives 14.2 a window: after three 3,080 and, of four sizes, 1,300 on average
    assert n_windows == 4
    assert accumulated_evidence((1e300,) * 4, 0.0) == (1e12,) * 4


def test_p_values_of_successive_values_share_their_past_and_are_independent():
    rng = np.random.default_rng(1)
    rows = [rng.normal(size=12).tolist() for _ in range(3000)]
    p_values = np.array([[cautious_p_value(r[:k], r[k]) for k in range(5, 12)] for r in rows])
    for level in (0.05, 0.01):
        assert np.mean(p_values <= level) <= level
    correlation = np.corrcoef(p_values.T)[np.triu_indices(7, 1)]
    assert np.abs(correlation).max() < 4 / math.sqrt(len(rows))
