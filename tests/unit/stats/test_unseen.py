from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from flytekitplugins.wbmon.stats.unseen import unseen_category_test, unseen_mass_test

ZIPF = np.arange(1, 20_001) ** -1.6
ZIPF /= ZIPF.sum()


def test_a_new_category_of_many_rows_is_no_chance():
    n_new, p_value, effect = unseen_category_test([900, 100, 0], [850, 100, 50])

    assert n_new == 50
    assert p_value < 1e-12
    assert effect == pytest.approx(0.05, abs=1e-3)


def test_a_new_category_of_five_rows_has_the_chance_of_five_coins():
    _, p_value, _ = unseen_category_test([1000, 0], [995, 5])

    assert p_value == pytest.approx(1 / 32, rel=0.02)


def test_rare_categories_are_expected_to_be_new():
    _, p_value, effect = unseen_category_test(
        [100, *[1] * 50, *[0] * 50], [100, *[0] * 50, *[1] * 50]
    )

    assert p_value == pytest.approx(1)
    assert effect == 0


def test_new_categories_of_an_empty_window_are_undefined():
    assert math.isnan(unseen_category_test([0, 0], [1, 2])[1])
    assert math.isnan(unseen_category_test([1, 2], [0, 0])[1])


def test_one_row_may_be_a_window():
    # the row of the reference and the nine others: all nine are new, and 9 (9/10)^9 are expected
    expected = 9 * 0.9**9 + 0.9
    assert unseen_category_test([1, 0], [0, 9])[::2] == pytest.approx((9, (9 - expected) / 9))
    assert unseen_category_test([9, 0], [0, 1])[::2] == pytest.approx((1, 1 - 0.1 - 9 * 0.1**9))


def test_new_categories_alarm_no_more_often_than_they_should():
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 301)
    share /= share.sum()
    p_values = [
        unseen_category_test(rng.multinomial(1000, share), rng.multinomial(500, share))[1]
        for _ in range(400)
    ]

    assert np.mean(np.array(p_values) <= 0.05) <= 0.05


@pytest.mark.parametrize(
    ("reference", "current"),
    [([60, 30, 0, 0, 0, 1], [20, 8, 7, 3, 1, 0]), ([100, 0], [95, 9]), ([9, 3, 0], [40, 20, 30])],
)
def test_new_rows_have_the_smallest_of_all_chernoff_bounds(reference, current):
    sizes, m = np.add(reference, current), sum(current)
    chance = (m / sizes.sum()) ** sizes
    n_new = sum(c for r, c in zip(reference, current, strict=True) if r == 0)

    def log_bound(s: float) -> float:
        return float(np.log1p(chance * np.expm1(s * sizes)).sum()) - s * n_new

    best = optimize.minimize_scalar(
        log_bound, bounds=(0, 3), method="bounded", options={"xatol": 1e-9}
    )
    found = unseen_category_test(reference, current)

    expected = float((chance * sizes).sum())
    assert found == pytest.approx((n_new, math.exp(best.fun), (n_new - expected) / m), rel=1e-5)


@pytest.mark.parametrize("statistic", [unseen_category_test, unseen_mass_test])
def test_small_integers_do_not_overflow(statistic):
    a, b = np.array([200, 90, 0], dtype=np.uint8), np.array([250, 200, 80], dtype=np.uint8)
    wide = statistic(a.astype(float), b.astype(float))
    for found in (statistic(a, b), statistic(a, b.astype(float)), statistic(a.astype(float), b)):
        np.testing.assert_array_equal(found, wide)


# --- weights: the elements of lists


def test_halves_of_rows_count_as_the_rows_that_they_make():
    # 100 elements of lists of two, each of another name, half of them in either window
    a, b = [475, *np.repeat([0.5, 0], 50)], [475, *np.repeat([0, 0.5], 50)]
    assert unseen_category_test(a, b)[1] > 0.5
    # as many rows of names of their own
    a, b = [450, 0, *np.repeat([0.5, 0], 50)], [425, 25, *np.repeat([0, 0.5], 50)]
    whole = [450, 0, *np.repeat([1, 0], 25)], [425, 25, *np.repeat([0, 1], 25)]
    assert unseen_category_test(a, b) == pytest.approx(unseen_category_test(*whole))


@given(st.floats(0.01, 0.99), st.floats(0.001, 60), st.integers(1, 200))
def test_fewer_rows_of_a_weight_give_a_larger_bound(chance, s, n_rows):
    def share_of_bound(t: float) -> float:
        return float(np.logaddexp(np.log1p(-(chance**t)), t * (math.log(chance) + s))) / t

    more = share_of_bound(n_rows + 1)
    assert more <= share_of_bound(n_rows) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize(("n", "m"), [(600, 600), (300, 3000), (3000, 300)])
def test_new_elements_of_lists_alarm_no_more_often_than_they_should(n, m):
    rng = np.random.default_rng(0)

    def window(n_rows: int) -> np.ndarray:
        # lists of one to three elements
        sizes = rng.integers(1, 4, n_rows)
        names = rng.choice(len(ZIPF), sizes.sum(), p=ZIPF)
        return np.bincount(names, weights=np.repeat(1 / sizes, sizes), minlength=len(ZIPF))

    p_values = [unseen_category_test(window(n), window(m))[1] for _ in range(100)]

    assert np.mean(np.array(p_values) <= 0.05) <= 0.05


# --- names that are not known


def test_the_unseen_mass_is_that_of_the_single_rows_of_the_reference():
    # Good: 20 of 200 rows are the only ones of their category, so a tenth of the rows is new
    reference = [100, *[2] * 40, *[1] * 20, 0]
    found = unseen_mass_test(reference, [*[0] * 61, 0])
    assert math.isnan(found.p_value)
    found = unseen_mass_test(reference, [900, *[0] * 60, 100])
    assert (found.n_new, found.p_value, found.effect) == (100, pytest.approx(0.5), 0.0)
    found = unseen_mass_test(reference, [700, *[0] * 60, 300])
    share = 320 / 1200
    error = math.sqrt(share * (1 - share) * (1 / 200 + 1 / 1000) + 80 / 200**2)
    assert found.effect == pytest.approx(0.2)
    assert found.error == pytest.approx(error)
    assert found.p_value == pytest.approx(math.erfc(0.2 / error / math.sqrt(2)) / 2)


def test_a_reference_without_rare_categories_lets_expect_nothing_new():
    found = unseen_mass_test([500, 500, 0], [500, 400, 100])
    assert found.effect == pytest.approx(0.1)
    assert found.p_value < 1e-12
    assert unseen_mass_test([500, 500, 0], [500, 500, 0]) == (0, 1.0, 0.0, 0.0)


def test_the_unseen_mass_of_an_empty_window_is_undefined():
    assert all(map(math.isnan, unseen_mass_test([0, 0], [1, 2])))
    assert all(map(math.isnan, unseen_mass_test([1, 2], [0, 0])))


@pytest.mark.parametrize("exponent", [1.2, 1.6, 2.0])
@pytest.mark.parametrize(("n", "m"), [(150, 5000), (300, 5000), (1000, 20_000)])
def test_rows_without_names_alarm_no_more_often_than_they_should(exponent, n, m):
    rng = np.random.default_rng(1)
    share = np.arange(1, 20_001) ** -exponent
    share /= share.sum()
    p_values = [
        unseen_mass_test(rng.multinomial(n, share), rng.multinomial(m, share)).p_value
        for _ in range(400)
    ]

    # nominal 5 %, and three Monte-Carlo errors
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("n", "m", "power"), [(300, 5000, 0.95), (1000, 20_000, 0.99)])
def test_a_tenth_of_new_rows_is_found_though_no_name_is_known(n, m, power):
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(100):
        new = rng.binomial(m, 0.1)
        current = np.append(rng.multinomial(m - new, ZIPF), new)
        p_values.append(unseen_mass_test([*rng.multinomial(n, ZIPF), 0], current).p_value)

    assert np.mean(np.array(p_values) <= 0.05) >= power


def test_one_row_may_be_a_window_of_which_no_name_is_known():
    # the only row of the reference is alone, so all rows are expected to be new
    assert unseen_mass_test([1, 0], [0, 9])[::2] == (9, 0.0)
    assert unseen_mass_test([9, 0], [0, 1])[::2] == (1, 1.0)


def test_categories_of_one_and_of_two_rows_say_how_much_is_unseen():
    """Parts of a row count as one row, what is more than one as two; three say nothing."""
    reference = [100, *[3] * 20, *[2] * 10, *[1.5] * 4, *[1] * 8, *[0.5] * 12, 0]
    n, m = 100 + 60 + 20 + 6 + 8 + 6, 400
    found = unseen_mass_test(reference, [300, *[0] * 54, 100])

    once, twice = 8 + 6, 20 + 6
    share = (once + 100) / (n + m)
    assert found.effect == pytest.approx(100 / m - once / n)
    assert found.error**2 == pytest.approx(share * (1 - share) * (1 / n + 1 / m) + twice / n**2)


def test_thirds_of_rows_are_expected_to_be_new_as_whole_rows_are():
    """Categories of a row and a third, of which a window of a tenth has a third."""
    reference, current = [810, *[1] * 90, 0], [9, *[1 / 3] * 90, 61]
    m, sizes = 100, [819, *[4 / 3] * 90, 61]
    expected = sum(size * 0.1**size for size in sizes)

    # sizes are rounded to hundredths
    assert unseen_category_test(reference, current)[2] == pytest.approx(
        (61 - expected) / m, abs=5e-4
    )


def test_a_heavy_row_is_one_row():
    """Of weighted rows the weights do not say how many there are."""
    reference, rows = [100.0, 1.2, 1.2, 2.4, 0.9, 0.0], [90, 1, 1, 2, 3, 0]
    found = unseen_mass_test(reference, [90.0, 0, 0, 0, 0, 10.0], rows)
    n, m = 105.7, 100
    # three rows of 0.9 together may be one, since elements of a list weigh parts of a row
    once, twice = 1.2 + 1.2 + 0.9, 2.4
    share = (once + 10) / (n + m)
    assert found.effect == pytest.approx(0.1 - once / n)
    assert found.error == pytest.approx(
        math.sqrt(share * (1 - share) * (1 / n + 1 / m) + twice / n**2)
    )
