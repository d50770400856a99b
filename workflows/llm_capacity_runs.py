"""The W&B runs of a capacity search: one a rate, in one group, the highest that holds tagged.

A run is written when it is known whether it is the best, so its tag goes the way of its numbers: an
outage loses neither, and nothing has to be asked of W&B.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone

from flytekit import Secret, current_context

from flytekitplugins.wbmon import TagBest, current_run, wandb_init
from flytekitplugins.wbmon.errors import ConfigError, PublishError
from workflows.llm_promises import Load
from workflows.llm_search import Search, best_rate

logger = logging.getLogger(__name__)

PROJECT, ENTITY = "wbmon-demo", "my-team"
KEY = Secret(group="wandb", key="api_key")


def group_of_runs(given: str) -> str:
    """The group: as given, or the execution; outside of Flyte every search has one of its own."""
    name = given or current_context().execution_id.name
    if name == "local":
        name = f"capacity-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}"
    return re.sub(r"[^\w.-]+", "-", name)


def write_runs(loads: Sequence[Load], search: Search, group: str, *, is_over: bool) -> None:
    """Write the loads that are not written yet; one that may still be the best waits.

    Ids are made of group and rate, so a load that is written twice is one run.
    """
    best = best_rate(loads)
    for load in loads:
        if load.run_id or (load.rate == best and not is_over):
            continue
        tags = [load.verdict, "best"] if load.rate == best else [load.verdict]
        tracked = wandb_init(
            project=PROJECT,
            entity=ENTITY,
            secret=KEY,
            id=f"{group}-rate-{load.rate:g}",
            group=group,
            name=f"{load.rate:g} a second",
            job_type="load",
            tags=tags,
            config={"capacity": asdict(search)},
            delivery_timeout_s=10,
        )
        load.run_id = tracked(_write)(load)
        keep(loads)


def _write(load: Load) -> str:
    run = current_run()
    if run is None:
        return "none"
    told = {name: value for name, value in asdict(load).items() if value not in ("", math.inf)}
    if load.verdict == "holds":
        told["held_rate"] = load.rate
    run.log({f"capacity/{name}": value for name, value in told.items()})
    return str(run.id)


def untag_earlier(loads: Sequence[Load], group: str) -> None:
    """Take the tag from the best run of an earlier search, where a group is used again."""
    node = TagBest(
        "llm.capacity.best",
        project=PROJECT,
        entity=ENTITY,
        metric="capacity/held_rate",
        secret=KEY,
    )
    best = best_rate(loads)
    ids = [load.run_id for load in loads if load.rate == best]
    try:
        node.compute(group=group, among=ids or ["none"])
    except (PublishError, ConfigError) as error:
        logger.info("W&B cannot be asked for earlier runs of %s: %s", group, error)


def keep(loads: Sequence[Load]) -> None:
    """Keep what was measured for the next attempt."""
    try:
        current_context().checkpoint.write(json.dumps([asdict(load) for load in loads]).encode())
    except Exception as error:  # noqa: BLE001 - any file system; then it is measured again
        logger.warning("the loads cannot be kept for a next attempt: %s", error)


def lost_loads() -> list[Load]:
    """What an attempt before this one had measured."""
    try:
        checkpoint = current_context().checkpoint
        saved = checkpoint.read() if checkpoint.prev_exists() else None
        return [Load(**each) for each in json.loads(saved or b"[]")]
    except Exception as error:  # noqa: BLE001 - an attempt that died early has left nothing
        logger.info("no loads of an earlier attempt: %s", error)
        return []
