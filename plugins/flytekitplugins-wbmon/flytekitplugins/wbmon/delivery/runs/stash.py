"""A run in the offline store, written in steps: what is stored survives the death of the container.

The packed log goes to the store in parts, `log/{first byte}-{last byte}.part`. What does not fill a
part stands in `growing.json`, so that a step costs one request. Files of artifacts and media follow
the rows that name them. The last step, at the end of the task, only adds what is missing; it stores
the run of a task that took no step in one go.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from flytekitplugins.wbmon.delivery.growing_folder import GrowingFolder
from flytekitplugins.wbmon.delivery.runs.package import KEPT, TAIL, PackedRun
from flytekitplugins.wbmon.delivery.runs.packer import RunPacker
from flytekitplugins.wbmon.delivery.runs.progress import FILE_NAME as PROGRESS
from flytekitplugins.wbmon.delivery.runs.progress import DeliveryProgress, note_lost
from flytekitplugins.wbmon.delivery.runs.receipt import Receipt
from flytekitplugins.wbmon.delivery.runs.steps import FILE_NAME as STEPS
from flytekitplugins.wbmon.delivery.runs.tally import RunTally
from flytekitplugins.wbmon.delivery.store import OfflineStore
from flytekitplugins.wbmon.errors import PublishError
from flytekitplugins.wbmon.storage.lease import LeaseLostError

STEP_BYTES = 1024 * 1024
_PART_BYTES = 64 * 1024
# read at once when all that is left is stored
_LAST_BYTES = 8 * 1024 * 1024
# larger files would hold up the rows; they are stored at the end of the task
_MAX_FILE = 64 * 1024 * 1024
# after which a step stores no further file, so that what it has stored counts
_FILES_S = 1.0


class _ClosedError(PublishError):
    """The last step has begun, so this one must not go on."""


class RunStash:
    """The stored copy of one run.

    Args:
        folder: The run's folder.
        open_store: Opens the store.
        api_host: URL of the W&B API that the run is for; empty for any.

    Raises:
        DataError: If the folder does not hold exactly one log.
    """

    def __init__(
        self, folder: Path, open_store: Callable[[], OfflineStore], *, api_host: str = ""
    ) -> None:
        self._folder = folder
        self._open_store = open_store
        self._api_host = api_host
        # two pods may write runs of one name
        self._name = f"{folder.name}-{uuid.uuid4().hex[:8]}"
        self._packer = RunPacker(folder)
        self._stored: GrowingFolder | None = None
        # of the packed log: what is in no part yet, and where it begins
        self._tail, self._begin = b"", 0
        self._parts: dict[str, bytes] = {}
        self._queue: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def position(self) -> int:
        """Length in bytes of the beginning of the log that is packed."""
        return self._packer.position

    @property
    def is_begun(self) -> bool:
        """Whether anything may be in the store."""
        return self._stored is not None

    @property
    def has_more(self) -> bool:
        """Whether files are left that the last step had no time for."""
        return bool(self._queue)

    def skim(self, progress: DeliveryProgress) -> None:
        """Pass over rows that W&B has, without storing anything."""
        with self._lock:
            if not self._is_closed and self._may_leave_out(progress):
                self._pack(progress.arrived, min(progress.arrived - self.position, STEP_BYTES))

    def step(self, progress: DeliveryProgress, *, most: int) -> None:
        """Store what was written since the last step.

        Args:
            progress: Progress of the delivery.
            most: Most bytes of the log that are read; 0 to store only the progress.

        Raises:
            LeaseLostError: If another process delivers the run by now.
            StorageError: If the store cannot be reached.
        """
        with self._lock:
            self._check_open()
            # a store that takes nothing must not fill the memory
            if most and not self._parts:
                self._pack(progress.arrived if self._may_leave_out(progress) else 0, most)
            n_alerts, tail = len(self._packer.content.alerts), self._tail
        before = Receipt.load(self._folder)
        # announced first: the worker now waits if it accepts one of these alerts
        Receipt(
            n_alerts=n_alerts,
            first_line=before.first_line if before else None,
            alerts=before.alerts if before else (),
        ).save(self._folder)
        progress = DeliveryProgress.load(self._folder)
        stored = self._open()
        for name, part in list(self._parts.items()):
            stored.add(name, part)
            self._check_open()
            del self._parts[name]
        sides = {**self._sides(progress), TAIL: base64.b64encode(tail).decode()}
        about = {**self._described().to_dict(), KEPT: sides}
        self._check_open()
        stored.mark(about)
        if self._queue:  # after the rows: files may be large, or the store slow
            self._store_files(stored)
            stored.mark(about)
        Receipt.of(progress, n_alerts).save(self._folder)

    def keep(self) -> None:
        """Renew the right to write the stored run; raises as `step` does."""
        if self._stored is not None:
            self._stored.keep()

    def close(self) -> None:
        """Let no step go on that is under way."""
        with self._lock:
            self._is_closed = True

    def finish(self, tally: RunTally) -> str:
        """Store all that is missing, so that the run can be delivered from the store.

        Args:
            tally: What the task has logged, and its exit code.

        Returns:
            URL of the stored folder.

        Raises:
            StorageError: If the store cannot be reached.
        """
        self.close()
        try:
            return self._finish(tally)
        except LeaseLostError:
            # somebody delivers what was stored; all of it is stored once more, as rows came since
            again = RunStash(self._folder, self._open_store, api_host=self._api_host)
            return again.finish(tally)

    def remove(self) -> None:
        """Delete what is stored; raises as `finish` does."""
        self.close()
        if self._stored is not None:
            self._stored.remove()

    def _finish(self, tally: RunTally) -> str:
        stored = self._open()
        is_last = False
        while not is_last:
            # nothing may be left out, as nobody may ever have counted what arrived
            is_last = not self._pack(0, _LAST_BYTES)
            if is_last:
                lost, end = self._packer.end(tally)
                note_lost(self._folder, lost)
                self._tail += end
                self._cut()
            for name, part in self._parts.items():
                stored.add(name, part)
            self._parts.clear()
        for name, path in (*self._packer.files.items(), *_own_files(self._folder)):
            if path.is_file():
                stored.add(name, path)
        progress = DeliveryProgress.load(self._folder)
        sides = self._sides(progress)
        if STEPS in sides:
            stored.add(STEPS, sides[STEPS].encode())
        changing = {PROGRESS: sides[PROGRESS].encode()}
        stored.close(self._described().to_dict(), changing=changing)
        return stored.url

    def _open(self) -> GrowingFolder:
        if self._stored is None:
            self._stored = self._open_store().grow(self._name)
        return self._stored

    def _check_open(self) -> None:
        if self._is_closed:
            raise _ClosedError("the run is being stored as a whole")

    def _may_leave_out(self, progress: DeliveryProgress) -> bool:
        """Whether rows that have arrived can be left out, and the others still be told apart.

        So it is for a run that only this log is about; else its rows are found by their content.
        """
        is_alone = not progress.is_shared and not self._packer.content.writer
        return is_alone and progress.first_line == 0 and progress.arrived > self.position

    def _pack(self, arrived: int, most: int) -> bool:
        """Pack what was written since; return whether that was anything."""
        known = len(self._packer.files)
        before = self.position
        self._tail += self._packer.advance(arrived=arrived, most=most)
        if len(self._tail) >= _PART_BYTES:
            self._cut()
        self._queue.update(list(self._packer.files.items())[known:])
        return self.position > before

    def _cut(self) -> None:
        """Make a part of what is in none yet."""
        if self._tail:
            end = self._begin + len(self._tail)
            self._parts[f"log/{self._begin:012d}-{end:012d}.part"] = self._tail
            self._tail, self._begin = b"", end

    def _store_files(self, stored: GrowingFolder) -> None:
        until = time.monotonic() + _FILES_S
        for name, path in list(self._queue.items()):
            if time.monotonic() > until:
                return
            if path.is_file() and path.stat().st_size <= _MAX_FILE:
                stored.add(name, path)
            self._check_open()
            del self._queue[name]

    def _described(self) -> PackedRun:
        run = PackedRun.of(self._packer.content, self._folder, self._api_host)
        return replace(run, n_rows=run.n_rows - self._packer.n_left_out)

    def _sides(self, progress: DeliveryProgress) -> dict[str, str]:
        """Content of the small files beside the log, by name, as it fits the packed log."""
        n_left_out = self._packer.n_left_out
        stored = replace(progress, arrived=0)
        steps = self._folder / STEPS
        found = {STEPS: steps.read_text()} if steps.exists() else {}
        if n_left_out:
            # these rows are before the first one of the packed log, in which no step may move
            stored = replace(stored, first_line=(stored.first_line or 0) + n_left_out)
            found = {STEPS: "[0, true]\n"}
        return {PROGRESS: json.dumps(asdict(stored)), **found}


def _own_files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((folder / "files").rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path
