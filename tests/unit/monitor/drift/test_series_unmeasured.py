"""Series of windows in which something is missing: a segment tonight, times, the whole night."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from flytekitplugins.wbmon import (
    AlertRule,
    check_drift,
    drift_series,
    evaluate_rules,
    profile_data,
)
from support.examples import AT


def table(rng, days=3, n=400, segments=("a", "b"), shift=0.0):
    frames = [
        pd.DataFrame(
            {
                "x": rng.normal(shift, 1, n),
                "at": AT + timedelta(days=day, minutes=1),
                "segment": segment,
            }
        )
        for day in range(days)
        for segment in segments
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def reference(rng):
    return profile_data(pd.DataFrame({"x": rng.normal(size=4000)}))


def numbers(series):
    return {each.name: each for each in series.measurements()}


def test_a_segment_without_a_row_tonight_is_not_that_of_the_night_before(rng, reference):
    frame = table(rng)
    last = frame["at"] == frame["at"].max()
    series = drift_series(
        frame[~(last & (frame["segment"] == "b"))], like=reference, at="at", segment="segment"
    )
    assert numbers(series)["window.drifted.a"].value == 0
    assert "window.drifted.b" not in numbers(series)
    rule = AlertRule(metric="drift_series.window.drifted.b", above=0)
    (alert,) = evaluate_rules([rule], [series], at=AT).alerts
    assert (alert.phase, "no row of the newest window" in alert.reason) == ("no_data", True)


def test_a_rule_on_a_segmented_series_must_say_of_which_segment(rng, reference):
    series = drift_series(table(rng, shift=3), like=reference, at="at", segment="segment")
    (alert,) = evaluate_rules(
        [AlertRule(metric="drift_series.window.drifted", above=0)], [series], at=AT
    ).alerts
    assert alert.is_broken
    assert "say whose" in alert.reason


@pytest.mark.parametrize(("share", "is_told"), [(0.04, False), (0.3, True)])
def test_many_rows_without_a_time_are_told(rng, reference, share, is_told):
    frame = table(rng, segments=("a",))
    frame.loc[frame.index[: round(share * len(frame))], "at"] = pd.NaT
    series = drift_series(frame, like=reference, at="at")
    assert bool(series.unmeasured) == is_told
    if is_told:
        assert series.unmeasured.startswith("360 of 1,200 rows are in no window")


def test_the_newest_window_of_too_few_rows_is_told_beside_good_ones(rng, reference):
    frame = pd.concat([table(rng, days=4, n=2000), table(rng, days=5, n=5).tail(10)])
    frame = frame.drop(columns="segment")
    series = drift_series(frame, like=reference, at="at")
    assert numbers(series)["drifted"].value == 0
    assert "too few rows for any answer: the window has 10" in series.unmeasured
    assert math.isnan(numbers(series)["window.drifted"].value)
    assert np.isfinite(numbers(series)["share_drifted"].value)


def test_past_windows_without_rows_are_said_to_calibrate_nothing(rng, reference):
    nothing = profile_data(pd.DataFrame({"x": []}), like=reference)
    now = profile_data(pd.DataFrame({"x": rng.normal(size=1000)}), like=reference)
    report = check_drift(reference, now, past=[nothing] * 7)
    assert report.n_past == 0
    assert "not calibrated: 0 past windows (7 more have no row), 5 are needed" in report.reason
    some = check_drift(reference, now, past=[now, now, nothing])
    assert "not calibrated: 2 past windows (1 more have no row), 5 are needed" in some.reason
