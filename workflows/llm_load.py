"""Load on an OpenAI-compatible endpoint: requests at random times."""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openai


@dataclass
class Reply:
    """One request: how late it was sent, and when its first chunk came; nan if it failed."""

    behind_s: float
    first_chunk_s: float


async def send(
    client: openai.AsyncOpenAI, model: str, *, rate: float, n: int, warm_up_s: float, seed: int
) -> list[Reply]:
    """Send requests at random times, whether or not those before are answered.

    A time is counted from when the request was due: a sender that waits for a slow endpoint would
    otherwise not see how slow it is.
    """
    arrivals = random.Random(seed)  # noqa: S311 - load, not secrets
    n_warm = math.ceil(rate * warm_up_s)
    due = time.perf_counter()
    pending = []
    for _ in range(n_warm + n):
        due += arrivals.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        pending.append(asyncio.create_task(_reply(client, model, due)))
    return list(await asyncio.gather(*pending))[n_warm:]


async def _reply(client: openai.AsyncOpenAI, model: str, due: float) -> Reply:
    import openai

    reply = Reply(time.perf_counter() - due, math.nan)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    try:
        stream = await client.chat.completions.create(model=model, messages=asked, stream=True)
        async for _ in stream:
            if math.isnan(reply.first_chunk_s):
                reply.first_chunk_s = time.perf_counter() - due
    except openai.OpenAIError:
        reply.first_chunk_s = math.nan
    return reply
