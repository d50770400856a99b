"""Concurrent answering and scoring of items by variants, within a spending limit."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, TypeVar

from flytekitplugins.wbmon.data.scalars import is_missing
from flytekitplugins.wbmon.errors import error_message, error_type
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore, answer_key
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import (
    Item,
    Judged,
    PartlyPriced,
    Scorer,
    ScorerError,
)
from flytekitplugins.wbmon.monitor.llm.evaluation.valid_answer import valid_answer, valid_cost
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant

logger = logging.getLogger(__name__)

T = TypeVar("T")
Ask: TypeAlias = Callable[[Item, Variant], Answer | Awaitable[Answer]]


@dataclass(slots=True, kw_only=True)
class Asked:
    """One answer and its scores.

    Attributes:
        place: Index of the item in the data set.
        variant: The variant that answered.
        repeat: Index of the repeat.
        answer: The answer; if the request failed, it has `error`.
        is_cached: Whether the answer comes from the store.
        scores: Score by scorer, without those that failed.
        failures: Exception class by scorer that failed.
    """

    place: int
    variant: Variant
    repeat: int
    answer: Answer
    is_cached: bool = False
    scores: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class PricedAsk(Protocol):
    """What knows prices before it asks, so that a limit on the cost can be refused in time."""

    def models_without_price(self, models: Sequence[str]) -> Sequence[str]:
        """Those of the models that it would ask whose price is unknown.

        Args:
            models: The models of the variants.
        """


@dataclass(slots=True, kw_only=True)
class SpendLimit:
    """The spending limit of a run, and what is spent.

    Attributes:
        limit_usd: The limit; None for none.
        spent_usd: Known costs.
        n_unpriced: Number of calls of unknown cost; with the first one no limit can be kept.
        models: Names of models whose answers had no known cost.
    """

    limit_usd: float | None = None
    spent_usd: float = 0.0
    n_unpriced: int = 0
    models: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        """Whether no further item may be started."""
        return self.limit_usd is not None and (
            self.spent_usd >= self.limit_usd or self.n_unpriced > 0
        )

    def pay(self, cost_usd: float | None, n_unpriced: int = 0) -> None:
        """Add a cost.

        Args:
            cost_usd: The cost; None or nan for a call of unknown cost, if `n_unpriced` does not say
                more.
            n_unpriced: Number of further calls whose cost is unknown.
        """
        is_unknown = is_missing(cost_usd)
        self.spent_usd += 0.0 if is_unknown else cost_usd or 0.0
        self.n_unpriced += n_unpriced or int(is_unknown)

    def pay_answer(self, answer: Answer) -> None:
        """Add the cost of an answer; a request that failed is free unless it says otherwise."""
        if answer.cost_usd is not None:
            self.pay(answer.cost_usd)
        elif not answer.error:
            self.pay(None)
            self.models.add(answer.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun:
    """Settings of a run.

    Attributes:
        ask: Answers an item with a variant.
        scorers: Scorers by name.
        repeats: Number of answers for each item and variant.
        concurrency: Maximum number of items answered at the same time.
        store: Answers of earlier runs; None for none.
        spend_limit: Limit on the cost; items already started are finished.
    """

    ask: Ask
    scorers: Mapping[str, Scorer]
    repeats: int = 1
    concurrency: int = 8
    store: AnswerStore | None = None
    spend_limit: SpendLimit = field(default_factory=SpendLimit)

    async def run(self, items: Sequence[Item], variants: Sequence[Variant]) -> list[Asked]:
        """Answer and score the items; an item gets all its answers or none."""
        gate = asyncio.Semaphore(self.concurrency)

        async def ask_item(place: int) -> list[Asked]:
            async with gate:
                if self.spend_limit.is_empty:
                    return []
                questions = [(v, r) for r in range(self.repeats) for v in variants]
                return [await self._answer(place, items[place], v, r) for v, r in questions]

        found = await asyncio.gather(*(ask_item(place) for place in range(len(items))))
        return [asked for answers in found for asked in answers]

    async def _answer(self, place: int, item: Item, variant: Variant, repeat: int) -> Asked:
        key = answer_key(variant, item, repeat)
        answer = self.store.get(key) if self.store is not None else None
        is_cached = answer is not None
        if answer is None:
            answer = await self._ask(item, variant)
            self.spend_limit.pay_answer(answer)
            # an error may pass, so the next run asks again
            if self.store is not None and not answer.error:
                self.store.put(key, answer)
        asked = Asked(
            place=place, variant=variant, repeat=repeat, answer=answer, is_cached=is_cached
        )
        for name, scorer in self.scorers.items():
            await self._score(asked, item, name, scorer)
        return asked

    async def _ask(self, item: Item, variant: Variant) -> Answer:
        begun = time.perf_counter()
        answer = await answer_of(self.ask, item, variant)
        # only nan differs from itself: `ask` did not measure the latency
        if answer.latency_ms == answer.latency_ms:
            return answer
        return replace(answer, latency_ms=(time.perf_counter() - begun) * 1e3)

    async def _score(self, asked: Asked, item: Item, name: str, scorer: Scorer) -> None:
        if asked.answer.error:
            asked.scores[name] = 0.0
            return
        try:
            judged = await judged_by(scorer, asked.answer, item, pay=self.spend_limit.pay)
            asked.scores[name] = judged.value
        except Exception as error:  # noqa: BLE001 - a scorer that fails is counted, not fatal
            asked.failures[name] = error_type(error)


async def answer_of(ask: Callable[..., Any], *args: Any) -> Answer:
    """The answer of a function; one that raises, or returns something else, gives a failed one.

    So does one with an impossible value in a field, as `valid_answer` says.

    Args:
        ask: A function, a coroutine function, or an object with a `__call__` of either kind.
        args: What it is called with.
    """
    try:
        answer = await _called(ask, *args)
    except Exception as error:  # noqa: BLE001 - a model that fails is a finding
        logger.info("no answer: %s", error_message(error))
        return Answer(error=error_type(error))
    if isinstance(answer, Answer):
        return valid_answer(answer)
    logger.info("no answer: got %s instead of an Answer", type(answer).__name__)
    return Answer(error=TypeError.__name__)


async def judged_by(
    scorer: Callable[..., Any],
    *args: Any,
    pay: Callable[[float | None, int], None],
    **known: Any,
) -> Judged:
    """The score of a scorer or judge, from 0 to 1.

    Args:
        scorer: As `ask` of `answer_of`; returns a number or a `Judged`.
        args: What it is called with.
        pay: Takes what it cost, as `SpendLimit.pay` does, also if it gave no valid score.
        known: What it is called with by name.

    Raises:
        ValueError: If the score is not from 0 to 1, or the cost no number from 0 on.
    """
    try:
        score = await _called(scorer, *args, **known)
    except ScorerError as error:
        _pay(pay, error.cost_usd, error.n_unpriced)
        raise
    judged = score if isinstance(score, Judged) else Judged(score, cost_usd=0.0)
    _pay(pay, judged.cost_usd, int(isinstance(judged, PartlyPriced)))
    value = float(judged.value)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"a score must be from 0 to 1, got {value}")
    return judged._replace(value=value)


def _pay(pay: Callable[[float | None, int], None], cost_usd: Any, n_unpriced: int) -> None:
    """Pay what a scorer says; what is no cost is an unknown one, and the scorer has failed."""
    try:
        cost = valid_cost(cost_usd)
    except ValueError:
        pay(None, n_unpriced)
        raise
    pay(cost, n_unpriced)


async def _called(function: Callable[..., Any], *args: Any, **known: Any) -> Any:
    """Call a coroutine function, or a plain function in a thread so that it blocks nothing."""
    target = function if inspect.isroutine(function) else type(function).__call__
    if inspect.iscoroutinefunction(target):
        return await function(*args, **known)
    found = await asyncio.to_thread(_called_in_thread, function, *args, **known)
    return await found if inspect.isawaitable(found) else found


def _called_in_thread(function: Callable[..., Any], *args: Any, **known: Any) -> Any:
    try:
        return function(*args, **known)
    except StopIteration as error:
        # no future takes it: what waits for the thread would wait for ever
        raise RuntimeError("the function raised StopIteration") from error


def run_coroutine(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, even if this thread already runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = asyncio.run(work)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome["error"] = error

    # `asyncio.run` refuses a thread that runs a loop, so a new thread gets its own
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    found: T = outcome["value"]
    return found
