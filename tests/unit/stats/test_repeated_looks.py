"""Levels that hold at every look, against published limits and simulated paths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flytekitplugins.wbmon.stats.repeated_looks import Look, exit_limit, exit_probability, validity

looks = st.builds(
    Look,
    n=st.floats(1, 1e6),
    planned=st.one_of(st.none(), st.just("once"), st.integers(1, 10**6)),
    tightest=st.floats(10, 1e5),
)


@given(looks, st.floats(1e-6, 0.5))
def test_the_p_value_of_the_level_is_alpha(look, alpha):
    level = look.level(alpha)
    assert 0 < level <= alpha * (1 + 1e-9)
    if level > 1e-140:
        assert look.p_value(level) == pytest.approx(alpha, rel=1e-6)


@given(looks, st.floats(0, 1), st.floats(0, 1))
def test_a_smaller_p_value_stays_smaller_and_none_shrinks(look, p, q):
    low, high = sorted((p, q))
    assert look.p_value(low) <= look.p_value(high) + 1e-12
    assert look.p_value(p) >= min(p, 1) * (1 - 1e-9) or p < 1e-140


def test_one_look_has_the_level_itself():
    assert Look(n=10, planned="once").level(0.05) == 0.05
    assert Look(n=10, planned="once").p_value(0.3) == 0.3
    assert math.isnan(Look(n=10).p_value(math.nan))


def test_the_exit_probability_is_that_of_the_series_of_the_heat_equation():
    # 1 - 4/pi sum (-1)^k / (2k+1) exp(-(2k+1)^2 pi^2 / 8 c^2): Feller, vol. 2, chapter X
    for limit in (0.3, 0.5, 1.0, 2.0, 3.0):
        k = np.arange(100)
        series = (-1.0) ** k / (2 * k + 1) * np.exp(-((2 * k + 1) ** 2) * np.pi**2 / 8 / limit**2)
        assert exit_probability(limit) == pytest.approx(1 - 4 / np.pi * series.sum(), abs=1e-12)
    assert exit_probability(0.0) == 1.0
    assert exit_probability(30.0) == pytest.approx(4 * stats.norm.sf(30), rel=1e-9)


def test_the_limit_of_five_per_cent_is_the_published_one():
    # the 97.5 % quantile twice over: 2.2414, as for O'Brien-Fleming with unlimited looks
    assert exit_limit(0.05) == pytest.approx(2.2414, abs=5e-5)
    assert Look(n=1000, planned=1000).level(0.05) == pytest.approx(0.025, abs=1e-5)
    assert Look(n=250, planned=1000).level(0.05) == pytest.approx(
        2 * stats.norm.sf(2 * 2.2414), rel=1e-3
    )
    assert Look(n=2000, planned=1000).level(0.05) == Look(n=1000, planned=1000).level(0.05)


def test_the_confidence_sequence_is_that_of_robbins():
    # Waudby-Smith et al. (2024), theorem 2.2, with a standard deviation of 1
    n, r2 = 300, 8.2 / 1000
    half = math.sqrt(2 * (n * r2 + 1) / (n * n * r2) * math.log(math.sqrt(n * r2 + 1) / 0.05))
    z = -stats.norm.ppf(Look(n=n, tightest=1000).level(0.05) / 2)
    assert z / math.sqrt(n) == pytest.approx(half)


def test_the_confidence_sequence_is_tightest_where_it_is_asked_to_be():
    levels = {n: Look(n=n, tightest=500).level(0.05) for n in range(100, 2000, 100)}
    assert max(levels, key=lambda n: levels[n]) == 500


@pytest.mark.parametrize(("planned", "least", "most"), [(1000, 0.03, 0.052), (None, 0.005, 0.052)])
def test_paths_without_drift_are_rarely_called_different_at_any_look(planned, least, most):
    rng = np.random.default_rng(0)
    n = np.arange(20, 1001, 20)
    paths = np.cumsum(rng.normal(0, math.sqrt(20), (4000, len(n))), axis=1) / np.sqrt(n)
    levels = [Look(n=int(each), planned=planned, tightest=300).level(0.05) for each in n]
    limits = -stats.norm.ppf(np.array(levels) / 2)
    assert least < (np.abs(paths) > limits).any(axis=1).mean() < most
    assert (np.abs(paths) > 1.96).any(axis=1).mean() > 0.25


def test_what_an_interval_holds_for_is_said_in_words():
    assert validity("planned", 2000, "units") == "valid at every look up to 2,000 units"
    assert validity("once", None, "items") == "valid for one look only"
    assert validity("any", None, "items") == "valid at any number of looks"
