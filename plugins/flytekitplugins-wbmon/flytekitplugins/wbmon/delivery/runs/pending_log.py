"""A copy of a run's log with only what W&B does not have yet.

wandb always sends a log from its beginning, so it gets a copy instead. The copy leaves out rows
that have arrived and all alerts (delivery sends alerts one by one, to know that each was accepted).
It continues the step numbers of a resumed run, keeps what others wrote to its summary and config,
and adds an end to a log that has none: of a process that was killed, or of a disk that was full.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.api import RunTarget, ServedRun
from flytekitplugins.wbmon.delivery.runs.claim import FLYTE_BLOCK, RunClaim, writer_of
from flytekitplugins.wbmon.delivery.runs.kept import KeptContent
from flytekitplugins.wbmon.delivery.runs.oversized import Oversized
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress
from flytekitplugins.wbmon.delivery.runs.served_rows import RowMarks
from flytekitplugins.wbmon.delivery.runs.steps import GivenSteps, SentSteps
from flytekitplugins.wbmon.delivery.runs.tally import RunTally, ending
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    LogReader,
    LogWriter,
    exit_record,
    log_path,
    path_of,
)
from flytekitplugins.wbmon.delivery.runs.wandb_internals import is_padding
from flytekitplugins.wbmon.storage.room import find_scratch, folder_with_room, scratch_folder

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]
        ArtifactRecord,
        ConfigRecord,
        HistoryRecord,
        Record,
        SummaryRecord,
    )

logger = logging.getLogger(__name__)

FOLDER = "delivery"


@dataclass(slots=True, kw_only=True)
class LogContent:
    """Content of a log, as far as it was read.

    Attributes:
        target: Entity, project and id of the run; None until its record was read.
        began_at: When the task opened the run, in seconds since 1970; 0 until its record was read.
        resumes: Whether the run goes on with what it has at the server.
        rows: The rows of history, without their values.
        writer: Name of the writer, for the claim on a run that several write; empty if it is the
            only one.
        alerts: Title, text, level and `wait_ms` of each alert, in the order of the log.
        artifacts: Digest of each artifact, by client id.
        files: Names of the files of rows (tables, images …) and of `run.save`.
        summary_keys: Keys that the run's summary must have; wandb sends none without a value.
        exit_code: The run's exit code; None if the log has no end.
        oversized: What is left out, as it is too large for W&B.
    """

    target: RunTarget | None = None
    began_at: float = 0.0
    resumes: bool = False
    rows: RowMarks = field(default_factory=RowMarks)
    writer: str = ""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    summary_keys: set[str] = field(default_factory=set)
    exit_code: int | None = None
    oversized: Oversized = field(default_factory=Oversized)

    @property
    def n_rows(self) -> int:
        """Number of rows of history."""
        return len(self.rows)

    def add(self, record: Record) -> None:
        """Take one more record into account; what is too large for W&B is removed from it."""
        self.oversized.remove_from(record)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            self.target = RunTarget(entity=run.entity, project=run.project, run_id=run.run_id)
            self.resumes = getattr(run, "resume", True)  # older releases do not say
            self.began_at = self.began_at or run.start_time.ToNanoseconds() / 1e9
        elif kind == "history":
            self.rows.append(record.history.step.num, _times(record.history))
        elif kind == "alert":
            self.alerts.append(_alert(record.alert))
        elif kind == "summary":
            self._add_summary(record.summary)
        elif kind == "config":
            for item in record.config.update:
                if item.key == FLYTE_BLOCK:
                    self.writer = writer_of(json.loads(item.value_json))
        elif kind == "exit":
            self.exit_code = record.exit.exit_code
        self._add_files(record)

    def _add_files(self, record: Record) -> None:
        self.files |= {each.path for each in record.files.files}
        artifact = logged_artifact(record)
        if artifact is not None:
            self.artifacts[artifact.client_id] = artifact.digest

    def _add_summary(self, summary: SummaryRecord) -> None:
        # nested keys have an empty `key` and are not compared with the server
        for item in summary.update:
            # `null` also stands for nan: wandb sends no such name
            if item.key and item.value_json != "null":
                self.summary_keys.add(item.key)
            else:
                self.summary_keys.discard(item.key)
        # what is left of a dictionary may be empty, and wandb sends none that is
        self.summary_keys -= {path_of(item)[0] for item in summary.remove}


def read_content(folder: Path) -> LogContent:
    """Content of the log in a run's folder."""
    content = LogContent()
    for record in LogReader(log_path(folder)).read():
        content.add(record)
    return content


def lost_of(folder: Path, content: LogContent, tally: RunTally) -> str:
    """What of a run will not be at W&B, in words; empty if nothing is known to be lost."""
    lost = tally.lost(log_path(folder), n_rows=content.n_rows, exit_code=content.exit_code)
    return " and ".join(part for part in (lost, content.oversized.in_words()) if part)


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
        progress: Progress of the delivery; `first_step` is the step of the first row that the user
            gave no step.
        arrived: Numbers of this log's rows that the server has; these are left out.
        served: The run as the server has it; what others wrote to its summary and config is kept.
        claim: The claim on the run, which becomes part of its config.

    Attributes:
        is_whole: Whether all was copied that is wanted. If a disk has no room for it, the copy has
            the beginning, and the next one, without the rows that have arrived, has more.
    """

    def __init__(
        self,
        folder: Path,
        progress: DeliveryProgress,
        *,
        arrived: Container[int],
        served: ServedRun | None,
        claim: RunClaim,
    ) -> None:
        self.content = LogContent()
        self._folder = folder
        self._steps = SentSteps(progress.first_step, GivenSteps(folder))
        self._arrived = arrived
        self._kept = KeptContent(served)
        self._claim = claim
        self._lost = progress.lost
        source = log_path(folder)
        self._reader = LogReader(source)
        self._first: Record | None = None
        self._end: Record | None = None
        self.is_whole = True
        self.path = _clean_copy(folder, n_bytes=source.stat().st_size) / source.name
        self._writer = LogWriter(self.path)

    @property
    def position(self) -> int:
        """Length in bytes of the beginning of the log that was read."""
        return self._reader.position

    def advance(self) -> None:
        """Copy what was written since the last call."""
        for record in self._reader.read():
            kind = record.WhichOneof("record_type")
            # there is one more whenever the name, the notes or the tags change
            begins = kind == "run" and self.content.target is None
            self.content.add(record)
            if kind == "exit":
                self._end = record  # `end` writes it, after what the summary still needs
                continue
            # of every row, as each step follows from the one before
            adapted = self._adapted(record, kind)
            if begins:
                self._begin(record)
            elif self._is_wanted(record, kind):
                self._write(adapted)

    def end(self, tally: RunTally) -> str:
        """Copy the rest, note in the summary what the log lacks, and end the copy.

        Args:
            tally: What the task told; its exit code ends the copy, or else that of the log, or 1.

        Returns:
            What the log lacks, in words; empty if nothing is known to be lost.
        """
        self.advance()
        # what a stored run lacks was noted when it was stored
        lost = self._lost or lost_of(self._folder, self.content, tally)
        records = ending(lost, tally, self._end, summary_keys=self.content.summary_keys)
        if self._end is None and tally.exit_code is None:
            records.append(exit_record(1))  # the task's process was killed
        # another session has logged to the run after the last row of this one; there may be no row
        if self._kept.is_newer(max(self.content.began_at, self.content.rows.last_time)):
            records = self._outdone(records)
        for record in records:
            self.content.add(record)
            self._write(record)
        self._writer.close()
        return lost

    def _write(self, record: Record) -> None:
        if not self.is_whole:
            return  # nothing may follow what is not there
        try:
            self._writer.write(record)
        except OSError as error:
            logger.warning("W&B: %s has no room for the whole run: %s", self.path, error)
            self.is_whole = False

    def _begin(self, record: Record) -> None:
        """Write the record that begins the run, with what a resumed run has at the server."""
        following = list(self._kept.begin(record.run, resumes=self.content.resumes))
        claimed = self._claim.to_config({})
        if claimed:
            record.run.config.update.add(key=FLYTE_BLOCK, value_json=json.dumps(claimed))
        self._first = record
        for each in (record, *following):
            self._write(each)

    def _outdone(self, records: list[Record]) -> list[Record]:
        """The records with which the log ends, so that a newer session has the last word."""
        *notes, end = records
        code = self._kept.exit_code
        newer = [] if self._first is None else self._kept.newer(self._first.run)
        return [*notes, *newer, end if code is None else exit_record(code)]

    def _is_wanted(self, record: Record, kind: str | None) -> bool:
        if kind == "history":
            # `content` has counted this row already
            return self.content.n_rows - 1 not in self._arrived
        return kind != "alert" and not is_padding(record)

    def _adapted(self, record: Record, kind: str | None) -> Record:
        if kind == "history":
            _set_step(record.history, self._steps.of(record.history.step.num))
        elif kind == "config":
            self._put_claim(record.config)
        elif kind == "run":
            if self._first is not None:
                self._kept.add_tags(record.run, resumes=self.content.resumes)
            if "resume" in record.run.DESCRIPTOR.fields_by_name:
                # wandb would count the steps on again, from where they are by then
                record.run.ClearField("resume")
        return record

    def _put_claim(self, config: ConfigRecord) -> None:
        for item in config.update:
            if item.key == FLYTE_BLOCK:
                item.value_json = json.dumps(self._claim.to_config(json.loads(item.value_json)))


def sent_steps(content: LogContent, folder: Path, first_step: int) -> list[int]:
    """The step of each row of a log at the server."""
    steps = SentSteps(first_step, GivenSteps(folder))
    return [steps.of(step) for step in content.rows.steps]


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


def _set_step(history: HistoryRecord, step: int) -> None:
    history.step.num = step
    # the step stands in the row a second time, as a value
    for item in history.item:
        if _key(item) == "_step":
            item.value_json = json.dumps(step)


def _times(history: HistoryRecord) -> dict[str, Any]:
    return {
        _key(item): json.loads(item.value_json)
        for item in history.item
        if _key(item) in ("_timestamp", "_runtime")
    }


def _key(item: Any) -> str:
    """Key of a value at the top, which stands under one of two names; empty for a deeper one."""
    name, *deeper = path_of(item)
    return "" if deeper else name


def _alert(alert: Any) -> dict[str, Any]:
    return {
        "title": alert.title,
        "text": alert.text,
        "level": alert.level,
        "wait_ms": alert.wait_duration,
    }
