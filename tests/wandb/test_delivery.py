"""Delivery to a loopback server, the offline store, and delivery from it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flytekit import FlyteContextManager

import wandb
from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.process import WorkerProcess
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.stash import RunStash
from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.runs.sync_store import SyncedRun, sync_store
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.stored_folder import MANIFEST, checksum
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.offline_store import open_store
from flytekitplugins.wbmon.run.settings import RunSettings
from flytekitplugins.wbmon.run.spooled import WORKER
from support.child import run_python
from support.environment import clean_environment
from support.in_process import pod_context
from support.s3 import S3Server
from support.waiting import wait_until
from support.wandb_faults import ALERT, FILE_STREAM, STORAGE, Fault
from support.wandb_log import find_run
from support.wandb_server import KEY, WandbServer

pytestmark = pytest.mark.slow
NOWHERE = "http://127.0.0.1:9"


def settings(api_host: str | None, **changes: Any) -> RunSettings:
    return RunSettings(
        **{
            "project": "payments",
            "entity": "ops",
            "secret": lambda: KEY,
            "api_host": api_host,
            "delivery_timeout_s": 20,
            **changes,
        }
    )


def write_run(
    store: str, name: str, *, n_rows: int = 4, offset: int = 0, artifact: bool = True
) -> None:
    """A run that nobody delivered, in the store."""
    own = settings(None, id=name, init={"mode": "offline"}, offline_store=store)
    with open_run(own, task=name) as run:
        for row in range(offset, offset + n_rows):
            run.log({"row": row})
        run.alert("first", name)
        run.alert("second", name, level=wandb.AlertLevel.WARN, wait_duration=300)
        if artifact:
            made = wandb.Artifact(f"report-{name}", "report")
            with made.new_file("report.txt") as file:
                file.write(name)
            run.log_artifact(made)
            run.log({"image": wandb.Html("<b>hi</b>")})


def sync(store: str, server: WandbServer, timeout_s: float = 30) -> tuple[SyncedRun, ...]:
    return sync_store(open_store(store), api_host=server.url, key=ApiKey(KEY), timeout_s=timeout_s)


def assert_arrived_once(server: WandbServer, name: str, n_rows: int = 4) -> None:
    served = server.run("payments", name)
    assert served.column("row") == list(range(n_rows))
    assert served.state == "finished"
    assert [alert.title for alert in server.alerts if alert.run == name] == ["first", "second"]
    reports = [one for one in server.artifacts if one.name == f"report-{name}"]
    (report,) = [one for one in reports if one.committed]
    assert list(report.files.values()) == [name.encode()]
    assert [path for path in served.files if path.startswith("media/html/")]


def test_a_healthy_server_gets_the_run_while_it_is_written(
    server: WandbServer, tmp_path: Path, store: str
) -> None:
    own = settings(server.url, id="live", offline_store=store)
    with pod_context(tmp_path / "pod") as context, open_run(own, task="wf.live") as run:
        run.log({"row": 0})
        wait_until(lambda: server.runs and server.run("payments", "live").history)
        assert server.run("payments", "live").state == "running"
        run.log({"row": 1})
        run.alert("drift", "moved")
    deck = next(one.html for one in context.user_space_params.decks if one.name == "W&B run")
    served = server.run("payments", "live")
    assert served.column("row") == [0, 1]
    assert served.state == "finished"
    assert [alert.title for alert in server.alerts] == ["drift"]
    assert "delivered to W&amp;B" in deck
    assert {request.api_key for request in server.requests if request.api_key} == {KEY}
    assert find_runs(OfflineStore(store)) == []


@pytest.mark.parametrize("delivery", ["live", "stored", "online"])
def test_a_row_that_is_too_large_arrives_without_what_is_too_large_and_the_others_once(
    server: WandbServer, store: str, delivery: str, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {
        "live": {},
        "stored": {"init": {"mode": "offline"}},
        "online": {"delivery": "online"},
    }[delivery]
    with open_run(settings(server.url, id="large", offline_store=store, **changes)) as run:
        for row in range(5):
            run.log({"row": row, **({"huge": "x" * 11_000_000} if row == 1 else {})})
    lost = "'huge' of 1 row"
    assert lost in caplog.text
    # W&B's own mode has left the row out; what it lacks is in the store
    assert [lost in run.lost for run in sync(store, server)] == [True] * (delivery != "live")
    served = server.run("payments", "large")
    assert sorted(served.column("row")) == list(range(5))
    assert sorted(served.column("_step")) == list(range(5))
    assert lost in served.summary["not_recorded"]
    assert served.summary["row"] == 4
    assert served.state == "finished"


def test_what_is_not_confirmed_is_stored_and_the_task_says_where(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = settings(NOWHERE, offline_store=store, delivery_timeout_s=1)
    with pod_context(tmp_path / "pod") as context, open_run(own) as run:
        assert run.config["flyte"]["offline_store"] == store
    deck = next(one.html for one in context.user_space_params.decks if one.name == "W&B run")
    (kept,) = find_runs(OfflineStore(store))
    assert kept.run.run_id == run.id
    for said in (deck, caplog.text):
        assert kept.stored.url in said
        assert "SyncOfflineRuns" in said
        assert KEY not in said


def test_in_a_pod_the_store_is_below_the_raw_output(tmp_path: Path) -> None:
    with pod_context(tmp_path), open_run(settings(NOWHERE, init={"mode": "offline"})):
        pass
    assert len(find_runs(OfflineStore(str(tmp_path / "raw")))) == 1


def test_a_store_that_cannot_be_written_leaves_the_run_on_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    own = settings(NOWHERE, init={"mode": "offline"}, offline_store=str(tmp_path / "file" / "x"))
    with open_run(own) as run:
        pass
    assert "could not be stored" in caplog.text
    assert str(run.settings.sync_dir) in caplog.text


def test_the_store_delivers_everything_once_and_is_empty_then(
    server: WandbServer, store: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_run(store, name)
        time.sleep(1)  # a run's folder is named by the second
    for path in (tmp_path / "data").rglob("*"):
        assert path.is_dir() or path.unlink() is None  # wandb's staging is gone, as with a pod
    assert [run.reason for run in sync(store, server)] == ["", ""]
    assert [run.id for run in server.runs] == ["a", "b"]
    for name in ("a", "b"):
        assert_arrived_once(server, name)
    assert sync(store, server) == ()
    assert not list(Path(store).rglob("*.wandb"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("refuse"),
        Fault(on=ALERT),
        Fault(on=ALERT, after=1),
        Fault(on=FILE_STREAM),
        Fault("hang", on=FILE_STREAM, after=1),
        Fault(on="CommitArtifact"),
        Fault(status=401),
    ],
    ids=str,
)
def test_a_delivery_that_broke_half_way_is_completed_by_the_next(
    server: WandbServer, store: str, fault: Fault
) -> None:
    write_run(store, "a")
    server.fault = fault
    (first,) = sync(store, server, timeout_s=4)
    assert not first.is_delivered
    assert first.reason
    server.fault = None
    (second,) = sync(store, server)
    assert second.is_delivered, second.reason
    assert_arrived_once(server, "a")


SYNC = """
import sys, time
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.sync_store import sync_store
from flytekitplugins.wbmon.run.offline_store import open_store

url, host, key, at = sys.argv[1:]
time.sleep(max(0.0, float(at) - time.time()))
for run in sync_store(open_store(url), api_host=host, key=ApiKey(key), timeout_s=60):
    if run.is_delivered:
        print(run.path)
"""


def sync_apart(
    store: str, server: WandbServer, home: Path, at: float = 0.0
) -> subprocess.Popen[str]:
    """A process that delivers what a store holds, from a moment on."""
    return subprocess.Popen(
        [sys.executable, "-c", SYNC, store, server.url, KEY, str(at)],
        env=clean_environment(home=home),
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_the_same_time_send_everything_once(
    server: WandbServer, store: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_run(store, name)
    at = time.time() + 4
    processes = [sync_apart(store, server, tmp_path / name, at) for name in ("x", "y")]
    delivered = [process.communicate(timeout=180)[0].split() for process in processes]
    assert sorted(delivered[0] + delivered[1]) == ["ops/payments/runs/a", "ops/payments/runs/b"]
    for name in ("a", "b"):
        assert_arrived_once(server, name)
    assert not [path for path in Path(store).rglob("*") if path.is_file()]


def test_what_a_killed_sync_had_sent_is_not_sent_again(
    server: WandbServer, store: str, tmp_path: Path
) -> None:
    write_run(store, "a")
    server.fault = Fault("hang", on="CommitArtifact")
    process = sync_apart(store, server, tmp_path / "home")
    wait_until(lambda: server.runs and len(server.run("payments", "a").column("row")) == 4)
    wait_until(lambda: server.fault._seen)
    for child in [process.pid, *children(process.pid)]:
        os.kill(child, signal.SIGKILL)
    process.communicate()
    server.fault = None
    assert "somebody else is delivering it now" in sync(store, server)[0].reason
    lease = next(Path(store).rglob(LEASE))
    lease.write_text(json.dumps({"until": 0}))  # it is over
    assert [run.reason for run in sync(store, server)] == [""]
    assert_arrived_once(server, "a")


def test_a_run_that_an_earlier_release_stored_is_delivered(server: WandbServer, store: str) -> None:
    write_run(store, "a")
    manifest = next(Path(store).rglob(MANIFEST))
    content = json.loads(manifest.read_text())
    assert set(content) == {
        "format", "entity", "project", "run_id", "started_at", "n_rows", "n_alerts",
        "n_artifacts", "exit_code", "files",
    }  # fmt: skip
    log = manifest.parent / "run-a.wandb"  # in one piece, until release 0.3
    log.write_bytes(b"".join(part.read_bytes() for part in manifest.parent.rglob("*.part")))
    shutil.rmtree(manifest.parent / "log")
    content["files"] = {
        **{name: sums for name, sums in content["files"].items() if not name.endswith(".part")},
        log.name: [log.stat().st_size, checksum(log)],
    }
    # 0.2 noted a checksum of how far the delivery came, which changed afterwards
    (manifest.parent / "delivery.json").write_text(json.dumps({"reason": "W&B was away"}))
    content["files"]["delivery.json"] = [3, "0" * 64]
    manifest.write_text(json.dumps(content))
    assert [run.reason for run in sync(store, server)] == [""]
    assert_arrived_once(server, "a")


def test_what_is_left_in_the_store_of_a_run_that_ended_well_changes_nothing(
    server: WandbServer, store: str
) -> None:
    with open_run(settings(server.url, id="well")) as run:
        run.log({"row": 0})
        run.alert("alert", "text")
        wait_until(lambda: server.alerts and server.run("payments", "well").column("row") == [0])
        folder = Path(run.settings.sync_dir)
        stash = RunStash(folder, lambda: OfflineStore(store))
        stash.step(DeliveryProgress.load(folder), most=10**6)
    assert sync(store, server) == ()  # as for a task that is at work
    next(Path(store).rglob(LEASE)).unlink()
    assert [run.reason for run in sync(store, server)] == [""]
    served = server.run("payments", "well")
    assert (served.column("row"), served.state, len(server.alerts)) == ([0], "finished", 1)
    assert find_runs(OfflineStore(store)) == []


def test_a_stored_run_that_was_damaged_is_left_alone(server: WandbServer, store: str) -> None:
    write_run(store, "a", artifact=False)
    log = next(Path(store).rglob("*.part"))
    log.write_bytes(log.read_bytes()[:-3])
    (result,) = sync(store, server)
    assert "SHA-256" in result.reason
    assert server.runs == []
    assert log.exists()


def test_a_stored_run_with_a_damaged_manifest_is_named_and_holds_up_no_other(
    server: WandbServer, store: str
) -> None:
    write_run(store, "a", artifact=False)
    manifest = next(Path(store).rglob(MANIFEST))
    manifest.write_text(manifest.read_text()[:40])
    write_run(store, "b", artifact=False)

    results = {run.url: run for run in sync(store, server)}

    damaged = results.pop(str(manifest.parent))
    assert not damaged.is_delivered
    assert "manifest.json must describe what is stored there" in damaged.reason
    assert [run.is_delivered for run in results.values()] == [True]
    assert list(manifest.parent.rglob("*.part"))


def test_another_file_called_manifest_is_left_alone(store: str) -> None:
    other = Path(store) / "model" / MANIFEST
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"files": "mine"}))
    assert find_runs(OfflineStore(store)) == []
    assert other.exists()


def test_a_store_that_does_not_exist_is_empty(store: str) -> None:
    assert find_runs(OfflineStore(store)) == []


def test_a_store_may_be_on_s3_that_only_flytekits_configuration_tells_of(
    server: WandbServer, s3: S3Server
) -> None:
    bucket = s3.bucket("offline-runs")
    with bucket.flyte_context():
        url = bucket.url("runs")
        write_run(url, "a")
        assert len(find_runs(open_store(url))) == 1
        (result,) = sync(url, server)
        assert result.is_delivered, result.reason
        assert find_runs(open_store(url)) == []
    assert_arrived_once(server, "a")


def test_a_run_goes_on_from_night_to_night(server: WandbServer, store: str) -> None:
    write_run(store, "monthly", n_rows=3, artifact=False)
    assert [run.is_delivered for run in sync(store, server)] == [True]
    write_run(store, "monthly", n_rows=2, offset=3, artifact=False)
    assert [run.is_delivered for run in sync(store, server)] == [True]
    served = server.run("payments", "monthly")
    assert served.column("row") == [0, 1, 2, 3, 4]
    assert served.column("_step") == [0, 1, 2, 3, 4]


def test_a_killed_worker_is_replaced(
    server: WandbServer, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[str]] = []
    start = WorkerProcess._start

    def noting(self: Any) -> subprocess.Popen[str]:
        process = start(self)
        started.append(process)
        return process

    monkeypatch.setattr(WorkerProcess, "_start", noting)
    with open_run(settings(server.url, id="x", offline_store=store)) as run:
        run.log({"row": 0})
        os.kill(started[0].pid, signal.SIGKILL)
        run.log({"row": 1})
    assert len(started) == 2
    assert server.run("payments", "x").column("row") == [0, 1]
    assert find_runs(OfflineStore(store)) == []


def test_the_worker_delivers_what_a_killed_task_left(server: WandbServer, tmp_path: Path) -> None:
    worker = WorkerProcess(WORKER, ApiKey(KEY), timeout_s=20, api_host=server.url)
    own = settings(server.url, id="left", init={"mode": "offline"})
    with open_run(own) as run:
        worker.begin(Path(run.settings.sync_dir))
        run.log({"row": 0})
        wait_until(lambda: find_run(Path(run.settings.sync_dir).parent, settle_s=0).history)
        worker._process.stdin.close()  # what the worker sees when the task's process is gone
        worker._process.wait(30)
        served = server.run("payments", "left")
        assert served.column("row") == [0]
        assert served.state == "failed"
    worker.end()


def test_no_process_is_left_when_a_delivery_is_given_up(server: WandbServer) -> None:
    server.fault = hang = Fault("hang")
    with open_run(settings(server.url, delivery_timeout_s=1)):
        wait_until(lambda: hang._seen)
    assert [line for line in children().values() if WORKER in line] == []


def children(parent: int | None = None) -> dict[int, str]:
    """The processes that one started, itself or through another, with their command lines."""
    started: dict[int, str] = {}
    wanted = [parent or os.getpid()]
    while wanted:
        one = wanted.pop()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == one:
                    child = int(stat.parent.name)
                    started[child] = (stat.parent / "cmdline").read_text().replace("\0", " ")
                    wanted.append(child)
    return started


def test_an_online_run_can_read_from_wandb_and_is_verified(
    server: WandbServer, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = settings(server.url, delivery="online", id="direct", offline_store=store)
    caplog.set_level("INFO", logger="flytekitplugins")
    with open_run(own) as run:
        assert run.settings.mode == "online"
        made = wandb.Artifact("model", "model")
        with made.new_file("weights") as file:
            file.write("w")
        run.log_artifact(made).wait(20)
        assert run.use_artifact("model:latest").digest == made.digest
        run.log({"row": 0})
        run.alert("drift", "moved")
    assert server.run("payments", "direct").column("row") == [0]
    assert server.run("payments", "direct").state == "finished"
    assert len(server.alerts) == 1
    assert "W&B: delivered to W&B" in caplog.text
    assert find_runs(OfflineStore(store)) == []


def test_an_online_run_that_cannot_start_is_spooled(
    server: WandbServer, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = Fault("refuse")
    own = settings(
        server.url, delivery="online", id="direct", offline_store=store, delivery_timeout_s=1
    )
    with open_run(own) as run:
        run.log({"row": 0})
    assert "cannot go online" in caplog.text
    server.fault = None
    assert [one.is_delivered for one in sync(store, server)] == [True]
    assert server.run("payments", "direct").column("row") == [0]


def test_an_online_run_whose_server_dies_is_stored_and_delivered_later(
    server: WandbServer, store: str, tmp_path: Path
) -> None:
    """In a process of its own, as in a pod: what wandb still holds back ends with the process."""
    code = f"""
        import urllib.request

        from flytekitplugins.wbmon.run.lifecycle import open_run
        from flytekitplugins.wbmon.run.settings import RunSettings

        own = RunSettings(
            project="payments", entity="ops", id="direct", secret=lambda: {KEY!r},
            api_host={server.url!r}, delivery="online", offline_store={store!r},
            delivery_timeout_s=2,
        )
        with open_run(own) as run:
            run.log({{"row": 0}})
            fault = urllib.request.Request(
                {server.url + "/control/fault"!r}, data=b'{{"kind": "hang"}}', method="POST"
            )
            urllib.request.urlopen(fault).read()
            run.log({{"row": 1}})
        """
    done = run_python(code, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "did not finish the run in 2 s" in done.stderr
    server.fault = None
    assert [one.reason for one in sync(store, server)] == [""]
    assert server.run("payments", "direct").column("row") == [0, 1]


def test_an_online_run_without_a_key_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    own = settings(NOWHERE, delivery="online", secret=None)
    monkeypatch.setenv("NETRC", "/nowhere")
    with open_run(own) as run:
        assert run.offline


@pytest.mark.parametrize("content", ["", "{", "[]", '{"first_line": 3, "unknown": 1}'])
def test_a_run_of_which_it_is_not_known_what_was_sent_is_left(
    server: WandbServer, store: str, content: str
) -> None:
    write_run(store, "a")
    manifest = next(Path(store).rglob(MANIFEST))
    (manifest.parent / "delivery.json").write_text(content)

    (result,) = sync(store, server)

    assert "delivery.json must tell what of the run was sent" in result.reason
    assert not result.is_delivered
    assert server.runs == []
    (manifest.parent / "delivery.json").unlink()
    assert [run.is_delivered for run in sync(store, server)] == [True]
    assert_arrived_once(server, "a")


def test_without_a_ledger_nothing_was_sent(tmp_path: Path) -> None:
    assert DeliveryProgress.load(tmp_path) == DeliveryProgress()


def test_concurrent_tasks_do_not_wait_for_each_others_delivery(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_at_once = threading.Barrier(4, timeout=60)
    finish = WorkerProcess.finish

    def meet_and_finish(worker: WorkerProcess, timeout_s: float, **options: Any) -> None:
        all_at_once.wait()
        finish(worker, timeout_s, **options)

    def work(number: int) -> None:
        FlyteContextManager.initialize()
        with open_run(settings(server.url), task=f"wf.t{number}"):
            pass

    monkeypatch.setattr(WorkerProcess, "finish", meet_and_finish)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not all_at_once.broken
    assert [run.state for run in server.runs] == ["finished"] * 4


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_file_that_the_storage_refuses_is_not_called_delivered(
    server: WandbServer, store: str, tmp_path: Path, is_stored: bool
) -> None:
    server.fault = Fault("status", status=403, on=f"PUT {STORAGE}run/.*model.txt")
    (tmp_path / "model.txt").write_text("weights")
    mode = {"mode": "offline"} if is_stored else {}
    own = settings(server.url, id="a", offline_store=store, delivery_timeout_s=6, init=mode)
    with open_run(own) as run:
        run.log({"row": 0, "page": wandb.Html("<b>hi</b>")})
        run.save(str(tmp_path / "model.txt"), base_path=str(tmp_path))
    if is_stored:
        (left,) = sync(store, server, timeout_s=6)
        assert "1 of its files, model.txt" in left.reason
    server.fault = None
    assert [one.is_delivered for one in sync(store, server)] == [True]
    served = server.run("payments", "a")
    assert served.column("row") == [0]
    assert served.files["model.txt"] == b"weights"


def test_a_run_that_goes_on_with_nothing_new_but_its_summary_is_sent(
    server: WandbServer, store: str
) -> None:
    def night(accuracy: float, **changes: Any) -> None:
        own = settings(server.url, id="nightly", **changes)
        with open_run(own, task="nightly") as run:
            run.summary["accuracy"] = accuracy

    night(0.9)
    assert server.run("payments", "nightly").summary["accuracy"] == 0.9
    server.stop()
    night(0.5, offline_store=store, delivery_timeout_s=1)
    server.start()
    assert [one.is_delivered for one in sync(store, server)] == [True]
    assert server.run("payments", "nightly").summary["accuracy"] == 0.5
    night(0.3)
    assert server.run("payments", "nightly").summary["accuracy"] == 0.3
