from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flytekitplugins.wbmon import AlertRule, evaluate_rules
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.service.experiment import compare_variants
from flytekitplugins.wbmon.monitor.service.experiment_plan import ExperimentPlan
from flytekitplugins.wbmon.monitor.service.slo import check_slos
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO
from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving
from flytekitplugins.wbmon.serving import Experiment
from flytekitplugins.wbmon.serving.log.feedback import exposure_row, feedback_row
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def window(
    latencies: Any,
    *,
    at: datetime = NOON,
    failed: int = 0,
    chunks: Any = (),
    **marks: Any,
) -> dict[str, Any]:
    n = len(latencies)
    status = {"2xx": n - failed, "5xx": failed}
    made = {
        "window_start": at.isoformat(timespec="microseconds"),
        "window_end": (at + timedelta(seconds=10)).isoformat(timespec="microseconds"),
        "instance": "i1",
        "route": "/r",
        "tenant": None,
        "requests": n,
        "errors": {"ValueError": failed} if failed else {},
        "status": status,
        "failed": failed,
        "latency": LogHistogram.of(latencies).to_dict(),
        "failed_latency": LogHistogram.of(latencies[n - failed :]).to_dict(),
        "in_flight_max": 3,
        "sampled_rows": n // 10,
        "dropped_rows": 0,
    }
    if len(chunks):
        made["time_to_first_chunk"] = LogHistogram.of(chunks).to_dict()
    return {**made, **marks}


def windows(*rows: dict[str, Any]) -> pa.Table:
    return log_table("window", rows)


def test_windows_of_several_processes_add_up_exactly(rng: np.random.Generator) -> None:
    latencies = rng.lognormal(3, 0.6, 4000)
    parts = [
        window(part.tolist(), failed=5, instance=f"i{i % 2}", route=f"/r{i % 4}", tenant="a")
        for i, part in enumerate(np.split(latencies, 8))
    ]
    report = summarize_serving(windows(*parts))

    assert report.total.n_requests == 4000
    assert report.total.n_failed == 40
    assert report.total.error_rate == 0.01
    assert report.total.error_rate_low < 0.01 < report.total.error_rate_high
    assert report.total.errors == {"ValueError": 40}
    for level in (50, 90, 95, 99):
        exact = float(np.quantile(latencies, level / 100, method="inverted_cdf"))
        assert report.total.latency_ms[f"p{level}"] == pytest.approx(exact, rel=0.012)
    assert report.total.latency_ms["mean"] == pytest.approx(latencies.mean())
    assert [group.n_requests for group in report.routes] == [1000] * 4
    assert (report.n_instances, report.n_sampled, report.in_flight_max) == (2, 400, 3)
    assert report.peak_per_s == pytest.approx(4000 / 60)
    assert "4000 requests" in report.reason
    assert "/r0" in report.to_html()


def test_no_windows_are_no_requests_and_no_verdict() -> None:
    report = summarize_serving(log_table("window", []))

    assert report.total.n_requests == 0
    assert math.isnan(report.total.error_rate)
    assert report.reason == "no requests"
    assert "0 requests" in report.to_html()
    checked = check_slos(log_table("window", []), [ServingSLO(name="up")])
    assert checked.results[0].verdict == "no_data"
    assert not checked.violated


def test_confidence_is_estimated_by_the_weights_of_the_kept_rows(
    rng: np.random.Generator,
) -> None:
    # of the sure requests one in ten is kept, of the unsure all
    rows = [
        {"timestamp": NOON.isoformat(), "score": 0.95, "prediction": "a", "sample_weight": 10.0}
        for _ in range(90)
    ] + [
        {"timestamp": NOON.isoformat(), "score": 0.35, "prediction": "b", "sample_weight": 1.0}
        for _ in range(100)
    ]
    report = summarize_serving(windows(window([1.0])), predictions=log_table("prediction", rows))

    assert report.confidence is not None
    assert report.confidence.low_share == pytest.approx(0.1)
    assert report.confidence.low_share_low < 0.1 < report.confidence.low_share_high
    assert report.confidence.top_share == pytest.approx(0.9)
    assert report.confidence.entropy_bits == pytest.approx(0.469, abs=1e-3)
    assert report.confidence.histogram[3] == pytest.approx(0.1)
    assert "score below" in report.to_html()


def test_scores_beyond_the_probabilities_are_in_the_outermost_bars_and_the_mean_is_theirs() -> None:
    scores = [-2.0, 0.05, 0.55, 3.0]
    rows = [
        {"timestamp": NOON.isoformat(), "score": score, "prediction": "a", "sample_weight": weight}
        for score, weight in zip(scores, (1.0, 2.0, 3.0, 4.0), strict=True)
    ]
    found = summarize_serving(windows(), predictions=log_table("prediction", rows)).confidence

    assert found is not None
    assert found.mean == pytest.approx(np.average(scores, weights=[1, 2, 3, 4]))
    assert found.histogram == pytest.approx((0.3, 0, 0, 0, 0, 0.3, 0, 0, 0, 0.4))


def test_a_period_is_that_of_its_windows_with_their_largest_and_summed_counts() -> None:
    later = NOON + timedelta(minutes=9)
    report = summarize_serving(
        windows(
            window([1.0] * 30, at=later, in_flight_max=7, sampled_rows=None, dropped_rows=4),
            window([1.0] * 20, in_flight_max=None, sampled_rows=5, dropped_rows=None),
            window([1.0] * 10, in_flight_max=2, sampled_rows=1, dropped_rows=3),
        )
    )
    assert (report.start_at, report.end_at) == (NOON, later + timedelta(seconds=10))
    assert (report.in_flight_max, report.n_sampled, report.n_dropped) == (7, 6, 7)
    silent = summarize_serving(windows(window([1.0], in_flight_max=None)))
    assert silent.in_flight_max == summarize_serving(windows()).in_flight_max == 0


def test_tenants_and_routes_come_busiest_first_and_without_those_that_have_no_name() -> None:
    report = summarize_serving(
        windows(
            window([1.0] * 20, tenant="b", route="/x"),
            window([1.0] * 30, tenant="c", route="/x"),
            window([1.0] * 30, tenant="a", route="/y"),
            window([1.0] * 90, tenant=None, route="/y"),
        )
    )
    assert [(each.name, each.n_requests) for each in report.tenants] == [
        ("a", 30),
        ("c", 30),
        ("b", 20),
    ]
    assert [each.name for each in report.routes] == ["/y", "/x"]


def test_the_first_line_has_the_tail_latency_and_the_most_frequent_error() -> None:
    rows = [
        window([5.0] * 90, failed=2),
        window([5.0] * 10, failed=3, errors={"KeyError": 3}),
        window([5.0], failed=1, errors={"TypeError": 1}),
    ]
    reason = summarize_serving(windows(*rows)).reason
    assert reason == "101 requests, 6 failed; p99 5 ms; most frequent error KeyError (3)"
    unmeasured = window([1.0], latency=None)
    assert summarize_serving(windows(unmeasured)).reason == "1 requests, 0 failed"


def test_streams_have_the_time_to_their_first_chunk() -> None:
    report = summarize_serving(windows(window([9.0] * 4, chunks=[2.0, 2.0, 8.0])))
    assert report.total.first_chunk_ms["mean"] == 4.0
    assert report.total.first_chunk_ms["max"] == 8.0


def sampled(*rows: tuple[float | None, Any, float | None]) -> pa.Table:
    """A prediction log of scores, predictions and weights."""
    return log_table(
        "prediction",
        [
            {"timestamp": NOON.isoformat(), "score": s, "prediction": p, "sample_weight": w}
            for s, p, w in rows
        ],
    )


def test_the_interval_of_the_unsure_share_is_of_as_many_rows_as_the_weights_are_worth() -> None:
    # 3 rows of weight 4 and 8 of weight 1: (12 + 8)^2 / (48 + 8) rows in effect (Kish, 1965)
    log = sampled(*[(0.2, "a", 4.0)] * 3, *[(0.9, "b", 1.0)] * 8)
    found = summarize_serving(windows(), predictions=log, low_confidence=0.6).confidence

    assert found is not None
    n, z = 400 / 56, 1.959964
    # Wilson's limits as the roots of their equation
    low, high = np.sort(np.roots([1 + z * z / n, -1.2 - z * z / n, 0.36]).real)
    assert (found.low_share, found.threshold, found.n_rows) == (0.6, 0.6, 11)
    assert (found.low_share_low, found.low_share_high) == pytest.approx((low, high), abs=1e-6)
    assert len(found.histogram) == 10


def test_rows_without_a_score_or_a_weight_are_left_out_or_stand_for_themselves() -> None:
    log = sampled((0.5, "a", None), (0.9, "a", 3.0), (None, "b", 4.0), (None, "c", None))
    found = summarize_serving(windows(), predictions=log, low_confidence=0.5).confidence

    assert found is not None
    assert (found.n_rows, found.mean) == (2, pytest.approx((0.5 + 3 * 0.9) / 4))
    # a score at the limit is not below it
    assert found.low_share == 0.0
    # the answers weigh 4, 4 and 1, with a score or without
    assert found.top_share == pytest.approx(4 / 9)
    shares = np.array([4, 4, 1]) / 9
    assert found.entropy_bits == pytest.approx(-(shares * np.log2(shares)).sum())


def test_a_log_of_scores_alone_has_no_variety() -> None:
    scores = {"score": [0.5, 1.0]}
    for log in (pa.table(scores), pa.table(scores | {"prediction": pa.nulls(2, pa.string())})):
        found = summarize_serving(windows(), predictions=log, low_confidence=1.0).confidence
        assert found is not None
        assert (found.mean, found.low_share) == (0.75, 0.5)
        assert math.isnan(found.top_share)
        assert math.isnan(found.entropy_bits)
    assert summarize_serving(windows(), predictions=pa.table({"x": [1]})).confidence is None
    unscored = pa.table({"score": pa.nulls(3, pa.float64())})
    nothing = summarize_serving(windows(), predictions=unscored)
    assert nothing.confidence is not None
    assert (nothing.confidence.n_rows, math.isnan(nothing.confidence.mean)) == (0, True)
    assert "score below" not in nothing.to_html()


@pytest.mark.parametrize(("limit", "share"), [(0.0, 0.0), (1.0, 0.5)])
def test_the_limit_of_confidence_may_be_any_probability(limit: float, share: float) -> None:
    log = pa.table({"score": [0.0, 1.0]})
    found = summarize_serving(windows(), predictions=log, low_confidence=limit).confidence
    assert found is not None
    assert found.low_share == share


@pytest.mark.parametrize("limit", [-0.5, 1.5])
def test_a_limit_that_is_no_probability_is_refused(limit: float) -> None:
    with pytest.raises(ConfigError, match="must be in"):
        summarize_serving(windows(), low_confidence=limit)


def test_the_busiest_minute_is_one_of_the_clock() -> None:
    rows = [
        window([1.0] * n, at=NOON + timedelta(seconds=at), status={"2xx": n})
        for n, at in ((30, 0), (60, 59.5), (80, 60.25))
    ]
    report = summarize_serving(windows(*rows))
    assert report.peak_per_s == 90 / 60
    # a window that knows no status 5xx has none that failed
    assert report.total.n_failed == 0
    assert summarize_serving(windows()).total.latency_ms == {}


def test_objectives_are_judged_on_all_requests() -> None:
    rows = windows(window([10.0] * 980 + [500.0] * 20, failed=1))
    report = check_slos(
        rows,
        [
            ServingSLO(name="fast", objective=0.99, latency_ms=100),
            ServingSLO(name="loose", objective=0.95, latency_ms=100),
            ServingSLO(name="up", objective=0.99),
            ServingSLO(name="elsewhere", route="/other"),
        ],
    )

    by_name = {result.slo.name: result for result in report.results}
    assert report.violated
    assert report.results[0].slo.name == "fast"
    assert by_name["fast"].n_bad == 20
    assert by_name["fast"].burn_rate == pytest.approx(2.0)
    assert by_name["loose"].verdict == by_name["up"].verdict == "pass"
    assert by_name["elsewhere"].verdict == "no_data"
    assert by_name["up"].n_bad == 1
    assert "fast" in report.reason
    assert "burn rate" in report.to_html()


def test_too_few_requests_give_no_verdict() -> None:
    report = check_slos(windows(window([500.0] * 20)), [ServingSLO(name="fast", latency_ms=100)])

    assert report.results[0].verdict == "insufficient"
    assert not report.violated


def test_an_hour_that_burns_the_budget_is_named() -> None:
    quiet = [window([10.0] * 500, at=NOON + timedelta(hours=i)) for i in range(5)]
    bad = window([10.0] * 500, failed=100, at=NOON + timedelta(hours=5, minutes=7))
    report = check_slos(windows(*quiet, bad), [ServingSLO(name="up", objective=0.95)])

    (result,) = report.results
    assert result.verdict == "pass"
    assert result.worst_hour_at == NOON + timedelta(hours=5)
    assert result.worst_hour_burn_rate == pytest.approx(4.0)


def test_time_to_the_first_chunk_is_judged_on_streams_only() -> None:
    rows = windows(window([1000.0] * 300, chunks=[50.0] * 180 + [800.0] * 20))
    slo = ServingSLO(name="first", objective=0.95, time_to_first_chunk_ms=500, min_requests=100)
    (result,) = check_slos(rows, [slo]).results

    assert (result.n_requests, result.n_bad, result.verdict) == (200, 20, "fail")


def test_an_objective_of_one_tenant_looks_at_that_tenant() -> None:
    rows = windows(window([1.0] * 200, tenant="a"), window([1.0] * 200, tenant="b", failed=50))
    slos = [ServingSLO(name=name, tenant=name) for name in ("a", "b")]

    verdicts = {each.slo.name: each.verdict for each in check_slos(rows, slos).results}
    assert verdicts == {"a": "pass", "b": "fail"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"objective": 1.0},
        {"latency_ms": -1.0},
        {"latency_ms": 10.0, "time_to_first_chunk_ms": 10.0},
    ],
)
def test_an_objective_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ServingSLO(name="x", **wrong)


def test_objectives_need_different_names_and_windows_need_to_be_windows() -> None:
    with pytest.raises(ConfigError):
        check_slos(windows(), [ServingSLO(name="a"), ServingSLO(name="a")])
    with pytest.raises(DataError, match="serving windows"):
        summarize_serving(pa.table({"x": [1]}))
    with pytest.raises(ConfigError):
        summarize_serving(windows(), low_confidence=2)


def experiment_log(
    rng: np.random.Generator,
    rates: dict[str, float],
    *,
    n: int = 2000,
    shares: dict[str, float] | None = None,
) -> pa.Table:
    plan = shares or dict.fromkeys(rates, 1 / len(rates))
    layout = Experiment(name="layout", variants=plan)
    rows = []
    for i in range(n):
        unit = f"u{rng.integers(1 << 40)}-{i}"
        variant = layout.variant(unit)
        rows.append(exposure_row("layout", unit, variant, tenant=None))
        for k in range(rng.integers(0, 4)):
            said = feedback_row(
                request_id=f"{unit}-{k}",
                session_id=unit,
                source="user",
                name="thumbs",
                score=float(rng.random() < rates[variant]),
                label=None,
                feedback_id=None,
            )
            rows.append(said)
    stamped = [{**row, "timestamp": NOON.isoformat()} for row in rows]
    return log_table("feedback", stamped)


def compare(log: pa.Table, **more: Any) -> Any:
    plan = {"experiment": "layout", "outcome": "thumbs", "control": "old"} | more
    return compare_variants(log, ExperimentPlan(**plan))


def test_a_better_variant_is_found_and_its_effect_is_in_the_interval(
    rng: np.random.Generator,
) -> None:
    report = compare(
        experiment_log(rng, {"old": 0.5, "new": 0.62}), shares={"old": 0.5, "new": 0.5}
    )

    control, new = report.variants
    assert control.variant == "old"
    assert new.verdict == "better"
    assert new.difference_low < 0.12 < new.difference_high
    assert new.p_value < 0.01
    assert report.decided
    assert report.split_p_value > 0.01
    assert "new is better" in report.reason
    assert "new" in report.to_html()


def test_variants_without_a_difference_are_rarely_said_to_differ(
    rng: np.random.Generator,
) -> None:
    wrong = 0
    for _ in range(60):
        log = experiment_log(rng, {"old": 0.5, "new": 0.5, "third": 0.5}, n=300)
        wrong += compare(log, min_units=20).decided
    # 5 % of 60 are 3; more than 9 has a probability of 0.1 %
    assert wrong <= 9


def test_a_split_that_is_not_the_planned_one_makes_the_comparison_invalid(
    rng: np.random.Generator,
) -> None:
    log = experiment_log(rng, {"old": 0.5, "new": 0.8}, shares={"old": 0.6, "new": 0.4})
    report = compare(log, shares={"old": 0.5, "new": 0.5})

    assert report.split_p_value < 0.001
    assert report.variants[1].verdict == "invalid"
    assert not report.decided
    assert "not to be trusted" in report.reason


def test_few_units_give_no_verdict_and_none_an_empty_report(rng: np.random.Generator) -> None:
    few = compare(experiment_log(rng, {"old": 0.1, "new": 0.9}, n=20))
    assert few.variants[1].verdict == "insufficient"
    none = compare(log_table("feedback", []))
    assert none.variants == ()
    assert none.reason == "no unit was exposed"
    none.to_html()


def test_before_the_control_was_shown_nothing_is_decided(rng: np.random.Generator) -> None:
    report = compare(experiment_log(rng, {"a": 0.2, "b": 0.9}, n=50))
    assert [each.variant for each in report.variants] == ["old", "a", "b"]
    assert {each.verdict for each in report.variants} == {"insufficient"}
    assert report.reason.startswith("no unit was exposed to the control 'old'; seen were a, b")
    decided = next(each for each in report.measurements() if each.name == "decided")
    assert math.isnan(decided.value)


def test_a_service_that_nobody_called_could_not_be_judged() -> None:
    assert summarize_serving(windows()).unmeasured == "there is no serving window"
    silent = summarize_serving(windows(window([])))
    assert silent.unmeasured.startswith("0 requests in the serving windows from 2026-03-01 12:00")
    assert 'class="verdict good"' not in silent.to_html()
    assert summarize_serving(windows(window([1.0]))).unmeasured == ""
    down = summarize_serving(windows(window([1.0] * 9, failed=9)))
    assert (down.unmeasured, down.total.error_rate) == ("", 1.0)


@pytest.mark.parametrize("scores", [[], [None], [math.nan]])
def test_a_rule_on_a_number_that_the_window_lacks_is_answered(scores: list[Any]) -> None:
    kept = [{"timestamp": NOON.isoformat(), "score": score} for score in scores]
    report = summarize_serving(windows(), predictions=log_table("prediction", kept))
    rules = [
        AlertRule(metric=metric, above=0.1, on_no_data="breach")
        for metric in (
            "serving.latency_ms.p99",
            "serving.time_to_first_chunk_ms.p50",
            "serving.error_rate",
            "serving.low_confidence_share",
        )
    ]
    decision = evaluate_rules(rules, reports=[report], at=NOON)
    assert [alert.breached for alert in decision.alerts] == [True] * 4
    assert any("serving could not be judged" in finding for finding in decision.findings)
