"""The ends of a distribution: a few rows that became much larger or smaller, or were cut."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from flytekitplugins.wbmon import DriftRule, check_drift, profile_data
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.drift.report import Check, FeatureDrift

N = 5_000
Change = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def some(share: float, change: Callable[[np.ndarray], np.ndarray | float]) -> Change:
    return lambda rng, x: np.where(rng.random(len(x)) < share, change(x), x)


def feature(before: np.ndarray, now: np.ndarray, rule: DriftRule | None = None) -> FeatureDrift:
    frames = [pd.DataFrame({"x": each}) for each in (before, now)]
    return check_drift(*frames, rule=rule).features["x"]


def tails_of(found: FeatureDrift) -> Check:
    return next(check for check in found.checks if check.name == "tails")


CHANGES: dict[str, Change] = {
    "a unit error in 2 %": some(0.02, lambda x: 100 * x),
    "ten times as much in 4 %": some(0.04, lambda x: 10 * x),
    "3 % are -999": some(0.03, lambda x: -999.0),
    "6 % are -999": some(0.06, lambda x: -999.0),
}
CUTS: dict[str, Change] = {
    "cut at 98 %": lambda _, x: np.minimum(x, np.quantile(x, 0.98)),
    "cut below 2 %": lambda _, x: np.maximum(x, np.quantile(x, 0.02)),
}


@pytest.mark.parametrize("change", CUTS.values(), ids=CUTS)
def test_extreme_values_that_no_longer_occur_are_a_warning(change):
    rng = np.random.default_rng(1)
    before, now = rng.lognormal(0, 1, N), rng.lognormal(0, 1, N)

    found = feature(before, change(rng, now))

    assert tails_of(found).odds_ratio <= 0.5
    assert tails_of(found).level == found.level == "warning"
    rule = DriftRule(tail_odds=math.inf)
    assert tails_of(feature(before, change(rng, now), rule)).level == "negligible"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_rare_faults_are_drift_though_few_rows_moved(change):
    rng = np.random.default_rng(1)
    before, now = rng.lognormal(0, 1, N), rng.lognormal(0, 1, N)

    found = feature(before, change(rng, now))

    assert found.level == "drift"
    assert tails_of(found).level == "drift"
    assert tails_of(found).odds_ratio >= 2
    assert found.effect_size < 0.1


def test_the_reason_says_which_values_became_frequent():
    rng = np.random.default_rng(2)
    before = np.round(rng.normal(50, 10, N), 3)
    now = np.where(rng.random(N) < 0.03, -999.0, np.round(rng.normal(50, 10, N), 3))

    reason = feature(before, now).reason

    lost = np.mean(now < before.min())
    assert f"rows below {before.min():.4g} went from 0.00% to {lost:.2%}" in reason


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e9])
def test_the_test_is_that_of_two_shares_of_the_rows_of_both_windows(scale):
    rng = np.random.default_rng(3)
    before, now = rng.normal(size=N), rng.normal(size=N) * 1.3
    check = tails_of(feature(scale * before, scale * now))

    together = np.concatenate([before, now])
    expected = []
    for side in (-1, 1):
        for share in (0.005, 0.01, 0.02):
            threshold = np.quantile(side * together, 1 - share)
            a, b = ((side * each > threshold).sum() for each in (before, now))
            table = [[a, N - a], [b, N - b]]
            expected.append(scipy_stats.chi2_contingency(table, correction=False).pvalue)
    # the cells of the grid end near the quantiles, not at them
    assert math.log(check.p_value) == pytest.approx(math.log(6 * min(expected)), rel=0.15)


def test_nothing_changed_rarely_alarms():
    n_found = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        draw = (rng.standard_normal, rng.standard_cauchy, rng.exponential)[seed % 3]
        sizes = ((300, 300), (2_000, 300), (1_000, 4_000))[seed % 3]
        before, now = (draw(size=n) for n in sizes)
        n_found += tails_of(feature(before, now)).p_value <= 0.05

    # 300 at 5 %: more than 26 have a chance of 0.3 %
    assert n_found <= 26


def test_numbers_of_few_values_may_be_codes_and_have_no_tails():
    rng = np.random.default_rng(4)
    flags = rng.random(N) < 0.01
    more = rng.random(N) < 0.03
    for kind in (float, int, bool):
        found = feature(flags.astype(kind), more.astype(kind))
        assert "tails" not in {check.name for check in found.checks}
        assert found.level == "negligible"


def test_a_tail_of_less_than_a_hundredth_of_the_rows_is_a_warning():
    rng = np.random.default_rng(5)
    before, now = rng.normal(size=20_000), rng.normal(size=20_000)
    now[:120] = 40.0

    found = feature(before, now)

    assert tails_of(found).level == found.level == "warning"


def test_how_much_more_a_tail_must_have_is_a_setting():
    rng = np.random.default_rng(6)
    before, now = rng.normal(size=N), rng.normal(size=N) * 1.3

    odds = tails_of(feature(before, now)).odds_ratio
    assert 2 < odds < 10
    assert feature(before, now).level == "drift"
    for limit in (odds + 0.01, math.inf):
        assert tails_of(feature(before, now, DriftRule(tail_odds=limit))).level == "negligible"
    with pytest.raises(ConfigError, match=r"tail_odds must be above 1, got 1\.0; 2 is usual"):
        DriftRule(tail_odds=1.0)
    with pytest.raises(ConfigError, match="tail_odds must be a number"):
        DriftRule(tail_odds="2")  # type: ignore[arg-type]


def test_weights_count_as_the_rows_they_are_worth():
    rng = np.random.default_rng(7)
    frames = [pd.DataFrame({"x": rng.normal(size=N) * s, "w": 3.0}) for s in (1.0, 1.3)]
    reference = profile_data(frames[0][["x"]])
    plain = check_drift(reference, profile_data(frames[1][["x"]], like=reference))
    like = profile_data(frames[0], weight="w")
    weighted = check_drift(like, profile_data(frames[1], like=like))

    one, other = (tails_of(report.features["x"]) for report in (plain, weighted))
    assert other.p_value == pytest.approx(one.p_value)
    assert other.odds_ratio == pytest.approx(one.odds_ratio)


def test_past_windows_say_whether_such_tails_are_usual():
    rng = np.random.default_rng(8)

    def night(share: float) -> pd.DataFrame:
        return pd.DataFrame({"x": some(share, lambda x: 50 * x)(rng, rng.lognormal(0, 1, N))})

    reference = profile_data(night(0.0))
    usual = [profile_data(night(share), like=reference) for share in (0.02, 0.04, 0.03) * 4]
    quiet = [profile_data(night(0.0), like=reference) for _ in range(12)]
    now = profile_data(night(0.03), like=reference)

    assert tails_of(check_drift(reference, now, past=usual).features["x"]).level == "none"
    assert tails_of(check_drift(reference, now, past=quiet).features["x"]).level == "drift"


def test_both_paths_say_the_same():
    rng = np.random.default_rng(9)
    before, now = rng.normal(size=N), rng.normal(size=N) * 1.3
    reference = profile_data(pd.DataFrame({"x": before}))
    window = profile_data(pd.DataFrame({"x": now}), like=reference)

    exact, grid = (
        tails_of(each)
        for each in (feature(before, now), check_drift(reference, window).features["x"])
    )
    assert (exact.p_value, exact.odds_ratio) == pytest.approx((grid.p_value, grid.odds_ratio))
