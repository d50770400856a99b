"""A self-contained package of a run's folder, with relative paths only, ready to be stored.

wandb keeps artifact files outside of the run's folder, and its log has their absolute paths. If
only the folder is moved, `wandb sync` silently leaves the artifacts out. The package includes them.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.pending_log import LogContent, logged_artifact
from flytekitplugins.wbmon.delivery.runs.progress import FILE_NAME as PROGRESS
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress, progress_file
from flytekitplugins.wbmon.delivery.runs.steps import FILE_NAME as STEPS
from flytekitplugins.wbmon.delivery.runs.tally import RunTally, ending
from flytekitplugins.wbmon.delivery.runs.transaction_log import LogWriter, log_path, read_records
from flytekitplugins.wbmon.delivery.runs.wandb_internals import (
    UnsupportedWandbError,
    is_padding,
    record_type,
    warn_missing,
)
from flytekitplugins.wbmon.errors import DataError

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]
        ArtifactManifest,
        Record,
    )

PACKED_LOG = "packed-log"
_ENTRY_FIELDS = (
    "path", "digest", "ref", "size", "local_path", "birth_artifact_id", "skip_cache",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRun:
    """Description of a stored run.

    Attributes:
        entity: W&B entity.
        project: W&B project.
        run_id: The run's id.
        started_at: Start time, as in the name of its folder; runs are delivered in this order.
        n_rows: Number of rows of history.
        n_alerts: Number of alerts.
        n_artifacts: Number of artifacts.
        exit_code: The run's exit code; None if its log has no end.
    """

    entity: str
    project: str
    run_id: str
    started_at: str
    n_rows: int
    n_alerts: int
    n_artifacts: int
    exit_code: int | None

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain Python containers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PackedRun:
        """Read what `to_dict` wrote.

        Raises:
            KeyError: If an entry is missing, as in the description of something else.
            TypeError: If an entry is not of its type.
        """
        found = {each.name: stored[each.name] for each in fields(cls)}
        for name, value in found.items():
            is_text = name in ("entity", "project", "run_id", "started_at")
            is_optional = name == "exit_code" and value is None
            if not (is_optional or type(value) is (str if is_text else int)):
                raise TypeError(f"{name} must be {'text' if is_text else 'a number'}")
        return cls(**found)


def pack(folder: Path, scratch: Path, tally: RunTally) -> tuple[PackedRun, dict[str, Path]]:
    """List the files of a run, and write a copy of its log with relative paths.

    Args:
        folder: The run's folder, of which no file is moved. What the log lacks is noted in the
            progress of the delivery.
        scratch: Folder for the copy.
        tally: What the task told; a log without an end gets its exit code.

    Returns:
        The description, and the local path of each file by its name in the package.
    """
    content, artifacts = _copy_log(folder, scratch, tally)
    sources = {name: folder / name for name in _own_files(folder)}
    if progress_file(folder).exists():
        sources[PROGRESS] = progress_file(folder)
    sources |= artifacts
    sources[log_path(folder).name] = scratch / PACKED_LOG
    target = content.target
    packed = PackedRun(
        entity=target.entity if target else "",
        project=target.project if target else "",
        run_id=target.run_id if target else "",
        # the folder is `offline-run-{start}-{id}`; by slice, as another name may have fewer parts
        started_at="-".join(folder.name.split("-")[2:3]) or folder.name,
        n_rows=content.n_rows,
        n_alerts=len(content.alerts),
        n_artifacts=len(content.artifacts),
        exit_code=content.exit_code,
    )
    return packed, sources


def note_lost(folder: Path, lost: str) -> None:
    """Note in the progress of a run's delivery what its log lacks; nothing if that is empty."""
    # progress that is damaged is packed as it is
    with suppress(DataError):
        progress = DeliveryProgress.load(folder)
        if lost:
            progress.lost = lost
            progress.save(folder)


def _own_files(folder: Path) -> Iterator[str]:
    if (folder / STEPS).exists():
        yield STEPS
    for path in sorted((folder / "files").rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _copy_log(folder: Path, scratch: Path, tally: RunTally) -> tuple[LogContent, dict[str, Path]]:
    content, artifacts = LogContent(), dict[str, Path]()
    log = log_path(folder)
    try:
        record_type()
    except UnsupportedWandbError as error:
        warn_missing(f"a run is stored as wandb wrote it, without its artifacts ({error})")
        shutil.copyfile(log, scratch / PACKED_LOG)
        return content, artifacts
    writer = LogWriter(scratch / PACKED_LOG)
    end: Record | None = None
    for record in read_records(log):
        content.add(record)
        _take_artifact_files(record, folder, artifacts)
        if record.HasField("exit"):
            end = record
        elif not is_padding(record):
            writer.write(record)
    lost = tally.lost(log, n_rows=content.n_rows, exit_code=content.exit_code)
    records = ending(lost, tally, end)
    for record in records:
        content.add(record)
    # a file may have to be no larger than the log is; the description has the exit code too
    with suppress(OSError):
        for record in records:
            writer.write(record)
    writer.close()
    note_lost(folder, lost)
    return content, artifacts


def _take_artifact_files(record: Record, folder: Path, found: dict[str, Path]) -> None:
    artifact = logged_artifact(record)
    if artifact is None:
        return
    _inline_contents(artifact.manifest)
    for entry in artifact.manifest.contents:
        if not entry.local_path:
            continue  # a reference, or a file that W&B has
        source = folder / entry.local_path  # stays as it is if it is absolute
        # numbered, because files of two artifacts may have one name
        name = f"artifacts/{len(found)}-{source.name}"
        if source.is_file():
            found[name] = source
        else:  # deleted meanwhile: the artifact is lost, and the rest of the run is not
            name = f"artifacts/missing-{source.name}"
        entry.local_path = name


def _inline_contents(manifest: ArtifactManifest) -> None:
    """Put the entries of an artifact of more than 100,000 files into the log.

    The log has the path of a file of the task's machine with them.
    """
    path = getattr(manifest, "manifest_file_path", "")
    if not path:
        return
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            added = manifest.contents.add(
                **{name: entry[name] for name in _ENTRY_FIELDS if entry.get(name)}
            )
            for key, value in (entry.get("extra") or {}).items():
                added.extra.add(key=key, value_json=json.dumps(value))
    manifest.ClearField("manifest_file_path")
