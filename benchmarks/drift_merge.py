"""Merging the profiles of many partitions.

`python -m benchmarks.drift_merge [profiles columns]`
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.drift_data import make_table
from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles, profile_data
from flytekitplugins.wbmon.monitor.profiles.profile import Profile


def main(n_profiles: int = 1000, n_columns: int = 100) -> None:
    """Print the time to merge them in memory, and to read them from files and merge."""
    rng = np.random.default_rng(0)
    reference = profile_data(make_table(rng, 50_000, n_columns))
    some = [profile_data(make_table(rng, 20_000, n_columns), like=reference) for _ in range(10)]
    profiles = [some[i % len(some)] for i in range(n_profiles)]
    started = time.perf_counter()
    merged = merge_profiles(profiles)
    in_memory = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}" for i in range(len(some))]
        for profile, path in zip(some, paths, strict=True):
            profile.save(path)
        size = paths[0].stat().st_size
        started = time.perf_counter()
        merge_profiles(Profile.load(paths[i % len(paths)]) for i in range(n_profiles))
        from_files = time.perf_counter() - started
    print(f"{n_profiles:,} profiles of {n_columns} columns, {merged.n_rows:,} rows in all\n")
    print("| | seconds |\n|---|---|")
    print(f"| merged in memory | {in_memory:.2f} |")
    print(f"| read from files of {size / 1024:.0f} KiB and merged | {from_files:.2f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
