from __future__ import annotations

import json
from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.traces.drain import read_target
from flytekitplugins.wbmon.delivery.traces.pending import (
    DrainResult,
    PendingRecords,
    read_result,
    write_result,
)
from flytekitplugins.wbmon.delivery.traces.spool import RECORDS, RESULT, TARGET, Spool, Target
from flytekitplugins.wbmon.errors import DataError
from support.file_limit import file_limit


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    target = Target(entity="ops", project="p", trace_url="http://127.0.0.1:9")
    return Spool(tmp_path / "spool", target, redact=lambda text: text)


@pytest.mark.parametrize("limit", [500, 1000, 1001, 1010])
def test_a_full_disk_loses_whole_records_which_are_counted(spool: Spool, limit: int) -> None:
    with file_limit(limit):
        for number in range(50):
            spool.write("file_create", {"name": f"{number:03}", "content": "x" * 40})
    spool.write("file_create", {"name": "last"})
    spool.close()
    lines = (spool.folder / RECORDS).read_bytes().splitlines()
    names = [json.loads(line)["req"]["name"] for line in lines]
    assert names == [f"{number:03}" for number in range(len(names) - 1)] + ["last"]
    assert spool.n_records == len(names)
    assert spool.n_lost == 51 - len(names)
    assert spool.why_lost
    assert read_target(spool.folder).n_records == len(names)


def test_a_disk_that_is_full_at_the_end_leaves_the_target_as_it_was(spool: Spool) -> None:
    spool.write("file_create", {"name": "first"})
    with file_limit(10):
        spool.close()
    assert read_target(spool.folder).n_records == -1
    assert read_target(spool.folder).entity == "ops"


def test_what_was_confirmed_on_a_full_disk_ends_no_delivery(spool: Spool) -> None:
    spool.write("file_create", {"name": "first"})
    spool.close()
    pending = PendingRecords(folder=spool.folder)
    pending.refresh()
    with file_limit(10):
        for batch in pending.batches(is_over=True):
            pending.confirm(batch)
        result = pending.result("")
        assert result == DrainResult(1, 0, 0, "")
    # nothing was noted in part
    again = PendingRecords(folder=spool.folder)
    again.refresh()
    assert len(again.waiting) == 1


def test_a_result_that_has_no_room_beside_the_spool_is_found_elsewhere(spool: Spool) -> None:
    (spool.folder / RESULT).mkdir()
    write_result(spool.folder, DrainResult(3, 0, 0, ""))
    assert read_result(spool.folder) == DrainResult(3, 0, 0, "")


@pytest.mark.parametrize("exception", ["[" * 100_000, "{", "no JSON"])
def test_an_exception_that_is_no_json_loses_no_record(spool: Spool, exception: str) -> None:
    spool.write("call_end", {"end": {"exception": exception}})
    spool.close()
    (line,) = (spool.folder / RECORDS).read_text().splitlines()
    assert json.loads(line)["req"]["end"]["exception"] == exception


def test_damaged_files_of_a_spool_are_one_error(spool: Spool) -> None:
    spool.write("file_create", {"name": "first"})
    spool.close()
    for name, read in (
        (RECORDS, PendingRecords(folder=spool.folder).refresh),
        (TARGET, lambda: read_target(spool.folder)),
    ):
        (spool.folder / name).write_text("[" * 100_000 + "\n")
        with pytest.raises(DataError, match="JSON must not be nested so deeply"):
            read()
