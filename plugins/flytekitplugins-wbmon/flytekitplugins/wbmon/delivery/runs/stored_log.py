"""The log of a run that was in a store, made fit for `wandb sync` on this machine.

The log of a task's own run may name any file of the machine: the task has written it. Whoever can
write to a store can write a log too, and what such a log names would be read here and uploaded, or
deleted. So of a stored log only known records are sent, and it may name only files of its own
folder, and only the run that its manifest names. A run that does otherwise is left in the store.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.delivery.runs.api import RunTarget
from flytekitplugins.wbmon.delivery.runs.package import PackedRun
from flytekitplugins.wbmon.delivery.runs.pending_log import logged_artifact
from flytekitplugins.wbmon.delivery.runs.transaction_log import LogWriter, log_path, read_records
from flytekitplugins.wbmon.delivery.stored_folder import LEFT, is_below
from flytekitplugins.wbmon.errors import DataError

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]
        ArtifactRecord,
        Record,
    )

# the kinds of records that are sent; `files` and artifacts alone name files of the machine
_SENT = frozenset({
    "alert", "artifact", "config", "environment", "exit", "files", "final", "footer", "header",
    "history", "metric", "noop_link_artifact", "output", "output_logger", "output_raw",
    "preempting", "run", "stats", "summary", "telemetry", "use_artifact",
})  # fmt: skip
# a request tells wandb's service to do something, and some read, write or delete files
_SENT_REQUESTS = frozenset({"link_artifact", "log_artifact"})
# the folder of a TensorBoard log, which wandb would read; its numbers are in the log already
_LEFT_OUT = frozenset({"request", "tbrecord"})


def unpack_log(folder: Path, run: PackedRun) -> None:
    """Replace the log of a stored run by one with the paths of this machine.

    Args:
        folder: The local copy of the stored run.
        run: What the manifest says of the run.

    Raises:
        DataError: If the log names a file outside of its folder or another run, or if it has
            records of an unknown kind.
        UnsupportedWandbError: If this release of wandb has no known form of records.
    """
    log = log_path(folder)
    checked = folder / "checked"
    writer = LogWriter(checked)
    for record in read_records(log):
        if _is_sent(record):
            _check_run(record, run)
            _check_files(record)
            _place_artifact(record, folder)
            writer.write(record)
    writer.close()
    checked.replace(log)


def _is_sent(record: Record) -> bool:
    kind = record.WhichOneof("record_type")
    if kind == "request" and record.request.WhichOneof("request_type") in _SENT_REQUESTS:
        return True
    if kind not in _SENT | _LEFT_OUT:
        raise DataError(
            f"the log must have records of known kinds, got {kind}; deliver it with another "
            f"release. {LEFT}"
        )
    return kind in _SENT


def _check_run(record: Record, run: PackedRun) -> None:
    if not (record.HasField("run") and run.run_id):
        return  # the manifest of a run whose log could not be read where it was stored has no id
    found = RunTarget(
        entity=record.run.entity, project=record.run.project, run_id=record.run.run_id
    )
    if found != RunTarget(entity=run.entity, project=run.project, run_id=run.run_id):
        raise DataError(
            f"the log must be of the run in the manifest, {run.entity}/{run.project}/{run.run_id}, "
            f"got {found.entity}/{found.project}/{found.run_id}. {LEFT}"
        )


def _check_files(record: Record) -> None:
    for item in record.files.files if record.HasField("files") else ():
        if not is_below(item.path):
            raise _outside(item.path)


def _place_artifact(record: Record, folder: Path) -> None:
    if record.HasField("request") and record.request.HasField("log_artifact"):
        # wandb deletes this folder when the artifact is sent
        record.request.log_artifact.ClearField("staging_dir")
    artifact: ArtifactRecord | None = logged_artifact(record)
    if artifact is None:
        return
    if getattr(artifact.manifest, "manifest_file_path", ""):
        raise _outside(artifact.manifest.manifest_file_path)
    for entry in artifact.manifest.contents:
        if entry.local_path:
            if not is_below(entry.local_path):
                raise _outside(entry.local_path)
            entry.local_path = str(folder / entry.local_path)


def _outside(name: str) -> DataError:
    return DataError(f"the log must name files of its own folder only, got {name!r}. {LEFT}")
