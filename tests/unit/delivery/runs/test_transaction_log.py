from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb.proto.wandb_internal_pb2 import Record

from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    BLOCK,
    LogWriter,
    exit_record,
    has_ended,
    log_path,
    read_records,
    wait_for_end,
    write_records,
)
from flytekitplugins.wbmon.errors import DataError
from support import wandb_log
from support.file_limit import file_limit

EDGES = [0, 1, 200, BLOCK, 3 * BLOCK]


def record(size: int) -> Record:
    made = Record()
    made.history.item.add(key="x", value_json='"' + "a" * size + '"')
    return made


@given(sizes=st.lists(st.sampled_from(EDGES) | st.integers(BLOCK - 60, BLOCK), max_size=8))
def test_what_is_written_is_read_back_by_us_and_by_another_reader(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "run-x.wandb"
    records = [record(size) for size in sizes]
    write_records(path, records)
    assert list(read_records(path)) == records
    assert list(wandb_log.read_records(path.read_bytes())) == records
    assert not has_ended(path)
    write_records(path, [*records, exit_record(0)])
    assert has_ended(path)


def test_a_large_record_takes_no_longer_than_its_size_explains(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    large = record(64 * 1024 * 1024)
    began = time.process_time()
    write_records(path, [large])
    (read,) = read_records(path)
    assert time.process_time() - began < 5  # it takes 0.3 s; with a copy for each block, 20 s
    assert read == large


@given(cut=st.integers(1, 5 * BLOCK))
def test_a_torn_tail_loses_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / "run-x.wandb"
    records = [record(size) for size in (10, BLOCK, 50, 2 * BLOCK, 10)]
    write_records(path, records)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(7, len(whole) - cut)])
    read = list(read_records(path))
    assert read == records[: len(read)]
    assert len(read) < len(records)


@pytest.mark.parametrize("position", [7, 11, 13, 20])
def test_a_damaged_record_ends_the_log(tmp_path: Path, position: int) -> None:
    path = tmp_path / "run-x.wandb"
    write_records(path, [record(10)])
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(bytes(data))
    assert list(read_records(path)) == []


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(b"PAR1 and so on")
    with pytest.raises(DataError, match="must be a W&B transaction log"):
        list(read_records(path))


def test_a_folder_holds_one_log(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found 0"):
        log_path(tmp_path)
    (tmp_path / "run-a.wandb").touch()
    assert log_path(tmp_path).name == "run-a.wandb"
    with pytest.raises(DataError, match="was deleted"):
        log_path(tmp_path / "gone")


def test_the_end_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "run-x.wandb"
    assert not wait_for_end(path, 0.02)
    thread = threading.Thread(
        target=lambda: (time.sleep(0.05), write_records(path, [exit_record(0)]))
    )
    thread.start()
    assert wait_for_end(path, 10)
    thread.join()


@given(limit=st.integers(8, 3 * BLOCK), size=st.integers(0, BLOCK))
def test_a_record_that_does_not_fit_on_the_disk_leaves_the_log_whole(
    tmp_path_factory: pytest.TempPathFactory, limit: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "run-x.wandb"
    writer = LogWriter(path)
    written = []
    with file_limit(limit):
        try:
            while len(written) < 1000:
                writer.write(record(size))
                written.append(record(size))
        except OSError:
            pass
    assert list(read_records(path)) == written
    # the disk has room again
    writer.write(exit_record(0))
    writer.close()
    assert list(read_records(path)) == [*written, exit_record(0)]
