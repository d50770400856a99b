"""What a task produced, as one artifact."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flytekit import Deck

import wandb
from flytekitplugins.wbmon.run import lifecycle
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.in_process import pod_context
from support.wandb_log import find_run, read_run

SETTINGS = RunSettings(
    log_artifacts=True, init={"mode": "offline", "config": {"depth": 3, "api_key": "hunter2"}}
)


def test_config_metrics_plots_and_reports_become_one_artifact(folder: Path) -> None:
    with pod_context(folder.parent / "pod"), open_run(SETTINGS) as run:
        run.log({"loss": 0.5, "deep": {"er": 1}})
        run.log({"loss": 0.25, "image": wandb.Image(np.zeros((2, 2, 3), np.uint8))})
        Deck("Drift report", "<b>moved</b>")
        where = Path(run.settings.sync_dir)
    (artifact,) = read_run(where).artifacts
    files = {name: Path(path) for name, path in artifact.files.items()}
    assert artifact.type == "task-outputs"
    assert json.loads(files["config.json"].read_text())["depth"] == 3
    assert "hunter2" not in files["config.json"].read_text()
    assert json.loads(files["metrics.json"].read_text())["loss"] == 0.25
    rows = list(csv.DictReader(io.StringIO(files["metrics.csv"].read_text())))
    assert [row["loss"] for row in rows] == ["0.5", "0.25"]
    assert [name for name in files if name.startswith("plots/") and name.endswith(".png")]
    assert files["reports/Drift_report.html"].read_text().strip() == "<b>moved</b>"
    assert not [name for name in files if "W_B" in name]


def test_outputs_that_cannot_be_collected_leave_the_task_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(lifecycle, "log_outputs", broken)
    with open_run(SETTINGS):
        pass
    assert "could not log the task's outputs" in caplog.text
    assert find_run(folder).exit_code == 0
