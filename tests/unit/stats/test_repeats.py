from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.stats.distinct import merge_sketches, sketch_distinct
from flytekitplugins.wbmon.stats.repeats import repeats_test


def sketch(ids, salt=0):
    """Sketch of identifiers, with other hashes for each salt."""
    bits = (np.asarray(ids, dtype=np.uint64) + np.uint64(salt << 40)) * np.uint64(2**63 - 25)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return sketch_distinct(bits ^ (bits >> np.uint64(31)))


def unique(rng, n, window):
    return np.arange(n) + window * 10**7


def uniform(population):
    return lambda rng, n, window: rng.integers(0, population, n)


def zipf(rng, n, window):
    return np.minimum(rng.zipf(1.3, n), 2**33)


def duplicated(share):
    def draw(rng, n, window):
        n_copies = int(share * n)
        originals = np.arange(n - n_copies) + 10**8
        return np.append(originals, rng.choice(originals, n_copies, replace=False))

    return draw


def one_value(rng, n, window):
    return np.append(np.arange(n - n // 5) + 10**8, np.full(n // 5, 7))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "m"), [(100, 100), (300, 2000), (5000, 500), (100, 20_000)])
@pytest.mark.parametrize(
    "draw",
    [unique, uniform(100), uniform(1000), uniform(20_000), uniform(10**6), zipf],
    ids=["unique", "100", "1000", "20000", "1000000", "zipf"],
)
def test_windows_of_the_same_values_raise_no_more_false_alarms_than_promised(draw, n, m):
    rng = np.random.default_rng(n + m)
    n_windows = 200
    p_values = np.array(
        [
            repeats_test(sketch(draw(rng, n, 0), i), sketch(draw(rng, m, 1), i)).p_value
            for i in range(n_windows)
        ]
    )
    for alpha in (0.05, 0.005):
        # three standard errors, or one window more than none
        chance = 3 * math.sqrt(alpha * (1 - alpha) / n_windows)
        assert (p_values <= alpha).mean() <= alpha + max(chance, 1 / n_windows)


@pytest.mark.parametrize(("n", "m"), [(300, 200), (2000, 2000), (30_000, 200), (20_000, 5000)])
@pytest.mark.parametrize(
    ("draw", "effect"),
    [
        (lambda rng, n, window: np.full(n, 7), 1.0),
        (lambda rng, n, window: np.arange(n) // 2, 0.5),
        (duplicated(0.2), 0.2),
        (one_value, 0.2),
    ],
    ids=["constant", "every row twice", "20 % duplicated", "20 % one value"],
)
def test_repeats_among_unique_values_are_found_and_measured(draw, effect, n, m):
    rng = np.random.default_rng(5)
    results = [
        repeats_test(sketch(unique(rng, n, 0), i), sketch(draw(rng, m, 1), i), alpha=0.005)
        for i in range(20)
    ]

    assert np.mean([result.p_value <= 0.005 for result in results]) >= 0.8
    assert np.mean([result.effect for result in results]) == pytest.approx(effect, rel=0.4)
    assert np.mean([result.lower <= effect for result in results]) == 1.0
    assert np.mean([result.lower > 0 for result in results]) >= 0.8


def test_fewer_repeats_are_no_alarm():
    rng = np.random.default_rng(6)
    result = repeats_test(sketch(rng.integers(0, 50, 400)), sketch(np.arange(300)))
    assert result == (0.0, 1.0, 0.0)


def test_a_longer_window_of_the_same_users_repeats_no_more():
    rng = np.random.default_rng(7)
    short, long = sketch(rng.integers(0, 1000, 300)), sketch(rng.integers(0, 1000, 30_000))
    assert repeats_test(short, long).effect < 0.03


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 5), max_size=20),
    st.lists(st.integers(0, 5), max_size=20),
)
def test_the_effect_is_the_difference_of_shares_at_equal_rows(reference, current):
    result = repeats_test(sketch(reference), sketch(current))
    m = min(len(reference), len(current))
    if m == 0:
        assert all(math.isnan(value) for value in result)
        return

    def distinct(rows):
        rows = np.array(rows)
        chances = [math.comb(len(rows) - (rows == i).sum(), m) for i in set(rows.tolist())]
        return len(chances) - sum(chances) / math.comb(len(rows), m)

    effect = (distinct(reference) - distinct(current)) / m
    assert result.effect == pytest.approx(max(0.0, effect), abs=1e-9)
    assert 0 <= result.lower <= result.effect + 1e-12
    assert 0 <= result.p_value <= 1


def test_the_p_value_is_close_to_that_of_all_divisions_of_the_rows():
    """Twelve rows: three pairs in the current window; 924 divisions."""
    rows = [1, 1, 2, 2, 3, 3, *range(4, 10)]

    def repeats(some):
        return len(some) - len(set(some))

    divisions = [
        repeats([rows[i] for i in chosen])
        - repeats([rows[i] for i in range(12) if i not in chosen])
        for chosen in combinations(range(12), 6)
    ]
    exact = np.mean([division >= 3 for division in divisions])
    p_value = repeats_test(sketch(rows[6:]), sketch(rows[:6])).p_value
    assert 0.5 * exact < p_value < 2 * exact


def repeats_at(m, counts, n):
    """Expected repeats among `m` of `n` rows."""
    return sum(c * m / n - 1 + math.comb(n - c, m) / math.comb(n, m) for c in counts)


@pytest.mark.parametrize(
    ("current", "reference"),
    [
        ([1, 1, 2, 2, 3, 3], [4, 5, 6, 7, 8, 9]),
        ([1, 1, 2, 2, 3, 4], range(5, 15)),
        ([1, 1, 1, 2, 3], range(4, 13)),
        ([1, 1, 1, 1, 2, 3, 4], range(5, 13)),
        ([1, 1, 1, 2, 2, 3, 3, 4], [1, 5, 6, 7, 8, 9, 10, 11]),
    ],
)
def test_windows_of_any_length_have_the_p_value_of_all_divisions(current, reference):
    rows = np.array([*current, *reference])
    m, n_b = min(len(current), len(reference)), len(current)

    def gain(inside):
        counts = [np.unique(part, return_counts=True)[1] for part in (rows[inside], rows[~inside])]
        return repeats_at(m, counts[0], n_b) - repeats_at(m, counts[1], len(rows) - n_b)

    places = np.arange(len(rows))
    observed = gain(places < n_b)
    gains = [gain(np.isin(places, chosen)) for chosen in combinations(places, n_b)]
    exact = np.mean(np.array(gains) >= observed - 1e-9)

    result = repeats_test(sketch(reference), sketch(current))
    assert result.p_value == pytest.approx(exact, rel=0.35)
    assert result.effect == pytest.approx(observed / m)


def test_the_bound_is_the_effect_less_a_quantile_of_its_errors():
    current, reference = [i // 2 for i in range(80)] + [100] * 10, [*range(50), *range(40)]
    m = 90

    def variance(rows):
        # `m` of `m` rows: the values that occur once are drawn once
        once = (np.unique(rows, return_counts=True)[1] == 1).sum()
        once = max(1, min(once, m - 1))
        return once * (1 - once / m)

    gain = len(set(reference)) - len(set(current))
    error = math.sqrt(variance(current) + variance(reference))
    for alpha in (0.05, 0.01):
        result = repeats_test(sketch(reference), sketch(current), alpha=alpha)
        z = NormalDist().inv_cdf(1 - alpha)
        assert result.lower == pytest.approx((gain - z * error) / m)
        assert result.effect == pytest.approx(gain / m)
    assert repeats_test(sketch(reference), sketch(current)).lower == pytest.approx(
        (gain - NormalDist().inv_cdf(0.95) * error) / m
    )


@pytest.mark.parametrize(("n", "m"), [(30_000, 30_000), (30_000, 10_000)])
def test_the_bound_of_a_sketch_is_close_to_the_effect_and_below_it(n, m):
    rng = np.random.default_rng(9)
    results = [
        repeats_test(sketch(unique(rng, n, 0), i), sketch(duplicated(0.2)(rng, m, 1), i))
        for i in range(100)
    ]
    effects, bounds = (
        np.array([getattr(r, name) for r in results]) for name in ("effect", "lower")
    )
    # of two estimates the one with the larger bound is told, so it is a little too large
    assert np.mean(effects) == pytest.approx(0.2, abs=0.03)
    assert np.std(effects) < 0.03
    assert np.mean(bounds <= 0.2) >= 0.9
    assert 0.15 < np.mean(bounds) < 0.19


def test_merged_sketches_are_tested_like_those_of_all_rows():
    rng = np.random.default_rng(8)
    reference, current = rng.integers(0, 9000, 10_000), rng.integers(0, 5000, 7000)
    merged = merge_sketches(sketch(current[:10]), sketch(current[10:]))
    assert repeats_test(sketch(reference), merged) == repeats_test(
        sketch(reference), sketch(current)
    )


# --- sketches that lack values, with hashes made by hand


def evenly(n_values):
    """Hashes of so many values, at equal distances: their density says exactly how many."""
    return (np.arange(n_values, dtype=object) + 1) * (2**64 // n_values) - 1


def rows_of(hashes, counts):
    return sketch_distinct(np.repeat(np.array(hashes, dtype=np.uint64), counts))


def of_few_rows(once, n, m):
    """Variance of the values among `m` of `n` rows, of which so many are expected once."""
    once = min(max(once, 1), m - 1)
    return m / n * once * (1 - once / m)


@pytest.mark.parametrize("alpha", [1e-4, 0.05, 0.3])
@pytest.mark.parametrize(
    ("n_before", "rows_each", "frequent"),
    [(1000, 1, 41), (1000, 1, 60), (500, 2, 5000), (1200, 2, 5000)],
)
def test_one_frequent_value_that_the_sketch_lacks_is_seen_by_the_number_of_values(
    n_before, rows_each, frequent, alpha
):
    """The current window has 1200 values of one row, and one that is the last by its hash.

    Of the reference every value has as many rows, all of which are drawn, as it is the shorter one.
    """
    m, n = n_before * rows_each, 1200 + frequent
    reference = rows_of(evenly(n_before) - 5, rows_each)
    current = rows_of(evenly(1201), [*[1] * 1200, frequent])

    found = repeats_test(reference, current, alpha=alpha)

    # a sketch has 1024 values, the last of which says how dense they are
    drawn, share, share_before = m / n, 1024 / 1201, min(1, 1024 / n_before)
    before = 1023 / share_before if n_before > 1024 else n_before
    now = 1023 * drawn / share
    # every value of two rows is drawn again; squares of chances are at most twice as many
    squares = max(1023 * drawn**2 / share, 2 * before if rows_each == 2 else 0)
    error = math.sqrt(
        of_few_rows(before if rows_each == 1 else 0, m, m)
        + of_few_rows(now, n, m)
        + before * (1 - share_before) / share_before
        + squares * (1 - share) / share
    )
    normal, repeats = NormalDist(), before - now
    p_value = 2 * normal.cdf(-(repeats - 0.5) / error)
    assert found.effect == pytest.approx(repeats / m)
    assert found.p_value == pytest.approx(p_value, rel=1e-6, abs=1e-15)
    # of two tests each has half the level
    lower = (repeats - normal.inv_cdf(1 - alpha / 2) * error) / m if p_value <= alpha else 0.0
    assert found.lower == pytest.approx(max(0.0, lower), rel=1e-6)
    # of the values that the sketches have, those of the reference repeat more
    if rows_each == 1:
        assert repeats_test(current, reference) == (0.0, 1.0, 0.0)


def test_an_effect_is_at_most_one():
    """The hashes of the reference are so low that it seems to have more values than rows."""
    reference = rows_of(evenly(5000) * 9 // 10, 1)

    found = repeats_test(reference, rows_of([7], 5000))

    assert (found.effect, found.lower) == (1.0, 1.0)
    assert found.p_value < 1e-6


@pytest.mark.parametrize("n_pairs", [100, 160])
def test_few_repeats_are_seen_by_how_they_are_divided(n_pairs):
    """Two thousand rows of a value each, and two thousand others, of which some are equal pairs.

    A number of values has an error of 3 %, and some of 2000 would not be found by that.
    """
    n = 2000
    n_now = n - n_pairs
    hashes = evenly(n + n_now)
    is_now = np.random.default_rng(3).permutation(n + n_now) < n_now
    counts = np.ones(n + n_now, dtype=int)
    counts[np.flatnonzero(is_now)[: 10 * n_pairs : 10]] = 2
    reference = rows_of(hashes[~is_now], 1)
    current = rows_of(hashes[is_now], counts[is_now])
    assert (reference.n_rows, current.n_rows) == (n, n)

    found = repeats_test(reference, current, alpha=0.05)

    # the sample of both together: 1023 of all values, and the next says how dense they are
    share = 1024 / (n + n_now)
    pairs = (counts[:1023] == 2).sum()
    single_before = (~is_now[:1023]).sum() / share
    single_now = (is_now[:1023] & (counts[:1023] == 1)).sum() / share
    error = math.sqrt(
        pairs * (1 - share) / share**2
        + of_few_rows(single_before, n, n)
        + of_few_rows(single_now, n, n)
    )
    assert found.p_value < 1e-4
    assert found.effect == pytest.approx(pairs / share / n)
    lower = (pairs / share - NormalDist().inv_cdf(0.975) * error) / n
    assert found.lower == pytest.approx(lower)


@pytest.mark.parametrize(("n", "m"), [(2000, 2000), (4000, 2000), (2000, 3000)])
def test_the_chance_of_a_division_is_that_of_dividing_the_rows_again_and_again(n, m):
    """Of the values that the sample has; most have one row, others two or three."""
    rng = np.random.default_rng(n + m)
    population = np.arange(n + m)
    population[:600] = population[600:1200]
    population[1200:1400] = population[1400:1600] = population[1600:1800]
    hashes = rng.permutation(np.array(evenly(n + m), dtype=np.uint64))
    is_sampled = hashes[population] < np.sort(hashes[np.unique(population)])[1023]

    def gain(is_now):
        """Expected repeats of the sampled values among as many rows of both windows."""
        total = 0.0
        for inside, sign in ((is_now, 1), (~is_now, -1)):
            size, fewer = inside.sum(), min(n, m)
            missed = (size - fewer) / size
            for rows, values in enumerate(
                np.bincount(np.bincount(population[inside & is_sampled]), minlength=4).tolist()
            ):
                none = math.prod((size - fewer - i) / (size - i) for i in range(rows))
                total += sign * values * (rows * (1 - missed) - 1 + none) if rows else 0
        return total

    def divided():
        return rng.permutation(n + m) < m

    gains = np.array([gain(divided()) for _ in range(1500)])
    for wanted in (0.3, 0.1, 0.03):
        observed = np.quantile(gains, 1 - wanted)
        is_now = divided()
        while abs(gain(is_now) - observed) > 0.4:
            is_now = divided()
        exact = np.mean(gains >= gain(is_now) - 1e-9)
        before, now = (sketch_distinct(hashes[population[rows]]) for rows in (~is_now, is_now))
        # half of it, as there are two tests, and a little less if the other one finds less
        assert 0.6 * exact < repeats_test(before, now).p_value / 2 < 1.3 * exact


@pytest.mark.parametrize("frequent", [1000, 3000])
@pytest.mark.parametrize("part", [0.5, 0.2])
def test_a_frequent_value_of_both_windows_does_not_change_the_chance_of_a_division(frequent, part):
    rng = np.random.default_rng(frequent)
    sizes = np.array([frequent, *[1] * 300, *[2] * 200, *[3] * 50])
    m = int(part * sizes.sum())
    n = sizes.sum() - m

    def repeats(counts, n_rows):
        """Expected among as many rows as the smaller window has; the frequent one is among them."""
        fewer = min(n, m)
        chance_of_none = [
            math.prod((n_rows - fewer - i) / (n_rows - i) for i in range(c)) for c in range(4)
        ]
        none = np.array(chance_of_none)[counts[1:]].sum()
        return counts.sum() * fewer / n_rows - len(counts) + none

    divisions = rng.multivariate_hypergeometric(sizes, m, size=4000)
    gains = np.array([repeats(b, m) - repeats(sizes - b, n) for b in divisions])
    hashes = evenly(len(sizes))
    for wanted in (0.3, 0.1, 0.03):
        nearest = np.argmin(np.abs(gains - np.quantile(gains, 1 - wanted)))
        b = divisions[nearest]
        exact = np.mean(gains >= gains[nearest] - 1e-9)
        found = repeats_test(rows_of(hashes, sizes - b), rows_of(hashes, b)).p_value
        assert 0.8 * exact < found < 1.35 * exact


def test_next_to_a_value_that_nearly_all_rows_have_a_chance_is_told_too_large():
    """The reference has all of five values of one row, which one in 32 divisions gives it."""
    reference, current = rows_of(range(1, 7), [995, *[1] * 5]), rows_of([1], [1000])

    found = repeats_test(reference, current)

    assert found.effect == pytest.approx(0.005)
    assert found.p_value > math.comb(1995, 1000) / math.comb(2000, 1000)
