"""A thread pool for work that releases the GIL, such as sorting and decoding."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_MAX_THREADS = 8  # each holds columns in memory, and a pod may see cores that it may not use
_JOB = TypeVar("_JOB")
_DONE = TypeVar("_DONE")


def in_threads(work: Callable[[_JOB], _DONE], jobs: Sequence[_JOB]) -> list[_DONE]:
    """Apply `work` to each job in threads, as many as there are cores and at most eight.

    Returns:
        The results in the order of the jobs.
    """
    workers = min(_n_cores(), _MAX_THREADS, len(jobs))
    if workers <= 1:
        return [work(job) for job in jobs]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, jobs))


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        # the cores this process may use; `cpu_count` reports all those of the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
