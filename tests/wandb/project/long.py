"""Tasks that are still at work when something happens to their pod."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from flytekit import Secret, eager, task

from flytekitplugins.wbmon import current_run, wandb_init

tracked = wandb_init(
    project="payments",
    entity="ops",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ.get("API_HOST", "http://127.0.0.1:9"),
    delivery_timeout_s=float(os.environ.get("DELIVERY_TIMEOUT_S", "3")),
    offline_store=os.environ.get("OFFLINE_STORE"),
)


def log(row: int) -> None:
    """One row, and a sign that it was logged."""
    current_run().log({"row": row})
    Path("logged").write_text(str(row + 1))


@tracked
@task
def work(seconds: float) -> float:
    """Log ten rows a second."""
    for row in range(int(seconds * 10)):
        log(row)
        time.sleep(0.1)
    return seconds


@tracked
@task
async def work_async(seconds: float) -> float:
    """The same in a coroutine, which flytekit runs in a thread of its own."""
    for row in range(int(seconds * 10)):
        log(row)
        await asyncio.sleep(0.1)
    return seconds


@tracked
@eager
async def work_eager(seconds: float) -> float:
    """The same in an eager task, for which flytekit has a handler of SIGTERM of its own."""
    for row in range(int(seconds * 10)):
        log(row)
        await asyncio.sleep(0.1)
    return seconds


@tracked
@task
def work_until_told(seconds: float) -> float:
    """The same, with a handler that only says so: the task saves its work and returns."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    row = 0
    while row < seconds * 10 and not told:
        log(row)
        time.sleep(0.1)
        row += 1
    current_run().summary["saved"] = row
    return row / 10
