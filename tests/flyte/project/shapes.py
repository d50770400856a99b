"""Tracked tasks and nodes in every place that Flyte allows."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

import numpy as np
import pandas as pd
from flytekit import Secret, conditional, current_context, dynamic, map_task, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    AlertRule,
    DegradationAlert,
    DriftCheck,
    DriftReport,
    DriftRule,
    MergeProfiles,
    Profile,
    ProfileData,
    current_run,
    wandb_init,
)

tracked = wandb_init(
    project="payments",
    entity="ops",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ.get("API_HOST", "http://127.0.0.1:9"),
)


@task
def window(seed: int, shift: float) -> pd.DataFrame:
    """500 rows of two columns; `shift` moves one of them."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"amount": rng.normal(shift, 1, 500), "hour": rng.uniform(0, 24, 500)})


@task
def partitions(seed: int) -> list[StructuredDataset]:
    """Two windows, to be profiled each by a pod of its own."""
    rng = np.random.default_rng(seed)
    frames = [pd.DataFrame({"amount": rng.normal(0, 1, 500)}) for _ in range(2)]
    return [StructuredDataset(dataframe=frame) for frame in frames]


class Gated(NamedTuple):
    """What the gate led to, and the report behind it."""

    answer: str
    report: DriftReport


@task
def page(reason: str) -> str:
    """Call a person."""
    return f"paged: {reason}"


@task
def sleep() -> str:
    """Call nobody."""
    return "quiet"


def make_nodes(name: str) -> list[ProfileData | DriftCheck]:
    """Nodes that no variable of a module holds."""
    return [
        ProfileData(f"{name}.profile"),
        tracked(DriftCheck(f"{name}.drift", rule=DriftRule(min_effect=0.2))),
    ]


@workflow
def gate(shift: float) -> Gated:
    """A drift check made in a function, and a branch on its boolean output."""
    profile, drift = make_nodes("gate")
    reference = profile(data=window(seed=1, shift=0.0))
    current = profile(data=window(seed=2, shift=shift), like=reference)
    checked = drift(reference=reference, current=current)
    answer = (
        conditional("gate")
        .if_(checked.drifted.is_true())
        .then(page(reason="drift"))
        .else_()
        .then(sleep())
    )
    return Gated(answer=answer, report=checked.report)


partition_profile = tracked(ProfileData("partition.profile"))
reference_profile = ProfileData("reference.profile", columns=("amount",))
merge = MergeProfiles("partition.merge")


@workflow
def mapped(seed: int) -> Profile:
    """A tracked node over partitions, one pod each, and their sum."""
    like_reference = functools.partial(
        partition_profile, like=reference_profile(data=window(seed=1, shift=0.0))
    )
    return merge(profiles=map_task(like_reference)(data=partitions(seed=seed)))


@task
def square(x: int) -> int:
    """A plain function, tracked where it is mapped."""
    current_run().log({"x": x})
    return x * x


@workflow
def squares(xs: list[int]) -> list[int]:
    """`wandb_init` on what `map_task` returns."""
    return tracked(map_task(square))(x=xs)


decide = DegradationAlert("dynamic.alert", rules=[AlertRule(metric="drift.drifted", above=0)])


@tracked
@dynamic
def per_model(report: DriftReport, n_models: int) -> list[bool]:
    """As many decisions as there are models."""
    current_run().log({"n_models": n_models})
    return [decide(drift=report).fired for _ in range(n_models)]


@workflow
def spread(report: DriftReport, n_models: int) -> list[bool]:
    """The dynamic task inside a workflow."""
    return per_model(report=report, n_models=n_models)


@tracked
@task(retries=2)
def unlucky(rows: int) -> int:
    """Lose the connection once."""
    current_run().log({"rows": rows})
    checkpoint = current_context().checkpoint
    if checkpoint.read() is None:
        checkpoint.write(b"tried")
        raise FlyteRecoverableException("connection lost")
    return rows


@tracked
@task(retries=2)
def broken(rows: int) -> int:
    """Fail for good."""
    current_run().log({"rows": rows})
    if rows > 0:
        raise ValueError("the model file is empty")
    return rows


@workflow
def retried(rows: int) -> int:
    """A task that is tried again, then one that is not."""
    return broken(rows=unlucky(rows=rows))


@tracked
@task
async def fetch(rows: int) -> int:
    """A coroutine."""
    import asyncio

    current_run().log({"rows": rows})
    await asyncio.sleep(0)
    return 2 * rows
