"""Peak memory of a drift check as rows grow: the same file, linked into a folder many times.

`python -m benchmarks.drift_memory [times …]`
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.drift_data import make_windows
from benchmarks.drift_measure import FOLDER, FOOTER, run
from benchmarks.drift_speed import NIGHTLY, STORE

N_ROWS = 1_000_000
N_COLUMNS = 20


def folder_of(path: Path, times: int) -> Path:
    """A folder in which the file lies `times` times, at the cost of once."""
    folder = path.with_name(f"{path.stem}-times-{times}")
    folder.mkdir(exist_ok=True)
    for i in range(times):
        link = folder / f"{i:04}.parquet"
        if not link.exists():
            link.symlink_to(path)
    return folder


def main(*times: int) -> None:
    """Print peak memory and rows per second for each size."""
    reference, current = make_windows(FOLDER, n_rows=N_ROWS, n_columns=N_COLUMNS)
    stored = FOLDER / "memory.profile"
    run(STORE + FOOTER, reference, current, stored)
    print(f"{N_COLUMNS} columns against a stored reference profile\n")
    print("| rows | peak MiB | wall s | million cells per second of CPU |")
    print("|---|---|---|---|")
    for count in times or (1, 5, 50):
        cost = run(NIGHTLY + FOOTER, reference, folder_of(current, count), stored)
        cells = count * N_ROWS * N_COLUMNS / 1e6
        print(
            f"| {count * N_ROWS:,} | {cost.peak_mib:.0f} | {cost.wall_s:.1f} "
            f"| {cells / cost.cpu_s:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
