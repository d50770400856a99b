"""What a task's calls of its run do when wandb's service is not there, in real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import wandb
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.child import result_of
from support.wandb_log import find_run

SETTINGS = RunSettings(
    project="payments", entity="ops", api_host="http://127.0.0.1:9", delivery_timeout_s=0.2
)
# a tracked function whose body is put in the place of BODY; `errors` is what it raised
TASK = """
    import json, os, signal, sys
    from pathlib import Path
    import wandb
    from flytekitplugins.wbmon.run.lifecycle import open_run
    from flytekitplugins.wbmon.run.settings import RunSettings

    def kill_service():
        # a process has its parent's id as the second number behind its name
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = (stat.parent / "cmdline").read_text()
            except OSError:
                continue
            if parent == os.getpid() and "wandb-core" in command:
                os.kill(int(stat.parent.name), signal.SIGKILL)

    def call_all(run, but=()):
        failed = []
        table = wandb.Table(columns=["a"], data=[[1]])
        artifact = wandb.Artifact("report", "report")
        with artifact.new_file("a.txt") as file:
            file.write("a")
        calls = {
            "log": lambda: run.log({"a": 1}),
            "global": lambda: wandb.log({"a": 1}),
            "step": lambda: run.log({"a": 1}, step=50),
            "table": lambda: run.log({"table": table}),
            "alert": lambda: run.alert("title", "text"),
            "summary": lambda: run.summary.update({"best": 1}),
            "config": lambda: run.config.update({"depth": 3}),
            "metric": lambda: run.define_metric("a"),
            "artifact": lambda: run.log_artifact(artifact),
        }
        for name, call in calls.items():
            if name in but:
                continue
            try:
                for _ in range(3):
                    call()
            except Exception as error:
                failed.append(f"{name}: {error!r}")
        return failed

    settings = RunSettings(
        project="p", entity="ops", api_host="http://127.0.0.1:9", delivery_timeout_s=1
    )
    result = {}
    try:
        with open_run(settings) as run:
            run.log({"row": 0})
            BODY
    finally:
        print(json.dumps(result), flush=True)
"""


def result_with(body: str, home: Path) -> Any:
    return result_of(TASK.replace("BODY", body.strip()), home=home)


@pytest.mark.parametrize("end", ["kill_service()", "wandb.teardown()"])
def test_no_call_of_a_run_raises_when_wandbs_service_is_gone(end: str, tmp_path: Path) -> None:
    body = f"""
            {end}
            result["failed"] = call_all(run)
    """
    assert result_with(body, tmp_path) == {"failed": []}


@pytest.mark.parametrize("has_service", [True, False])
def test_a_forked_child_writes_to_the_run_and_without_wandbs_service_it_does_nothing(
    has_service: bool, tmp_path: Path
) -> None:
    body = f"""
            if not {has_service}:
                kill_service()
            pid = os.fork()
            if pid == 0:
                but = () if {has_service} else ("config", "summary")
                Path("said.json").write_text(json.dumps(call_all(run, but)))
                os._exit(0)
            os.waitpid(pid, 0)
            result["failed"] = json.loads(Path("said.json").read_text())
    """
    assert result_with(body, tmp_path) == {"failed": []}
    assert find_run(tmp_path).column("a") == ([1] * 7 if has_service else [])


def test_a_pool_of_processes_may_be_given_the_method_itself(tmp_path: Path) -> None:
    body = """
            from concurrent.futures import ProcessPoolExecutor
            with ProcessPoolExecutor(2) as pool:
                list(pool.map(run.log, [{"a": n} for n in range(6)]))
    """
    result_with(body, tmp_path)
    assert sorted(find_run(tmp_path).column("a")) == list(range(6))


def test_what_is_wrong_with_an_argument_is_raised_as_wandb_does(folder: Path) -> None:
    with open_run(SETTINGS) as run:
        with pytest.raises(TypeError, match="must be passed a dictionary"):
            run.log([1])
        with pytest.raises(TypeError, match="must be strings"):
            wandb.log({1: 1})
        with pytest.raises(ValueError, match="level must be one of"):
            run.alert("title", "text", level="SHOUT")
        with pytest.raises(wandb.Error, match="non-empty name"):
            run.define_metric("")
        run.log({"a": 1})
    assert find_run(folder).column("a") == [1]


def test_a_row_after_the_runs_end_is_ignored_with_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_run(SETTINGS) as run:
        run.log({"a": 1})
    run.log({"a": 2})
    run.log({"a": 3})
    assert sum("run.log failed and is ignored" in one for one in caplog.messages) == 1
    assert find_run(folder).column("a") == [1]


def test_the_runs_folder_tells_from_which_step_on_steps_are_the_tasks_own(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_run(SETTINGS) as run:
        where = Path(run.settings.sync_dir)
        run.log({"a": 0})
        assert not (where / "steps.jsonl").exists()
        run.log({"a": 1}, step=10)
        run.log({"b": 1})  # a part of row 10
        run.log({"a": 2}, step=9)  # dropped by wandb
        run.log({"a": 2}, step=8)
        run.log({"a": 3})
        run.log({"a": 4})
        run.log({"a": 5}, 20, True)
        run.log({"a": 6}, step=21, commit=False)
        run.log({"b": 6}, commit=False)
        run.log({"c": 6})
        run.log({"a": 7})
    assert sum("its step 9 is lower" in one for one in caplog.messages) == 1
    lines = (where / "steps.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        [10, True],
        [11, False],
        [20, True],
        [22, False],
    ]
    assert [row["_step"] for row in find_run(folder).history] == [0, 10, 11, 12, 20, 21, 22]
