"""What a drift report says of chance to the budget of false pages."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import DriftRule, check_drift, check_joint_drift, profile_data


def window(seed: int, n: int = 400, *, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"x{j}": rng.normal(size=n) for j in range(4)})
    frame["x0"] += shift
    return frame


def numbers(report):
    return {each.name: each for each in report.measurements()}


def test_a_drifted_window_has_the_least_q_value_of_what_drifted():
    report = check_drift(window(0, 2000), window(1, shift=0.5))
    checks = [check for check in report.features["x0"].checks if check.level == "drift"]
    found = numbers(report)
    expected = min(check.q_value for check in checks)
    for name in ("drifted", "n_drifted", "share_drifted", "drifted.x0"):
        assert found[name].p_value == expected < 1e-6
        assert found[name].distance == max(check.effect_size for check in checks)


def test_a_window_without_drift_has_the_p_value_of_all_checks_together():
    report = check_drift(window(0, 2000), window(1))
    checks = [check for each in report.features.values() for check in each.checks]
    found = numbers(report)["drifted"]
    ordered = sorted(check.p_value for check in checks)
    expected = min(len(ordered) * p / j for j, p in enumerate(ordered, start=1))
    assert found.p_value == pytest.approx(expected)
    assert found.distance == 0


def test_a_column_that_is_gone_is_not_chance():
    report = check_drift(window(0), window(1).drop(columns="x1"))
    found = numbers(report)
    assert (found["drifted"].p_value, found["drifted"].distance) == (0, 1)
    assert (found["drifted.x1"].p_value, found["drifted.x1"].distance) == (0, 1)
    assert found["drifted.x2"].p_value > 0.01


def test_past_windows_make_chance_as_likely_as_they_say():
    reference = profile_data(window(0, 2000))
    # nights that differ by moods of half a standard deviation
    moods = np.random.default_rng(3).normal(size=9) / 2
    past = [profile_data(window(9 + j, shift=s), like=reference) for j, s in enumerate(moods)]
    current = profile_data(window(1, shift=3.0), like=reference)
    report = check_drift(reference, current, past=past)
    deciding = report.features["x0"].deciding
    assert deciding.q_value < deciding.window_q_value
    assert numbers(report)["drifted"].p_value == deciding.window_q_value


def test_without_a_test_nobody_says_what_chance_does():
    report = check_drift(window(0, 50), window(1, 50), rule=DriftRule(min_rows=100))
    assert math.isnan(numbers(report)["drifted"].p_value)


def test_all_columns_together_have_the_p_value_of_their_test():
    report = check_joint_drift(window(0), window(1, shift=1.0))
    found = numbers(report)["drifted"]
    assert (found.p_value, found.distance) == (report.p_value, report.effect_size)
