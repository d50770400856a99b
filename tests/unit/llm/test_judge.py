"""A judge: asked in parallel, checked, and counted when it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from flytekitplugins.wbmon import Answer, EvaluationRule, Variant
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import CallPolicy, Judge, PriceTable, answer_with, chat_with
from flytekitplugins.wbmon.llm.judge import JudgeError
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Judged, PartlyPriced
from support.openai_server import OpenAIServer

ITEM = {"question": "Capital?", "expected": "Paris"}


def replies(*texts: str, cost: float | None = 0.001) -> Any:
    left = list(texts)
    seen: list[list[dict[str, str]]] = []

    async def chat(messages: list[dict[str, str]]) -> Answer:
        seen.append(messages)
        return Answer(text=left.pop(0) if len(left) > 1 else left[0], cost_usd=cost)

    chat.seen = seen
    return chat


def run(judge: Judge, answer: str = "Paris") -> Any:
    return asyncio.run(judge(Answer(text=answer), ITEM))


def test_a_verdict_has_a_score_a_reason_and_a_cost() -> None:
    chat = replies('{"score": 0.75, "reason": "close"}')
    judge = Judge(chat)

    assert run(judge) == (0.75, 0.001, "close")
    assert "Expected answer: Paris" in chat.seen[0][0]["content"]
    assert judge.stats.n_judged == 1


def test_an_answer_in_the_wrong_form_is_asked_for_again_with_what_is_wrong() -> None:
    chat = replies("I think it is fine", '```json\n{"score": 1}\n```')
    judge = Judge(chat)

    assert run(judge).value == 1.0
    assert run(judge).cost_usd == pytest.approx(0.001)
    assert judge.stats.n_asked_again == 1
    assert "not JSON" in chat.seen[1][-1]["content"]


@pytest.mark.parametrize(
    "text",
    ["nonsense", '{"score": 7}', '{"score": NaN}', '{"score": true}', '{"verdict": "yes"}', "[1]"],
)
def test_no_verdict_is_an_error_and_counted_never_a_score(text: str) -> None:
    judge = Judge(replies(text))
    with pytest.raises(JudgeError, match="no verdict"):
        run(judge)

    assert (judge.stats.n_judged, judge.stats.n_failed) == (0, 1)
    assert judge.stats.errors == {"JudgeError": 1}


def test_what_the_template_needs_must_be_there() -> None:
    judge = Judge(replies('{"score": 1}'), PromptTemplate.from_text("own", "{answer} of {topic}"))
    with pytest.raises(JudgeError, match="topic"):
        run(judge)


def test_many_verdicts_come_at_once_and_failures_are_none() -> None:
    running, most = 0, 0

    async def chat(messages: list[dict[str, str]]) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        text = messages[0]["content"]
        return Answer(text="no" if "bad" in text else '{"score": 1}')

    judge = Judge(chat, "relevance", attempts=1)
    many = [{"question": "q", "context": "bad" if i == 3 else "good"} for i in range(40)]
    found = asyncio.run(judge.judge_all(many))

    assert sum(each is None for each in found) == 1
    assert judge.stats.n_judged == 39
    assert most == 16


def test_a_judge_is_a_scorer_and_half_of_it_failing_is_not_a_perfect_score() -> None:
    async def chat(messages: list[dict[str, str]]) -> Answer:
        odd = "answer: 1" in messages[0]["content"].lower()
        return Answer(text='{"score": 1}' if odd else "?", cost_usd=0.01)

    def ask(item: dict, variant: Variant) -> Answer:
        return Answer(text=item["expected"])

    items = [{"question": "q", "expected": str(i % 2), "id": str(i)} for i in range(20)]
    report = evaluate_variants(
        items, [Variant.of_text("a", "x")], ask, scorers={"judge": Judge(chat)}
    )
    score = report.variants[0].scores["judge"]

    assert (score.mean, score.n_failed, score.mean_if_failed) == (1.0, 10, 0.5)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="template"):
        Judge(replies("x"), "niceness")
    with pytest.raises(ConfigError):
        Judge(replies("x"), attempts=0)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    def answer(messages: list[dict[str, Any]]) -> str:
        text = str(messages[-1]["content"])
        return json.dumps({"score": 1.0}) if "JSON only" in text else text

    with OpenAIServer(answer) as server:
        yield server


def test_client_prompt_price_policy_and_judge_work_together(server: OpenAIServer) -> None:
    openai = pytest.importorskip("openai", reason="the llm extra is not installed")
    pytest.importorskip("tenacity")
    client = openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)
    price = {"model": "house", "input_usd_per_mtok": 1e6, "output_usd_per_mtok": 1e6}
    prices = PriceTable([price])
    policy = CallPolicy(wait_s=0.001, max_wait_s=0.01)
    server.script("500", "ok")

    async def both() -> tuple[Answer, Any]:
        answer = answer_with(client, policy=policy, prices=prices)
        variant = Variant.of_text("v", "Say {word}", model="house")
        said = await answer({"word": "hi", "expected": "Say hi"}, variant)
        judge = Judge(chat_with(client, "house", prices=prices, temperature=0))
        return said, await judge(said, {"question": "?", "expected": "Say hi"})

    said, verdict = asyncio.run(both())

    assert said.text == "Say hi"
    assert said.cost_usd == pytest.approx(4.0)
    assert verdict.value == 1.0
    assert verdict.cost_usd > 0
    assert server.requests[-1].body["temperature"] == 0
    assert "purpose" not in new_row()


def test_an_item_without_what_the_prompt_asks_for_is_refused() -> None:
    answer = answer_with(client=None)
    with pytest.raises(ConfigError, match="word"):
        asyncio.run(answer({"x": 1}, Variant.of_text("v", "Say {word}")))


def test_a_limit_on_the_cost_is_refused_where_client_or_judge_have_no_price() -> None:
    """No request can be sent: there is no client."""
    prices = PriceTable(
        [{"model": "house", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}], builtin=False
    )
    items = [{"question": "q", "expected": "x", "id": "1"}]
    house, other = (Variant.of_text(name, "{question}", model=name) for name in ("house", "other"))
    rule = EvaluationRule(max_cost_usd=1.0)
    priced = Judge(chat_with(None, "house", prices=prices))
    unpriced = Judge(chat_with(None, "judge", prices=prices))
    # what is read of a policy; one needs the extra llm
    falling_back: Any = SimpleNamespace(fallbacks=["elsewhere"])
    for variant, answer, judge, name in (
        (house, answer_with(None), priced, "house"),
        (other, answer_with(None, prices=prices), priced, "other"),
        (house, answer_with(None, prices=prices, policy=falling_back), priced, "elsewhere"),
        (house, answer_with(None, prices=prices), unpriced, "judge"),
    ):
        with pytest.raises(ConfigError, match=f"'{name}' has none; give prices"):
            evaluate_variants(items, [variant], answer, scorers={"judge": judge}, rule=rule)


def bill(chat: Any) -> Judged:
    return asyncio.run(Judge(chat).judge(question="q", expected="x", answer="x"))


def test_what_a_judge_was_paid_is_told_whatever_it_said() -> None:
    def says(*answers: Answer | Exception) -> Any:
        left = iter(answers)

        async def chat(messages: list[dict[str, str]]) -> Answer:
            found = next(left)
            if isinstance(found, Exception):
                raise found
            return found

        return chat

    good, useless = Answer(text='{"score": 1}', cost_usd=0.5), Answer(text="?", cost_usd=0.25)
    unknown = Answer(text='{"score": 1}')
    found = bill(says(useless, good))
    assert (found.cost_usd, type(found)) == (0.75, Judged)
    found = bill(says(useless, unknown))
    assert (found.cost_usd, type(found)) == (0.25, PartlyPriced)
    found = bill(says(unknown))
    assert (found.cost_usd, type(found)) == (None, Judged)
    with pytest.raises(JudgeError) as failed:
        bill(says(useless, useless))
    assert (failed.value.cost_usd, failed.value.n_unpriced) == (0.5, 0)
    with pytest.raises(JudgeError, match="asked again: no route") as failed:
        bill(says(useless, OSError("no route")))
    assert failed.value.cost_usd == 0.25
    with pytest.raises(OSError, match="no route"):
        bill(says(OSError("no route")))
