"""What is left of a run when its pod is ended by SIGTERM or at once, or its disk is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.run.spooled import WORKER
from support.container_kill import as_container, kill_container
from support.environment import clean_environment
from support.propeller import (
    Container,
    Package,
    Store,
    load_package,
    package,
    prepare_pod,
    to_literals,
)
from support.waiting import wait_until
from support.wandb_log import find_run
from support.wandb_server import KEY, WandbServer

pytestmark = [pytest.mark.flyte, pytest.mark.slow]
PROJECT = Path(__file__).parent / "project"
SECRETS = {"wandb/api_key": "f" * 40}
# an eager task makes a client of it, and calls nobody before it awaits a task
PLATFORM = {"FLYTE_PLATFORM_URL": "127.0.0.1:9", "FLYTE_PLATFORM_INSECURE": "true"}


@pytest.fixture(scope="module")
def tasks() -> Package:
    return load_package(package(PROJECT, ["long"]))


def pod(tasks: Package, store: Store, disk: Path, task: str, **env: str) -> Container:
    return prepare_pod(
        tasks.tasks[f"long.{task}"],
        to_literals({"seconds": 60.0}),
        project=PROJECT,
        store=store,
        disk=disk,
        secrets=SECRETS,
        env={**PLATFORM, **env},
    )


def wait_for_rows(container: Container, process: subprocess.Popen[str], n: int) -> None:
    sign = container.disk / "code" / "logged"

    def logged() -> bool:
        assert process.poll() is None, (container.disk / "log.txt").read_text()
        return sign.exists() and int(sign.read_text() or 0) >= n

    wait_until(logged)


def wait_until_written(container: Container, process: subprocess.Popen[str], n: int) -> None:
    """Until rows are on the disk that the task has only logged: it has 60 s of work left."""
    wait_for_rows(container, process, n)
    wait_until(lambda: len(find_run(container.disk, settle_s=0).column("row")) >= n)


def n_logged(container: Container) -> int:
    return int((container.disk / "code" / "logged").read_text())


@pytest.mark.parametrize("task", ["work", "work_async", "work_eager"])
def test_a_pod_that_is_told_to_stop_ends_its_run_and_stores_it(
    tasks: Package, local_store: Store, tmp_path: Path, task: str
) -> None:
    store = (tmp_path / "store").as_uri()
    container = pod(tasks, local_store, tmp_path / "pod", task, OFFLINE_STORE=store)
    process = container.start()
    wait_for_rows(container, process, 5)
    n = n_logged(container)
    process.send_signal(signal.SIGTERM)
    ended = container.collect(process)
    assert not ended.succeeded
    run = find_run(container.disk)
    assert run.exit_code == 143
    assert run.summary["error_type"] == "TerminatedError"
    assert len(run.column("row")) >= n - 1
    (kept,) = find_runs(OfflineStore(store))
    assert kept.run.exit_code == 143
    assert kept.run.n_rows >= n - 1


def test_a_pod_that_saves_its_work_when_it_is_told_to_stop_has_finished(
    tasks: Package, local_store: Store, tmp_path: Path
) -> None:
    store = (tmp_path / "store").as_uri()
    container = pod(tasks, local_store, tmp_path / "pod", "work_until_told", OFFLINE_STORE=store)
    process = container.start()
    wait_for_rows(container, process, 5)
    process.send_signal(signal.SIGTERM)
    assert container.collect(process).succeeded
    (kept,) = find_runs(OfflineStore(store))
    assert (kept.run.exit_code, kept.run.n_rows) == (0, n_logged(container))
    assert find_run(container.disk).summary["saved"] == n_logged(container)


def served_rows(server: WandbServer) -> int:
    return len(server.runs[0].column("row")) if server.runs else 0


def test_the_process_apart_delivers_what_a_killed_task_left(
    tasks: Package, local_store: Store, tmp_path: Path, server: WandbServer
) -> None:
    container = pod(tasks, local_store, tmp_path, "work", API_HOST=server.url)
    process = container.start()
    wait_until_written(container, process, 5)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: bool(server.runs) and server.runs[0].state == "failed")
    container.collect(process)
    assert server.runs[0].column("row") == find_run(container.disk).column("row")


def test_what_was_written_and_streamed_survives_the_death_of_task_and_worker(
    tasks: Package, local_store: Store, tmp_path: Path, server: WandbServer
) -> None:
    container = pod(tasks, local_store, tmp_path, "work", API_HOST=server.url)
    process = container.start()
    wait_until_written(container, process, 5)
    wait_until(lambda: served_rows(server) >= 5)
    for child in children_of(process.pid):
        if WORKER in Path(f"/proc/{child}/cmdline").read_text():
            os.killpg(child, signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    container.collect(process)
    run = find_run(container.disk)
    assert not run.finished
    for rows in (run.column("row"), server.runs[0].column("row")):
        assert rows == list(range(len(rows)))
        assert len(rows) >= 5


def test_a_killed_container_leaves_its_rows_below_the_raw_output(
    tasks: Package, local_store: Store, tmp_path: Path, server: WandbServer
) -> None:
    server.stop()
    container = pod(tasks, local_store, tmp_path / "pod", "work", API_HOST=server.url)
    process = container.start(within=as_container())
    raw = OfflineStore(local_store.url("raw"))
    try:
        wait_until(lambda: any(found.run.n_rows >= 5 for found in find_runs(raw)))
    finally:
        kill_container(process)
    container.collect(process)
    (kept,) = find_runs(raw)
    next(Path(raw.url).rglob(LEASE)).unlink()  # its time is over
    server.start()
    (synced,) = sync_store(raw, api_host=server.url, key=ApiKey(KEY))
    assert synced.reason == ""
    (run,) = server.runs
    assert run.column("row") == list(range(len(run.history)))
    assert (len(run.history), run.state) == (kept.run.n_rows, "failed")
    assert find_runs(raw) == []


def children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


BODY = """
import os, sys, time
os.chdir(sys.argv[1])
from flytekitplugins.wbmon import current_run, wandb_init

@wandb_init(project="p", entity="e", mode="offline")
def work():
    for row in range(6000):
        current_run().log({"row": row, "text": "x" * 100})
    return 7

assert work() == 7
print("the task's result stands")
"""


@pytest.mark.parametrize("options", ["size=256k", "ro"], ids=["full disk", "read-only folder"])
def test_a_disk_that_cannot_be_written_changes_nothing_for_the_task(
    tmp_path: Path, options: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    home = tmp_path / "home"
    script = tmp_path / "body.py"
    script.write_text(BODY)
    done = run_with_mount(script, disk, options, cwd=disk, env=clean_environment(home=home))
    assert "the task's result stands" in done.stdout, done.stderr


def test_a_temporary_folder_that_is_too_small_costs_no_row(tmp_path: Path) -> None:
    small, work = tmp_path / "small", tmp_path / "here"
    small.mkdir()
    work.mkdir()
    script = tmp_path / "body.py"
    script.write_text(BODY)
    env = {**clean_environment(home=tmp_path / "home"), "TMPDIR": str(small)}
    done = run_with_mount(script, small, "size=64k", cwd=work, env=env)
    assert "the task's result stands" in done.stdout, done.stderr
    run = find_run(work)
    assert len(run.column("row")) == 6000
    assert run.exit_code == 0


def run_with_mount(
    script: Path, disk: Path, options: str, *, cwd: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a script in `cwd`, with a small or read-only disk that only it sees."""
    mounted = f"mount -t tmpfs -o {options} tmpfs {disk} && exec {sys.executable} {script} {cwd}"
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", "--map-root-user", "sh", "-c", mounted],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("this machine does not let a test mount a disk")
    return done
