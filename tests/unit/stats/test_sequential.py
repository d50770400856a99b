from __future__ import annotations

import numpy as np
import pytest

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
    for bad in ({"std": 0}, {"std": 1, "threshold": 0}, {"std": 1, "slack": -1}):
        with pytest.raises(ConfigError, match="must be positive"):
            Cusum(mean=0, **bad)
    for bad in ({"tolerance": -1}, {"threshold": 0}, {"min_values": 0}):
        with pytest.raises(ConfigError, match="must not be negative"):
            PageHinkley(**{"tolerance": 0, "threshold": 1, **bad})
