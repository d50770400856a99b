"""A container is killed hard, and all its processes with it: what is left, and what W&B gets of it.

Each case runs a task as PID 1 of a namespace of its own, kills it at a point that is drawn from a
seed, and delivers what the store has. They run side by side, as they mostly wait.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.runs.sync_store import SyncedRun, sync_store
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.run.spooled import WORKER
from support.container_kill import kill_container, start_as_container
from support.environment import clean_environment
from support.faulty_files import SLOW_S
from support.waiting import wait_until
from support.wandb_server import KEY, Fault, WandbServer

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
ROWS_A_SECOND = 10
# a step every five seconds, a second until a row is on the disk, and what a busy machine adds
MOST_LOST = 9 * ROWS_A_SECOND
TASK = """
import sys, time
from pathlib import Path
import wandb
from flytekitplugins.wbmon import current_run, wandb_init
from support.faulty_files import register

url, store, control = sys.argv[1:]
register(Path(control))

@wandb_init(project="p", entity="ops", id="r", api_host=url, offline_store=store,
            secret=lambda: "loopback" * 5)
def work():
    run = current_run()
    for row in range(10_000):
        run.log({"row": row})
        if row % 40 == 10:
            run.alert(f"alert {row}", "text", wait_duration=0.001)
        if row == 20:
            run.log({"table": wandb.Table(columns=["a"], data=[[1]])})
        Path("logged").write_text(str(row + 1))
        time.sleep(0.1)
work()
"""


@dataclass(frozen=True)
class Case:
    """What is wrong while the task is at work, each from a number of logged rows on.

    Attributes:
        server: What W&B suffers from: the kind of a fault, or an empty text for nothing.
        store: What the store suffers from; an empty text for nothing.
        alone: Whether only the task's process is killed, so that the one that delivers lives on.
    """

    server: Mapping[int, str]
    store: Mapping[int, str]
    alone: bool = False


CASES = {
    "W&B is healthy": Case({}, {}),
    "W&B is down": Case({0: "refuse"}, {}),
    "W&B hangs": Case({0: "hang"}, {}),
    "W&B comes back": Case({0: "refuse", 70: ""}, {}),
    "W&B goes away": Case({60: "refuse"}, {}),
    "W&B is away for a while": Case({50: "status", 90: ""}, {}),
    "the store is slow": Case({0: "refuse"}, {0: "slow"}),
    "the store comes back": Case({0: "refuse"}, {0: "fail", 60: ""}),
    "only the task is killed": Case({}, {}, alone=True),
    "only the task is killed, then W&B comes back": Case({0: "refuse"}, {}, alone=True),
}


@dataclass(frozen=True)
class Left:
    """What W&B has of a run whose container was killed, after the store was delivered.

    Attributes:
        n_logged: Number of rows that the task had logged.
        n_before: Number of rows that W&B had before the store was delivered.
        rows: The rows.
        alerts: Titles of the alerts.
        n_artifacts: Number of committed artifacts.
        state: State of the run.
        n_alive: Number of results of a delivery while the lease of the dead task was valid.
        synced: Results of the delivery.
        n_stored: Number of runs that are still stored.
    """

    n_logged: int
    n_before: int
    rows: list[dict[str, object]]
    alerts: list[str]
    n_artifacts: int
    state: str
    n_alive: int
    synced: tuple[SyncedRun, ...]
    n_stored: int


def kill(case: Case, folder: Path, seed: int) -> Left:
    """Run the task of a case, kill its container, and deliver what the store has."""
    work, store, control = folder / "work", folder / "store", folder / "control"
    work.mkdir(parents=True)
    logged = work / "logged"
    n_last = int(np.random.default_rng(seed).integers(110, 150))

    def n_logged() -> int:
        return int((logged.read_text() if logged.exists() else "") or 0)

    with WandbServer() as server, (folder / "log.txt").open("w") as log:
        url = server.url
        env = clean_environment(home=folder / "home")
        env["PYTHONPATH"] += f":{TESTS}"
        argv = [sys.executable, "-c", TASK, url, f"faulty://{store}", str(control)]
        suffer(server, control, case, 0)
        start = start_alone if case.alone else start_as_container
        process = start(argv, cwd=work, env=env, log=log)
        try:
            for row in sorted({*case.server, *case.store, n_last} - {0}):
                wait_until(
                    lambda n=row: n_logged() >= n or process.poll() is not None, timeout_s=300
                )
                assert process.poll() is None, (folder / "log.txt").read_text()
                suffer(server, control, case, row)
        finally:
            (kill_alone if case.alone else kill_container)(process)
        server.fault = None
        if case.alone:  # the other process does what it still can
            wait_until(lambda: not workers(work))
        n_before = len(server.runs[0].history) if server.runs else 0
        settings = {"api_host": url, "key": ApiKey(KEY), "timeout_s": 60.0}
        alive = sync_store(OfflineStore(str(store)), **settings)
        for lease in store.rglob(LEASE):
            lease.unlink()  # its time is over
        synced = sync_store(OfflineStore(str(store)), **settings)
        run = server.runs[0]
        return Left(
            n_logged=n_logged(),
            n_before=n_before,
            rows=run.history,
            alerts=[alert.title for alert in server.alerts],
            n_artifacts=sum(each.state == "COMMITTED" for each in server.artifacts),
            state=run.state,
            n_alive=len(alive),
            synced=synced,
            n_stored=len(find_runs(OfflineStore(str(store)))),
        )


def start_alone(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: IO[str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(argv, cwd=cwd, env=dict(env), stdout=log, stderr=log, text=True)


def kill_alone(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(60)


def workers(folder: Path) -> list[str]:
    """The processes that deliver, of the task that works in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_text()
            if WORKER in command and (process / "cwd").readlink() == folder:
                found.append(command)
    return found


def suffer(server: WandbServer, control: Path, case: Case, row: int) -> None:
    if row in case.server:
        server.fault = Fault(case.server[row]) if case.server[row] else None
    if row in case.store:
        control.write_text(case.store[row])


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Left]]]:
    with ThreadPoolExecutor(5) as pool:
        yield {
            name: pool.submit(kill, case, tmp_path_factory.mktemp("kill"), seed)
            for seed, (name, case) in enumerate(CASES.items())
        }


@pytest.mark.parametrize("name", CASES)
def test_all_but_the_last_seconds_of_a_killed_container_reach_wandb_once(
    left: Mapping[str, Future[Left]], name: str
) -> None:
    found = left[name].result()
    # one row more than the task counts holds the table
    numbers = [row["row"] for row in found.rows if "row" in row]
    assert numbers == list(range(len(numbers)))
    assert len(found.rows) == len(numbers) + 1
    # a slow store has the rows first, and files of artifacts when it comes to them
    is_slow = "slow" in CASES[name].store.values()
    most_lost = MOST_LOST + is_slow * 3 * SLOW_S * ROWS_A_SECOND
    assert found.n_logged - most_lost <= len(numbers) <= found.n_logged + 1
    # an alert may be there before its row, or the last row before its alert
    assert found.alerts == [f"alert {row}" for row in range(10, 400, 40)][: len(found.alerts)]
    assert len(found.alerts) >= len(range(10, len(numbers) - 1, 40))
    assert found.n_artifacts == 1 or is_slow
    assert found.state == "failed"
    assert [run.is_delivered for run in found.synced] == [True], found.synced
    assert (found.n_alive, found.n_stored) == (0, 0)
