"""A task whose traces have to wait, and the node that sends them, made in a function."""

from __future__ import annotations

import os

import weave
from flytekit import Secret, task

from flytekitplugins.wbmon import SyncOfflineTraces
from flytekitplugins.wbmon.llm import weave_init

API_HOST = os.environ["API_HOST"]
KEY = Secret(group="wandb", key="api_key")


@weave.op
def answer(number: int) -> int:
    return number * 2


@weave_init(
    project="demo",
    entity="loop",
    secret=KEY,
    api_host=API_HOST,
    delivery_timeout_s=8,
    offline_store=os.environ.get("OFFLINE_STORE"),
)
@task(enable_deck=True)
def ask() -> int:
    """Five calls."""
    return sum(answer(number) for number in range(5))


def nodes() -> list[SyncOfflineTraces]:
    """The node for each of the stores that the environment names."""
    stores = os.environ.get("STORES", "").split()
    return [
        SyncOfflineTraces(
            f"kept.sync{number}", secret=KEY, offline_store=store, trace_host=f"{API_HOST}/traces"
        )
        for number, store in enumerate(stores)
    ]


made = nodes()
