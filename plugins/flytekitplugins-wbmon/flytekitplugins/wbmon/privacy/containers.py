"""Redacts nested containers such as bodies, features, headers and configurations."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, ItemsView, Iterable, Mapping, Sequence, Set, ValuesView
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from flytekitplugins.wbmon.errors import error_type
from flytekitplugins.wbmon.privacy.secret_forms import HIDDEN
from flytekitplugins.wbmon.privacy.secret_names import is_secret, is_secret_name

Hide: TypeAlias = Callable[[str], tuple[str, int]]
"""Hides what must not be kept in a text, and counts it."""

# ends the recursion also for containers that contain themselves
_LEVELS = 20
# a name and its value in one mapping, as the variables of a pod and the tags of a cloud are written
_NAMES, _VALUES = ("name", "key", "Name", "Key"), ("value", "Value")
# a value and the names that lead to it, as pydantic tells of one that is wrong
_PATH, _INPUT = "loc", "input"
_SHORTEST = 4
# whose objects of flags W&B reads itself
_FLAGS = ("absl", "tensorflow", "wandb")


class Redacted(NamedTuple):
    """What is left of a value, and how many things were hidden in it."""

    value: Any
    n: int


def redact_containers(value: Any, hide: Hide, *, levels: int = _LEVELS) -> Redacted:
    """A copy of nested containers with every text redacted, and values under a secret's name.

    A name is a key, a field, the first of two in a list of pairs, as HTTP headers come, or a flag
    before its value in a command line. Lists, tuples and sets become lists; dataclasses and named
    tuples become dicts. Numbers, booleans and None stay, but for whole numbers as a password. Any
    other object stays if there is nothing to hide in its attributes or its text; else it becomes
    what its attributes or its text leave.

    Args:
        value: The value.
        hide: Hides what must not be kept in a text, and counts it.
        levels: Number of containers inside each other that are followed; what is deeper is hidden.
    """
    value = _plain(value)
    if isinstance(value, str):
        return _redact_text(value, hide)
    if value is None or isinstance(value, bool | int | float):
        return Redacted(value, 0)
    if levels <= 0:
        return Redacted("[too deep]", 1)
    if isinstance(value, Mapping):
        return _redact_mapping(value, hide, levels)
    if isinstance(value, list | tuple | set | frozenset):
        return _redact_items(value, hide, levels)
    return _redact_object(value, hide, levels)


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


def _redact_text(text: str, hide: Hide) -> Redacted:
    left, n = hide(text)
    # a text may be a member of an `Enum`, of which W&B writes the name
    return Redacted(left, n) if n else Redacted(text, 0)


def _redact_mapping(value: Mapping[Any, Any], hide: Hide, levels: int) -> Redacted:
    named = [(_plain(name), item) for name, item in _items(value)]
    keys = [name for name, _ in named]
    if "value" in keys or "Value" in keys:
        called = next((it for name, it in named if name in _NAMES and isinstance(it, str)), None)
        if called is not None:
            named = [((called, name) if name in _VALUES else name, item) for name, item in named]
    if _INPUT in keys and isinstance(path := dict(named).get(_PATH), list | tuple):
        named = [((*path, name) if name == _INPUT else name, item) for name, item in named]
    names = [hide(name) if isinstance(name, str) else (name, 0) for name in keys]
    parts = [_redact_named(name, item, hide, levels) for name, item in named]
    hidden = {name: part.value for (name, _), part in zip(names, parts, strict=True)}
    return Redacted(hidden, sum(part.n for part in parts) + sum(n for _, n in names))


def _items(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    try:
        return list(value.items())
    except Exception:  # noqa: BLE001 - some look up what they hold only now, as OmegaConf does
        return [(name, _read(value, name)) for name in value]


def _read(value: Mapping[Any, Any], name: Any) -> Any:
    try:
        return value[name]
    except Exception as error:  # noqa: BLE001 - a value that is not given yet
        return f"[{error_type(error)}]"


def _redact_items(items: Iterable[Any], hide: Hide, levels: int) -> Redacted:
    kept: list[Any] = []
    n, flag = 0, ""
    for item in items:
        if flag and isinstance(item, str) and not item.startswith("-") and is_secret(flag, item):
            left = Redacted(HIDDEN, 1)
        else:
            left = _redact_item(item, hide, levels)
        flag = item if isinstance(item, str) and item[:1] == "-" and is_secret_name(item) else ""
        kept.append(left.value)
        n += left.n
    return Redacted(kept, n)


def _redact_item(item: Any, hide: Hide, levels: int) -> Redacted:
    if isinstance(item, list | tuple) and len(item) == 2:  # noqa: PLR2004 - a name and its value
        name = _plain(item[0])
        if isinstance(name, str) and is_secret_name(name):
            value, n = _redact_named(name, item[1], hide, levels)
            return Redacted([name, value], n)
    return redact_containers(item, hide, levels=levels - 1)


def _redact_named(name: Any, item: Any, hide: Hide, levels: int) -> Redacted:
    for part in name if isinstance(name, tuple) else (name,):
        if isinstance(part, str) and is_secret(part, _plain(item)):
            return Redacted(HIDDEN, 1)
    return redact_containers(item, hide, levels=levels - 1)


def _redact_object(value: Any, hide: Hide, levels: int) -> Redacted:
    if isinstance(value, Enum):
        inside = _redact_named(value.name, value.value, hide, levels)
        # a member that says its own name, such as `Scheme.TOKEN = "token"`, holds nothing
        is_word = str(value.value).lower() == value.name.lower()
        return Redacted(HIDDEN, 1) if inside.n and not is_word else Redacted(value, 0)
    # those of pydantic hide it only from their text
    if hasattr(type(value), "get_secret_value"):
        return Redacted(HIDDEN, 1)
    if isinstance(value, type):
        return Redacted(value, 0)
    inside = _inside(value)
    if inside is None:
        return _redact_shown(value, _attributes(value), hide)
    called = getattr(value, "name", None)
    if isinstance(called, str) and is_secret(called, inside):  # a column
        return Redacted(HIDDEN, 1)
    found = redact_containers(inside, hide, levels=levels - 1)
    return found if found.n else Redacted(value, 0)


def _redact_shown(value: Any, attributes: Iterable[tuple[Any, Any]], hide: Hide) -> Redacted:
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
    left, n = hide(text)
    return Redacted(left, n + len(secrets)) if n or secrets else Redacted(value, 0)


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
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if getattr(getattr(value, "dtype", None), "names", None):  # a structured array
        return {name: value[name].tolist() for name in value.dtype.names}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value
