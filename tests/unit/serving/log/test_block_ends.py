"""Blocks in generators, which frameworks step in other contexts and orders than they nest."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.context import restore
from flytekitplugins.wbmon.llm import call_attributes
from flytekitplugins.wbmon.llm.open_call import REQUESTS
from flytekitplugins.wbmon.monitor.llm.calls.row import call_scope, new_row
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.serving.log.request import current_request
from support.prediction_log import read_rows

Block = Callable[[PredictionLogger, str], AbstractContextManager[Any]]
BLOCKS: dict[str, Block] = {
    "request": lambda log, name: log.request(name),
    "stage": lambda log, name: log.stage(name),
    "attributes": lambda _, name: call_attributes(tenant=name),
    "call": lambda *_: call_scope(),
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLogger]:
    made = PredictionLogger("s", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    yield made
    made.close()


def apart(step: Callable[..., Any], *arguments: Any) -> Any:
    """What a step gives that runs in a copy of the context, as in the threads of a framework."""
    return contextvars.copy_context().run(step, *arguments)


def chunks(block: AbstractContextManager[Any]) -> Iterator[int]:
    with block:
        yield 1
        yield 2


def current() -> tuple[str | None, str | None]:
    request = current_request()
    return request and request.route, new_row().get("tenant")


@pytest.mark.parametrize("around", [True, False])
@pytest.mark.parametrize("close", [list, lambda steps: steps.close()], ids=["read", "closed"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_that_ends_in_another_context_raises_nothing(
    log: PredictionLogger, kind: str, close: Callable[[Any], Any], *, around: bool
) -> None:
    with log.request("outer") if around else nullcontext():
        before = current()
        steps = chunks(BLOCKS[kind](log, "inner"))
        assert apart(next, steps) == 1
        apart(close, steps)
        assert current() == before
        # begun here, ended elsewhere: what is over is not current any more
        steps = chunks(BLOCKS[kind](log, "inner"))
        next(steps)
        apart(close, steps)
        assert current() == before
    assert log.stats.in_flight == 0
    assert log.stats.served == around + 2 * (kind == "request")


def test_a_request_of_a_generator_that_is_stepped_in_threads_is_counted_with_its_outcome(
    log: PredictionLogger,
) -> None:
    def failing() -> Iterator[int]:
        with log.request("failed"):
            yield 1
            raise KeyError

    apart(list, chunks(log.request("whole")))
    left = chunks(log.request("left"))
    apart(next, left)
    apart(left.close)
    steps = failing()
    apart(next, steps)
    with pytest.raises(KeyError):
        apart(next, steps)
    log.close()

    windows = read_rows(Path(log.destination), "window")
    assert {row["route"]: (row["requests"], row["errors"]) for row in windows} == {
        "whole": (1, {}),
        "left": (1, {"client_disconnect": 1}),
        "failed": (1, {"KeyError": 1}),
    }


def test_a_stage_that_is_stepped_in_threads_is_measured(log: PredictionLogger) -> None:
    with log.request("chat"):
        steps = chunks(log.stage("model"))
        while apart(next, steps, None):
            pass
        # its end was in another context; the next stage is no part of it
        with log.stage("rest"):
            pass
    log.close()

    (row,) = read_rows(Path(log.destination))
    assert row["stage_ms"].keys() == {"model", "rest", "other"}


def test_one_stage_object_serves_again_within_itself_and_in_other_contexts(
    log: PredictionLogger,
) -> None:
    stage = log.stage("model")

    def again() -> None:
        with stage:
            pass

    with log.request("chat"), stage:
        again()
        apart(again)
        steps = chunks(stage)
        apart(next, steps)
        apart(list, steps)
    log.close()

    (row,) = read_rows(Path(log.destination))
    assert row["stage_ms"].keys() == {"model", "other"}
    # every moment of the stage is counted, and none twice
    assert sum(row["stage_ms"].values()) == pytest.approx(row["latency_ms"], abs=1e-3)


@given(orders=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=16))
@pytest.mark.parametrize("kind", ["request", "attributes"])
def test_after_generators_that_end_in_any_order_none_of_them_is_current(
    tmp_path_factory: pytest.TempPathFactory, kind: str, orders: list[tuple[int, bool]]
) -> None:
    log = PredictionLogger("s", str(tmp_path_factory.mktemp("log")))
    # of its own, so that what one example leaves behind is not found by the next one
    n_begun, left = contextvars.Context().run(interleaved, BLOCKS[kind], log, orders)

    assert left == (None, None)
    assert log.close().served == (n_begun if kind == "request" else 0)


def interleaved(
    block: Block, log: PredictionLogger, orders: list[tuple[int, bool]]
) -> tuple[int, tuple[str | None, str | None]]:
    """How many of four generators began that were stepped in turn, and what is current then."""
    generators = [chunks(block(log, str(i))) for i in range(4)]
    for i, is_apart in orders:
        apart(next, generators[i], None) if is_apart else next(generators[i], None)
    for each in generators:
        each.close()
    return len({i for i, _ in orders}), current()


def test_a_task_that_a_request_started_still_belongs_to_it_after_its_end(
    log: PredictionLogger,
) -> None:
    with log.request("chat", request_id="r-1"):
        task = contextvars.copy_context()
    task.run(lambda: log.log_prediction(prediction="late"))
    log.close()

    assert sorted(row["route"] for row in read_rows(Path(log.destination))) == ["chat", "chat"]


def test_a_variable_that_was_set_in_another_context_stays_as_it_is_here() -> None:
    token = apart(REQUESTS.set, [])

    assert restore(REQUESTS, token) is False
    assert REQUESTS.get() is None
