"""Columns that are declared to come out of predict: every window has them, in one type."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import batch_scoring
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.scoring.batch_scorer import BatchScorer
from flytekitplugins.wbmon.monitor.scoring.score import score_batches
from flytekitplugins.wbmon.monitor.scoring.slo import SLO

OUTPUTS = {"p": "float64", "label": "string"}


def model(batch: pd.DataFrame) -> pd.DataFrame:
    """Refuses what scikit-learn's refuse: no rows, and missing values."""
    if batch.empty or batch["x"].isna().any():
        raise ValueError("Found array with 0 sample(s)")
    return pd.DataFrame({"label": np.where(batch["x"] > 0, "yes", "no"), "p": batch["x"] ** 2})


def scored(data, folder, **options):
    report = score_batches(model, data, str(folder / "scored"), **options)
    return report, pq.read_table(folder / "scored")


@pytest.mark.parametrize("n", [0, 1, 500])
def test_every_window_has_the_declared_columns_in_their_types(tmp_path, n):
    data = pa.table({"x": np.arange(n, dtype=np.float64)})
    report, table = scored(data, tmp_path, outputs=OUTPUTS)
    assert table.schema.equals(
        pa.schema([("x", pa.float64()), ("p", pa.float64()), ("label", pa.string())])
    )
    assert (table.num_rows, report.columns) == (n, ("p", "label"))


def test_a_window_of_which_every_row_failed_has_them_too(tmp_path):
    data = pa.table({"x": pa.array([None] * 40, pa.float64())})
    report, table = scored(data, tmp_path, outputs=OUTPUTS, max_error_rate=1.0)
    assert (table.num_rows, table.column_names) == (0, ["x", "p", "label"])
    assert report.unmeasured == "predict failed on all 40 rows: ValueError 40"


def test_without_a_declaration_an_empty_window_of_such_a_model_lacks_them(tmp_path):
    report, table = scored(pa.table({"x": pa.array([], pa.float64())}), tmp_path)
    assert (table.column_names, report.columns) == (["x"], ())
    assert report.unmeasured == "the window has no rows"


def test_whole_numbers_are_written_as_the_declared_floats(tmp_path):
    def count(batch: pa.Table):
        return pa.table({"n": pa.array(range(batch.num_rows), pa.int32())})

    score_batches(
        count, pa.table({"x": [1, 2]}), str(tmp_path / "s"), outputs={"n": "float64"}, kind="arrow"
    )
    assert pq.read_table(tmp_path / "s")["n"].type == pa.float64()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"p": "float64"}, "the columns of outputs=, 'p'; it returned 'label', 'p'"),
        ({"p": "float64", "label": "int64"}, "values of the types of outputs=; Failed to parse"),
    ],
)
def test_other_columns_and_other_types_name_the_batch(tmp_path, outputs, message):
    with pytest.raises(DataError, match=r"batch 0 \(rows 0 to 2\)") as caught:
        scored(pa.table({"x": [1.0, 2.0, 3.0]}), tmp_path, outputs=outputs)
    assert message in str(caught.value)


@pytest.mark.parametrize("outputs", [{}, {"p": "number"}, {"p": None}, ["p"], "p"])
def test_a_declaration_that_says_nothing_is_refused_where_the_task_is_made(outputs):
    with pytest.raises(ConfigError, match="outputs must"):
        batch_scoring(model, outputs=outputs)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(1e-4, 10), min_size=1, max_size=30),
    st.floats(1, 100),
    st.floats(0, 1),
)
def test_failed_rows_count_among_the_slowest(seconds, percentile, failed_share):
    """As if failed rows were slow rows: those that leave out the percentile decide."""
    n_rows = 1000
    scorer = BatchScorer(model, "pandas", None)
    for each in seconds:
        with scorer.batch(pa.table({"x": np.zeros(n_rows)})):
            scorer._seconds[-1] = each
    n_failed = int(failed_share * scorer.n_read)
    found = scorer.judge(SLO(name="fast", percentile=percentile, value=5000.0), n_failed=n_failed)
    if n_failed == scorer.n_read:
        assert found.verdict == "no_data"
        assert math.isnan(found.observed)
        return
    allowed = 1 - percentile / 100
    share = n_failed / scorer.n_read
    if share > allowed + 1e-9:
        assert (found.verdict, found.observed) == ("fail", math.inf)
    elif share < allowed - 1e-9:
        alone = scorer.judge(SLO(name="fast", percentile=percentile, value=5000.0))
        assert alone.observed <= found.observed <= 1000 * max(seconds) + 1e-9
        # never a pass that the rows which were scored do not give
        assert not (found.verdict == "pass" and alone.verdict == "fail")


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.0, ""), (0.5, ""), (1.0, "no row has a value of 'p'")],
)
def test_predictions_without_a_value_are_counted(tmp_path, share, told):
    def predict(batch: pd.DataFrame) -> pd.DataFrame:
        n_none = round(share * len(batch))
        return pd.DataFrame({"p": [np.nan] * n_none + [1.0] * (len(batch) - n_none), "ok": True})

    data = pa.table({"x": np.arange(100.0)})
    report = score_batches(predict, data, str(tmp_path / "s"), batch_rows=20)
    assert report.missing == {"p": round(share * 100), "ok": 0}
    assert report.unmeasured == told
    numbers = {each.name: each.value for each in report.measurements()}
    assert numbers["missing_share.p"] == share


def test_texts_without_a_value_are_counted_across_attempts(tmp_path):
    class Store:
        kept = None

        def load(self):
            return self.kept

        def save(self, checkpoint):
            self.kept = checkpoint

    calls = []

    def predict(batch: pd.DataFrame) -> pd.DataFrame:
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return pd.DataFrame({"label": [None, *["yes"] * (len(batch) - 1)]})

    store = Store()
    given = {"batch_rows": 10, "part_rows": 10, "checkpoints": store}
    data = pa.table({"x": np.arange(50.0)})
    with pytest.raises(KeyboardInterrupt):
        score_batches(predict, data, str(tmp_path / "first"), **given)
    report = score_batches(predict, data, str(tmp_path / "second"), **given)
    assert report.n_resumed > 0
    assert report.missing == {"label": 5}


@pytest.mark.parametrize(("n_bad", "is_told"), [(5, False), (6, True)])
def test_more_than_one_failed_row_in_twenty_is_told(tmp_path, n_bad, is_told):
    x = np.where(np.arange(100) < n_bad, np.nan, 1.0)
    report, _ = scored(pa.table({"x": x}), tmp_path, max_error_rate=1.0)
    expected = "predict failed on 6 of 100 rows" if is_told else ""
    assert report.unmeasured == expected


@pytest.mark.parametrize("folder", [True, False], ids=["an empty folder", "no columns"])
def test_a_window_without_rows_needs_no_column_of_the_model(tmp_path, folder):
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    data = nothing if folder else pa.table({})

    report, table = scored(data, tmp_path, columns=["x"], outputs=OUTPUTS)
    assert (report.n_rows, report.columns) == (0, tuple(OUTPUTS))
    assert table.schema.equals(pa.schema([("p", pa.float64()), ("label", pa.string())]))
    report = score_batches(model, data, str(tmp_path / "undeclared"), columns=["x"])
    assert (report.n_rows, report.columns) == (0, ())
    with pytest.raises(DataError, match="must have the columns that predict is given; 'x'"):
        scored(pa.table({"y": [1.0]}), nothing, columns=["x"])
