"""Tasks that are still at work when something happens to their pod."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from flytekit import Secret, task

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
