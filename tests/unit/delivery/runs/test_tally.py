from __future__ import annotations

from pathlib import Path

import pytest

from flytekitplugins.wbmon.delivery.runs.tally import RunTally, ending
from flytekitplugins.wbmon.delivery.runs.transaction_log import exit_record
from support.file_limit import file_limit


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "run-x.wandb"
    path.write_bytes(b"x" * 50_000)
    return path


@pytest.mark.parametrize(
    ("told", "n_rows", "exit_code", "lost"),
    [
        (RunTally(exit_code=0, n_rows=5), 5, 0, ""),
        # an explicit step or `commit=False` makes rows that the task does not count
        (RunTally(exit_code=0, n_rows=5), 9, 0, ""),
        (RunTally(exit_code=0, n_rows=5), 3, 0, "2 of 5 rows"),
        (RunTally(exit_code=1, n_rows=5, failed={"log": 1}), 5, 1, "1 of 6 rows"),
        (RunTally(exit_code=0, n_rows=5), 5, None, "all that was logged after the last row"),
        (RunTally(exit_code=0, n_rows=5, is_whole=False), 5, 0, "all that was logged after"),
        (RunTally(exit_code=0, failed={"alert": 1}), 0, 0, "1 call of run.alert"),
        (RunTally(exit_code=0, failed={"alert": 2}), 0, 0, "2 calls of run.alert"),
        # the task was killed: nothing tells what it has logged
        (RunTally(), 0, None, ""),
    ],
)
def test_what_a_log_lacks_is_said_in_words(
    log: Path, told: RunTally, n_rows: int, exit_code: int | None, lost: str
) -> None:
    said = told.lost(log, n_rows=n_rows, exit_code=exit_code)
    assert said.startswith(lost)
    assert bool(said) == bool(lost)


def test_the_reason_is_the_limit_that_the_log_has_reached(log: Path) -> None:
    told = RunTally(exit_code=0, n_rows=5)
    with file_limit(51_200):
        assert "(a file may have 51200 bytes here)" in told.lost(log, n_rows=3, exit_code=None)
    assert "(wandb could not write it)" in told.lost(log, n_rows=3, exit_code=None)


def test_a_log_ends_as_the_task_said_or_else_as_it_did() -> None:
    told = RunTally(exit_code=3, n_rows=2)
    note, end = ending("1 of 2 rows", told, None)
    assert note.summary.update[0].key == "not_recorded"
    assert note.summary.update[0].value_json == '"1 of 2 rows"'
    assert end.exit.exit_code == 3
    # `wandb.finish(exit_code=1)` in the body
    assert ending("", told, exit_record(1)) == [exit_record(3)]
    assert ending("", RunTally(), exit_record(1)) == [exit_record(1)]
    assert ending("", RunTally(), None) == []


def test_a_failure_that_a_log_lacks_is_noted_in_its_summary_once() -> None:
    failure = {"error_type": "KeyError", "error_message": "'x'"}
    told = RunTally(exit_code=1, summary=failure)
    for end, known in ((None, ()), (exit_record(0), failure), (exit_record(1), ())):
        note, _ = ending("", told, end, summary_keys=known)
        assert [item.key for item in note.summary.update] == ["error_type", "error_message"]
    assert ending("", told, exit_record(1), summary_keys=failure) == [exit_record(1)]


def test_a_tally_travels_as_plain_data() -> None:
    told = RunTally(exit_code=3, summary={"error_type": "E"}, n_rows=2, failed={"log": 1})
    assert RunTally.from_dict(told.to_dict()) == told
    assert RunTally.from_dict({}) == RunTally()
