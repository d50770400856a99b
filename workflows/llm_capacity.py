"""How many requests a second an OpenAI-compatible endpoint takes before it breaks its promises.

LLM_BASE_URL=http://… pyflyte run workflows/llm_capacity.py llm_capacity --rates '[5, 10, 20]'
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from statistics import quantiles
from typing import NamedTuple

import openai
from flytekit import Secret, task, workflow

from flytekitplugins.wbmon import current_run, wandb_init
from workflows import llm_app

KEY = Secret(group="wandb", key="api_key")
tracked = wandb_init(
    project="wbmon-demo", entity="my-team", secret=KEY, group="llm-capacity", id="{execution}-load"
)


@dataclass
class Load:
    """What an endpoint did at one rate.

    Attributes:
        rate: Requests a second that were sent, Poisson.
        n: Requests.
        error_rate: Share that failed.
        p50_s: Median time to the first chunk.
        p99_s: 99th percentile of it; infinite if too many failed.
        holds: Whether both promises were kept.
    """

    rate: float
    n: int
    error_rate: float
    p50_s: float
    p99_s: float
    holds: bool


class Capacity(NamedTuple):
    """The highest rate that holds, and every load that was tried."""

    best_rate: float
    loads: list[Load]


@tracked
@task
def find_capacity(
    rates: list[float], duration_s: float, p99_s: float, error_rate: float, seed: int
) -> Capacity:
    """Raise the rate until a promise breaks, then halve the gap until it is small.

    Args:
        rates: Requests a second, rising.
        duration_s: Seconds at each rate.
        p99_s: Longest time to the first chunk, of 99 in 100 requests.
        error_rate: Largest share of requests that may fail.
        seed: Of the arrivals.
    """
    loads: list[Load] = []

    def holds(rate: float) -> bool:
        measured = asyncio.run(_apply(rate, duration_s, seed))
        load = _judge(rate, measured, p99_s, error_rate)
        loads.append(load)
        run = current_run()
        if run is not None:
            run.log({f"capacity/{name}": value for name, value in vars(load).items()})
        print(
            f"{rate:7.1f}/s  p99 {load.p99_s:6.3f} s  errors {load.error_rate:6.1%}  "
            f"{'holds' if load.holds else 'breaks'}"
        )
        return load.holds

    good, bad = 0.0, 0.0
    for rate in rates:
        if not holds(rate):
            bad = rate
            break
        good = rate
    while bad - good > 0.15 * bad:
        middle = (good + bad) / 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    run = current_run()
    if run is not None:
        run.summary["capacity/best_rate"] = good
        run.tags = (*(run.tags or ()), "best")
    return Capacity(best_rate=good, loads=loads)


async def _apply(rate: float, duration_s: float, seed: int) -> list[float | None]:
    """Send requests at random times; the time to the first chunk of each, None if it failed."""
    arrivals = random.Random(seed)  # noqa: S311 - load, not secrets
    async with openai.AsyncOpenAI(
        base_url=str(llm_app.client().base_url), api_key="none", max_retries=0, timeout=30
    ) as client:
        pending = []
        until = time.perf_counter() + duration_s
        while time.perf_counter() < until:
            pending.append(asyncio.create_task(_first_chunk(client)))
            await asyncio.sleep(arrivals.expovariate(rate))
        return list(await asyncio.gather(*pending))


async def _first_chunk(client: openai.AsyncOpenAI) -> float | None:
    begun = time.perf_counter()
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    try:
        stream = await client.chat.completions.create(
            model=llm_app.MODEL, messages=asked, stream=True
        )
        first: float | None = None
        async for _ in stream:
            first = first or time.perf_counter() - begun
    except openai.OpenAIError:
        return None
    return first


def _judge(rate: float, measured: list[float | None], p99_s: float, error_rate: float) -> Load:
    known = [each for each in measured if each is not None]
    failed = 1 - len(known) / len(measured) if measured else 1.0
    cuts = quantiles(known, n=100) if len(known) > 1 else [float("inf")] * 99
    holds = failed <= error_rate and cuts[98] <= p99_s
    return Load(rate, len(measured), failed, cuts[49], cuts[98], holds)


@workflow
def llm_capacity(
    rates: list[float] = [10.0, 20.0, 40.0, 80.0, 160.0],  # noqa: B006 - a workflow's default
    duration_s: float = 3.0,
    p99_s: float = 0.5,
    error_rate: float = 0.01,
    seed: int = 1,
) -> Capacity:
    """Find the highest rate at which an endpoint keeps its promises.

    Args:
        rates: Requests a second, rising.
        duration_s: Seconds at each rate.
        p99_s: Longest time to the first chunk, of 99 in 100 requests.
        error_rate: Largest share of requests that may fail.
        seed: Of the arrivals.
    """
    return find_capacity(
        rates=rates, duration_s=duration_s, p99_s=p99_s, error_rate=error_rate, seed=seed
    )
