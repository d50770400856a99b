"""Values that are too many for a count of their own, by the hashes that they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from flytekitplugins.wbmon import DriftRule, check_drift, merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.drift.report import Check, FeatureDrift
from flytekitplugins.wbmon.monitor.drift.uncounted import uncounted_check, uncounted_rows
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile, WeightSums
from flytekitplugins.wbmon.stats.distinct import N_BUCKETS

RULE = DriftRule()


def column(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": values})


def codes(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """`n` of `k` codes of one form, all alike."""
    return np.char.add("p", ((rng.integers(0, k, n) * 7_368_787) % 99_999_989).astype(str)).astype(
        "<U9"
    )


def check_of(found: FeatureDrift, name: str) -> Check | None:
    return next((check for check in found.checks if check.name == name), None)


def bucketed(buckets: np.ndarray, **fields: Any) -> FeatureProfile:
    n = int(buckets.sum())
    fields = {"kind": "identifier", "n_rows": n, **fields}
    return FeatureProfile(name="x", buckets=buckets, **fields)


@pytest.mark.parametrize(("k", "n"), [(1_200, 3_000), (1_200, 20_000), (4_000, 20_000)])
@pytest.mark.parametrize("share", [0.15, 0.5])
def test_identifiers_that_recur_and_gather_in_one_are_drift(k, n, share):
    rng = np.random.default_rng(1)
    before, now = codes(rng, n, k), codes(rng, n, k)
    one = np.where(rng.random(n) < share, before[0], now)

    found = check_drift(column(before), column(one)).features["x"]

    assert found.kind == "identifier"
    assert found.level == "drift"
    check = check_of(found, "uncounted_values")
    assert check is not None
    assert check.effect_size == pytest.approx(share, abs=0.07)
    assert check.effect_low <= share
    told = "of rows moved between values that are too many for a count of their own"
    assert told in found.reason


def test_half_of_the_values_that_are_no_longer_used_are_drift():
    rng = np.random.default_rng(2)
    ranks = rng.integers(0, 1_200, 20_000)
    before = column(np.char.add("p", (ranks + 10_000).astype(str)))
    now = column(np.char.add("p", (ranks // 2 + 10_000).astype(str)))

    assert check_drift(before, now).features["x"].level == "drift"


def test_recurring_values_rarely_alarm():
    n_found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        k, n, m = ((1_200, 3_000, 3_000), (5_000, 20_000, 4_000))[seed % 2]
        found = check_drift(column(codes(rng, n, k)), column(codes(rng, m, k))).features["x"]
        n_found += any(check.q_value <= 0.05 for check in found.checks)

    # 40 at 5 %: more than 6 have a chance of 0.3 %
    assert n_found <= 6


def test_customers_who_come_and_go_are_not_judged_by_their_buckets():
    """With 30 % of customers new in every window, their buckets have other customers."""
    rng = np.random.default_rng(3)

    def night(first: int) -> pd.DataFrame:
        return column([f"c{i:07d}" for i in first + rng.integers(0, 2_000, 20_000)])

    found = check_drift(night(10_000), night(10_600)).features["x"]

    assert check_of(found, "uncounted_values") is None
    assert check_of(found, "new_identifiers") is not None
    assert found.level == "negligible"


def of_both(together, a, b):
    """Twice the smaller p-value: of all buckets together, and of the one that differs most."""
    n, m = sum(a), sum(b)
    alone = [
        scipy_stats.fisher_exact([[x, n - x], [y, m - y]]).pvalue for x, y in zip(a, b, strict=True)
    ]
    return min(1.0, 2 * min(together, N_BUCKETS * min(alone)))


def test_a_test_of_buckets_is_scipys():
    rng = np.random.default_rng(4)
    a, b = rng.poisson(40, N_BUCKETS), rng.poisson(25, N_BUCKETS)

    check = uncounted_check(bucketed(a), bucketed(b), RULE)

    assert check is not None
    expected = scipy_stats.chi2_contingency([a, b], correction=False)
    p_value = of_both(expected.pvalue, a, b)
    assert (check.statistic, check.p_value) == pytest.approx((expected.statistic, p_value))


def test_few_rows_are_counted_in_fewer_buckets():
    a, b = np.zeros(N_BUCKETS, dtype=int), np.zeros(N_BUCKETS, dtype=int)
    a[:64], b[:64] = 2, 3
    b[:64:8] += 3

    check = uncounted_check(bucketed(a), bucketed(b), RULE)

    assert check is not None
    # 128 rows in 8 buckets: no more than 12 of them would have 10 rows each
    of_a, of_b = (each.reshape(-1, 8).sum(axis=0) for each in (a, b))
    expected = scipy_stats.chi2_contingency([of_a, of_b], correction=False)
    assert check.p_value == pytest.approx(of_both(expected.pvalue, a, b), rel=1e-3)
    assert uncounted_check(bucketed(a // 16), bucketed(b), RULE) is None


@pytest.mark.parametrize(("n", "m"), [(300, 5000), (600, 600), (5000, 300)])
def test_one_new_value_in_a_tenth_of_few_rows_is_found(n, m):
    """All buckets together hardly see it: 16 cells of 300 rows."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, n])
        a, b = (rng.multinomial(size, np.full(N_BUCKETS, 1 / N_BUCKETS)) for size in (n, m))
        b[7] += m // 10
        check = uncounted_check(bucketed(a), bucketed(b), RULE)
        found += check is not None and check.p_value <= 0.05
    assert found >= 18


def test_buckets_of_unchanged_values_have_few_findings():
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shares = rng.dirichlet(np.full(N_BUCKETS, 0.3))
        a, b = (rng.multinomial(size, shares) for size in (800, 3000))
        check = uncounted_check(bucketed(a), bucketed(b), RULE)
        found += check is not None and check.p_value <= 0.05
    # nominal 5 % of 200, and three Monte-Carlo errors
    assert found <= 19


def test_weights_count_as_the_rows_they_are_worth():
    a, b = np.full(N_BUCKETS, 20), np.full(N_BUCKETS, 20)
    b[0] += 100
    n, m = float(a.sum()), float(b.sum())

    def weighted(rows: np.ndarray, n: float) -> FeatureProfile:
        sums = WeightSums(rows=3 * n, rows_squared=9 * n, values_squared=9 * n)
        return bucketed(3.0 * rows, weights=sums, n_rows=int(n))

    plain = uncounted_check(bucketed(a), bucketed(b), RULE)
    scaled = uncounted_check(weighted(a, n), weighted(b, m), RULE)

    assert plain is not None
    assert scaled is not None
    assert scaled.p_value == pytest.approx(plain.p_value)
    assert scaled.effect_size == pytest.approx(plain.effect_size)


def test_rows_outside_a_table_move_and_their_share_of_all_rows_is_told():
    rng = np.random.default_rng(5)

    def drawn() -> np.ndarray:
        often = rng.choice(["red", "blue"], 10_000)
        return np.concatenate([often, codes(rng, 10_000, 3_000)])

    reference = profile_data(column(drawn()), kinds={"x": "category"})
    rare = drawn()
    rare[10_000:15_000] = rare[-1]
    found = check_drift(reference, column(rare)).features["x"]

    check = check_of(found, "uncounted_values")
    assert check is not None
    assert check.effect_size == pytest.approx(0.25, abs=0.03)


def test_buckets_of_parts_add_up_in_any_division():
    rng = np.random.default_rng(6)
    values = codes(rng, 6_000, 2_000)
    reference = profile_data(column(values))
    whole = profile_data(column(values), like=reference).features["x"].buckets
    parts = [profile_data(column(values[i::3]), like=reference) for i in range(3)]

    assert whole is not None
    assert whole.sum() == 6_000
    assert list(merge_profiles(parts).features["x"].buckets) == list(whole)


def test_profiles_that_do_not_have_all_buckets_are_not_compared():
    """Files of the first version have none, and what is merged with one lacks its rows."""
    rng = np.random.default_rng(7)
    full = profile_data(column(codes(rng, 6_000, 2_000))).features["x"]
    rows = uncounted_rows(full)
    assert rows is not None
    assert rows.sum() == 6_000

    some = bucketed(np.asarray(full.buckets), n_rows=7_000)
    none = FeatureProfile(name="x", kind="identifier", n_rows=6_000)
    assert uncounted_rows(some) is None
    assert uncounted_rows(none) is None
    assert uncounted_check(full, none, RULE) is None
