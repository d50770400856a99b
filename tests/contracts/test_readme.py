"""The README's code runs as it stands there."""

from __future__ import annotations

import importlib.util
import re
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

import joblib
import pandas as pd
import pytest
from flytekit.types.file import FlyteFile
from sklearn.linear_model import LogisticRegression

from flytekitplugins.wbmon import check_performance, profile_data
from support.pages import code_blocks
from workflows.payments import generate_payments

BLOCKS = code_blocks("README.md")
FEATURES = ["amount", "hour", "distance_km", "account_age_days"]


def as_module(text: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The text as an imported module."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


def test_the_nightly_check_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    past = generate_payments(-1)
    model = LogisticRegression(max_iter=1_000).fit(past[FEATURES], past["fraud"])
    joblib.dump(model, tmp_path / "payments.joblib")
    past["p_fraud"] = model.predict_proba(past[FEATURES])[:, 1]
    past = past[[*FEATURES, "fraud", "p_fraud"]]
    reference = profile_data(past)
    reference.save(tmp_path / "payments.wbmon-profile")
    baseline = check_performance(past, task="classification", label="fraud", prediction="p_fraud")
    baseline.save(tmp_path / "payments.wbmon-performancereport")
    (tmp_path / "2026-02-02").mkdir()
    generate_payments(0, fault="unit_change")[[*FEATURES, "fraud"]].to_parquet(
        tmp_path / "2026-02-02" / "0.parquet"
    )
    text = re.sub("s3://(monitors|payments)", str(tmp_path), BLOCKS[0])
    module = as_module(text, tmp_path / "readme_nightly.py", monkeypatch)
    fired = module.nightly(
        model=FlyteFile(str(tmp_path / "payments.joblib")),
        reference=reference,
        baseline=baseline,
        kickoff=datetime(2026, 2, 3, tzinfo=timezone.utc),
    )
    assert fired is True


def test_the_notebook_lines_run() -> None:
    frame = generate_payments(0)
    text = BLOCKS[1].replace('profile_data("s3://bucket/train/")', "profile_data(train)")
    names: dict[str, object] = {"frame": frame, "train": generate_payments(-1)}
    exec(compile(text, "README.md", "exec"), names)  # noqa: S102 - the README is ours
    assert isinstance(names["frame"], pd.DataFrame)
    assert names["report"].n_current == len(frame)
