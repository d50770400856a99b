"""The worker's own code, run in this process while another one writes the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import pytest

import wandb
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import WorkerProcess, end_group
from flytekitplugins.wbmon.delivery.runs import sync_command as wandb_sync
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.transaction_log import log_path, write_records
from flytekitplugins.wbmon.delivery.runs.worker import main
from support.environment import clean_environment
from support.waiting import wait_until
from support.wandb_faults import ALERT, Fault
from support.wandb_server import KEY, WandbServer

pytestmark = pytest.mark.slow

WRITER = """
import sys
from flytekitplugins.wbmon.run import wandb_client as client
run = client.start_offline_run({"project": "p", "entity": "ops", "id": "x", "dir": sys.argv[1]})
print(run.settings.sync_dir, flush=True)
run.log({"row": 0})
run.alert("first", "text")
sys.stdin.readline()
run.log({"row": 1})
run.alert("second", "text")
run.finish()
"""

SEND_APART = f"""
import sys
from pathlib import Path
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.sync_command import sync_apart
sync_apart(Path(sys.argv[1]), api_host=sys.argv[2], key=ApiKey({KEY!r}), until=lambda: float('inf'))
"""


WORKER = "flytekitplugins.wbmon.delivery.runs.worker"


class Writer:
    """A process that writes a run of two rows, the second when it is told to finish."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)],
            env=clean_environment(home=folder / "home"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.folder = Path(self.process.stdout.readline().strip())

    def finish(self) -> None:
        """Let it end its run."""
        self.process.communicate("\n", timeout=60)

    @property
    def progress(self) -> DeliveryProgress:
        """What was noted of the delivery."""
        return DeliveryProgress.load(self.folder)


@pytest.fixture
def server() -> Iterator[WandbServer]:
    wandb.teardown()
    with WandbServer() as server, mock.patch.dict(os.environ):
        yield server
        wandb.teardown()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path)
    yield writer
    writer.process.kill()
    writer.process.wait()


def signals(
    server: WandbServer, writer: Writer, *, streamed: bool = True, timeout_s: float = 30
) -> Iterator[str]:
    """What a task sends to its worker, and when: it ends when its first row was served."""
    yield json.dumps({"key": KEY, "api_host": server.url, "timeout_s": timeout_s})
    yield json.dumps({"folder": str(writer.folder)})
    if streamed:
        wait_until(lambda: server.runs and server.runs[0].history)
    writer.finish()
    yield json.dumps({"timeout_s": timeout_s})


@contextmanager
def watch_processes(mark: str) -> Iterator[set[str]]:
    """What everyone may read of the processes whose environment has the mark, but for this one."""
    shown: set[str] = set()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    environment = (process / "environ").read_bytes().decode(errors="replace")
                    command = (process / "cmdline").read_bytes().decode(errors="replace")
                    if mark in environment and int(process.name) != os.getpid():
                        shown.add(f"{command}\n{environment}")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield shown
    finally:
        is_over.set()
        watcher.join()


def assert_delivered(server: WandbServer, writer: Writer) -> None:
    assert writer.progress.is_confirmed, writer.progress.reason
    assert server.run("p", "x").column("row") == [0, 1]
    assert [alert.title for alert in server.alerts] == ["first", "second"]


def test_a_run_is_streamed_and_confirmed(server: WandbServer, writer: Writer) -> None:
    main(signals(server, writer))
    assert_delivered(server, writer)


def test_no_process_of_a_delivery_shows_the_key(
    server: WandbServer, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELIVERY_MARK", str(writer.folder))
    monkeypatch.setenv("MY_OWN_KEY", KEY)
    with watch_processes(f"DELIVERY_MARK={writer.folder}") as shown:
        worker = WorkerProcess(WORKER, ApiKey(KEY), timeout_s=60, api_host=server.url, writer="")
        worker.begin(writer.folder)
        wait_until(lambda: server.runs and server.runs[0].history)
        writer.finish()
        worker.finish(60)
        assert_delivered(server, writer)
        wandb_sync.sync_apart(
            log_path(writer.folder),
            api_host=server.url,
            key=ApiKey(KEY),
            until=lambda: float("inf"),
        )
    commands = [text.partition("\n")[0] for text in shown]
    for name in ("wandb-core", "runs.worker", "runs.sync_process"):
        assert any(name in command for command in commands), name
    assert [text for text in shown if KEY in text] == []


def test_alerts_that_are_refused_for_a_while_are_sent_later(
    server: WandbServer, writer: Writer
) -> None:
    server.fault = Fault(on=ALERT, times=4)
    main(signals(server, writer))
    assert_delivered(server, writer)


def test_without_the_live_sync_the_plain_one_delivers(
    server: WandbServer, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb.cli.beta_sync", None)
    assert wandb_sync.sync_live(Path("none")) is False
    main(signals(server, writer, streamed=False))
    assert_delivered(server, writer)


def test_a_worker_that_is_ended_leaves_no_sync_behind(
    server: WandbServer, writer: Writer, tmp_path: Path
) -> None:
    writer.finish()
    server.fault = hang = Fault("hang")
    worker = subprocess.Popen(
        [sys.executable, "-c", SEND_APART, str(log_path(writer.folder)), server.url],
        env=clean_environment(home=tmp_path / "home"),
        start_new_session=True,
    )
    wait_until(lambda: hang._seen)
    assert any("runs.sync_process" in command for command in commands_with(str(writer.folder)))

    end_group(worker)

    wait_until(lambda: not commands_with(str(writer.folder)), timeout_s=20)


def commands_with(word: str) -> list[str]:
    """The command lines on this machine that name something."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(entry.read_text().replace("\0", " "))
    return [command for command in found if word in command]


def test_a_task_that_goes_before_its_run_opens_leaves_nothing_to_do(server: WandbServer) -> None:
    main(iter([json.dumps({"key": KEY, "api_host": server.url, "timeout_s": 1})]))
    assert server.runs == []


def test_a_run_that_never_began_is_given_up(server: WandbServer, tmp_path: Path) -> None:
    write_records(tmp_path / "run-x.wandb", [])
    first = {"key": KEY, "api_host": server.url, "timeout_s": 1}
    main(iter([json.dumps(one) for one in (first, {"folder": str(tmp_path)}, {"timeout_s": 1})]))
    assert "has no beginning" in DeliveryProgress.load(tmp_path).reason
