"""The LLM call log on disk: rows appended as JSON lines, whole segments renamed.

The layout is that of the prediction log, so what reads the one reads the other. A row is on disk
as soon as the call is over; a killed process loses none that it wrote.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
import threading
from datetime import datetime, timezone
from os import getpid
from pathlib import Path
from typing import IO, Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.llm.calls.row import Row, instance_name
from flytekitplugins.wbmon.monitor.prediction_log.schema import segment_folder
from flytekitplugins.wbmon.storage.filesystem import is_local, make_parent, open_filesystem

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 1024 * 1024


class CallLog:
    """Writes the calls of one service.

    Args:
        destination: Folder or fsspec URL of the log. A URL gets each segment when it is whole;
            until then it is on the local disk.
        service: The service that calls.
        segment_bytes: Size at which a segment is whole; it also is at midnight UTC and at the end.
        instance: Tells writers apart; the host and process by default.
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.

    Raises:
        ConfigError: If the service's name cannot be part of a path.
    """

    def __init__(
        self,
        destination: str | Path,
        service: str,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        instance: str = "",
        filesystem: Any = None,
    ) -> None:
        if not service or set(service) & set("/\\= "):
            raise ConfigError(
                f"service must be a name without blanks, '/' and '=', got {service!r}"
            )
        self.destination = str(destination)
        self.service = service
        self.n_rows = 0
        self.n_failed = 0
        self._filesystem = filesystem
        self._remote = not is_local(self.destination)
        if self._remote:
            self._root = tempfile.mkdtemp(prefix="wbmon-calls-")
        else:
            self._root = open_filesystem(self.destination)[1]
        self._instance = instance or instance_name()
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._day = ""
        self._size = 0
        self._sequence = 0

    def log_call(self, row: Row) -> None:
        """Append a row; never raises."""
        try:
            line = json.dumps(row | {"service": self.service}, default=str, allow_nan=False)
        except ValueError:
            line = json.dumps(_finite(row) | {"service": self.service}, default=str)
        with self._lock:
            try:
                self._write(line.encode() + b"\n")
                self.n_rows += 1
            except OSError as error:
                self.n_failed += 1
                logger.warning("an LLM call could not be logged: %s", error)

    def close(self) -> None:
        """Make the last segment whole."""
        with self._lock:
            self._seal()

    def __enter__(self) -> CallLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: bytes) -> None:
        today = datetime.now(timezone.utc).date().isoformat()
        if self._file is not None and (self._day != today or self._size >= self._segment_bytes):
            self._seal()
        if self._file is None:
            self._open(today)
        assert self._file is not None  # noqa: S101 - for the type checker
        self._file.write(line)
        self._size += len(line)

    def _open(self, today: str) -> None:
        folder = Path(segment_folder(self._root, "open", self.service))
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            name = f"{self._instance}-{getpid()}-{self._sequence}.jsonl"
            self._sequence += 1
            sealed = Path(segment_folder(self._root, "sealed", self.service)) / name
            if not sealed.exists() and not (folder / name).exists():
                break
        self._file = (folder / name).open("ab", buffering=0)
        self._day, self._size = today, 0

    def _seal(self) -> None:
        if self._file is None:
            return
        path = Path(self._file.name)
        self._file.close()
        self._file = None
        folder = Path(segment_folder(self._root, "sealed", self.service))
        folder.mkdir(parents=True, exist_ok=True)
        whole = path.rename(folder / path.name)
        if self._remote:
            self._upload(whole)

    def _upload(self, segment: Path) -> None:
        target = f"{segment_folder(self.destination, 'sealed', self.service)}/{segment.name}"
        try:
            files, path = open_filesystem(target, filesystem=self._filesystem)
            make_parent(files, path)
            files.put_file(str(segment), path)
            segment.unlink()
        except Exception as error:  # noqa: BLE001 - any file system; the segment stays on disk
            logger.warning("the call log %s stays on disk: %s", segment, error)


def _finite(value: Any) -> Any:
    """JSON has no number for what is undefined: it is left out."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
