"""How many requests a second an OpenAI-compatible endpoint takes before it breaks its promises.

Each rate that is tried is a W&B run; the runs of one search are a group, and the highest rate that
holds has the tag `best`.

LLM_BASE_URL=http://… pyflyte run workflows/llm_capacity.py llm_capacity
"""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple

from flytekit import task, workflow

from workflows import llm_app
from workflows.llm_capacity_runs import (
    KEY,
    group_of_runs,
    keep,
    lost_loads,
    untag_earlier,
    write_runs,
)
from workflows.llm_load import send
from workflows.llm_promises import Load, judge
from workflows.llm_search import Search, best_rate, conclude


class Capacity(NamedTuple):
    """The highest rate that holds, 0 if none does; what was found; the group; every load."""

    best_rate: float
    verdict: str
    group: str
    loads: list[Load]


@task(secret_requests=[KEY], retries=2, enable_deck=True, deck_fields=())
def find_capacity(search: Search, group: str) -> Capacity:
    """Search, and write each load as a W&B run; a retry goes on where its attempt was lost.

    Args:
        search: Where to look, and what must hold.
        group: Of the runs in W&B; that of the execution if empty.
    """
    group = group_of_runs(group)
    loads = lost_loads()
    while True:
        rate = search.next_rate(loads)
        write_runs(loads, search, group, is_over=rate is None)
        if rate is None:
            break
        loads.append(asyncio.run(measure(rate, search)))
        keep(loads)
        print(f"{rate:8g} a second  {loads[-1].verdict:>9}  {loads[-1].reason}")
    untag_earlier(loads, group)
    print(f"Capacity: {conclude(loads)}")
    return Capacity(best_rate(loads), conclude(loads), group, loads)


async def measure(rate: float, search: Search) -> Load:
    """Send the load, after a second of warm-up, and judge the replies."""
    import openai

    known = llm_app.client()
    async with openai.AsyncOpenAI(
        base_url=known.base_url,
        api_key=known.api_key,
        max_retries=0,
        timeout=max(5.0, 10 * search.p99_s),
    ) as client:
        n = max(search.n, math.ceil(search.seconds * rate))
        replies = await send(client, llm_app.MODEL, rate=rate, n=n, warm_up_s=1.0, seed=search.seed)
    return judge(rate, replies, p99_s=search.p99_s, error_rate=search.error_rate)


@workflow
def llm_capacity(search: Search = Search(), group: str = "") -> Capacity:  # noqa: B008
    """Find the highest rate at which an endpoint keeps its promises.

    Args:
        search: Where to look, and what must hold.
        group: Of the runs in W&B; that of the execution if empty.
    """
    return find_capacity(search=search, group=group)
