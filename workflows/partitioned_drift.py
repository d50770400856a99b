"""Data too large for one pod: partitions are profiled side by side, added up, and checked once.

Counts of partitions add up exactly, so the verdict is that of one pod over all the data.

    pyflyte run workflows/partitioned_drift.py partitioned_drift --night 6 --n_partitions 4
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import pandas as pd
from flytekit import map_task, task, workflow
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import DriftCheck, DriftReport, MergeProfiles, ProfileData
from workflows.payments import FAULTS, generate_payments

profile = ProfileData("partitions.profile")
merge = MergeProfiles("partitions.merge")
drift = DriftCheck("partitions.drift")


class Both(NamedTuple):
    """The report of the partitions, and that of one pod over all the data."""

    partitioned: DriftReport
    whole: DriftReport


@task
def reference_night() -> pd.DataFrame:
    """A quiet night of synthetic payments."""
    return generate_payments(-1, n_rows=20_000)


@task
def whole_night(night: int) -> pd.DataFrame:
    """All payments of a night."""
    return generate_payments(night, n_rows=20_000, fault=FAULTS.get(night))


@task
def partitions(night: pd.DataFrame, n_partitions: int) -> list[StructuredDataset]:
    """The night's rows dealt out, as a distributed writer would leave them."""
    return [
        StructuredDataset(dataframe=night.iloc[part::n_partitions].reset_index(drop=True))
        for part in range(n_partitions)
    ]


@workflow
def partitioned_drift(night: int = 6, n_partitions: int = 4) -> Both:
    """Check a night for drift twice: partition by partition, and in one pod.

    Args:
        night: WindowSummary of the synthetic payments; some have a fault.
        n_partitions: How many pods share the rows.
    """
    reference = profile(data=reference_night())
    data = whole_night(night=night)
    parts = map_task(partial(profile, like=reference))(  # type: ignore[misc]  # a node is callable
        data=partitions(night=data, n_partitions=n_partitions)
    )
    added_up = drift(reference=reference, current=merge(profiles=parts))
    in_one_pod = drift(reference=reference, current=profile(data=data, like=reference))
    return Both(partitioned=added_up.report, whole=in_one_pod.report)
