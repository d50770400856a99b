"""What is left of a run when its pod is ended: by SIGTERM, and without warning."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.propeller import (
    Container,
    Package,
    Store,
    load_package,
    package,
    prepare_pod,
    to_literals,
)
from support.wandb_log import LoggedRun, find_run

pytestmark = [pytest.mark.flyte, pytest.mark.slow]
PROJECT = Path(__file__).parent / "project"
SECRETS = {"wandb/api_key": "f" * 40}


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
        env=env,
    )


def wait_for_rows(container: Container, process: subprocess.Popen[str], n: int) -> None:
    sign = container.disk / "code" / "logged"
    until = time.monotonic() + 60
    while not sign.exists() or int(sign.read_text() or 0) < n:
        assert process.poll() is None, (container.disk / "log.txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)


def n_logged(container: Container) -> int:
    return int((container.disk / "code" / "logged").read_text())


@pytest.mark.parametrize("task", ["work", "work_async"])
def test_a_pod_that_is_told_to_stop_ends_its_run(
    tasks: Package, local_store: Store, tmp_path: Path, task: str
) -> None:
    container = pod(tasks, local_store, tmp_path, task)
    process = container.start()
    wait_for_rows(container, process, 5)
    process.send_signal(signal.SIGTERM)
    ended = container.collect(process)
    run = find_run(container.disk)
    assert ended.exit_code == 143
    assert run.exit_code == 1
    assert len(run.column("row")) >= n_logged(container) - 1


def test_a_pod_that_is_killed_loses_at_most_a_second(
    tasks: Package, local_store: Store, tmp_path: Path
) -> None:
    container = pod(tasks, local_store, tmp_path, "work")
    process = container.start()
    wait_for_rows(container, process, 25)
    os.killpg(process.pid, signal.SIGKILL)
    container.collect(process)
    run: LoggedRun = find_run(container.disk)
    # ten rows a second, and one more for a slow machine
    assert n_logged(container) - len(run.column("row")) <= 20
    assert not run.finished
