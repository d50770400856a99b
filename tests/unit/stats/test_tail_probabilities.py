from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flytekitplugins.wbmon.stats.tail_probabilities import (
    chi_squared_sf,
    kolmogorov_sf,
    normal_sf,
    student_t_isf,
    student_t_sf,
)


@pytest.mark.parametrize(("degrees", "critical"), [(1, 3.841), (10, 18.307), (100, 124.342)])
def test_tabulated_critical_values_of_chi_squared_have_their_level(degrees, critical):
    # Fisher (1925), Statistical methods for research workers, table III
    assert chi_squared_sf(critical, degrees=degrees) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(("x", "level"), [(1.2238, 0.1), (1.3581, 0.05), (1.6276, 0.01)])
def test_tabulated_critical_values_of_kolmogorov_have_their_level(x, level):
    # Smirnov (1948), Table for estimating the goodness of fit of empirical distributions
    assert kolmogorov_sf(x) == pytest.approx(level, abs=1e-4)


@given(st.floats(0.01, 5), st.floats(0.01, 5))
def test_tails_fall(a, b):
    low, high = sorted((a, b))

    assert kolmogorov_sf(low) >= kolmogorov_sf(high) - 1e-12
    assert normal_sf(low) >= normal_sf(high)
    assert chi_squared_sf(low, degrees=3) >= chi_squared_sf(high, degrees=3) - 1e-12


def test_tails_end_in_zero_and_one():
    assert kolmogorov_sf(0) == 1
    assert kolmogorov_sf(40) == 0
    assert chi_squared_sf(0, degrees=2) == 1
    assert chi_squared_sf(math.inf, degrees=2) == 0
    assert normal_sf(0) == 0.5


def test_the_tail_of_an_undefined_statistic_is_undefined():
    assert math.isnan(kolmogorov_sf(math.nan))
    assert math.isnan(chi_squared_sf(math.nan, degrees=2))
    assert math.isnan(student_t_sf(math.nan, degrees=2))


@pytest.mark.parametrize(("degrees", "critical"), [(1, 6.314), (9, 1.833), (30, 1.697)])
def test_tabulated_critical_values_of_student_have_their_level(degrees, critical):
    # Fisher (1925), Statistical methods for research workers, table IV
    assert student_t_sf(critical, degrees=degrees) == pytest.approx(0.05, abs=1e-4)
    assert student_t_sf(-critical, degrees=degrees) == pytest.approx(0.95, abs=1e-4)
    assert student_t_sf(math.inf, degrees=degrees) == 0


@given(st.floats(1e-12, 0.5), st.integers(1, 100))
def test_a_quantile_of_student_has_its_tail(tail, degrees):
    quantile = student_t_isf(tail, degrees=degrees)
    assert student_t_sf(quantile, degrees=degrees) == pytest.approx(tail, rel=1e-6)
    assert quantile == pytest.approx(stats.t.isf(tail, degrees), rel=1e-6, abs=1e-6)


def test_a_quantile_beyond_all_numbers_of_use_is_infinite():
    assert student_t_isf(1e-30, degrees=1) == math.inf
