"""A traced task and a traced node, as they are registered."""

from __future__ import annotations

import os

import weave
from flytekit import Secret, task, workflow

from flytekitplugins.wbmon import AnalyzeSteps
from flytekitplugins.wbmon.llm import weave_init

traced = weave_init(
    project="demo",
    entity="loop",
    secret=Secret(group="wandb", key="api_key"),
    api_host=os.environ["API_HOST"],
    delivery_timeout_s=2,
)


@weave.op
def answer(question: str) -> str:
    return question.upper()


@traced
@task
def ask(question: str) -> str:
    return answer(question)


def nodes() -> list[AnalyzeSteps]:
    """A node that is no variable of its module: it takes its tracing along in its arguments."""
    return [traced(AnalyzeSteps("traced.steps"))]


made = nodes()


@workflow
def night(question: str, call_log: str) -> tuple[str, int]:
    return ask(question=question), made[0](call_log=call_log).n_failed
