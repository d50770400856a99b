"""Runs on a machine where little can be written: a full disk, a read-only root."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.pending_log import read_content
from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.log_calls import logged_by
from flytekitplugins.wbmon.run.settings import RunSettings
from support.child import run_python
from support.environment import clean_environment
from support.wandb_server import KEY, ServedRun, WandbServer

pytestmark = pytest.mark.slow
NOWHERE = "http://127.0.0.1:9"

TASK = """
import logging, os, resource, sys
logging.basicConfig(level=logging.INFO)
if {limit}:
    # Python leaves half a file of bytecode, at which later imports fail
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from flytekitplugins.wbmon import current_run, wandb_init

@wandb_init(project="p", entity="ops", id="x", secret=lambda: {key!r}, api_host={host!r},
            delivery_timeout_s={timeout_s}, offline_store={store!r})
def work():
    for row in range({n_rows}):
        current_run().log({{"row": row, "text": "x" * 100}})
    if {artifact}:
        import wandb
        current_run().log({{"table": wandb.Table(columns=["a"], data=[[1], [2]])}})
        made = wandb.Artifact("report", "report")
        with made.new_file("report.txt") as file:
            file.write("text")
        current_run().log_artifact(made)
    if {fails}:
        sys.exit(3)

work()
"""


def task(**changes: Any) -> str:
    given = {"limit": 0, "n_rows": 3000, "artifact": False, "fails": False, "key": KEY}
    return TASK.format(**{**given, "store": None, "timeout_s": 20, **changes})


def assert_lacks(run: ServedRun, n_logged: int) -> None:
    """It has the first rows, and says how many are missing."""
    rows = run.column("row")
    assert rows == list(range(len(rows)))
    assert 0 < len(rows) < n_logged
    assert run.summary["not_recorded"].startswith(f"{n_logged - len(rows)} of {n_logged} rows")


def test_a_log_that_reached_the_limit_of_a_file_is_delivered_and_not_called_whole(
    server: WandbServer, tmp_path: Path
) -> None:
    done = run_python(task(limit=65_536, host=server.url), home=tmp_path)
    assert "not delivered" not in done.stderr, done.stderr
    run = server.run("p", "x")
    assert_lacks(run, 3000)
    # the task succeeded, although its log has no end
    assert (run.state, run.exit_code) == ("finished", 0)
    assert "the run lacks something that was logged" in done.stderr
    assert "a file may have 65536 bytes here" in done.stderr
    assert "delivered to W&B:" not in done.stderr


def test_a_run_of_a_full_disk_is_stored_and_delivered_with_its_outcome(
    server: WandbServer, tmp_path: Path
) -> None:
    small, store = tmp_path / "small", str(tmp_path / "store")
    small.mkdir()
    script = tmp_path / "task.py"
    script.write_text(task(host=server.url, timeout_s=2, store=store, fails=True, artifact=True))
    env = {**clean_environment(home=tmp_path / "home"), "WANDB_DIR": str(small)}
    server.stop()
    done = run_with_mount(script, small, "size=300k", env=env)
    server.start()
    # the table could not be written either
    assert done.returncode == 3, done.stderr
    assert "of 3001 rows" in done.stderr
    assert "No space left on device" in done.stderr
    (kept,) = find_runs(OfflineStore(store))
    assert kept.run.exit_code not in (None, 0)
    (synced,) = sync_store(OfflineStore(store), api_host=server.url, key=ApiKey(KEY))
    assert synced.is_delivered, synced.reason
    assert "of 3001 rows" in synced.lost
    run = server.run("p", "x")
    assert_lacks(run, 3001)
    assert (run.state, run.exit_code) == ("failed", kept.run.exit_code)
    assert find_runs(OfflineStore(store)) == []


def test_a_full_disk_has_no_part_in_the_delivery_of_what_is_on_it(
    server: WandbServer, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    script = tmp_path / "task.py"
    script.write_text(task(host=server.url))
    env = {**clean_environment(home=tmp_path / "home"), "WANDB_DIR": str(small)}
    done = run_with_mount(script, small, "size=300k", env=env)
    assert "not delivered" not in done.stderr
    run = server.run("p", "x")
    assert_lacks(run, 3000)
    # the copy that is sent takes no room from the log
    assert len(run.column("row")) > 500
    assert (run.state, run.exit_code) == ("finished", 0)
    # nothing is left in the folders for temporary files
    assert list((tmp_path / "home" / "tmp").glob("wbmon-*")) == []


def test_a_full_offline_store_is_named_and_nothing_in_it_passes_for_a_run(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    script = tmp_path / "task.py"
    script.write_text(task(host=NOWHERE, timeout_s=2, store=str(store), n_rows=1000))
    done = run_with_mount(
        script, store, "size=64k", env=clean_environment(home=tmp_path / "home"), after="ls -R {}"
    )
    assert f"the offline store {store} must take what is put there" in done.stderr
    assert "No space left on device" in done.stderr
    assert "the run could not be stored, and is in" in done.stderr
    assert "manifest.json" not in done.stdout


@pytest.mark.parametrize("temporary", ["tmp", "file/tmp"], ids=["TMPDIR", "no TMPDIR"])
def test_without_a_home_that_can_be_written_tables_and_artifacts_arrive(
    server: WandbServer, tmp_path: Path, temporary: str
) -> None:
    # below a file nobody can write, not even root
    (tmp_path / "file").touch()
    env = {"HOME": str(tmp_path / "file" / "home"), "TMPDIR": str(tmp_path / temporary)}
    code = task(host=server.url, n_rows=2, artifact=True)
    done = run_python(code, home=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "delivered to W&B" in done.stderr
    assert [one.committed for one in server.artifacts] == [True, True]
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        assert f"{name} is" in done.stderr


def test_folders_of_wandb_that_can_be_written_stay(server: WandbServer, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    code = task(host=server.url, n_rows=1, artifact=True) + "\nimport os; print(dict(os.environ))"
    env = {"WANDB_DATA_DIR": str(mine), "WANDB_DIR": str(tmp_path / "file" / "wandb")}
    (tmp_path / "file").touch()
    done = run_python(code, home=tmp_path, env=env)
    assert (mine / "artifacts" / "staging").is_dir()
    assert "WANDB_CACHE_DIR" not in done.stdout
    # the run's own folder is moved, which is said
    assert f"{tmp_path / 'file' / 'wandb'} cannot be written to" in done.stderr
    assert server.run("p", "x").column("row") == [0]


CALL = st.fixed_dictionaries(
    {"data": st.sampled_from([{}, {"a": 1}, {"b": 2, "c": {"d": 3}}, {"e": {}}])},
    optional={"step": st.integers(0, 6), "commit": st.booleans()},
)


@given(calls=st.lists(CALL, max_size=12))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_more_rows_are_counted_than_wandb_writes(
    folder: Path, calls: list[Mapping[str, Any]]
) -> None:
    own = RunSettings(project="p", entity="ops", init={"mode": "offline"})
    with open_run(own) as run:
        for call in calls:
            run.log(**call)
        n_rows, failed = logged_by(run)
        plain = [call for call in calls if call["data"] and set(call) == {"data"}]
        assert n_rows >= len(plain)
        assert failed == {}
        place = Path(run.settings.sync_dir)
    assert n_rows <= read_content(place).n_rows


def test_an_exit_code_that_the_server_has_wrong_is_mended(
    server: WandbServer, folder: Path
) -> None:
    own = RunSettings(
        project="p", entity="ops", id="x", secret=lambda: KEY, api_host=server.url,
        offline_store=str(folder / "store"), init={"mode": "offline"},
    )  # fmt: skip
    with pytest.raises(SystemExit), open_run(own):
        sys.exit(3)
    (kept,) = find_runs(OfflineStore(str(folder / "store")))
    asked = []
    answer = server.backend.stream

    def forgetful(project: str, run_id: str, body: dict[str, Any]) -> Any:
        """As if the server kept that a run failed, and not how, until it is told again."""
        if body.get("complete"):
            asked.append(body["exitcode"])
            body = {**body, "exitcode": body["exitcode"] if len(asked) > 1 else 99}
        return answer(project, run_id, body)

    server.backend.stream = forgetful
    (synced,) = sync_store(
        OfflineStore(str(folder / "store")), api_host=server.url, key=ApiKey(KEY)
    )
    assert synced.is_delivered, synced.reason
    assert asked == [kept.run.exit_code] * 2
    assert server.run("p", "x").exit_code == kept.run.exit_code


def run_with_mount(
    script: Path, disk: Path, options: str, *, env: dict[str, str], after: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a script with a small disk that only it sees, and then a command on the disk."""
    ran = f"mount -t tmpfs -o {options} tmpfs {disk} && {sys.executable} {script}"
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", "--map-root-user", "sh", "-c", f"{ran}; E=$?; "
         f"{after.format(disk) or 'true'}; exit $E"],
        env=env, cwd=script.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "unshare failed" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("this machine does not let a test mount a disk")
    return done
