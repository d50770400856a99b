"""Nothing is lost: whatever is wrong with the server, all calls are there after the drain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.traces.drain import drain_spool
from flytekitplugins.wbmon.delivery.traces.store import drain_store
from flytekitplugins.wbmon.llm import current_trace, weave_init
from support.environment import clean_environment
from support.waiting import wait_until
from support.wandb_faults import Fault
from support.weave_server import KEY, WeaveServer

weave = pytest.importorskip("weave", reason="the llm extra is not installed")

N_CALLS = 30
FAULTS = {
    "401": Fault("status", status=401),
    "503": Fault("status", status=503),
    "hang": Fault("hang"),
    "reset": Fault("reset"),
}


@weave.op
def answer(number: int) -> int:
    return number * 2


def run_task(server: WeaveServer, store: Path, *, timeout_s: float = 1.5) -> None:
    """Trace some calls."""

    @weave_init(
        "demo",
        "loop",
        api_host=server.url,
        delivery_timeout_s=timeout_s,
        offline_store=str(store),
    )
    def ask() -> int:
        return sum(answer(number) for number in range(N_CALLS))

    assert ask() == N_CALLS * (N_CALLS - 1)


def numbers(server: WeaveServer) -> list[int]:
    return sorted(call["inputs"]["number"] for call in server.named("answer"))


@pytest.mark.parametrize("kind", ["down", *FAULTS])
def test_an_outage_holds_up_no_task_and_costs_no_call(
    server: WeaveServer, tmp_path: Path, kind: str
) -> None:
    if kind == "down":
        server.stop()
    else:
        server.fault = FAULTS[kind]
    run_task(server, tmp_path / "store")
    assert server.calls == {}

    server.fault = None
    if kind == "down":
        server.start()
    result = drain_store(OfflineStore(str(tmp_path / "store")), api_key=KEY)

    assert numbers(server) == list(range(N_CALLS))
    assert (result.n_spools, result.n_delivered, result.n_left) == (1, 1, 0)
    assert drain_store(OfflineStore(str(tmp_path / "store")), api_key=KEY).n_spools == 0


def test_an_outage_that_passes_in_time_is_waited_out(server: WeaveServer, tmp_path: Path) -> None:
    server.fault = Fault("status", status=503, times=2)
    run_task(server, tmp_path / "store", timeout_s=20)

    assert numbers(server) == list(range(N_CALLS))
    assert not (tmp_path / "store").exists()


def test_a_delivery_that_broke_half_way_goes_on_where_it_broke(
    server: WeaveServer, tmp_path: Path
) -> None:
    server.fault = Fault("status", status=503, on="calls/complete")
    run_task(server, tmp_path / "store")
    n_files = len(server.files)
    assert n_files > 0
    assert server.calls == {}

    server.fault = None
    drain_store(OfflineStore(str(tmp_path / "store")), api_key=KEY)

    assert numbers(server) == list(range(N_CALLS))
    assert len(server.files) == n_files, "what was confirmed is not sent again"


def test_a_call_that_the_server_refuses_holds_up_no_other(
    server: WeaveServer, folder: Path
) -> None:
    @weave_init("demo", "loop", mode="offline", api_host=server.url)
    def ask() -> None:
        for number in range(5):
            answer(number)

    ask()
    (spool,) = Path("wandb/weave").iterdir()
    refused = server.answer

    def picky(path: str, body: object) -> object:
        batch = body.get("batch", ()) if isinstance(body, dict) else ()
        if any(call["inputs"].get("number") == 3 for call in batch):
            raise _refusal
        return refused(path, body)

    _refusal = ValueError("422")
    server.answer = picky
    handler = server._http.RequestHandlerClass
    original = handler._answer

    def with_refusal(self: object, path: str, raw: bytes) -> int:
        try:
            return original(self, path, raw)
        except ValueError:
            return self._send(422, {"reason": "too large"})

    handler._answer = with_refusal
    result = drain_spool(spool, api_key=KEY)

    assert numbers(server) == [0, 1, 2, 4]
    assert result.n_rejected == 2
    assert result.is_complete
    assert "422" in (spool / "rejected.jsonl").read_text()


KILLED = """
import os, signal, sys
import weave
from flytekitplugins.wbmon.llm import weave_init

@weave.op
def answer(number):
    if number == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 2

@weave_init("demo", "loop", api_host=sys.argv[1], delivery_timeout_s=20)
def ask():
    for number in range(100):
        answer(number)

ask()
"""


def test_a_task_that_is_killed_loses_no_call_that_it_finished(
    server: WeaveServer, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    home = tmp_path / "home"
    env = clean_environment(home=home) | {"WANDB_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, str(script), server.url], cwd=home, env=env, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL

    wait_until(lambda: len(server.named("answer")) == 31)
    assert numbers(server) == list(range(31))
    (unfinished,) = [call for call in server.named("answer") if call["inputs"]["number"] == 30]
    assert json.loads(unfinished["exception"])["type"] == "Interrupted"
    assert all(call["output"] == 2 * call["inputs"]["number"] for call in server.named("answer")
               if call is not unfinished)  # fmt: skip


STOPPED = """
import sys, time
from pathlib import Path
import weave
from flytekitplugins.wbmon.llm import weave_init

@weave.op
def answer(number):
    return number * 2

@weave_init("demo", "loop", api_host=sys.argv[1], delivery_timeout_s=600, offline_store="store")
def ask():
    answer(1)
    Path("asked").touch()
    time.sleep(600)

ask()
"""


def test_a_task_that_is_told_to_stop_stores_its_traces_before_it_is_killed(
    server: WeaveServer, tmp_path: Path
) -> None:
    server.fault = Fault("hang")
    script, home = tmp_path / "stopped.py", tmp_path / "home"
    script.write_text(STOPPED)
    env = clean_environment(home=home) | {"WANDB_API_KEY": KEY}
    process = subprocess.Popen([sys.executable, str(script), server.url], cwd=home, env=env)
    try:
        wait_until((home / "asked").exists)
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        # it is in its end by now, which is not cut short
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    server.fault = None
    drain_store(OfflineStore(str(home / "store")), api_key=KEY)
    assert numbers(server) == [1]
    assert len(server.named("ask")) == 1


FORKED = """
import os, sys
import weave
from flytekitplugins.wbmon.llm import weave_init

@weave.op
def answer(number):
    return number * 2

@weave_init("demo", "loop", api_host=sys.argv[1], delivery_timeout_s=30)
def ask():
    answer(0)
    child = os.fork()
    if child == 0:
        raise KeyError("in the child")
    os.waitpid(child, 0)
    answer(1)

parent = os.getpid()
try:
    ask()
finally:
    if os.getpid() != parent:
        os._exit(0)
"""


def test_a_forked_child_that_leaves_the_task_does_not_end_its_traces(
    server: WeaveServer, tmp_path: Path
) -> None:
    script, home = tmp_path / "forked.py", tmp_path / "home"
    script.write_text(FORKED)
    env = clean_environment(home=home) | {"WANDB_API_KEY": KEY}
    subprocess.run(
        [sys.executable, str(script), server.url], cwd=home, env=env, timeout=90, check=True
    )
    assert numbers(server) == [0, 1]
    (call,) = server.named("ask")
    assert not call.get("exception")


def test_calls_arrive_while_the_task_is_still_running(server: WeaveServer) -> None:
    seen = []

    @weave_init("demo", "loop", api_host=server.url)
    def ask() -> None:
        answer(1)
        wait_until(lambda: server.named("answer"))
        seen.append(len(server.named("answer")))

    ask()

    assert seen == [1]
    assert len(server.named("ask")) == 1


def test_without_a_key_the_traces_wait_on_the_disk(
    server: WeaveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")

    @weave_init("demo", "loop", api_host=server.url)
    def ask() -> str:
        answer(1)
        return str(current_trace().spool.folder)

    spool = Path(ask())

    assert server.requests == []
    assert drain_spool(spool, api_key=KEY).is_complete
    assert numbers(server) == [1]


def test_the_key_is_neither_on_disk_nor_in_the_environment_of_the_sender(
    server: WeaveServer, tmp_path: Path
) -> None:
    server.fault = Fault("hang")
    found = []

    @weave_init("demo", "loop", api_host=server.url, delivery_timeout_s=0.5)
    def ask() -> None:
        pid = current_trace()._worker.pid
        found.append(Path(f"/proc/{pid}/environ").read_bytes())
        found.append(Path(f"/proc/{pid}/cmdline").read_bytes())

    ask()
    server.fault = None
    on_disk = b"".join(path.read_bytes() for path in Path("wandb").rglob("*") if path.is_file())

    assert KEY.encode() not in b"".join(found) + on_disk
    assert os.environ["WANDB_API_KEY"] == KEY
