"""Redacts nested containers such as bodies, features, headers and configurations."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, ItemsView, Iterable, Mapping, Sequence, Set, ValuesView
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from flytekitplugins.wbmon.errors import error_type
from flytekitplugins.wbmon.privacy.cut import cut_safely
from flytekitplugins.wbmon.privacy.encodings import encoding_of
from flytekitplugins.wbmon.privacy.key_formats import HIDDEN
from flytekitplugins.wbmon.privacy.secret_names import is_secret, is_secret_name, may_be_secret_name

Hide: TypeAlias = Callable[[str], tuple[str, int]]
"""Hides what must not be kept in a text, and counts it."""

# ends the recursion also for containers that contain themselves
_LEVELS = 20
# a name and its value in one mapping, as the variables of a pod, the tags of a cloud and tensors of
# KServe are written
_NAMES = ("name", "key", "Name", "Key", "field", "k")
_VALUES = ("value", "Value", "data", "val", "v")
# the names of columns and the rows below them, as pandas and MLflow write tables
_COLUMNS, _ROWS = ("columns", "fields"), ("data", "rows", "values")
_PAIR, _ROWS_READ = 2, 100
# a value and the names that lead to it, as pydantic tells of one that is wrong
_PATH, _INPUT = "loc", "input"
_SHORTEST = 4
# a number of so many digits may be a card; the ids of rows have more
_LEAST_ID, _BEYOND_IDS = 10**13, 10**16
_SHORT_TEXT = 32
_SIMPLE = {str, int, float, bool, type(None), list, dict}
# in place of what is left out
_CUT = "[...]"
# whose objects of flags W&B reads itself
_FLAGS = ("absl", "tensorflow", "wandb")


class Redacted(NamedTuple):
    """What is left of a value, and how many things were hidden in it."""

    value: Any
    n: int


class RedactedPart(NamedTuple):
    """What is left of the first part of a value, and whether there was more of it."""

    value: Any
    n: int
    was_cut: bool


class _Walk:
    """Hides texts on the way through containers, until there is no more room for them."""

    __slots__ = ("_hide", "_known", "room", "was_cut")

    def __init__(self, hide: Hide, limit: float) -> None:
        self._hide, self.room, self.was_cut = hide, limit, False
        # the names of an entry are those of the next one too
        self._known: dict[str, tuple[str, int]] = {}

    def enter(self) -> bool:
        """Take a place for one more value; whether there was any."""
        self.room -= 1
        if self.room < 0:
            self.was_cut = True
        return self.room >= 0

    def text(self, text: str) -> Redacted:
        """A text, or its beginning as far as there is room."""
        whole = text
        if len(text) > self.room:
            text = cut_safely(text, max(0, int(self.room)))
            self.was_cut, self.room = True, 0
        self.room -= len(text)
        left, n = self._hide_once(text) if len(text) <= _SHORT_TEXT else self._hide(text)
        if text is not whole:
            return Redacted(f"{left}{_CUT}", n)
        # a text may be a member of an `Enum`, of which W&B writes the name
        return Redacted(left, n) if n else Redacted(text, 0)

    def _hide_once(self, text: str) -> tuple[str, int]:
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._hide(text)
        return found

    def name(self, name: Any) -> Redacted:
        """The name of an entry."""
        return self.text(name) if isinstance(name, str) else self.plain(name)

    def plain(self, value: Any) -> Redacted:
        """A value that is no container: only a whole number may be a card, or another id."""
        if (
            isinstance(value, int | float)
            and _LEAST_ID <= value < _BEYOND_IDS
            and value == int(value)
        ):
            left, n = self._hide(str(int(value)))
            return Redacted(left, n) if n else Redacted(value, 0)
        return Redacted(value, 0)


def redact_containers(value: Any, hide: Hide, *, levels: int = _LEVELS) -> Redacted:
    """A copy of nested containers with every text redacted, and values under a secret's name.

    A name is a key, a field, the first of two in a list of pairs, as HTTP headers come, or a flag
    before its value in a command line. Lists, tuples and sets become lists; dataclasses and named
    tuples become dicts. Numbers, booleans and None stay, but for whole numbers as a password or of
    as many digits as a card. Any other object stays if there is nothing to hide in its attributes
    or its text; else it becomes what its attributes or its text leave.

    Args:
        value: The value.
        hide: Hides what must not be kept in a text, and counts it.
        levels: Number of containers inside each other that are followed; what is deeper is hidden.
    """
    return _redact(value, _Walk(hide, math.inf), levels)


def redact_part(value: Any, hide: Hide, *, limit: int, levels: int = _LEVELS) -> RedactedPart:
    """As `redact_containers`, but only the first part of the value: the work is bounded.

    What is beyond is left out unread, and `[...]` stands in its place. A text is cut where no half
    of a secret stays.

    Args:
        value: The value.
        hide: Hides what must not be kept in a text, and counts it.
        limit: Number of characters; every value in a container counts as one more.
        levels: Number of containers inside each other that are followed; what is deeper is hidden.
    """
    walk = _Walk(hide, limit)
    found = _redact(value, walk, levels)
    return RedactedPart(found.value, found.n, walk.was_cut)


def _redact(value: Any, walk: _Walk, levels: int) -> Redacted:
    value = _plain(value)
    if isinstance(value, str):
        return walk.text(value)
    if value is None or isinstance(value, bool | int | float):
        return walk.plain(value)
    if levels <= 0:
        return Redacted("[too deep]", 1)
    if isinstance(value, Mapping):
        return _redact_mapping(value, walk, levels)
    if isinstance(value, list | tuple | set | frozenset):
        return _redact_items(value, walk, levels)
    return _redact_object(value, walk, levels)


def named_values(value: Any) -> dict[Any, Any] | None:
    """What an object holds by name: a mapping, or an object of fields or attributes; else None."""
    value = _plain(value)
    if type(value).__module__.partition(".")[0] in _FLAGS:
        return None  # their attributes are not what they hold
    with suppress(Exception):  # of any object
        return (
            dict(_items(value))
            if isinstance(value, Mapping)
            else _fields(value) or dict(vars(value))
        )
    return None


def _redact_mapping(value: Mapping[Any, Any], walk: _Walk, levels: int) -> Redacted:
    named = [(_plain(name), item) for name, item in _items(value, walk.room)]
    keys = [name for name, _ in named]
    columns = next((it for name, it in named if name in _COLUMNS and _is_header(it)), None)
    named = _called(named, keys)
    hidden: dict[Any, Any] = {}
    n = 0
    for key, (name, item) in zip(keys, named, strict=True):
        if not walk.enter():
            hidden[_CUT] = _CUT
            break
        left = walk.name(key)
        if columns is not None and key in _ROWS and isinstance(item, list | tuple):
            part = _redact_rows(columns, item, walk, levels - 1)
        else:
            part = _redact_named(name, item, walk, levels)
        # two names that are hidden must not become one, which would lose a value
        again = left.n and left.value in hidden
        hidden[f"{left.value} {len(hidden) + 1}" if again else left.value] = part.value
        n += left.n + part.n
    return Redacted(hidden, n)


def _called(named: list[tuple[Any, Any]], keys: list[Any]) -> list[tuple[Any, Any]]:
    """The entries, of which a value has all the names that lead to it."""
    if any(each in keys for each in _VALUES):
        called = next((it for name, it in named if name in _NAMES and isinstance(it, str)), None)
        if called is not None:
            named = [((called, name) if name in _VALUES else name, item) for name, item in named]
    if _INPUT in keys and isinstance(path := dict(named).get(_PATH), list | tuple):
        named = [((*path, name) if name == _INPUT else name, item) for name, item in named]
    return named


def _is_header(item: Any) -> bool:
    """Whether it is a list of names, one of a secret; the first of two is more likely of a pair."""
    if not isinstance(item, list | tuple) or not all(isinstance(each, str) for each in item):
        return False
    return any(map(may_be_secret_name, item[1:])) or (
        len(item) != _PAIR and any(map(may_be_secret_name, item[:1]))
    )


def _is_table(items: list[Any]) -> bool:
    """Whether every list is as long as the first, which holds names, one of a secret."""
    head = items[0]
    if not isinstance(head, list) or not _is_header(head):
        return False
    return all(isinstance(row, list) and len(row) == len(head) for row in items[1:_ROWS_READ])


def _redact_rows(names: Sequence[str], rows: Iterable[Any], walk: _Walk, levels: int) -> Redacted:
    """The rows of a table, of which the names of the columns are known."""
    kept: list[Any] = []
    n = 0
    for row in rows:
        if not walk.enter():
            kept.append(_CUT)
            break
        if isinstance(row, list | tuple) and len(row) == len(names):
            cells = [
                _redact_named(name, cell, walk, levels) if walk.enter() else Redacted(_CUT, 0)
                for name, cell in zip(names, row, strict=True)
            ]
            kept.append([cell.value for cell in cells])
            n += sum(cell.n for cell in cells)
        else:
            left = _redact(row, walk, levels)
            kept.append(left.value)
            n += left.n
    return Redacted(kept, n)


def _items(value: Mapping[Any, Any], room: float = math.inf) -> list[tuple[Any, Any]]:
    # one more than there is room for, so that it is seen that there are more
    last = None if room == math.inf else max(0, int(room)) + 1
    try:
        return list(islice(value.items(), last))
    except Exception:  # noqa: BLE001 - some look up what they hold only now, as OmegaConf does
        return [(name, _read(value, name)) for name in islice(value, last)]


def _read(value: Mapping[Any, Any], name: Any) -> Any:
    try:
        return value[name]
    except Exception as error:  # noqa: BLE001 - a value that is not given yet
        return f"[{error_type(error)}]"


def _redact_items(items: Iterable[Any], walk: _Walk, levels: int) -> Redacted:
    if isinstance(items, list) and len(items) > 1 and _is_table(items):
        head, rows = _redact_item(items[0], walk, levels), items[1:]
        table = _redact_rows(items[0], rows, walk, levels - 1)
        return Redacted([head.value, *table.value], head.n + table.n)
    kept: list[Any] = []
    n, flag = 0, ""
    for item in items:
        if not walk.enter():
            kept.append(_CUT)
            break
        if flag and isinstance(item, str) and not item.startswith("-") and is_secret(flag, item):
            left = Redacted(HIDDEN, 1)
        else:
            left = _redact_item(item, walk, levels)
        flag = item if isinstance(item, str) and item[:1] == "-" and is_secret_name(item) else ""
        kept.append(left.value)
        n += left.n
    return Redacted(kept, n)


def _redact_item(item: Any, walk: _Walk, levels: int) -> Redacted:
    if isinstance(item, list | tuple) and len(item) == _PAIR:
        name = _plain(item[0])
        if isinstance(name, str) and is_secret_name(name):
            value, n = _redact_named(name, item[1], walk, levels)
            return Redacted([name, value], n)
    return _redact(item, walk, levels - 1)


def _redact_named(name: Any, item: Any, walk: _Walk, levels: int) -> Redacted:
    for part in name if isinstance(name, tuple) else (name,):
        if isinstance(part, str) and is_secret(part, _plain(item)):
            return Redacted(HIDDEN, 1)
    return _redact(item, walk, levels - 1)


def _redact_object(value: Any, walk: _Walk, levels: int) -> Redacted:
    if isinstance(value, Enum):
        inside = _redact_named(value.name, value.value, walk, levels)
        # a member that says its own name, such as `Scheme.TOKEN = "token"`, holds nothing
        is_word = str(value.value).lower() == value.name.lower()
        return Redacted(HIDDEN, 1) if inside.n and not is_word else Redacted(value, 0)
    # those of pydantic hide it only from their text
    if hasattr(type(value), "get_secret_value"):
        return Redacted(HIDDEN, 1)
    if isinstance(value, type):
        return Redacted(value, 0)
    if walk.room < math.inf and _size(value) > walk.room:
        walk.was_cut = True
        return Redacted(f"[{type(value).__name__} {_CUT[1:]}", 0)
    inside = _inside(value)
    if inside is None:
        return _redact_shown(value, _attributes(value), walk)
    called = getattr(value, "name", None)
    is_secret_column = isinstance(called, str) and is_secret(called, inside)
    found = Redacted(HIDDEN, 1) if is_secret_column else _redact(inside, walk, levels - 1)
    return found if found.n or walk.was_cut else Redacted(value, 0)


def _redact_shown(value: Any, attributes: Iterable[tuple[Any, Any]], walk: _Walk) -> Redacted:
    """An object by its text, in which its own secrets are hidden too."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - of any object; W&B could not show it either
        return Redacted(f"[{type(value).__name__}]", 1)
    secrets = [
        each
        for name, item in attributes
        if isinstance(each := _plain(item), str) and isinstance(name, str) and is_secret(name, each)
    ]
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    left, n = walk.text(text)
    is_other = n or secrets or walk.was_cut
    return Redacted(left, n + len(secrets)) if is_other else Redacted(value, 0)


def _size(value: Any) -> int:
    """How many values an array, a table or another container holds; 0 for what is none."""
    for name in ("size", "num_rows", "height"):
        with suppress(Exception):
            if isinstance(size := getattr(value, name), int):
                return size
    with suppress(Exception):
        return len(value)
    return 0


def _inside(value: Any) -> Any:
    """What an array, a table or a model holds, by name where it has names; None for others."""
    for method in ("to_dict", "tolist"):
        # of any object, so they may be anything: what they do not give is in its text
        with suppress(Exception):
            return getattr(value, method)()
    with suppress(Exception):
        if isinstance(value, Sequence | Set | ItemsView | ValuesView | deque):
            return None if isinstance(value, range | memoryview) else list(value)
        return _fields(value)
    return None


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a namespace or a class of pydantic or attrs; None for any other object."""
    kind = type(value)
    names = getattr(kind, "__attrs_attrs__", None)
    if names is not None:
        return {each.name: getattr(value, each.name) for each in names}
    if hasattr(kind, "model_fields") or hasattr(kind, "__fields__"):
        return {**vars(value), **(getattr(value, "__pydantic_extra__", None) or {})}
    return dict(vars(value)) if kind.__name__ in ("Namespace", "SimpleNamespace") else None


def _attributes(value: Any) -> Iterable[tuple[Any, Any]]:
    with suppress(TypeError):  # an object of slots has none
        return list(vars(value).items())
    return ()


def _plain(value: Any) -> Any:
    """Bytes as text; a named tuple, a dataclass or a structured array as a dict."""
    if type(value) in _SIMPLE:  # most values are
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode(encoding_of(value) or "utf-8", "replace")
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if getattr(getattr(value, "dtype", None), "names", None):  # a structured array
        return {name: value[name].tolist() for name in value.dtype.names}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value
