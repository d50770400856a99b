"""Numbers that cannot be: their rows are put aside, and readers of older logs count them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest

from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.service.slo import check_slos
from flytekitplugins.wbmon.monitor.service.slo_report import ServingSLO
from flytekitplugins.wbmon.monitor.service.summarize import summarize_serving
from flytekitplugins.wbmon.storage.segments.json_lines import to_line

HISTOGRAM = {"scale": 5, "offset": 50, "counts": [5], "zero_count": 0, "sum": 15.0}
SLOS = [
    ServingSLO(name="available", objective=0.9, min_requests=1),
    ServingSLO(name="fast", objective=0.9, latency_ms=100, min_requests=1),
]


def window(hour: int = 10, **more: Any) -> dict[str, Any]:
    return {
        "kind": "window", "schema_version": 1, "service": "api", "instance": "h", "route": "/p",
        "window_start": f"2026-03-10T{hour}:00:00.000000+00:00",
        "window_end": f"2026-03-10T{hour}:00:10.000000+00:00",
        "requests": 5, "failed": 0, "status": {"2xx": 5}, "latency": HISTOGRAM, **more,
    }  # fmt: skip


WRONG: list[dict[str, Any]] = [
    {"requests": -7},
    {"requests": None},
    {"requests": 10**40},
    {"failed": -1},
    {"failed": 6},
    {"failed": "some"},
    {"dropped_rows": -4},
    {"status": "x"},
    {"status": {"2xx": "a"}},
    {"errors": {"http_500": -3}},
    {"window_end": "2026-03-10T09:00:00.000000+00:00"},
    {"latency": "torn"},
    {"latency": {}},
    {"latency": {**HISTOGRAM, "counts": [-5]}},
    {"latency": {**HISTOGRAM, "scale": 10**4}},
    {"latency": {**HISTOGRAM, "offset": 10**9}},
    {"latency": {**HISTOGRAM, "sum": "NaN"}},
    {"failed_latency": {**HISTOGRAM, "zero_count": -1}},
]


def test_windows_of_numbers_that_cannot_be_are_put_aside(tmp_path):
    folder = tmp_path / "sealed" / "api"
    folder.mkdir(parents=True)
    rows = [window(11), *(window(**wrong) for wrong in WRONG)]
    (folder / "s.jsonl").write_bytes(b"".join(map(to_line, rows)))

    report = compact_prediction_log(str(tmp_path), "api")

    assert (report.n_windows, report.n_torn) == (1, len(WRONG))
    aside = (tmp_path / "quarantine" / "service=api" / "s.jsonl").read_text()
    assert aside.count("\n") == len(WRONG)


@pytest.mark.parametrize("weight", ["x", -1, 0, 0.5, 1e308, [1]])
def test_a_weight_that_is_none_puts_its_row_aside_and_none_is_one(tmp_path, weight):
    folder = tmp_path / "sealed" / "api"
    folder.mkdir(parents=True)
    row = {"kind": "prediction", "timestamp": "2026-03-10T10:00:00.000000+00:00", "prediction": 1}
    rows = [{**row, "request_id": "a", "sample_weight": weight}, {**row, "request_id": "b"}]
    (folder / "s.jsonl").write_bytes(b"".join(map(to_line, rows)))

    report = compact_prediction_log(str(tmp_path), "api")

    assert (report.n_predictions, report.n_torn) == (1, 1)
    (part,) = tmp_path.glob("prediction_log/*/*/*.parquet")
    assert pa.parquet.read_table(part)["sample_weight"].to_pylist() == [1.0]


def stored(*rows: dict[str, Any]) -> pa.Table:
    """Windows as an earlier release compacted them."""
    return log_table("window", rows)


def test_readers_count_windows_that_cannot_be_and_read_the_others():
    table = stored(window(11), window(failed=6), window(latency={**HISTOGRAM, "counts": [-5]}))

    report = summarize_serving(table)

    assert report.total.n_requests == 5
    assert report.start_at == datetime(2026, 3, 10, 11, tzinfo=timezone.utc)
    assert "2 of 3 windows could not be read" in report.reason


def test_an_objective_of_which_most_could_not_be_read_does_not_pass():
    few = check_slos(stored(window(), window(11, requests=-1), window(12, requests=-1)), SLOS)
    slow = check_slos(stored(window(), window(11, requests=900, latency=None)), SLOS)

    assert [result.verdict for result in few.results] == ["insufficient", "insufficient"]
    assert {result.slo.name: result.verdict for result in slow.results} == {
        "available": "pass",
        "fast": "insufficient",
    }
    assert check_slos(stored(window()), SLOS).results[0].verdict == "pass"
