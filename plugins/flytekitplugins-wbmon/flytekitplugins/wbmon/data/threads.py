"""Work shared out to threads: sorting and decoding let go of Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_MAX_THREADS = 8  # each holds columns in memory, and a pod may see cores that it may not use
_JOB = TypeVar("_JOB")
_DONE = TypeVar("_DONE")


def in_threads(work: Callable[[_JOB], _DONE], jobs: Sequence[_JOB]) -> list[_DONE]:
    """Results in the order of the jobs; as many threads as cores, at most eight."""
    workers = min(_n_cores(), _MAX_THREADS, len(jobs))
    if workers <= 1:
        return [work(job) for job in jobs]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, jobs))


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
