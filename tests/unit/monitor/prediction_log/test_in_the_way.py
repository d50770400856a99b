"""Files and folders that nobody expects in a log: each is counted, and the rest is read."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import CallLog
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log, with_day
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.storage.segments.json_lines import to_line

if TYPE_CHECKING:
    from support.s3 import S3Server

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


def foreign(name: str, *values: Any) -> Callable[[Path], None]:
    """A part with other kinds of values in a column, or with the column once for each."""

    def spoil(folder: Path) -> None:
        table = pq.read_table(folder / "part-s-1-0.parquet").slice(0, 1)
        table = table.drop_columns([name]) if name in table.column_names else table
        for value in values:
            table = table.append_column(name, pa.array([value]))
        pq.write_table(table, folder / "part-foreign-0.parquet")

    return spoil


def copied(folder: Path) -> None:
    (folder / "sub").mkdir()
    shutil.copy(folder / "part-s-1-0.parquet", folder / "sub" / "part-s-1-0.parquet")


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
        (lambda folder: (folder / "sub").mkdir(), 6),
        (copied, 6),
        (lambda folder: (folder / "x.parquet").symlink_to("/nonexistent"), 6),
        (lambda folder: (folder / "part-x-0.parquet").symlink_to("part-s-1-0.parquet"), 6),
        (lambda folder: (folder / "loop").symlink_to(folder), 6),
        (lambda folder: os.mkfifo(folder / "part-x-0.parquet"), 6),
        (foreign("prediction", date(2026, 1, 1)), 6),
        (foreign("prediction", datetime(2026, 1, 1, tzinfo=timezone.utc)), 6),
        (foreign("prediction", [1, 2]), 6),
        (foreign("prediction", {"a": 1}), 6),
        (foreign("feature.f", datetime(2026, 1, 1, tzinfo=timezone.utc)), 6),
        (foreign("feature.f", timedelta(1)), 6),
        (foreign("feature.f", [1.5]), 6),
        (foreign("prediction", 1, 1), 6),
        (foreign("request_id", "a", "b"), 6),
        (foreign("other", 1, 1), 6),
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
    assert len(open_source(day(tmp_path)).column("request_id")) == n_rows
    # only what is missing is so the next night, too
    is_missing = n_rows == 3 and not any((tmp_path / "quarantine").rglob("part-s-1-0.parquet"))
    assert night(tmp_path).n_damaged == is_missing


@pytest.mark.parametrize(
    "place",
    ["", "service=api", "service=api/prediction_log", f"service=api/prediction_log/dt={DAY}"],
)
def test_a_file_in_place_of_a_folder_of_the_quarantine_makes_way(
    tmp_path: Path, place: str
) -> None:
    put(tmp_path, "s-1")
    night(tmp_path)
    damaged_pages(day(tmp_path))
    put(tmp_path, "s-2")
    with (tmp_path / "sealed/api/s-2.jsonl").open("a") as file:
        file.write("torn\n")
    obstacle = tmp_path / "quarantine" / place
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("somebody's")

    report = night(tmp_path)

    assert (report.n_damaged, report.n_torn, report.n_left) == (2, 1, 0)
    assert report.n_day_predictions == ds.dataset(day(tmp_path)).to_table().num_rows == 3
    (moved,) = obstacle.parent.glob(f"{obstacle.name}.*")
    assert moved.read_text() == "somebody's"


def test_what_was_put_aside_before_stays(tmp_path: Path) -> None:
    put(tmp_path, "s-1")
    night(tmp_path)
    for text in ("one", "two", "three"):
        (day(tmp_path) / "notes.csv").write_text(text)
        (day(tmp_path) / "sub").mkdir()
        (day(tmp_path) / "sub" / text).write_text(text)
        assert night(tmp_path).n_damaged == 2

    aside = tmp_path / f"quarantine/service=api/prediction_log/dt={DAY}"
    found = {path.read_text() for path in aside.glob("notes.csv*")}
    assert found == {path.name for path in aside.glob("sub*/*")} == {"one", "two", "three"}


def test_a_bucket_may_have_marks_of_folders(s3: S3Server) -> None:
    """As a console makes them: empty objects whose names end in a slash."""
    store = s3.bucket("marks")
    files = fsspec.filesystem("s3", **store.options)
    folders = (
        "sealed/api/", "open/api/", "prediction_log/", "prediction_log/service=api/",
        f"prediction_log/service=api/dt={DAY}/", f"feedback_log/service=api/dt={DAY}/",
        f"serving_window/service=api/dt={DAY}/", f"prediction_log/service=api/dt={DAY}/empty/",
        f"prediction_log/service=api/dt={DAY}/sub/", "quarantine/service=api/",
    )  # fmt: skip
    for folder in folders:
        files.call_s3("put_object", Bucket="marks", Key=f"log/{folder}", Body=b"")
    row = {"kind": "prediction", "timestamp": f"{DAY}T10:00:00.000000+00:00", "request_id": "a"}
    files.pipe_file("marks/log/sealed/api/s-1.jsonl", to_line(row | {"prediction": 1}))
    files.pipe_file(f"marks/log/prediction_log/service=api/dt={DAY}/sub/x.parquet", b"")

    report = compact_prediction_log("s3://marks/log", "api", filesystem=files)
    report = with_day(report, "s3://marks/log", DAY, filesystem=files)

    # of the folders only one had something in it
    assert (report.n_predictions, report.n_left, report.n_damaged) == (1, 0, 1)
    aside = f"marks/log/quarantine/service=api/prediction_log/dt={DAY}/sub/x.parquet"
    assert files.exists(aside)
    for table in ("prediction_log", "feedback_log", "serving_window"):
        place = f"s3://marks/log/{table}/service=api/dt={DAY}"
        n_rows = len(open_source(place, filesystem=files).column("service"))
        assert n_rows == (table == "prediction_log")


@pytest.mark.parametrize(
    "place",
    [
        f"prediction_log/service=api/dt={DAY}/_incomplete-part-s-9-0.parquet.0123abcd",
        f"feedback_log/service=api/dt={DAY}/_incomplete-part-empty.parquet.0123abcd",
        f"prediction_log/service=api/dt={DAY}/._manifest.json.{'0' * 32}",
        "prediction_log/service=api/_incomplete-_to_level.json.0123abcd",
        "quarantine/service=api/_incomplete-s-1.jsonl.0123abcd",
    ],
)
@pytest.mark.parametrize(("age_s", "stays"), [(3700, False), (60, True)])
def test_what_a_killed_compaction_left_half_written_is_deleted_when_it_is_old(
    tmp_path: Path, place: str, age_s: float, stays: bool
) -> None:
    put(tmp_path, "s-1")
    night(tmp_path)
    left = tmp_path / place
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("half")
    os.utime(left, (time.time() - age_s,) * 2)

    report = night(tmp_path)

    assert left.exists() is stays
    assert report.n_damaged == 0


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


@pytest.mark.parametrize("name", ["n" * 247, "ä" * 123])
def test_the_longest_name_of_a_service_that_is_taken_can_be_compacted(
    tmp_path: Path, name: str
) -> None:
    for make in (PredictionLogger, CallLog):
        with pytest.raises(ConfigError, match="service must be at most 247 bytes"):
            make(service=f"{name}xx", destination=str(tmp_path))
    log = PredictionLogger(name, str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    log.log_prediction(prediction=1)
    log.close()
    report = compact_prediction_log(str(tmp_path), name)

    assert (report.n_predictions, report.n_left) == (1, 0)
    report = with_day(report, str(tmp_path), report.days[0])
    assert report.n_day_predictions == 1


def test_an_instance_too_long_for_names_of_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="instance must be at most 128 bytes"):
        PredictionLogger("api", str(tmp_path), instance="n" * 129)
