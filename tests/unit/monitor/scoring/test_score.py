from __future__ import annotations

import math
import pickle

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.errors import ConfigError, DataError, ScoringError
from flytekitplugins.wbmon.monitor.scoring.report import (
    ScoringReport,
    Watch,
)
from flytekitplugins.wbmon.monitor.scoring.score import read_batches, score_batches
from flytekitplugins.wbmon.monitor.scoring.slo import SLO
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json


@pytest.fixture
def night(rng):
    return pa.table({"id": np.arange(1000), "x": rng.normal(size=1000), "word": ["a", "b"] * 500})


def double(batch: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"twice": batch["x"] * 2})


def score(source, tmp_path, predict=double, **given):
    sink = tmp_path / "scored"
    return score_batches(predict, source, str(sink), **{"batch_rows": 300, **given}), sink


def test_predictions_stand_behind_the_data_in_the_same_order(night, tmp_path):
    report, sink = score(night, tmp_path)
    written = pq.read_table(sink)
    assert written.select(night.column_names) == night
    assert written["twice"] == pc.multiply(night["x"], 2.0)
    assert (report.n_rows, report.n_batches, report.columns) == (1000, 4, ("twice",))


@pytest.mark.parametrize("kind", ["arrow", "numpy", "pandas"])
def test_every_kind_of_function_gives_the_same_predictions(night, tmp_path, kind):
    def predict(batch):
        return batch["x"] if kind == "arrow" else np.asarray(batch)[:, 0]

    _, sink = score(night, tmp_path, predict, kind=kind, columns=["x"])
    assert pq.read_table(sink)["prediction"] == night["x"]


def test_the_function_is_given_the_named_columns_and_all_are_written(night, tmp_path):
    def predict(batch: pa.Table):
        assert batch.column_names == ["x"]
        return batch["x"]

    _, sink = score(night, tmp_path, predict, columns=["x"])
    assert pq.read_table(sink).column_names == ["id", "x", "word", "prediction"]


def test_text_reaches_the_function_as_text_also_from_parquet(night, tmp_path):
    pq.write_table(night, tmp_path / "night.parquet")

    def predict(batch: pa.Table):
        assert batch.schema.field("word").type == pa.string()
        return pc.utf8_upper(batch["word"])

    _, sink = score(str(tmp_path / "night.parquet"), tmp_path, predict)
    assert pq.read_table(sink)["prediction"][0].as_py() == "A"


def test_files_that_lack_a_column_are_filled_up(night, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(night.slice(0, 400), folder / "a.parquet")
    pq.write_table(night.slice(400).drop_columns(["word"]), folder / "b.parquet")
    _, sink = score(str(folder), tmp_path)
    assert pq.read_table(sink)["word"].null_count == 600


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 60))
def test_batches_hold_every_row_once_in_order_however_they_are_cut(sizes, batch_rows):
    starts = np.cumsum([0, *sizes])
    pieces = [
        pa.record_batch({"id": np.arange(start, start + size)})
        for start, size in zip(starts, sizes, strict=False)
    ]
    table = pa.Table.from_batches(pieces, pa.schema({"id": pa.int64()}))
    batches = list(read_batches(open_source(table), batch_rows))
    assert [row for batch in batches for row in batch["id"].to_pylist()] == list(range(starts[-1]))
    assert all(batch.num_rows == batch_rows for batch in batches[:-1])
    assert all(0 < batch.num_rows <= batch_rows for batch in batches)


def test_parts_are_cut_by_rows_and_one_file_is_not(night, tmp_path):
    _, sink = score(night, tmp_path, part_rows=500)
    rows = [pq.read_metadata(path).num_rows for path in sorted(sink.iterdir())]
    assert rows == [600, 400]
    score_batches(double, night, str(tmp_path / "one.parquet"), part_rows=500)
    assert pq.read_metadata(tmp_path / "one.parquet").num_rows == 1000


def test_a_sink_may_be_any_file_system(night):
    files = fsspec.filesystem("memory")
    score_batches(double, night, "memory://bucket/scored")
    with files.open("memory://bucket/scored/part-00000.parquet") as part:
        assert pq.read_table(part).num_rows == 1000


def test_a_sink_may_come_with_its_file_system(night, tmp_path):
    _, sink = score(night, tmp_path, filesystem=fsspec.filesystem("file"))
    assert pq.read_table(sink).num_rows == 1000


@pytest.mark.parametrize("sink", ["scored", "scored.parquet"])
def test_a_sink_that_holds_data_is_refused_before_any_work(night, tmp_path, sink):
    score_batches(double, night, str(tmp_path / sink))
    with pytest.raises(ConfigError, match="must not hold data"):
        score_batches(pytest.fail, night, str(tmp_path / sink), kind="pandas")


def fails_in_the_third(batch: pd.DataFrame) -> pd.Series:
    if batch["id"].iloc[0] == 600:
        raise KeyError("amount")
    return batch["x"]


def test_an_exception_names_the_batch_and_leaves_whole_parts_only(night, tmp_path):
    with pytest.raises(ScoringError, match=r"batch 2 \(rows 600 to 899\): KeyError: 'amount'") as e:
        score(night, tmp_path, fails_in_the_third, part_rows=300)
    assert isinstance(e.value.__cause__, KeyError)
    assert isinstance(pickle.loads(pickle.dumps(e.value)), ScoringError)
    assert sorted(path.name for path in (tmp_path / "scored").iterdir()) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]


def test_a_part_that_was_begun_is_removed(night, tmp_path):
    with pytest.raises(ScoringError):
        score(night, tmp_path, fails_in_the_third)
    assert list((tmp_path / "scored").iterdir()) == []


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda batch: batch["x"][:-1], r"batch 0 \(rows 0 to 299\): it must return 300 rows"),
        (lambda batch: list(batch["x"]), "frame, table, series, array or mapping"),
        (lambda batch: batch[["x"]], "at least one column"),
        (lambda batch: {f"p{batch['id'][0]}": batch["x"]}, r"batch 1 .*the same columns"),
        (lambda batch: batch["x"] if batch["id"][0] == 0 else batch["word"], "the same types"),
    ],
)
def test_output_that_breaks_the_contract_names_the_batch(night, tmp_path, predict, message):
    with pytest.raises(DataError, match=message):
        score(night, tmp_path, predict)


def test_a_first_batch_without_any_value_does_not_fix_the_type(night, tmp_path):
    def predict(batch: pa.Table):
        return pa.nulls(300) if batch["id"][0].as_py() == 0 else batch["x"]

    _, sink = score(night, tmp_path, predict)
    assert pq.read_table(sink)["prediction"].null_count == 300


def test_an_empty_window_gives_an_empty_table_with_the_predicted_columns(night, tmp_path):
    slo = SLO(name="p99", value=50)
    report, sink = score(night.slice(0, 0), tmp_path, slos=[slo])
    assert (report.n_rows, report.n_batches) == (0, 0)
    assert report.slos[0].verdict == "no_data"
    assert math.isnan(report.latency_ms["p99"])
    assert pq.read_table(sink).column_names == ["id", "x", "word", "twice"]


def test_an_empty_window_that_the_function_cannot_take_keeps_the_data_columns(night, tmp_path):
    _, sink = score(night.slice(0, 0), tmp_path, lambda batch: 1 / len(batch))
    assert pq.read_table(sink).column_names == night.column_names


def test_objectives_are_judged_on_the_latency_that_was_seen(night, tmp_path):
    slos = [
        SLO(name="loose", value=1e6),
        SLO(name="tight", value=1e-9, percentile=50),
        SLO(name="row", metric="row_latency_ms", value=1e6, percentile=100),
    ]
    report, _ = score(night, tmp_path, slos=slos)
    assert [result.verdict for result in report.slos] == ["pass", "fail", "pass"]
    latency = report.latency_ms
    assert latency["min"] <= latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert report.slos[1].observed == latency["p50"]
    assert latency["mean"] * 4 == pytest.approx(report.predict_s * 1000)
    assert report.predict_s <= report.duration_s


def test_an_objective_is_not_kept_by_failing_fast(night, tmp_path):
    def fails(batch: pa.Table):
        raise ValueError("no model")

    report, _ = score(night, tmp_path, fails, slos=[SLO(name="p99", value=1e6)], max_error_rate=1.0)
    assert (report.n_rows, report.n_failed, report.error_rate) == (0, 1000, 1.0)
    assert report.slos[0].verdict == "no_data"
    assert report.unmeasured == "predict failed on all 1,000 rows: ValueError 1,000"
    gates = [each.value for each in report.measurements() if each.is_gate]
    assert len(gates) == 1
    assert math.isnan(gates[0])


def test_one_batch_has_no_spread(night, tmp_path):
    report, _ = score(night, tmp_path, batch_rows=5000)
    assert report.n_batches == 1
    assert math.isnan(report.latency_ms["sd"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_rows": 0}, "at least 1"),
        ({"part_rows": 0}, "at least 1"),
        ({"max_error_rate": 1.5}, "max_error_rate must be a share"),
        ({"kind": "polars"}, "kind must be"),
        ({"slos": [SLO(name="a", value=1), SLO(name="a", value=2)]}, "different names"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(night, tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        score(night, tmp_path, **given)


def test_a_missing_input_column_is_named_before_any_work(night, tmp_path):
    with pytest.raises(DataError, match="'amount' not found among 'id', 'x', 'word'"):
        score(night, tmp_path, pytest.fail, kind="pandas", columns=["amount"])
    assert not (tmp_path / "scored").exists()


def refuses_two_rows(batch: pd.DataFrame) -> pd.DataFrame:
    if batch["id"].isin([5, 701]).any():
        raise ValueError("not this one")
    return double(batch)


def test_rows_that_fail_are_set_aside_with_the_reason_and_nothing_is_lost(night, tmp_path):
    report, sink = score(night, tmp_path, refuses_two_rows, max_error_rate=0.002)
    assert pq.read_table(sink)["id"].to_pylist() == [i for i in range(1000) if i not in (5, 701)]
    failed = pq.read_table(report.quarantine)
    assert failed.select(night.column_names) == night.take([5, 701])
    assert failed["row"].to_pylist() == [5, 701]
    assert failed["error_type"].to_pylist() == ["ValueError", "ValueError"]
    assert failed["error"][0].as_py() == "not this one"
    assert (report.n_rows, report.n_failed, report.error_rate) == (998, 2, 0.002)
    assert report.errors == {"ValueError": 2}
    assert report.n_batches == 4


def test_more_failures_than_allowed_end_the_run_and_their_rows_are_kept(night, tmp_path):
    with pytest.raises(
        ScoringError, match=r"batch 2 .*at most 0\.100% of 1000 rows.*2 did"
    ) as error:
        score(night, tmp_path, refuses_two_rows, max_error_rate=0.001)
    assert isinstance(error.value.__cause__, ValueError)
    kept = pq.read_table(tmp_path / "scored" / "_quarantine")
    assert kept["id"].to_pylist() == [5, 701]


def test_a_function_that_always_fails_is_not_called_for_every_row(night, tmp_path):
    calls = []

    def predict(batch: pd.DataFrame):
        calls.append(len(batch))
        raise OSError("no model")

    with pytest.raises(ScoringError, match="no model"):
        score(night, tmp_path, predict, max_error_rate=0.01)
    assert len(calls) < 60


def test_a_window_where_every_row_may_fail_keeps_them_all(night, tmp_path):
    def predict(batch: pd.DataFrame):
        raise RuntimeError("never")

    report, sink = score(night.slice(0, 20), tmp_path, predict, max_error_rate=1.0, batch_rows=8)
    assert (report.n_rows, report.n_failed, report.error_rate) == (0, 20, 1.0)
    assert pq.read_table(report.quarantine)["row"].to_pylist() == list(range(20))
    assert pq.read_table(sink).num_rows == 0


def test_failed_rows_of_a_file_sink_go_beside_it(night, tmp_path):
    sink = tmp_path / "one.parquet"
    report = score_batches(refuses_two_rows, night, str(sink), max_error_rate=0.5)
    assert report.quarantine == str(tmp_path / "_quarantine-one.parquet")
    assert pq.read_table(report.quarantine).num_rows == 2


def test_a_stream_is_judged_by_the_rows_read_so_far(rng, tmp_path):
    table = pa.table({"id": np.arange(300_000), "x": np.zeros(300_000)})
    given = {"max_error_rate": 0.002, "batch_rows": 1000}
    report, _ = score(table.to_reader(20_000), tmp_path, refuses_two_rows, **given)
    assert (report.n_rows, report.n_failed) == (299_998, 2)


def test_no_failure_leaves_no_quarantine(night, tmp_path):
    report, sink = score(night, tmp_path, max_error_rate=0.5)
    assert report.quarantine == ""
    assert [path.name for path in sink.iterdir()] == ["part-00000.parquet"]


def test_progress_is_told_after_every_batch(night, tmp_path):
    told = []
    score(night, tmp_path, refuses_two_rows, max_error_rate=0.5, on_batch=told.append)
    assert [step.n_batches for step in told] == [1, 2, 3, 4]
    assert [step.n_rows for step in told] == [299, 599, 898, 998]
    assert told[-1].n_failed == 2
    assert all(step.latency_ms > 0 for step in told)


def test_the_report_tells_how_sure_the_model_was_and_what_it_predicted(night, tmp_path, rng):
    p = rng.random(1000)

    def predict(batch: pd.DataFrame):
        return {"p": p[batch["id"]], "label": np.where(p[batch["id"]] > 0.5, "yes", "no")}

    watch = Watch(confidence=("p",), low_confidence=0.7, classes="label")
    report, _ = score(night, tmp_path, predict, watch=watch)
    sure = np.maximum(p, 1 - p)
    confidence = report.confidence
    assert confidence.n == 1000
    assert confidence.mean == pytest.approx(sure.mean())
    assert confidence.sd == pytest.approx(sure.std())
    assert confidence.quantiles["p95"] == pytest.approx(np.quantile(sure, 0.95), abs=0.002)
    assert confidence.low_share == (sure < 0.7).mean()
    assert confidence.low_share_low < confidence.low_share < confidence.low_share_high
    assert report.classes.counts == {"yes": (p > 0.5).sum(), "no": (p <= 0.5).sum()}
    assert report.classes.n_effective == pytest.approx(2, abs=0.01)
    again = record_from_json(ScoringReport, record_to_json(report))
    assert again == report


def test_a_watched_column_must_come_out_of_the_function(night, tmp_path):
    with pytest.raises(DataError, match=r"batch 0 .*must return a column 'p'"):
        score(night, tmp_path, watch=Watch(confidence=("p",)))
