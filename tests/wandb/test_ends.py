"""Ends of a tracked body other than its return, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.store import OfflineStore
from support.child import run_python
from support.wandb_log import find_run
from support.wandb_server import KEY, WandbServer

# a tracked function with BODY as its body, and what it returned as the last line
TASK = """
    import json, multiprocessing, os, signal, sys, threading, time
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path
    import wandb
    from flytekitplugins.wbmon import current_run, wandb_init
    from flytekitplugins.wbmon.run import service, spooled

    spooled.FINISH_TIMEOUT_S = 2.0
    service._TICK_S = 0.2
    fork = multiprocessing.get_context("fork")

    def signal_service(number):
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            if "(wandb-core)" in text and int(text.rpartition(")")[2].split()[1]) == os.getpid():
                os.kill(int(stat.parent.name), number)

    def wait_until_written(run):
        # longer than the time that wandb keeps rows in memory
        time.sleep(1.5)

    @wandb_init(
        project="p", entity="ops", id="r1", secret=lambda: KEY, api_host=URL,
        delivery_timeout_s=20 if URL.rpartition(":")[2] != "9" else 0.5,
        offline_store=str(Path("store").resolve()),
    )
    def work():
        run = current_run()
        run.log({"row": 0})
        BODY

    result = work()
    print(json.dumps(result), flush=True)
"""
NOWHERE = "http://127.0.0.1:9"


def run_task(body: str, home: Path, url: str = NOWHERE) -> subprocess.CompletedProcess[str]:
    code = TASK.replace("BODY", body.strip("\n").lstrip())
    return run_python(code.replace("KEY", repr(KEY)).replace("URL", repr(url)), home=home)


def last_line(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "fork",
    [
        """
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        os.waitpid(pid, 0)
        """,
        """
        pid = os.fork()
        if pid == 0:
            run.log({"row": 1})
            raise KeyError("in the child")
        os.waitpid(pid, 0)
        """,
    ],
    ids=["exits", "logs and fails"],
)
def test_a_forked_child_that_leaves_the_block_does_not_end_the_run(
    fork: str, server: WandbServer, tmp_path: Path
) -> None:
    done = run_task(
        f"{fork}\n        run.log({{'row': 2}})\n        return 'done'", tmp_path, server.url
    )
    assert last_line(done) == "done"
    run = server.run("p", "r1")
    assert run.state == "finished"
    assert [row for row in run.column("row") if row is not None][-1] == 2
    assert "error_type" not in run.summary
    assert len(server.runs) == 1


def test_pools_and_threads_of_a_task_log_to_its_run(server: WandbServer, tmp_path: Path) -> None:
    body = """
        with ProcessPoolExecutor(2, mp_context=fork) as pool:
            list(pool.map(run.log, [{"row": n} for n in (1, 2, 3)]))
        child = fork.Process(target=run.log, args=({"row": 4},))
        child.start()
        child.join()
        threads = [threading.Thread(target=run.log, args=({"row": n},)) for n in (5, 6)]
        for thread in threads:
            thread.start()
            thread.join()
        return child.exitcode
    """
    assert last_line(run_task(body, tmp_path, server.url)) == 0
    assert sorted(server.run("p", "r1").column("row")) == list(range(7))
    assert server.run("p", "r1").state == "finished"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("signal_service(signal.SIGKILL)", "wandb could not finish the run"),
        ("signal_service(signal.SIGSTOP)", "wandb did not finish the run in 2 s"),
        (
            "signal_service(signal.SIGSTOP); [run.log({'row': 1}) for _ in range(9999)]",
            "wandb's service has taken nothing for",
        ),
        ("wandb.teardown()", "wandb could not finish the run"),
    ],
    ids=["killed", "stopped", "stopped while the task logs", "torn down"],
)
def test_what_is_on_disk_is_stored_if_wandbs_service_ends_before_the_task(
    end: str, said: str, tmp_path: Path
) -> None:
    body = f"""
        wait_until_written(run)
        {end}
        run.log({{"row": 1}})
        return "done"
    """
    done = run_task(body, tmp_path)
    assert last_line(done) == "done"
    assert said in done.stderr
    assert "what was logged last may be lost" in done.stderr
    (kept,) = find_runs(OfflineStore(str(tmp_path / "store")))
    assert (kept.run.n_rows, kept.run.exit_code) == (1, 0)


def test_the_outcome_of_a_task_is_delivered_although_wandbs_service_was_killed(
    server: WandbServer, tmp_path: Path
) -> None:
    body = """
        wait_until_written(run)
        signal_service(signal.SIGKILL)
        raise ZeroDivisionError("by the task")
    """
    done = run_task(body, tmp_path, server.url)
    assert "ZeroDivisionError" in done.stderr
    run = server.run("p", "r1")
    assert run.column("row") == [0]
    assert (run.state, run.exit_code) == ("failed", 1)
    assert run.summary["error_type"] == "ZeroDivisionError"
    assert run.summary["error_message"] == "by the task"


@pytest.mark.parametrize("end", ["wandb.finish()", "run.finish(exit_code=1)"])
def test_the_outcome_is_the_tasks_own_although_its_body_has_ended_the_run(
    end: str, server: WandbServer, tmp_path: Path
) -> None:
    body = f"""
        {end}
        # the process that delivers sees the end of the log meanwhile
        time.sleep(1)
        raise ZeroDivisionError("by the task")
    """
    run_task(body, tmp_path, server.url)
    run = server.run("p", "r1")
    assert run.column("row") == [0]
    assert (run.state, run.exit_code) == ("failed", 1)
    assert run.summary["error_type"] == "ZeroDivisionError"


def test_a_run_is_stored_with_the_outcome_of_its_task_and_not_that_of_its_body(
    tmp_path: Path,
) -> None:
    assert last_line(run_task("run.finish(exit_code=3); return 1", tmp_path)) == 1
    (kept,) = find_runs(OfflineStore(str(tmp_path / "store")))
    assert (kept.run.n_rows, kept.run.exit_code) == (1, 0)


def test_another_time_zone_does_not_lose_the_runs_folder(
    server: WandbServer, tmp_path: Path
) -> None:
    body = """
        os.environ["TZ"] = "Asia/Tokyo" if time.timezone != -32400 else "UTC"
        time.tzset()
        return "done"
    """
    assert last_line(run_task(body, tmp_path, server.url)) == "done"
    assert server.run("p", "r1").state == "finished"


def test_the_next_task_of_the_process_has_a_service_of_its_own(tmp_path: Path) -> None:
    body = """
        if "again" not in sys.argv:
            sys.argv.append("again")
            signal_service(signal.SIGKILL)
            return None
        return "done"

    work()
    """
    assert last_line(run_task(body, tmp_path)) == "done"


def test_a_second_sigterm_during_the_end_does_not_keep_the_run_from_the_store(
    tmp_path: Path,
) -> None:
    body = """
        def again():
            for _ in range(20):
                time.sleep(0.1)
                os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=again, daemon=True).start()
        time.sleep(60)
    """
    done = run_task(body, tmp_path)
    assert done.returncode == 143, done.stderr
    (kept,) = find_runs(OfflineStore(str(tmp_path / "store")))
    assert (kept.run.n_rows, kept.run.exit_code) == (1, 143)


def test_a_storm_of_ctrl_c_does_not_keep_the_run_from_the_store(tmp_path: Path) -> None:
    body = """
        def again():
            for _ in range(40):
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=again, daemon=True).start()
        time.sleep(60)
    """
    done = run_task(body, tmp_path)
    assert "KeyboardInterrupt" in done.stderr
    (kept,) = find_runs(OfflineStore(str(tmp_path / "store")))
    assert (kept.run.n_rows, kept.run.exit_code) == (1, 130)


def test_a_task_that_has_closed_its_standard_error_has_its_result_and_a_stored_run(
    tmp_path: Path,
) -> None:
    body = """
        sys.stderr.close()
        wandb.teardown()
        run.log({"row": 1})
        return "done"
    """
    assert last_line(run_task(body, tmp_path)) == "done"
    assert len(find_runs(OfflineStore(str(tmp_path / "store")))) == 1


def test_a_working_folder_that_was_deleted_costs_no_run(
    server: WandbServer, tmp_path: Path
) -> None:
    body = """
        return run.disabled

    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    """
    assert last_line(run_task(body, tmp_path, server.url)) is False
    assert server.run("p", "r1").column("row") == [0]


def test_a_thread_that_is_still_in_its_block_at_the_exit_of_the_process_fails_its_run(
    tmp_path: Path,
) -> None:
    body = """
        Path("begun").touch()
        time.sleep(60)

    threading.Thread(target=work, daemon=True).start()
    while not Path("begun").exists():
        time.sleep(0.1)
    sys.exit(0)
    """
    run_task(body, tmp_path)
    run = find_run(tmp_path / "wandb")
    assert run.exit_code == 1
    assert run.summary["error_message"] == "the process ended before the task"
