"""Adapters that turn an OpenAI-compatible client into the functions evaluations and judges call."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm.policy import CallPolicy
from flytekitplugins.wbmon.monitor.llm.calls.openai_columns import (
    content_of,
    parameter_columns,
    whole_answer_columns,
)
from flytekitplugins.wbmon.monitor.llm.calls.row import call_attributes
from flytekitplugins.wbmon.monitor.llm.cost.prices import PriceTable
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import prompt_digest
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant

Messages = list[dict[str, str]]


def chat_with(
    client: Any,
    model: str,
    *,
    policy: CallPolicy | None = None,
    prices: PriceTable | None = None,
    **parameters: Any,
) -> Callable[[Messages], Awaitable[Answer]]:
    """Make a coroutine function that sends messages to a model; its answers carry their cost.

    Args:
        client: An `openai.OpenAI`, which any task can share, or an `AsyncOpenAI` of the running
            event loop; with a policy it should have `max_retries=0`.
        model: The model to ask.
        policy: Retries, fallbacks and deadline; one plain request if None.
        prices: Prices for the cost; if None, the cost is unknown (None).
        parameters: Further request parameters, such as `temperature`.
    """
    return _Chat(_Client(client, policy, prices), model, parameters)


def answer_with(
    client: Any, *, policy: CallPolicy | None = None, prices: PriceTable | None = None
) -> Callable[[Mapping[str, Any], Variant], Awaitable[Answer]]:
    """Make a coroutine function that answers an item with the prompt and model of a variant.

    The placeholders of the prompt are filled with the fields of the item of the same name.

    Args:
        client: An `openai.OpenAI`, which any task can share, or an `AsyncOpenAI` of the running
            event loop; with a policy it should have `max_retries=0`.
        policy: Retries, fallbacks and deadline; one plain request if None.
        prices: Prices for the cost; if None, the cost is unknown (None).
    """
    return _Answering(_Client(client, policy, prices))


@dataclass(frozen=True, slots=True)
class _Client:
    """A client, and how it is asked and paid."""

    client: Any
    policy: CallPolicy | None
    prices: PriceTable | None

    def models_without_price(self, models: Sequence[str]) -> list[str]:
        """Those of the models, and of the fallbacks, whose price is unknown now."""
        asked = (*models, *(self.policy.fallbacks if self.policy is not None else ()))
        return [
            model
            for model in asked
            if self.prices is None
            or self.prices.cost_usd(model, input_tokens=1, output_tokens=1) is None
        ]

    async def ask(self, model: str, messages: Messages, parameters: Mapping[str, Any]) -> Answer:
        return await _ask(self.client, model, messages, parameters, self.policy, self.prices)


@dataclass(frozen=True, slots=True)
class _Chat:
    """Sends messages to one model."""

    client: _Client
    model: str
    parameters: Mapping[str, Any]

    async def __call__(self, messages: Messages) -> Answer:
        return await self.client.ask(self.model, messages, self.parameters)

    def models_without_price(self, models: Sequence[str]) -> list[str]:
        """As `PricedAsk` says; of an evaluation's models it asks none but its own."""
        del models
        return self.client.models_without_price([self.model])


@dataclass(frozen=True, slots=True)
class _Answering:
    """Answers items with the prompts and models of variants."""

    client: _Client

    async def __call__(self, item: Mapping[str, Any], variant: Variant) -> Answer:
        messages = messages_for(variant, item)
        noted = {"prompt_name": variant.prompt_name or variant.name, "variant": variant.name}
        with call_attributes(purpose="evaluation", prompt_version=prompt_digest(variant), **noted):
            return await self.client.ask(variant.model, messages, dict(variant.parameters))

    def models_without_price(self, models: Sequence[str]) -> list[str]:
        """As `PricedAsk` says."""
        return self.client.models_without_price(models)


def messages_for(variant: Variant, item: Mapping[str, Any]) -> Messages:
    """Fill the prompt of a variant with the fields of an item.

    Raises:
        ConfigError: If the item lacks a field for a placeholder of the prompt.
    """
    template = PromptTemplate(name=variant.prompt_name or variant.name, messages=variant.prompt)
    missing = template.variables - item.keys()
    if missing:
        raise ConfigError(
            f"an item must have {', '.join(sorted(missing))} for the prompt of {variant.name!r}, "
            f"it has {', '.join(sorted(item))}"
        )
    return template.format(**{name: item[name] for name in template.variables})


async def _ask(
    client: Any,
    model: str,
    messages: Messages,
    parameters: Mapping[str, Any],
    policy: CallPolicy | None,
    prices: PriceTable | None,
) -> Answer:
    begun = time.perf_counter()

    async def request(name: str) -> Any:
        create = client.chat.completions.create
        asked = {"model": name, "messages": messages, **parameters}
        # Weave may have wrapped it
        if inspect.iscoroutinefunction(inspect.unwrap(create)):
            return await create(**asked)
        # a blocking client must not stop the other calls of the event loop
        return await asyncio.to_thread(create, **asked)

    # for a policy that logs: it knows no parameters
    with call_attributes(**parameter_columns(parameters)):
        completion = await (policy.acall(request, model=model) if policy else request(model))
    columns = whole_answer_columns(completion)
    counts = {
        name: columns.get(f"gen_ai_usage_{name}")
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "reasoning_output_tokens",
        )
    }
    # a fallback or an alias may have answered: its price counts
    answered = str(columns.get("gen_ai_response_model") or model)
    return Answer(
        text=content_of(completion),
        model=answered,
        input_tokens=counts["input_tokens"],
        output_tokens=counts["output_tokens"],
        cached_tokens=counts["cache_read_input_tokens"],
        reasoning_tokens=counts["reasoning_output_tokens"],
        cost_usd=prices.cost_usd(answered, **counts) if prices is not None else None,
        latency_ms=(time.perf_counter() - begun) * 1e3,
        time_to_first_chunk_ms=math.nan,
        finish_reason=str(columns.get("finish_reason", "")),
        error=str(columns.get("error_type", "")),
    )
