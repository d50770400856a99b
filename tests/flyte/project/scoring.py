"""Scoring that loses its pod half-way, alone and mapped over partitions."""

from __future__ import annotations

import os

import pandas as pd
from flytekit import map_task, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import ScoringReport, batch_scoring


@task
def rows(n: int) -> pd.DataFrame:
    """Numbers from 0."""
    return pd.DataFrame({"x": range(n)})


@task
def partitions(n: int) -> list[StructuredDataset]:
    """Numbers from 0, in two partitions."""
    frame = pd.DataFrame({"x": range(n)})
    return [StructuredDataset(dataframe=half) for half in (frame[: n // 2], frame[n // 2 :])]


def double(batch: pd.DataFrame) -> pd.DataFrame:
    """Twice the number; the first attempt is lost at 33."""
    if os.environ["FLYTE_ATTEMPT_NUMBER"] == "0" and (batch["x"] == 33).any():
        raise FlyteRecoverableException("connection lost")
    return pd.DataFrame({"twice": batch["x"] * 2})


@batch_scoring(batch_rows=5, part_rows=10, retries=3)
def score(batch: pd.DataFrame) -> pd.DataFrame:
    """Twice the number; the second attempt is killed at 38."""
    if os.environ["FLYTE_ATTEMPT_NUMBER"] == "1" and (batch["x"] == 38).any():
        os.kill(os.getpid(), 9)
    return double(batch)


@batch_scoring(batch_rows=5, part_rows=5, retries=3, returns="predictions")
def score_partition(batch: pd.DataFrame) -> pd.DataFrame:
    """Twice the number."""
    return double(batch)


@workflow
def alone(n: int) -> tuple[StructuredDataset, ScoringReport]:
    """One task."""
    scored = score(data=rows(n=n))
    return scored.predictions, scored.report


@workflow
def mapped(n: int) -> list[StructuredDataset]:
    """A pod for each partition."""
    return map_task(score_partition)(data=partitions(n=n))
