"""A copy of a run's log with only what W&B does not have yet.

wandb always sends a log from its beginning, so it gets a copy instead. The copy leaves out rows
that have arrived and all alerts (delivery sends alerts one by one, to know that each was accepted).
It continues the step numbers of a resumed run, and adds an end to the log of a process that was
killed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.api import RunTarget
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.transaction_log import LogReader, LogWriter, log_path
from flytekitplugins.wbmon.delivery.runs.wandb_internals import is_padding, record_type

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]
        ArtifactRecord,
        HistoryRecord,
        Record,
    )

FOLDER = "delivery"


@dataclass(slots=True, kw_only=True)
class LogContent:
    """Content of a log, as far as it was read.

    Attributes:
        target: Entity, project and id of the run; None until its record was read.
        n_rows: Number of rows of history.
        alerts: Title, text, level and `wait_ms` of each alert, in the order of the log.
        artifacts: Digest of each artifact, by client id.
        summary_keys: Keys that the run's summary must have.
        exit_code: The run's exit code; None if the log has no end.
    """

    target: RunTarget | None = None
    n_rows: int = 0
    alerts: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    summary_keys: set[str] = field(default_factory=set)
    exit_code: int | None = None

    def add(self, record: Record) -> None:
        """Take one more record into account."""
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            self.target = RunTarget(entity=run.entity, project=run.project, run_id=run.run_id)
        elif kind == "history":
            self.n_rows += 1
        elif kind == "alert":
            self.alerts.append(_alert(record.alert))
        elif kind == "summary":
            # nested keys have an empty `key` and are not compared with the server
            self.summary_keys |= {item.key for item in record.summary.update if item.key}
            self.summary_keys -= {item.key for item in record.summary.remove}
        elif kind == "exit":
            self.exit_code = record.exit.exit_code
        artifact = logged_artifact(record)
        if artifact is not None:
            self.artifacts[artifact.client_id] = artifact.digest


def read_content(folder: Path) -> LogContent:
    """Content of the log in a run's folder."""
    content = LogContent()
    for record in LogReader(log_path(folder)).read():
        content.add(record)
    return content


def logged_artifact(record: Record) -> ArtifactRecord | None:
    """The artifact that a record uploads; None if it uploads none."""
    # wandb logs an artifact as a record of its own or inside of a request
    kind = record.WhichOneof("record_type")
    if kind == "artifact":
        return record.artifact
    if kind == "request" and record.request.HasField("log_artifact"):
        return record.request.log_artifact.artifact
    return None


class PendingLog:
    """Copies the log of a run's folder, as far as it is written, into the subfolder `delivery/`.

    Args:
        folder: The run's folder.
        progress: Progress of the delivery; `first_step` is added to the steps.
        n_arrived: Number of this log's rows that the server has; these are left out.
    """

    def __init__(self, folder: Path, progress: DeliveryProgress, n_arrived: int) -> None:
        self.content = LogContent()
        self._folder = folder
        self._progress = progress
        self._n_arrived = n_arrived
        source = log_path(folder)
        self._reader = LogReader(source)
        self.path = _clean_copy(folder) / source.name
        self._writer = LogWriter(self.path)

    def advance(self) -> None:
        """Copy what was written since the last call."""
        for record in self._reader.read():
            self.content.add(record)
            if self._is_wanted(record):
                self._writer.write(self._adapted(record))

    def end(self) -> None:
        """Copy the rest, and end a log that has no end with exit code 1."""
        self.advance()
        if self.content.exit_code is None:
            record = record_type()()
            record.exit.exit_code = 1
            self._writer.write(record)
        self._writer.close()

    def _is_wanted(self, record: Record) -> bool:
        kind = record.WhichOneof("record_type")
        if kind == "history":
            # `content` has counted this row already, so row `n_arrived + 1` is the first to go
            return self.content.n_rows > self._n_arrived
        return kind != "alert" and not is_padding(record)

    def _adapted(self, record: Record) -> Record:
        if record.WhichOneof("record_type") == "history":
            _move_step(record.history, self._progress.first_step)
        return record


def _clean_copy(folder: Path) -> Path:
    copy = folder / FOLDER
    # an earlier attempt has left a log whose rows may have arrived by now
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    if (folder / "files").is_dir():
        (copy / "files").symlink_to(folder.resolve() / "files", target_is_directory=True)
    return copy


def _move_step(history: HistoryRecord, first_step: int) -> None:
    if not first_step:
        return
    history.step.num += first_step
    # the step stands in the row a second time, as a value, under one of two names
    for item in history.item:
        if item.key == "_step" or list(item.nested_key) == ["_step"]:
            item.value_json = json.dumps(json.loads(item.value_json) + first_step)


def _alert(alert: Any) -> dict[str, Any]:
    return {
        "title": alert.title,
        "text": alert.text,
        "level": alert.level,
        "wait_ms": alert.wait_duration,
    }
