from __future__ import annotations

import math
from datetime import date
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.scoring import confidence
from flytekitplugins.wbmon.monitor.scoring.confidence import ClassCounter, ConfidenceMeter


def test_batches_add_up_to_the_whole(rng):
    scores = rng.dirichlet(np.ones(3), 500)
    table = pa.table({name: scores[:, i] for i, name in enumerate("abc")})
    whole, parts = (ConfidenceMeter("abc", 0.5) for _ in range(2))
    whole.add(table)
    for start in range(0, 500, 70):
        parts.add(table.slice(start, 70))
    one, two = whole.record(), parts.record()
    assert two.quantiles == one.quantiles
    assert (two.n, two.low_share) == (one.n, one.low_share)
    assert two.mean == pytest.approx(one.mean)


def test_the_largest_probability_is_described_like_numpy_and_scipy_describe_it():
    first = (10 * np.arange(20) + 0.5) / 1000  # each the middle of a cell of the grid
    meter = ConfidenceMeter("ab", 0.0605)
    meter.add(pa.table({"a": first, "b": first[::-1] * 0}))
    record = meter.record()

    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    expected = np.quantile(first, shares, method="inverted_cdf")
    assert list(record.quantiles) == ["p5", "p25", "p50", "p75", "p95"]
    assert list(record.quantiles.values()) == pytest.approx(list(expected), abs=1e-12)
    assert record.mean == pytest.approx(first.mean())
    assert record.sd == pytest.approx(first.std(), abs=1e-9)
    # the seventh row has exactly the threshold, so it is not below it
    low, high = binomtest(6, 20).proportion_ci(method="wilson")
    assert (record.threshold, record.low_share) == (0.0605, 6 / 20)
    assert (record.low_share_low, record.low_share_high) == pytest.approx((low, high))


@pytest.mark.parametrize(("p", "cell"), [(0.5, 500), (0.9985, 998), (0.0015, 998), (1.0, 999)])
def test_one_row_is_in_the_middle_of_its_cell(p, cell):
    meter = ConfidenceMeter(["p"], 0.6)
    meter.add(pa.table({"p": [p]}))
    record = meter.record()
    assert (record.n, record.n_missing, record.sd) == (1, 0, 0.0)
    assert set(record.quantiles.values()) == {(cell + 0.5) / 1000}


def test_rows_that_are_all_equal_do_not_vary_whatever_rounding_leaves():
    for n in range(1, 50):
        meter = ConfidenceMeter(["p"], 0.6)
        meter.add(pa.table({"p": [0.9] * n}))
        assert meter.record().sd == pytest.approx(0, abs=1e-7)


def test_rows_without_a_probability_are_counted_apart():
    meter = ConfidenceMeter(["p"], 0.6)
    meter.add(pa.table({"p": [0.9, None, math.nan, 0.2, 1.0, 0.0]}))
    record = meter.record()
    assert (record.n, record.n_missing) == (4, 2)
    assert record.mean == pytest.approx((0.9 + 0.8 + 1 + 1) / 4)
    assert record.low_share == 0.0


def test_nothing_watched_is_undefined():
    record = ConfidenceMeter(["p"], 0.6).record()
    assert record.n == 0
    assert all(math.isnan(value) for value in (record.mean, record.sd, record.low_share))
    assert math.isnan(record.quantiles["p50"])
    empty = ClassCounter("q").record()
    assert math.isnan(empty.top_share)
    assert math.isnan(empty.n_effective)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"q": [0.5]}, "must return a column 'p'.*have 'q'"),
        ({"p": ["a"]}, "must hold probabilities, found string"),
        ({"p": [0.5, 1.2]}, r"1 rows outside, such as 1\.2"),
        ({"p": [-0.5, 0.2]}, r"1 rows outside, such as -0\.5"),
    ],
)
def test_what_is_no_probability_is_refused(table, message):
    with pytest.raises(DataError, match=message):
        ConfidenceMeter(["p"], 0.6).add(pa.table(table))


def test_diversity_does_not_depend_on_the_number_of_rows():
    few, many = ClassCounter("q"), ClassCounter("q")
    few.add(pa.table({"q": ["a", "a", "b", None]}))
    for _ in range(50):
        many.add(pa.table({"q": ["a", "a", "b", None]}))
    assert few.record().n_effective == pytest.approx(many.record().n_effective)
    assert few.record().top_share == pytest.approx(2 / 3)
    assert many.record().counts == {"a": 100, "b": 50}
    assert many.record().n_missing == 50


def test_classes_may_be_numbers_and_an_undefined_one_is_missing():
    counter = ClassCounter("q")
    counter.add(pa.table({"q": [1.0, 1.0, 2.0, math.nan]}))
    assert counter.record().counts == {"1": 2, "2": 1}
    assert counter.record().n_missing == 1


def test_classes_beyond_the_limit_are_counted_together(monkeypatch):
    monkeypatch.setattr(confidence, "_MAX_CLASSES", 2)
    counter = ClassCounter("q")
    counter.add(pa.table({"q": ["a", "b", "c", "d", "a"]}))
    record = counter.record()
    assert (record.counts, record.n_other, record.n) == ({"a": 2, "b": 1}, 2, 5)
    counter.add(pa.table({"q": ["b", "b", "c"]}))
    # a class that is known counts on, and the most frequent comes first
    assert list(counter.record().counts.items()) == [("b", 3), ("a", 2)]
    assert counter.record().n_other == 3


def test_a_thousand_classes_are_told_apart():
    counter = ClassCounter("q")
    counter.add(pa.table({"q": np.arange(1002)}))
    assert (len(counter.record().counts), counter.record().n_other) == (1000, 2)


def test_a_table_without_the_class_is_refused():
    with pytest.raises(DataError, match=r"must return a column 'q'.*have 'p'"):
        ClassCounter("q").add(pa.table({"p": [0.5]}))


def counted(column):
    counter = ClassCounter("q")
    counter.add(pa.table({"q": column}))
    return counter.record()


@pytest.mark.parametrize(
    ("column", "counts", "missing"),
    [
        (pa.array([2**53, 2**53 + 1, None]), {str(2**53): 1, str(2**53 + 1): 1}, 1),
        (pa.array([2**64 - 1], pa.uint64()), {str(2**64 - 1): 1}, 0),
        (pa.array(["a", "", " ", None, "a"]), {"a": 2}, 3),
        (pa.array(["a", "", "a"]).dictionary_encode(), {"a": 2}, 1),
        (pa.array(["a", "b"], pa.string_view()), {"a": 1, "b": 1}, 0),
        (pa.array([True, False, True]), {"1": 2, "0": 1}, 0),
        (pa.array([1.0, math.nan, math.inf]), {"1": 1}, 2),
        (pa.array([date(2026, 1, 1)]), {"2026-01-01": 1}, 0),
        (pa.array([UUID(int=5).bytes], pa.binary(16)), {str(UUID(int=5)): 1}, 0),
        (pa.array([b"a" * 16], pa.binary(16)), {"a" * 16: 1}, 0),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_predicted_class_is_its_value_however_it_is_stored(column, counts, missing):
    found = counted(column)
    assert (found.counts, found.n_missing) == (counts, missing)


def test_lists_are_no_classes():
    with pytest.raises(DataError, match="'q' must hold classes, found list"):
        counted(pa.array([[1], [2]]))


def test_a_duration_is_no_probability():
    with pytest.raises(DataError, match="must hold probabilities, found duration"):
        ConfidenceMeter(["p"], 0.5).add(pa.table({"p": pa.array([0, 1], pa.duration("s"))}))
