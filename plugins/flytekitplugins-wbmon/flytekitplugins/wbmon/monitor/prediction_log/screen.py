"""What every text passes on its way into the log, so that nothing lies in it that must be hidden.

There are three kinds: long texts, whose findings are replaced; names of which there are few, such
as those of routes and features; and keys, which rows are joined by, so that two must stay two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.identifiers import keyed_hash
from flytekitplugins.wbmon.monitor.prediction_log.schema import CALL_COLUMNS, COLUMNS, RowKind
from flytekitplugins.wbmon.privacy.cut import cut_safely
from flytekitplugins.wbmon.privacy.key_formats import HIDDEN
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, Redactor, redact_within
from flytekitplugins.wbmon.privacy.secret_forms import may_name_secret
from flytekitplugins.wbmon.privacy.secret_names import is_secret, is_secret_name
from flytekitplugins.wbmon.storage.segments.json_lines import to_text

KEYS = (
    "request_id", "parent_request_id", "trace_id", "session_id", "conversation_id", "tenant",
    "feedback_id",
)  # fmt: skip
# of hexadecimal digits: 64 bits, of which no two of a billion keys are the same
_KEY_LENGTH = 16
_NAME_LENGTH = 8
# what the log itself says, and what is hidden by other means
_PLAIN = ("service", "unit", "input_text", "output_text", "error_text", "comment")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH = re.compile(r"[0-9a-fA-F]{64}")
# rows of a table, or the tensors of KServe, in JSON
_TABLE = re.compile(r"\"(?:data|rows|values|val|v)\"\s?:|^\s?\[\s?\[")
_MAX_KNOWN = 10_000
_MAX_KNOWN_LENGTH = 256
_MAX_CATEGORY_LENGTH = 48
# smaller numbers are no card's
_LEAST_CARD = 10**12

_PATTERNS = PatternRedactor()


class Screen:
    """Hides what must be hidden in every part of a row.

    Args:
        redactor: Hides personal data and keys; None keeps texts as they are.
        user_key: Key of the HMAC that is written in place of users and of hashed columns.
        hashed: Columns that are hashed whatever they hold.
        max_text: Number of characters kept of a text.
        note: Called with each exception of the redactor.

    Attributes:
        hides: Whether there is a redactor.
    """

    def __init__(
        self,
        redactor: Redactor | None,
        *,
        user_key: bytes | None,
        hashed: Iterable[str] = (),
        max_text: int,
        note: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._redactor = None if redactor is None else _Checked(redactor)
        self._user_key, self._max_text = user_key, max_text
        self.hides = redactor is not None
        self._note = note
        self._hashed = frozenset(hashed)
        self._known: dict[str, str] = {}
        self._searched_before: dict[str, tuple[str, int]] = {}

    def name(self, text: str) -> str:
        """A name, with what must be hidden replaced by its kind.

        The redactor may be anybody's and fail; of names, the patterns then take its place.
        """
        found = self._known.get(text)
        if found is not None:
            return found
        if self._redactor is None:
            return text[: self._max_text]
        text = cut_safely(text, self._max_text)
        try:
            hidden = self._redactor.text(text)[0]
        except BaseException:  # noqa: BLE001 - anybody's code; it is noted where texts are lost by it
            hidden = _PATTERNS.text(text)[0]
        if len(text) <= _MAX_KNOWN_LENGTH:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[text] = hidden
        return hidden

    def entry(self, name: str) -> str:
        """The name of an entry among others; two that are hidden stay two, by their hashes."""
        hidden = self.name(name)
        return hidden if hidden == name else f"{hidden} {self.hash(name)[:_NAME_LENGTH]}"

    def key(self, column: str, text: str) -> str:
        """A value that rows are joined by: its hash where it holds what must be hidden."""
        if column in self._hashed:
            return self.hash(text)
        if _UUID.fullmatch(text) or self.name(text) == text[: self._max_text]:
            return text
        return self.hash(text)

    def hash(self, text: str) -> str:
        """What is written in place of a key, as 16 hexadecimal digits."""
        return keyed_hash(self._user_key or b"", text)[:_KEY_LENGTH]

    def user(self, user: str | None) -> str | None:
        """The keyed hash of a user, as 64 hexadecimal digits; None without a key."""
        if user is None or self._user_key is None:
            return None
        return keyed_hash(self._user_key, user)

    def user_hash(self, _: str, text: str) -> str:
        """A hash as it is; what is none is a user's name, and is hashed, or at least screened."""
        if _HASH.fullmatch(text):
            return text
        return self.user(text) or self.key("user_hash", text)

    def row(self, kind: RowKind, row: dict[str, Any]) -> dict[str, Any]:
        """A row of fitting values, with its names and keys hidden in place; texts are not read."""
        hides = _HIDE[kind]
        for column, value in row.items():
            hide = hides.get(column)
            if hide is not None and value:
                row[column] = hide(self, column, value)
        return row

    def number(self, value: float) -> float | None:
        """A number; None for one that is a card's."""
        if self._redactor is None or not _LEAST_CARD <= abs(value) < inf or value != int(value):
            return value
        text = str(abs(int(value)))
        return value if self.name(text) == text else None

    def texts(
        self,
        values: dict[str, Any],
        *,
        was_cut: bool = False,
        as_text: Callable[[Any], str] = to_text,
    ) -> tuple[int, bool]:
        """Replace each value by its redacted text of at most `max_text` characters, in place.

        A value that cannot be redacted is left out.

        Returns:
            How many things were hidden, and whether any text was cut, now or before (`was_cut`).
        """
        n = 0
        for name, value in list(values.items()):
            try:
                text, found, is_part = self._hidden(name, value)
                if not isinstance(text, str):
                    text = as_text(text)
            except BaseException as error:  # noqa: BLE001 - anybody's code, and any value
                self._note(error)
                del values[name]
                continue
            n += found
            was_cut = was_cut or is_part
            if len(text) > self._max_text:
                text, was_cut = text[: self._max_text], True
            values[name] = text
        return n, was_cut

    def _searched(self, text: str) -> tuple[str, int]:
        """The redacted text; short ones, such as categories, come again and again."""
        found = self._searched_before.get(text)
        if found is None:
            found = self._redactor.text(text) if self._redactor else (text, 0)
            if len(text) <= _MAX_CATEGORY_LENGTH:
                if len(self._searched_before) >= _MAX_KNOWN:
                    self._searched_before.clear()
                self._searched_before[text] = found
        return found

    def _hidden(self, name: str, value: Any) -> tuple[Any, int, bool]:
        """The redacted value, how many things were hidden, and whether it is only a part."""
        if self._redactor is None:
            return value, 0, False
        if type(value) is str and len(value) <= self._max_text and not is_secret_name(name):
            text, n = self._searched(value)
            # most have nothing to hide, and need not be read
            # or has line breaks and quotes written as escapes, which no pattern sees
            # or has the names of columns far from what stands below them
            is_read = n or "\\" in value or (_TABLE.search(value) and may_name_secret(value))
            inside = _parsed(value) if is_read else None
            if inside is None:
                return text, n, False
            value = inside
        # with its name, because a value under a secret's name is hidden whatever it is; no more of
        # it than is kept, because this thread would hold up those that serve
        limit = self._max_text + len(name) + 1
        named, found, is_part = redact_within(self._redactor, {name: value}, limit=limit)
        return *named.values(), found, is_part


class _Checked:
    """A redactor, which may be anybody's, held to what it must return."""

    def __init__(self, redactor: Redactor) -> None:
        self._text: Callable[[str], Any] = redactor.text

    def text(self, text: str) -> tuple[str, int]:
        """As of a `Redactor`; of another type, it has failed."""
        left, n = self._text(text)
        if not (isinstance(left, str) and isinstance(n, int)):
            raise TypeError("a redactor must return the text and how many things were hidden")
        return left, n


def _parsed(text: str) -> Any:
    """The containers of a text of JSON, whose values are hidden by name; None for any other."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _name(screen: Screen, _: str, value: str) -> str:
    return screen.name(value)


def _names(screen: Screen, _: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {screen.entry(name): item for name, item in value.items()}


def _documents(screen: Screen, column: str, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**each, "id": screen.key(column, each["id"])} if each.get("id") else each for each in value
    ]


def _attempts(screen: Screen, _: str, value: str) -> str:
    """The attempts of a call; in their JSON, a number could pass for a card's."""
    try:
        return to_text([_attempt(screen, "", each) for each in json.loads(value)])
    except (ValueError, TypeError, RecursionError):
        return screen.name(value)


def _attempt(screen: Screen, name: str, value: Any) -> Any:
    """A part of an attempt, with names, texts, and values under a secret's name hidden."""
    if screen.hides and is_secret(name, value):
        return HIDDEN
    if isinstance(value, str):
        return screen.name(value)
    if isinstance(value, dict):
        return {screen.entry(each): _attempt(screen, each, item) for each, item in value.items()}
    return [_attempt(screen, name, each) for each in value] if isinstance(value, list) else value


_OF_COLUMN: Mapping[str, Callable[[Screen, str, Any], Any]] = {
    **dict.fromkeys((*KEYS, "instance"), Screen.key),
    "user_hash": Screen.user_hash,
    "attempt_log": _attempts,
}
_OF_TYPE: Mapping[str, Callable[[Screen, str, Any], Any]] = {
    "string": _name,
    "map": _names,
    "documents": _documents,
}


def _of(column: str, type_name: str) -> Callable[[Screen, str, Any], Any] | None:
    if column in _PLAIN:
        return None
    outer = type_name.partition("<")[0]
    return _OF_COLUMN.get(column) or _OF_TYPE.get(outer)


_HIDE: Mapping[RowKind, Mapping[str, Callable[[Screen, str, Any], Any]]] = {
    kind: {
        name: hide
        for name, of in ({**columns, **CALL_COLUMNS} if kind == "prediction" else columns).items()
        if (hide := _of(name, of)) is not None
    }
    for kind, columns in COLUMNS.items()
}
