"""A tracked task and a tracked node that no variable holds, for pods of their own."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
from flytekit import Secret, task, workflow
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import DriftCheck, ProfileData, current_run, wandb_init

tracked = wandb_init(
    project="p",
    entity="ops",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ["API_HOST"],
)
profile = ProfileData("story.profile")
checks = [tracked(DriftCheck("story.drift"))]


@tracked
@task
def make(shift: float) -> StructuredDataset:
    """A window, and a row about it."""
    run = current_run()
    assert run is not None
    run.log({"shift": shift})
    return StructuredDataset(pd.DataFrame({"x": np.random.default_rng(0).normal(shift, 1, 1000)}))


@workflow
def story(shift: float) -> bool:
    """Whether a window has drifted from the one that has not moved."""
    reference = profile(data=make(shift=0.0))
    current = profile(data=make(shift=shift), like=reference)
    return checks[0](reference=reference, current=current).drifted
