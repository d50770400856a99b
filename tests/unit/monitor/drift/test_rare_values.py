"""Columns in which nearly all rows have one value: what is rare there is told from chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from flytekitplugins.wbmon import check_drift, profile_data

SHARES = (0.0005, 0.001, 0.002, 0.005, 0.02)


def columns(rng, n, share):
    """One column of each kind, with a rare value in a share of its rows."""
    rare = rng.random((6, n)) < share
    return {
        "count": rare[0].astype(int),
        "amount": np.where(rare[1], rng.normal(size=n), 0.0),
        "flag": rare[2],
        "code": np.where(rare[3], "rare", "usual"),
        "wait": pd.to_timedelta(np.where(rare[4], 5, 1), unit="s"),
        "tags": [["a", "b"] if each else ["a"] for each in rare[5]],
    }


def window(rng, n):
    made = {share: columns(rng, n, share) for share in SHARES}
    return pd.DataFrame(
        {f"{name} {share}": each for share, of in made.items() for name, each in of.items()}
    )


@pytest.mark.parametrize(("n", "m"), [(1000, 1000), (5000, 500), (400, 4000)])
def test_thirty_such_columns_have_few_findings_together(n, m):
    """Two windows of unequal size made p = 5e-6 of five rows against four; and p = 0 of any."""
    found, least = 0, 1.0
    for seed in range(30):
        rng = np.random.default_rng([seed, n])
        report = check_drift(window(rng, n), window(rng, m))
        checks = [check for each in report.features.values() for check in each.checks]
        assert len(checks) > 15
        found += any(check.q_value <= 0.05 for check in checks)
        least = min(least, *(check.p_value for check in checks))
    # nominal 5 % of 30 windows, and three Monte-Carlo errors
    assert found <= 5
    # of some 1,000 checks the least p-value is about 1 in 1,000
    assert least > 2e-5


@pytest.mark.parametrize(("n", "m", "share"), [(20_000, 300, 1e-3), (100_000, 1000, 1e-4)])
def test_several_rare_values_in_a_small_window_have_few_findings_together(n, m, share):
    """Ten such columns had a finding in 20 and 40 % of windows: one rare row had p = 4e-4."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, n])
        reference, current = (
            pd.DataFrame(
                {
                    f"x{i}": np.where(rng.random(size) < share, rng.lognormal(size=size), 0.0)
                    for i in range(10)
                }
            )
            for size in (n, m)
        )
        features = check_drift(reference, current).features.values()
        found += any(check.q_value <= 0.05 for each in features for check in each.checks)
    # nominal 5 % of 40 windows, and three Monte-Carlo errors
    assert found <= 6


@pytest.mark.parametrize("name", columns(np.random.default_rng(0), 10, 0.5))
@pytest.mark.parametrize("by_profile", [False, True], ids=["exact", "by profile"])
def test_a_rare_value_that_becomes_frequent_is_drift(rng, name, by_profile):
    before, now = (pd.DataFrame(columns(rng, 2000, share))[[name]] for share in (0.001, 0.25))
    if by_profile:
        before = profile_data(before)
        now = profile_data(now, like=before)
    assert check_drift(before, now).features[name].level == "drift"


def test_random_halves_of_handwritten_digits_have_few_findings():
    """Pixels at the rim are 0 but for a few rows; they made others of the 64 significant."""
    pixels = load_digits().data
    found = 0
    for seed in range(20):
        rows = np.random.default_rng(seed).permutation(len(pixels))
        halves = (pd.DataFrame(pixels[half]).add_prefix("p") for half in np.array_split(rows, 2))
        features = check_drift(*halves).features.values()
        found += any(check.q_value <= 0.05 for each in features for check in each.checks)
    # nominal 5 % of 20 halves, and three Monte-Carlo errors
    assert found <= 4


def test_one_early_row_among_thirty_columns_of_times_is_no_finding():
    """The check is there only if a row is early; it counts for the columns without one, too."""
    day = pd.Timestamp("2026-01-01")
    reference = pd.DataFrame({f"t{i}": [day] * 5000 for i in range(30)})
    current = pd.DataFrame({f"t{i}": [day] * 100 for i in range(30)})
    current.loc[0, "t7"] -= pd.Timedelta(days=1)
    checks = check_drift(reference, current).features["t7"].checks
    earlier = next(check for check in checks if check.name == "earlier")
    # one row of 5,100, which is one of the 100: Fisher (1934)
    assert earlier.p_value == pytest.approx(100 / 5100)
    assert earlier.q_value == pytest.approx(30 * earlier.p_value)
