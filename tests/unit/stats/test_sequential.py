from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.stats.sequential import Cusum, PageHinkley


def delays(make, stream, n_runs: int, seed: int = 0) -> np.ndarray:
    """Values until the first alarm, run by run."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_runs):
        detector, n = make(), 1
        while not detector.update(stream(rng, n)):
            n += 1
        found.append(n)
    return np.array(found)


def test_the_published_run_lengths_of_cusum_are_reproduced():
    # Montgomery (2013), table 9.10: slack 1/2, threshold 5
    def length(shift: float, n_runs: int) -> float:
        stream = lambda rng, _: rng.normal(shift)  # noqa: E731 - one expression
        return delays(lambda: Cusum(mean=0, std=1), stream, n_runs).mean()

    assert length(0.0, 300) == pytest.approx(465, rel=0.15)
    assert length(1.0, 1000) == pytest.approx(10.4, rel=0.05)
    assert length(-2.0, 1000) == pytest.approx(4.01, rel=0.05)


def test_cusum_finds_a_fall_as_soon_as_a_rise():
    up, down = Cusum(mean=3, std=2), Cusum(mean=3, std=2)

    rises = [up.update(3 + x) for x in (1, 5, 6, 7)]
    falls = [down.update(3 - x) for x in (1, 5, 6, 7)]

    assert rises == falls
    assert any(rises)


streams = st.lists(st.floats(-10, 10), min_size=1, max_size=30)


@given(streams)
def test_cusum_is_the_largest_sum_of_the_latest_values(stream):
    detector = Cusum(mean=1, std=2, slack=0.25, threshold=1e6)
    for value in stream:
        assert not detector.update(value)
    z = (np.array(stream) - 1) / 2
    for found, side in ((detector.high, z), (detector.low, -z)):
        sums = [(side[start:] - 0.25).sum() for start in range(len(z) + 1)]
        assert found == pytest.approx(max(sums))


@pytest.mark.parametrize("sign", [1, -1])
def test_cusum_alarms_beyond_five_deviations_and_not_at_five(sign):
    detector = Cusum(mean=0, std=1)
    assert not detector.update(sign * 5.5)  # less the slack of 0.5
    assert detector.update(sign * 0.75)
    assert detector.high == detector.low == 0


@given(streams)
def test_page_hinkley_is_the_rise_above_the_least_sum_of_deviations(stream):
    detector = PageHinkley(tolerance=0.5, threshold=1e6)
    for value in stream:
        assert not detector.update(value)
    values = np.array(stream)
    means = [values[: i + 1].mean() for i in range(len(values))]
    assert (detector.n, detector.mean) == (len(stream), pytest.approx(means[-1]))
    for found, least, away in (
        (detector.rise, detector.least_rise, values - means),
        (detector.fall, detector.least_fall, means - values),
    ):
        sums = [(away[:end] - 0.5).sum() for end in range(len(values) + 1)]
        assert (found, least) == (pytest.approx(sums[-1]), pytest.approx(min(sums)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("threshold", "alarms"), [(0.75, True), (1.0, False), (1.25, False)])
def test_page_hinkley_alarms_beyond_its_threshold_and_not_at_it(sign, threshold, alarms):
    # the mean rises from 0 to 2, and the second value lies 2 above; the least sum is that of one
    detector = PageHinkley(tolerance=1, threshold=threshold, min_values=2)
    assert not detector.update(0.0)
    assert detector.update(sign * 4.0) is alarms
    if alarms:
        state = (detector.mean, detector.rise, detector.fall)
        assert (detector.n, *state, detector.least_rise, detector.least_fall) == (0,) * 6


def test_page_hinkley_waits_for_thirty_values_unless_told_otherwise():
    detector = PageHinkley(tolerance=0, threshold=1)
    assert [detector.update(10.0 * (n > 20)) for n in range(1, 31)] == [False] * 29 + [True]


def test_the_least_settings_are_allowed():
    assert Cusum(mean=0, std=0.01, slack=0, threshold=0.01).update(1.0)
    assert not PageHinkley(tolerance=0, threshold=0.01, min_values=1).update(5.0)


@pytest.mark.parametrize("detector", [Cusum(mean=0, std=1), PageHinkley(tolerance=0, threshold=5)])
def test_a_missing_value_changes_nothing(detector):
    detector.update(1.0)
    before = repr(detector)

    assert not detector.update(float("nan"))
    assert repr(detector) == before


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_page_hinkley_rarely_alarms_before_the_change_and_soon_after(shift):
    rng = np.random.default_rng(0)
    early, waited = 0, []
    for _ in range(100):
        detector = PageHinkley(tolerance=0.25, threshold=15)
        stream = np.concatenate((rng.normal(size=300), rng.normal(shift, 1, 100)))
        first = next((i for i, x in enumerate(stream) if detector.update(x)), 400)
        early += first < 300
        if first >= 300:
            waited.append(first - 300)

    assert early <= 5
    assert np.median(waited) < 40


def test_page_hinkley_stays_quiet_while_the_mean_settles():
    detector = PageHinkley(tolerance=0, threshold=0.1, min_values=10)

    assert not any(detector.update(x) for x in (5, -5, 9, -9, 3, -3, 2, -2, 1))
    assert detector.update(50)


def test_detectors_begin_anew_after_an_alarm():
    cusum, other = Cusum(mean=0, std=1), PageHinkley(tolerance=0, threshold=1, min_values=2)

    assert [cusum.update(9.0) for _ in range(2)] == [True, True]
    assert [other.update(value) for value in (0.0, 9.0, 9.0)] == [False, True, False]
    assert cusum.high == cusum.low == 0
    assert other.n == 1


def test_impossible_settings_are_refused():
    for bad in ({"std": 0}, {"std": 1, "threshold": 0}, {"std": 1, "slack": -1}, {"std": math.nan}):
        with pytest.raises(ConfigError, match="must be positive"):
            Cusum(mean=0, **bad)
    for bad in ({"tolerance": -1}, {"threshold": 0}, {"min_values": 0}):
        with pytest.raises(ConfigError, match="must not be negative"):
            PageHinkley(**{"tolerance": 0, "threshold": 1, **bad})
