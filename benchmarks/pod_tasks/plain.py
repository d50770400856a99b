"""A task of flytekit, in a module that needs nothing else."""

from __future__ import annotations

import time

from flytekit import task


@task
def plain(seconds: float) -> float:
    """What flytekit itself takes."""
    time.sleep(seconds)
    return seconds
