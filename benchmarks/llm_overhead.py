"""What logging and tracing add to a call, and how fast traces that waited are delivered.

Runs in the environment of the LLM tests: `make .venv-llm/.made`, then
`PYTHONPATH=tests .venv-llm/bin/python -m benchmarks.llm_overhead`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import openai
import weave

from flytekitplugins.wbmon.delivery.traces.drain import drain_spool
from flytekitplugins.wbmon.llm import CallLog, instrument_openai, weave_init
from support.openai_server import OpenAIServer
from support.weave_server import KEY, WeaveServer

N = 2000
N_REQUESTS = 400
ASK: dict[str, Any] = {"model": "house", "messages": [{"role": "user", "content": "hello there"}]}


@weave.op
def traced(number: int) -> dict[str, int]:
    """An op that does nothing."""
    return {"number": number}


def timed(call: Callable[[int], Any], n: int) -> list[float]:
    """Microseconds of each call."""
    for number in range(20):
        call(number)
    times = []
    for number in range(n):
        begun = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - begun) * 1e6)
    return times


def row(name: str, times: list[float], base: float = 0.0) -> None:
    """Print a line of the table."""
    print(f"| {name} | {median(times) - base:,.0f} | {quantiles(times, n=100)[98] - base:,.0f} |")


def ops(folder: Path, url: str) -> Path:
    """Ops outside of a traced task, and inside; where the traces are."""
    row("weave op, not traced", timed(traced, N))

    @weave_init("demo", "loop", mode="offline", api_host=url)
    def task() -> list[float]:
        return timed(traced, N)

    row("weave op, traced to disk", task())
    (spool,) = (folder / "wandb" / "weave").iterdir()
    return spool


def requests(folder: Path) -> None:
    """Requests of an OpenAI client, as it is and instrumented, by turns."""
    with OpenAIServer() as server, CallLog(folder / "calls", "bench") as log:
        plain = openai.OpenAI(base_url=server.url, api_key="x")
        watched = instrument_openai(openai.OpenAI(base_url=server.url, api_key="x"), log)
        before, after = [], []
        for _ in range(8):
            before += timed(lambda _: plain.chat.completions.create(**ASK), N_REQUESTS // 8)
            after += timed(lambda _: watched.chat.completions.create(**ASK), N_REQUESTS // 8)
        row("request, as it is", before)
        row("request, logged", after)


def main() -> None:
    """Print the table."""
    import os

    with tempfile.TemporaryDirectory() as temporary, WeaveServer() as server:
        os.chdir(temporary)
        folder = Path(temporary)
        print("| call | median µs | p99 µs |")
        print("|---|---:|---:|")
        spool = ops(folder, server.url)
        requests(folder)
        begun = time.perf_counter()
        result = drain_spool(spool, api_key=KEY)
        took = time.perf_counter() - begun
        if not result.is_complete or len(server.named("traced")) != N + 20:
            raise SystemExit(f"not everything arrived: {result}")
        print(
            f"\nDelivery: {result.n_sent:,} records of {len(server.calls):,} calls in {took:.2f} s."
        )


if __name__ == "__main__":
    main()
