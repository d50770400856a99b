"""Findings about windows that hold unusually much or little, from what the memory knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flytekitplugins.wbmon import DriftReport, DriftRule, PerformanceReport
from flytekitplugins.wbmon.monitor.alerts.history import headlines
from flytekitplugins.wbmon.monitor.alerts.state import WindowSummary
from flytekitplugins.wbmon.monitor.alerts.volume import volume_findings
from flytekitplugins.wbmon.monitor.scoring.report import ScoringReport
from support.examples import AT


def scored(n: int) -> ScoringReport:
    return ScoringReport(n_rows=n, n_batches=1, duration_s=1.0, predict_s=0.5)


def nights(volumes, *, metric="scoring/n_rows", step=timedelta(days=1)):
    first = AT - step * len(volumes)
    return [
        WindowSummary(
            at=first + step * i, severity="none", reason="", phases={}, numbers={metric: float(n)}
        )
        for i, n in enumerate(volumes)
    ]


def found(report, history):
    return list(volume_findings([None, report], headlines([report]), history, AT).values())


def test_a_tenth_of_the_usual_rows_is_a_finding():
    assert found(scored(300), nights([3000] * 6)) == [
        "scoring has an unusual n_rows: 300 where past windows had 3,000 to 3,000 (the middle 80 % "
        "of 6, 0.1 times the median)"
    ]
    assert not found(scored(2900), nights([3000] * 6))
    assert found(scored(9000), nights([3000] * 6))


def test_the_window_itself_and_later_ones_are_not_what_is_usual():
    history = [*nights([3000] * 5), *nights([300] * 60)[:0]]
    later = [
        WindowSummary(
            at=AT + timedelta(days=i), severity="none", reason="", phases={},
            numbers={"scoring/n_rows": 300.0},
        )
        for i in range(30)
    ]  # fmt: skip
    assert found(scored(300), [*history, *later])


def test_a_quiet_sunday_is_usual_once_five_were_seen_and_a_busy_one_is_not():
    weeks = [100.0 if (AT - timedelta(days=60 - i)).weekday() == AT.weekday() else 3000.0
             for i in range(60)]  # fmt: skip
    assert not found(scored(110), nights(weeks))
    assert found(scored(1500), nights(weeks))
    assert found(scored(20), nights(weeks))


def test_hours_of_one_day_are_no_weekdays():
    # of 60 hours the last 24 are of the same weekday; that of the day before counts, too
    hours = nights([1000.0] * 36 + [200.0] * 24, step=timedelta(hours=1))
    assert not found(scored(1000), hours)


def test_windows_without_rows_are_no_example_of_usual_ones():
    outage = nights([20_000] * 27 + [0] * 4)
    assert found(scored(200), outage)
    assert not found(scored(20_000), outage)
    # a monitor that began with empty nights knows nothing of what is usual
    assert not found(scored(20_000), nights([0] * 8))


def test_an_unusual_window_is_no_example_until_it_has_lasted_for_a_week():
    def lasting(n):
        before = nights([3000] * 40 + [900] * n)
        fallen = ("scoring/n_rows",)
        return [*before[:40], *(replace(each, unusual=fallen) for each in before[40:])]

    assert [bool(found(scored(900), lasting(n))) for n in (1, 4, 7)] == [True] * 3
    assert not found(scored(900), lasting(30))


def test_what_could_not_be_judged_is_not_told_twice():
    assert not found(scored(0), nights([3000] * 6))


def test_without_memory_a_drift_check_knows_its_past_windows():
    report = DriftReport(
        rule=DriftRule(),
        n_reference=3000,
        n_current=300,
        verdict="drift",
        reason="",
        past_rows=(2900, 3000, 3100, 3000, 3000),
        features={},
    )
    (told,) = found(report, [])
    assert told.startswith("drift has an unusual n_current: 300 where past windows had")
    assert report.volume_ratio == pytest.approx(0.1)
    numbers = {each.name: each for each in report.measurements()}
    assert numbers["volume_ratio"].value == pytest.approx(0.1)
    # the memory of the alert node goes first: it knows the windows in between
    assert not found(report, nights([300] * 6, metric="drift/n_current"))


def test_a_performance_report_has_a_volume_of_its_kind():
    report = PerformanceReport(
        task="regression", status="ok", n_rows=10, n_labelled=10, metrics={}, reason=""
    )
    assert found(report, nights([500] * 9, metric="performance/n_rows"))
