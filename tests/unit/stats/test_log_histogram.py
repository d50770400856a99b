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


@pytest.mark.parametrize(
    ("value", "bucket"),
    [
        # 32 buckets an octave; a power of two is the upper end of its bucket
        (1.0, -1),
        (2.0, 31),
        (2.0001, 32),
        (4.0, 63),
        (1.0001e-6, -638),
        (1e9, 956),
        (1e12, 956),
    ],
)
def test_a_value_is_in_the_bucket_of_its_logarithm(value: float, bucket: int) -> None:
    assert LogHistogram.of([value]).buckets == {bucket: 1}


def test_small_values_are_counted_as_zero() -> None:
    found = LogHistogram.of([1e-6, 0.0, -3.0, math.nan])

    assert (found.buckets, found.n_zero, found.n) == ({}, 3, 3)
    assert (found.smallest, found.largest) == (-3.0, 1e-6)
    assert found.total == pytest.approx(1e-6 - 3)


def test_it_is_written_as_an_exponential_histogram() -> None:
    assert LogHistogram.of([0.0, 1.0, 1.04, 1.0, 4.0]).to_dict() == {
        "scale": 5,
        "offset": -1,
        "counts": [2, 0, 1, *[0] * 61, 1],
        "zero_count": 1,
        "sum": pytest.approx(7.04),
        "min": 0.0,
        "max": 4.0,
    }
    assert LogHistogram().to_dict() == {
        "scale": 5,
        "offset": 0,
        "counts": [],
        "zero_count": 0,
        "sum": 0.0,
        "min": None,
        "max": None,
    }


def test_what_is_read_has_the_ends_that_were_written() -> None:
    some = LogHistogram.from_dict(LogHistogram.of([2.0, 8.0]).to_dict())
    none = LogHistogram.from_dict(LogHistogram().to_dict())

    assert (some.scale, some.smallest, some.largest) == (5, 2.0, 8.0)
    assert (none.smallest, none.largest) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    ("share", "place"), [(0.0, 0), (0.25, 0), (0.26, 1), (0.5, 1), (0.75, 2), (0.76, 3), (1.0, 3)]
)
def test_a_quantile_is_the_first_value_that_its_share_does_not_exceed(
    share: float, place: int
) -> None:
    # in the geometric middle of their buckets, where a quantile is exact
    sample = [2 ** ((index + 0.5) / 32) for index in (-100, 3, 40, 77)]

    assert LogHistogram.of(sample).quantile(share) == pytest.approx(sample[place], rel=1e-12)


def test_a_quantile_is_never_outside_of_what_was_seen() -> None:
    assert LogHistogram.of([2.0]).quantile(0.5) == 2.0
    assert LogHistogram.of([2.0001]).quantile(0.5) == 2.0001
    assert LogHistogram.of([-5.0, 3.0]).quantile(0.5) == 0.0
    assert LogHistogram.of([-5.0, 2.01]).quantile(0.6) == 2.01
    assert LogHistogram.of([1e-7, 3.0]).quantile(0.5) == 1e-7
    # the smallest value is a quantile like any other: the middle of its bucket
    assert LogHistogram.of([1.96, 4.0]).quantile(0.0) == pytest.approx(2 ** (31.5 / 32))


def test_values_at_a_limit_and_in_its_bucket_are_not_above_it() -> None:
    histogram = LogHistogram.of([1e-7, 1e-6, 1.0, 2.0, 2.01, 2.1, 1e9, 1e12])

    assert histogram.count_above(1e-6) == 6
    assert histogram.count_above(1e-5) == 6
    assert histogram.count_above(1.0) == 5
    assert histogram.count_above(2.0) == 4
    assert histogram.count_above(2.02) == 3
    assert histogram.count_above(1e12) == 0
    assert LogHistogram.of([1.0001e-6]).count_above(1e-6) == 1


def test_a_fine_histogram_is_added_to_a_coarse_one_bucket_by_bucket() -> None:
    coarse = LogHistogram.of([0.5, 2.0, 2.01, 4.0])
    coarse._coarsen(3)
    coarse.merge(LogHistogram.of([1.9, 2.0, 0.0]))

    # at scale 3 there are 8 buckets an octave
    assert coarse.buckets == {-9: 1, 7: 3, 8: 1, 15: 1}
    assert (coarse.n_zero, coarse.smallest, coarse.largest) == (1, 0.0, 4.0)
    assert coarse.total == pytest.approx(0.5 + 2 + 2.01 + 4 + 1.9 + 2)


def test_a_histogram_with_a_missing_or_unreadable_part_is_refused_by_name() -> None:
    written = LogHistogram.of([1.0]).to_dict()
    del written["zero_count"]
    with pytest.raises(DataError, match="zero_count"):
        LogHistogram.from_dict(written)
    with pytest.raises(DataError, match="must be >= 0, got -1"):
        LogHistogram.from_dict({**LogHistogram().to_dict(), "counts": [3, -1]})


def test_infinite_values_are_counted_and_can_be_stored() -> None:
    histogram = LogHistogram.of([math.inf, -math.inf, 1.0])

    assert histogram.n == 3
    assert histogram.count_above(1e6) == 1
    assert histogram.to_dict()["sum"] == 1.0
    assert histogram.largest == 1e9
