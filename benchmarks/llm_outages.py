"""Calls that an outage costs: traced while the server is ill, and counted after the drain.

Runs in the environment of the LLM tests: `make .venv-llm/.made`, then
`PYTHONPATH=tests .venv-llm/bin/python -m benchmarks.llm_outages`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.traces.store import drain_store
from support.wandb_faults import Fault
from support.weave_server import KEY, WeaveServer

N_CALLS = 500
TIMEOUT_S = 2.0
TASK = """
import os, signal, sys, time
import weave
from flytekitplugins.wbmon.llm import weave_init
url, store, n, timeout_s, is_killed = sys.argv[1:]

@weave.op
def answer(number):
    return number * 2

@weave_init("demo", "loop", api_host=url, offline_store=store, delivery_timeout_s=float(timeout_s))
def ask():
    for number in range(int(n)):
        answer(number)
    print(time.time(), flush=True)
    if is_killed == "yes":
        os.kill(os.getpid(), signal.SIGKILL)

ask()
print(time.time(), flush=True)
"""
OUTAGES = {
    "healthy": None,
    "down": None,
    "401": Fault("status", status=401),
    "503": Fault("status", status=503),
    "hang": Fault("hang"),
    "reset": Fault("reset"),
    "task killed": None,
}


def outage(kind: str) -> None:
    """Print a line of the table."""
    with tempfile.TemporaryDirectory() as folder, WeaveServer() as server:
        server.fault = OUTAGES[kind]
        if kind == "down":
            server.stop()
        store = str(Path(folder) / "store")
        is_killed = "yes" if kind == "task killed" else "no"
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                TASK,
                server.url,
                store,
                str(N_CALLS),
                str(TIMEOUT_S),
                is_killed,
            ],
            cwd=folder,
            env=os.environ | {"WANDB_API_KEY": KEY},
            capture_output=True,
            text=True,
            check=False,
        )
        stamps = [float(line) for line in done.stdout.splitlines() if line[:1].isdigit()]
        during = arrived(server, wait_s=20 if is_killed == "yes" else 0)
        server.fault = None
        if kind == "down":
            server.start()
        drain_store(OfflineStore(store), api_key=KEY)
        lost = N_CALLS - arrived(server, wait_s=0)
        took = f"{stamps[1] - stamps[0]:.1f} s" if len(stamps) > 1 else ""
        print(f"| {kind} | {took} | {during} | {lost} |", flush=True)
        if lost:
            raise SystemExit(f"{lost} calls are lost: {done.stderr[-500:]}")


def arrived(server: WeaveServer, *, wait_s: float) -> int:
    """The calls that the server has, all different; waits for a sender that outlived its task."""
    ends_at = time.monotonic() + wait_s
    while True:
        numbers = {call["inputs"]["number"] for call in server.named("answer")}
        if len(numbers) == N_CALLS or time.monotonic() > ends_at:
            return len(numbers)
        time.sleep(0.1)


def main() -> None:
    """Print the table."""
    print(f"{N_CALLS} calls a row; delivery may take {TIMEOUT_S:g} s.\n")
    print("| server | the task waits | calls there then | lost after the drain |")
    print("|---|---:|---:|---:|")
    for kind in OUTAGES:
        outage(kind)


if __name__ == "__main__":
    main()
