"""Traces of chains and agents: where failures begin, who is slow, who goes round in circles."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.steps.analyze import analyse_steps
from flytekitplugins.wbmon.monitor.llm.steps.report import Span, StepReport
from flytekitplugins.wbmon.monitor.llm.steps.spans import spans_of_records
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

START = datetime(2026, 3, 2, tzinfo=timezone.utc)


PARTS = [("agent", ""), ("search", "agent")]


def span(trace: str, name: str, parent: str = "", ms: float = 10.0, **fields: Any) -> Span:
    fields.setdefault("ended_at", START + timedelta(milliseconds=ms))
    return Span(
        id=f"{trace}/{name}/{fields.pop('n', 0)}",
        trace_id=trace,
        parent_id=f"{trace}/{parent}/0" if parent else "",
        name=name,
        started_at=START,
        **fields,
    )


def chain(trace: str, *, error: str = "") -> list[Span]:
    return [
        span(trace, "agent", ms=100, error=error),
        span(trace, "plan", "agent", ms=20, tokens=50),
        span(trace, "search", "agent", ms=70, error=error),
        span(trace, "fetch", "search", ms=60, error=error),
    ]


def test_a_failure_is_charged_to_the_step_where_it_began() -> None:
    report = analyse_steps(
        [*chain("a"), *chain("b", error="Timeout"), *chain("c", error="Timeout")]
    )

    assert (report.n_traces, report.n_failed) == (3, 2)
    first = report.steps[0]
    assert (first.name, first.n_origin, first.n_errors) == ("fetch", 2, 2)
    assert first.errors == {"Timeout": 2}
    assert {step.name: step.n_origin for step in report.steps}["search"] == 0
    assert "2 failures begin in fetch (Timeout)" in report.reason


def test_time_and_tokens_are_each_steps_own() -> None:
    steps = {step.name: step for step in analyse_steps(chain("a")).steps}

    assert steps["agent"].own_ms == 10
    assert steps["search"].own_ms == 10
    assert steps["fetch"].latency_ms["p50"] == 60
    assert steps["plan"].tokens == 50


def test_a_step_that_failed_and_was_recovered_from_is_no_failure() -> None:
    report = analyse_steps([span("a", "agent"), span("a", "search", "agent", error="Timeout")])

    assert (report.n_failed, report.n_recovered) == (0, 1)


def test_the_same_question_three_times_is_a_loop() -> None:
    asked = [span("a", "search", "agent", n=n, fingerprint="same") for n in range(3)]
    other = [span("b", "search", "agent", n=n, fingerprint=str(n)) for n in range(3)]
    once = [span("c", "search", "agent", fingerprint="same")]
    report = analyse_steps(
        [span("a", "agent"), *asked, span("b", "agent"), *other, span("c", "agent"), *once]
    )

    assert report.n_looping == 1
    assert report.loops == {"search": 1}


def test_a_trace_that_stops_without_a_result_is_a_dead_end() -> None:
    report = analyse_steps(
        [
            span("a", "agent", ended_at=None),
            span("b", "agent", has_output=False),
            span("c", "agent"),
        ]
    )

    assert report.n_dead_ends == 2
    assert "2 end without a result" in report.reason


def test_the_write_ahead_log_of_traces_can_be_read_as_steps() -> None:
    def start(name: str, parent: str | None = None) -> dict:
        call = {"id": name, "trace_id": "t", "parent_id": parent, "inputs": {"q": 1}}
        call |= {"op_name": f"weave:///e/p/op/{name}:v1", "started_at": "2026-03-02T00:00:00Z"}
        return {"type": "call_start", "req": {"start": call}}

    def end(name: str, tokens: int, exception: str | None = None) -> dict:
        usage = {"house": {"prompt_tokens": tokens, "completion_tokens": 0}}
        call = {"id": name, "ended_at": "2026-03-02T00:00:01Z", "output": "x"}
        call |= {"summary": {"usage": usage}, "exception": exception}
        return {"type": "call_end", "req": {"end": call}}

    records = [
        start("agent"),
        start("llm", "agent"),
        end("llm", 7, '{"type": "E"}'),
        end("agent", 7),
    ]
    spans = {each.name: each for each in spans_of_records(records)}

    assert spans["llm"].tokens == 7
    assert spans["agent"].tokens == 0, "what is inside is not counted twice"
    assert spans["llm"].error == "E"
    assert spans["agent"].latency_ms == 1000
    assert "Step report" in analyse_steps(spans.values()).to_html()


def numbers(report: StepReport) -> dict[str, float]:
    return {each.name: each.value for each in report.measurements()}


def test_no_trace_is_said_and_measures_nothing() -> None:
    report = analyse_steps([])

    assert report.reason == report.unmeasured == "no trace in this window"
    assert math.isnan(numbers(report)["error_rate"])
    assert math.isnan(numbers(report)["dead_end_rate"])
    assert 'class="verdict warn"' in report.to_html()


def test_a_trace_without_its_root_never_ended_and_is_no_good_one() -> None:
    # a killed task logs the steps that it finished, and not itself
    killed = [each for name in "bc" for each in chain(name)[1:]]
    report = analyse_steps([*chain("a", error="Timeout"), *killed])

    assert (report.n_traces, report.n_dead_ends, report.n_unfinished) == (3, 2, 2)
    assert numbers(report)["error_rate"] == 1, "one ended, and it failed"
    assert numbers(report)["dead_end_rate"] == pytest.approx(2 / 3)
    assert "2 end without a result, 2 of them never ended" in report.reason
    assert report.unmeasured == ""


def test_a_trace_of_two_roots_ends_with_both() -> None:
    report = analyse_steps([span("a", "ask"), span("a", "log", ended_at=None), span("b", "ask")])

    assert (report.n_traces, report.n_dead_ends, report.n_unfinished) == (2, 1, 1)


def test_where_no_trace_ended_nobody_knows_whether_they_failed() -> None:
    report = analyse_steps([*chain("a")[1:], span("b", "agent", ended_at=None)])

    assert report.unmeasured == "none of 2 traces ended"
    assert math.isnan(numbers(report)["error_rate"])
    assert record_from_json(StepReport, record_to_json(report)).unmeasured


@pytest.mark.parametrize("error", ["", "Timeout"])
def test_one_span_is_a_trace_that_failed_or_did_not(error: str) -> None:
    report = analyse_steps([span("a", "agent", error=error)])

    assert numbers(report)["error_rate"] == float(bool(error))
    assert report.n_dead_ends == 0
    assert report.unmeasured == ""


def test_where_every_span_failed_every_trace_did() -> None:
    report = analyse_steps(
        [span(trace, name, parent, error="E") for trace in "abc" for name, parent in PARTS]
    )

    assert numbers(report)["error_rate"] == 1
    assert report.n_dead_ends == report.n_recovered == 0
    assert report.steps[0].name == "search"


def test_the_own_time_of_a_step_that_never_ended_is_unknown() -> None:
    report = analyse_steps([span("a", "agent", ended_at=None)])

    assert math.isnan(report.steps[0].own_ms)


DAY = timedelta(days=1)


def trace(name: str, began_at: datetime, *, hours: float = 0.01, error: str = "") -> list[Span]:
    ended_at = began_at + timedelta(hours=hours)
    root = Span(
        id=name, trace_id=name, name="a", started_at=began_at, ended_at=ended_at, error=error
    )
    late = ended_at - timedelta(seconds=1)
    step = Span(
        id=f"{name}/s", trace_id=name, parent_id=name, name="s", started_at=late, ended_at=ended_at
    )
    return [root, step]


@given(
    hours=st.lists(st.tuples(st.floats(0, 95.99), st.floats(0.01, 60)), max_size=20),
    length=st.sampled_from([1, 7, 24, 48]),
)
def test_windows_side_by_side_count_each_trace_once(
    hours: list[tuple[float, float]], length: int
) -> None:
    spans = [
        each
        for number, (began, lasted) in enumerate(hours)
        for each in trace(str(number), START + timedelta(hours=began), hours=lasted)
    ]
    ends = [START + timedelta(hours=end) for end in range(0, 96 + length, length)]
    counts = [analyse_steps(spans, start=start, end=end).n_traces for start, end in pairwise(ends)]

    assert sum(counts) == len(hours)
    for count, (start, end) in zip(counts, pairwise(ends), strict=True):
        began = [START + timedelta(hours=hour) for hour, _ in hours]
        assert count == sum(start <= at < end for at in began)


def test_a_bad_night_does_not_hide_behind_good_ones() -> None:
    good = [each for n in range(90) for each in trace(f"g{n}", START + n % 9 * DAY)]
    bad = [each for n in range(10) for each in trace(f"b{n}", START + 9 * DAY, error="Boom")]

    night = analyse_steps([*good, *bad], start=START + 9 * DAY, end=START + 10 * DAY)
    dead = analyse_steps([*good, *bad], start=START + 10 * DAY, end=START + 11 * DAY)

    assert numbers(night)["error_rate"] == 1
    assert [step.n for step in night.steps] == [10, 10], "its steps are those of the night"
    assert dead.unmeasured == "no trace in this window"
    assert "2026-03-11 00:00 UTC" in night.to_html()
    assert "all traces of the log" in analyse_steps(good).to_html()


def test_a_trace_that_never_ended_belongs_to_the_window_of_its_first_step() -> None:
    _, step = trace("a", START + DAY - timedelta(hours=1), hours=0.5)

    assert analyse_steps([step], start=START, end=START + DAY).n_unfinished == 1
    assert analyse_steps([step], start=START + DAY, end=START + 2 * DAY).n_traces == 0


def test_a_window_must_have_a_length() -> None:
    with pytest.raises(ConfigError, match="start must be before end"):
        analyse_steps([], start=START, end=START)


def test_a_report_of_an_earlier_release_has_no_window() -> None:
    stored = json.loads(record_to_json(analyse_steps(chain("a"), start=START, end=START + DAY)))
    old = {name: value for name, value in stored.items() if name not in ("start_at", "end_at")}

    assert record_from_json(StepReport, json.dumps(stored)).start_at == START
    assert record_from_json(StepReport, json.dumps(old)).start_at is None
