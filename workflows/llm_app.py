"""The application that is monitored: it answers questions from documents, with a language model.

`LLM_BASE_URL` names any OpenAI-compatible endpoint.
"""

from __future__ import annotations

import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon import Answer, Variant
from flytekitplugins.wbmon.llm import CallPolicy, Judge, PriceTable, answer_with, chat_with
from workflows.llm_questions import DOCUMENTS, retrieve

if TYPE_CHECKING:
    import openai

MODEL = "stand-in-1"
PRICES = [
    {"model": MODEL, "input_usd_per_mtok": 0.5, "output_usd_per_mtok": 1.5},
    {"model": "stand-in-1-pro", "input_usd_per_mtok": 5.0, "output_usd_per_mtok": 15.0},
]
PLAIN = Variant.of_text("plain", "Answer in one word. {question}", model=MODEL)
WITH_NOTES = Variant.of_text(
    "with notes", "Answer in one word, from these notes:\n{notes}\n{question}", model=MODEL
)


@cache
def client() -> openai.OpenAI:
    """A client of the endpoint; retries belong to the policy."""
    # imported here, as in all these modules: whoever registers them needs no client
    import openai

    url = os.environ["LLM_BASE_URL"]
    return openai.OpenAI(
        base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=0
    )


@cache
def _policy() -> CallPolicy:
    return CallPolicy(attempts=3, deadline_s=30)


async def answer(item: dict[str, Any], variant: Variant) -> Answer:
    """Answer a question in the way of a variant; prompts that want notes get them."""
    notes = "\n".join(DOCUMENTS[name] for name, _ in retrieve(item["question"]))
    ask = answer_with(client(), policy=_policy(), prices=PriceTable(PRICES, builtin=False))
    return await ask({**item, "notes": notes}, variant)


async def answer_from_documents(item: dict[str, Any]) -> Answer:
    """Answer a question from documents, with the time of each stage."""
    begun = time.perf_counter()
    found = retrieve(item["question"])
    retrieved_ms = (time.perf_counter() - begun) * 1e3
    said = await answer(item, WITH_NOTES)
    return Answer(
        text=said.text,
        model=said.model,
        cost_usd=said.cost_usd,
        retrieved=tuple(name for name, _ in found),
        scores=tuple(score for _, score in found),
        contexts=tuple(DOCUMENTS[name] for name, _ in found),
        stage_ms={"retrieval": retrieved_ms, "generation": said.latency_ms},
        latency_ms=(time.perf_counter() - begun) * 1e3,
    )


async def _judging(messages: list[dict[str, str]]) -> Answer:
    ask = chat_with(client(), MODEL, policy=_policy(), prices=PriceTable(PRICES, builtin=False))
    return await ask(messages)


relevance = Judge(_judging, "relevance")
groundedness = Judge(_judging, "groundedness")
