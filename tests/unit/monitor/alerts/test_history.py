from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flytekitplugins.wbmon.monitor.alerts.history import (
    diff_from_previous,
    headline_numbers,
    missing_reports,
    previous_window,
    remember_window,
    summarise_window,
)
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, WindowSummary
from flytekitplugins.wbmon.monitor.service.report import ServingReport, Traffic
from support.examples import (
    AT,
    decision,
    drift_report,
    performance_report,
    scoring_report,
    slo_report,
)

DAY = timedelta(days=1)


def night(number: int = 0, **changes: object) -> WindowSummary:
    return WindowSummary(
        **{"at": AT + number * DAY, "severity": "none", "reason": "fine", **changes}
    )


def test_a_night_keeps_the_headline_of_each_report() -> None:
    numbers = headline_numbers([drift_report(), performance_report(), scoring_report(), None])
    assert numbers["drift/n_current"] == 900
    assert numbers["performance/accuracy"] == 0.7
    assert numbers["scoring/latency_ms/p99"] == 7.0
    assert "performance/roc_auc" not in numbers, "an undefined number has no place in a chart"


def test_a_night_keeps_the_headline_of_a_service() -> None:
    traffic = Traffic(name="all", n_requests=900, error_rate=0.05, latency_ms={"p99": 7.0})
    served = ServingReport(start_at=AT, end_at=AT, total=traffic, reason="served")
    numbers = headline_numbers([served, slo_report()])
    assert numbers == pytest.approx(
        {
            "serving/requests": 900,
            "serving/error_rate": 0.05,
            "serving/latency_ms/p99": 7.0,
            "slo/up/burn_rate": 5.0,
            "slo/up/burn_rate/low": 4.0,
            "slo/up/burn_rate/high": 6.0,
        }
    )


def test_a_night_keeps_what_its_rules_said_and_what_drifted() -> None:
    kept = summarise_window(decision(), [drift_report(level="drift")])
    assert kept.phases == {"drift.drifted > 0": "firing"}
    assert kept.severity == "error"
    assert kept.drifted == ("amount",)


def test_a_missing_report_is_a_finding() -> None:
    (finding,) = missing_reports({"drift": None, "performance": performance_report()})
    assert "no drift report" in finding


def test_changes_name_rules_features_and_numbers() -> None:
    before = night(phases={"a": "ok", "b": "ok"}, drifted=("x",), numbers={"performance/f1": 0.8})
    now = night(
        1,
        phases={"a": "firing", "b": "ok", "c": "no_data"},
        drifted=("y",),
        numbers={"performance/f1": 0.6},
    )
    assert diff_from_previous(before, now) == (
        "a: ok → firing",
        "c: new → no data",
        "drifts now: y",
        "drifts no more: x",
        "performance f1: 0.8 → 0.6 (-25.0%)",
    )


def test_small_changes_and_the_speed_of_the_machine_are_no_news() -> None:
    before = night(numbers={"performance/f1": 0.8, "scoring/rows_per_s": 10.0})
    now = night(1, numbers={"performance/f1": 0.801, "scoring/rows_per_s": 90.0})
    assert diff_from_previous(before, now) == ()


def test_a_metric_that_moved_within_its_interval_is_no_news() -> None:
    before = night(numbers={"performance/f1": 0.8, "performance/recall": 0.8})
    interval = {"performance/f1/low": 0.7, "performance/f1/high": 0.9}
    clear = {"performance/recall/low": 0.81, "performance/recall/high": 0.9}
    now = night(
        1, numbers={"performance/f1": 0.75, "performance/recall": 0.85, **interval, **clear}
    )
    assert diff_from_previous(before, now) == ("performance recall: 0.8 → 0.85 (+6.2%)",)


def test_the_ends_of_intervals_are_not_kept_for_later_nights() -> None:
    now = night(numbers={"performance/f1": 0.75, "performance/f1/low": 0.7})
    (kept,) = remember_window(AlertMemory(), now, keep=3)
    assert kept.numbers == {"performance/f1": 0.75}


def test_a_number_that_was_zero_has_no_relative_change() -> None:
    before, now = night(numbers={"drift/n": 0.0}), night(1, numbers={"drift/n": 2.0})
    assert diff_from_previous(before, now) == ("drift n: 0 → 2",)


def test_the_first_night_has_nothing_to_be_compared_with() -> None:
    assert diff_from_previous(None, night(numbers={"performance/f1": 0.8})) == ()


def test_the_night_before_is_the_newest_one_earlier() -> None:
    memory = AlertMemory(history=(night(0), night(1), night(3)))
    assert previous_window(memory, AT + 3 * DAY) == night(1)
    assert previous_window(memory, AT) is None


@pytest.mark.parametrize("keep", [1, 3])
def test_only_the_last_nights_are_kept_in_order(keep: int) -> None:
    memory = AlertMemory()
    for number in (0, 2, 1, 4, 3):
        memory = replace(memory, history=remember_window(memory, night(number), keep=keep))
    assert [one.at for one in memory.history] == [AT + n * DAY for n in (2, 3, 4)[-keep:]]


def test_a_night_judged_again_replaces_itself() -> None:
    memory = AlertMemory(history=(night(0), night(1)))
    after = remember_window(memory, night(0, reason="labels came"), keep=9)
    assert [one.reason for one in after] == ["labels came", "fine"]
