"""A day of the application: calls through a logging client, and what users said of the answers."""

from __future__ import annotations

import os
import tempfile
from typing import Any, NamedTuple

import pandas as pd
from flytekit import task
from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.llm import CallLog, call_attributes, instrument_openai, read_calls
from flytekitplugins.wbmon.llm.chat import messages_for
from workflows import llm_app
from workflows.llm_questions import questions

TENANTS = ("acme", "bolt", "core")


class Traffic(NamedTuple):
    """The day's call log and feedback log."""

    calls: StructuredDataset
    feedback: StructuredDataset


@task
def day_of_traffic(n_calls: int = 120) -> Traffic:
    """Ask the application as users would, and rate every second answer.

    Args:
        n_calls: Questions of the day.
    """
    folder = tempfile.mkdtemp(prefix="calls-")
    asked: list[Any] = questions().to_dict("records")
    with CallLog(folder, "ask") as log:
        said = _ask([asked[n % len(asked)] for n in range(n_calls)], log)
    calls = read_calls(folder)
    return Traffic(
        calls=StructuredDataset(dataframe=calls),
        feedback=StructuredDataset(dataframe=pd.DataFrame(said)),
    )


def _ask(asked: list[dict[str, str]], log: CallLog) -> list[dict[str, object]]:
    client = instrument_openai(
        llm_app.client().with_options(), log, capture_text=True, provider="stand-in"
    )
    feedback: list[dict[str, object]] = []
    for number, item in enumerate(asked):
        request_id = os.urandom(8).hex()
        with call_attributes(
            request_id=request_id,
            tenant=TENANTS[number % len(TENANTS)],
            route="/ask",
            prompt_name="capitals",
            prompt_version="plain",
        ):
            completion = client.chat.completions.create(
                model=llm_app.MODEL, messages=messages_for(llm_app.PLAIN, item)
            )
        right = item["expected"] in (completion.choices[0].message.content or "")
        if number % 2 == 0:
            at = pd.Timestamp.now(tz="UTC")
            feedback.append(
                {
                    "timestamp": at,
                    "feedback_id": f"f{number}",
                    "request_id": request_id,
                    "source": "user",
                    "score": float(right),
                    "label": None if right else "no answer",
                    "comment": None,
                }
            )
    return feedback
