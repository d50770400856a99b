"""Which of the files in an artifact is the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name
from flytekitplugins.wbmon.storage.record_file import MAX_FILE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """A file as the manifest of an artifact has it.

    Attributes:
        path: Path in the artifact.
        n_bytes: Its size; 0 if the manifest does not say.
        is_reference: Whether only the URL of the content is in the artifact.
    """

    path: str
    n_bytes: int
    is_reference: bool


def only_record_file(artifact: str, files: Sequence[ArtifactFile], ending: str) -> str:
    """The path of the one file that may be the record.

    Its name ends as those of the record do, or it is the only file.

    Args:
        artifact: Name of the artifact, in error messages.
        files: All files in it.
        ending: How the names of such files end, such as `.wbmon-profile`.

    Raises:
        DataError: If there is none, or there are several, or its content cannot be taken.
    """
    found = [file for file in files if file.path.endswith(ending)] or files
    if len(found) != 1:
        raise DataError(
            f"the artifact {artifact!r} must have exactly one file, or one whose name ends in "
            f"{ending!r}, found {len(found)}: {listed_names(file.path for file in found)}"
        )
    file = found[0]
    shown = f"{quoted_name(file.path)} in the artifact {artifact!r}"
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{shown} must be the path of a file in the artifact")
    if file.is_reference:
        raise DataError(
            f"{shown} must be the file of a record, but it is a reference to a URL; log the file "
            "itself with `artifact.add_file`"
        )
    if file.n_bytes > MAX_FILE_BYTES:
        raise DataError(f"{shown} must have at most {MAX_FILE_BYTES} bytes, got {file.n_bytes}")
    return file.path
