"""The tasks that `pod_memory` measures, in a module of their own, as an image would hold it."""

from __future__ import annotations

import os
import time

import pandas as pd
from flytekit import Secret, task

from flytekitplugins.wbmon import (
    AlertRule,
    DegradationAlert,
    DriftCheck,
    PerformanceCheck,
    ProfileData,
    batch_scoring,
    wandb_init,
)

tracked = wandb_init(
    project="payments",
    entity="ops",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ.get("API_HOST", "http://127.0.0.1:9"),
)


@task
def plain(seconds: float) -> float:
    """What flytekit itself takes."""
    time.sleep(seconds)
    return seconds


@tracked
@task
def no_op(seconds: float) -> float:
    """The same in a W&B run."""
    time.sleep(seconds)
    return seconds


@tracked
@batch_scoring
def score(batch: pd.DataFrame) -> pd.DataFrame:
    """A model that costs nothing."""
    return pd.DataFrame({"score": batch["amount"] * 2})


TASKS = {
    "a plain task of flytekit": plain,
    "`ProfileData`": ProfileData("memory.profile"),
    "a tracked task without work": no_op,
    "tracked `ProfileData`": tracked(ProfileData("memory.tracked_profile")),
    "tracked `DriftCheck`": tracked(DriftCheck("memory.drift")),
    "tracked `PerformanceCheck`": tracked(
        PerformanceCheck(
            "memory.performance", task="classification", label="label", prediction="prediction"
        )
    ),
    "tracked `DegradationAlert`": tracked(
        DegradationAlert(
            "memory.alert", rules=[AlertRule(metric="drift.drifted", above=0, severity="warn")]
        )
    ),
    "tracked `batch_scoring`": score,
}
