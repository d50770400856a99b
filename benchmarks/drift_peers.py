"""A whole drift check against the same check by Evidently, NannyML and whylogs.

Each peer needs pins of its own, so each gets an environment under `.peers/`, built with uv on first
use. One that cannot be built or does not run is skipped with the reason.

`python -m benchmarks.drift_peers [rows columns rounds]`
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.drift_data import make_windows
from benchmarks.drift_measure import FOLDER, ROOT, Cost, interleaved
from benchmarks.drift_speed import EXACT

FRAMES = """
import os, sys, warnings
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.simplefilter("ignore")
import pandas as pd
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
"""
EVIDENTLY = (
    FRAMES
    + """
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset
windows = Dataset.from_pandas(current), Dataset.from_pandas(reference)
report = Report([DataDriftPreset()]).run(*windows)
report.dict()
result = ""
"""
)
NANNYML = (
    FRAMES
    + """
import nannyml
calculator = nannyml.UnivariateDriftCalculator(
    column_names=list(reference.columns), continuous_methods=["jensen_shannon"],
    categorical_methods=["jensen_shannon"], chunk_number=10,
)
calculator.fit(reference)
calculator.calculate(current).to_df()
result = ""
"""
)
WHYLOGS = (
    FRAMES
    + """
import whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores
views = [whylogs.log(pandas=frame).view() for frame in (current, reference)]
calculate_drift_scores(*views, with_thresholds=True)
result = ""
"""
)


@dataclass(frozen=True)
class Peer:
    """Another tool: what to install and what to run."""

    name: str
    packages: tuple[str, ...]
    program: str


PEERS = (
    Peer("Evidently, default preset", ("evidently==0.7.23", "pandas==3.0.6", "pyarrow"), EVIDENTLY),
    Peer("NannyML, Jensen-Shannon", ("nannyml==0.13.1", "statsmodels", "pyarrow"), NANNYML),
    Peer(
        "whylogs, profile and drift",
        ("whylogs[viz]==1.6.4", "numpy<2", "pandas<3", "pyarrow<20", "setuptools<81", "scipy"),
        WHYLOGS,
    ),
)


def environment(peer: Peer) -> Path:
    """The peer's interpreter, in an environment that is built if it is not there.

    Raises:
        RuntimeError: If it cannot be built.
    """
    folder = ROOT / ".peers" / peer.name.split(",")[0].lower()
    python = folder / "bin" / "python"
    if (folder / ".made").exists():
        return python
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise RuntimeError("uv is not installed")
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", "3.11", str(folder)],
        [uv, "pip", "install", "--quiet", "--python", str(python), *peer.packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
    (folder / ".made").touch()
    return python


def main(n_rows: int = 1_000_000, n_columns: int = 20, rounds: int = 1) -> None:
    """Print wall time, CPU time, peak memory, and the multiple of our wall time."""
    paths = make_windows(FOLDER, n_rows=n_rows, n_columns=n_columns)
    ours = interleaved({"ours": (EXACT, paths)}, rounds=max(rounds, 3))["ours"]
    print(f"{n_columns} columns x {n_rows:,} rows, two windows\n")
    print("| whole process | wall / CPU / peak | wall against ours |")
    print("|---|---|---|")
    print(f"| check_drift, exact | {ours} | 1 x |", flush=True)
    for peer in PEERS:
        try:
            cost = _measure(peer, paths, rounds)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            print(f"| {peer.name} | skipped: {' '.join(str(error).split())[-200:]} | |", flush=True)
            continue
        print(f"| {peer.name} | {cost} | {cost.wall_s / ours.wall_s:.0f} x |", flush=True)


def _measure(peer: Peer, paths: tuple[Path, Path], rounds: int) -> Cost:
    python = str(environment(peer))
    return interleaved({peer.name: (peer.program, paths)}, rounds=rounds, python=python)[peer.name]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
