"""The night of an LLM application: what it cost, who complains, and whether a new prompt is better.

make demo-llm
"""

from __future__ import annotations

import os
from typing import NamedTuple

import pandas as pd
from flytekit import task, workflow
from flytekit.types.file import FlyteFile
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon import (
    AlertRule,
    AnalyzeFeedback,
    CompareModels,
    DegradationAlert,
    EvaluatePrompts,
    EvaluateRAG,
    EvaluationRule,
    RAGRule,
    TrackCost,
)
from flytekitplugins.wbmon.llm import Budget, weave_init
from workflows import llm_app
from workflows.llm_questions import questions
from workflows.llm_summary import summarise_llm
from workflows.llm_traffic import day_of_traffic

# without a key the traces stay on disk; with one they go to the project
traced = weave_init(
    project="wbmon-demo",
    entity="my-team",
    mode=None if os.environ.get("WANDB_API_KEY") else "offline",
    patch=["openai"],
)

cost = TrackCost(
    "ask.cost",
    prices=llm_app.PRICES,
    builtin_prices=False,
    budgets=[Budget(period="month", limit=0.02), Budget(scope="tenant", period="day", limit=0.01)],
)
feedback = AnalyzeFeedback("ask.feedback")
prompts = traced(
    EvaluatePrompts(
        "ask.prompts",
        answer="workflows.llm_app:answer",
        variants=[llm_app.PLAIN, llm_app.WITH_NOTES],
        scorers=["contains", "complete"],
        rule=EvaluationRule(max_cost_usd=1.0),
    )
)
models = CompareModels(
    "ask.models",
    answer="workflows.llm_app:answer",
    models=["stand-in-1-pro", llm_app.MODEL],
    prompt=llm_app.WITH_NOTES.prompt,
    scorers=["contains"],
    rule=EvaluationRule(max_loss=0.1),
)
rag = EvaluateRAG(
    "ask.rag",
    answer="workflows.llm_app:answer_from_documents",
    rule=RAGRule(k=3, floors={"recall": 0.8, "groundedness": 0.8}),
    relevance="workflows.llm_app:relevance",
    groundedness="workflows.llm_app:groundedness",
)
alert = DegradationAlert(
    "ask.alert",
    rules=[
        AlertRule(metric="usage.over_budget", above=0, severity="error"),
        AlertRule(metric="usage.rate_limited_rate", above=0.05),
        AlertRule(metric="feedback.rate", below=0.7),
        AlertRule(metric="rag.degraded", above=0, on_no_data="breach"),
    ],
)


@task
def questions_to_ask(low_rated: StructuredDataset) -> StructuredDataset:
    """The question set; what users disliked comes first, so that a budget reaches it.

    Args:
        low_rated: Answers that were not liked.
    """
    disliked = " ".join(low_rated.open(pd.DataFrame).all()["question"])
    asked = questions()
    first = asked["question"].map(lambda text: text not in disliked)
    return StructuredDataset(
        dataframe=asked.assign(first=first).sort_values("first", kind="stable")
    )


class WindowSummary(NamedTuple):
    """The page to read, whether somebody has to, and whether the new prompt is to be used."""

    page: FlyteFile
    fired: bool
    verdict: str


@workflow
def llm_nightly(n_calls: int = 120) -> WindowSummary:
    """Monitor the application over a day, and evaluate the prompt that may replace the one in use.

    Args:
        n_calls: Calls of the day.
    """
    day = day_of_traffic(n_calls=n_calls)
    spent = cost(data=day.calls)
    liked = feedback(calls=day.calls, feedback=day.feedback)
    asked = questions_to_ask(low_rated=liked.low_rated)
    compared = prompts(data=asked)
    by_model = models(data=asked)
    retrieved = rag(data=asked)
    decided = alert(usage=spent.report, feedback=liked.report, rag=retrieved.report)
    page = summarise_llm(
        usage=spent.report,
        feedback=liked.report,
        prompts=compared.report,
        models=by_model.report,
        rag=retrieved.report,
        decision=decided.decision,
    )
    return WindowSummary(page=page, fired=decided.fired, verdict=compared.verdict)
