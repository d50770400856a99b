"""A logging handler of the app that raises breaks neither a caller nor a thread of ours."""

from __future__ import annotations

import contextvars
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flytekitplugins.wbmon.llm import CallLog
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.warn import warn
from support.environment import SOURCE
from support.prediction_log import read_rows
from support.waiting import wait_until


class Broken(logging.Handler):
    """As a shipper of logs without its network, or a strict set-up of tests."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error, self.n = error, 0

    def emit(self, record: logging.LogRecord) -> None:
        assert record.getMessage()
        self.n += 1
        raise self.error("the handler is broken")


@pytest.fixture(params=[RuntimeError, SystemExit])
def broken(request: pytest.FixtureRequest) -> Iterator[Broken]:
    handler = Broken(request.param)
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


class Wrong:
    def __str__(self) -> str:
        raise ValueError


def outside(log: PredictionLogger) -> None:
    with log.request("r"):
        contextvars.Context().run(log.log_prediction, prediction=1)


def wrong_columns(log: PredictionLogger) -> None:
    log.log_prediction(prediction=Wrong(), features={Wrong(): 1}, no_such_column=1)


def wrong_feedback(log: PredictionLogger) -> None:
    log.log_feedback("r", "label", label=[1])


CALLERS = [outside, wrong_columns, wrong_feedback]


@pytest.mark.parametrize("broken", [RuntimeError], indirect=True)
@pytest.mark.parametrize("call", CALLERS)
def test_a_caller_sees_nothing_of_a_handler_that_raises(
    tmp_path: Path, broken: Broken, call: Callable[[PredictionLogger], None]
) -> None:
    log = PredictionLogger("s", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    call(log)
    log.close()

    assert broken.n > 0


def test_the_writer_goes_on_after_a_handler_that_raises(tmp_path: Path, broken: Broken) -> None:
    log = PredictionLogger(
        "s", str(tmp_path), sampling=SamplingPolicy(rate=1.0), flush_interval=0.01
    )
    log.log_prediction(prediction=1)
    wait_until(lambda: log.stats.logged == 1)
    shutil.rmtree(tmp_path)
    log.log_prediction(prediction=2)
    wait_until(lambda: log.stats.dropped == 1)
    log.log_prediction(prediction=3)
    stats = log.close()

    assert broken.n > 0
    assert (stats.logged, stats.dropped, stats.failed) == (2, 1, 0)
    assert [row["prediction"] for row in read_rows(tmp_path)] == [3]


@pytest.mark.parametrize("broken", [RuntimeError], indirect=True)
def test_a_call_log_without_a_disk_raises_nothing_through_a_broken_handler(
    tmp_path: Path, broken: Broken
) -> None:
    (tmp_path / "file").write_text("in the way")
    log = CallLog(tmp_path / "file" / "log", "api")
    log.log_call(new_row(session_id="1"))
    log.log_call({"no_such_column": 1})
    log.close()

    assert (log.n_failed, broken.n) == (2, 2)


def test_a_warning_names_the_place_that_gives_it(caplog: pytest.LogCaptureFixture) -> None:
    try:
        {}["k"]
    except KeyError:
        warn(logging.getLogger("ours"), "%s of %d", "one", 2, exc_info=True)

    (record,) = caplog.records
    assert (record.getMessage(), record.filename) == ("one of 2", "test_warn.py")
    assert record.exc_text is not None
    assert "KeyError" in record.exc_text


def test_all_that_warns_within_a_request_or_a_call_does_so_by_this_function() -> None:
    paths = [
        path
        for folder in ("serving", "storage", "llm", "monitor/llm/calls", "monitor/llm/cost")
        for path in (SOURCE / "flytekitplugins/wbmon" / folder).rglob("*.py")
        # reads a log, in a task
        if path.name != "read.py"
    ]
    texts = {path.name: path.read_text() for path in paths}

    assert len(texts) > 40
    assert [name for name, text in texts.items() if "logger.warning(" in text] == []
