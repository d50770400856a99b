from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from flytekitplugins.wbmon.publish.alerts.read_heartbeat import newest_file, read_heartbeat
from support.examples import AT
from support.s3 import S3Server


def write(path: Path, content: bytes = b"rows", *, age: timedelta = timedelta(0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    written = (AT - age).timestamp()
    os.utime(path, (written, written))


def test_the_newest_file_of_the_last_partition_counts(tmp_path: Path) -> None:
    write(tmp_path / "dt=2026-02-03" / "late.parquet", age=timedelta(hours=1))
    write(tmp_path / "dt=2026-02-04" / "part-0.parquet", age=timedelta(hours=9))
    write(tmp_path / "dt=2026-02-04" / "part-1.parquet", age=timedelta(hours=5))
    at, name = newest_file(str(tmp_path), fsspec.filesystem("file"))
    assert at == AT - timedelta(hours=5)
    assert name.endswith("dt=2026-02-04/part-1.parquet")


@pytest.mark.parametrize(
    ("older", "newest"),
    [
        ("dt=2026-2-9", "dt=2026-2-13"),
        ("hour=9", "hour=10"),
        ("dt=2026-02-09", "dt=2026-02-13"),
        ("dt=__HIVE_DEFAULT_PARTITION__", "dt=2026-02-13"),
        ("_temporary", "2026"),
        (".spark-staging", "-"),
        ("v" + "9" * 30, "v1" + "0" * 30),
    ],
)
def test_the_last_partition_is_the_last_by_its_numbers(
    tmp_path: Path, older: str, newest: str
) -> None:
    write(tmp_path / older / "part-0.parquet")
    write(tmp_path / newest / "part-0.parquet", age=timedelta(hours=1))
    _, name = newest_file(str(tmp_path), fsspec.filesystem("file"))
    assert name.endswith(f"/{newest}/part-0.parquet")


def test_manifests_hidden_and_empty_files_are_no_data(tmp_path: Path) -> None:
    for name in ("_manifest.json", ".part-0.crc"):
        write(tmp_path / name)
    write(tmp_path / "part-0.parquet", b"")
    assert newest_file(str(tmp_path), fsspec.filesystem("file")) == (None, str(tmp_path))


def test_a_folder_that_is_not_there_has_no_data(tmp_path: Path) -> None:
    at, _ = newest_file(str(tmp_path / "never"), fsspec.filesystem("file"))
    assert at is None


def test_it_sees_what_is_on_s3(s3: S3Server) -> None:
    store = s3.bucket("heartbeat")
    store.write(store.url("log", "dt=2026-02-04", "part-0.parquet"), b"rows")
    filesystem = fsspec.url_to_fs(store.root, **store.options)[0]
    at, name = newest_file(store.url("log"), filesystem)
    assert at is not None
    assert at.tzinfo is not None
    assert name == "heartbeat/log/dt=2026-02-04/part-0.parquet"


def test_a_pulse_says_what_is_not_watched_and_what_cannot_be_seen(tmp_path: Path) -> None:
    write(tmp_path / "data" / "part-0.parquet", age=timedelta(hours=2))
    pulse = read_heartbeat(at=AT, data_uri=str(tmp_path / "data"))
    assert pulse.data_age_h == pytest.approx(2)
    assert str(pulse.report_age_h) == "nan"
    unseen = read_heartbeat(at=AT, watched_uri="nonsense://bucket/state.json")
    assert unseen.report_age_h == float("inf")
    assert "nonsense" in unseen.problem
    assert "Could not look" in unseen.to_html()
    assert "Signs of life" in pulse.to_html()
    never = read_heartbeat(at=AT, watched_uri=str(tmp_path / "never.json"))
    assert "No sign of life" in never.to_html()
