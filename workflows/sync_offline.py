"""Every hour: deliver the runs that W&B did not take when they were made.

pyflyte run workflows/sync_offline.py sync_offline
"""

from __future__ import annotations

import os

from flytekit import CronSchedule, LaunchPlan, Secret, workflow

from flytekitplugins.wbmon import SyncOfflineRuns

# the folder that the tracked tasks name as their offline_store
STORE = os.environ.get("WBMON_OFFLINE_STORE", "/tmp/wandb-offline")  # noqa: S108 - for a first try

sync = SyncOfflineRuns(
    "wandb.sync_offline",
    secret=Secret(group="wandb", key="api_key"),
    offline_store=STORE,
)


@workflow
def sync_offline() -> bool:
    """Whether everything that waited is delivered."""
    return sync().complete


hourly = LaunchPlan.get_or_create(
    sync_offline, name="wandb.sync_offline.hourly", schedule=CronSchedule(schedule="0 * * * *")
)
