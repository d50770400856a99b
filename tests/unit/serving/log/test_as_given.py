"""A row says what was given, also if the caller goes on with the same objects meanwhile."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.serving.adapters.bodies import Body
from support.prediction_log import read_rows

Give = Callable[[PredictionLogger, Any], Any]


def later(log: PredictionLogger, value: Any) -> None:
    with log.request("r", request_id="r"):
        pass
    log.log_prediction(parent_request_id="r", prediction=value)


def second(log: PredictionLogger, value: Any) -> None:
    with log.request("r"):
        log.log_prediction(prediction=1)
        log.log_prediction(prediction=2, input_text=value, features={"x": value})


def set_within(log: PredictionLogger, value: Any) -> None:
    with log.request("r") as request:
        request.set(output_text=value)


def begun_with(log: PredictionLogger, value: Any) -> None:
    with log.request("r", input_text=value):
        pass


GIVEN: dict[str, Give] = {
    "prediction": lambda log, value: log.log_prediction(prediction=value),
    "input": lambda log, value: log.log_prediction(input_text=value),
    "output": lambda log, value: log.log_prediction(output_text={"nested": [value]}),
    "feature": lambda log, value: log.log_prediction(features={"x": value}),
    "column": lambda log, value: log.log_prediction(prediction=1, finish_reason=value),
    "set": set_within,
    "request": begun_with,
    "later": later,
    "second": second,
    "comment": lambda log, value: log.log_feedback("r", "thumbs", score=1.0, comment=value),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize(
    "value",
    [["of A"], {"a": "of A"}, bytearray(b"of A"), np.array(["of A"])],
    ids=lambda it: type(it).__name__,
)
def test_no_row_says_what_its_objects_held_later(given: Give, value: Any, tmp_path: Path) -> None:
    log = PredictionLogger(
        "s", str(tmp_path), sampling=SamplingPolicy(rate=1.0), flush_interval=3600, redactor=None
    )
    value = copy.deepcopy(value)
    given(log, value)
    if isinstance(value, dict):
        value["a"] = "of B"
    elif isinstance(value, bytearray):
        value[:] = b"of B"
    else:
        value[0] = "of B"
    log.close()
    written = str(read_rows(tmp_path) + read_rows(tmp_path, "feedback"))

    assert "of B" not in written
    assert "of A" in written


def test_a_buffer_that_an_app_fills_again_is_kept_as_it_was_sent() -> None:
    body, buffer = Body(100), bytearray(b"of A")
    body.add(buffer)  # type: ignore[arg-type]  # servers take it
    body.add(memoryview(buffer))  # type: ignore[arg-type]
    buffer[:] = b"of B"

    assert body.content(b"text/plain") == "of Aof A"
