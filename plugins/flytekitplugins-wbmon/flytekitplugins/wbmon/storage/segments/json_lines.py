"""Encodes rows as lines of JSON, and decodes them.

Lines are UTF-8 and strict JSON, so any other reader can read them too. Values that JSON cannot
represent are converted: `nan` and infinities become null, half of a surrogate pair becomes the
replacement character, arrays become lists, and any other object becomes its text, as do whole
numbers of more digits than Python reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from flytekitplugins.wbmon.names import whole_name

# larger numbers fit into no float, and Python refuses to parse integers of more than 4300 digits
_MAX_BITS = 1024

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        offset: Where it begins in the file, in bytes.
        data: Its bytes, without the newline.
        row: The row; None if it holds none.
        reason: Why it holds no row; empty if it does.
    """

    offset: int
    data: bytes
    row: dict[str, Any] | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """The rows of a file of lines.

    Attributes:
        rows: The rows in the order they were written.
        n_torn: Number of lines that are not a row: cut off in the middle, or unreadable.
    """

    rows: list[dict[str, Any]]
    n_torn: int


def to_json(value: Any) -> str:
    """A value as JSON on one line.

    Raises:
        RecursionError: If containers contain themselves, or are nested too deeply.
    """
    # converting first would copy every row; nearly all rows need no conversion
    try:
        return _encode(value)
    except (TypeError, ValueError):
        return _encode(_plain(value))


def to_text(value: Any) -> str:
    """A value as text: text as itself, what JSON has no form for by its text, all else as JSON.

    Raises:
        RecursionError: If containers contain themselves, or are nested too deeply.
    """
    plain = _plain(value)
    return plain if isinstance(plain, str) else to_json(plain)


def to_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line.

    Raises:
        RecursionError: If containers contain themselves, or are nested too deeply.
    """
    return to_utf8(f"{to_json(row)}\n")


def to_utf8(text: str) -> bytes:
    """A text in UTF-8, also if it contains halves of surrogate pairs."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return well_formed(text).encode()


def well_formed(text: str) -> str:
    """A text with each pair of surrogates joined, and each lone surrogate replaced by U+FFFD.

    >>> well_formed("a" + chr(0xD83D) + "b")
    'a\ufffdb'
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def text_of(value: Any) -> str:
    """The text of any object, well formed; its class where it has none."""
    if type(value) is str and value.isascii():
        return value
    try:
        return well_formed(value if type(value) is str else str(value))
    except Exception:  # noqa: BLE001 - the object is somebody's, and so is its text
        return f"<{type(value).__name__}>"


def text_or_none(value: Any) -> str | None:
    """As `text_of`, but None is none."""
    return None if value is None else text_of(value)


def read_lines(data: bytes) -> Lines:
    """The rows among the lines of a file.

    Text after the last newline is a line that was not written completely; it counts as torn.

    Args:
        data: Content of the file.
    """
    read = [line.row for line in each_line(data)]
    rows = [row for row in read if row is not None]
    return Lines(rows, len(read) - len(rows))


def each_line(data: bytes) -> Iterator[Line]:
    """The lines of a file, and of each that holds no row the reason; blank ones are left out.

    Args:
        data: Content of the file.
    """
    offset = 0
    *lines, tail = data.split(b"\n")
    for line in lines:
        if line and not line.isspace():
            yield _line(offset, line)
        offset += len(line) + 1
    if tail:
        yield Line(offset, tail, None, "cut off: it does not end with a newline")


def _line(offset: int, data: bytes) -> Line:
    try:
        # lone surrogates, as other writers encode them, are replaced when the value is fitted; a
        # byte order mark is what an editor leaves
        row = json.loads(data.decode("utf-8", "surrogatepass").removeprefix("\ufeff"))
    except UnicodeDecodeError:
        return Line(offset, data, None, "not UTF-8")
    except ValueError as error:
        return Line(offset, data, None, f"not JSON: {error}")
    except RecursionError:
        return Line(offset, data, None, "JSON that is nested too deeply")
    if not isinstance(row, dict):
        return Line(offset, data, None, "not a JSON object")
    return Line(offset, data, row)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_BITS else whole_name(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    converted: Callable[[], Any] | None = getattr(value, "tolist", None)
    return _plain(converted()) if converted is not None else str(value)
