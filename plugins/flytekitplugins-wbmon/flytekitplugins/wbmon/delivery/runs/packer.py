"""Packs the log of a run, as far as it is written, with relative paths only, for a store.

wandb keeps artifact files outside of the run's folder, and its log has their absolute paths. If
only the folder is moved, `wandb sync` silently leaves the artifacts out. So the packed log has the
names that they get in the package. It leaves out padding, and rows that W&B has already.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.delivery.runs.pending_log import LogContent, logged_artifact, lost_of
from flytekitplugins.wbmon.delivery.runs.tally import RunTally, ending
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    LogReader,
    LogWriter,
    log_path,
    path_of,
)
from flytekitplugins.wbmon.delivery.runs.wandb_internals import (
    UnsupportedWandbError,
    is_padding,
    record_type,
    warn_missing,
)

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import (  # type: ignore[attr-defined]
        ArtifactManifest,
        Record,
        SummaryItem,
    )

_MEDIA = "media/"
_ENTRY_FIELDS = (
    "path", "digest", "ref", "size", "local_path", "birth_artifact_id", "skip_cache",
)  # fmt: skip
# sent as they are written, and of no use in a log without the rows that go with them
_OF_ROWS = ("history", "files")


class RunPacker:
    """The packed log of one run, in pieces.

    Args:
        folder: The run's folder; the task may still be writing the log in it.

    Attributes:
        content: Content of the log, as far as it was packed; of the rows also those left out.
        files: Local path of each file that the packed log names, by its name in the package.
        n_left_out: Number of rows that were left out.

    Raises:
        DataError: If the folder does not hold exactly one log.
    """

    def __init__(self, folder: Path) -> None:
        self.content = LogContent()
        self.files: dict[str, Path] = {}
        self.n_left_out = 0
        self._folder = folder
        self._log = log_path(folder)
        self._reader = LogReader(self._log)
        self._packed = BytesIO()
        self._summary: dict[tuple[str, ...], SummaryItem] = {}
        self._end: Record | None = None
        self._raw: int | None = None
        try:
            record_type()
        except UnsupportedWandbError as error:
            warn_missing(f"a run is stored as wandb wrote it, without its artifacts ({error})")
            self._raw = 0
        else:
            self._writer = LogWriter(self._packed)

    @property
    def position(self) -> int:
        """Length in bytes of the beginning of the log that is packed."""
        return self._reader.position if self._raw is None else self._raw

    def advance(self, *, arrived: int = 0, most: int) -> bytes:
        """Pack what was written since the last call.

        Args:
            arrived: Length in bytes of the beginning of the log that W&B has; its rows are left
                out.
            most: Most bytes of the log that are read, but for the rest of a record.

        Returns:
            The bytes that follow those of the last call.
        """
        if self._raw is not None:
            with self._log.open("rb") as file:
                file.seek(self._raw)
                data = file.read(most)
            self._raw += len(data)
            return data
        until = self.position + most
        for record in self._reader.read():
            self.content.add(record)
            for wanted in self._wanted(record, has_arrived=self.position <= arrived):
                self._writer.write(wanted)
            if self.position >= until:
                break
        return self._taken()

    def end(self, tally: RunTally) -> tuple[str, bytes]:
        """End the packed log, once all is packed.

        Args:
            tally: What the task told; its exit code ends the log.

        Returns:
            What the log lacks, in words, and the last bytes.
        """
        if self._raw is not None:
            return "", b""
        lost = lost_of(self._folder, self.content, tally)
        end = ending(lost, tally, self._end, summary_keys=self.content.summary_keys)
        for record in (*self._merged(), *end):
            self.content.add(record)
            self._writer.write(record)
        return lost, self._taken()

    def _taken(self) -> bytes:
        data = self._packed.getvalue()
        # the writer goes on where it was, as only the length of what it wrote counts
        self._packed.seek(0)
        self._packed.truncate()
        return data

    def _wanted(self, record: Record, *, has_arrived: bool) -> Iterator[Record]:
        kind = record.WhichOneof("record_type")
        if has_arrived and (kind in _OF_ROWS or logged_artifact(record) is not None):
            self.n_left_out += kind == "history"
            return
        if has_arrived and kind == "summary" and not record.summary.remove:
            # wandb writes the whole row once more into the summary: only the last values count
            for item in record.summary.update:
                self._summary[path_of(item)] = item
            return
        if kind == "exit":
            self._end = record  # `end` writes it, after what the summary still needs
            return
        if kind in ("summary", "history"):
            yield from self._merged()
        if is_padding(record):
            return
        self._take_files(record)
        yield record

    def _merged(self) -> Iterator[Record]:
        """The summary of the rows that were left out."""
        if self._summary:
            merged = record_type()()
            merged.summary.update.extend(self._summary.values())
            self._summary.clear()
            yield merged

    def _take_files(self, record: Record) -> None:
        """Note the files that a record names, and give those of artifacts their new names."""
        artifact = logged_artifact(record)
        if artifact is not None:
            _inline_contents(artifact.manifest)
        for entry in artifact.manifest.contents if artifact is not None else ():
            if not entry.local_path:
                continue  # a reference, or a file that W&B has
            source = self._folder / entry.local_path  # stays as it is if it is absolute
            # numbered, because files of two artifacts may have one name
            name = f"artifacts/{len(self.files)}-{source.name}"
            if source.is_file():
                self.files[name] = source
            else:  # deleted meanwhile: the artifact is lost, and the rest of the run is not
                name = f"artifacts/missing-{source.name}"
            entry.local_path = name
        if record.WhichOneof("record_type") == "files":
            for each in record.files.files:
                source = self._folder / "files" / each.path
                # of these files wandb never changes one
                if each.path.startswith(_MEDIA) and source.is_file():
                    self.files[f"files/{each.path}"] = source


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
