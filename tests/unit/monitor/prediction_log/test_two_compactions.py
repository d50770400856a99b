"""Two compactions of one log at once, and two segments of one name."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.files import LogFiles
from flytekitplugins.wbmon.storage.segments.json_lines import to_line

DAY = "2026-03-10"


def put(root: Path, name: str, *ids: str | None, more: bytes = b"") -> None:
    folder = root / "sealed" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"kind": "prediction", "timestamp": f"{DAY}T10:00:00.000000+00:00", "request_id": each,
         "prediction": i}
        for i, each in enumerate(ids)
    ]  # fmt: skip
    (folder / f"{name}.jsonl").write_bytes(b"".join(map(to_line, rows)) + more)


def day(root: Path) -> Path:
    return root / "prediction_log" / "service=api" / f"dt={DAY}"


def ids(root: Path) -> list[str | None]:
    parts = sorted(day(root).glob("part-*.parquet"))
    return [
        value
        for part in parts
        for value in pq.ParquetFile(part).read(["request_id"])["request_id"].to_pylist()
    ]


def test_of_two_compactions_at_once_neither_fails_or_loses_a_count(tmp_path):
    for i in range(12):
        put(tmp_path, f"s-{i:02}", *(f"{i}-{k}" for k in range(5)), "again")

    with ThreadPoolExecutor(2) as pool:
        nights = [pool.submit(compact_prediction_log, str(tmp_path), "api") for _ in range(2)]
    reports = [night.result() for night in nights]

    assert not any(report.n_left or report.n_damaged for report in reports)
    found = ids(tmp_path)
    assert {*found} == {*(f"{i}-{k}" for i in range(12) for k in range(5)), "again"}
    assert len([each for each in found if each != "again"]) == 60
    assert len(json.loads((day(tmp_path) / "_manifest.json").read_text())["segments"]) == 12
    assert not [*day(tmp_path).glob("_incomplete-*")]


@pytest.mark.parametrize(("before", "after"), [(1, 5_000), (5_000, 1)])
def test_a_part_that_another_compaction_puts_anew_is_read(tmp_path, before, after):
    log = LogFiles(str(tmp_path), "api")
    for n_rows in (before, after):
        rows = [{"request_id": f"{i}", "prediction": i} for i in range(n_rows)]
        log.write_part("prediction", DAY, "part-s-0.parquet", log_table("prediction", rows))
        if n_rows == before:
            ((path, size),) = log.parts("prediction", DAY)

    part = log.part(path, size)

    assert part is not None
    assert part.n_rows == after
    assert log.read_part(path).num_rows == after


def test_a_segment_of_a_name_that_was_there_adds_its_rows(tmp_path):
    for more in (b"torn 1\n", b"torn 2\n"):
        first = more == b"torn 1\n"
        put(tmp_path, "s-1", *("ab" if first else "bc"), more=more)
        report = compact_prediction_log(str(tmp_path), "api")
        assert (report.n_predictions, report.n_duplicates) == ((2, 0) if first else (1, 1))

    assert ids(tmp_path) == ["a", "b", "c"]
    aside = sorted((tmp_path / "quarantine" / "service=api").glob("*.jsonl"))
    assert [json.loads(path.read_text())["line"] for path in aside] == ["torn 2", "torn 1"]
    assert json.loads((day(tmp_path) / "_manifest.json").read_text())["rows"] == 3


def test_rows_without_an_id_are_told_apart_by_what_they_say(tmp_path):
    put(tmp_path, "s-1", None, None, None)

    report = compact_prediction_log(str(tmp_path), "api")

    assert (report.n_predictions, report.n_duplicates) == (3, 0)
