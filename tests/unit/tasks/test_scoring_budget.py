from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import batch_scoring
from flytekitplugins.wbmon.monitor.scoring.report import Watch


@batch_scoring(
    batch_rows=4,
    columns=("x",),
    max_error_rate=0.2,
    watch=Watch(confidence=("p",), classes="label"),
)
def fussy(batch: pd.DataFrame) -> pd.DataFrame:
    """Refuses one row."""
    assert list(batch.columns) == ["x"]
    if (batch["x"] == 5).any():
        raise ValueError("five")
    p = batch["x"] / 10
    return pd.DataFrame({"p": p, "label": (p > 0.5).map({True: "yes", False: "no"})})


def test_a_node_scores_within_its_error_budget_and_watches_its_predictions():
    data = pd.DataFrame({"x": range(10), "key": list("abcdefghij")})
    scored = fussy(data=StructuredDataset(dataframe=data))
    report = scored.report
    assert (report.n_rows, report.n_failed, report.errors) == (9, 1, {"ValueError": 1})
    assert pq.read_table(report.quarantine)["key"].to_pylist() == ["f"]
    assert scored.predictions.open(pd.DataFrame).all()["x"].tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert report.classes.counts == {"no": 5, "yes": 4}
    assert report.confidence.n == 9
