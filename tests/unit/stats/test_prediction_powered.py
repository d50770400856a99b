"""Few labels and many proxies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flytekitplugins.wbmon.stats.estimate import Share, positive_mean
from flytekitplugins.wbmon.stats.interval import wilson_interval
from flytekitplugins.wbmon.stats.prediction_powered import (
    ProxyRows,
    powered_mean,
    powered_share,
    proxy_difference,
)


def rows_of(proxy, n, **given):
    return ProxyRows(proxy, np.ones(len(proxy)), np.arange(n), **given)


def drawn(rng, n, others, quality, *, bias=0.0):
    """Losses, and proxies of a correlation of `quality` with their logarithm."""
    log = rng.normal(size=n + others)
    seen = quality * log + math.sqrt(1 - quality**2) * rng.normal(size=n + others)
    return np.exp(log / 2), np.exp(seen / 2) + bias


def test_the_mean_and_its_error_are_those_of_the_formula(rng):
    y, f = drawn(rng, 80, 900, 0.8)
    found = powered_mean(y[:80], rows_of(f, 80))
    # written out as in the paper: the slope that makes the variance least, then both variances
    covariance = np.cov(y[:80], f[:80], ddof=0)[0, 1]
    of_proxy = max(f.var(), f[:80].var())
    tuning = covariance / 80 / (of_proxy / 80 + f[80:].var() / 900)
    value = (y[:80] - tuning * f[:80]).mean() + tuning * f[80:].mean()
    rectifier = y[:80].var() - 2 * tuning * covariance + tuning**2 * of_proxy
    variance = rectifier / 80 + tuning**2 * f[80:].var() / 900
    assert found.tuning == pytest.approx(tuning)
    assert found.estimate.value == pytest.approx(value)
    gain = y[:80].var() / 79 / (variance * 80 / 78)
    assert found.gain == pytest.approx(gain)
    ratio = math.log(found.estimate.high / found.estimate.value)
    assert ratio > 1.98 * math.sqrt(variance * 80 / 78) / value


def test_proxies_that_are_all_equal_leave_the_labels_alone(rng):
    y = rng.exponential(size=60)
    found = powered_mean(y, rows_of(np.full(500, 3.0), 60))
    assert (found.tuning, found.gain) == (0.0, 1.0)
    assert found.estimate == pytest.approx(positive_mean(y, np.ones(60)))
    alone = powered_mean(y, rows_of(rng.normal(size=60), 60))
    assert alone.estimate == pytest.approx(positive_mean(y, np.ones(60)))


def test_the_unit_and_the_origin_of_the_proxy_do_not_matter(rng):
    y, f = drawn(rng, 60, 600, 0.6)
    found = powered_mean(y[:60], rows_of(f, 60))
    again = powered_mean(y[:60], rows_of(-1000 * f + 7, 60))
    assert again.estimate[:3] == pytest.approx(found.estimate[:3])


def test_copies_in_a_cluster_add_nothing(rng):
    y, f = drawn(rng, 60, 400, 0.7)
    found = powered_mean(y[:60], rows_of(f, 60))
    twice = ProxyRows(np.repeat(f, 2), np.ones(920), np.arange(120), np.repeat(np.arange(460), 2))
    assert powered_mean(np.repeat(y[:60], 2), twice).estimate[:3] == pytest.approx(
        found.estimate[:3]
    )


def test_a_proxy_that_agreed_with_every_label_may_still_err(rng):
    hits = np.arange(50) < 40
    proxy = np.concatenate([hits, rng.random(5000) < 0.8]).astype(float)
    found = powered_share(hits, rows_of(proxy, 50), Share(0.8, 50.0))
    low, high = wilson_interval(0.8 * 5050, 5050)
    assert 1 < found.gain < 10
    assert found.estimate.high - found.estimate.low > 3 * (high - low)


def test_a_proxy_that_contradicts_every_label_may_agree_for_once(rng):
    hits = np.arange(50) < 40
    same = np.concatenate([hits, rng.random(5000) < 0.8]).astype(float)
    alone = Share(0.8, 50.0)
    found = powered_share(hits, rows_of(same, 50), alone)
    contrary = powered_share(hits, rows_of(1 - same, 50), alone)
    assert contrary.tuning == pytest.approx(-found.tuning)
    assert contrary.estimate[:3] == pytest.approx(found.estimate[:3])


@pytest.mark.parametrize("contrary", [False, True])
@pytest.mark.parametrize(("n", "lowest"), [(30, 0.92), (100, 0.92)])
def test_the_share_is_covered_if_the_proxy_is_wrong_in_one_row_of_twenty(n, lowest, contrary):
    rng, covered = np.random.default_rng(7), 0
    for _ in range(400):
        hit = rng.random(n + 3000) < 0.8
        proxy = hit ^ (rng.random(n + 3000) < 0.05) ^ contrary
        alone = Share(float(hit[:n].mean()), float(n))
        found = powered_share(hit[:n], rows_of(proxy.astype(float), n), alone).estimate
        covered += found.low <= 0.8 <= found.high
    assert covered >= lowest * 400


@pytest.mark.parametrize("n", [30, 50, 100])
def test_the_mean_is_covered_if_the_proxy_is_far_off_in_one_row_of_twenty(n):
    """The few labels hardly show it: 69 % of intervals held the truth with 30, 87 % with 100."""
    rng, covered, shorter = np.random.default_rng(8), 0, 0
    truth = 0.5 * math.sqrt(2 / math.pi)
    for _ in range(400):
        y = rng.normal(size=n + 3000)
        prediction = y + rng.normal(size=n + 3000) / 2
        judge = np.where(rng.random(n + 3000) < 0.05, rng.normal(size=n + 3000), y)
        loss, proxy = abs(y - prediction), abs(judge - prediction)
        found = powered_mean(loss[:n], rows_of(proxy, n))
        covered += found.estimate.low <= truth <= found.estimate.high
        shorter += found.gain > 1.2
    assert covered >= 0.92 * 400
    assert shorter > 0.9 * 400 if n >= 50 else shorter == 0


def test_proxies_that_make_no_difference_leave_the_labels_alone(rng):
    hits, proxy = rng.random(60) < 0.7, rng.random(1000)
    proxy[:60] -= np.corrcoef(proxy[:60], hits)[0, 1] * (hits - hits.mean())
    alone = Share(float(hits.mean()), 60.0)
    found = powered_share(hits, rows_of(proxy, 60), alone)
    assert found == (alone.estimate, 0.0, 1.0)


@pytest.mark.parametrize("huge", [1e300, 1e-300])
def test_proxies_of_any_size_are_numbers(rng, huge):
    y, f = drawn(rng, 80, 900, 0.8)
    expected, found = (powered_mean(y[:80], rows_of(f * unit, 80)) for unit in (1.0, huge))
    assert found.estimate[:3] == pytest.approx(expected.estimate[:3])
    assert found.tuning == pytest.approx(expected.tuning / huge)


def test_a_share_stays_a_share():
    proxy = np.concatenate([np.arange(30) < 29, np.ones(100)]).astype(float)
    found = powered_share(np.arange(30) < 29, rows_of(proxy, 30), Share(29 / 30, 30.0)).estimate
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize("n", [0, 1, 2])
def test_of_fewer_than_three_labels_there_is_no_interval(rng, n):
    found = powered_mean(np.ones(n), rows_of(rng.normal(size=50), n))
    assert math.isnan(found.estimate.low)


@pytest.mark.parametrize("quality", [0.0, 0.9])
@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_the_interval_covers_whatever_the_proxy_and_is_shorter_if_it_is_good(rng, quality, bias):
    truth = math.exp(1 / 8)
    covered, widths = 0, []
    for _ in range(400):
        y, f = drawn(rng, 100, 2000, quality, bias=bias)
        found = powered_mean(y[:100], rows_of(f, 100)).estimate
        alone = positive_mean(y[:100], np.ones(100))
        covered += found.low <= truth <= found.high
        widths.append((found.high - found.low) / (alone.high - alone.low))
    # of 400 intervals 380; the limits are four standard errors away
    assert 363 <= covered <= 397
    assert np.mean(widths) < 0.6 if quality else np.mean(widths) < 1.03


def test_labelled_rows_that_are_no_random_sample_stand_out(rng):
    proxy = rng.normal(size=1000)
    alike = [abs(proxy_difference(rows_of(rng.permutation(proxy), 100))) for _ in range(200)]
    assert np.mean(np.array(alike) > 1.96) == pytest.approx(0.05, abs=0.05)
    assert proxy_difference(rows_of(np.sort(proxy), 100)) < -10
    assert math.isnan(proxy_difference(rows_of(np.zeros(20), 10)))
