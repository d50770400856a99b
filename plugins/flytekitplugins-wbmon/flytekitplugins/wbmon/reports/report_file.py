"""The file format of reports: JSON of the fields, with what it is and the version of the format.

Files of earlier releases have the fields only, and are read too.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.reports.serialize import record_from_plain, record_to_plain
from flytekitplugins.wbmon.storage.json_text import read_json
from flytekitplugins.wbmon.storage.record_file import MAX_FILE_BYTES, RecordFile

R = TypeVar("R", bound=RecordFile)

FORMAT_VERSION = 1
# no field of a report has these names
_FORMAT, _VERSION = "file_format", "file_version"


def report_to_bytes(report: RecordFile) -> bytes:
    """The content of the file of a report."""
    about = {_FORMAT: report.file_format(), _VERSION: FORMAT_VERSION}
    content = json.dumps({**about, **record_to_plain(report)}, allow_nan=False).encode()
    if len(content) > MAX_FILE_BYTES:
        raise DataError(
            f"a {type(report).__name__} must fit in a file of {MAX_FILE_BYTES} bytes, got "
            f"{len(content)}; make it of fewer features, groups or windows"
        )
    return content


def report_from_bytes(kind: type[R], content: bytes, path: str) -> R:
    """Read the content of the file of a report.

    Args:
        kind: The class that it must be of.
        content: The bytes of the file.
        path: Name of the file in error messages.

    Raises:
        DataError: If it is of another record, is damaged, or was written by a newer version of this
            package.
    """
    try:
        plain = read_json(content)
    except DataError as error:
        raise _unlike(kind, path, f"is not JSON ({error})") from error
    if not isinstance(plain, dict):
        raise _unlike(kind, path, f"holds a {type(plain).__name__}")
    found = plain.pop(_FORMAT, kind.file_format())
    if found != kind.file_format():
        raise _unlike(kind, path, f"is of format {found!r:.100}")
    _require_known(plain.pop(_VERSION, FORMAT_VERSION), path)
    try:
        return record_from_plain(kind, plain)
    except DataError as error:
        raise _unlike(kind, path, f"is another or damaged ({error})") from error


def _require_known(version: Any, path: str) -> None:
    if type(version) is not int or version < 1:
        raise DataError(f"{path!r} must have a version >= 1, got {version!r:.100}")
    if version > FORMAT_VERSION:
        raise DataError(
            f"{path!r} is a report of format version {version}, this package reads up to "
            f"{FORMAT_VERSION}; upgrade flytekitplugins-wbmon"
        )


def _unlike(kind: type[RecordFile], path: str, what: str) -> DataError:
    return DataError(
        f"{path!r} must be a file that {kind.__name__}.save wrote, but it {what}; give the file of "
        f"a {kind.__name__}, or write it again"
    )
