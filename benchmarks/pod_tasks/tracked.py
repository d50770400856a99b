"""The same task in a W&B run."""

from __future__ import annotations

import os
import time

from flytekit import Secret, task

from flytekitplugins.wbmon import wandb_init

tracked = wandb_init(
    project="payments",
    entity="ops",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ.get("API_HOST", "http://127.0.0.1:9"),
)


@tracked
@task
def no_op(seconds: float) -> float:
    """What the run takes."""
    time.sleep(seconds)
    return seconds
