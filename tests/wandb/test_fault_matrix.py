"""Whatever is wrong with W&B, and whenever: the task's result, its end, and nothing lost.

Each cell runs a task that succeeds and one that fails, both logging rows, a table, an artifact and
alerts; then the server is mended and the offline store delivered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flytekit import FlyteContextManager

import wandb
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.wandb_faults import FILE_STREAM, STORAGE, Fault
from support.wandb_server import KEY, WandbServer

pytestmark = [pytest.mark.slow]

TIMEOUT_S = 3.0
N_ROWS = 6
# wandb prunes its cache of artifacts without a lock: from the hundredth on in one process, two
# threads that make one at the same moment raise KeyError
_ARTIFACTS = threading.Lock()
FAULTS: dict[str, Callable[[], Fault]] = {
    "refuse": lambda: Fault("refuse"),
    "hang": lambda: Fault("hang"),
    "reset": lambda: Fault("reset"),
    "delay": lambda: Fault("delay", delay_s=1.0),
    **{str(code): lambda code=code: Fault(status=code) for code in (401, 403, 404, 409, 429, 503)},
    "storage 503": lambda: Fault(on=STORAGE),
    "file stream 503": lambda: Fault(on=FILE_STREAM),
}
PHASES = ("init", "mid-run", "finish")


@dataclass
class Outcome:
    """What one task saw."""

    name: str
    fails: bool
    error: BaseException | None = None


def run_task(outcome: Outcome, server: WandbServer, store: Path, at: Callable[[str], None]) -> None:
    """One task in a thread of its own; `at` is told where it is."""
    FlyteContextManager.initialize()
    settings = RunSettings(
        project="payments",
        entity="ops",
        id=outcome.name,
        secret=lambda: KEY,
        api_host=server.url,
        delivery_timeout_s=TIMEOUT_S,
        offline_store=str(store),
    )
    try:
        at("init")
        with open_run(settings, task=outcome.name) as run:
            for row in range(N_ROWS):
                if row == N_ROWS // 2:
                    at("mid-run")
                log(run, row, outcome.name)
            at("finish")
            1 / (not outcome.fails)
    except ZeroDivisionError as error:
        outcome.error = error


def log(run: Any, row: int, name: str) -> None:
    run.log({"row": row})
    if row in (1, N_ROWS - 1):
        run.alert(f"alert {row}", name)
    if row == N_ROWS - 1:
        with _ARTIFACTS:
            log_artifacts(run, name)


def log_artifacts(run: Any, name: str) -> None:
    run.log({"table": wandb.Table(columns=["a"], data=[[1], [2]])})
    artifact = wandb.Artifact(f"report-{name}", "report")
    with artifact.new_file("report.txt") as file:
        file.write(name)
    run.log_artifact(artifact)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_changes_nothing_for_the_task_and_loses_nothing(
    server: WandbServer, tmp_path: Path, fault: str, phase: str
) -> None:
    store = tmp_path / "store"
    outcomes = [Outcome("good", fails=False), Outcome("bad", fails=True)]
    together = threading.Barrier(2)

    def at(here: str) -> None:
        if here == phase and together.wait(60) == 0:
            server.fault = FAULTS[fault]()
        if here == phase:
            together.wait(60)

    tasks = [
        threading.Thread(target=run_task, args=(outcome, server, store, at), daemon=True)
        for outcome in outcomes
    ]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
        assert not task.is_alive(), "a task waits for W&B longer than it may"
    good, bad = outcomes
    assert good.error is None
    assert isinstance(bad.error, ZeroDivisionError)

    server.fault = None
    FlyteContextManager.initialize()
    synced = sync_store(
        OfflineStore(str(store)), api_host=server.url, key=ApiKey(KEY), timeout_s=30
    )
    assert [run.reason for run in synced] == [""] * len(synced)
    assert find_runs(OfflineStore(str(store))) == []
    assert_everything_arrived_once(server, outcomes)


def assert_everything_arrived_once(server: WandbServer, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        served = server.run("payments", outcome.name)
        assert served.column("row") == list(range(N_ROWS))
        assert len(served.history) == N_ROWS + 1
        assert served.state == ("failed" if outcome.fails else "finished")
        assert served.summary["row"] == N_ROWS - 1
        assert served.config["flyte"]["is_local"] is True
        alerts = [alert.title for alert in server.alerts if alert.run == outcome.name]
        assert alerts == ["alert 1", f"alert {N_ROWS - 1}"]
        # a version that a killed delivery began and did not commit is no version
        versions = [one for one in server.artifacts if one.name == f"report-{outcome.name}"]
        (report,) = [one for one in versions if one.committed]
        assert list(report.files.values()) == [outcome.name.encode()]
    names = {artifact.name for artifact in server.artifacts}
    committed = [artifact.name for artifact in server.artifacts if artifact.committed]
    assert sorted(committed) == sorted(names)
