"""Local Elastic tasks, as far as a process of theirs goes: kfpytorch and torch are not needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.environment import clean_environment
from support.wandb_server import WandbServer

pytestmark = pytest.mark.slow

# as `spawn_helper` of kfpytorch runs the body of a task in each process that torchrun starts
RANK = """
import sys
from flytekit.bin.entrypoint import setup_execution
from flytekitplugins.wbmon import current_run, wandb_init

@wandb_init(project="p", entity="ops", delivery_timeout_s=60)
def body():
    current_run().log({"x": 1})

body.__name__ = body.__qualname__ = sys.argv[1]
with setup_execution(raw_output_data_prefix="raw", checkpoint_path="", prev_checkpoint=""):
    body()
"""


def start(server: WandbServer, home: Path, task: str, rank: int) -> subprocess.Popen[bytes]:
    torchrun = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    env = {**clean_environment(home=home), **server.env, **torchrun}
    return subprocess.Popen([sys.executable, "-c", RANK, task], env=env, cwd=home)


def test_two_local_tasks_with_ranks_have_runs_of_their_own(tmp_path: Path) -> None:
    with WandbServer() as server:
        ranks = [
            start(server, tmp_path / f"{task}{rank}", task, rank)
            for task, rank in (("train_a", 0), ("train_a", 1), ("train_b", 0))
        ]
        assert [rank.wait(120) for rank in ranks] == [0, 0, 0]
        assert len({run.id for run in server.runs}) == 2
        assert [run.column("x") for run in server.runs] == [[1], [1]]
        assert {run.config["flyte"]["is_local"] for run in server.runs} == {True}
