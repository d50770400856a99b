"""Files and folders that nobody expects in a log: each is counted, and the rest is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log, with_day
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.serving import PredictionLogger
from flytekitplugins.wbmon.storage.segments.json_lines import to_line

DAY = "2026-03-10"
FOREIGN = pa.table({"x": [1, 2]})
TEXTS = pa.table({"request_id": ["z"], "timestamp": ["x"], "score": ["high"]})


def put(root: Path, name: str, n: int = 3, state: str = "sealed") -> None:
    folder = root / state / "api"
    folder.mkdir(parents=True, exist_ok=True)
    at = f"{DAY}T10:00:00.000000+00:00"
    rows = [
        {"kind": "prediction", "timestamp": at, "request_id": f"{name}-{i}", "prediction": i}
        for i in range(n)
    ]
    (folder / f"{name}.jsonl").write_bytes(b"".join(map(to_line, rows)))


def night(root: Path) -> CompactionReport:
    return with_day(compact_prediction_log(str(root), "api"), str(root), DAY)


def day(root: Path) -> Path:
    return root / "prediction_log" / "service=api" / f"dt={DAY}"


def damaged_pages(folder: Path) -> None:
    part = folder / "part-s-1-0.parquet"
    data = bytearray(part.read_bytes())
    data[10:600] = bytes(590)
    part.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "n_rows"),
    [
        (lambda folder: pq.write_table(FOREIGN, folder / "foreign.parquet"), 6),
        (lambda folder: pq.write_table(FOREIGN, folder / "part-x.parquet"), 6),
        (lambda folder: pq.write_table(TEXTS, folder / "part-y-0.parquet"), 6),
        (lambda folder: (folder / "notes.csv").write_text("a,b"), 6),
        (lambda folder: (folder / "part-s-1-0.parquet").unlink(), 3),
        (damaged_pages, 3),
    ],
)
def test_what_lies_in_a_day_and_is_no_part_of_it_is_counted_and_the_day_is_read(
    tmp_path: Path, spoil: Callable[[Path], object], n_rows: int
) -> None:
    put(tmp_path, "s-1")
    assert night(tmp_path).n_damaged == 0
    spoil(day(tmp_path))
    put(tmp_path, "s-2")

    report = night(tmp_path)

    assert (report.n_damaged, report.n_day_predictions) == (1, n_rows)
    assert "nothing lost" not in report.reason
    assert ds.dataset(day(tmp_path), format="parquet").to_table().num_rows == n_rows


def test_a_file_in_place_of_a_day_is_put_aside(tmp_path: Path) -> None:
    day(tmp_path).parent.mkdir(parents=True)
    day(tmp_path).write_text("x")
    put(tmp_path, "s-1")

    report = night(tmp_path)

    assert (report.n_predictions, report.n_damaged) == (3, 1)


def test_a_folder_in_place_of_a_manifest_is_put_aside(tmp_path: Path) -> None:
    (day(tmp_path) / "_manifest.json").mkdir(parents=True)
    put(tmp_path, "s-1")

    report = night(tmp_path)

    assert (report.n_predictions, report.n_damaged) == (3, 1)


def test_a_segment_that_cannot_be_written_stays_and_the_others_are_compacted(
    tmp_path: Path,
) -> None:
    (tmp_path / "quarantine/service=api/s-1.jsonl").mkdir(parents=True)
    put(tmp_path, "s-1")
    with (tmp_path / "sealed/api/s-1.jsonl").open("a") as file:
        file.write("torn\n")
    put(tmp_path, "n" * 240)
    put(tmp_path, "s-2")

    report = night(tmp_path)

    assert (report.n_predictions, report.n_left) == (3, 2)


def test_an_instance_too_long_for_names_of_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="instance must be at most 128 bytes"):
        PredictionLogger("api", str(tmp_path), instance="n" * 129)
