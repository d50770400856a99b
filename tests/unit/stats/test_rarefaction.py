from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.stats.rarefaction import chance_drawn, chance_drawn_once, log_factorial


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.data())
def test_both_chances_are_those_of_all_choices_of_rows(rows, data):
    n = len(rows)
    m = data.draw(st.integers(1, n))
    counts = np.bincount(rows, minlength=4)
    choices = [np.bincount(some, minlength=4) for some in combinations(rows, m)]

    drawn = np.mean([chosen > 0 for chosen in choices], axis=0)
    once = np.mean([chosen == 1 for chosen in choices], axis=0)

    assert chance_drawn(counts, n, m) == pytest.approx(drawn, abs=1e-12)
    assert chance_drawn_once(counts, n, m) == pytest.approx(once, abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 10**9), st.data())
def test_chances_of_many_rows_agree_with_the_product_of_shares(n, data):
    m = data.draw(st.integers(0, n))
    count = data.draw(st.integers(0, min(n, 50)))
    missed = math.prod(max(0, n - m - i) / (n - i) for i in range(count))
    chance = chance_drawn(np.array([count]), n, m)[0]
    assert chance == pytest.approx(1 - missed, abs=1e-5)
    assert 0 <= chance <= 1


def test_log_factorials_agree_with_the_gamma_function():
    x = np.array([0, 1, 2, 7, 8, 9, 20, 1000, 10**9])
    assert log_factorial(x) == pytest.approx([math.lgamma(int(i) + 1) for i in x], rel=1e-11)


def test_log_factorials_are_exact_to_the_last_digits_where_the_series_begins():
    x = np.arange(60)
    exact = [math.log(math.factorial(i)) for i in range(60)]
    assert log_factorial(x) == pytest.approx(exact, rel=1e-14, abs=1e-13)
    assert log_factorial(x)[14:19] == pytest.approx(exact[14:19], rel=0, abs=2e-14)


def test_no_rows_draw_nothing_and_all_rows_everything():
    counts = np.array([0, 1, 5])
    assert chance_drawn(counts, 6, 0).tolist() == [0, 0, 0]
    assert chance_drawn(counts, 6, 6).tolist() == [0, 1, 1]
    assert chance_drawn_once(counts, 6, 6) == pytest.approx([0, 1, 0])
