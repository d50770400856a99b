"""A language model as a judge: it is asked for a score as JSON, which is validated.

A judge can be used wherever a scorer can. Its cost is recorded separately (`purpose=judge` in the
call log) and never added to the cost of the answers that it judges.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flytekitplugins.wbmon.errors import ConfigError, error_message, error_type
from flytekitplugins.wbmon.monitor.llm.calls.row import call_attributes
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import (
    Item,
    Judged,
    PartlyPriced,
    ScorerError,
    parse_json,
)

logger = logging.getLogger(__name__)

Chat: TypeAlias = Callable[[list[dict[str, str]]], Awaitable[Answer]]
"""Asks a model; see `chat_with`."""

_FORM = (
    "Answer with JSON only, of the form "
    '{"score": <number from 0 to 1>, "reason": "<one sentence>"}.'
)

CORRECTNESS = PromptTemplate.from_text(
    "judge-correctness",
    "Question: {question}\nExpected answer: {expected}\nGiven answer: {answer}\n"
    "Does the given answer say the same as the expected one? 1 is fully, 0 is not at all.",
)
RELEVANCE = PromptTemplate.from_text(
    "judge-relevance",
    "Question: {question}\nDocument: {context}\n"
    "Does the document help to answer the question? 1 is fully, 0 is not at all.",
)
GROUNDEDNESS = PromptTemplate.from_text(
    "judge-groundedness",
    "Documents:\n{contexts}\nAnswer: {answer}\n"
    "Which share of the answer's claims do the documents support? 1 is all, 0 is none.",
)
TEMPLATES: Mapping[str, PromptTemplate] = {
    "correctness": CORRECTNESS,
    "relevance": RELEVANCE,
    "groundedness": GROUNDEDNESS,
}


class JudgeError(ScorerError):
    """A judge gave no usable verdict."""


@dataclass(slots=True, kw_only=True)
class JudgeStats:
    """Counts and cost of the verdicts of a judge.

    Attributes:
        n_judged: Verdicts given.
        n_failed: Requests that ended without a verdict.
        n_asked_again: Answers that were not in the requested form and were asked for again.
        cost_usd: Total cost of its calls whose price is known.
        n_unpriced: Calls whose price is unknown.
        errors: Number of failures by exception class.
    """

    n_judged: int = 0
    n_failed: int = 0
    n_asked_again: int = 0
    cost_usd: float = 0.0
    n_unpriced: int = 0
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Bill:
    """What one verdict has cost so far."""

    cost_usd: float = 0.0
    n_paid: int = 0
    n_unpriced: int = 0


class Judge:
    """Scores answers with a language model.

    Args:
        chat: A coroutine function that asks the model, such as `chat_with(client, model)`.
        template: The question to the judge, a prompt over `question`, `expected`, `answer`,
            `context`, `contexts` or any field of the items; or the name of a built-in one
            (`correctness`, `relevance`, `groundedness`).
        attempts: How often to ask until the verdict has the requested form; `>= 1`. The default
            gives the model one chance to correct itself.
        concurrency: Maximum number of simultaneous requests in one event loop; `>= 1`.

    Raises:
        ConfigError: If the template's name is not known, or a number is out of range.
    """

    def __init__(
        self,
        chat: Chat,
        template: PromptTemplate | str = "correctness",
        *,
        attempts: int = 2,
        concurrency: int = 16,
    ) -> None:
        if isinstance(template, str):
            if template not in TEMPLATES:
                raise ConfigError(
                    f"template must be a PromptTemplate or one of {', '.join(TEMPLATES)}; "
                    f"got {template!r}"
                )
            template = TEMPLATES[template]
        if attempts < 1 or concurrency < 1:
            raise ConfigError(
                f"attempts and concurrency must be at least 1, got {attempts} and {concurrency}"
            )
        self.template = template
        self.stats = JudgeStats()
        self._chat = chat
        self._attempts = attempts
        self._concurrency = concurrency
        self._gates: dict[int, asyncio.Semaphore] = {}
        self._lock = threading.Lock()

    async def __call__(self, answer: Answer, item: Item) -> Judged:
        """Score an answer.

        Raises:
            JudgeError: If no verdict has the requested form.
            Exception: Any exception of the client.
        """
        known = {
            **item,
            "answer": answer.text,
            "contexts": "\n".join(f"[{i}] {text}" for i, text in enumerate(answer.contexts, 1)),
        }
        return await self.judge(**known)

    async def judge(self, **known: Any) -> Judged:
        """Ask for one verdict.

        Args:
            known: Values for the variables of the template; others are ignored.

        Raises:
            JudgeError: If a variable is missing, or no verdict has the requested form.
        """
        missing = self.template.variables - known.keys()
        if missing:
            raise self._failed(
                JudgeError(f"the judge must be given {', '.join(sorted(missing))}; it got none")
            )
        messages = self.template.format(**{n: known[n] for n in self.template.variables})
        messages[-1] = {**messages[-1], "content": f"{messages[-1]['content']}\n{_FORM}"}
        async with self._gate():
            try:
                with call_attributes(purpose="judge", prompt_name=self.template.name):
                    return await self._verdict(messages)
            except Exception as error:
                self._failed(error)
                raise

    async def judge_all(self, many: Sequence[Mapping[str, Any]]) -> list[Judged | None]:
        """Ask for many verdicts concurrently; None for each that failed (`stats` counts why)."""

        async def one(known: Mapping[str, Any]) -> Judged | None:
            try:
                return await self.judge(**known)
            except Exception as error:  # noqa: BLE001 - counted in the stats
                logger.info("no verdict: %s", error)
                return None

        return list(await asyncio.gather(*map(one, many)))

    def models_without_price(self, models: Sequence[str]) -> Sequence[str]:
        """The model of the judge, if it is known that it has no price.

        Args:
            models: The models it judges.
        """
        unpriced = getattr(self._chat, "models_without_price", None)
        found: Sequence[str] = [] if unpriced is None else unpriced(models)
        return found

    async def _verdict(self, messages: list[dict[str, str]]) -> Judged:
        bill = _Bill()
        try:
            score, reason = await self._asked(messages, bill)
        except JudgeError as error:
            error.cost_usd, error.n_unpriced = bill.cost_usd, bill.n_unpriced
            raise
        except Exception as error:
            if not bill.n_paid and not bill.n_unpriced:
                raise
            failed = JudgeError(
                f"the judge's model failed when it was asked again: {error_message(error)}"
            )
            failed.cost_usd, failed.n_unpriced = bill.cost_usd, bill.n_unpriced
            raise failed from error
        if bill.n_paid and bill.n_unpriced:
            return PartlyPriced(score, bill.cost_usd, reason)
        return Judged(score, bill.cost_usd if bill.n_paid else None, reason)

    async def _asked(self, messages: list[dict[str, str]], bill: _Bill) -> tuple[float, str]:
        problem = ""
        for attempt in range(self._attempts):
            answer = await self._chat(messages)
            # before the answer is checked: a useless answer is paid for as well
            self._pay(answer, bill)
            if answer.error:
                raise JudgeError(f"the judge's model failed: {answer.error}")
            try:
                found = _score_and_reason(answer.text)
            except ValueError as error:
                problem = str(error)
            else:
                with self._lock:
                    self.stats.n_judged += 1
                return found
            if attempt + 1 < self._attempts:
                with self._lock:
                    self.stats.n_asked_again += 1
                # the model sees its own answer and what is wrong with it
                messages = [
                    *messages,
                    {"role": "assistant", "content": answer.text},
                    {"role": "user", "content": f"{problem}. {_FORM}"},
                ]
        raise JudgeError(f"the judge gave no verdict in {self._attempts} attempts: {problem}")

    def _pay(self, answer: Answer, bill: _Bill) -> None:
        with self._lock:
            if answer.cost_usd is None:
                # not 0: an unknown price must not look like a free call
                self.stats.n_unpriced += 1
                # a request that failed is free, as that of an answer is
                bill.n_unpriced += not answer.error
                return
            self.stats.cost_usd += answer.cost_usd
        bill.cost_usd += answer.cost_usd
        bill.n_paid += 1

    def _failed(self, error: Exception) -> Exception:
        with self._lock:
            kind = error_type(error)
            self.stats.n_failed += 1
            self.stats.errors[kind] = self.stats.errors.get(kind, 0) + 1
        return error

    def _gate(self) -> asyncio.Semaphore:
        """The semaphore of the running event loop; asyncio does not let loops share one."""
        loop = id(asyncio.get_running_loop())
        with self._lock:
            # a semaphore that was waited for keeps its loop alive, so no other loop gets its id
            return self._gates.setdefault(loop, asyncio.Semaphore(self._concurrency))


def _score_and_reason(text: str) -> tuple[float, str]:
    try:
        verdict = parse_json(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(verdict, dict):
        raise ValueError(f"it must be an object, got {verdict!r}")  # noqa: TRY004 - as all of them
    score: Any = verdict.get("score")
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    if not is_number or not 0 <= score <= 1:
        raise ValueError(f'"score" must be a number from 0 to 1, got {score!r}')
    return float(score), str(verdict.get("reason", ""))
