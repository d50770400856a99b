"""Functions at module level, as nodes name them."""

from __future__ import annotations

from typing import Any

from flytekitplugins.wbmon import Answer, Variant


async def answer(item: dict[str, Any], variant: Variant) -> Answer:
    """Right for every item with the second prompt, for every third with the first."""
    right = variant.name != "old" or int(item["id"]) % 3 == 0
    return Answer(text=item["expected"] if right else "?", cost_usd=0.01, latency_ms=5.0)


def retrieve(item: dict[str, Any]) -> Answer:
    """Finds the document of every query."""
    return Answer(retrieved=(item["relevant"][0], "x"), scores=(0.9, 0.1), latency_ms=2.0)


def shout(answer: Answer, item: dict[str, Any]) -> float:
    """Whether the answer is in capitals."""
    return float(answer.text.isupper())


async def outage(item: dict[str, Any], variant: Variant) -> Answer:
    """As `answer`, while the provider of the first prompt is down for a third of the items."""
    if variant.name == "old" and int(item["id"]) % 3 == 1:
        raise ConnectionError
    return await answer(item, variant)


def retrieve_nothing(item: dict[str, Any]) -> Answer:
    """The vector store is down."""
    raise ConnectionError


def retrieve_first(item: dict[str, Any]) -> Answer:
    """Finds the same two documents for every query."""
    return Answer(retrieved=("d0", "x"), scores=(0.9, 0.1), latency_ms=2.0)
