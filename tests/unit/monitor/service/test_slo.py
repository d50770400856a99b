"""Objectives at their limits."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone

import pytest
from scipy.stats import binomtest

from flytekitplugins.wbmon import SLO, AlertRule, CheckSLO, DegradationAlert, SummarizeServing
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.service.slo import check_slos
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO, ServingSLOResult, SLOReport
from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.stats.log_histogram import LogHistogram

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def window(n, *, failed=0, slow=0, at=NOON, chunks=None, **marks):
    """Requests of 10 ms, `slow` of them of 500 ms; the slow ones fail first."""
    latencies = [500.0] * slow + [10.0] * (n - slow)
    row = {
        "window_start": at.isoformat(timespec="microseconds"),
        "window_end": (at + timedelta(seconds=10)).isoformat(timespec="microseconds"),
        "instance": "i1",
        "route": "/r",
        "tenant": None,
        "requests": n,
        "errors": {"ValueError": failed} if failed else {},
        "status": {"2xx": n - failed, "5xx": failed},
        "failed": failed,
        "latency": LogHistogram.of(latencies).to_dict(),
        "failed_latency": LogHistogram.of(latencies[:failed]).to_dict(),
        "in_flight_max": 1,
        "sampled_rows": 0,
        "dropped_rows": 0,
    }
    if chunks:
        row["time_to_first_chunk"] = LogHistogram.of(chunks).to_dict()
    return {**row, **marks}


def judged(*rows, **slo) -> ServingSLOResult:
    given = {"name": "it", "objective": 0.9, "min_requests": 1} | slo
    return check_slos(log_table("window", rows), [ServingSLO(**given)]).results[0]


def test_the_share_has_the_interval_of_wilson():
    found = judged(window(250, failed=20))
    low, high = binomtest(230, 250).proportion_ci(method="wilson")
    assert (found.good_share_low, found.good_share_high) == pytest.approx((low, high))
    assert found.good_share == pytest.approx(0.92)
    assert (found.n_requests, found.n_bad) == (250, 20)


def test_what_is_promised_is_enough():
    assert judged(window(100, failed=25), objective=0.75).verdict == "pass"
    found = judged(window(100, failed=26), objective=0.75)
    assert found.verdict == "fail"
    assert found.reason == "74.0000% of 100 requests were good, 26 failed; 75.0000% is promised"


def test_the_burn_rate_is_the_bad_share_over_the_allowed_one():
    # Beyer et al., The Site Reliability Workbook, ch. 5: 1.44 % of errors burn 99.9 % at 14.4
    assert judged(window(10_000, failed=144), objective=0.999).burn_rate == pytest.approx(14.4)


def test_as_many_requests_as_are_needed_are_enough():
    assert judged(window(50, failed=50), min_requests=50).verdict == "fail"
    few = judged(window(49, failed=49), min_requests=50)
    assert (few.verdict, few.reason) == (
        "insufficient",
        "49 requests, 49 failed; 50 are needed",
    )
    assert few.n_bad == 49


def test_one_request_is_judged_and_none_is_no_data():
    assert judged(window(1)).verdict == "pass"
    nothing = judged()
    assert (nothing.verdict, nothing.n_requests) == ("no_data", 0)
    assert nothing.reason == "no request to judge"


@pytest.mark.parametrize(
    ("slow", "failed", "bad"), [(0, 0, 0), (7, 0, 7), (0, 4, 4), (7, 4, 7), (3, 9, 9)]
)
def test_a_request_that_is_slow_and_failed_is_bad_once(slow, failed, bad):
    assert judged(window(100, slow=slow, failed=failed), latency_ms=100).n_bad == bad
    assert judged(window(100, slow=slow, failed=failed)).n_bad == failed


def test_no_more_requests_are_bad_than_there_are():
    assert judged(window(5, failed=5, slow=5), latency_ms=100).n_bad == 5


def test_windows_add_up_and_those_without_a_stream_are_not_about_the_first_chunk():
    rows = (window(9, chunks=[10.0] * 6 + [900.0] * 3), window(50), window(4, chunks=[900.0] * 4))
    found = judged(*rows, time_to_first_chunk_ms=300)
    assert (found.n_requests, found.n_bad) == (13, 7)
    assert judged(window(9, failed=1), window(4, failed=2)).n_bad == 3


def test_the_worst_hour_is_the_first_of_equals_that_has_requests_enough():
    hours = [NOON + timedelta(hours=i, minutes=17, seconds=5, microseconds=9) for i in range(4)]
    rows = [
        window(20, failed=2, at=hours[0]),
        window(20, failed=5, at=hours[1]),
        window(20, failed=5, at=hours[2]),
        window(19, failed=19, at=hours[3]),
    ]
    found = judged(*rows, min_requests=20)
    assert found.worst_hour_at == NOON + timedelta(hours=1)
    assert found.worst_hour_burn_rate == pytest.approx(2.5)
    none = judged(rows[3], min_requests=20)
    assert none.worst_hour_at is None
    assert math.isnan(none.worst_hour_burn_rate)
    assert judged(rows[0], min_requests=20).worst_hour_burn_rate == pytest.approx(1.0)


def test_windows_of_one_hour_are_one_hour():
    rows = [window(10, failed=k, at=NOON + timedelta(minutes=20 * k)) for k in range(3)]
    assert judged(*rows, min_requests=30).worst_hour_at == NOON
    assert judged(*rows, min_requests=30).worst_hour_burn_rate == pytest.approx(1.0)


def test_an_objective_is_about_its_route_and_its_tenant():
    rows = (
        window(10, failed=1, route="/a", tenant="x"),
        window(20, failed=2, route="/a", tenant="y"),
        window(40, failed=4, route="/b", tenant="x"),
    )
    assert judged(*rows).n_requests == 70
    assert judged(*rows, route="/a").n_requests == 30
    assert judged(*rows, tenant="x").n_requests == 50
    assert judged(*rows, route="/a", tenant="x").n_requests == 10


def test_the_worst_verdict_comes_first():
    rows = log_table("window", [window(100, failed=20), window(3, route="/few")])
    slos = [
        ServingSLO(name="kept", objective=0.5, min_requests=1),
        ServingSLO(name="empty", objective=0.9, route="/none"),
        ServingSLO(name="few", objective=0.9, route="/few", min_requests=4),
        ServingSLO(name="missed", objective=0.9, min_requests=1),
        ServingSLO(name="missed too", objective=0.99, min_requests=1),
    ]
    report = check_slos(rows, slos)
    assert [each.slo.name for each in report.results] == [
        "missed",
        "missed too",
        "few",
        "empty",
        "kept",
    ]
    assert report.reason == "missed: missed, missed too; not judged: few, empty"
    assert check_slos(rows, slos[:1]).reason == "no objective was missed"


def test_objectives_must_be_there_and_named_apart():
    rows = log_table("window", [window(1)])
    with pytest.raises(ConfigError, match="got none"):
        check_slos(rows, [])
    with pytest.raises(ConfigError, match="got it, it"):
        check_slos(rows, [ServingSLO(name="it"), ServingSLO(name="it")])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": 99}, r"must be a share in \(0, 1\), got 99; did you mean 0.99\?"),
        ({"objective": 99.9}, r"got 99.9; did you mean 0.999\?"),
        ({"objective": "0.99"}, r"got '0.99'; did you mean 0.99\?"),
        ({"objective": "99"}, r"got '99'; did you mean 0.99\?"),
        ({"objective": math.nan}, "got nan$"),
        ({"objective": True}, "got True$"),
        ({"objective": 100}, "got 100$"),
        ({"latency_ms": "500"}, "must be positive and finite; got '500'; write 500 without quotes"),
        ({"latency_ms": math.nan}, "must be positive and finite; got nan"),
        ({"latency_ms": 0}, "must be positive and finite; got 0"),
        ({"time_to_first_chunk_ms": -5}, "must be positive and finite; got -5"),
        ({"time_to_first_chunk_ms": True}, "must be positive and finite; got True"),
        ({"min_requests": 0.5}, "must be a whole number of at least 0, got 0.5"),
        ({"min_requests": -1}, "must be a whole number of at least 0, got -1"),
        ({"route": None}, "route of 'it' must be a name"),
        ({"name": " "}, "must have a name"),
        ({"latency_ms": 5, "time_to_first_chunk_ms": 5}, "make two objectives"),
    ],
)
def test_an_objective_that_cannot_be_meant_is_refused_with_what_may_be(wrong, message):
    with pytest.raises(ConfigError, match=message):
        ServingSLO(**({"name": "it"} | wrong))


def test_where_no_objective_could_be_judged_the_report_says_so_and_its_page_is_not_green():
    slos = [ServingSLO(name="few", min_requests=4), ServingSLO(name="empty", route="/none")]
    report = check_slos(log_table("window", [window(3, failed=3)]), slos)
    assert report.unmeasured == (
        "0 of 2 objectives could be judged: few: 3 requests, 3 failed; 4 are needed; "
        "empty: no request of route '/none'"
    )
    assert report.reason == "no objective could be judged: few, empty"
    assert not report.violated
    values = {each.name: each.value for each in report.measurements()}
    assert all(math.isnan(values[name]) for name in ("few", "empty", "few.burn_rate"))
    assert (values["few.n_failed"], values["few.n_bad"]) == (3, 3)
    assert 'class="verdict good"' not in report.to_html()
    one = check_slos(log_table("window", [window(3, failed=3)]), [*slos, ServingSLO(name="all")])
    assert one.unmeasured
    enough = check_slos(log_table("window", [window(200)]), [*slos, ServingSLO(name="all")])
    assert enough.unmeasured == (
        "1 of 3 objectives had nothing to judge: empty: no request of route '/none'"
    )
    assert enough.reason == "no objective was missed; not judged: empty"
    assert 'class="verdict good"' not in enough.to_html()


def test_all_requests_failed_is_measured_and_missed():
    for limit in ({}, {"latency_ms": 100}, {"time_to_first_chunk_ms": 100}):
        found = judged(window(300, failed=300), **limit)
        assert (found.verdict, found.good_share, found.n_failed) == ("fail", 0.0, 300)


def test_a_log_of_single_requests_or_calls_is_refused_by_name():
    calls = log_table("prediction", [{"latency_ms": 3.0, "time_to_first_chunk_ms": 1.0}])
    with pytest.raises(DataError, match="got a row for each request"):
        check_slos(calls, [ServingSLO(name="it")])
    with pytest.raises(DataError, match="got a row for each request"):
        summarize_serving(calls)


@pytest.mark.parametrize(
    ("slos", "message"),
    [
        ("fast", "must be a sequence of objectives"),
        ([], "got none"),
        ([SLO(name="p99", value=5)], "got one SLO; make them with ServingSLO"),
    ],
)
def test_what_are_no_objectives_of_a_service_is_refused_when_the_node_is_made(slos, message):
    with pytest.raises(ConfigError, match=message):
        CheckSLO("t.slos", slos=slos)
    with pytest.raises(ConfigError, match=message):
        check_slos(log_table("window", []), slos)


def test_a_share_that_is_a_text_is_refused_when_the_node_is_made():
    with pytest.raises(ConfigError, match=r"low_confidence must be in \[0, 1\], got '0.5'"):
        SummarizeServing("t.summary", low_confidence="0.5")  # type: ignore[arg-type]


def test_reports_of_an_earlier_release_are_read():
    report = check_slos(log_table("window", [window(200)]), [ServingSLO(name="up")])
    stored = json.loads(record_to_json(report))
    del stored["results"][0]["n_failed"], stored["results"][0]["n_seen"]
    read = record_from_json(SLOReport, json.dumps(stored))
    assert (read.results[0].verdict, read.results[0].n_failed) == ("pass", 0)


def check(*slos: ServingSLO, rows=None) -> SLOReport:
    default = [
        window(200, route="/answer", tenant="acme"),
        window(200, route="/search", tenant="globex"),
        window(3, route="/rare"),
    ]
    return check_slos(log_table("window", default if rows is None else rows), slos)


@pytest.mark.parametrize(
    ("slo", "why"),
    [
        ({"route": "/anwser"}, "no request of route '/anwser'; did you mean route '/answer'?"),
        ({"tenant": "acm"}, "no request of tenant 'acm'; did you mean tenant 'acme'?"),
        ({"route": "zzz"}, "no request of route 'zzz'"),
        (
            {"route": "/answer", "tenant": "globex"},
            "no request of route '/answer' and tenant 'globex'",
        ),
        (
            {"route": "/anwser", "tenant": "globx"},
            "no request of route '/anwser' and tenant 'globx'; did you mean route '/answer' and "
            "tenant 'globex'?",
        ),
        (
            {"route": "/search", "time_to_first_chunk_ms": 10},
            "none of 200 requests was a stream with a first chunk",
        ),
    ],
)  # fmt: skip
def test_an_objective_that_finds_nothing_in_a_busy_night_is_a_finding(slo, why):
    lost = ServingSLO(name="lost", **slo)
    report = check(ServingSLO(name="up"), lost, ServingSLO(name="rare", route="/rare"))

    assert not report.violated
    assert report.unmeasured == f"1 of 3 objectives had nothing to judge: lost: {why}"
    alert = DegradationAlert("lost", rules=[AlertRule(metric="alerts.unmeasured", above=0)])
    decided = alert(slo=report)
    assert (decided.fired, len(decided.decision.findings)) == (True, 1)
    # read from its store it says the same, and so does a report of it alone
    assert record_from_json(SLOReport, record_to_json(report)).unmeasured == report.unmeasured
    assert check(lost).unmeasured == f"0 of 1 objectives could be judged: lost: {why}"


def test_a_quiet_route_and_a_report_of_an_earlier_release_are_no_finding():
    quiet = ServingSLO(name="quiet", route="/rare")
    streams = ServingSLO(name="streams", route="/rare", time_to_first_chunk_ms=10)
    report = check(ServingSLO(name="up"), quiet, streams)
    assert {each.slo.name: each.verdict for each in report.results} == {
        "up": "pass", "quiet": "insufficient", "streams": "no_data",
    }  # fmt: skip
    assert report.unmeasured == ""
    stored = json.loads(
        record_to_json(check(ServingSLO(name="up"), ServingSLO(name="x", route="y")))
    )
    for each in stored["results"]:
        del each["n_seen"]
    assert record_from_json(SLOReport, json.dumps(stored)).unmeasured == ""


def refused(n, status=429, **marks):
    errors, classes = {f"http_{status}": n}, {"4xx": n}
    return window(n, **{"errors": errors, "status": classes, **marks})


@pytest.mark.parametrize("limit", [{}, {"latency_ms": 100}])
def test_a_night_in_which_every_request_was_refused_keeps_no_promise(limit):
    up = ServingSLO(name="up", min_requests=10, **limit)
    report = check(up, rows=[refused(80), refused(20, 404)])
    (result,) = report.results
    assert (result.verdict, result.n_requests) == ("no_data", 100)
    assert result.reason == "no request was good but 100 that were refused (status 4xx)"
    assert result.reason in report.unmeasured
    assert all(math.isnan(each.value) for each in report.measurements() if each.name == "up")
    # a single one that was served is a service, and too many failures are missed as ever
    assert check(up, rows=[refused(99), window(1)]).results[0].verdict == "pass"
    missed = check(up, rows=[refused(50), window(50, failed=50)]).results[0]
    assert (missed.verdict, missed.n_failed) == ("fail", 50)
    kept = ServingSLO(name="up", objective=0.5, min_requests=10, **limit)
    failing = check(kept, rows=[refused(60), window(40, failed=40)]).results[0]
    assert (failing.verdict, failing.n_failed) == ("no_data", 40)


def test_streams_beside_refused_requests_are_judged():
    report = check(
        ServingSLO(name="chunk", time_to_first_chunk_ms=20, min_requests=1),
        rows=[refused(900), window(100, chunks=[10.0] * 100)],
    )
    assert (report.results[0].verdict, report.results[0].n_requests) == ("pass", 100)


@pytest.mark.parametrize("lost", ["requests", "window_start", "window_end", "route"])
def test_a_window_that_does_not_say_how_many_or_when_is_left_out_and_told(lost):
    rows = log_table("window", [window(200), window(200, **{lost: None})])
    report = check_slos(rows, [ServingSLO(name="up")])
    assert (report.results[0].verdict, report.results[0].n_seen) == ("pass", 200)
    assert report.reason == "no objective was missed; 1 of 2 windows could not be read"
    summary = summarize_serving(rows)
    assert summary.total.n_requests == 200
    assert summary.reason.endswith("; 1 of 2 windows could not be read")
    nothing = log_table("window", [window(200, **{lost: None})])
    assert check_slos(nothing, [ServingSLO(name="up")]).unmeasured
    assert summarize_serving(nothing).unmeasured == "there is no serving window"


def test_a_summary_of_a_night_in_which_every_request_was_refused_is_a_finding():
    rows = [refused(80), refused(20, 401)]
    summary = summarize_serving(log_table("window", rows))
    assert summary.unmeasured == "all 100 requests were refused, most frequently with http_429"
    assert summarize_serving(log_table("window", [*rows, window(1)])).unmeasured == ""
    assert summarize_serving(log_table("window", [*rows, window(1, failed=1)])).unmeasured == ""
