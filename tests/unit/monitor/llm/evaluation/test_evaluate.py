"""Variants on the same items: who wins, what it costs, and what is asked again."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path

import numpy as np
import pytest

from flytekitplugins.wbmon import Answer, EvaluationRule, Variant
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore
from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Judged, ScorerError

ITEMS = [{"id": f"q{i}", "question": f"What is {i}?", "expected": str(i)} for i in range(60)]
OLD = Variant.of_text("old", "{question}", model="house")
NEW = Variant.of_text("new", "Please: {question}", model="house")


class Oracle:
    """Answers some of the items rightly, by variant; counts how often it was asked."""

    def __init__(self, skill: dict[str, float], cost: float | None = 0.01) -> None:
        self.skill, self.cost, self.n_asked = skill, cost, 0
        self.draw = np.random.default_rng(5).random(len(ITEMS))

    async def __call__(self, item: dict, variant: Variant) -> Answer:
        self.n_asked += 1
        right = self.draw[int(item["expected"])] < self.skill[variant.name]
        text = item["expected"] if right else "no idea"
        latency = 10.0 if variant.name == "old" else 20.0
        return Answer(text=text, cost_usd=self.cost, latency_ms=latency, output_tokens=3)


def test_a_better_prompt_ships_with_what_it_costs() -> None:
    report = evaluate_variants(
        ITEMS, [OLD, NEW], Oracle({"old": 0.5, "new": 0.9}), scorers=["exact"]
    )

    assert report.verdict == "ship"
    assert report.winner == "new"
    assert report.spent_usd == pytest.approx(1.2)
    by_metric = {each.metric: each for each in report.comparisons}
    assert by_metric["exact"].method == "mcnemar"
    assert by_metric["latency_ms"].difference == pytest.approx(10)
    assert "latency +100%" in report.reason
    assert report.examples[0].scores != report.examples[1].scores
    assert "Ship new" in report.to_html()


def test_a_worse_prompt_is_held_and_a_like_one_undecided() -> None:
    worse = evaluate_variants(
        ITEMS, [OLD, NEW], Oracle({"old": 0.9, "new": 0.4}), scorers=["exact"]
    )
    alike = evaluate_variants(
        ITEMS, [OLD, NEW], Oracle({"old": 0.62, "new": 0.66}), scorers=["exact"]
    )

    assert (worse.verdict, worse.winner) == ("hold", "old")
    assert (alike.verdict, alike.winner) == ("undecided", "old")
    assert alike.n_to_decide > 60


def test_answers_that_never_came_score_0_and_are_counted() -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        if variant.name == "new":
            raise TimeoutError
        return Answer(text=item["expected"])

    report = evaluate_variants(ITEMS[:20], [OLD, NEW], ask, scorers=["exact"])

    assert report.verdict == "hold"
    assert report.variants[1].n_failed == 20
    assert report.variants[1].errors == {"TimeoutError": 20}
    assert report.variants[1].scores["exact"].mean == 0.0
    assert "20 of 20 answers of new failed (TimeoutError 20)" in report.reason
    assert not report.unmeasured


def test_a_scorer_that_fails_leaves_items_unscored_which_is_counted_and_forbids_a_verdict() -> None:
    def flaky(answer: Answer, item: dict) -> float:
        if int(item["expected"]) % 2:
            raise KeyError("verdict")
        return 1.0

    report = evaluate_variants(
        ITEMS, [OLD, NEW], Oracle({"old": 0.2, "new": 1.0}), scorers={"flaky": flaky}
    )
    score = report.variants[1].scores["flaky"]

    assert (score.mean, score.n, score.n_failed) == (1.0, 30, 30)
    assert score.mean_if_failed == 0.5
    assert score.errors == {"KeyError": 30}
    assert report.verdict == "undecided"
    assert "have no score" in report.reason


def test_a_second_run_pays_only_for_what_changed(tmp_path: Path) -> None:
    store = AnswerStore(str(tmp_path))
    oracle = Oracle({"old": 0.5, "new": 0.9, "newer": 1.0})
    evaluate_variants(ITEMS, [OLD, NEW], oracle, scorers=["exact"], store=store)
    assert oracle.n_asked == 120

    again = evaluate_variants(ITEMS, [OLD, NEW], oracle, scorers=["exact"], store=store)
    assert oracle.n_asked == 120
    assert again.spent_usd == 0
    assert again.variants[0].n_cached == 60
    assert again.variants[0].cost_usd == pytest.approx(0.6)

    newer = Variant.of_text("newer", "Politely: {question}", model="house")
    changed = [*ITEMS[:-1], {**ITEMS[-1], "expected": "59 or so"}]
    oracle.draw = np.append(oracle.draw, 0)

    async def ask(item: dict, variant: Variant) -> Answer:
        return await oracle({"expected": item["expected"].split()[0]}, variant)

    evaluate_variants(changed, [OLD, newer], ask, scorers=["exact"], store=store)
    assert oracle.n_asked == 120 + 60 + 1


def test_failures_are_asked_again(tmp_path: Path) -> None:
    def fail(item: dict, variant: Variant) -> Answer:
        raise TimeoutError

    store = AnswerStore(str(tmp_path))
    evaluate_variants(ITEMS[:5], [OLD], fail, scorers=["exact"], store=store)
    report = evaluate_variants(
        ITEMS[:5], [OLD], Oracle({"old": 1.0}), scorers=["exact"], store=store
    )

    assert report.variants[0].n_failed == 0


def test_a_budget_stops_between_items_and_says_so() -> None:
    rule = EvaluationRule(max_cost_usd=0.2, concurrency=1)
    report = evaluate_variants(
        ITEMS, [OLD, NEW], Oracle({"old": 0.5, "new": 0.9}), scorers=["exact"], rule=rule
    )

    assert report.n_items == 10
    assert report.spent_usd == pytest.approx(0.2)
    assert "stopped after 10 of 60 items" in report.stopped
    assert report.variants[0].n_items == report.variants[1].n_items == 10


def test_an_unknown_price_is_unknown() -> None:
    report = evaluate_variants(ITEMS, [OLD], Oracle({"old": 1.0}, cost=None), scorers=["exact"])

    assert math.isnan(report.variants[0].cost_per_call_usd)
    assert report.variants[0].n_unpriced == 60


def test_a_better_candidate_that_is_too_slow_is_not_shipped() -> None:
    rule = EvaluationRule(max_latency_increase=0.5)
    report = evaluate_variants(
        ITEMS, [OLD, NEW], Oracle({"old": 0.4, "new": 0.9}), scorers=["exact"], rule=rule
    )

    assert report.verdict == "hold"
    assert "latency is above what is allowed" in report.reason


def test_of_several_candidates_the_best_ships_and_the_frontier_is_marked() -> None:
    best = Variant.of_text("best", "Think. {question}", model="house")
    oracle = Oracle({"old": 0.3, "new": 0.7, "best": 1.0})
    report = evaluate_variants(ITEMS, [OLD, NEW, best], oracle, scorers=["exact"])

    assert report.winner == "best"
    marked = {each.variant.name: each.on_frontier for each in report.variants}
    assert marked == {"old": True, "new": False, "best": True}


def test_repeats_are_averaged_by_item() -> None:
    rule = EvaluationRule(repeats=3)
    report = evaluate_variants(
        ITEMS, [OLD, NEW], Oracle({"old": 0.5, "new": 0.9}), scorers=["exact"], rule=rule
    )

    assert report.comparisons[0].n == 60
    assert report.variants[0].n_repeats == 3


def test_coroutines_are_asked_at_the_same_time_also_inside_a_running_loop() -> None:
    running, most = 0, 0

    async def ask(item: dict, variant: Variant) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return Answer(text=item["expected"])

    async def inside() -> object:
        return evaluate_variants(ITEMS, [OLD], ask, scorers=["exact"])

    assert asyncio.run(inside()).variants[0].scores["exact"].mean == 1.0
    assert most == 8


def test_a_blocking_answer_does_not_hold_up_the_others() -> None:
    two_at_once = threading.Barrier(2, timeout=30)

    def ask(item: dict, variant: Variant) -> Answer:
        two_at_once.wait()
        return Answer(text=item["expected"])

    report = evaluate_variants(ITEMS[:10], [OLD], ask, scorers=["exact"])

    assert report.variants[0].n_failed == 0


def test_what_a_judge_costs_is_spent_but_not_charged_to_the_variant() -> None:
    async def judge(answer: Answer, item: dict) -> Judged:
        return Judged(0.5, cost_usd=0.02)

    report = evaluate_variants(ITEMS[:10], [OLD], Oracle({"old": 1.0}), scorers={"judge": judge})

    assert report.variants[0].cost_usd == pytest.approx(0.1)
    assert report.spent_usd == pytest.approx(0.3)


def test_a_score_out_of_range_is_no_score() -> None:
    report = evaluate_variants(
        ITEMS[:5], [OLD], Oracle({"old": 1.0}), scorers={"stars": lambda a, i: 5.0}
    )

    assert report.variants[0].scores["stars"].n_failed == 5


@pytest.mark.parametrize(
    ("items", "variants", "scorers", "error"),
    [
        (ITEMS, [OLD, OLD], ["exact"], ConfigError),
        (ITEMS, [], ["exact"], ConfigError),
        (ITEMS, [OLD], ["exakt"], ConfigError),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    items: list, variants: list, scorers: list, error: type
) -> None:
    with pytest.raises(error):
        evaluate_variants(items, variants, Oracle({"old": 1.0}), scorers=scorers)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError):
        EvaluationRule(repeats=0)
    with pytest.raises(ConfigError):
        EvaluationRule(max_cost_usd=0)
    with pytest.raises(ConfigError):
        Variant(name="")
    with pytest.raises(ConfigError, match="metric"):
        evaluate_variants(
            ITEMS, [OLD], Oracle({"old": 1.0}), scorers=["f1"], rule=EvaluationRule(metric="exact")
        )


def test_a_limit_on_the_cost_stops_at_the_first_call_of_unknown_cost() -> None:
    oracle = Oracle({"old": 0.5, "new": 0.9}, cost=None)
    rule = EvaluationRule(max_cost_usd=0.2, concurrency=1)
    report = evaluate_variants(ITEMS, [OLD, NEW], oracle, scorers=["exact"], rule=rule)

    assert oracle.n_asked == 2
    assert (report.n_items, report.n_unpriced, report.spent_usd) == (1, 2, 0.0)
    assert report.stopped.startswith("stopped after 1 of 60 items")
    assert "the cost of 2 calls is unknown" in report.stopped
    assert "max_cost_usd cannot be kept; give the price" in report.stopped

    without_limit = evaluate_variants(ITEMS, [OLD, NEW], oracle, scorers=["exact"])
    assert (without_limit.n_items, without_limit.n_unpriced) == (60, 120)
    assert without_limit.stopped == ""


def test_what_was_spent_before_a_call_of_unknown_cost_counts() -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        known = int(item["id"]) < 3
        return Answer(text="x", model="m" if known else "other", cost_usd=0.1 if known else None)

    items = [{"id": str(place), "question": "q", "expected": "x"} for place in range(6)]
    rule = EvaluationRule(max_cost_usd=1.0, concurrency=1)
    report = evaluate_variants(items, [OLD], ask, scorers=["exact"], rule=rule)
    assert (report.n_items, report.n_unpriced) == (4, 1)
    assert report.spent_usd == pytest.approx(0.3)
    assert "$0.3 of $1 are spent, and the cost of 1 calls is unknown (other)" in report.stopped
    # those that are asked together are finished, and it is told all the same
    together = EvaluationRule(max_cost_usd=1.0, concurrency=6)
    report = evaluate_variants(items, [OLD], ask, scorers=["exact"], rule=together)
    assert report.stopped.startswith("all 6 items are asked: $0.3 of $1")


def test_a_judge_of_unknown_cost_stops_too_and_one_that_fails_is_paid() -> None:
    async def unpriced(answer: Answer, item: dict) -> Judged:
        return Judged(0.5)

    class PaidForNothingError(ScorerError):
        cost_usd = 0.04

    async def failing(answer: Answer, item: dict) -> Judged:
        raise PaidForNothingError("no verdict")

    rule = EvaluationRule(max_cost_usd=0.2, concurrency=1)
    oracle = Oracle({"old": 1.0})
    stopped = evaluate_variants(ITEMS, [OLD], oracle, scorers={"judge": unpriced}, rule=rule)
    assert (stopped.n_items, stopped.n_unpriced) == (1, 1)
    paid = evaluate_variants(ITEMS, [OLD], oracle, scorers={"judge": failing}, rule=rule)
    assert (paid.n_items, paid.spent_usd) == (4, pytest.approx(0.2))


def test_a_limit_is_refused_before_anything_is_spent_where_a_price_is_known_to_be_missing() -> None:
    class Asking:
        n_asked = 0

        def __call__(self, item: dict, variant: Variant) -> Answer:
            self.n_asked += 1
            return Answer(text="x")

        def models_without_price(self, models: list[str]) -> list[str]:
            return [model for model in models if model != "house"]

    ask = Asking()
    other = Variant.of_text("other", "{question}", model="other")
    rule = EvaluationRule(max_cost_usd=1.0)
    with pytest.raises(ConfigError, match=r"every model must have a price, .*other.* has none"):
        evaluate_variants(ITEMS, [OLD, other], ask, scorers=["exact"], rule=rule)
    assert ask.n_asked == 0
    evaluate_variants(ITEMS, [OLD, other], ask, scorers=["exact"])
    assert ask.n_asked == 120


def test_requests_that_failed_are_free() -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        raise TimeoutError

    rule = EvaluationRule(max_cost_usd=1.0)
    report = evaluate_variants(ITEMS, [OLD], ask, scorers=["exact"], rule=rule)
    assert (report.n_items, report.n_unpriced, report.stopped) == (60, 0, "")
