"""What failed in an evaluation counts against a candidate, or forbids the verdict; never for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import Answer, EvaluationRule, Variant
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore, answer_key
from flytekitplugins.wbmon.monitor.llm.evaluation.compare import compare_paired
from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants, fill_answers
from flytekitplugins.wbmon.monitor.llm.evaluation.prompt import PromptTemplate
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import BUILTIN
from flytekitplugins.wbmon.monitor.llm.prompts.registry import PromptFiles
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

NOW = Variant.of_text("now", "{question}")
NEXT = Variant.of_text("next", "Please: {question}")
ITEMS = [{"id": str(i), "question": f"q{i}", "expected": "right"} for i in range(200)]


def asking(fails: Callable[[int, str], bool], right: Callable[[int, str], bool]) -> Callable:
    def ask(item: dict, variant: Variant) -> Answer:
        number, name = int(item["id"]), variant.name
        if fails(number, name):
            raise ConnectionError("the provider is down")
        # the candidate is always the cheaper one
        cost = 0.01 if name == "now" else 0.001
        text = "right" if right(number, name) else "wrong"
        return Answer(text=text, cost_usd=cost, latency_ms=1.0)

    return ask


def evaluated(
    fails: Callable[[int, str], bool],
    right: Callable[[int, str], bool] = lambda number, name: True,
    *,
    items: list[dict] = ITEMS,
    **rule: float,
) -> EvaluationReport:
    return evaluate_variants(
        items, [NOW, NEXT], asking(fails, right), scorers=["exact"], rule=EvaluationRule(**rule)
    )


def numbers(report: EvaluationReport) -> dict[str, float]:
    return {each.name: each.value for each in report.measurements()}


def outage(number: int, name: str) -> bool:
    return name == "now" and number % 10 < 3


def nobody(number: int, name: str) -> bool:
    return False


def everybody(number: int, name: str) -> bool:
    return True


def worse(number: int, name: str) -> bool:
    return name == "now" or number % 7 > 0


def test_an_outage_of_the_baseline_decides_nothing_and_promotes_nobody(tmp_path: Path) -> None:
    report = evaluated(outage, worse, min_effect=0.02)

    assert (report.verdict, report.winner) == ("undecided", "now")
    assert report.reason == "60 of 200 answers of now failed (ConnectionError 60), 5% may"
    assert report.unmeasured == report.reason
    assert math.isnan(numbers(report)["ship"])
    assert numbers(report)["failed_share.now"] == 0.3
    assert numbers(report)["failed_share.next"] == 0
    assert not PromptFiles(str(tmp_path)).promote_winner("qa", report)


def test_a_stored_report_of_an_outage_that_says_ship_promotes_nobody(tmp_path: Path) -> None:
    prompts = PromptFiles(str(tmp_path))
    prompts.publish(PromptTemplate(name="qa", messages=NEXT.prompt))
    stored = record_to_json(evaluated(outage, worse)).replace('"undecided"', '"ship"')
    stored = stored.replace('"winner": "now"', '"winner": "next"')
    report = record_from_json(EvaluationReport, stored)

    assert report.verdict == "ship"
    assert not report.ship
    assert not prompts.promote_winner("qa", report)
    assert prompts.history("qa").aliases == {}


@settings(max_examples=40, deadline=None)
@given(
    failed_now=st.sets(st.integers(0, 59)),
    failed_next=st.sets(st.integers(0, 59)),
    max_failed_share=st.floats(0, 1),
)
def test_whoever_fails_a_candidate_that_is_no_better_never_ships(
    failed_now: set[int], failed_next: set[int], max_failed_share: float
) -> None:
    failed = {"now": failed_now, "next": failed_next}
    report = evaluated(
        lambda number, name: number in failed[name],
        worse,
        items=ITEMS[:60],
        max_failed_share=max_failed_share,
    )

    assert report.verdict != "ship"
    for result in report.variants:
        if result.n_failed:
            assert f"{result.n_failed} of 60 answers of {result.variant.name} failed" in (
                report.reason
            )
    if len(failed_now) > max_failed_share * 60:
        assert report.verdict == "undecided"
        assert math.isnan(numbers(report)["ship"])


def test_a_small_outage_of_the_baseline_is_left_out_and_no_merit_of_the_candidate() -> None:
    # eight zeros of the baseline against eight ones would be beyond chance (p = 0.008)
    report = evaluated(lambda number, name: name == "now" and number < 8)

    assert report.verdict == "undecided"
    assert report.comparisons[0].n == 192
    assert report.comparisons[0].difference == 0
    assert "8 of 200 answers of now failed (ConnectionError 8)" in report.reason
    assert not report.unmeasured, "192 items were compared"


def test_a_share_of_failures_that_is_just_allowed_does_not_forbid_the_verdict() -> None:
    def right(number: int, name: str) -> bool:
        return name == "next" or number % 2 == 0

    def fails(number: int, name: str, n: int) -> bool:
        return name == "now" and number < n

    assert evaluated(lambda number, name: fails(number, name, 10), right).verdict == "ship"
    assert evaluated(lambda number, name: fails(number, name, 11), right).verdict == "undecided"


def test_with_two_candidates_each_needs_more_to_ship() -> None:
    # eight items gained and one lost: p = 0.039
    def right(number: int, name: str) -> bool:
        if name == "now":
            return number > 7
        return number != 8 if name == "next" else number > 8

    third = Variant.of_text("third", "{question}!")
    asked = asking(nobody, right)
    one = evaluate_variants(ITEMS, [NOW, NEXT], asked, scorers=["exact"])
    two = evaluate_variants(ITEMS, [NOW, NEXT, third], asked, scorers=["exact"])

    assert one.verdict == "ship"
    assert two.verdict == "undecided"
    assert not two.unmeasured, "within chance is a measurement"
    assert numbers(two)["ship"] == 0


def test_a_better_candidate_that_fails_too_often_is_not_shipped() -> None:
    def right(number: int, name: str) -> bool:
        return name == "next" or number % 2 == 0

    def fails(number: int, name: str) -> bool:
        return name == "next" and number % 10 == 0

    report = evaluated(fails, right)
    allowed = evaluated(fails, right, max_failed_share=0.2)

    assert report.comparisons[0].verdict == "ship", "even with its failures as 0"
    assert report.verdict == "undecided"
    assert report.unmeasured == "20 of 200 answers of next failed (ConnectionError 20), 5% may"
    assert (allowed.verdict, allowed.winner) == ("ship", "next")
    assert "20 of 200 answers of next failed" in allowed.reason


def test_a_cheaper_candidate_is_not_shipped_on_answers_that_never_came_or_were_not_scored() -> None:
    def fails(number: int, name: str) -> bool:
        return name == "next" and number % 10 == 0

    def flaky(answer: Answer, item: dict) -> float:
        if int(item["id"]) % 2:
            raise KeyError("verdict")
        return 1.0

    rule = EvaluationRule(max_loss=0.2)
    unscored = evaluate_variants(
        ITEMS, [NOW, NEXT], asking(nobody, worse), scorers={"flaky": flaky}, rule=rule
    )

    assert evaluated(nobody, max_loss=0.2).verdict == "ship"
    assert evaluated(fails, max_loss=0.2).verdict != "ship"
    assert unscored.verdict == "undecided"
    assert "100 of 200 answers of now have no score (KeyError 100)" in unscored.unmeasured


def test_a_judge_that_fails_on_one_side_forbids_the_verdict() -> None:
    def judge(answer: Answer, item: dict) -> float:
        if answer.text == "wrong":
            raise ValueError("no verdict")
        return 1.0

    report = evaluate_variants(ITEMS, [NOW, NEXT], asking(nobody, worse), scorers={"judge": judge})

    assert report.verdict == "undecided"
    assert "29 of 200 answers of next have no score (ValueError 29)" in report.unmeasured
    assert numbers(report)["unscored_share.judge.next"] == pytest.approx(29 / 200)
    assert numbers(report)["unscored_share.judge.now"] == 0


@pytest.mark.parametrize("variants", [[NOW], [NOW, NEXT]])
def test_where_nothing_was_answered_nothing_is_decided(variants: list[Variant]) -> None:
    report = evaluate_variants(ITEMS[:20], variants, asking(everybody, worse), scorers=["exact"])

    assert report.verdict == "undecided"
    assert report.reason.startswith("nothing was answered: 20 of 20 answers of now failed")
    assert math.isnan(numbers(report)["ship"])
    assert numbers(report)["failed_share.now"] == 1
    assert math.isnan(report.variants[0].scores["exact"].mean_answered)
    assert not any(each.on_frontier for each in report.variants)
    assert "nothing was answered" in report.to_html()


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("planned_items", ["all", 400, None])
def test_no_item_and_one_item_are_reports_without_a_verdict(n: int, planned_items: object) -> None:
    report = evaluated(nobody, worse, items=ITEMS[:n], planned_items=planned_items)

    assert report.n_items == n
    assert report.verdict == "undecided"
    assert report.unmeasured
    assert math.isnan(numbers(report)["ship"])
    assert math.isnan(report.n_to_decide)
    assert math.isnan(numbers(report)["failed_share.now"]) is (n == 0)
    assert record_from_json(EvaluationReport, record_to_json(report)).unmeasured


@pytest.mark.parametrize("planned_items", [400, None])
def test_further_looks_decide_nothing_in_an_outage_either(planned_items: int | None) -> None:
    report = evaluated(outage, worse, planned_items=planned_items)

    assert report.verdict == "undecided"
    assert "60 of 200 answers of now failed" in report.unmeasured


def test_repeats_that_fail_are_counted_as_answers() -> None:
    calls: dict[tuple[str, str], int] = {}

    def ask(item: dict, variant: Variant) -> Answer:
        key = (variant.name, item["id"])
        calls[key] = calls.get(key, 0) + 1
        # every item is answered by one repeat of two
        if variant.name == "now" and calls[key] % 2:
            raise TimeoutError
        return Answer(text="right")

    report = evaluate_variants(
        ITEMS[:50], [NOW, NEXT], ask, scorers=["exact"], rule=EvaluationRule(repeats=2)
    )

    assert report.variants[0].failed_share == 0.5
    assert report.comparisons[0].n_unscored == 0
    assert report.verdict == "undecided"
    assert "50 of 100 answers of now failed" in report.unmeasured


@pytest.mark.parametrize("returned", [None, "right", {"text": "right"}])
def test_what_is_no_answer_is_a_failed_one(returned: object) -> None:
    report = evaluate_variants(ITEMS[:5], [NOW], lambda item, variant: returned, scorers=["exact"])

    assert report.variants[0].errors == {"TypeError": 5}


IMPOSSIBLE = {
    "text": (5, b"right"),
    "model": (5,),
    "finish_reason": (1,),
    "input_tokens": ("5", -1, True),
    "cost_usd": ("1", math.inf, -0.1, [0.1]),
    "latency_ms": ("1", math.inf, -1.0),
    "time_to_first_chunk_ms": ("1",),
    "stage_ms": (1.0, {"search": "1"}, {1: 1.0}),
    "retrieved": ("d1", [None]),
    "scores": ("0.5", ["x"]),
    "contexts": ("text", [1]),
    "attempts": ("1",),
    "error": (TimeoutError(),),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, each in IMPOSSIBLE.items() for value in each]
)
def test_an_impossible_value_makes_its_answer_a_failed_one(
    name: str, value: object, tmp_path: Path
) -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        told = {"text": "right" if variant.name == "next" else "wrong", "cost_usd": 0.01}
        return Answer(**told | ({name: value} if item["id"] == "7" else {}))

    store = AnswerStore(str(tmp_path))
    report = evaluate_variants(ITEMS, [NOW, NEXT], ask, scorers=["exact", "complete"], store=store)

    assert report.verdict == "ship"
    assert report.variants[0].errors == report.variants[1].errors == {f"invalid {name}": 1}
    assert f"1 of 200 answers of now failed (invalid {name} 1)" in report.reason
    # it was paid for all the same; an unknown cost is none of 0
    assert report.n_unpriced == (2 if name == "cost_usd" else 0)
    assert report.spent_usd == pytest.approx(3.98 if name == "cost_usd" else 4.0)
    again = evaluate_variants(ITEMS, [NOW, NEXT], ask, scorers=["exact"], store=store)
    assert [each.n_cached for each in again.variants] == [199, 199]
    assert record_from_json(EvaluationReport, record_to_json(report)).reason == report.reason


@pytest.mark.parametrize("name", [each.name for each in fields(Answer)])
def test_none_in_any_field_is_what_nobody_said(name: str) -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        # a call of a tool has no text, and a free answer has no cost
        told = {"text": "right" if variant.name == "next" else "wrong", "cost_usd": 0.01}
        return Answer(**told | {name: None})

    report = evaluate_variants(ITEMS, [NOW, NEXT], ask, scorers=["exact", "complete"])

    assert [each.n_failed for each in report.variants] == [0, 0]
    assert report.verdict == ("undecided" if name == "text" else "ship")
    assert report.variants[1].latency_ms["mean"] >= 0
    assert report.n_unpriced == (400 if name == "cost_usd" else 0)


def test_a_scorer_sees_the_answer_as_a_class_of_the_user_made_it() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Told(Answer):
        confidence: float

    def sure(answer: Told, item: dict) -> float:
        return answer.confidence

    report = evaluate_variants(
        ITEMS[:5],
        [NOW],
        lambda item, variant: Told(text=None, cost_usd=0.1, confidence=0.75),
        scorers={"sure": sure},
    )

    assert report.variants[0].scores["sure"].mean == 0.75


def test_a_function_that_raises_stop_iteration_fails_and_does_not_wait_for_ever() -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        return next(iter(()))

    report = evaluate_variants(ITEMS[:3], [NOW], ask, scorers=["exact"])

    assert report.variants[0].errors == {"RuntimeError": 3}


def test_an_answer_that_an_earlier_release_kept_and_that_is_none_is_asked_for_again(
    tmp_path: Path,
) -> None:
    store = AnswerStore(str(tmp_path))
    for item in ITEMS[:5]:
        store.put(answer_key(NOW, item, 0), Answer(text="right", cost_usd=math.inf))

    report = evaluate_variants(
        ITEMS[:5], [NOW], asking(nobody, everybody), scorers=["exact"], store=store
    )

    assert report.variants[0].n_cached == 0
    assert report.spent_usd == pytest.approx(0.05)


def test_an_unscored_answer_is_no_difference_worth_showing() -> None:
    def flaky(answer: Answer, item: dict) -> float:
        if item["id"] == "3" and answer.text == "wrong":
            raise KeyError
        return 1.0

    report = evaluate_variants(
        ITEMS[:10],
        [NOW, NEXT],
        asking(nobody, lambda number, name: name == "now"),
        scorers={"flaky": flaky},
    )

    assert report.examples == ()


def test_a_cost_that_few_answers_have_keeps_to_no_limit() -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        right = variant.name == "next" or int(item["id"]) % 2 == 0
        cost = 0.01 if variant.name == "now" or item["id"] == "0" else None
        return Answer(text="right" if right else "wrong", cost_usd=cost)

    rule = EvaluationRule(max_cost_increase=0.1)
    report = evaluate_variants(ITEMS, [NOW, NEXT], ask, scorers=["exact"], rule=rule)

    assert report.verdict == "hold"
    assert "cost is above what is allowed" in report.reason


def test_a_dead_candidate_does_not_keep_a_good_one_from_shipping() -> None:
    dead = Variant.of_text("dead", "{question}!")

    def fails(number: int, name: str) -> bool:
        return name == "dead"

    def right(number: int, name: str) -> bool:
        return name == "next" or number % 3 > 0

    report = evaluate_variants(ITEMS, [NOW, NEXT, dead], asking(fails, right), scorers=["exact"])

    assert (report.verdict, report.winner) == ("ship", "next")
    assert "200 of 200 answers of dead failed" in report.reason


def test_no_item_to_fill_is_no_answer(tmp_path: Path) -> None:
    assert fill_answers([], [NOW], asking(nobody, worse), store=AnswerStore(str(tmp_path))) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_failed_share": -0.1},
        {"max_failed_share": 1.1},
        {"max_failed_share": math.nan},
        {"alpha": 0},
        {"alpha": 1},
        {"min_effect": -1},
        {"min_effect": math.nan},
    ],
)
def test_shares_and_levels_out_of_range_are_refused_before_anything_is_asked(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        EvaluationRule(**wrong)


def better(number: int, name: str) -> bool:
    return name == "next" or number % 2 == 0


def cut_off(n: int, **rule: object) -> EvaluationReport:
    """An evaluation whose budget reaches `n` of 200 items."""
    limit = EvaluationRule(max_cost_usd=0.011 * n - 0.001, concurrency=1, **rule)
    return evaluate_variants(
        ITEMS, [NOW, NEXT], asking(nobody, better), scorers=["exact"], rule=limit
    )


@pytest.mark.parametrize("right", [better, worse])
def test_an_evaluation_that_its_budget_cut_off_decides_nothing(
    right: Callable[[int, str], bool],
) -> None:
    rule = EvaluationRule(max_cost_usd=0.5, concurrency=1, max_loss=0.9)
    report = evaluate_variants(
        ITEMS, [NOW, NEXT], asking(nobody, right), scorers=["exact"], rule=rule
    )

    assert (report.verdict, report.winner, report.ship) == ("undecided", "now", False)
    assert report.stopped.startswith("stopped after 46 of 200 items")
    assert report.unmeasured == report.stopped
    assert report.reason.startswith(report.stopped)
    assert "over 46 items" in report.reason, "what was seen is told all the same"
    assert math.isnan(numbers(report)["ship"])
    assert (numbers(report)["n_items"], numbers(report)["n_not_asked"]) == (46, 154)
    assert 'class="verdict good"' not in report.to_html()


@pytest.mark.parametrize("planned_items", [200, None])
def test_one_of_several_looks_decides_also_where_the_budget_ended_it(
    planned_items: int | None,
) -> None:
    report = cut_off(100, planned_items=planned_items)
    early = cut_off(20, planned_items=planned_items)

    assert (report.verdict, report.n_items, report.unmeasured) == ("ship", 100, "")
    assert "stopped after 100 of 200 items" in report.reason
    assert early.verdict == "undecided"
    assert early.unmeasured.startswith(early.stopped)


def test_a_single_variant_of_which_items_were_left_out_was_not_measured() -> None:
    rule = EvaluationRule(max_cost_usd=0.095, concurrency=1)
    report = evaluate_variants(
        ITEMS, [NOW], asking(nobody, everybody), scorers=["exact"], rule=rule
    )

    assert report.verdict == "undecided"
    assert report.unmeasured.startswith("stopped after 10 of 200 items")


def test_a_cost_that_is_unknown_is_told_also_where_all_items_were_asked() -> None:
    def ask(item: dict, variant: Variant) -> Answer:
        return Answer(text="right" if better(int(item["id"]), variant.name) else "wrong")

    rule = EvaluationRule(max_cost_usd=1.0, concurrency=200)
    report = evaluate_variants(ITEMS, [NOW, NEXT], ask, scorers=["exact"], rule=rule)
    cut = evaluate_variants(
        ITEMS, [NOW, NEXT], ask, scorers=["exact"], rule=EvaluationRule(max_cost_usd=1.0)
    )

    assert (report.verdict, report.unmeasured) == ("ship", "")
    assert "the cost of 400 calls is unknown" in report.reason
    assert cut.verdict == "undecided"
    assert "the cost of 16 calls is unknown" in cut.unmeasured


@pytest.mark.parametrize(("planned_items", "enough"), [("all", 6), (400, 41), (None, 16)])
def test_items_that_could_decide_nothing_are_too_few(planned_items: object, enough: int) -> None:
    def of(n: int) -> EvaluationReport:
        rule = EvaluationRule(planned_items=planned_items)
        ask = asking(nobody, lambda number, name: name == "next")
        return evaluate_variants(ITEMS[:n], [NOW, NEXT], ask, scorers=["exact"], rule=rule)

    assert of(enough).verdict == "ship"
    report = of(enough - 1)
    assert report.verdict == "undecided"
    assert report.unmeasured.startswith(f"{enough - 1} items are too few for any verdict")
    assert math.isnan(numbers(report)["ship"])


def test_graded_scores_of_which_few_would_decide_are_not_called_too_few() -> None:
    def graded(answer: Answer, item: dict) -> float:
        return int(item["id"]) * (0.03 if answer.text == "right" else 0.035) % 1

    def of(n: int) -> EvaluationReport:
        ask = asking(nobody, lambda number, name: name == "next")
        return evaluate_variants(ITEMS[:n], [NOW, NEXT], ask, scorers={"graded": graded})

    assert "too few" not in of(5).unmeasured
    assert "3 items are too few for any verdict" in of(3).unmeasured


def test_a_scorer_that_scores_nothing_is_told_also_where_another_one_decides() -> None:
    def dead(answer: Answer, item: dict) -> float:
        raise ConnectionError

    def half(answer: Answer, item: dict) -> float:
        if int(item["id"]) % 2:
            raise KeyError
        return 1.0

    scorers = {"exact": BUILTIN["exact"], "dead": dead, "half": half}
    ask = asking(nobody, better)
    report = evaluate_variants(ITEMS, [NOW, NEXT], ask, scorers=scorers)
    lenient = evaluate_variants(
        ITEMS, [NOW, NEXT], ask, scorers=scorers, rule=EvaluationRule(max_failed_share=1)
    )
    alert = evaluate_rules([AlertRule(metric="evaluation.ship", above=0)], [report])
    told = "200 of 200 answers of now have no score (ConnectionError 200): dead failed on them"

    assert (report.verdict, numbers(report)["ship"]) == ("ship", 1), "what decides was measured"
    assert told in report.reason
    assert told in report.unmeasured
    assert told in lenient.reason
    assert report.unmeasured == lenient.unmeasured
    assert any(told in each for each in alert.findings)
    # a scorer may have nothing to check in some answers
    assert "100 of 200 answers of now have no score (KeyError 100): half" in report.reason
    assert "half" not in report.unmeasured


def old(report: EvaluationReport, verdict: str) -> EvaluationReport:
    """The report as a release before stored it, with the verdict that it came to."""
    stored = json.loads(record_to_json(report)) | {"verdict": verdict}
    for name in ("missing", "max_failed_share", "n_not_asked"):
        del stored[name]
    for result in stored["variants"]:
        del result["errors"]
    return record_from_json(EvaluationReport, json.dumps(stored))


def test_a_stored_report_that_does_not_say_what_is_missing_still_has_no_verdict() -> None:
    dead = old(evaluated(everybody), "hold")
    half = old(evaluated(outage, worse), "ship")
    empty = old(evaluated(nobody, items=[]), "hold")
    cut = old(cut_off(100), "ship")
    good = old(evaluated(nobody, better), "ship")

    assert dead.unmeasured.startswith("nothing was answered: 200 of 200 answers of now failed")
    assert half.unmeasured == "60 of 200 answers of now failed, 5% may"
    assert empty.unmeasured == "there was no item to answer"
    assert cut.unmeasured.startswith("stopped after 100 of 200 items")
    for report in (dead, half, empty, cut):
        assert math.isnan(numbers(report)["ship"])
        assert not report.ship
        assert 'class="verdict good"' not in report.to_html()
    assert (good.unmeasured, good.ship) == ("", True)


@pytest.mark.parametrize(
    "item", [{"id": "1", "question": "q"}, {"question": "q"}, {"id": None, "question": "q"}]
)
def test_copies_of_an_item_are_no_further_items(item: dict) -> None:
    report = evaluate_variants(
        [dict(item, expected="next") for _ in range(12)],
        [NOW, NEXT],
        lambda item, variant: Answer(text=variant.name),
        scorers=["exact"],
    )

    assert report.verdict == "undecided"
    assert report.unmeasured.startswith("next against now: 1 items with a score on both sides")
    assert "12 items are 1 and copies" in report.reason
    assert math.isnan(report.variants[0].scores["exact"].low), "one item has no interval"


def test_turns_of_one_conversation_are_one_item_with_the_mean_of_their_scores() -> None:
    turns = [
        {"id": str(number // 4), "question": f"q{number}", "expected": "right"}
        for number in range(48)
    ]

    def ask(item: dict, variant: Variant) -> Answer:
        right = variant.name == "next" or item["question"] in ("q0", "q5")
        return Answer(text="right" if right else "wrong")

    report = evaluate_variants(turns, [NOW, NEXT], ask, scorers=["exact"])
    [found] = [each for each in report.comparisons if each.metric == "exact"]
    means = np.array([0.25, 0.25] + [0.0] * 10)

    assert found == compare_paired(
        means,
        np.ones(12),
        metric="exact",
        baseline="now",
        candidate="next",
        planned_items="all",
    )
    assert report.variants[0].scores["exact"].mean == pytest.approx(means.mean())
    assert "48 items are 12 and copies" in report.reason


def test_items_of_one_content_with_ids_of_their_own_are_several() -> None:
    items = [{"id": str(number), "question": "q", "expected": "next"} for number in range(12)]
    report = evaluate_variants(
        items, [NOW, NEXT], lambda item, variant: Answer(text=variant.name), scorers=["exact"]
    )

    assert (report.verdict, report.comparisons[0].n) == ("ship", 12)
