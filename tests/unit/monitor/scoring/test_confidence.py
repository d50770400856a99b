from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

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
        ({"q": [0.5]}, "must return a column 'p'.*have q"),
        ({"p": ["a"]}, "must hold probabilities, found string"),
        ({"p": [0.5, 1.2]}, r"1 rows outside, such as 1\.2"),
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
