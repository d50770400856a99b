from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.performance.calibration_report import Calibration, ReliabilityBin
from flytekitplugins.wbmon.monitor.performance.check import check_performance
from flytekitplugins.wbmon.monitor.performance.part import (
    Metric,
    Part,
)
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport


def report(**parts):
    metric = Metric(name="accuracy", value=0.8, low=0.7, high=0.9, n=90, higher_is_better=True)
    given = {
        "task": "classification",
        "status": "ok",
        "n_rows": 100,
        "n_labelled": 90,
        "metrics": {"accuracy": metric},
        "reason": "measured",
    }
    return PerformanceReport(**given | parts)


def part(value, **changed):
    given = {
        "by": "country",
        "value": value,
        "status": "ok",
        "n_rows": 10,
        "n_labelled": 9,
        "metrics": report().metrics,
        "verdict": "worse",
    }
    return Part(**given | changed)


def test_a_page_shows_the_window_in_parts_and_hides_the_last_of_many():
    html = report(
        segments=tuple(part(f"<{i}>") for i in range(25)), chunks=(part("2026-01-01"),)
    ).to_html()
    assert "Segments, worst first" in html
    assert "&lt;0&gt;" in html
    assert "<0>" not in html
    assert "5 more" in html
    assert "In the course of time" in html


def test_a_small_part_shows_its_status_and_not_a_verdict():
    html = report(segments=(part("DE", status="insufficient", verdict="unknown"),)).to_html()
    assert "insufficient" in html


@pytest.mark.parametrize(
    ("too_sure", "words"),
    [(True, "too sure"), (False, "not sure enough"), (None, "to be believed")],
)
def test_a_page_says_whether_probabilities_are_to_be_believed(too_sure, words):
    bins = (ReliabilityBin(score=0.2, share=0.25, share_low=0.1, share_high=0.4, weight=1234),)
    calibration = Calibration(
        error=0.05, error_by_chance=0.02, p_value=0.01, too_sure=too_sure, bins=bins
    )
    html = report(calibration=calibration).to_html()
    assert words in html
    assert "1,234" in html


_WORDS = st.sampled_from([None, "", "a", "b", "nan", "<b>", "7"])
_SCORES = st.sampled_from([None, 0.0, 0.5, 1.0, math.nan])
_NUMBERS = st.sampled_from([None, 0.0, 1.0, -2.5, 1e308, math.inf, math.nan])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(_WORDS, _WORDS, _SCORES, _WORDS), max_size=12),
    st.integers(1, 6),
    st.booleans(),
)
def test_any_window_of_classes_has_a_page(rows, copies, has_score):
    columns = list(zip(*rows * copies, strict=True)) or [()] * 4
    kinds = (pa.string(), pa.string(), pa.float64(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    table = pa.table(dict(zip("ypsc", arrays, strict=True)))
    given_ = {"task": "classification", "label": "y", "prediction": "p", "segments": ("c",)}
    try:
        report = check_performance(
            table, **given_, score="s" if has_score else None, cluster="c", min_rows=4
        )
    except DataError:  # scores of more than two classes
        return
    again = check_performance(
        table, **given_, score="s" if has_score else None, baseline=report, min_rows=4
    )
    for each in (report, again):
        assert "Performance report" in each.to_html()
        assert list(each.measurements())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(_NUMBERS, _NUMBERS, _WORDS), max_size=12), st.integers(1, 6))
def test_any_window_of_values_has_a_page(rows, copies):
    columns = list(zip(*rows * copies, strict=True)) or [()] * 3
    kinds = (pa.float64(), pa.float64(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    table = pa.table(dict(zip("ypc", arrays, strict=True)))
    given_ = {"task": "regression", "label": "y", "prediction": "p", "segments": ("c",)}
    report = check_performance(table, **given_, cluster="c", min_rows=4)
    again = check_performance(table, **given_, baseline=report, min_rows=4)
    for each in (report, again):
        assert "Performance report" in each.to_html()
        assert list(each.measurements())
