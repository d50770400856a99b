"""A record as one file at any path or fsspec URL; one that is too large is not read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import DataError, WbmonError
from flytekitplugins.wbmon.storage.filesystem import open_filesystem, write_file
from flytekitplugins.wbmon.storage.guard import without_secrets

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

R = TypeVar("R", bound="RecordFile")

MAX_FILE_BYTES = 2**28
"""Longest file of a record that is read: 256 MiB."""


class RecordFile(ByContent, ABC):
    """A record that is kept as one file; equal records have equal files."""

    __slots__ = ()

    # what it is, with its article, in error messages; and what to do with a file that is too large
    FILE_NOUN: ClassVar[str]
    IF_TOO_LARGE: ClassVar[str]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the record to one file, and the folders that it lacks on a disk.

        Args:
            path: The file; any path or fsspec URL.

        Raises:
            ConfigError: If the URL cannot be used, such as one that holds keys, or one of a scheme
                that fsspec does not know.
            DataError: If no file can have the path (a folder does, or a file where it has a
                folder), or the record does not fit in 256 MiB.
            StorageError: If the file cannot be written.
        """
        write_record(path, self.to_bytes(), record=self.FILE_NOUN)

    @classmethod
    def load(cls: type[R], path: str | PathLike[str]) -> R:
        """Read a record that `save` wrote; `path` may be any fsspec URL.

        A file that anyone may have written is safe to load: nothing in it is executed.

        Raises:
            ConfigError: If the URL cannot be used, such as one that holds keys, or one of a scheme
                that fsspec does not know.
            DataError: If the file does not exist, is of another record, is longer than 256 MiB, is
                damaged, or was written by a newer version of this package.
            StorageError: If the file cannot be read.
        """
        return cls.load_from(path)

    @classmethod
    def load_from(
        cls: type[R], path: str | PathLike[str], *, filesystem: AbstractFileSystem | None = None
    ) -> R:
        """Like `load`, by a file system that has settings of the caller's."""
        content = read_record(
            path,
            record=cls.FILE_NOUN,
            most=MAX_FILE_BYTES,
            otherwise=cls.IF_TOO_LARGE,
            filesystem=filesystem,
        )
        return cls.from_bytes(content, shown_path(path, cls.FILE_NOUN))

    @classmethod
    def file_format(cls) -> str:
        """The ending of its files, and the format of its blobs in Flyte."""
        return f"wbmon-{cls.__name__.lower()}"

    @abstractmethod
    def to_bytes(self) -> bytes:
        """The content of its file; the same for equal records, in every process."""

    @classmethod
    @abstractmethod
    def from_bytes(cls: type[R], content: bytes, path: str) -> R:
        """The record in the content of a file, whose path is for error messages.

        Raises:
            DataError: If it is none, is damaged, or was written by a newer version.
        """


def shown_path(path: str | PathLike[str], record: str) -> str:
    """The path as error messages may show it.

    Raises:
        DataError: If it is no path.
    """
    if not isinstance(path, str | PathLike):
        raise DataError(f"{record} must be given by its path or URL, got {type(path).__name__}")
    return without_secrets(str(path))


def write_record(path: str | PathLike[str], content: bytes, *, record: str) -> None:
    """Write a record to one file, and the folders that it lacks on a disk.

    Args:
        path: The file; any path or fsspec URL.
        content: The bytes of the file.
        record: What it is, with its article, in error messages.

    Raises:
        ConfigError: If the URL cannot be used.
        DataError: If no file can have the path: a folder does, or a file where it has a folder.
        StorageError: If the file cannot be written.
    """
    shown = shown_path(path, record)
    files, place = open_filesystem(path)
    try:
        write_file(files, place, content)
    except WbmonError:
        raise
    # a folder in its place, a file for a folder, a path that no disk can have
    except (NotImplementedError, OSError, ValueError) as error:
        raise DataError(
            f"{record} must be saved to a file, could not write {shown!r}: {error}; give the "
            "path of a file in a folder that can be written"
        ) from error


def read_record(
    path: str | PathLike[str],
    *,
    record: str,
    most: int,
    otherwise: str,
    filesystem: AbstractFileSystem | None = None,
) -> bytes:
    """The bytes of the file of a record.

    Args:
        path: The file; any path or fsspec URL.
        record: What it is, with its article, in error messages.
        most: Most bytes it can have.
        otherwise: What to do with a larger file.
        filesystem: A file system with settings of the caller's.

    Raises:
        ConfigError: If the URL cannot be used.
        DataError: If the file does not exist, cannot be a file, or is longer.
        StorageError: If the file cannot be read.
    """
    shown = shown_path(path, record)
    try:
        opened = open_filesystem(path, filesystem=filesystem)
        content = _read(*opened, most, f"{record} must be a file, {shown!r} is")
    except WbmonError:
        raise
    # a path that no disk can have is a ValueError; some stores stumble over theirs
    except (LookupError, NotImplementedError, OSError, TypeError, ValueError) as error:
        raise DataError(
            f"{record} must be a readable file, could not read {shown!r}: {error}"
        ) from error
    if content is None:
        raise DataError(f"{record} must have at most {most} bytes, {shown!r} has more; {otherwise}")
    return content


def _read(files: AbstractFileSystem, place: str, most: int, must_be: str) -> bytes | None:
    """The content; None if it is too long."""
    about: dict[str, Any] = files.info(place)
    if about.get("type", "file") != "file":
        # a pipe or a device would never end
        raise DataError(f"{must_be} another thing: {about['type']}")
    size = about.get("size")
    if size is not None:
        return bytes(files.cat_file(place)) if size <= most else None
    # some web servers do not say; one byte more tells whether it is too long
    with files.open(place, "rb") as file:
        content = bytes(file.read(most + 1))
    return content if len(content) <= most else None
