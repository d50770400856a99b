"""Estimates at the limits: light rows, no error, undefined parts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flytekitplugins.wbmon.stats.estimate import (
    Estimate,
    log_interval,
    mean_of_shares,
    p_value_of_zero,
    weighted_share,
)


def test_rows_that_weigh_less_than_one_together_have_a_share():
    share = weighted_share(0.3, 0.1, 0.01, 0.01)
    assert share == pytest.approx((0.75, 40.0))


def test_a_value_without_an_error_needs_no_degree_of_freedom():
    assert log_interval(0.5, 0.0, 0.5)[:3] == (0.5, 0.5, 0.5)


def test_a_share_of_which_nothing_is_known_may_be_one_and_cannot_be_less_than_it_counts():
    parts = [Estimate(0.8, 0.2, 0.9), Estimate(0.0, 0.0, 1.0)]
    mean = mean_of_shares(parts, np.array([0.8, 0.5]), np.diag([1e-6, 1e-6]))
    # Zou & Donner (2008): the distances of two that are independent, divided by their number
    assert mean[:3] == pytest.approx((0.4, 0.4 - 0.6 / 2, 0.4 + math.hypot(0.1, 1.0) / 2))


def test_no_change_at_all_is_no_sign_of_one_even_if_it_is_certain():
    assert p_value_of_zero(Estimate(0.0, 0.0, 0.0)) == 1.0
