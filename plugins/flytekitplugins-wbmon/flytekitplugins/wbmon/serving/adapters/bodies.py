"""The beginning of a body as it flows by: bounded, and as text only if it is text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from flytekitplugins.wbmon.serving.log.encode import without_ragged_end

_TEXTUAL = (b"json", b"text/", b"xml", b"x-www-form-urlencoded")

Headers = Iterable[tuple[bytes, bytes]]


class Body:
    """Keeps the first bytes of a body.

    Args:
        limit: Bytes kept.
    """

    __slots__ = ("_kept", "_limit", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[bytes] = []
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Take a chunk that flows by."""
        room = self._limit - self.size
        if room > 0 and chunk:
            self._kept.append(chunk if len(chunk) <= room else chunk[:room])
        self.size += len(chunk)

    @property
    def is_cut(self) -> bool:
        """Whether there was more than is kept."""
        return self.size > self._limit

    def text(self, content_type: bytes) -> str | None:
        """What was kept, or its type and size if it is not text; None for no body.

        Args:
            content_type: As the header says it.
        """
        if not self.size:
            return None
        if not _is_textual(content_type):
            return f"[{content_type.decode('latin-1').lower()}, {self.size} bytes]"
        text = b"".join(self._kept).decode("utf-8", "replace")
        return without_ragged_end(text) if self.is_cut else text


class Bodies:
    """What was kept of a request and of its response; as text only when the row is written.

    Args:
        incoming: Of the request.
        sent_as: Its content type.
        outgoing: Of the response.
        answered_as: Its content type.
    """

    __slots__ = ("_answered_as", "_incoming", "_outgoing", "_sent_as")

    def __init__(self, incoming: Body, sent_as: bytes, outgoing: Body, answered_as: bytes) -> None:
        self._incoming, self._sent_as = incoming, sent_as
        self._outgoing, self._answered_as = outgoing, answered_as

    def columns(self) -> dict[str, Any]:
        """Columns of the row: both texts, and whether one was cut."""
        return {
            "input_text": self._incoming.text(self._sent_as),
            "output_text": self._outgoing.text(self._answered_as),
            "truncated": self._incoming.is_cut or self._outgoing.is_cut,
        }


@lru_cache(maxsize=256)
def _is_textual(content_type: bytes) -> bool:
    kind = content_type.lower()
    return not kind or any(word in kind for word in _TEXTUAL)


def header(headers: Headers, name: bytes) -> bytes:
    """The first header of a name (in lower case); empty if there is none."""
    for key, value in headers:
        if key == name:
            return value
    return b""
