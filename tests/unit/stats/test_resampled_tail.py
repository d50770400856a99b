from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flytekitplugins.wbmon.stats.resampled_tail import upper_tail_probability, upper_tail_quantile

DRAWN = np.sort(stats.t.rvs(9, size=2000, random_state=np.random.default_rng(1)))


@settings(max_examples=80)
@given(st.floats(1e-100, 0.99), st.floats(1e-9, 0.01))
def test_beyond_the_quantile_the_probability_is_at_most_the_level(level, step):
    x = upper_tail_quantile(DRAWN, level, degrees=9)
    assert upper_tail_probability(DRAWN, x + step * abs(x), degrees=9) <= level
    assert upper_tail_probability(DRAWN, x - 1e-9 * abs(x), degrees=9) > level * (1 - 1e-6)


def test_within_the_resamples_the_observed_one_is_counted_among_them():
    assert upper_tail_probability(DRAWN, DRAWN[-100], degrees=9) == 101 / 2001
    assert upper_tail_probability(DRAWN, -99.0, degrees=9) == 1.0


@pytest.mark.parametrize("tail", [1e-4, 1e-6, 1e-9])
def test_the_tail_of_a_students_t_is_continued_as_it_is(tail):
    drawn = stats.t.isf(np.arange(1, 5001)[::-1] / 5001, 9)
    assert upper_tail_quantile(drawn, tail, degrees=9) == pytest.approx(
        stats.t.isf(tail, 9), rel=0.03
    )


@pytest.mark.parametrize("drawn", [DRAWN[-150:], np.r_[DRAWN, [math.inf] * 40], DRAWN - 99])
def test_a_tail_that_cannot_be_continued_ends_with_its_resamples(drawn):
    n = len(drawn)
    assert upper_tail_probability(drawn, 1e9, degrees=9) >= 1 / (1 + n)
    assert upper_tail_quantile(drawn, 1e-9, degrees=9) == math.inf
