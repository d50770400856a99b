from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from flytekitplugins.wbmon.monitor.alerts.history import (
    diff_from_previous,
    headlines,
    missing_reports,
    previous_window,
    remember_window,
    summarise_window,
    with_intervals,
)
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, WindowSummary
from flytekitplugins.wbmon.monitor.service.report import ServingReport, Traffic
from flytekitplugins.wbmon.reports.measurement import Measurement, number
from support.examples import (
    AT,
    decision,
    drift_report,
    performance_report,
    scoring_report,
    slo_report,
)

DAY = timedelta(days=1)
NOW = AT + 99 * DAY


def night(number: int = 0, **changes: object) -> WindowSummary:
    return WindowSummary(
        **{"at": AT + number * DAY, "severity": "none", "reason": "fine", **changes}
    )


def test_a_night_keeps_the_headline_of_each_report() -> None:
    numbers = with_intervals(
        headlines([drift_report(), performance_report(), scoring_report(), None])
    )
    assert numbers["drift/n_current"] == 900
    assert numbers["performance/accuracy"] == 0.7
    assert numbers["scoring/latency_ms/p99"] == 7.0
    assert "performance/roc_auc" not in numbers, "an undefined number has no place in a chart"


def test_a_night_keeps_the_headline_of_a_service() -> None:
    traffic = Traffic(name="all", n_requests=900, error_rate=0.05, latency_ms={"p99": 7.0})
    served = ServingReport(start_at=AT, end_at=AT, total=traffic, reason="served")
    numbers = with_intervals(headlines([served, slo_report()]))
    assert numbers == pytest.approx(
        {
            "serving/n_requests": 900,
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


def test_a_night_keeps_where_to_look_and_what_was_wrong_with_the_monitor() -> None:
    links = {"W&B run": "https://wandb.ai/run"}
    told = replace(decision(), findings=("no scoring report came",), links=links)
    assert summarise_window(told, []) == WindowSummary(
        at=AT,
        severity="error",
        reason="drift",
        phases={"drift.drifted > 0": "firing"},
        findings=("no scoring report came",),
        links=links,
    )


def test_a_missing_report_is_a_finding() -> None:
    (finding,) = missing_reports({"drift": None, "performance": performance_report()})
    assert "no drift report" in finding


def measured(**values: float | tuple[float, float, float]) -> dict[str, Measurement]:
    """Numbers that are news, by their names in W&B; a tuple is a value with its interval."""
    numbers = {}
    for name, given in values.items():
        value, low, high = given if isinstance(given, tuple) else (given, math.nan, math.nan)
        one = number(name, value=value, low=low, high=high, prominence="news", kind="performance")
        numbers[one.metric] = one
    return numbers


def changed(before: dict[str, float], now: dict[str, Measurement]) -> tuple[str, ...]:
    old = {f"performance/{name}": value for name, value in before.items()}
    return diff_from_previous(night(numbers=old), night(1), now)


def test_changes_name_rules_features_and_numbers() -> None:
    before = night(phases={"a": "ok", "b": "ok"}, drifted=("x",), numbers={"performance/f1": 0.8})
    now = night(1, phases={"a": "firing", "b": "ok", "c": "no_data"}, drifted=("y",))
    assert diff_from_previous(before, now, measured(f1=0.6)) == (
        "a: ok → firing",
        "c: new → no data",
        "drifts now: y",
        "drifts no more: x",
        "performance f1: 0.8 → 0.6 (-25.0%)",
    )


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (0.8, None),
        (0.8079, None),
        (0.8081, "performance f1: 0.8 → 0.8081 (+1.0%)"),
        (0.7921, None),
        (0.7919, "performance f1: 0.8 → 0.7919 (-1.0%)"),
    ],
)
def test_a_change_is_news_from_one_percent_on(now: float, words: str | None) -> None:
    assert changed({"f1": 0.8}, measured(f1=now)) == (() if words is None else (words,))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (100.0, 101.0, "100 → 101 (+1.0%)"),  # exactly one percent
        (100.0, 99.0, "100 → 99 (-1.0%)"),
        (-2.0, -1.0, "-2 → -1 (+50.0%)"),
        (-2.0, -3.0, "-2 → -3 (-50.0%)"),
    ],
)
def test_a_change_is_a_share_of_the_size_that_the_number_had(
    old: float, new: float, words: str
) -> None:
    assert changed({"f1": old}, measured(f1=new)) == (f"performance f1: {words}",)


def test_eight_features_are_named_and_what_did_not_change_is_not() -> None:
    many = tuple(f"f{i}" for i in range(9))
    shown = ", ".join(many[:8])
    before, now = night(drifted=("same",)), night(1, drifted=("same", *many))
    assert diff_from_previous(before, now, {}) == (f"drifts now: {shown}",)
    assert diff_from_previous(now, before, {}) == (f"drifts no more: {shown}",)
    assert diff_from_previous(now, now, {}) == ()


def test_the_largest_change_comes_first_and_eight_are_named() -> None:
    before = {f"m{i}": 1.0 for i in range(10)}
    now = measured(**{f"m{i}": 1.0 + 0.02 * (i + 1) for i in range(10)})
    assert [line.split(":")[0] for line in changed(before, now)] == [
        f"performance m{i}" for i in range(9, 1, -1)
    ]


def test_the_speed_of_the_machine_is_no_news() -> None:
    report = scoring_report()
    before = night(numbers={"scoring/rows_per_s": 1.0, "scoring/latency_ms/p99": 1.0})
    assert diff_from_previous(before, night(1), headlines([report])) == ()
    assert {"scoring/rows_per_s", "scoring/latency_ms/p99"} <= set(headlines([report]))


@pytest.mark.parametrize(
    ("old", "is_news"), [(0.7, False), (0.9, False), (0.69, True), (0.91, True)]
)
def test_a_metric_that_moved_within_its_interval_is_no_news(old: float, is_news: bool) -> None:
    assert bool(changed({"f1": old}, measured(f1=(0.8, 0.7, 0.9)))) is is_news


def test_the_ends_of_intervals_are_not_kept_for_later_nights() -> None:
    report = performance_report()
    shown = with_intervals(headlines([report]))
    kept = summarise_window(replace(decision(), numbers=shown), [report])
    assert shown["performance/accuracy/low"] == 0.65
    assert kept.numbers == {
        "performance/accuracy": 0.7,
        "performance/coverage": 0.75,
        "performance/n_rows": 400.0,
        "performance/n_labelled": 300.0,
    }


def test_a_number_that_was_zero_has_no_relative_change() -> None:
    assert changed({"n": 0.0}, measured(n=2.0)) == ("performance n: 0 → 2",)


def test_the_first_night_has_nothing_to_be_compared_with() -> None:
    assert diff_from_previous(None, night(), measured(f1=0.8)) == ()


def test_the_night_before_is_the_newest_one_earlier() -> None:
    memory = AlertMemory(history=(night(0), night(1), night(3)))
    assert previous_window(memory, AT + 3 * DAY) == night(1)
    assert previous_window(memory, AT) is None


@pytest.mark.parametrize("keep", [1, 3])
def test_only_the_last_nights_are_kept_in_order(keep: int) -> None:
    memory = AlertMemory()
    for day in (0, 2, 1, 4, 3):
        memory = replace(memory, history=remember_window(memory, night(day), keep=keep, now=NOW))
    assert [one.at for one in memory.history] == [AT + n * DAY for n in (2, 3, 4)[-keep:]]


def test_a_night_judged_again_replaces_itself() -> None:
    memory = AlertMemory(history=(night(0), night(1)))
    after = remember_window(memory, night(0, reason="labels came"), keep=9, now=NOW)
    assert [one.reason for one in after] == ["labels came", "fine"]
