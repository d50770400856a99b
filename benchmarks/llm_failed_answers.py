"""What failures do to the verdicts on prompts and on retrieval.

Prompts: a baseline that is right on 9 of 10 items and does not answer a share of them, against a
candidate that answers all and is no better, or worse by 0.1. Retrieval: a system that finds every
document but does not answer a share of the queries, or is judged by a judge that fails on a share,
with a floor of 0.8. Four minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from flytekitplugins.wbmon.monitor.llm.evaluation.evaluate import evaluate_variants
from flytekitplugins.wbmon.monitor.llm.evaluation.report import Answer
from flytekitplugins.wbmon.monitor.llm.evaluation.rule import EvaluationRule
from flytekitplugins.wbmon.monitor.llm.evaluation.scorers import Judged
from flytekitplugins.wbmon.monitor.llm.evaluation.variant import Variant
from flytekitplugins.wbmon.monitor.llm.rag.evaluate import evaluate_rag
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGRule
from flytekitplugins.wbmon.stats.paired import paired_difference

N_EXPERIMENTS = 200
N_ITEMS = 200
SHARES = (0.0, 0.02, 0.04, 0.1, 0.3)
VARIANTS = [Variant.of_text("now", "{id}"), Variant.of_text("next", "{id}!")]


def experiment(failed: float, loss: float, rng: np.random.Generator) -> tuple[str, bool]:
    """The verdict, and whether the candidate ships if the baseline's failures count as 0."""
    right = {
        "now": rng.random(N_ITEMS) < 0.9,
        "next": rng.random(N_ITEMS) < 0.9 - loss,
    }
    fails = rng.random(N_ITEMS) < failed

    async def ask(item: Mapping[str, Any], variant: Variant) -> Answer:
        if variant.name == "now" and fails[item["id"]]:
            raise ConnectionError
        return Answer(text="right" if right[variant.name][item["id"]] else "wrong")

    items = [{"id": place, "expected": "right"} for place in range(N_ITEMS)]
    report = evaluate_variants(items, VARIANTS, ask, scorers=["exact"], rule=EvaluationRule())
    as_zeros = paired_difference(right["now"] & ~fails, right["next"].astype(float))
    return report.verdict, as_zeros.low > 0


def retrieval(failed: float, unjudged: float, rng: np.random.Generator) -> str:
    """The verdict on a system that is right whenever it answers."""
    fails, fails_to_judge = rng.random(40) < failed, rng.random(40) < unjudged

    async def ask(item: Mapping[str, Any]) -> Answer:
        if fails[int(item["question"])]:
            raise ConnectionError
        return Answer(text="x", retrieved=(item["question"],), contexts=("text",))

    async def judge(*, question: str, **_: str) -> Judged:
        if fails_to_judge[int(question)]:
            raise TimeoutError
        return Judged(1.0)

    items = [{"question": str(place), "relevant": [str(place)]} for place in range(40)]
    rule = RAGRule(floors={"recall": 0.8, "groundedness": 0.8})
    return evaluate_rag(items, ask, rule=rule, groundedness=judge).verdict


def main() -> None:
    """Print the tables."""
    print(f"{N_EXPERIMENTS} experiments of {N_ITEMS} items a row\n")
    print("| baseline does not answer | candidate | shipped if that counts as 0 | ship | hold |")
    print("|---:|---|---:|---:|---:|")
    for failed in SHARES:
        for loss in (0.0, 0.1):
            rng = np.random.default_rng(1)
            found = [experiment(failed, loss, rng) for _ in range(N_EXPERIMENTS)]
            verdicts = Counter(verdict for verdict, _ in found)
            as_zeros = sum(ships for _, ships in found) / N_EXPERIMENTS
            cells = [as_zeros, *(verdicts[each] / N_EXPERIMENTS for each in ("ship", "hold"))]
            told = f"worse by {loss:g}" if loss else "no better"
            row = " | ".join(f"{each:.1%}" for each in cells)
            print(f"| {failed:.0%} | {told} | {row} |", flush=True)
    print(f"\n{N_EXPERIMENTS} windows of 40 queries a row, right whenever they are answered\n")
    print("| what fails | share | ok | undecided | degraded |\n|---|---:|---:|---:|---:|")
    for what in ("queries", "judgements"):
        for share in (0.0, 0.02, 0.1, 0.3, 0.5, 1.0):
            failed, unjudged = (share, 0.0) if what == "queries" else (0.0, share)
            rng = np.random.default_rng(1)
            counts = Counter(retrieval(failed, unjudged, rng) for _ in range(N_EXPERIMENTS))
            row = " | ".join(
                f"{counts[each] / N_EXPERIMENTS:.1%}" for each in ("ok", "undecided", "degraded")
            )
            print(f"| {what} | {share:.0%} | {row} |", flush=True)


if __name__ == "__main__":
    main()
