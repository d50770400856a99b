"""Reads what a W&B run wrote to its `.wandb` transaction log, without W&B's own reader.

The file has a seven-byte header and LevelDB's log framing: blocks of 32 KiB, each record cut into
fragments with a checksum, a length and a place (whole, first, middle, last). A process that is
killed leaves a torn tail; reading ends there and keeps all that came before.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]  # made at run time
    ArtifactRecord,
    Record,
)

SETTLE_S = 3.0

_FILE_HEADER = struct.Struct("<4sHB")
_FRAGMENT_HEADER = struct.Struct("<IHB")
_BLOCK = 32 * 1024
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class LoggedAlert:
    """An alert as the run recorded it; `wait_ms` is its throttling time."""

    title: str
    text: str
    level: str
    wait_ms: int


@dataclass
class LoggedArtifact:
    """An artifact as the run recorded it; `files` maps its entries to the local copies."""

    name: str
    type: str
    digest: str
    aliases: list[str]
    metadata: dict[str, Any]
    files: dict[str, str]


@dataclass
class LoggedRun:
    """One run, read back.

    Attributes:
        exit_code: None if the run was never finished.
        raw: The whole file; a planted secret must not be in it.
    """

    path: Path
    id: str = ""
    project: str = ""
    entity: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    alerts: list[LoggedAlert] = field(default_factory=list)
    artifacts: list[LoggedArtifact] = field(default_factory=list)
    step_metrics: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    output: str = ""
    exit_code: int | None = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.exit_code is not None

    @property
    def user_config(self) -> dict[str, Any]:
        """The config without what wandb adds for itself."""
        return {key: value for key, value in self.config.items() if key != "_wandb"}

    def column(self, key: str) -> list[Any]:
        """The logged values of one metric, in order."""
        return [row[key] for row in self.history if key in row]


def find_runs(folder: Path, *, settle_s: float = SETTLE_S) -> list[LoggedRun]:
    """Every run logged anywhere below the folder, online or offline, oldest first."""
    # in a run's own folder: not by the link to the latest one, and no copy made for delivery
    logs = folder.rglob("*run-*/run-*.wandb")
    runs = [read_run(path, settle_s=settle_s) for path in logs]
    return sorted(runs, key=lambda run: run.path.stat().st_mtime_ns)


def find_run(folder: Path, *, settle_s: float = SETTLE_S) -> LoggedRun:
    """The only run below the folder."""
    runs = find_runs(folder, settle_s=settle_s)
    assert len(runs) == 1, f"expected one run below {folder}, found {[run.id for run in runs]}"
    return runs[0]


def read_run(path: Path, *, settle_s: float = SETTLE_S) -> LoggedRun:
    """Read a `.wandb` file, or the one in a run's folder.

    `run.finish()` returns some milliseconds before the log is on disk, so a run without its end is
    read again until it has one or `settle_s` is over; after that, it was killed.
    """
    if path.is_dir():
        (path,) = path.glob("run-*.wandb")
    deadline = time.monotonic() + settle_s
    run = _read_now(path)
    while not run.finished and time.monotonic() < deadline:
        time.sleep(0.02)
        run = _read_now(path)
    return run


def _read_now(path: Path) -> LoggedRun:
    run = LoggedRun(path=path, raw=path.read_bytes())
    for record in read_records(run.raw):
        apply = _APPLY.get(record.WhichOneof("record_type") or "")
        if apply:
            apply(run, record)
    return run


def read_records(data: bytes) -> Iterator[Record]:
    """The records of a transaction log, up to the first that is torn or damaged.

    Raises:
        ValueError: If the data are no transaction log.
    """
    header = _FILE_HEADER.pack(b":W&B", 0xBEE1, 0)
    if len(data) < len(header) and header.startswith(data):
        return
    if not data.startswith(header):
        raise ValueError(f"no .wandb header: {data[:7]!r}")
    message = b""
    for place, fragment in _fragments(data, len(header)):
        message = fragment if place in (_WHOLE, _FIRST) else message + fragment
        if place in (_WHOLE, _LAST):
            yield Record.FromString(message)


def _fragments(data: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    while position + _FRAGMENT_HEADER.size <= len(data):
        left_in_block = _BLOCK - position % _BLOCK
        if left_in_block < _FRAGMENT_HEADER.size:
            position += left_in_block
            continue
        checksum, length, place = _FRAGMENT_HEADER.unpack_from(data, position)
        if (checksum, length, place) == (0, 0, 0):  # the block's padding
            position += left_in_block
            continue
        position += _FRAGMENT_HEADER.size
        body = data[position : position + length]
        torn = len(body) != length or place not in (_WHOLE, _FIRST, _MIDDLE, _LAST)
        if torn or zlib.crc32(bytes([place]) + body) != checksum:
            return
        position += length
        yield place, body


def _apply_run(run: LoggedRun, record: Record) -> None:
    logged = record.run
    run.id, run.project, run.entity = logged.run_id, logged.project, logged.entity
    run.name, run.notes = logged.display_name, logged.notes
    run.group, run.job_type = logged.run_group, logged.job_type
    run.tags = list(logged.tags)
    _update(run.config, logged.config.update)


def _apply_config(run: LoggedRun, record: Record) -> None:
    _update(run.config, record.config.update)
    for item in record.config.remove:
        run.config.pop(item.key, None)


def _apply_history(run: LoggedRun, record: Record) -> None:
    row: dict[str, Any] = {}
    _update(row, record.history.item)
    run.history.append(row)


def _apply_summary(run: LoggedRun, record: Record) -> None:
    _update(run.summary, record.summary.update)
    for item in record.summary.remove:
        run.summary.pop(item.key, None)


def _apply_alert(run: LoggedRun, record: Record) -> None:
    alert = record.alert
    run.alerts.append(LoggedAlert(alert.title, alert.text, alert.level, alert.wait_duration))


def _apply_artifact(run: LoggedRun, record: Record) -> None:
    _add_artifact(run, record.artifact)


def _apply_request(run: LoggedRun, record: Record) -> None:
    if record.request.WhichOneof("request_type") == "log_artifact":
        _add_artifact(run, record.request.log_artifact.artifact)


def _apply_metric(run: LoggedRun, record: Record) -> None:
    metric = record.metric
    run.step_metrics[metric.name or metric.glob_name] = metric.step_metric


def _apply_files(run: LoggedRun, record: Record) -> None:
    run.files += [item.path for item in record.files.files]


def _apply_output(run: LoggedRun, record: Record) -> None:
    run.output += record.output_raw.line


def _apply_exit(run: LoggedRun, record: Record) -> None:
    run.exit_code = record.exit.exit_code


_APPLY: dict[str, Callable[[LoggedRun, Record], None]] = {
    "run": _apply_run,
    "config": _apply_config,
    "history": _apply_history,
    "summary": _apply_summary,
    "alert": _apply_alert,
    "artifact": _apply_artifact,
    "request": _apply_request,
    "metric": _apply_metric,
    "files": _apply_files,
    "output_raw": _apply_output,
    "exit": _apply_exit,
}


def _add_artifact(run: LoggedRun, artifact: ArtifactRecord) -> None:
    run.artifacts.append(
        LoggedArtifact(
            name=artifact.name,
            type=artifact.type,
            digest=artifact.digest,
            aliases=list(artifact.aliases),
            metadata=json.loads(artifact.metadata or "{}"),
            files={entry.path: entry.local_path for entry in artifact.manifest.contents},
        )
    )


def _update(target: dict[str, Any], items: Any) -> None:
    for item in items:
        *parents, last = list(item.nested_key) or [item.key]
        inner = target
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = json.loads(item.value_json)
