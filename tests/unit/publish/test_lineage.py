from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

import wandb
from flytekitplugins.wbmon import profile_data
from flytekitplugins.wbmon.publish.lineage import publish_lineage, publish_promotion
from support.environment import BIN
from support.examples import decision, drift_report
from support.wandb_log import find_run
from support.wandb_server import WandbServer

DATA = "s3://bucket/raw/abc/predictions"


@pytest.fixture(autouse=True)
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))


def run_with(folder: Path, name: str, inputs: dict[str, object], outputs: list[object]) -> Path:
    """The folder of an offline run that the lineage was noted on."""
    with wandb.init(
        mode="offline",
        dir=folder,
        project="payments",
        entity="ops",
        id=name,
        settings=wandb.Settings(silent=True),
    ) as run:
        publish_lineage(inputs, outputs, run=run)
    (place,) = (folder / "wandb").glob(f"offline-run-*-{name}")
    return place


def test_a_decision_leads_back_to_the_data_and_the_model(tmp_path: Path) -> None:
    profile = profile_data(pd.DataFrame({"a": np.arange(50.0)}))
    data, model = StructuredDataset(uri=DATA), FlyteFile("s3://bucket/models/fraud.joblib")
    report = drift_report()
    folders = [
        run_with(tmp_path, "score", {"model": model, "batch": 3}, [data]),
        run_with(tmp_path, "profile", {"data": data}, [profile]),
        run_with(tmp_path, "drift", {"reference": profile}, [report, True]),
        run_with(tmp_path, "alert", {"drift": report, "scoring": None}, [decision()]),
    ]
    with WandbServer() as server:
        for folder in folders:
            subprocess.run(
                [sys.executable, str(BIN / "wandb"), "sync", str(folder)],
                env={**os.environ, **server.env},
                check=True,
                capture_output=True,
            )
        arrived = {artifact.name: artifact for artifact in server.artifacts}
        assert len(arrived) == len(server.artifacts), "the same content is one version"
        assert all(artifact.committed for artifact in server.artifacts)
    assert (arrived["data"].run, arrived["data"].used_by) == ("score", ["profile"])
    assert (arrived["profile"].run, arrived["profile"].used_by) == ("profile", ["drift"])
    assert (arrived["drift-report"].run, arrived["drift-report"].used_by) == ("drift", ["alert"])
    assert arrived["decision"].run == "alert"
    assert arrived["model"].used_by == ["score"]
    assert arrived["profile"].files
    assert not arrived["data"].files, "data stay where they are"


def test_a_promotion_is_a_version_with_its_alias_also_after_an_outage(tmp_path: Path) -> None:
    profile = profile_data(pd.DataFrame({"a": np.arange(50.0)}))
    with wandb.init(
        mode="offline", dir=tmp_path, project="payments", entity="ops", id="promote",
        settings=wandb.Settings(silent=True),
    ) as run:  # fmt: skip
        publish_promotion(profile, model="pay ments/é", alias="production", version="d", run=run)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-promote")
    with WandbServer() as server:
        subprocess.run(
            [sys.executable, str(BIN / "wandb"), "sync", str(folder)],
            env={**os.environ, **server.env},
            check=True,
            capture_output=True,
        )
        (artifact,) = server.artifacts
    assert (artifact.name, artifact.type) == ("pay-ments---profile", "reference")
    assert {"production", "latest"} <= set(artifact.aliases)
    assert json.loads(artifact.metadata) == {"version": "d"}


def test_a_promotion_that_wandb_does_not_take_costs_the_task_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    profile = profile_data(pd.DataFrame({"a": [1.0]}))
    broken = mock.Mock(disabled=False, log_artifact=mock.Mock(side_effect=ValueError("no")))
    for run in (None, wandb.init(mode="disabled"), broken):
        publish_promotion(profile, model="a", alias="b", version="c", run=run)
    assert "the promotion could not be noted" in caplog.text


def test_without_a_run_nothing_is_made(tmp_path: Path) -> None:
    publish_lineage({"a": drift_report()}, [decision()], run=None)
    silent = wandb.init(mode="disabled")
    publish_lineage({"a": drift_report()}, [decision()], run=silent)
    silent.finish()
    assert list(tmp_path.rglob("*staging*")) == []


def test_a_run_that_breaks_costs_the_task_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    run = wandb.init(mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    run.finish()
    publish_lineage({}, [drift_report()], run=run)
    assert "lineage" in caplog.text


def test_without_the_private_way_the_digest_of_an_input_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb.Run, "_log_artifact", None)
    run_with(tmp_path, "drift", {"data": StructuredDataset(uri=DATA)}, [])
    config = find_run(tmp_path).user_config
    assert list(config) == ["input/data"]
