from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.environment import ROOT, SOURCE, clean_environment

pytest.importorskip("uvicorn")


@pytest.mark.slow
def test_the_demo_is_quiet_on_an_ordinary_day_and_finds_the_broken_scanner(tmp_path: Path) -> None:
    environment = clean_environment(home=tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "examples.serve_digits.demo", str(tmp_path / "out")],
        cwd=ROOT,
        env={
            **environment,
            "PYTHONPATH": f"{SOURCE}:{ROOT}",
            "DEMO_REQUESTS": "800",
            "WANDB_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    ordinary, broken = done.stdout.split("the day the south scanner broke")
    assert "none of 4 rules fires" in ordinary
    assert "worse than the baseline" in broken
    assert (tmp_path / "out" / "broken.html").read_text().startswith("<!doctype html>")
    assert list((tmp_path / "out" / "log" / "prediction_log").rglob("part-*.parquet"))
