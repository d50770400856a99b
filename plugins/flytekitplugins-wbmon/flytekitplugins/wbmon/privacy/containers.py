"""Redacts nested containers such as bodies, features, headers and configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, TypeAlias

from flytekitplugins.wbmon.privacy.secret_forms import HIDDEN, is_secret_name

Hide: TypeAlias = Callable[[str], tuple[str, int]]
"""Hides what must not be kept in a text, and counts it."""

# ends the recursion also for containers that contain themselves
_LEVELS = 20


class Redacted(NamedTuple):
    """What is left of a value, and how many things were hidden in it."""

    value: Any
    n: int


def redact_containers(value: Any, hide: Hide, *, levels: int = _LEVELS) -> Redacted:
    """A copy of nested containers with every text redacted, and values under a secret's name.

    A name is a key, a field, or the first of two in a list of pairs, as HTTP headers come. Lists,
    tuples and sets become lists; what has fields becomes a dict. Numbers, booleans and None stay,
    but for whole numbers as a password. Any other object stays if there is nothing to hide in its
    text, and is that text if there is.

    Args:
        value: The value.
        hide: Hides what must not be kept in a text, and counts it.
        levels: Number of containers inside each other that are followed; what is deeper is hidden.
    """
    value = _plain(value)
    if isinstance(value, str):
        return Redacted(*hide(value))
    if value is None or isinstance(value, bool | int | float):
        return Redacted(value, 0)
    if levels <= 0:
        return Redacted("[too deep]", 1)
    if isinstance(value, Mapping):
        named = [(_plain(name), item) for name, item in value.items()]
        if "value" in value and isinstance(called := value.get("name"), str):
            # as the variables of a pod are written: the value is under the name beside it
            named = [((called, name) if name == "value" else name, item) for name, item in named]
        parts = [_redact_named(name, item, hide, levels) for name, item in named]
        names = [hide(name)[0] if isinstance(name, str) else name for name in map(_plain, value)]
        hidden = {name: part.value for name, part in zip(names, parts, strict=True)}
        return Redacted(hidden, sum(part.n for part in parts))
    if isinstance(value, list | tuple | set | frozenset):
        items = [_redact_item(item, hide, levels) for item in value]
        return Redacted([item.value for item in items], sum(item.n for item in items))
    inside = _inside(value)
    found = (
        Redacted(*hide(str(value)))
        if inside is None
        else redact_containers(inside, hide, levels=levels - 1)
    )
    return found if found.n else Redacted(value, 0)


def _inside(value: Any) -> Any:
    """What an array, a column or a table holds, by name where it has names; None for others."""
    if isinstance(value, type):
        return None
    for method in ("to_dict", "tolist"):
        # of any object, so they may be anything: what they do not give is in its text
        with suppress(Exception):
            return getattr(value, method)()
    return None


def _redact_item(item: Any, hide: Hide, levels: int) -> Redacted:
    if isinstance(item, list | tuple) and len(item) == 2:  # noqa: PLR2004 - a name and its value
        name = _plain(item[0])
        if isinstance(name, str) and is_secret_name(name):
            value, n = _redact_named(name, item[1], hide, levels)
            return Redacted([name, value], n)
    return redact_containers(item, hide, levels=levels - 1)


def _redact_named(name: Any, item: Any, hide: Hide, levels: int) -> Redacted:
    for part in name if isinstance(name, tuple) else (name,):
        if isinstance(part, str) and is_secret(part, item):
            return Redacted(HIDDEN, 1)
    return redact_containers(item, hide, levels=levels - 1)


def is_secret(name: str, item: Any) -> bool:
    """Whether a value under a name is a secret: no flag, fraction, count of tokens or nothing."""
    if not is_secret_name(name) or item is None or isinstance(item, bool | float):
        return False
    if isinstance(item, int):  # a password may be one; as a token it is a count
        return not name.lower().endswith(("token", "tokens", "secrets", "cookies"))
    return not isinstance(item, Sized) or len(item) > 0


def _plain(value: Any) -> Any:
    """Bytes as text, what has fields as a dict."""
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if getattr(getattr(value, "dtype", None), "names", None):  # a structured array
        return {name: value[name].tolist() for name in value.dtype.names}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value
