"""What `pyflyte run` shows and does with our workflows and nodes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.environment import BIN, ROOT, clean_environment
from support.wandb_log import find_run

PROJECT = Path(__file__).parent / "project"


def pyflyte_run(home: Path, *words: str, cwd: Path = ROOT) -> str:
    """The output, as one line without the frame that the help is drawn in."""
    done = subprocess.run(
        [sys.executable, str(BIN / "pyflyte"), "run", *words],
        cwd=cwd,
        env={**clean_environment(home=home), "COLUMNS": "200", "WANDB_DIR": str(home)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.sub(r"[\s│]+", " ", done.stdout)


def test_the_nightly_workflow_shows_typed_and_described_inputs(tmp_path: Path) -> None:
    shown = pyflyte_run(tmp_path, "workflows/nightly_monitoring.py", "payments_night", "--help")

    assert "Monitor the fraud model" in shown
    assert re.search(r"--kickoff .*The scheduled time", shown)
    assert re.search(r"--n_rows INTEGER .*Rows of the night", shown)


def test_a_node_shows_its_inputs_too(tmp_path: Path) -> None:
    shown = pyflyte_run(tmp_path, "workflows/nightly_monitoring.py", "payments_drift", "--help")

    assert re.search(r"--reference .*The profile that `ProfileData` made", shown)
    assert "--current" in shown


def test_a_tracked_node_runs_alone_on_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "window.parquet"
    pq.write_table(pa.table({"amount": [1.0, 2.0, None]}), data)

    pyflyte_run(tmp_path, "shapes.py", "partition_profile", "--data", str(data), cwd=PROJECT)

    run = find_run(tmp_path)
    assert run.exit_code == 0
    assert run.job_type == "profile"
