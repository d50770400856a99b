"""A copy of a run's log with only what W&B does not have yet.

wandb always sends a log from its beginning, so it gets a copy instead. The copy leaves out rows
that have arrived and all alerts (delivery sends alerts one by one, to know that each was accepted).
It corrects the paths of artifact files, continues the step numbers of a resumed run, and adds an
end to a log that has none: of a process that was killed, or of a disk that was full.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.api import RunTarget
from flytekitplugins.wbmon.delivery.runs.outcome import TaskOutcome, ending, write_ending
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    LogReader,
    LogWriter,
    exit_record,
    log_path,
)
from flytekitplugins.wbmon.delivery.runs.wandb_internals import is_padding
from flytekitplugins.wbmon.storage.room import find_scratch, folder_with_room, scratch_folder

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

    The subfolder is made elsewhere if the disk of the run has no room for a copy.

    Args:
        folder: The run's folder.
        progress: Progress of the delivery; `first_step` is added to the steps.
        n_arrived: Number of this log's rows that the server has; these are left out.

    Attributes:
        is_whole: Whether the end of the log was copied.
    """

    def __init__(self, folder: Path, progress: DeliveryProgress, n_arrived: int) -> None:
        self.content = LogContent()
        self._folder = folder
        self._progress = progress
        self._n_arrived = n_arrived
        source = log_path(folder)
        self._reader = LogReader(source)
        self._end: Record | None = None
        self.is_whole = False
        self.path = _clean_copy(folder, n_bytes=source.stat().st_size) / source.name
        self._writer = LogWriter(self.path)

    def advance(self) -> None:
        """Copy what was written since the last call."""
        for record in self._reader.read():
            self.content.add(record)
            if record.HasField("exit"):
                self._end = record  # `end` writes it, after what the summary still needs
            elif self._is_wanted(record):
                self._writer.write(self._adapted(record))

    def end(self, outcome: TaskOutcome) -> str:
        """Copy the rest, note in the summary what the log lacks, and end the copy.

        Args:
            outcome: What the task told; a log without an end gets its exit code, else 1.

        Returns:
            What the log lacks, in words; empty if nothing is known to be lost.
        """
        self.advance()
        lost, records = ending(
            log_path(self._folder), outcome, n_rows=self.content.n_rows, end=self._end
        )
        if self._end is None and outcome.exit_code is None:
            records.append(exit_record(1))  # the task's process was killed
        for record in records:
            self.content.add(record)
        self.is_whole = write_ending(self._writer, records)
        self._writer.close()
        return lost

    def _is_wanted(self, record: Record) -> bool:
        kind = record.WhichOneof("record_type")
        if kind == "history":
            # `content` has counted this row already, so row `n_arrived + 1` is the first to go
            return self.content.n_rows > self._n_arrived
        return kind != "alert" and not is_padding(record)

    def _adapted(self, record: Record) -> Record:
        if record.WhichOneof("record_type") == "history":
            _move_step(record.history, self._progress.first_step)
        artifact = logged_artifact(record)
        if artifact is not None:
            for entry in artifact.manifest.contents:
                # a stored run has relative paths, which wandb would resolve elsewhere
                if entry.local_path and not Path(entry.local_path).is_absolute():
                    entry.local_path = str(self._folder / entry.local_path)
        return record


def _clean_copy(folder: Path, *, n_bytes: int) -> Path:
    # an earlier attempt has left a log whose rows may have arrived by now
    discard_copy(folder)
    place = folder_with_room(folder, n_bytes=n_bytes)
    if place != folder:
        place = scratch_folder(folder, n_bytes=n_bytes)
    copy = place / FOLDER
    copy.mkdir()
    if (folder / "files").is_dir():
        (copy / "files").symlink_to(folder.resolve() / "files", target_is_directory=True)
    return copy


def discard_copy(folder: Path) -> None:
    """Remove the copy of a run's log, wherever it was made."""
    elsewhere = find_scratch(folder, FOLDER)
    for copy in (folder / FOLDER, *([elsewhere] if elsewhere else ())):
        shutil.rmtree(copy, ignore_errors=True)


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
