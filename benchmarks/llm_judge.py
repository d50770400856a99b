"""How many verdicts a second a judge gives, against a model that takes 50 ms for each.

Runs in the environment of the LLM tests: `make .venv-llm/.made`, then
`.venv-llm/bin/python -m benchmarks.llm_judge`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import openai

from flytekitplugins.wbmon.llm import CallPolicy, Judge, chat_with
from workflows import llm_stand_in

N_VERDICTS = 200
KNOWN = {
    "question": "What is the capital of France?",
    "context": "France is a country. Its capital is Paris.",
}


async def judged(url: str, concurrency: int) -> float:
    """Verdicts a second."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        chat = chat_with(client, "stand-in-1", policy=CallPolicy())
        judge = Judge(chat, "relevance", concurrency=concurrency)
        begun = time.perf_counter()
        found: list[Any] = await judge.judge_all([KNOWN] * N_VERDICTS)
        if None in found:
            raise SystemExit(f"the judge failed: {judge.stats}")
        return N_VERDICTS / (time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    url = llm_stand_in.start(slots=64, service_s=0.05)
    print("| verdicts at the same time | verdicts a second |")
    print("|---:|---:|")
    for concurrency in (1, 4, 16, 64):
        print(f"| {concurrency} | {asyncio.run(judged(url, concurrency)):.0f} |")


if __name__ == "__main__":
    main()
