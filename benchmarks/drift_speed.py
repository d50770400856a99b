"""A whole drift check against merely reading the files, and against pandas with scipy.

`python -m benchmarks.drift_speed [rows columns rounds]`
"""

from __future__ import annotations

import sys

from benchmarks.drift_data import make_windows
from benchmarks.drift_measure import FOLDER, Cost, interleaved

READ = """
import sys
from concurrent.futures import ThreadPoolExecutor
import pyarrow.parquet as pq
paths = sys.argv[1:3]
jobs = [(path, name) for path in paths for name in pq.read_schema(path).names]
metadata = {path: pq.read_metadata(path) for path in paths}
texts = [f.name for f in pq.read_schema(paths[0]) if str(f.type) == "string"]
def read(job):
    file = pq.ParquetFile(job[0], metadata=metadata[job[0]], read_dictionary=texts)
    return file.read(columns=[job[1]], use_threads=False).num_rows
with ThreadPoolExecutor(2) as pool:
    result = sum(pool.map(read, jobs))
"""
EXACT = """
import sys
from flytekitplugins.wbmon import check_drift
report = check_drift(*sys.argv[1:3])
result = f"{report.n_drifted} of {len(report.features)}"
"""
GRID = """
import sys
from flytekitplugins.wbmon import check_drift, profile_data
reference = profile_data(sys.argv[1])
report = check_drift(reference, profile_data(sys.argv[2], like=reference))
result = f"{report.n_drifted} of {len(report.features)}"
"""
NIGHTLY = """
import sys
from flytekitplugins.wbmon import Profile, check_drift
report = check_drift(Profile.load(sys.argv[3]), sys.argv[2])
result = f"{report.n_drifted} of {len(report.features)}"
"""
STORE = """
import sys
from flytekitplugins.wbmon import profile_data
profile_data(sys.argv[1]).save(sys.argv[3])
result = ""
"""
SCIPY = """
import sys
import pandas as pd
from scipy import stats
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
n_significant = 0
for name in reference.columns:
    a, b = reference[name], current[name]
    if a.dtype.kind == "f":
        p = stats.ks_2samp(a.dropna(), b.dropna(), method="asymp").pvalue
        stats.wasserstein_distance(a.dropna(), b.dropna())
    else:
        table = pd.concat([a.value_counts(), b.value_counts()], axis=1).fillna(0)
        p = stats.chi2_contingency(table, correction=False).pvalue
    n_significant += p < 0.05
result = f"{n_significant} of {reference.shape[1]}"
"""


def measure(n_rows: int, n_columns: int, rounds: int) -> dict[str, Cost]:
    """Every program over the same two files."""
    paths = make_windows(FOLDER, n_rows=n_rows, n_columns=n_columns)
    arguments = (*paths, paths[0].with_name("reference.profile"))
    interleaved({"store": (STORE, arguments)}, rounds=1)
    programs = {
        "read both files, 2 threads": READ,
        "check_drift, both files, exact": EXACT,
        "check_drift, both files, by profiles": GRID,
        "check_drift, stored reference profile": NIGHTLY,
        "pandas + scipy.stats loop": SCIPY,
    }
    return interleaved(
        {name: (program, arguments) for name, program in programs.items()}, rounds=rounds
    )


def main(n_rows: int = 1_000_000, n_columns: int = 100, rounds: int = 3) -> None:
    """Print a table of wall time, CPU time, peak memory and ratios."""
    costs = measure(n_rows, n_columns, rounds)
    read = costs["read both files, 2 threads"]
    print(f"{n_columns} columns x {n_rows:,} rows, two windows, median of {rounds} rounds\n")
    print("| whole process | wall / CPU / peak | wall against the read | found |")
    print("|---|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost} | {cost.wall_s / read.wall_s:.2f} x | {cost.output} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
