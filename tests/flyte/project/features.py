"""Nodes and tracked tasks under the features of flytekit that no other project here uses."""

from __future__ import annotations

import os
from datetime import timedelta

import numpy as np
import pandas as pd
from flytekit import (
    Email,
    FixedRate,
    LaunchPlan,
    Resources,
    Secret,
    reference_launch_plan,
    reference_task,
    task,
    workflow,
)
from flytekit.models.core.execution import WorkflowExecutionPhase

from flytekitplugins.wbmon import DriftCheck, DriftReport, Profile, ProfileData, wandb_init
from flytekitplugins.wbmon.flyte.secrets import read_secret

PROJECT, DOMAIN = "flytesnacks", "development"

tracked = wandb_init(
    project="payments",
    entity="ops",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ.get("API_HOST", "http://127.0.0.1:9"),
)


@task
def window(seed: int) -> pd.DataFrame:
    """500 rows."""
    return pd.DataFrame({"amount": np.random.default_rng(seed).normal(0, 1, 500)})


profile = ProfileData("features.profile", columns=("amount",))
cached_drift = DriftCheck("features.cached", cache=True)
drift = DriftCheck("features.drift")


@workflow
def compared(reference: Profile, current: Profile) -> DriftReport:
    """A cached check."""
    return cached_drift(reference=reference, current=current).report


@workflow
def relaunched(seed: int) -> DriftReport:
    """A cached check of profiles that are made anew each time, with the same content."""
    made = profile(data=window(seed=seed))
    return cached_drift(reference=made, current=made).report


@workflow
def overridden(reference: Profile, current: Profile) -> DriftReport:
    """A node as this workflow needs it."""
    checked = drift(reference=reference, current=current).with_overrides(
        requests=Resources(mem="2Gi"),
        limits=Resources(mem="3Gi"),
        container_image="registry/other:2",
        cache=True,
        cache_version="mine",
        retries=4,
        timeout=timedelta(minutes=9),
        node_name="nightly-drift",
    )
    return checked.report


@reference_task(project=PROJECT, domain=DOMAIN, name="elsewhere.profile", version="v7")
def profile_elsewhere(seed: int) -> Profile:
    """A task that another project has registered."""


@reference_launch_plan(project=PROJECT, domain=DOMAIN, name="elsewhere.plan", version="v7")
def check_elsewhere(reference: Profile, current: Profile) -> DriftReport:
    """A launch plan that another project has registered."""


@workflow
def referring(seed: int) -> DriftReport:
    """Our records to and from what others have registered."""
    reference = profile_elsewhere(seed=seed)
    current = profile(data=window(seed=2), like=reference)
    return check_elsewhere(reference=reference, current=current)


plan = LaunchPlan.get_or_create(
    overridden,
    name="features.plan",
    fixed_inputs={},
    schedule=None,
    notifications=[
        Email(phases=[WorkflowExecutionPhase.FAILED], recipients_email=["ops@example.com"])
    ],
)
hourly = LaunchPlan.get_or_create(
    workflow=referring,
    name="features.hourly",
    default_inputs={"seed": 1},
    schedule=FixedRate(duration=timedelta(hours=1)),
)


@tracked
@task(pod_template_name="gpu")
def train(rows: int) -> int:
    """What each process of a distributed training does."""
    from flytekitplugins.wbmon import current_run

    current_run().log({"rows": rows})
    return rows


@workflow
def trained(rows: int) -> int:
    """The training alone."""
    return train(rows=rows)


MOUNTED = [
    Secret(group="as-any", key="API_KEY"),
    Secret(group="as-file", key="api_key", mount_requirement=Secret.MountType.FILE),
    Secret(group="as-var", key="api_key", mount_requirement=Secret.MountType.ENV_VAR),
]


@task(secret_requests=MOUNTED)
def open_secrets() -> list[str]:
    """Each secret, read as channels and W&B keys are."""
    return [read_secret(secret, holds="a key") for secret in MOUNTED]
