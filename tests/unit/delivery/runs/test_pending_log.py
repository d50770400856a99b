from __future__ import annotations

from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.api import WandbApi
from flytekitplugins.wbmon.delivery.runs.claim import RunClaim
from flytekitplugins.wbmon.delivery.runs.pending_log import PendingLog
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    exit_record,
    log_path,
    read_records,
    write_records,
)
from support.file_limit import file_limit

N_ROWS = 50


def run_folder(tmp_path: Path) -> Path:
    """A run of some rows that ended well."""
    folder = tmp_path / "run"
    folder.mkdir()
    begin = Record()
    begin.run.entity, begin.run.project, begin.run.run_id = "ops", "p", "x"
    rows = []
    for number in range(N_ROWS):
        row = Record()
        row.history.step.num = number
        row.history.item.add(key="row", value_json=str(number))
        row.history.item.add(key="text", value_json='"' + "x" * 500 + '"')
        rows.append(row)
    write_records(folder / "run-x.wandb", [begin, *rows, exit_record(0)])
    return folder


def copy(folder: Path, arrived: range) -> tuple[PendingLog, list[str | None], list[int]]:
    """A copy without the rows that have arrived: its kinds of records, and its rows."""
    api = WandbApi("http://127.0.0.1:9", ApiKey("key"))
    claim = RunClaim(api, "", until=lambda: 0.0)
    pending = PendingLog(folder, DeliveryProgress(), arrived=arrived, served=None, claim=claim)
    pending.end(RunTally(exit_code=0, n_rows=N_ROWS))
    records = list(read_records(pending.path))
    rows = [int(one.history.item[0].value_json) for one in records if one.HasField("history")]
    return pending, [one.WhichOneof("record_type") for one in records], rows


def test_a_value_that_is_too_large_is_not_copied_and_all_rows_are(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    records = list(read_records(log_path(folder)))
    records[7].history.item.add(key="huge", value_json='"' + "x" * 11_000_000 + '"')
    write_records(log_path(folder), records)

    pending, _, rows = copy(folder, range(3))

    assert rows == list(range(3, N_ROWS))
    assert pending.path.stat().st_size < 100_000
    told = {
        item.key: item.value_json
        for one in read_records(pending.path)
        for item in one.summary.update
    }
    assert "'huge' of 1 row" in told["not_recorded"]


def test_a_copy_that_has_no_room_is_made_in_parts(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    n_sent = 0
    n_parts = 0
    with file_limit(log_path(folder).stat().st_size // 2):
        while True:
            pending, kinds, rows = copy(folder, range(n_sent))
            assert kinds[0] == "run"
            assert rows == list(range(n_sent, n_sent + len(rows)))
            assert pending.content.n_rows == N_ROWS
            n_sent, n_parts = n_sent + len(rows), n_parts + 1
            if pending.is_whole:
                break
            # only the last part has an end
            assert "exit" not in kinds
    assert kinds[-1] == "exit"
    assert n_sent == N_ROWS
    assert n_parts > 1
