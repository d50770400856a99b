"""A task that uses the library on storage that only Flyte's own variables lead to."""

from __future__ import annotations

import os
from datetime import datetime, timezone

import pandas as pd
from flytekit import task, workflow

from flytekitplugins.wbmon import AnalyzeSteps, Profile, profile_data
from flytekitplugins.wbmon.llm import CallLog, PromptRegistry, PromptTemplate, read_calls
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.monitor.llm.steps.report import Span
from flytekitplugins.wbmon.monitor.llm.steps.spans import row_of_span, steps_folder
from flytekitplugins.wbmon.storage.filesystem import open_filesystem

ANSWER = PromptTemplate.from_text("qa", "Answer {question}")


@task
def use(root: str) -> str:
    """Write and read below the root; where the calls were logged."""
    assert not [name for name in os.environ if name.startswith("AWS_")]
    profile_data(pd.DataFrame({"x": range(300)})).save(f"{root}/reference.profile")
    assert Profile.load(f"{root}/reference.profile").n_rows == 300
    PromptRegistry(f"{root}/prompts").publish(ANSWER, alias="production")
    assert PromptRegistry(f"{root}/prompts").get("qa").digest == ANSWER.digest
    calls = f"{root}/calls"
    with CallLog(calls, "ask") as log, CallLog(steps_folder(calls), "ask") as steps:
        log.log_call(new_row(gen_ai_request_model="house"))
        now = datetime.now(timezone.utc)
        span = Span(id="s", trace_id="t", name="retrieve", started_at=now, ended_at=now)
        steps.log_call(row_of_span(span))
    assert read_calls(calls).num_rows == 1
    files, path = open_filesystem(root)
    assert len(files.find(path)) == 4
    return calls


analyse = AnalyzeSteps("stored.analyse")


@workflow
def night(root: str) -> int:
    """Log, then look at what was logged."""
    return analyse(call_log=use(root=root)).n_failed
