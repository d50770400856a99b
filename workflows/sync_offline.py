"""Every hour: deliver the runs that W&B did not take when they were made.

pyflyte run workflows/sync_offline.py sync_offline
"""

from __future__ import annotations

from flytekit import CronSchedule, LaunchPlan, Secret, workflow

from flytekitplugins.wbmon import SyncOfflineRuns
from workflows.shared import shared

sync = SyncOfflineRuns(
    "wandb.sync_offline",
    secret=Secret(group="wandb", key="api_key"),
    # what the tracked tasks name as theirs; if they name none, the raw output prefix of the project
    offline_store=shared("offline"),
)


@workflow
def sync_offline() -> bool:
    """Whether everything that waited is delivered."""
    return sync().complete


hourly = LaunchPlan.get_or_create(
    sync_offline, name="wandb.sync_offline.hourly", schedule=CronSchedule(schedule="0 * * * *")
)
