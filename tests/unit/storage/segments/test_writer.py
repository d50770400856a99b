from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from flytekitplugins.wbmon.storage.segments.layout import is_of_this_host, unique_instance
from flytekitplugins.wbmon.storage.segments.owner import has_dead_writer
from flytekitplugins.wbmon.storage.segments.writer import SegmentWriter
from support.prediction_log import segments

MIDNIGHT = 20_000 * 86_400.0


def writer(tmp_path: Path, **settings: float) -> SegmentWriter:
    limits = {"max_bytes": 1000, "max_age_s": 1e9, **settings}
    return SegmentWriter(tmp_path, "s", "host", **limits)  # type: ignore[arg-type]


def fill_disk(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Let the disk take so many further bytes of one write, and then none."""
    real = os.pwrite
    calls: list[bytes] = []

    def full_disk(file: int, data: bytes, offset: int) -> int:
        calls.append(data)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(file, data[:after], offset) if len(calls) == 1 else real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full_disk)


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
    fill_disk(monkeypatch, after=3)
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


def test_a_tail_is_replaced_by_the_next_lines_and_goes_on_behind_the_last(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(b"a\n", MIDNIGHT, tail=b"a long tail\nof two\n")
    segment.append(b"b\n", MIDNIGHT, tail=b"short\n")
    (path,) = segments(tmp_path, "open")
    read = [path.read_bytes()]
    segment.append(b"", MIDNIGHT)
    read.append(path.read_bytes())

    assert read == [b"a\nb\nshort\n", b"a\nb\n"]


@pytest.mark.parametrize("is_full", [False, True])
def test_the_tail_of_a_segment_that_is_due_goes_on_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_full: bool
) -> None:
    segment = writer(tmp_path, max_age_s=60)
    segment.append(b"a\n", MIDNIGHT, tail=b"so far\n")
    if is_full:
        fill_disk(monkeypatch, after=2)
    segment.seal_if_due(MIDNIGHT + 60)
    monkeypatch.undo()

    found = {
        state: [path.read_bytes() for path in segments(tmp_path, state)]
        for state in ("sealed", "open")
    }
    # without room for it in the next one, the segment is not due yet
    assert found == (
        {"sealed": [], "open": [b"a\nso far\n"]}
        if is_full
        else {"sealed": [b"a\n"], "open": [b"so far\n"]}
    )
    assert segment.seal_if_due(MIDNIGHT + 61) == is_full


def test_a_write_that_fails_leaves_the_tail_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = writer(tmp_path)
    segment.append(b"a\n", MIDNIGHT, tail=b"so far\n")
    fill_disk(monkeypatch, after=9)
    with pytest.raises(OSError, match="space"):
        segment.append(b"broken line\n", MIDNIGHT, tail=b"farther\n")
    segment.seal()

    (path,) = segments(tmp_path, "sealed")
    assert path.read_bytes() == b"a\nso far\n"


def test_a_segment_that_was_deleted_takes_no_lines_and_the_next_one_does(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(b"a\n", MIDNIGHT)
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError, match="was deleted while it was written"):
        segment.append(b"b\n", MIDNIGHT)
    segment.append(b"c\n", MIDNIGHT)

    (path,) = segments(tmp_path)
    assert path.read_bytes() == b"c\n"


def test_a_clock_that_is_put_back_ends_the_segment(tmp_path: Path) -> None:
    segment = writer(tmp_path)
    segment.append(b"a\n", MIDNIGHT + 7200)

    assert segment.seal_if_due(MIDNIGHT + 3600)


def test_a_segment_says_whether_its_writer_ran_here_and_locks_it() -> None:
    here = unique_instance()

    assert is_of_this_host(f"{here}-17-000000.jsonl")
    assert not is_of_this_host(f"{unique_instance('elsewhere')}-17-000000.jsonl")
    # of an earlier release, whose writers lock nothing
    assert not is_of_this_host(f"{here[:-4]}-17-000000.jsonl")
    assert not is_of_this_host("x.jsonl")
