"""A task whose run has to wait, and the node that delivers it, made in a function."""

from __future__ import annotations

import os

from flytekit import Secret, task

from flytekitplugins.wbmon import SyncOfflineRuns, current_run, wandb_init

API_HOST = os.environ["API_HOST"]
KEY = Secret(group="wandb", key="api_key")


@wandb_init(
    project="payments",
    entity="ops",
    secret=KEY,
    id="waits",
    api_host=API_HOST,
    delivery_timeout_s=8,
    offline_store=os.environ.get("OFFLINE_STORE"),
)
@task(enable_deck=True)
def score() -> int:
    """Three rows."""
    for row in range(3):
        current_run().log({"row": row})
    return 3


def nodes() -> list[SyncOfflineRuns]:
    """The node for each of the stores that the environment names."""
    stores = os.environ.get("STORES", "").split()
    return [
        SyncOfflineRuns(
            f"stored.sync{number}",
            secret=KEY,
            api_host=API_HOST,
            offline_store=store,
            timeout_s=60,
        )
        for number, store in enumerate(stores)
    ]


made = nodes()
