"""A run that is stored in steps: whichever was the last, what is stored is a beginning of it."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.delivery import growing_folder
from flytekitplugins.wbmon.delivery.borrowed_folder import LEASE, BusyError
from flytekitplugins.wbmon.delivery.runs.packer import RunPacker
from flytekitplugins.wbmon.delivery.runs.pending_log import read_content
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.receipt import Receipt, ReceiptWait
from flytekitplugins.wbmon.delivery.runs.stash import RunStash
from flytekitplugins.wbmon.delivery.runs.store import CHANGING, find_runs, keep_run
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    LogWriter,
    log_path,
    read_records,
)
from flytekitplugins.wbmon.delivery.runs.unpack import unpack
from flytekitplugins.wbmon.delivery.runs.wandb_internals import padding, record_type
from flytekitplugins.wbmon.delivery.store import OfflineStore

BUSY = 1024 * 1024


class Task:
    """A task that logs to a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "offline-run-20260131_000000-r"
        self.folder.mkdir(parents=True)
        self.n_rows = 0
        self._writer = LogWriter(self.folder / "run-r.wandb")
        self._write("run", entity="e", project="p", run_id="r")

    @property
    def size(self) -> int:
        return log_path(self.folder).stat().st_size

    def log(self, n: int = 1, text: str = "") -> None:
        """Log rows as wandb does: the summary of a row comes before it."""
        for _ in range(n):
            summary = record_type()()
            summary.summary.update.add(nested_key=["row"], value_json=str(self.n_rows))
            self._writer.write(summary)
            row = record_type()()
            row.history.step.num = self.n_rows
            row.history.item.add(nested_key=["row"], value_json=str(self.n_rows))
            row.history.item.add(nested_key=["text"], value_json=f'"{text}"')
            self._writer.write(row)
            self.n_rows += 1

    def alert(self) -> None:
        self._write("alert", title="t", text="x", level="WARN", wait_duration=1)

    def artifact(self, path: Path) -> None:
        record = record_type()()
        record.artifact.client_id, record.artifact.digest = path.name, "d"
        record.artifact.manifest.contents.add(path=path.name, local_path=str(path))
        self._writer.write(record)

    def pad(self) -> None:
        self._writer.write(padding())

    def end(self) -> None:
        self._write("exit", exit_code=0)

    def _write(self, kind: str, **fields: Any) -> None:
        record = record_type()()
        for name, value in fields.items():
            setattr(getattr(record, kind), name, value)
        self._writer.write(record)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(str(tmp_path / "store"))


def stash_of(task: Task, store: OfflineStore) -> RunStash:
    return RunStash(task.folder, lambda: store)


def rows_of(log: Path) -> list[int]:
    return [
        int(next(item.value_json for item in record.history.item if item.nested_key[0] == "row"))
        for record in read_records(log)
        if record.WhichOneof("record_type") == "history"
    ]


def release_leases(store: OfflineStore) -> None:
    for lease in Path(store.url).rglob(LEASE):
        lease.unlink()


def stored_copies(store: OfflineStore) -> Iterator[Path]:
    for found in find_runs(store):
        with store.borrow(found.stored, timeout_s=60, changing=CHANGING) as borrowed:
            copy = Path(store.url).with_name(f"copy-{uuid.uuid4().hex}")
            shutil.copytree(borrowed.folder, copy)
        unpack(copy, found.stored.about)
        yield copy


def stored_rows(store: OfflineStore) -> list[list[int]]:
    return [rows_of(log_path(folder)) for folder in stored_copies(store)]


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 100_000), max_size=8), texts=st.lists(st.integers(0, 40_000)))
def test_packed_in_pieces_a_log_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], texts: list[int]
) -> None:
    task = Task(tmp_path_factory.mktemp("pieces"))
    packer, packed = RunPacker(task.folder), b""
    for size, n in zip(sizes, texts, strict=False):
        task.log(text="x" * n)
        packed += packer.advance(most=size)
    task.end()
    while piece := packer.advance(most=BUSY):
        packed += piece
    assert packed == RunPacker(task.folder).advance(most=10**9)


def test_rows_that_have_arrived_are_left_out_and_their_last_summary_stays(task: Task) -> None:
    task.log(3)
    arrived = task.size
    task.pad()
    task.log(2)
    packer = RunPacker(task.folder)
    log = task.folder / "packed"
    log.write_bytes(packer.advance(arrived=arrived, most=BUSY))
    assert rows_of(log) == [3, 4]
    assert packer.n_left_out == 3
    kinds = [record.WhichOneof("record_type") for record in read_records(log)]
    assert kinds == ["run", "summary", "summary", "history", "summary", "history"]
    assert [
        record.summary.update[0].value_json
        for record in read_records(log)
        if record.WhichOneof("record_type") == "summary"
    ] == ["2", "3", "4"]


def test_whatever_step_was_the_last_its_rows_are_stored(task: Task, store: OfflineStore) -> None:
    stash = stash_of(task, store)
    for n in (0, 1, 5, 300, 1):  # some steps fill a part, some do not
        task.log(n, text="x" * 400)
        stash.step(DeliveryProgress(), most=BUSY)
        release_leases(store)
        assert stored_rows(store) == [list(range(task.n_rows))]


def test_a_run_that_is_stored_in_steps_is_whole_after_the_last(
    task: Task, store: OfflineStore
) -> None:
    stash = stash_of(task, store)
    task.log(2)
    stash.step(DeliveryProgress(), most=BUSY)
    task.log(2)
    task.end()
    stash.finish(RunTally(exit_code=0))
    (found,) = find_runs(store)
    assert not found.is_growing
    assert (found.run.n_rows, found.run.exit_code) == (4, 0)
    assert stored_rows(store) == [[0, 1, 2, 3]]
    assert not list(Path(store.url).rglob("growing.json"))


def test_a_living_task_keeps_its_stored_run(task: Task, store: OfflineStore) -> None:
    stash_of(task, store).step(DeliveryProgress(), most=BUSY)
    with pytest.raises(BusyError):
        stored_rows(store)


def test_a_step_that_hangs_does_not_spoil_the_last_one(
    task: Task, store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stash = stash_of(task, store)
    task.log()
    stash.step(DeliveryProgress(), most=BUSY)
    go_on, hangs = threading.Event(), threading.Event()
    write = growing_folder.write_file

    def hanging(files: Any, path: str, data: bytes) -> None:
        if path.endswith("growing.json.new"):
            hangs.set()
            go_on.wait(30)
        write(files, path, data)

    task.log()
    with monkeypatch.context() as patch:
        patch.setattr(growing_folder, "write_file", hanging)
        step = threading.Thread(
            target=stash.step, args=(DeliveryProgress(),), kwargs={"most": BUSY}
        )
        step.start()
        assert hangs.wait(30)
        task.log()
        task.end()
        stash.finish(RunTally(exit_code=0))
        go_on.set()
        step.join(30)
    # the late write has made `growing.json` again, and nobody believes it
    assert list(Path(store.url).rglob("growing.json"))
    (found,) = find_runs(store)
    assert (found.is_growing, found.run.n_rows) == (False, 3)


def test_a_task_whose_stored_run_was_taken_stores_all_of_it_again(
    task: Task, store: OfflineStore
) -> None:
    stash = stash_of(task, store)
    task.log()
    stash.step(DeliveryProgress(), most=BUSY)
    release_leases(store)
    (taken,) = find_runs(store)
    with store.borrow(taken.stored, timeout_s=60, changing=CHANGING):
        task.log()
        task.end()
        stash.finish(RunTally(exit_code=0))
    assert sorted(found.run.n_rows for found in find_runs(store)) == [1, 2]


def test_rows_that_were_left_out_count_as_rows_before_the_stored_ones(
    task: Task, store: OfflineStore
) -> None:
    stash = stash_of(task, store)
    progress = DeliveryProgress(first_line=0)
    task.log(5)
    progress = replace(progress, arrived=task.size)
    progress.save(task.folder)
    stash.skim(progress)
    task.log(2)
    stash.step(progress, most=BUSY)
    release_leases(store)
    (copy,) = stored_copies(store)
    assert rows_of(log_path(copy)) == [5, 6]
    stored = DeliveryProgress.load(copy)
    assert (stored.first_line, stored.arrived) == (5, 0)
    assert (copy / "steps.jsonl").read_text() == "[0, true]\n"


@pytest.mark.parametrize("changes", [{"first_line": 7}, {"is_shared": True}])
def test_of_a_run_that_has_rows_of_others_every_row_is_stored(
    task: Task, store: OfflineStore, changes: dict[str, Any]
) -> None:
    task.log(5)
    progress = replace(DeliveryProgress(first_line=0), arrived=task.size, **changes)
    progress.save(task.folder)
    stash = stash_of(task, store)
    stash.skim(progress)
    stash.step(progress, most=BUSY)
    release_leases(store)
    assert stored_rows(store) == [[0, 1, 2, 3, 4]]


def test_an_artifact_whose_file_was_not_stored_in_time_is_left_out(
    task: Task, store: OfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
    task.artifact(tmp_path / "first")
    stash = stash_of(task, store)
    stash.step(DeliveryProgress(), most=BUSY)
    monkeypatch.setattr("flytekitplugins.wbmon.delivery.runs.stash._FILES_S", -1.0)
    task.artifact(tmp_path / "second")
    task.log()
    stash.step(DeliveryProgress(), most=BUSY)
    assert stash.has_more
    release_leases(store)
    (copy,) = stored_copies(store)
    assert read_content(copy).artifacts == {"first": "d"}
    assert rows_of(log_path(copy)) == [0]


def test_a_short_run_is_stored_in_one_go(task: Task, store: OfflineStore) -> None:
    task.log(3)
    task.end()
    keep_run(task.folder, lambda: store)
    assert stored_rows(store) == [[0, 1, 2]]


def test_what_is_stored_is_deleted_with_its_folder(task: Task, store: OfflineStore) -> None:
    stash = stash_of(task, store)
    stash.step(DeliveryProgress(), most=BUSY)
    stash.remove()
    assert find_runs(store) == []
    assert not [path for path in Path(store.url).rglob("*") if path.is_file()]


def test_the_worker_waits_until_the_store_knows_what_it_has_sent(
    task: Task, store: OfflineStore
) -> None:
    wait = ReceiptWait(task.folder)
    wait.wait(DeliveryProgress(first_line=0))  # nothing is stored
    assert not wait.is_open
    stash = stash_of(task, store)
    task.alert()
    stash.step(DeliveryProgress(), most=BUSY)
    assert wait.is_open
    progress = DeliveryProgress(first_line=0, alerts=[0])
    progress.save(task.folder)
    receipt = Receipt.load(task.folder)
    assert receipt is not None
    assert not receipt.covers(progress)
    waiting = threading.Thread(target=wait.wait, args=(progress,))
    waiting.start()
    stash.step(progress, most=0)
    waiting.join(30)
    assert not waiting.is_alive()
    assert not wait.is_open
