from __future__ import annotations

from pathlib import Path

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import Sample, SummarizeServing, wandb_init
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from support.in_process import execute, pod_context
from support.wandb_log import find_run


def test_a_tracked_summary_shows_a_redacted_sample_of_requests(tmp_path: Path) -> None:
    log = PredictionLogger(
        "api", str(tmp_path / "log"), sampling=SamplingPolicy(rate=1.0), redactor=None
    )
    for i in range(30):
        log.log_prediction(prediction=i, input_text="mail ada@example.com")
    log.close()
    compact_prediction_log(str(tmp_path / "log"), "api")
    day = next((tmp_path / "log" / "prediction_log").glob("*/dt=*")).relative_to(
        tmp_path / "log" / "prediction_log"
    )
    tables = [
        StructuredDataset(uri=str(tmp_path / "log" / table / day), file_format="parquet")
        for table in ("serving_window", "prediction_log")
    ]
    node = SummarizeServing("t.shown", sample=Sample(rows=12))
    tracked = wandb_init(project="p", entity="e", dir=str(tmp_path), mode="offline")(node)
    with pod_context(tmp_path / "pod", task="t.shown") as context:
        report = execute(context, tracked, windows=tables[0], predictions=tables[1])

    assert next(iter(report.values())).total.n_requests == 30
    (table,) = find_run(tmp_path / "wandb").column("serving/requests")
    assert table["nrows"] == 12
    (file,) = (tmp_path / "wandb").rglob("*.table.json")
    assert "mail [EMAIL]" in file.read_text()
    assert "ada@" not in file.read_text()
