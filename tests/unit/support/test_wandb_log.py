"""The reader of transaction logs, on logs that the real wandb writes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import wandb
from support.wandb_log import LoggedRun, find_run, read_records


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoggedRun:
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(7)
    logged = wandb.init(
        mode="offline",
        project="p",
        id="r1",
        group="g",
        job_type="j",
        notes="n",
        tags=["a", "b"],
        config={"flyte": {"node": "n0"}, "lr": 0.1},
        dir=folder,
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off"),
    )
    logged.define_metric("drift/*", step_metric="window")
    for window in range(3):
        logged.log({"window": window, "drift/psi": 0.1 * window, "nested": {"x": window}})
    logged.log({"undefined": math.nan, "wide": rng.bytes(50_000).hex()})
    logged.summary["verdict"] = "drift"
    logged.config.update({"added": [1, 2]})
    logged.alert("Drift", "psi 0.2", level="WARN", wait_duration=5)
    artifact = wandb.Artifact("reports", "report", metadata={"rows": 3})
    with artifact.new_file("report.json") as file:
        file.write("{}")
    logged.log_artifact(artifact, aliases=["nightly"])
    logged.finish(exit_code=1)
    return find_run(folder)


def test_who_and_where_the_run_is(run: LoggedRun) -> None:
    assert (run.id, run.project, run.group, run.job_type, run.notes) == ("r1", "p", "g", "j", "n")
    assert run.tags == ["a", "b"]
    assert run.user_config == {"flyte": {"node": "n0"}, "lr": 0.1, "added": [1, 2]}


def test_what_the_run_logged(run: LoggedRun) -> None:
    assert run.column("drift/psi") == [0.0, 0.1, 0.2]
    assert run.column("nested") == [{"x": 0}, {"x": 1}, {"x": 2}]
    assert math.isnan(run.column("undefined")[0])
    assert len(run.column("wide")[0]) == 100_000  # a record over several blocks
    assert run.summary["verdict"] == "drift"
    assert run.step_metrics["drift/*"] == "window"


def test_alerts_artifacts_and_the_outcome(run: LoggedRun) -> None:
    (alert,) = run.alerts
    assert (alert.title, alert.text, alert.level, alert.wait_ms) == (
        "Drift",
        "psi 0.2",
        "WARN",
        5000,
    )
    artifact = next(item for item in run.artifacts if item.type == "report")
    assert (artifact.name, artifact.metadata) == ("reports", {"rows": 3})
    assert Path(artifact.files["report.json"]).read_text() == "{}"
    assert "nightly" in artifact.aliases
    assert run.exit_code == 1


def test_every_torn_tail_keeps_what_came_before(run: LoggedRun) -> None:
    whole = list(read_records(run.raw))
    for end in range(7, len(run.raw), 997):
        kept = list(read_records(run.raw[:end]))
        assert kept == whole[: len(kept)]
    assert len(list(read_records(run.raw[:-1]))) == len(whole) - 1


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no \.wandb header"):
        next(read_records(b"PAR1...."))
