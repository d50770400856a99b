"""Rounds of `SyncOfflineRuns` over stores that hold anything, at servers that answer anything."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

import wandb
from flytekitplugins.wbmon.delivery import store as offline_store
from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs import sync_store as sync_module
from flytekitplugins.wbmon.delivery.runs.pending_log import logged_artifact
from flytekitplugins.wbmon.delivery.runs.progress import FILE_NAME as PROGRESS
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.store import find_runs
from flytekitplugins.wbmon.delivery.runs.sync_store import SyncedRun, sync_store
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    read_records,
    write_records,
)
from flytekitplugins.wbmon.delivery.runs.wandb_internals import record_type
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.delivery.stored_folder import MANIFEST
from flytekitplugins.wbmon.run.lifecycle import open_run
from flytekitplugins.wbmon.run.settings import RunSettings
from support.waiting import wait_until
from support.wandb_faults import FILE_STREAM, Fault
from support.wandb_server import KEY, WandbServer

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record

pytestmark = pytest.mark.slow
CONTENT = "the token of the sync pod"
N_ROWS = 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody delivered, as it is in a store."""
    place = tmp_path_factory.mktemp("written")
    own = RunSettings(
        project="payments", entity="ops", id="a", offline_store=str(place), init={"mode": "offline"}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        with open_run(own) as run:
            for row in range(N_ROWS):
                run.log({"row": row})
            made = wandb.Artifact("report", "report")
            with made.new_file("report.txt") as file:
                file.write("report")
            run.log_artifact(made)
            run.log({"image": wandb.Html("<b>hi</b>")})
    return next(place.rglob(MANIFEST)).parent


class Copies:
    """A store with copies of the run under ids of their own."""

    def __init__(self, written: Path, place: Path) -> None:
        self._written, self.place = written, place

    def add(self, name: str, change: Callable[[Record], None] = lambda record: None) -> Path:
        """Store a copy; `change` is called with each record of its log."""
        folder = self.place / name
        shutil.copytree(self._written, folder)
        records = self.read(folder)
        for record in records:
            if record.HasField("run"):
                record.run.run_id = name
            change(record)
        self.write(folder, records)
        self.describe(folder, run_id=name, started_at=name)
        return folder

    @staticmethod
    def read(folder: Path) -> list[Record]:
        """The records of a stored log, whose parts are put together again."""
        log = folder / "log" / "joined"
        log.write_bytes(b"".join(part.read_bytes() for part in sorted(log.parent.glob("*.part"))))
        return list(read_records(log))

    def write(self, folder: Path, records: list[Record]) -> None:
        """Store these records as the one part of the log."""
        shutil.rmtree(folder / "log")
        (folder / "log").mkdir()
        write_records(folder / "log" / "joined", records)
        data = (folder / "log" / "joined").read_bytes()
        part = (folder / "log" / "joined").rename(
            folder / "log" / f"{0:012d}-{len(data):012d}.part"
        )
        files = json.loads((folder / MANIFEST).read_text())["files"]
        others = {name: sums for name, sums in files.items() if not name.startswith("log/")}
        sums = [len(data), hashlib.sha256(data).hexdigest()]
        self.describe(folder, files={**others, f"log/{part.name}": sums})

    @staticmethod
    def describe(folder: Path, **changes: Any) -> None:
        about = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps({**about, **changes}))


@pytest.fixture
def copies(written: Path, tmp_path: Path) -> Copies:
    return Copies(written, tmp_path / "store")


def sync(copies: Copies, server: WandbServer, timeout_s: float = 40) -> tuple[SyncedRun, ...]:
    store = OfflineStore(str(copies.place))
    return sync_store(store, api_host=server.url, key=ApiKey(KEY), timeout_s=timeout_s)


def reasons(synced: tuple[SyncedRun, ...]) -> dict[str, str]:
    return {Path(run.url).name: run.reason for run in synced}


def uploaded(server: WandbServer) -> bytes:
    """All content of files that arrived, of runs and of artifacts."""
    holders = [*server.runs, *server.artifacts]
    return b"".join(content for holder in holders for content in holder.files.values())


def test_a_server_that_cannot_be_reached_ends_the_round_at_once(
    copies: Copies, server: WandbServer
) -> None:
    for name in "abcdefgh":
        copies.add(name)
    server.fault = Fault("refuse")
    began = time.monotonic()
    found = reasons(sync(copies, server, timeout_s=300))
    assert time.monotonic() - began < 60
    assert sorted(found) == list("abcdefgh")
    assert all("cannot be reached" in reason for reason in found.values())


@pytest.mark.parametrize("fault", [Fault(status=401), Fault("hang")], ids=["key", "silence"])
def test_a_server_that_refuses_the_key_or_says_nothing_is_asked_once(
    copies: Copies, server: WandbServer, fault: Fault
) -> None:
    for name in "abcd":
        copies.add(name)
    server.fault = fault
    found = reasons(sync(copies, server, timeout_s=300))
    server.fault = None
    assert fault._seen == 1
    assert len(set(found.values())) == 1
    assert sorted(found) == list("abcd")


def test_a_project_that_is_refused_or_answers_nonsense_holds_up_no_other(
    copies: Copies, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        copies.add(name)
    answer = server.backend.answer

    def odd(operation: str, query: str, variables: dict[str, Any]) -> Any:
        name = variables.get("name") or variables.get("runName")
        if name == "b" and operation == "Run":
            return {"data": {"project": {"run": {"historyLineCount": "three"}}}}
        return answer(operation, query, variables)

    monkeypatch.setattr(server.backend, "answer", odd)
    server.fault = Fault(status=403, on=" Run$", times=1)  # of the first run
    found = reasons(sync(copies, server, timeout_s=8))
    assert "answered 403 to Run" in found.pop("a")
    assert "must be" in found.pop("b")
    assert found == {"c": "", "d": ""}
    assert server.run("payments", "d").column("row") == list(range(N_ROWS))


def test_of_a_server_that_fails_all_the_time_one_run_waits_for_it(
    copies: Copies, server: WandbServer
) -> None:
    for name in "abc":
        copies.add(name)
    server.fault = Fault(status=503)
    began = time.monotonic()
    found = reasons(sync(copies, server, timeout_s=3))
    assert time.monotonic() - began < 3 * 3
    assert all("answered 503" in reason for reason in found.values())


def test_the_time_limit_holds_while_the_store_hangs(
    copies: Copies, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies.add("a")
    store, release = OfflineStore(str(copies.place)), threading.Event()
    get_file = store._files.get_file

    def hang(*args: Any) -> Any:
        release.wait(60)
        return get_file(*args)

    monkeypatch.setattr(store._files, "get_file", hang, raising=False)
    began = time.monotonic()
    (run,) = sync_store(store, api_host=server.url, key=ApiKey(KEY), timeout_s=1.5)
    release.set()
    assert time.monotonic() - began < 20
    assert "the store must answer within" in run.reason
    assert set(reasons(sync(copies, server)).values()) == {""}


def test_a_fetch_that_takes_longer_than_the_lease_is_delivered_by_one(
    copies: Copies, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_store, "LEASE_S", 1.0)
    copies.add("a")
    slow, fetching = OfflineStore(str(copies.place)), threading.Event()
    get_file = slow._files.get_file

    def late(*args: Any) -> Any:
        fetching.set()
        time.sleep(1.2)
        return get_file(*args)

    monkeypatch.setattr(slow._files, "get_file", late, raising=False)
    found: list[SyncedRun] = []

    def deliver() -> None:
        found.extend(sync_store(slow, api_host=server.url, key=ApiKey(KEY), timeout_s=60))

    first = threading.Thread(target=deliver)
    first.start()
    fetching.wait(30)
    others = []
    while first.is_alive() and not server.runs:
        others += [run.reason for run in sync(copies, server)]
    first.join()
    assert [run.reason for run in found] == [""]
    assert set(others) <= {"somebody else is delivering it now"}
    assert others
    assert server.run("payments", "a").column("row") == list(range(N_ROWS))


def test_who_loses_the_lease_stops_sending(copies: Copies, server: WandbServer) -> None:
    folder = copies.add("a")
    server.fault = fault = Fault("hang", on=FILE_STREAM)
    found: list[SyncedRun] = []
    thread = threading.Thread(target=lambda: found.extend(sync(copies, server, timeout_s=300)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline_store, "LEASE_S", 2.0)
        thread.start()
        wait_until(lambda: fault._seen)
        # as another process writes it
        other = {"token": "other", "until": time.time() + 600, "seconds": 600}
        (folder / LEASE).write_text(json.dumps(other))
        thread.join(60)
    assert not thread.is_alive(), "it is still sending"
    assert "somebody else may have taken it" in found[0].reason
    server.fault = None
    assert "somebody else is delivering it now" in reasons(sync(copies, server))["a"]


def outside_artifact(record: Record, name: str) -> None:
    artifact = logged_artifact(record)
    for entry in artifact.manifest.contents if artifact else ():
        entry.local_path = name


def outside_file(record: Record, name: str) -> None:
    for item in record.files.files if record.HasField("files") else ():
        item.path = name


def outside_manifest_file(record: Record, name: str) -> None:
    artifact = logged_artifact(record)
    if artifact:
        artifact.manifest.manifest_file_path = name


@pytest.mark.parametrize("is_absolute", [True, False], ids=["absolute", "relative"])
@pytest.mark.parametrize("change", [outside_artifact, outside_file, outside_manifest_file])
def test_a_stored_log_that_names_a_file_of_the_sync_pod_is_left_and_the_next_go_on(
    copies: Copies,
    server: WandbServer,
    tmp_path: Path,
    change: Callable[[Record, str], None],
    *,
    is_absolute: bool,
) -> None:
    secret = tmp_path / "token"
    secret.write_text(CONTENT)
    name = str(secret) if is_absolute else "../" * 30 + str(secret)[1:]
    copies.add("a", lambda record: change(record, name))
    is_one_followed = change is outside_file and is_absolute  # a delivery costs two seconds
    if is_one_followed:
        copies.add("b")
    found = reasons(sync(copies, server))
    assert found.pop("b", "") == ""
    assert bool(server.runs) == is_one_followed
    assert "must name files of its own folder only" in found["a"]
    assert CONTENT.encode() not in uploaded(server)
    assert (copies.place / "a" / MANIFEST).exists()


def test_records_that_make_wandb_read_or_delete_files_are_not_sent(
    copies: Copies, server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nor does what the environment says of runs keep this one from being sent
    for name, value in {
        "WANDB_RESUME": "must", "WANDB_RUN_ID": "other", "WANDB_CONFIG_PATHS": "/etc/passwd",
        "WANDB_IDENTITY_TOKEN_FILE": "/etc/hostname",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "events.out.tfevents.1.a").write_text(CONTENT)
    folder = copies.add("a")
    (first, *rest) = copies.read(folder)
    staged, board, download = (record_type()() for _ in range(3))
    staged.request.log_artifact.artifact.CopyFrom(
        next(found for each in rest if (found := logged_artifact(each)))
    )
    staged.request.log_artifact.staging_dir = str(victim)
    board.tbrecord.log_dir = board.tbrecord.root_dir = str(victim)
    board.tbrecord.save = True
    download.request.download_artifact.download_root = str(victim)
    # before the end, as the sync stops there
    copies.write(folder, [first, *rest[:-1], staged, board, download, rest[-1]])
    assert reasons(sync(copies, server)) == {"a": ""}
    assert CONTENT.encode() not in uploaded(server)
    assert [path.name for path in victim.iterdir()] == ["events.out.tfevents.1.a"]


@pytest.mark.parametrize("name", ["entity", "project", "run_id"])
def test_a_log_of_another_run_than_its_manifest_says_is_left(
    copies: Copies, server: WandbServer, name: str
) -> None:
    def rename(record: Record) -> None:
        if record.HasField("run"):
            setattr(record.run, name, "other")

    copies.add("a", rename)
    assert "the log must be of the run in the manifest" in reasons(sync(copies, server))["a"]
    assert server.runs == []


def link_file(folder: Path, secret: Path) -> None:
    name = next(path for path in folder.rglob("artifacts/*"))
    name.unlink()
    name.symlink_to(secret)


def link_lock(folder: Path, secret: Path) -> None:
    (folder / f".{LEASE}.lock").symlink_to(secret)


def link_progress(folder: Path, secret: Path) -> None:
    (folder / PROGRESS).unlink()
    (folder / PROGRESS).symlink_to(secret)


def link_folder(folder: Path, secret: Path) -> None:
    moved = secret.with_name("moved")
    shutil.move(folder, moved)
    folder.symlink_to(moved)
    (folder / "kept").write_text("")


def link_manifest(folder: Path, secret: Path) -> None:
    shutil.copy(folder / MANIFEST, secret.with_name(MANIFEST))
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).symlink_to(secret.with_name(MANIFEST))


def pipe(folder: Path, secret: Path) -> None:
    os.mkfifo(folder / "files" / "pipe")


@pytest.mark.parametrize(
    "plant", [link_file, link_lock, link_progress, link_folder, link_manifest, pipe]
)
def test_links_in_a_store_on_a_disk_lead_nowhere(
    copies: Copies, server: WandbServer, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    secret = tmp_path / "elsewhere" / "token"
    secret.parent.mkdir()
    secret.write_text(CONTENT)
    plant(copies.add("a"), secret)
    found = reasons(sync(copies, server))
    assert found == {} or "link" in found["a"]
    assert server.runs == []
    assert secret.read_text() == CONTENT


odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
MANIFEST_FIELDS = ("files", "entity", "project", "run_id", "started_at", "n_rows", "n_alerts",
                   "n_artifacts", "exit_code", "format", "kind")  # fmt: skip
FILES = st.dictionaries(
    st.sampled_from(["../x", "/etc/passwd", "", ".", "a/../../b", "\0", "\ud800", "files"])
    | st.text(max_size=5),
    odd_json | st.tuples(st.integers(), st.text(max_size=3)),
    max_size=3,
)


@hypothesis(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.dictionaries(st.sampled_from(MANIFEST_FIELDS), odd_json, max_size=3)
    | FILES.map(lambda files: {"files": files}),
    progress=st.none()
    | st.binary(max_size=20)
    | st.dictionaries(
        st.sampled_from(["first_line", "first_step", "alerts", "is_sent", "reason", "other"]),
        odd_json,
        max_size=3,
    ).map(lambda content: json.dumps(content).encode()),
    lease=st.none() | st.binary(max_size=20) | odd_json.map(lambda it: json.dumps(it).encode()),
)
@example(changes={"files": {"a": [1, 2], "b" * 300: [1, ""]}}, progress=b"[" * 100_000, lease=b"")
@example(changes={"started_at": 7}, progress=None, lease=b'{"until": 1e999}')
def test_a_manifest_a_progress_and_a_lease_of_any_shape_end_no_round(
    written: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    progress: bytes | None,
    lease: bytes | None,
) -> None:
    copies = Copies(written, tmp_path / "fuzzed")
    shutil.rmtree(copies.place, ignore_errors=True)
    folder = copies.add("a")
    copies.add("b")
    copies.describe(folder, **changes)
    for name, content in ((PROGRESS, progress), (LEASE, lease)):
        if content is not None:
            (folder / name).write_bytes(content)
    found = rounds(copies)
    assert found["b"] == "asked"
    assert set(found) <= {"a", "b"}


def rounds(copies: Copies) -> dict[str, str]:
    """What becomes of each run, if a delivery only says that it was asked for."""
    with pytest.MonkeyPatch.context() as patch:

        class Asked:
            def __init__(self, folder: Path, **_: Any) -> None:
                self._folder = folder

            def run(self, **_: Any) -> Any:
                progress = DeliveryProgress.load(self._folder)
                progress.reason = "asked"
                return progress

        patch.setattr(sync_module, "RunDelivery", Asked)
        patch.setattr(sync_module._Round, "_probe", lambda *_: "")
        found = sync_store(
            OfflineStore(str(copies.place)), api_host="http://127.0.0.1:9", key=ApiKey(KEY)
        )
    return reasons(found)


def test_two_pods_with_one_id_in_one_second_keep_both_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    monkeypatch.setattr("wandb.sdk.wandb_settings.Settings.timespec", "20300101_000000")
    for pod, n_rows in (("x", 2), ("y", 3)):
        (tmp_path / pod).mkdir()
        monkeypatch.chdir(tmp_path / pod)
        own = RunSettings(
            project="payments", entity="ops", id="one", offline_store=store,
            init={"mode": "offline"},
        )  # fmt: skip
        with open_run(own) as run:
            for row in range(n_rows):
                run.log({"row": row})
    names = [path.parent.name for path in Path(store).rglob(MANIFEST)]
    assert len({name.rpartition("-")[0] for name in names}) == 1
    assert len(set(names)) == 2
    assert sorted(found.run.n_rows for found in find_runs(OfflineStore(store))) == [2, 3]


def test_an_artifact_of_so_many_files_that_wandb_lists_them_in_a_file_is_stored_and_delivered(
    tmp_path: Path, server: WandbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wandb.sdk.interface.interface.MANIFEST_FILE_SIZE_THRESHOLD", 1)
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staging"))
    copies = Copies(tmp_path, tmp_path / "store")
    own = RunSettings(
        project="payments", entity="ops", id="many", offline_store=str(copies.place),
        init={"mode": "offline"},
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with open_run(own) as run:
        made = wandb.Artifact("many", "data")
        for number in range(2):
            with made.new_file(f"{number}.txt") as file:
                file.write(f"content {number}")
        made.add_reference("s3://bucket/elsewhere", checksum=False)
        run.log_artifact(made)
    shutil.rmtree(tmp_path / "staging")
    assert set(reasons(sync(copies, server)).values()) == {""}
    (found,) = [one for one in server.artifacts if one.name == "many"]
    assert found.committed
    assert sorted(found.files.values()) == [b"content 0", b"content 1"]
