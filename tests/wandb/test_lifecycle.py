"""Real offline runs, read back."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flytekit import FlyteContextManager
from flytekit.core.base_task import IgnoreOutputs

import wandb
from flytekitplugins.wbmon.flyte.termination import TerminatedError
from flytekitplugins.wbmon.run import wandb_client as client
from flytekitplugins.wbmon.run.lifecycle import current_run, open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.in_process import pod_context
from support.place import EXECUTION, Place
from support.wandb_log import find_run, find_runs, read_run

KEY = "planted0123456789abcdef0123456789abcdef0"
# nobody answers there, and nobody waits for it
NOWHERE = {"api_host": "http://127.0.0.1:9", "delivery_timeout_s": 0.2}


def settings(**changes: Any) -> RunSettings:
    return RunSettings(**{"project": "payments", "entity": "ops", **NOWHERE, **changes})


SETTINGS = settings()


def test_what_is_logged_is_in_the_run_and_the_run_is_finished(folder: Path) -> None:
    with open_run(SETTINGS, task="wf.train") as run:
        assert run is current_run() is wandb.run
        run.log({"loss": 0.5})
        wandb.log({"loss": 0.25})
    logged = find_run(folder)
    assert logged.column("loss") == [0.5, 0.25]
    assert logged.exit_code == 0
    assert (logged.project, logged.entity, logged.job_type) == ("payments", "ops", "train")
    assert logged.config["flyte"] == {"is_local": True, "task": "wf.train"}
    assert current_run() is None


def test_in_a_pod_the_run_says_where_it_comes_from(folder: Path) -> None:
    own = settings(init={"notes": "mine", "tags": ["nightly"], "config": {"depth": 3}})
    with pod_context(folder, place=Place(node="n2", attempt=1), task="wf.train") as context:
        with open_run(own, task="wf.train") as run:
            where = Path(run.settings.sync_dir)
        decks = {deck.name: deck.html for deck in context.user_space_params.decks}
    logged = read_run(where)
    assert logged.id == f"{EXECUTION}-n2-1"
    assert logged.group == EXECUTION
    link, own_notes = logged.notes.splitlines()
    assert link.startswith("[Execution URL](http")
    assert own_notes == "mine"
    assert logged.tags == ["nightly"]
    assert logged.config["depth"] == 3
    assert logged.config["flyte"]["node"] == "n2"
    assert f"http://127.0.0.1:9/ops/payments/runs/{logged.id}" in decks["W&B run"]
    assert folder not in where.parents


def test_own_group_and_job_type_win(folder: Path) -> None:
    own = settings(init={"group": "sweep", "job_type": "fit", "name": "the run"})
    with pod_context(folder), open_run(own, task="wf.train") as run:
        where = Path(run.settings.sync_dir)
    logged = read_run(where)
    assert (logged.group, logged.job_type, logged.name) == ("sweep", "fit", "the run")


def test_a_failed_body_is_a_failed_run_and_its_error_is_noted_without_secrets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.raises(RuntimeError, match=KEY), open_run(SETTINGS):
        raise RuntimeError(f"cannot use {KEY}")
    logged = find_run(folder)
    assert logged.exit_code == 1
    assert logged.summary["error_type"] == "RuntimeError"
    assert logged.summary["error_message"] == "cannot use [SECRET]"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (SystemExit(0), 1),
        (SystemExit(None), 1),
        (SystemExit(3), 3),
        (SystemExit(256), 1),
        (SystemExit("text"), 1),
        (IgnoreOutputs(), 0),
        (KeyboardInterrupt(), 130),
        (TerminatedError(), 143),
        (asyncio.CancelledError(), 1),
    ],
    ids=repr,
)
def test_the_exit_code_follows_the_way_the_body_was_left(
    folder: Path, error: BaseException, exit_code: int
) -> None:
    with pytest.raises(type(error)), open_run(SETTINGS):
        raise error
    logged = find_run(folder)
    assert logged.exit_code == exit_code
    assert ("error_type" in logged.summary) == bool(exit_code)


def test_the_next_run_after_a_failure_is_its_own(folder: Path) -> None:
    with pytest.raises(RuntimeError), open_run(SETTINGS):
        raise RuntimeError
    with open_run(SETTINGS) as run:
        run.log({"second": 1})
    first, second = find_runs(folder)
    assert first.id != second.id
    assert (first.column("second"), second.column("second")) == ([], [1])


def test_an_inner_block_of_the_same_task_uses_the_outer_run(folder: Path) -> None:
    with open_run(SETTINGS) as outer:
        with open_run(settings(project="other")) as inner:
            assert inner is outer
        outer.log({"after": 1})
        assert wandb.run is outer
    assert find_run(folder).column("after") == [1]


def test_another_task_in_the_process_gets_its_own_run_and_wandb_log_follows(folder: Path) -> None:
    with open_run(SETTINGS) as outer:
        wandb.log({"who": "outer"})
        with pod_context(folder.parent / "pod"), open_run(SETTINGS) as inner:
            assert current_run() is inner is not outer
            wandb.log({"who": "inner"})
            where = Path(inner.settings.sync_dir)
        assert current_run() is wandb.run is outer
        wandb.log({"who": "outer again"})
    assert read_run(where).column("who") == ["inner"]
    assert find_run(folder).column("who") == ["outer", "outer again"]


def test_threads_get_separate_runs(folder: Path) -> None:
    together = threading.Barrier(3)

    def work(number: int) -> None:
        FlyteContextManager.initialize()
        with open_run(SETTINGS, task=f"wf.task{number}") as run:
            together.wait()
            run.log({"number": number})
            current_run().log({"number": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logged = {run.job_type: run.column("number") for run in find_runs(folder)}
    assert logged == {f"task{number}": [number] * 2 for number in range(3)}


def test_gathered_coroutines_get_separate_runs(folder: Path) -> None:
    async def work(number: int) -> None:
        with open_run(SETTINGS, task=f"wf.task{number}"):
            await asyncio.sleep(0)
            current_run().log({"number": number})
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*map(work, range(3)))

    asyncio.run(main())
    logged = {run.job_type: run.column("number") for run in find_runs(folder)}
    assert logged == {f"task{number}": [number] for number in range(3)}


@pytest.mark.parametrize("fails", [False, True])
def test_threads_of_one_pod_share_its_run(folder: Path, fails: bool) -> None:
    with pod_context(folder), open_run(SETTINGS) as outer:
        where = Path(outer.settings.sync_dir)
        assert _enter_in_thread(fails) == [outer]
        outer.log({"after": 1})
    logged = read_run(where)
    assert logged.column("after") == [1]
    assert logged.exit_code == int(fails)


def _enter_in_thread(fails: bool) -> list[Any]:
    import contextvars

    seen: list[Any] = []
    flyte_only = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if variable.name != "wbmon_run":
            flyte_only.run(variable.set, value)

    def work() -> None:
        with suppress(ZeroDivisionError), open_run(SETTINGS) as run:
            seen.append(run)
            1 / (not fails)

    thread = threading.Thread(target=flyte_only.run, args=(work,))
    thread.start()
    thread.join()
    return seen


@pytest.mark.parametrize("off", [{"enabled": False}, {"init": {"mode": "disabled"}}])
def test_a_run_that_is_switched_off_needs_no_secret_and_writes_nothing(
    folder: Path, off: dict[str, Any]
) -> None:
    with pod_context(folder.parent / "pod"), open_run(settings(secret=lambda: 1 / 0, **off)) as run:
        assert current_run() is run
        run.log({"loss": 1})
        wandb.log({"loss": 1})
        run.config["x"] = 1
        run.summary["y"] = 2
    assert find_runs(folder) == []


def test_wandb_mode_is_respected_without_a_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pod_context(folder), open_run(settings(secret=lambda: 1 / 0)) as run:
        assert run.disabled
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pod_context(folder), open_run(settings(secret=lambda: 1 / 0)) as run:
        where = Path(run.settings.sync_dir)
    assert read_run(where).finished


def test_only_the_first_rank_has_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with open_run(SETTINGS) as run:
            run.log({"rank": int(rank)})
    assert find_run(folder).column("rank") == [0]


def test_every_rank_may_have_a_run_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with open_run(settings(rank_scope="all", id="{task}"), task="wf.fit") as run:
            run.log({"rank": int(rank)})
    runs = find_runs(folder)
    assert [run.id for run in runs] == ["fit-r0", "fit-r1"]
    assert [run.config["flyte"]["rank"] for run in runs] == [0, 1]


def test_a_failure_inside_wandb_leaves_the_task_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Any) -> Any:
        raise OSError(f"no space left for {KEY}")

    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(client, "start_offline_run", broken)
    with open_run(SETTINGS) as run:
        run.log({"loss": 1})
        wandb.log({"loss": 1})
        assert run.disabled
    assert "could not open the run" in caplog.text
    assert KEY not in caplog.text
    assert find_runs(folder) == []


def test_a_wandb_that_cannot_even_be_silent_gives_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise ImportError("no wandb here")

    monkeypatch.setattr(client, "start_offline_run", broken)
    monkeypatch.setattr(client, "start_silent_run", broken)
    with open_run(SETTINGS) as run:
        assert run is current_run() is None
    with pytest.raises(ZeroDivisionError), open_run(SETTINGS):
        raise ZeroDivisionError
    assert "wandb cannot be used" in caplog.text


def test_a_silent_run_leaves_the_outer_run_in_its_place(folder: Path) -> None:
    with open_run(SETTINGS) as outer:
        with pod_context(folder.parent / "pod"), open_run(settings(enabled=False)) as inner:
            assert wandb.run is inner
        assert wandb.run is outer
        outer.log({"after": 1})
    assert find_run(folder).column("after") == [1]


def test_a_finish_or_summary_that_fails_leaves_the_task_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("disk full")

    with pytest.raises(ZeroDivisionError), open_run(SETTINGS) as run:  # noqa: PT012 - breaks inside
        monkeypatch.setattr(wandb.Run, "finish", broken)
        monkeypatch.setattr(type(run.summary), "update", broken)
        raise ZeroDivisionError
    assert find_run(folder).exit_code == 1
    assert "could not finish the run" in caplog.text
    assert "could not note the task's error" in caplog.text


def test_a_run_that_the_user_finished_early_is_no_problem(folder: Path) -> None:
    with open_run(SETTINGS):
        wandb.log({"loss": 1})
        wandb.finish()
    assert find_run(folder).exit_code == 0


def test_a_task_that_deletes_wandb_run_has_its_run_and_so_has_the_next(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(2):
        with open_run(settings(id=f"r{n}")) as run:
            run.log({"n": n})
            del wandb.run
        assert "could not finish" not in caplog.text
        assert wandb.run is None
    del wandb.run
    with open_run(SETTINGS) as run:
        assert wandb.run is run
    assert [run.exit_code for run in find_runs(folder)] == [0, 0, 0]
    assert not any("not_recorded" in run.summary for run in find_runs(folder))


def test_a_run_of_the_users_own_stays_what_wandb_log_means(folder: Path) -> None:
    own = wandb.init(
        mode="offline", project="mine", dir=folder, settings=wandb.Settings(silent=True)
    )
    with open_run(SETTINGS) as run:
        assert wandb.run is own
        run.log({"where": "ours"})
        wandb.log({"where": "theirs"})
    own.finish()
    logged = {run.project: run.column("where") for run in find_runs(folder)}
    assert logged == {"mine": ["theirs"], "payments": ["ours"]}


def test_one_id_for_all_shards_is_warned_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pod_context(folder, place=Place(shard=1)), open_run(settings(id="fixed")):
        pass
    assert "'fixed-{shard}'" in caplog.text


def test_paths_are_those_of_the_working_directory_in_which_the_task_began(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder)
    with open_run(settings(init={"mode": "offline", "dir": "runs"}, offline_store="store")) as run:
        monkeypatch.chdir(folder / "elsewhere")
        run.log({"a": 1})
    assert find_run(folder / "runs").column("a") == [1]
    assert len(list((folder / "store").rglob("manifest.json"))) == 1


def test_dir_may_be_a_folder_or_name_an_input(folder: Path) -> None:
    class Remote:
        def download(self) -> str:
            return str(folder / "downloaded")

    for given, inputs in (
        (str(folder / "given"), {}),
        ("where", {"where": str(folder / "input")}),
        ("where", {"where": Remote()}),
    ):
        with open_run(settings(init={"dir": given}), inputs=inputs):
            pass
    found = {run.path.relative_to(folder).parts[0] for run in find_runs(folder)}
    assert found == {"given", "input", "downloaded"}


def test_own_wandb_settings_win_over_ours() -> None:
    for own in ({"console": "wrap"}, wandb.Settings(console="wrap")):
        with open_run(settings(init={"settings": own})) as run:
            assert run.settings.console == "wrap"
            assert run.settings.x_transaction_log_flush_interval == client.FLUSH_EVERY_S


def test_secrets_in_the_config_are_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    config = {"db_password": "hunter2", "note": f"uses {KEY}", "depth": 3}
    with open_run(settings(init={"config": config})):
        pass
    logged = find_run(folder)
    assert (
        logged.user_config.items()
        >= {
            "db_password": "[SECRET]",
            "note": "uses [SECRET]",
            "depth": 3,
        }.items()
    )


def test_the_key_is_nowhere_on_disk_and_not_in_the_environment(tmp_path: Path) -> None:
    own = settings(secret=lambda: KEY)
    before = dict(os.environ)
    with open_run(own):
        assert dict(os.environ) == before
    with pytest.raises(RuntimeError), open_run(own):
        raise RuntimeError(KEY)
    assert dict(os.environ) == before
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
