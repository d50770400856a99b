"""Captures the first bytes of request and response bodies, and reads those that are text."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from flytekitplugins.wbmon.privacy.cut import without_cut_end
from flytekitplugins.wbmon.privacy.encodings import encoding_of

_TEXTUAL = (b"json", b"text/", b"xml", b"x-www-form-urlencoded")
_FORM, _PARTS = b"x-www-form-urlencoded", b"multipart/"
_PARAMETER = re.compile(
    rb"(?i)[;\s](charset|boundary)\s*=\s*(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))"
)
# those that text is sent in; others of Python's are no alphabets, or slow
_ALPHABETS = re.compile(
    r"utf[_-]?(?:8|16|32).*|ascii|iso8859.*|latin.*|cp\d+.*|koi8.*|mac.*|shift_jis.*|euc_.*|gb.*|big5.*"
)
_WIDE = ("utf-16", "utf-32")
# either header of gzip and zlib; some servers send `deflate` without one
_ZLIB_OR_GZIP, _RAW = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
_COMPRESSED = {
    b"gzip": (_ZLIB_OR_GZIP,),
    b"x-gzip": (_ZLIB_OR_GZIP,),
    b"deflate": (_ZLIB_OR_GZIP, _RAW),
}
_PART_NAME = re.compile(rb"(?i);\s*name=(?:\"([^\"\r\n]{0,200})\"|([^\s;\"]{1,200}))")
_MAX_FIELDS = 1_000
# of a form that is decoded: each `%` of it costs as much as a hundred other letters
_MAX_FORM = 65_536

Headers = Iterable[tuple[bytes, bytes]]


class Body:
    """Keeps the first bytes of a body, and counts all of them.

    Args:
        limit: Number of bytes kept, and of bytes that are read of what is compressed.
    """

    __slots__ = ("_kept", "_limit", "is_cut", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[bytes] = []
        self.size = 0
        self.is_cut = False
        """Whether the body was longer than what is kept of it."""

    def add(self, chunk: bytes) -> None:
        """Add the next chunk of the body."""
        room = self._limit - self.size
        if room > 0 and chunk:
            # an app may send a buffer that it fills again
            self._kept.append(bytes(chunk if len(chunk) <= room else chunk[:room]))
        self.size += len(chunk)
        self.is_cut = self.size > self._limit

    def content(self, content_type: bytes, content_encoding: bytes = b"") -> Any:
        """What was sent: forms by name, other text as text; None for an empty body.

        A body that is not text, or compressed in a way that Python cannot read, is its type and
        size.

        Args:
            content_type: Value of the `content-type` header; empty if there is none.
            content_encoding: Value of the `content-encoding` header; empty if there is none.
        """
        if not self.size:
            return None
        kind = content_type.lower()
        if not _is_textual(kind):
            return f"[{kind.decode('latin-1')}, {self.size} bytes]"
        data = self._decompressed(content_encoding.strip().lower())
        if data is None:
            encoding = content_encoding.decode("latin-1").lower()
            return f"[content-encoding {encoding}, {self.size} bytes]"
        return self._read(data, kind, _parameters(content_type))

    def _read(self, data: bytes, kind: bytes, parameters: dict[bytes, bytes]) -> Any:
        if _PARTS in kind:
            return _fields(data, parameters.get(b"boundary", b""), is_cut=self.is_cut)
        text = _decoded(data, parameters.get(b"charset", b""))
        if _FORM in kind:
            return self._form(text)
        return without_cut_end(text) if self.is_cut else text

    def _form(self, text: str) -> dict[str, Any]:
        fields = text[:_MAX_FORM].split("&", _MAX_FIELDS)
        is_half = self.is_cut or len(text) > _MAX_FORM
        self.is_cut = is_half
        if len(fields) > _MAX_FIELDS:  # the last is all that is beyond
            self.is_cut, is_half = True, False
        pairs = parse_qsl("&".join(fields[:_MAX_FIELDS]), keep_blank_values=True)
        return _by_name(_cut_pairs(pairs, is_cut=is_half))

    def _decompressed(self, encoding: bytes) -> bytes | None:
        data = b"".join(self._kept)
        if encoding in (b"", b"identity"):
            return data
        for window in _COMPRESSED.get(encoding, ()):
            reader = zlib.decompressobj(window)
            try:
                # no more than is kept of any body: what a few bytes may become has no bound
                plain = reader.decompress(data, self._limit)
            except zlib.error:
                continue
            self.is_cut = self.is_cut or not reader.eof or bool(reader.unused_data)
            return plain
        return None


class Bodies:
    """The captured bodies of a request and its response; read only when the row is written.

    Args:
        incoming: Body of the request.
        sent_as: Content type and content encoding of the request.
        outgoing: Body of the response.
        answered_as: Content type and content encoding of the response.
    """

    __slots__ = ("_answered_as", "_incoming", "_outgoing", "_sent_as")

    def __init__(
        self,
        incoming: Body,
        sent_as: tuple[bytes, bytes],
        outgoing: Body,
        answered_as: tuple[bytes, bytes],
    ) -> None:
        self._incoming, self._sent_as = incoming, sent_as
        self._outgoing, self._answered_as = outgoing, answered_as

    def columns(self) -> dict[str, Any]:
        """Columns of the row: both contents, and whether any of them was cut."""
        return {
            "input_text": self._incoming.content(*self._sent_as),
            "output_text": self._outgoing.content(*self._answered_as),
            "truncated": self._incoming.is_cut or self._outgoing.is_cut,
        }


@lru_cache(maxsize=256)
def _is_textual(kind: bytes) -> bool:
    # a body without a type is taken for text
    return not kind or kind.startswith(_PARTS) or any(word in kind for word in _TEXTUAL)


@lru_cache(maxsize=256)
def _parameters(content_type: bytes) -> dict[bytes, bytes]:
    return {found[1].lower(): found[2] or found[3] for found in _PARAMETER.finditer(content_type)}


def _decoded(data: bytes, charset: bytes) -> str:
    # the limit may cut a character in two, so decoding must not fail
    alphabet = _alphabet(charset)
    if not alphabet.startswith(_WIDE):
        alphabet = encoding_of(data) or alphabet
    return data.decode(alphabet, "replace").removeprefix("\ufeff")


@lru_cache(maxsize=64)
def _alphabet(charset: bytes) -> str:
    try:
        name = codecs.lookup(charset.decode("latin-1")).name
    except (LookupError, ValueError):
        return "utf-8"
    return name if _ALPHABETS.fullmatch(name) else "utf-8"


def _cut_pairs(pairs: list[tuple[str, str]], *, is_cut: bool) -> list[tuple[str, str]]:
    """Names and values of a form, without what the limit left of the last value."""
    if not (is_cut and pairs):
        return pairs
    name, value = pairs[-1]
    return [*pairs[:-1], (name, without_cut_end(value))]


def _by_name(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values by name; several of one name are a list."""
    several: dict[str, list[Any]] = {}
    for name, value in pairs:
        several.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in several.items()}


def _fields(data: bytes, boundary: bytes, *, is_cut: bool) -> Any:
    """The fields of a form in parts: of files only their type and size, not their name."""
    if not boundary:
        return f"[multipart, {len(data)} bytes]"
    pairs = []
    for part in data.split(b"--" + boundary, _MAX_FIELDS)[1:]:
        head, gap, value = part.partition(b"\r\n\r\n")
        named = _PART_NAME.search(head)
        if not gap or named is None:
            continue
        value = value.removesuffix(b"\r\n")
        pairs.append((_decoded(named[1] or named[2] or b"", b""), _field(head, value)))
    return _by_name(_cut_pairs(pairs, is_cut=is_cut))


def _field(head: bytes, value: bytes) -> str:
    lower = head.lower()
    kind = re.search(rb"content-type:\s*([^\r\n]{1,200})", lower)
    if b"filename" in lower or (kind is not None and not _is_textual(kind[1])):
        shown = kind[1].decode("latin-1") if kind else "application/octet-stream"
        return f"[{shown}, {len(value)} bytes]"
    return _decoded(value, _parameters(kind[1]).get(b"charset", b"") if kind else b"")


def header_text(value: bytes) -> str:
    """The value of a header: in UTF-8, as clients send other letters, or else in Latin-1.

    >>> header_text("Jürgen".encode()), header_text("Jürgen".encode("latin-1"))
    ('Jürgen', 'Jürgen')
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def header(headers: Headers, name: bytes) -> bytes:
    """The first header of a name (in lower case); empty if there is none."""
    for key, value in headers:
        if key == name:
            return value
    return b""
