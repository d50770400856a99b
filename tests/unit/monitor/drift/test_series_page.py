from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries, WindowDrift
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from support.examples import drift_report

FIRST = datetime(2026, 2, 2, tzinfo=timezone.utc)


def series(*levels: str, segment: str = "") -> DriftSeries:
    """One day a level, of one feature."""
    windows = []
    for day, level in enumerate(levels):
        start = FIRST + timedelta(days=day)
        report = dataclasses.replace(
            drift_report(level=level, effect_size=0.2),
            verdict="drift" if level == "drift" else "ok",
        )
        windows.append(
            WindowDrift(start=start, end=start + timedelta(days=1), segment=segment, report=report)
        )
    return DriftSeries(windows=tuple(windows), n_undated=3)


def test_the_page_says_when_it_began_and_shows_the_course() -> None:
    html = series("none", "drift", "drift").to_html()
    assert html.count("<polyline") == 1
    assert "first in 2026-02-03" in html
    assert "3 rows without a time in no window" in html


def test_one_window_has_no_course() -> None:
    assert "<polyline" not in series("none").to_html()


def test_a_segment_named_like_markup_stays_text() -> None:
    html = series("none", "none", segment="<i>").to_html()
    assert "<i>" not in html
    assert "&lt;i&gt;" in html


def test_segments_without_time_are_listed_only() -> None:
    window = WindowDrift(start=None, end=None, segment="north", report=drift_report())
    html = DriftSeries(windows=(window,)).to_html()
    assert "<svg viewBox" not in html
    assert "north" in html


def test_a_series_reads_back_as_it_was_written() -> None:
    written = series("none", "drift")
    assert repr(record_from_json(DriftSeries, record_to_json(written))) == repr(written)
