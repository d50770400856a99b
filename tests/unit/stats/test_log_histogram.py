from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

ERROR = 2 ** (2**-5 / 2) - 1
values = st.lists(st.floats(0, 1e9, allow_nan=False), max_size=60)


@given(values, values)
def test_merging_a_split_equals_the_whole(left: list[float], right: list[float]) -> None:
    merged, whole = LogHistogram.of(left), LogHistogram.of(left + right)
    merged.merge(LogHistogram.of(right))

    assert merged.buckets == whole.buckets
    assert (merged.n, merged.n_zero) == (whole.n, whole.n_zero)
    assert (merged.smallest, merged.largest) == (whole.smallest, whole.largest)
    assert merged.total == pytest.approx(whole.total)


@given(st.lists(st.floats(1e-5, 1e8), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_within_the_stated_error_of_the_order_statistic(
    sample: list[float], share: float
) -> None:
    exact = sorted(sample)[max(1, math.ceil(share * len(sample))) - 1]

    assert LogHistogram.of(sample).quantile(share) == pytest.approx(exact, rel=ERROR + 1e-9)


@given(values)
def test_it_survives_being_written_and_read(sample: list[float]) -> None:
    before = LogHistogram.of(sample)
    after = LogHistogram.from_dict(before.to_dict())

    assert (after.buckets, after.n, after.total) == (before.buckets, before.n, before.total)


def test_histograms_of_different_scales_add_up_at_the_coarser_one(
    rng: np.random.Generator,
) -> None:
    sample = rng.lognormal(3, 1, 1000).tolist()
    coarse = LogHistogram.of(sample)
    coarse._coarsen(3)
    fine = LogHistogram.of(sample)
    fine.merge(coarse)

    assert (fine.scale, fine.n) == (3, 2000)
    assert fine.quantile(0.9) == pytest.approx(np.quantile(sample, 0.9), rel=2 ** (2**-3 / 2) - 1)


def test_counts_above_a_limit_are_right_beyond_the_width_of_a_bucket() -> None:
    histogram = LogHistogram.of([1.0, 10.0, 50.0, 99.0, 110.0, 1000.0])

    assert histogram.count_above(100.0) == 2
    assert histogram.count_above(110.0) == 1
    assert histogram.count_above(0.0) == 6


def test_it_stays_small_whatever_it_is_fed(rng: np.random.Generator) -> None:
    extremes = [0.0, -1.0, 1e-300, 1e300, math.inf, math.nan]
    histogram = LogHistogram.of([*extremes, *(10.0 ** rng.uniform(-300, 300, 20_000)).tolist()])

    assert len(histogram.buckets) <= 1600
    assert histogram.n == 20_005


def test_an_empty_one_has_no_quantile() -> None:
    assert math.isnan(LogHistogram().quantile(0.5))


@pytest.mark.parametrize("broken", [{}, {"scale": 5}, {**LogHistogram().to_dict(), "counts": [-1]}])
def test_what_is_no_histogram_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(DataError):
        LogHistogram.from_dict(broken)
