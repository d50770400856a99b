from __future__ import annotations

import os
from pathlib import Path

import pytest

from flytekitplugins.wbmon.storage.segments.owner import has_dead_writer
from flytekitplugins.wbmon.storage.segments.writer import SegmentWriter
from support.prediction_log import segments

MIDNIGHT = 20_000 * 86_400.0


def writer(tmp_path: Path, **settings: float) -> SegmentWriter:
    limits = {"max_bytes": 1000, "max_age_s": 1e9, **settings}
    return SegmentWriter(tmp_path, "s", "host", **limits)  # type: ignore[arg-type]


def test_a_segment_ends_at_midnight_utc(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(b"late\n", MIDNIGHT - 1)
    segment.append(b"later\n", MIDNIGHT - 0.01)
    segment.append(b"early\n", MIDNIGHT)
    segment.seal()

    assert [path.read_bytes() for path in segments(tmp_path, "sealed")] == [
        b"late\nlater\n",
        b"early\n",
    ]


def test_a_segment_ends_at_its_age_also_without_traffic(tmp_path: Path) -> None:
    segment = writer(tmp_path, max_age_s=60)
    segment.append(b"a\n", MIDNIGHT)

    assert not segment.seal_if_due(MIDNIGHT + 59)
    assert segment.seal_if_due(MIDNIGHT + 60)
    assert segments(tmp_path, "open") == []


def test_a_write_that_fails_halfway_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = writer(tmp_path)
    segment.append(b"whole\n", MIDNIGHT)
    real = os.write
    calls = []

    def full_disk(file: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(file, data[:3])

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="space"):
        segment.append(b"broken\n", MIDNIGHT)
    monkeypatch.undo()
    segment.append(b"next\n", MIDNIGHT)
    segment.seal()

    (path,) = segments(tmp_path, "sealed")
    assert path.read_bytes() == b"whole\nnext\n"


def test_a_segment_is_a_dead_writers_when_no_process_holds_it_open(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(b"a\n", MIDNIGHT)
    (path,) = segments(tmp_path, "open")
    empty = path.with_name("empty-1-000000.jsonl")
    empty.touch()
    while_written = has_dead_writer(path)
    segment.abandon()

    assert not while_written
    assert has_dead_writer(path)
    assert not has_dead_writer(empty), "its writer may be about to lock it"
    assert not has_dead_writer(path.with_name("gone.jsonl"))
