"""Reader and writer of W&B's transaction log, the file in which wandb keeps an offline run.

wandb no longer ships a reader in Python. The format is a header of seven bytes, then blocks of
32 KiB as in the log of LevelDB: a record is one or more fragments, each with a checksum (4 bytes),
a length (2 bytes) and its position in the record (1 byte: whole, first, middle or last). A killed
process leaves an incomplete record at the end; everything before it is readable.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO, FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.wandb_internals import BLOCK, record_type
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.storage.room import append_whole

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

# identifier, magic number, version
HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_FRAGMENT = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_POLL_S = 0.005


def log_path(run_folder: Path) -> Path:
    """The transaction log in a run's folder.

    Raises:
        DataError: If the folder does not hold exactly one, or is gone.
    """
    if not run_folder.is_dir():
        raise DataError(f"{run_folder} must stay until the run has ended, and was deleted")
    found = sorted(run_folder.glob("run-*.wandb"))
    if len(found) != 1:
        raise DataError(f"{run_folder} must hold one run-*.wandb file, found {len(found)}")
    return found[0]


def read_records(path: Path) -> Iterator[Record]:
    """The records of a log in order, up to the first that is incomplete or damaged.

    Raises:
        DataError: If the file is not a transaction log.
    """
    return LogReader(path).read()


class LogReader:
    """Reads a log, which another process may still be writing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    @property
    def position(self) -> int:
        """Length in bytes of the beginning of the log that was read."""
        return self._position

    def read(self) -> Iterator[Record]:
        """The complete records that were not read before.

        Raises:
            DataError: If the file is not a transaction log.
        """
        record = record_type()
        with self._path.open("rb") as file:
            if not self._position:
                header = file.read(len(HEADER))
                if header != HEADER:
                    raise DataError(
                        f"{self._path} must be a W&B transaction log, begins with {header!r}"
                    )
                self._position = len(HEADER)
            file.seek(self._position)
            for message, end in _messages(_fragments(file, self._position)):
                # only past whole records: a half-written one is read again next time
                self._position = end
                yield record.FromString(message)


class LogWriter:
    """Writes a log that wandb can sync; a reader sees each record as soon as it is written.

    Args:
        to: Path of the log, of which what it holds is overwritten, or an empty file that is open.
        keep: Number of bytes at its beginning that are kept, up to the end of a record.

    Raises:
        OSError: If the disk has no room; of a record that does not fit, nothing is written.
    """

    def __init__(self, to: Path | BytesIO, *, keep: int = 0) -> None:
        if isinstance(to, Path):
            self._file: FileIO | BytesIO = to.open("r+b" if keep else "wb", buffering=0)
        else:
            self._file = to
        self._file.truncate(keep)
        self._position = self._file.seek(keep)
        if not keep:
            self._append(HEADER)

    def write(self, record: Record) -> None:
        """Append a record."""
        self._append(b"".join(_framed(record.SerializeToString(), self._position)))

    def _append(self, data: bytes) -> None:
        append_whole(self._file, data)
        self._position += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a whole log."""
    writer = LogWriter(path)
    for record in records:
        writer.write(record)
    writer.close()


def exit_record(exit_code: int) -> Record:
    """The record that ends a log."""
    record = record_type()()
    record.exit.exit_code = exit_code
    return record


def summary_record(summary: Mapping[str, Any]) -> Record:
    """A record that adds JSON values to the run's summary."""
    record = record_type()()
    for key, value in summary.items():
        record.summary.update.add(key=key, value_json=json.dumps(value))
    return record


def append_end(path: Path, *, exit_code: int, summary: Mapping[str, str]) -> None:
    """End the log of a run whose service is dead.

    Args:
        path: The log.
        exit_code: 0 for success.
        summary: Added to the run's summary.

    Raises:
        DataError: If the file is not a transaction log.
        OSError: If the disk has no room.
    """
    reader = LogReader(path)
    for _ in reader.read():
        pass
    # over an incomplete record, behind which nothing can be read
    writer = LogWriter(path, keep=reader.position)
    if summary:
        writer.write(summary_record(summary))
    writer.write(exit_record(exit_code))
    writer.close()


def path_of(item: Any) -> tuple[str, ...]:
    """The names that lead to an item of a row, summary or config; one if it is at the top."""
    return tuple(item.nested_key) or (item.key,)


def has_ended(path: Path) -> bool:
    """Whether the log holds the run's end; reads only the last two blocks, as it is polled."""
    record = record_type()
    try:
        with path.open("rb") as file:
            start = max(0, path.stat().st_size // BLOCK - 1) * BLOCK
            file.seek(start or len(HEADER))
            messages = _messages(_fragments(file, start or len(HEADER)))
            return any(record.FromString(one).HasField("exit") for one, _ in messages)
    except OSError:
        return False


def wait_for_end(path: Path, timeout_s: float) -> bool:
    """Wait until the run's end is on disk; wandb writes it shortly after `finish` returns.

    Returns:
        False if the end is not there after `timeout_s` seconds.
    """
    until = time.monotonic() + timeout_s
    while not has_ended(path):
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True


def _fragments(file: IO[bytes], position: int) -> Iterator[tuple[int, bytes, int]]:
    """Kind, content and end position of each fragment, up to the first damaged one."""
    while block := file.read(BLOCK - position % BLOCK):
        place = 0
        while place + _FRAGMENT.size <= len(block):
            checksum, length, kind = _FRAGMENT.unpack_from(block, place)
            if (checksum, length, kind) == (0, 0, 0):  # the rest of the block is padding
                break
            body = block[place + _FRAGMENT.size : place + _FRAGMENT.size + length]
            if len(body) < length or not _WHOLE <= kind <= _LAST:
                return
            # the checksum covers the kind too
            if zlib.crc32(body, zlib.crc32(bytes([kind]))) != checksum:
                return
            place += _FRAGMENT.size + length
            yield kind, body, position + place
        position += len(block)


def _messages(fragments: Iterable[tuple[int, bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """Content and end position of each complete record."""
    parts: list[bytes] | None = None
    for kind, body, end in fragments:
        if kind in (_WHOLE, _FIRST):
            parts = []
        if parts is None:  # begins before the part of the file that is read
            continue
        parts.append(body)
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts), end
            parts = None


def _framed(data: bytes, position: int) -> Iterator[bytes | memoryview]:
    """Split a record into fragments, with padding where a block has no room for their header."""
    begun = False
    rest = memoryview(data)  # of which a part is no copy: a record may have 100 MB
    while True:
        left = BLOCK - position % BLOCK
        if left < _FRAGMENT.size:  # a fragment never crosses a block, not even with its header
            yield b"\0" * left
            position += left
            left = BLOCK
        body, rest = rest[: left - _FRAGMENT.size], rest[left - _FRAGMENT.size :]
        kind = _kind(begun=begun, done=not rest)
        checksum = zlib.crc32(body, zlib.crc32(bytes([kind])))
        yield _FRAGMENT.pack(checksum, len(body), kind)
        yield body
        position += _FRAGMENT.size + len(body)
        begun = True
        if not rest:
            return


def _kind(*, begun: bool, done: bool) -> int:
    if begun:
        return _LAST if done else _MIDDLE
    return _WHOLE if done else _FIRST
