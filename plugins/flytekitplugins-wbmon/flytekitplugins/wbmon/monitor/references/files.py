"""The current reference or baseline of a model: versions of a record in a folder or bucket.

The content is written before the history that points at it, under the name of its digest: no
version is ever half written, and no reader gets another content than the one that was promoted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from flytekitplugins.wbmon.arguments import moment
from flytekitplugins.wbmon.errors import ConfigError, DataError, StorageError
from flytekitplugins.wbmon.monitor.versions.files import VersionFiles
from flytekitplugins.wbmon.monitor.versions.history import (
    PRODUCTION,
    VersionHistory,
    version_of,
)
from flytekitplugins.wbmon.monitor.versions.names import require_name
from flytekitplugins.wbmon.storage.compare_and_swap import read_file, replace_file
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.guard import without_secrets
from flytekitplugins.wbmon.storage.record_file import MAX_FILE_BYTES, RecordFile, read_record

R = TypeVar("R", bound=RecordFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceVersion:
    """A saved record.

    Attributes:
        digest: SHA-256 of its content, the hash of its literal in Flyte.
        saved_at: When it was first saved, UTC.
    """

    digest: str
    saved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceHistory(VersionHistory):
    """All versions of a model's record, its aliases, and every decision, oldest first."""

    versions: tuple[ReferenceVersion, ...] = ()


class ReferenceFiles(VersionFiles[ReferenceHistory], Generic[R]):
    """Versions of one kind of record of each model, such as its reference profile.

    A model's profile, baseline and model of the loss are kept apart, so all may share a folder.

    Args:
        uri: Path or fsspec URL of the folder.
        record: Class of the records: `Profile`, `PerformanceReport`, `LossModel` …
        filesystem: The fsspec file system of a URL, where the caller has one with credentials.

    Raises:
        ConfigError: If `record` is no class of records.
    """

    HISTORY = ReferenceHistory
    NOUN = "reference"

    def __init__(self, uri: str, record: type[R], *, filesystem: Any = None) -> None:
        given: Any = record
        if not isinstance(given, type) or not issubclass(given, RecordFile):
            raise ConfigError(
                f"record must be a class such as Profile or PerformanceReport, got {given!r}"
            )
        super().__init__(uri, filesystem=filesystem)
        self.record = record

    def save(self, name: str, record: R) -> ReferenceVersion:
        """Save a record as a version of a model; equal records are the same version.

        Raises:
            ConfigError: If the record is of another class.
            DataError: If it is too large.
            StorageError: If the store fails, or others keep writing.
        """
        if not isinstance(record, self.record):
            raise ConfigError(
                f"a reference of this folder must be a {self.record.__name__}, got one "
                f"{type(record).__name__}"
            )
        content = record.to_bytes()
        digest = hashlib.sha256(content).hexdigest()
        self._write_once(
            open_filesystem(self.url(name, digest), filesystem=self._files)[1], content
        )
        version = ReferenceVersion(digest=digest, saved_at=datetime.now(timezone.utc))

        def change(history: ReferenceHistory) -> ReferenceHistory:
            if any(each.digest == digest for each in history.versions):
                return history
            return replace(history, versions=(*history.versions, version))

        saved: ReferenceVersion = version_of(self._change(name, change), digest, noun=self.NOUN)
        return saved

    def load(self, name: str, which: str = PRODUCTION, *, at: datetime | None = None) -> R:
        """The record of a version.

        Args:
            name: Name of the model.
            which: The version by digest, by alias, or by the first characters of a digest.
            at: Where the alias pointed then, for a window of the past, in UTC if it has no zone.
                Now by default.

        Raises:
            ConfigError: If `at` is no moment, or `which` no text.
            DataError: If there is no such version, or its file is missing or damaged.
            StorageError: If the store fails.
        """
        moment_at = None if at is None else moment("at", at)
        version = version_of(self.history(name), which, noun=self.NOUN, at=moment_at)
        return self._content(name, version.digest)

    def url(self, name: str, digest: str) -> str:
        """Where the content of a version is: a file that `load` of its class reads."""
        require_name(name, self.NOUN)
        return f"{str(self.uri).rstrip('/')}/{name}/{digest}.{self.record.file_format()}"

    def _require_readable(self, name: str, digest: str) -> None:
        self._content(name, digest)

    def _content(self, name: str, digest: str) -> R:
        url = self.url(name, digest)
        content = read_record(
            url,
            record=self.record.FILE_NOUN,
            most=MAX_FILE_BYTES,
            otherwise="save another version",
            filesystem=self._files,
        )
        shown = without_secrets(url)
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(
                f"{shown!r} must be what was saved, but its content was changed; save the record "
                "again, or promote another version"
            )
        return self.record.from_bytes(content, shown)

    def _write_once(self, path: str, content: bytes) -> None:
        for _ in range(2):
            there, version = read_file(self._files, path)
            if there == content or replace_file(self._files, path, content, version):
                return
        raise StorageError(f"{path!r} must be written by one at a time; try again")

    def _path(self, name: str) -> str:
        require_name(name, self.NOUN)
        return f"{self._root}/{name}/{self.record.file_format()}.json"
