"""Captures the first bytes of request and response bodies, and decodes those that are text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from flytekitplugins.wbmon.serving.log.encode import without_ragged_end

_TEXTUAL = (b"json", b"text/", b"xml", b"x-www-form-urlencoded")

Headers = Iterable[tuple[bytes, bytes]]


class Body:
    """Keeps the first bytes of a body, and counts all of them.

    Args:
        limit: Number of bytes kept.
    """

    __slots__ = ("_kept", "_limit", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[bytes] = []
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Add the next chunk of the body."""
        room = self._limit - self.size
        if room > 0 and chunk:
            self._kept.append(chunk if len(chunk) <= room else chunk[:room])
        self.size += len(chunk)

    @property
    def is_cut(self) -> bool:
        """Whether the body was longer than what is kept."""
        return self.size > self._limit

    def text(self, content_type: bytes) -> str | None:
        """The kept text, or the type and size if the body is not text; None for an empty body.

        Args:
            content_type: Value of the `content-type` header; empty if there is none.
        """
        if not self.size:
            return None
        if not _is_textual(content_type):
            return f"[{content_type.decode('latin-1').lower()}, {self.size} bytes]"
        # the limit may cut a character in two, so decoding must not fail
        text = b"".join(self._kept).decode("utf-8", "replace")
        return without_ragged_end(text) if self.is_cut else text


class Bodies:
    """The captured bodies of a request and its response; decoded only when the row is written.

    Args:
        incoming: Body of the request.
        sent_as: Content type of the request.
        outgoing: Body of the response.
        answered_as: Content type of the response.
    """

    __slots__ = ("_answered_as", "_incoming", "_outgoing", "_sent_as")

    def __init__(self, incoming: Body, sent_as: bytes, outgoing: Body, answered_as: bytes) -> None:
        self._incoming, self._sent_as = incoming, sent_as
        self._outgoing, self._answered_as = outgoing, answered_as

    def columns(self) -> dict[str, Any]:
        """Columns of the row: both texts, and whether any of them was cut."""
        return {
            "input_text": self._incoming.text(self._sent_as),
            "output_text": self._outgoing.text(self._answered_as),
            "truncated": self._incoming.is_cut or self._outgoing.is_cut,
        }


@lru_cache(maxsize=256)
def _is_textual(content_type: bytes) -> bool:
    kind = content_type.lower()
    # a body without a type is taken for text
    return not kind or any(word in kind for word in _TEXTUAL)


def header(headers: Headers, name: bytes) -> bytes:
    """The first header of a name (in lower case); empty if there is none."""
    for key, value in headers:
        if key == name:
            return value
    return b""
