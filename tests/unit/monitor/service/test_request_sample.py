from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pytest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.samples.rows import Sample
from flytekitplugins.wbmon.monitor.service.request_sample import sample_requests
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A day of 2000 requests: a tenth leaves rows, and 20 failed."""
    log = PredictionLogger("api", str(tmp_path), sampling=SamplingPolicy(rate=0.1), redactor=None)
    for i in range(1980):
        log.log_prediction(prediction=i % 3, input_text=f"a note of ann{i}@example.com")
    for _ in range(20):
        with pytest.raises(ValueError, match="card"), log.request("/pay", tenant="acme"):
            raise ValueError("no card 4111 1111 1111 1111")
    log.close()
    compact_prediction_log(str(tmp_path), "api")
    return str(next(tmp_path.glob("prediction_log/service=api/dt=*")))


def test_failures_are_as_many_as_others_and_the_rows_stand_for_all_requests(folder: str) -> None:
    sample = sample_requests(folder, Sample(rows=40))
    rows = [dict(zip(sample.columns, row, strict=True)) for row in sample.rows]
    kinds = [row["stratum"] for row in rows]

    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"error": 20, "rate": 20}
    failed = [row["stands_for"] for row in rows if row["stratum"] == "error"]
    assert failed == [1.0] * 20
    # some 198 rows of weight 10, of which 20 are shown
    n = math.fsum(row["stands_for"] for row in rows)
    assert n == pytest.approx(2000, abs=4 * math.sqrt(1980 * 9))


def test_what_is_shown_is_redacted_and_columns_without_a_value_are_left_out(folder: str) -> None:
    sample = sample_requests(folder, Sample(rows=30))

    assert "a note of [EMAIL]" in str(sample.rows)
    assert "no card [CARD]" in str(sample.rows)
    assert "@example" not in str(sample.rows)
    assert "4111" not in str(sample.rows)
    assert {"request_id", "route", "tenant", "error_type", "prediction"} <= set(sample.columns)
    assert "cost_usd" not in sample.columns


def test_the_sample_is_the_same_when_it_is_drawn_again(folder: str) -> None:
    rule = Sample(rows=10, by="route", columns=("request_id",), seed=7)
    sample = sample_requests(folder, rule)

    assert sample == sample_requests(folder, rule)
    assert {row[0] for row in sample.rows} == {"predict", "/pay"}
    assert sample.columns == (
        "stratum", "row", "stands_for", "request_id", "sample_reason", "route", "sample_weight",
    )  # fmt: skip


def test_another_table_is_refused() -> None:
    with pytest.raises(DataError, match="needs a prediction log; sample_reason not found among a"):
        sample_requests(pa.table({"a": [1]}), Sample())
