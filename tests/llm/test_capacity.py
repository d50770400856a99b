"""The search for the rate that an endpoint takes: its statistics, its runs in W&B, its retries."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flytekit.exceptions.user import FlyteUserRuntimeException
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import SyncOfflineRuns
from support.environment import ROOT
from support.in_process import execute, pod_context
from support.openai_server import OpenAIServer
from support.place import EXECUTION, Place
from support.wandb_server import KEY, Fault, WandbServer

pytest.importorskip("openai", reason="the llm extra is not installed")
sys.path.insert(0, str(ROOT))

from workflows import llm_app, llm_capacity
from workflows.llm_load import Reply
from workflows.llm_promises import Load, judge
from workflows.llm_search import Search, best_rate, conclude

PROMISED = {"p99_s": 0.5, "error_rate": 0.01}


def replies(*seconds: float) -> list[Reply]:
    return [Reply(behind_s=0.0, first_chunk_s=each) for each in seconds]


def verdict(seconds: Any) -> str:
    return judge(10.0, replies(*map(float, seconds)), **PROMISED).verdict


def load(rate: float, said: str) -> Load:
    quick, lost = 0.1, math.nan
    times = {"holds": [quick] * 400, "breaks": [lost] * 400, "undecided": [quick] * 20}[said]
    return judge(rate, replies(*times), **PROMISED)


# what a load shows


def test_fewer_than_299_requests_show_no_p99() -> None:
    assert verdict([0.4] * 299) == "holds"
    assert verdict([0.4] * 298) == "undecided"
    assert verdict([]) == "undecided"


def test_slow_and_failed_requests_break_a_promise_when_they_are_beyond_chance() -> None:
    mix = np.random.default_rng(1).permutation
    quick = [0.1] * 1000

    assert verdict(mix(quick + [2.0] * 60)) == "breaks"
    assert verdict(mix(quick + [math.nan] * 60)) == "breaks"
    assert verdict([math.nan] * 50) == "breaks"
    assert verdict(mix(quick + [2.0] * 10)) == "undecided", "1 in 100 is the limit itself"
    assert verdict(quick + [2.0] * 60) == "undecided", "it may have been one bad moment"


def test_a_sender_that_is_late_itself_decides_nothing() -> None:
    late = [Reply(behind_s=0.1, first_chunk_s=0.2) for _ in range(400)]

    found = judge(10.0, late, **PROMISED)
    assert found.verdict == "undecided"
    assert "sender itself" in found.reason


def waits(share_busy: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Times in a queue with one server, in the order of arrival."""
    gaps, services = rng.exponential(1 / share_busy, n), rng.gamma(4, 0.25, n)
    times, waiting = np.empty(n), 0.0
    for i, (gap, service) in enumerate(zip(gaps, services, strict=True)):
        waiting = max(0.0, waiting - gap)
        times[i] = waiting + service
        waiting += service
    return times


@pytest.mark.parametrize("share_busy", [0.3, 0.9])
def test_a_promise_that_is_just_broken_is_seldom_called_kept(share_busy: float) -> None:
    """Also where a queue makes slow requests come in bursts, which 1000 requests often miss."""
    rng = np.random.default_rng(7)
    p99 = float(np.quantile(waits(share_busy, 300_000, rng), 0.99))
    found = [
        judge(1.0, replies(*waits(share_busy, 1000, rng)), p99_s=p99, error_rate=0.01).verdict
        for _ in range(60)
    ]

    assert found.count("holds") <= 6
    assert found.count("breaks") <= 6


def test_bounds_of_the_p99_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    found = [judge(1.0, replies(*rng.exponential(size=1000)), **PROMISED) for _ in range(400)]
    truth = math.log(100)

    assert sum(each.p99_high_s < truth for each in found) <= 32
    assert sum(each.p99_low_s > truth for each in found) <= 32


# the search


@settings(max_examples=60)
@given(limit=st.floats(0.01, 500), precision=st.floats(0.05, 0.5))
def test_the_search_ends_near_the_limit_and_never_above_it(limit: float, precision: float) -> None:
    search = Search(first_rate=10.0, most_rate=320.0, precision=precision)
    loads: list[Load] = []
    while (rate := search.next_rate(loads)) is not None:
        loads.append(load(rate, "holds" if rate <= limit else "breaks"))
        assert len(loads) < 30

    found = best_rate(loads)
    assert found <= limit
    if limit >= 320:
        assert found == 320
        assert "nothing higher was tried" in conclude(loads)
    elif limit >= 1.25:
        assert found >= limit * (1 - precision) * 0.99
    else:
        assert found == 0
        assert conclude(loads).startswith("no rate holds")


def test_an_undecided_rate_is_not_one_that_holds() -> None:
    loads = [load(10.0, "holds"), load(20.0, "undecided")]

    assert Search(precision=0.5).next_rate(loads) is None
    assert conclude(loads).startswith("10 a second hold, 20 are undecided")


# runs in W&B


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with WandbServer() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[float]]:
    """An endpoint that holds up to a rate; the rates that were tried, as they are."""

    def made(limit: float) -> list[float]:
        tried: list[float] = []

        async def measure(rate: float, _: Search) -> Load:
            tried.append(rate)
            return load(rate, "holds" if rate <= limit else "breaks")

        monkeypatch.setattr(llm_capacity, "measure", measure)
        return tried

    return made


SEARCH = Search(first_rate=10.0, most_rate=40.0, precision=0.5)


def tagged(server: WandbServer) -> list[str]:
    return [run.id for run in server.runs if "best" in run.tags]


def test_each_rate_is_a_run_of_one_group_and_the_best_is_tagged(
    wandb_server: WandbServer, endpoint: Callable[[float], list[float]]
) -> None:
    tried = endpoint(25)
    found = llm_capacity.llm_capacity(search=SEARCH)

    assert (found.best_rate, tried) == (20.0, [10.0, 20.0, 40.0])
    assert {run.group for run in wandb_server.runs} == {found.group}
    assert len(wandb_server.runs) == 3
    assert tagged(wandb_server) == [f"{found.group}-rate-20"]
    for run, said in zip(
        sorted(wandb_server.runs, key=lambda run: run.summary["capacity/rate"]),
        ("holds", "holds", "breaks"),
        strict=True,
    ):
        assert run.summary["capacity/verdict"] == said
        assert said in run.tags
        assert run.summary["capacity/reason"]
        assert run.config["capacity"]["p99_s"] == 0.5
        assert len(run.history) == 1
    assert "capacity/p99_s" in wandb_server.run("wbmon-demo", found.loads[0].run_id).summary
    assert found.verdict.startswith("20 a second hold, 40 break: 100.0% fail")


def test_where_nothing_holds_nothing_is_tagged_and_it_is_said(
    wandb_server: WandbServer, endpoint: Callable[[float], list[float]]
) -> None:
    endpoint(0)
    earlier = wandb_server.backend.memory.run("my-team", "wbmon-demo", "earlier")
    earlier.group, earlier.tags = "nightly", ["holds", "best"]
    found = llm_capacity.llm_capacity(search=SEARCH, group="nightly")

    assert found.best_rate == 0
    assert found.verdict == "no rate holds, 1.25 break: 100.0% fail, 1.0% may"
    assert len(wandb_server.runs) == 5
    assert tagged(wandb_server) == []
    assert earlier.tags == ["holds"]


def test_a_second_search_in_the_same_group_moves_the_tag(
    wandb_server: WandbServer, endpoint: Callable[[float], list[float]]
) -> None:
    for limit, most_rate, best in ((40, 20.0, "nightly-rate-20"), (40, 10.0, "nightly-rate-10")):
        endpoint(limit)
        llm_capacity.llm_capacity(search=Search(most_rate=most_rate), group="nightly")
        assert tagged(wandb_server) == [best]
    assert len(wandb_server.runs) == 2


def test_a_retry_measures_only_what_was_lost_and_makes_no_second_run(
    wandb_server: WandbServer,
    endpoint: Callable[[float], list[float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = endpoint(25)
    measure = llm_capacity.measure

    async def killed(rate: float, search: Search) -> Load:
        if rate == 40:
            raise RuntimeError("the pod is lost")
        return await measure(rate, search)

    env = {"_FSEC_WANDB_API_KEY": KEY}
    first, second = Place(), Place(attempt=1)
    monkeypatch.setattr(llm_capacity, "measure", killed)
    with (
        pod_context(tmp_path, place=first, env=env) as context,
        pytest.raises(FlyteUserRuntimeException, match="the pod is lost"),
    ):
        execute(context, llm_capacity.find_capacity, search=SEARCH, group="")
    assert len(wandb_server.runs) == 1, "20 may still be the best, and waits"
    monkeypatch.setattr(llm_capacity, "measure", measure)
    with pod_context(tmp_path, place=second, env=env, after=first) as context:
        found = execute(context, llm_capacity.find_capacity, search=SEARCH, group="")

    assert tried == [10.0, 20.0, 40.0]
    assert found["best_rate"] == 20.0
    assert {run.group for run in wandb_server.runs} == {EXECUTION}
    assert sorted(run.id for run in wandb_server.runs) == [
        f"{EXECUTION}-rate-{rate}" for rate in (10, 20, 40)
    ]
    assert tagged(wandb_server) == [f"{EXECUTION}-rate-20"]


def test_an_outage_loses_neither_a_run_nor_the_tag(
    wandb_server: WandbServer,
    endpoint: Callable[[float], list[float]],
    tmp_path: Path,
) -> None:
    endpoint(25)
    wandb_server.fault = Fault(status=401)
    with pod_context(tmp_path, env={"_FSEC_WANDB_API_KEY": KEY}) as context:
        found = execute(context, llm_capacity.find_capacity, search=SEARCH, group="")
    assert found["best_rate"] == 20.0
    assert wandb_server.runs == []

    wandb_server.fault = None
    store = str(tmp_path / "raw")
    assert SyncOfflineRuns("s", api_host=wandb_server.url, offline_store=store)().complete
    assert len(wandb_server.runs) == 3
    assert tagged(wandb_server) == [f"{EXECUTION}-rate-20"]


# the load itself


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        monkeypatch.setenv("LLM_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_MODE", "disabled")
        llm_app.client.cache_clear()
        yield server
        llm_app.client.cache_clear()


def test_load_is_sent_whether_or_not_it_is_answered_and_the_warm_up_does_not_count(
    model: OpenAIServer,
) -> None:
    search = Search(n=30, seconds=0.1)
    answered = asyncio.run(llm_capacity.measure(100.0, search))
    assert len(model.requests) == 100 + 30
    assert all(request.body["stream"] for request in model.requests)
    assert (answered.n, answered.error_rate) == (30, 0.0)
    assert 0 < answered.p50_s <= answered.p99_s < math.inf

    model.by_model[llm_app.MODEL] = "503"
    failed = asyncio.run(llm_capacity.measure(100.0, search))
    assert (failed.verdict, failed.error_rate) == ("breaks", 1.0)
    assert failed.reason == "100.0% fail, 1.0% may"


def test_a_time_is_counted_from_when_the_request_was_due(model: OpenAIServer) -> None:
    """A sender that waits for answers would see each of them come in a tenth of a second."""
    model.by_model[llm_app.MODEL] = "slow:0.1"
    found = asyncio.run(llm_capacity.measure(200.0, Search(n=40, seconds=0.1)))

    assert found.p50_s >= 0.1
    assert found.n == 40
