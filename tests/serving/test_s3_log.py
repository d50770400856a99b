"""A prediction log in a bucket: sent by servers that die, compacted by nodes that do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon import CompactPredictionLog, JoinFeedback
from flytekitplugins.wbmon.data.sources import Source
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.monitor.prediction_log.files import LogFiles
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.storage.segments.upload import Uploader
from support.clock import today, tomorrow
from support.prediction_log import running, segments, wait_for
from support.s3 import S3Server
from support.store import Store
from support.waiting import wait_until

LONG_AGO = time.time() - 7200
SERVE = """
import itertools, time
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
log = PredictionLogger("api", "{destination}", sampling=SamplingPolicy(rate=1.0), spool="spool",
                       segment_bytes=100_000, flush_interval=0.05)
def serve(i):
    name = log.log_prediction(features={{"i": i}}, prediction="yes", latency_ms=1.0)
    log.log_feedback(name, "label", label="yes" if i % 2 else "no")
"""
FOREVER = """
for i in itertools.count():
    serve(i)
    if i % 100 == 0:
        print("served", i, flush=True)
        time.sleep(0.2)
"""


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket of the test's own, which this process reaches as a server would."""
    for name, value in s3.fsspec_env.items():
        monkeypatch.setenv(name, value)
    store = s3.bucket(f"log-{abs(hash(tmp_path)):x}")
    with store.flyte_context():
        yield store


@pytest.mark.parametrize(("before", "after"), [(1, 20_000), (20_000, 1)])
def test_a_part_that_another_compaction_puts_anew_is_read(
    bucket: Store, before: int, after: int
) -> None:
    log = LogFiles(bucket.url("models", "log"), "api")
    for n_rows in (before, after):
        rows = [{"request_id": uuid4().hex, "prediction": i} for i in range(n_rows)]
        log.write_part("prediction", today(), "part-s-0.parquet", log_table("prediction", rows))
        if n_rows == before:
            ((path, size),) = log.parts("prediction", today())

    part = log.part(path, size)

    assert part is not None
    assert part.n_rows == after
    assert log.read_part(path).num_rows == after


def numbers(source: Source) -> list[int]:
    return sorted(source.column("feature.i").to_pylist())


def segment(*ids: str) -> bytes:
    rows = [
        {"kind": "prediction", "timestamp": f"{today()}T10:00:00.000001+00:00", "request_id": name}
        for name in ids
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def halts_while_writing(process: subprocess.Popen[str], spool: Path) -> bool:
    """Halt a server; let it go on if it has no segment open just now."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    if segments(spool, "open"):
        return True
    process.send_signal(signal.SIGCONT)
    return False


@pytest.mark.slow
def test_a_killed_servers_rows_are_sent_by_the_next_and_compacted_once(
    s3: S3Server, bucket: Store, tmp_path: Path
) -> None:
    destination = bucket.url("models", "log")
    spool = tmp_path / "spool"
    code = SERVE.format(destination=destination) + FOREVER
    with running(code, home=tmp_path, env=s3.fsspec_env) as process:
        wait_for(process, "served 300")
        wait_until(lambda: len(bucket.files()) >= 2)
        wait_until(lambda: halts_while_writing(process, spool))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    (orphan,) = segments(spool, "open")
    with orphan.open("ab") as file:
        file.write(b'{"kind": "prediction", "timest')
    os.utime(orphan, (LONG_AGO, LONG_AGO))
    rows = [
        json.loads(line) for path in segments(spool) for line in path.open() if line[-1] == "\n"
    ]
    written = {row["features"]["i"] for row in rows if row["kind"] == "prediction"}

    # the next process only sees the folder; it ends without closing its log
    with running(
        SERVE.format(destination=destination) + "serve(1_000_000)\n",
        home=tmp_path,
        env=s3.fsspec_env,
    ) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert segments(spool) == []

    compact = CompactPredictionLog("s3.compact", destination=destination, service="api")
    first = compact(at=tomorrow())
    again = compact(at=tomorrow())

    found = numbers(open_data(first.predictions))
    assert found == [*range(found[-2] + 1), 1_000_000]
    assert set(found) >= written
    assert (first.report.n_torn, first.report.n_duplicates) == (1, 0)
    assert first.report.n_predictions == len(found)
    assert (again.report.n_segments, again.report.n_predictions) == (0, 0)
    assert numbers(open_data(again.predictions)) == found
    assert not [path for path in bucket.files() if "/sealed/" in path]
    joined = JoinFeedback("s3.join")(predictions=again.predictions, feedback=again.feedback)
    labels = open_data(joined.data).column("label").to_pylist()
    assert labels.count("yes") == sum(i % 2 for i in found)


def test_open_segments_in_a_bucket_are_sealed_torn_tails_cut_and_duplicates_left_out(
    bucket: Store,
) -> None:
    root = bucket.root
    bucket.write(bucket.url("sealed", "api", "a.jsonl"), segment("r1", "r2"))
    bucket.write(bucket.url("open", "api", "b.jsonl"), segment("r2", "r3") + b'{"kind": "pre')

    def compact(after: timedelta) -> CompactionReport:
        return compact_prediction_log(root, "api", now=datetime.now(timezone.utc) + after)

    soon, late, again = (compact(timedelta(hours=hours)) for hours in (0, 1, 2))
    assert (soon.n_segments, soon.n_orphans, soon.n_predictions) == (1, 0, 2)
    assert (late.n_segments, late.n_orphans, late.n_predictions) == (1, 1, 1)
    assert (late.n_torn, late.n_duplicates) == (1, 1)
    assert (again.n_segments, again.n_predictions) == (0, 0)


def test_a_bucket_with_what_cannot_be_read_is_compacted_and_levelled(bucket: Store) -> None:
    root = bucket.root
    bucket.write(bucket.url("sealed", "api", "a.jsonl"), segment("r1") + b"{torn\n" + segment("r2"))
    number = segment("r3").replace(b'"request_id"', b'"prediction": 0.5, "request_id"')
    bucket.write(bucket.url("sealed", "api", "b.jsonl"), number)
    first = compact_prediction_log(root, "api")
    parts = sorted(path for path in bucket.files() if path.endswith(".parquet"))
    urls = [f"s3://{path.removeprefix('s3://')}" for path in parts]
    columns = {str(pq.read_schema(BytesIO(bucket.read(url) or b"")).types) for url in urls}
    bucket.write(urls[0], b"PAR1")
    bucket.write(bucket.url("sealed", "api", "c.jsonl"), segment("r3", "r4"))
    second = compact_prediction_log(root, "api")

    assert (first.n_torn, len(parts), len(columns)) == (1, 2, 1)
    assert (second.n_damaged, second.n_duplicates, second.n_predictions) == (1, 1, 1)
    aside = [path for path in bucket.files() if "/quarantine/" in path]
    assert [path.rpartition("/")[2] for path in aside] == ["a.jsonl", "part-a-0.parquet"]


def test_a_task_that_breaks_half_way_in_a_bucket_is_done_again(
    bucket: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        bucket.write(bucket.url("sealed", "api", f"{name}.jsonl"), segment(f"{name}1", f"{name}2"))
    delete_segment, n_left = LogFiles.delete_segment, [1]

    def breaks(log: Any, path: str, *, keep: bool) -> None:
        if not n_left:
            raise ConnectionError("the store is gone")
        n_left.pop()
        delete_segment(log, path, keep=keep)

    with monkeypatch.context() as patch:
        patch.setattr(LogFiles, "delete_segment", breaks)
        with pytest.raises(ConnectionError):
            compact_prediction_log(bucket.root, "api")
    report = compact_prediction_log(bucket.root, "api")

    assert (report.n_segments, report.n_predictions, report.n_duplicates) == (1, 2, 0)
    parts = [path for path in bucket.files() if path.endswith(".parquet")]
    assert len(parts) == 2
    assert not [path for path in bucket.files() if "_incomplete" in path]


def test_a_bucket_that_cannot_be_reached_costs_nothing_but_time(
    bucket: Store, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    missing = PredictionLogger(
        "api",
        "s3://no such bucket",
        sampling=SamplingPolicy(rate=1.0),
        spool=str(spool),
    )
    missing.log_prediction(prediction="yes")
    missing.close(timeout=2.0)
    (kept,) = segments(spool, "sealed")

    assert Uploader(kept.parent, bucket.root, "api").send_waiting()
    assert segments(spool) == []
    assert compact_prediction_log(bucket.root, "api").n_predictions == 1
