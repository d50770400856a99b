"""Traces in a store: found as this release and as 0.2 wrote them, checked, each sent once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE
from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.stored_folder import MANIFEST
from flytekitplugins.wbmon.delivery.traces.spool import CONFIRMED, RECORDS, TARGET, Spool, Target
from flytekitplugins.wbmon.delivery.traces.store import FOLDER, drain_store, keep_spool
from support.environment import clean_environment
from support.waiting import wait_until
from support.wandb_faults import Fault
from support.weave_server import KEY, WeaveServer

N_FILES = 12
DRAIN = """
import json, sys, time
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.traces.store import drain_store

url, key, at = sys.argv[1:]
time.sleep(max(0.0, float(at) - time.time()))
found = drain_store(OfflineStore(url), api_key=key, deadline_s=30)
print(json.dumps(found._asdict()))
"""


@pytest.fixture
def server() -> Iterator[WeaveServer]:
    with WeaveServer() as server:
        yield server


def write_spool(server: WeaveServer, root: Path, *, prefix: str = "f") -> Path:
    """A spool of some files and a call."""
    target = Target(entity="loop", project="demo", trace_url=server.trace_url)
    spool = Spool(root, target, redact=str)
    for number in range(N_FILES):
        content = {"project_id": "loop/demo", "name": f"{prefix}{number}", "data": "YQ=="}
        spool.write("file_create", content)
    start = {"project_id": "loop/demo", "id": f"{prefix}-call", "op_name": "ask"}
    spool.write("call_start", {"start": {**start, "started_at": "2026-01-01T00:00:00Z"}})
    end = {"id": f"{prefix}-call", "ended_at": "2026-01-01T00:00:01Z", "summary": {}}
    spool.write("call_end", {"end": end})
    spool.close()
    return spool.folder


def as_release_02(folder: Path, store: Path) -> Path:
    """Store a spool as release 0.2 did: the files as they are, its description last."""
    place = store / FOLDER / folder.name
    place.mkdir(parents=True)
    for path in sorted(folder.iterdir(), key=lambda each: each.name == TARGET):
        (place / path.name).write_bytes(path.read_bytes())
    return place


def drain_apart(url: Path, home: Path, at: float = 0.0, **env: str) -> subprocess.Popen[str]:
    """A process that sends what a store holds, from a moment on."""
    return subprocess.Popen(
        [sys.executable, "-c", DRAIN, str(url), KEY, str(at)],
        env={**clean_environment(home=home), **env},
        stdout=subprocess.PIPE,
        text=True,
    )


def names_sent(server: WeaveServer) -> list[str]:
    return sorted(name for name, _ in server.files)


@pytest.mark.parametrize("release", ["0.2", "this"])
def test_stored_traces_are_sent_and_gone(server: WeaveServer, tmp_path: Path, release: str) -> None:
    folder, store = write_spool(server, tmp_path), tmp_path / "store"
    if release == "0.2":
        as_release_02(folder, store)
    else:
        place = Path(keep_spool(folder, OfflineStore(str(store))))
        assert {path.name for path in place.iterdir()} == {MANIFEST, RECORDS}

    found = drain_store(OfflineStore(str(store)), api_key=KEY)

    assert (found.n_spools, found.n_delivered, found.n_left) == (1, 1, 0)
    assert found.n_records == N_FILES + 2
    assert names_sent(server) == sorted(f"f{number}" for number in range(N_FILES))
    assert list(server.calls) == ["f-call"]
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_a_spool_of_release_02_goes_on_after_what_was_confirmed(
    server: WeaveServer, tmp_path: Path
) -> None:
    folder = write_spool(server, tmp_path)
    (folder / CONFIRMED).write_text('{"lines": [0]}\n{"lines": [1, 2]}\n')
    as_release_02(folder, tmp_path / "store")

    found = drain_store(OfflineStore(str(tmp_path / "store")), api_key=KEY)

    assert found.n_records == N_FILES + 2 - 3
    assert names_sent(server) == sorted(f"f{number}" for number in range(3, N_FILES))


def test_a_half_written_spool_of_release_02_is_left_alone(
    server: WeaveServer, tmp_path: Path
) -> None:
    place = as_release_02(write_spool(server, tmp_path), tmp_path / "store")
    (place / TARGET).unlink()
    assert drain_store(OfflineStore(str(tmp_path / "store")), api_key=KEY).n_spools == 0
    assert (place / RECORDS).exists()


def cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def garble(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"', b"", 1))


@pytest.mark.parametrize("damage", [cut, garble, Path.unlink])
@pytest.mark.parametrize("release", ["0.2", "this"])
def test_a_damaged_spool_is_named_and_left_and_holds_up_no_other(
    server: WeaveServer, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    release: str, damage: object,
) -> None:  # fmt: skip
    store = OfflineStore(str(tmp_path / "store"))
    bad, good = (write_spool(server, tmp_path, prefix=name) for name in ("bad", "good"))
    if release == "0.2":
        place = as_release_02(bad, tmp_path / "store")
    else:
        place = Path(keep_spool(bad, store))
    keep_spool(good, store)
    damage(place / RECORDS)

    found = drain_store(store, api_key=KEY)

    assert (found.n_spools, found.n_delivered, found.n_left) == (2, 1, N_FILES + 2)
    assert list(found.left) == [str(place)]
    assert RECORDS in found.left[str(place)]
    assert f"{place} stays in the store" in caplog.text
    assert all(name.startswith("good") for name in names_sent(server))
    assert list(server.calls) == ["good-call"]
    assert place.is_dir()


@pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"files": {'])
def test_a_spool_with_a_damaged_manifest_is_named_and_holds_up_no_other(
    server: WeaveServer, tmp_path: Path, content: str
) -> None:
    store = OfflineStore(str(tmp_path / "store"))
    bad, good = (write_spool(server, tmp_path, prefix=name) for name in ("bad", "good"))
    place = Path(keep_spool(bad, store))
    keep_spool(good, store)
    (place / "manifest.json").write_text(content)

    found = drain_store(store, api_key=KEY)

    assert (found.n_spools, found.n_delivered) == (2, 1)
    assert found.n_left > 0
    assert "manifest.json must describe what is stored there" in found.left[str(place)]
    assert list(server.calls) == ["good-call"]
    assert (place / RECORDS).exists()


def test_a_spool_of_which_it_is_not_known_what_was_sent_is_left(
    server: WeaveServer, tmp_path: Path
) -> None:
    folder = write_spool(server, tmp_path)
    (folder / CONFIRMED).write_text('{"lines": [0]}\nhalf a li\n')
    place = keep_spool(folder, OfflineStore(str(tmp_path / "store")))
    found = drain_store(OfflineStore(str(tmp_path / "store")), api_key=KEY)
    assert (found.n_delivered, found.n_left) == (0, N_FILES + 2)
    assert CONFIRMED in found.left[place]
    assert server.files == []


def test_the_key_is_sent_to_no_server_that_only_the_store_names(
    server: WeaveServer, tmp_path: Path
) -> None:
    store = OfflineStore(str(tmp_path / "store"))
    place = keep_spool(write_spool(server, tmp_path), store)
    found = drain_store(store, api_key=KEY, known_url="https://trace.wandb.ai")
    assert found.n_delivered == 0
    assert "must be for the server of the node, https://trace.wandb.ai" in found.left[place]
    assert server.files == []
    assert drain_store(store, api_key=KEY, known_url=f"{server.trace_url}/").n_delivered == 1


@pytest.mark.parametrize("value", [None, [], "soon", True, 1e99])
@pytest.mark.parametrize("name", ["entity", "trace_url", "n_records", "begun_at"])
def test_a_manifest_of_any_shape_holds_up_no_other_spool(
    server: WeaveServer, tmp_path: Path, name: str, value: object
) -> None:
    store = OfflineStore(str(tmp_path / "store"))
    bad, good = (write_spool(server, tmp_path, prefix=each) for each in ("bad", "good"))
    manifest = Path(keep_spool(bad, store), "manifest.json")
    keep_spool(good, store)
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), name: value}))
    drain_store(store, api_key=KEY, trace_url=server.trace_url)
    assert "good-call" in server.calls


def test_two_processes_at_the_same_time_send_each_record_once(
    server: WeaveServer, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for number in range(6):
        folder = write_spool(server, tmp_path, prefix=f"s{number}-")
        if number % 2:
            as_release_02(folder, store)
        else:
            keep_spool(folder, OfflineStore(str(store)))
    at = time.time() + 3
    processes = [drain_apart(store, tmp_path / name, at) for name in ("a", "b")]
    results = [json.loads(process.communicate(timeout=120)[0]) for process in processes]

    assert sum(result["n_delivered"] for result in results) == 6
    assert sum(result["n_records"] for result in results) == 6 * (N_FILES + 2)
    assert len(server.files) == len(set(names_sent(server))) == 6 * N_FILES
    assert len([path for path, _ in server.requests if "calls/complete" in path]) == 6
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_what_a_killed_sync_had_confirmed_is_not_sent_again(
    server: WeaveServer, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    place = Path(keep_spool(write_spool(server, tmp_path), OfflineStore(str(store))))
    server.fault = Fault("hang", after=N_FILES // 2)
    process = drain_apart(store, tmp_path / "home")
    wait_until(lambda: server.fault._seen > N_FILES // 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(server.files) == N_FILES // 2

    server.fault = None
    busy = drain_store(OfflineStore(str(store)), api_key=KEY)
    assert (busy.n_spools, busy.n_delivered) == (1, 0)
    assert "somebody else is delivering it now" in busy.left[str(place)]

    lease = json.loads((place / LEASE).read_text())
    (place / LEASE).write_text(json.dumps({**lease, "until": 0, "seconds": 0}))  # it is over
    found = drain_store(OfflineStore(str(store)), api_key=KEY)
    assert (found.n_delivered, found.n_left) == (1, 0)
    assert names_sent(server) == sorted(f"f{number}" for number in range(N_FILES))


def test_runs_and_traces_in_one_store_do_not_see_each_other(
    server: WeaveServer, tmp_path: Path
) -> None:
    store = OfflineStore(str(tmp_path / "store"))
    keep_spool(write_spool(server, tmp_path), store)
    as_release_02(write_spool(server, tmp_path), tmp_path / "store")
    log = tmp_path / "run.wandb"
    log.write_bytes(b"log")
    run = {"entity": "e", "project": "p", "run_id": "r", "started_at": "1", "n_rows": 0,
           "n_alerts": 0, "n_artifacts": 0, "exit_code": 0}  # fmt: skip
    url = store.put("wandb-offline/offline-run-1", {"run-r.wandb": log}, run)

    assert [each.stored.url for each in find_runs(store)] == [url]
    assert drain_store(store, api_key=KEY).n_delivered == 2
    assert [each.stored.url for each in find_runs(store)] == [url]
